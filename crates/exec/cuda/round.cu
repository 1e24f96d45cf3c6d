// Rounding to a format with counts, the same bits as `bitbudget_formats::Rounder`.
#include "kernel.h"

// As `Rounding` in `arguments.rs`; numbers are held as their bits.
struct Rounding {
    u32 shift, min_normal, subnormal_unit, overflow_threshold, underflow_threshold, overflow, ties_to_even;
};

#define INFINITY_BITS 0x7f800000u
#define NAN_BITS 0x7fc00000u

DEVICE u32 add(u32 a, u32 b) { return bits_of(number_of(a) + number_of(b)); }
DEVICE u32 sub(u32 a, u32 b) { return bits_of(number_of(a) - number_of(b)); }

// y = x rounded; counts: overflow, underflow, not finite. One thread per element.
KERNEL(round_to_format, struct Rounding c, u64 n, const float *x, float *y, u64 *counts) {
    const u64 i = GLOBAL_INDEX;
    if (i >= n) return;
    const u32 bits = bits_of(x[i]), a = bits & 0x7fffffffu, sign = bits ^ a;
    const u32 keep = 0xffffffffu << c.shift, half = (1u << c.shift) >> 1;
    const int small = a < c.min_normal;
    u32 rounded;
    if (c.ties_to_even) {
        rounded = small ? sub(add(a, c.subnormal_unit), c.subnormal_unit)
                        : (a + (half - 1) + ((a >> c.shift) & 1)) & keep;
    } else {
        // The paper rounds subnormals twice: in the FP32 sum with the smallest normal, then in its bits.
        const u32 addend = small ? c.min_normal : 0;
        rounded = sub((add(a, addend) + half) & keep, addend);
    }
    if (a >= c.overflow_threshold) rounded = c.overflow;
    rounded = !c.ties_to_even && rounded == 0 ? 0 : rounded | sign;
    y[i] = number_of(a > INFINITY_BITS ? NAN_BITS : rounded);
    if (a >= c.overflow_threshold) COUNT(&counts[0]);
    if (a != 0 && a < c.underflow_threshold) COUNT(&counts[1]);
    if (a >= INFINITY_BITS) COUNT(&counts[2]);
}
