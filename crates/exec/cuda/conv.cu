// Convolution with groups, uneven strides and dilations, directly: one thread per element of the result, which adds in a
// fixed order. x [batch, in_channels, ...], w [out_channels, in_channels / groups, kernel], y [batch, out_channels, ...].
#include "kernel.h"

KERNEL(conv, struct Window g, u64 n, const float *x, const float *w, float *y) {
    const u64 i = GLOBAL_INDEX;
    if (i >= n) return;
    const u32 in_group = g.in_channels / g.groups, out_group = g.out_channels / g.groups;
    const u32 ow = i % g.out_width, oh = i / g.out_width % g.out_height;
    const u64 plane = i / g.out_width / g.out_height;
    const u32 m = plane % g.out_channels;
    const u64 image = plane / g.out_channels;
    float sum = 0;
    for (u32 c = 0; c < in_group; ++c) {
        const u64 channel = image * g.in_channels + m / out_group * in_group + c;
        const u64 taps = ((u64)m * in_group + c) * g.kernel[0] * g.kernel[1];
        for (u32 kh = 0; kh < g.kernel[0]; ++kh) {
            const u32 row = input_position(&g, 0, oh, kh);
            if (row >= g.in_height) continue;
            for (u32 kw = 0; kw < g.kernel[1]; ++kw) {
                const u32 column = input_position(&g, 1, ow, kw);
                if (column >= g.in_width) continue;
                sum += x[(channel * g.in_height + row) * g.in_width + column] * w[taps + kh * g.kernel[1] + kw];
            }
        }
    }
    y[i] = sum;
}

KERNEL(conv_grad_input, struct Window g, u64 n, const float *dy, const float *w, float *dx) {
    const u64 i = GLOBAL_INDEX;
    if (i >= n) return;
    const u32 in_group = g.in_channels / g.groups, out_group = g.out_channels / g.groups;
    const u32 column = i % g.in_width, row = i / g.in_width % g.in_height;
    const u64 plane = i / g.in_width / g.in_height;
    const u32 channel = plane % g.in_channels, group = channel / in_group, c = channel % in_group;
    const u64 image = plane / g.in_channels;
    float sum = 0;
    for (u32 m = group * out_group; m < (group + 1) * out_group; ++m) {
        const u64 outputs = (image * g.out_channels + m) * g.out_height;
        const u64 taps = ((u64)m * in_group + c) * g.kernel[0] * g.kernel[1];
        for (u32 kh = 0; kh < g.kernel[0]; ++kh) {
            u32 oh, ow;
            if (!output_position(&g, 0, row, kh, g.out_height, &oh)) continue;
            for (u32 kw = 0; kw < g.kernel[1]; ++kw) {
                if (!output_position(&g, 1, column, kw, g.out_width, &ow)) continue;
                sum += dy[(outputs + oh) * g.out_width + ow] * w[taps + kh * g.kernel[1] + kw];
            }
        }
    }
    dx[i] = sum;
}

// `n` is a multiple of the number of weights: dw [parts, weights] has sums over every `parts`th image in its rows.
KERNEL(conv_grad_weight, struct Window g, u64 n, const float *x, const float *dy, float *dw) {
    const u64 i = GLOBAL_INDEX;
    if (i >= n) return;
    const u32 in_group = g.in_channels / g.groups, out_group = g.out_channels / g.groups;
    const u64 weights = (u64)g.out_channels * in_group * g.kernel[0] * g.kernel[1];
    const u32 kw = i % g.kernel[1], kh = i / g.kernel[1] % g.kernel[0];
    const u64 plane = i % weights / g.kernel[1] / g.kernel[0];
    const u32 c = plane % in_group, m = plane / in_group;
    // Rows are summed by themselves first, since one sum over the whole batch would lose digits.
    double sum = 0;
    for (u32 image = i / weights; image < g.batch; image += n / weights) {
        const u64 channel = (u64)image * g.in_channels + m / out_group * in_group + c;
        const u64 outputs = ((u64)image * g.out_channels + m) * g.out_height;
        for (u32 oh = 0; oh < g.out_height; ++oh) {
            const u32 row = input_position(&g, 0, oh, kh);
            if (row >= g.in_height) continue;
            float part = 0;
            for (u32 ow = 0; ow < g.out_width; ++ow) {
                const u32 column = input_position(&g, 1, ow, kw);
                if (column >= g.in_width) continue;
                part += x[(channel * g.in_height + row) * g.in_width + column] * dy[(outputs + oh) * g.out_width + ow];
            }
            sum += part;
        }
    }
    dw[i] = (float)sum;
}
