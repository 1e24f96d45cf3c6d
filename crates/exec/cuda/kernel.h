// What lets the same file be CUDA for nvcc and C for the host, where tests call a kernel once per thread index.
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef __CUDACC__
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define GLOBAL_INDEX ((u64)blockIdx.x * blockDim.x + threadIdx.x)
#define DEVICE static __device__ __forceinline__
#define COUNT(counter) atomicAdd(counter, 1ULL)

DEVICE u32 bits_of(float x) { return __float_as_uint(x); }
DEVICE float number_of(u32 bits) { return __uint_as_float(bits); }
#else
#define KERNEL(name, ...)                      \
    void name(u64 global_index, __VA_ARGS__);  \
    void name(u64 global_index, __VA_ARGS__)
#define GLOBAL_INDEX global_index
#define DEVICE static inline
#define COUNT(counter) (++*(counter))

DEVICE u32 bits_of(float x) {
    union { float number; u32 bits; } both = { .number = x };
    return both.bits;
}
DEVICE float number_of(u32 bits) {
    union { u32 bits; float number; } both = { .bits = bits };
    return both.number;
}
#endif

// A sliding window over [batch, channels, height, width], as `Window` in `arguments.rs`.
struct Window {
    u32 batch, in_channels, in_height, in_width, out_channels, out_height, out_width;
    u32 kernel[2], stride[2], dilation[2], pad_begin[2], pad_end[2];
    u32 groups, count_include_pad;
};

// The input position of tap k of window o in dimension d; at least `size` where it lies in the padding.
DEVICE u32 input_position(const struct Window *g, int d, u32 o, u32 k) {
    return o * g->stride[d] + k * g->dilation[d] - g->pad_begin[d];
}

// Whether tap k of some window in dimension d is input position i; the window goes to `o`.
DEVICE int output_position(const struct Window *g, int d, u32 i, u32 k, u32 outputs, u32 *o) {
    const u32 reach = i + g->pad_begin[d], back = k * g->dilation[d];
    *o = (reach - back) / g->stride[d];
    return reach >= back && (reach - back) % g->stride[d] == 0 && *o < outputs;
}
