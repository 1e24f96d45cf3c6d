// Functions of numbers, with the bits of crate `kernels`.
#pragma once

#include "machine.h"

// e^x within two units in the last place (subnormal results included); the polynomial is that of Cephes' `expf`.
DEVICE float exponential(float x) {
    // Beyond these bounds the result is infinity or zero, and the steps below say so. A NaN passes.
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    // Adding this moves the integer nearest to x / ln 2 to the low bits.
    const float shift = 12582912.0f, shifted = fused(x, 1.44269504088896340736f, shift), n = shifted - shift;
    // ln 2 in two parts, of which the first times n is exact.
    const float r = fused(n, 2.1219444e-4f, fused(n, -0.6933594f, x));
    float p = 1.9875691e-4f;
    p = fused(p, r, 1.3981999e-3f);
    p = fused(p, r, 8.333452e-3f);
    p = fused(p, r, 4.1665796e-2f);
    p = fused(p, r, 1.6666665e-1f);
    p = fused(p, r, 0.5f);
    p = fused(p, r * r, r) + 1.0f;
    // In two factors, since 2^n may be beyond the largest number or below the smallest normal one.
    const u32 whole = bits_of(shifted) - bits_of(shift), half = (u32)((i32)whole >> 1);
    return p * number_of((half + 127) << 23) * number_of((whole - half + 127) << 23);
}

// The magnitude of a number with the sign of another.
DEVICE float with_sign(float x, float sign) { return number_of((bits_of(x) & 0x7fffffffu) | (bits_of(sign) & 0x80000000u)); }
DEVICE float magnitude(float x) { return number_of(bits_of(x) & 0x7fffffffu); }

// Within two units in the last place; the polynomial is that of Cephes' `tanhf`.
DEVICE float hyperbolic_tangent(float x) {
    const float square = x * x;
    float p = -5.7049887e-3f;
    p = fused(p, square, 2.063909e-2f);
    p = fused(p, square, -5.3739715e-2f);
    p = fused(p, square, 1.3331442e-1f);
    p = fused(p, square, -3.333328e-1f);
    const float small = fused(p * square, x, x);
    const float large = with_sign(1.0f - 2.0f / (exponential(2.0f * magnitude(x)) + 1.0f), x);
    return magnitude(x) < 0.625f ? small : large;
}

// The error function within two units in the last place: `x + x p(x^2)` near zero, `1 - e^(-x q(x))` farther out.
DEVICE float error_function(float x) {
    const float square = x * x;
    float p = 8.327487e-5f, q = 5.429105e-7f, t = magnitude(x);
    const int is_small = t < 0.9277f;
    p = fused(p, square, -8.133215e-4f);
    p = fused(p, square, 5.200261e-3f);
    p = fused(p, square, -2.685912e-2f);
    p = fused(p, square, 1.1283691e-1f);
    p = fused(p, square, -3.7612635e-1f);
    p = fused(p, square, 1.2837917e-1f);
    const float small = fused(p, x, x);
    // The result is 1 from there on. A NaN passes.
    t = t > 4.0f ? 4.0f : t;
    q = fused(q, t, -1.0986745e-5f);
    q = fused(q, t, 9.702732e-5f);
    q = fused(q, t, -4.716784e-4f);
    q = fused(q, t, 1.1607303e-3f);
    q = fused(q, t, 7.2851864e-4f);
    q = fused(q, t, -2.009852e-2f);
    q = fused(q, t, 1.0338808e-1f);
    q = fused(q, t, 6.3639753e-1f);
    q = fused(q, t, 1.1284143f);
    return is_small ? small : with_sign(1.0f - exponential(-(q * t)), x);
}

DEVICE u32 rotated(u32 x, u32 by) { return x << by | x >> (32 - by); }

// A number from 0 to below 1, of a key, a seed, the number of an update and an element's place: Threefry-2x32 of 20 rounds, as `random` of
// crate `ir`.
DEVICE float uniform(u64 key, u32 seed, u32 update, u64 at) {
    u64 mixed = key ^ ((u64)seed << 32 | update);
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9ull;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBull;
    mixed ^= mixed >> 31;
    const u32 k0 = (u32)mixed, k1 = (u32)(mixed >> 32), k2 = 0x1BD11BDAu ^ k0 ^ k1;
    u32 x = (u32)at + k0, y = (u32)(at >> 32) + k1;
#define ROUND(by) x += y; y = rotated(y, by) ^ x;
    ROUND(13) ROUND(15) ROUND(26) ROUND(6)  x += k1; y += k2 + 1;
    ROUND(17) ROUND(29) ROUND(16) ROUND(24) x += k2; y += k0 + 2;
    ROUND(13) ROUND(15) ROUND(26) ROUND(6)  x += k0; y += k1 + 3;
    ROUND(17) ROUND(29) ROUND(16) ROUND(24) x += k1; y += k2 + 4;
    ROUND(13) ROUND(15) ROUND(26) ROUND(6)  x += k2; y += k0 + 5;
#undef ROUND
    return (float)(x >> 8) / 16777216.0f;
}
