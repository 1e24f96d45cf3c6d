// Rounding, packing and unpacking, with the bits of crate `formats`. Formats are constants, so that compilers fold what does not apply.
#pragma once

#include "machine.h"

// The numbers of a format and an overflow mode, as `bitbudget_formats::Constants`; floating-point ones are held as their bits.
struct format {
    u32 shift, half, min_normal, subnormal_unit, overflow_threshold, underflow_threshold, overflow, overflow_code;
    u32 nan_code, infinity_code, max_code, min_normal_code, sign_code, sign_shift;
    u32 ties_to_even;
};

#define INFINITY_BITS 0x7f800000u
#define NAN_BITS 0x7fc00000u
#define MAGNITUDE 0x7fffffffu

DEVICE u32 sum_of_bits(u32 a, u32 b) { return bits_of(number_of(a) + number_of(b)); }
DEVICE u32 difference_of_bits(u32 a, u32 b) { return bits_of(number_of(a) - number_of(b)); }

// The bits of a number rounded to a format.
DEVICE u32 rounded(const struct format f, u32 bits) {
    const u32 a = bits & MAGNITUDE, sign = bits ^ a, keep = 0xffffffffu << f.shift;
    const int small = a < f.min_normal;
    u32 y;
    if (f.ties_to_even) {
        const u32 subnormal = difference_of_bits(sum_of_bits(a, f.subnormal_unit), f.subnormal_unit);
        y = small ? subnormal : (a + (f.half - 1) + ((a >> f.shift) & 1)) & keep;
    } else {
        // The paper rounds subnormals twice: in the FP32 sum with the smallest normal, then in its bits.
        const u32 addend = small ? f.min_normal : 0;
        y = difference_of_bits((sum_of_bits(a, addend) + f.half) & keep, addend);
    }
    y = a >= f.overflow_threshold ? f.overflow : y;
    y = !f.ties_to_even && y == 0 ? 0 : y | sign;
    return a > INFINITY_BITS ? NAN_BITS : y;
}

// The code of a number's bits in a format.
DEVICE u32 encoded(const struct format f, u32 bits) {
    const u32 a = bits & MAGNITUDE, sign = (bits ^ a) >> f.sign_shift;
    const int small = a < f.min_normal;
    // Codes are in the order of magnitudes, so a code is a difference of bits in units of the last place.
    const u32 normal_first = (f.min_normal >> f.shift) - f.min_normal_code;
    u32 code;
    if (f.ties_to_even) {
        const u32 subnormal = sum_of_bits(a, f.subnormal_unit) - f.subnormal_unit;
        const u32 normal = ((a + (f.half - 1) + ((a >> f.shift) & 1)) >> f.shift) - normal_first;
        code = small ? subnormal : normal;
    } else {
        const u32 addend = small ? f.min_normal : 0, first = small ? f.min_normal >> f.shift : normal_first;
        code = ((sum_of_bits(a, addend) + f.half) >> f.shift) - first;
    }
    code = a >= f.overflow_threshold ? f.overflow_code : code;
    code = !f.ties_to_even && code == 0 ? 0 : code | sign;
    return a > INFINITY_BITS ? f.nan_code : code;
}

// The bits of the number that a code stands for.
DEVICE u32 decoded(const struct format f, u32 code) {
    const u32 sign = code & f.sign_code, fields = code & (f.sign_code - 1);
    const int small = fields < f.min_normal_code, infinite = f.ties_to_even && fields == f.infinity_code;
    const u32 addend = small ? f.min_normal : 0, base = small ? f.min_normal : f.min_normal - (1u << 23);
    const u32 a = infinite ? INFINITY_BITS : difference_of_bits((fields << f.shift) + base, addend);
    const int nan = (fields > f.max_code && !infinite) || (!f.ties_to_even && code == f.sign_code);
    return nan ? NAN_BITS : a | sign << f.sign_shift;
}

// How many numbers overflow, underflow, are not finite.
struct counts { u32 overflow, underflow, not_finite; };

DEVICE void count_number(const struct format f, u32 bits, struct counts *c) {
    const u32 a = bits & MAGNITUDE;
    c->overflow += a >= f.overflow_threshold;
    c->underflow += a != 0 && a < f.underflow_threshold;
    c->not_finite += a >= INFINITY_BITS;
}

// Adds a warp's counts to three counters of 64 bits.
DEVICE void add_counts(struct counts c, u64 *counters) {
    UNROLL for (u32 lanes = 16; lanes > 0; lanes >>= 1) {
        c.overflow += shuffle_xor(c.overflow, lanes);
        c.underflow += shuffle_xor(c.underflow, lanes);
        c.not_finite += shuffle_xor(c.not_finite, lanes);
    }
    if (THREAD % 32 == 0) {
        if (c.overflow) count64(counters, c.overflow);
        if (c.underflow) count64(counters + 1, c.underflow);
        if (c.not_finite) count64(counters + 2, c.not_finite);
    }
}
