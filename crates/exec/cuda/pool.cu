// Pooling: one thread per element of the result, which adds in the order of the windows. `in_channels` is the number of
// channels of both sides.
#include "kernel.h"

// The first maximum of a window, or its first NaN, with its tap.
DEVICE float maximum(const struct Window *g, u64 plane, u32 oh, u32 ow, const float *x, u32 *tap) {
    float best = number_of(0xff800000u);
    int found = 0;
    *tap = 0;
    for (u32 kh = 0; kh < g->kernel[0]; ++kh) {
        const u32 row = input_position(g, 0, oh, kh);
        if (row >= g->in_height) continue;
        for (u32 kw = 0; kw < g->kernel[1]; ++kw) {
            const u32 column = input_position(g, 1, ow, kw);
            if (column >= g->in_width) continue;
            const float value = x[(plane * g->in_height + row) * g->in_width + column];
            if (!found || value > best || (value != value && best == best)) {
                best = value;
                *tap = kh * g->kernel[1] + kw;
                found = 1;
            }
        }
    }
    return best;
}

KERNEL(max_pool, struct Window g, u64 n, const float *x, float *y) {
    const u64 i = GLOBAL_INDEX;
    if (i >= n) return;
    u32 tap;
    y[i] = maximum(&g, i / g.out_width / g.out_height, i / g.out_width % g.out_height, i % g.out_width, x, &tap);
}

KERNEL(max_pool_indices, struct Window g, u64 n, const float *x, unsigned char *indices) {
    const u64 i = GLOBAL_INDEX;
    if (i >= n) return;
    u32 tap;
    maximum(&g, i / g.out_width / g.out_height, i / g.out_width % g.out_height, i % g.out_width, x, &tap);
    indices[i] = (unsigned char)tap;
}

KERNEL(max_pool_grad, struct Window g, u64 n, const float *dy, const unsigned char *indices, float *dx) {
    const u64 i = GLOBAL_INDEX;
    if (i >= n) return;
    const u32 column = i % g.in_width, row = i / g.in_width % g.in_height;
    const u64 plane = i / g.in_width / g.in_height;
    float sum = 0;
    // The last taps belong to the first windows.
    for (u32 kh = g.kernel[0]; kh-- > 0;) {
        u32 oh, ow;
        if (!output_position(&g, 0, row, kh, g.out_height, &oh)) continue;
        for (u32 kw = g.kernel[1]; kw-- > 0;) {
            if (!output_position(&g, 1, column, kw, g.out_width, &ow)) continue;
            const u64 o = (plane * g.out_height + oh) * g.out_width + ow;
            if (indices[o] == kh * g.kernel[1] + kw) sum += dy[o];
        }
    }
    dx[i] = sum;
}

// Taps of window o in dimension d by which its sum is divided: those inside, or also those in the padding.
DEVICE u32 counted(const struct Window *g, int d, u32 o, u32 size) {
    u32 count = 0;
    for (u32 k = 0; k < g->kernel[d]; ++k) {
        const u32 at = o * g->stride[d] + k * g->dilation[d];
        count += g->count_include_pad ? at < g->pad_begin[d] + size + g->pad_end[d] : at - g->pad_begin[d] < size;
    }
    return count;
}

DEVICE float divisor(const struct Window *g, u32 oh, u32 ow) {
    const u32 taps = counted(g, 0, oh, g->in_height) * counted(g, 1, ow, g->in_width);
    return taps == 0 ? 1.0f : (float)taps;
}

KERNEL(average_pool, struct Window g, u64 n, const float *x, float *y) {
    const u64 i = GLOBAL_INDEX;
    if (i >= n) return;
    const u32 ow = i % g.out_width, oh = i / g.out_width % g.out_height;
    const u64 plane = i / g.out_width / g.out_height;
    float sum = 0;
    for (u32 kh = 0; kh < g.kernel[0]; ++kh) {
        const u32 row = input_position(&g, 0, oh, kh);
        if (row >= g.in_height) continue;
        for (u32 kw = 0; kw < g.kernel[1]; ++kw) {
            const u32 column = input_position(&g, 1, ow, kw);
            if (column < g.in_width) sum += x[(plane * g.in_height + row) * g.in_width + column];
        }
    }
    y[i] = sum / divisor(&g, oh, ow);
}

KERNEL(average_pool_grad, struct Window g, u64 n, const float *dy, float *dx) {
    const u64 i = GLOBAL_INDEX;
    if (i >= n) return;
    const u32 column = i % g.in_width, row = i / g.in_width % g.in_height;
    const u64 plane = i / g.in_width / g.in_height;
    float sum = 0;
    for (u32 kh = g.kernel[0]; kh-- > 0;) {
        u32 oh, ow;
        if (!output_position(&g, 0, row, kh, g.out_height, &oh)) continue;
        for (u32 kw = g.kernel[1]; kw-- > 0;) {
            if (!output_position(&g, 1, column, kw, g.out_width, &ow)) continue;
            sum += dy[(plane * g.out_height + oh) * g.out_width + ow] / divisor(&g, oh, ow);
        }
    }
    dx[i] = sum;
}
