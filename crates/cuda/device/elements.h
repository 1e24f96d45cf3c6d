// Four elements of a tensor at a time, of which the last may be missing at its end.
#pragma once

#include "machine.h"

DEVICE void four_32(u32 x[4], const void *p) {
    const struct quad q = get128(p);
    UNROLL for (u32 e = 0; e < 4; e++) x[e] = q.word[e];
}
DEVICE void four_16(u32 x[4], const void *p) {
    const struct pair q = get64(p);
    UNROLL for (u32 e = 0; e < 4; e++) x[e] = q.word[e / 2] >> 16 * (e % 2) & 0xffff;
}
DEVICE void four_8(u32 x[4], const void *p) {
    const u32 q = get32(p);
    UNROLL for (u32 e = 0; e < 4; e++) x[e] = q >> 8 * e & 0xff;
}
DEVICE void put_four_32(void *p, const u32 x[4]) {
    const struct quad q = {{x[0], x[1], x[2], x[3]}};
    put128(p, q);
}
DEVICE void put_four_16(void *p, const u32 x[4]) {
    const struct pair q = {{x[0] | x[1] << 16, x[2] | x[3] << 16}};
    put64(p, q);
}
DEVICE void put_four_8(void *p, const u32 x[4]) { put32(p, x[0] | x[1] << 8 | x[2] << 16 | x[3] << 24); }

#define FOUR(width, type)                                                                              \
    DEVICE void load_each_##width(u32 x[4], const void *p, u64 first, u32 valid) {                     \
        const type *from = (const type *)p + first;                                                    \
        UNROLL for (u32 e = 0; e < 4; e++) x[e] = e < valid ? (u32)get##width(from + e) : 0;           \
    }                                                                                                  \
    DEVICE void load_##width(u32 x[4], const void *p, u64 first, u32 valid) {                          \
        if (valid == 4) return four_##width(x, (const type *)p + first);                               \
        load_each_##width(x, p, first, valid);                                                         \
    }                                                                                                  \
    DEVICE void store_each_##width(void *p, u64 first, u32 valid, const u32 x[4]) {                    \
        type *to = (type *)p + first;                                                                  \
        UNROLL for (u32 e = 0; e < 4; e++) if (e < valid) put##width(to + e, (type)x[e]);              \
    }                                                                                                  \
    DEVICE void store_##width(void *p, u64 first, u32 valid, const u32 x[4]) {                         \
        if (valid == 4) return put_four_##width((type *)p + first, x);                                 \
        store_each_##width(p, first, valid, x);                                                        \
    }
FOUR(32, u32)
FOUR(16, u16)
FOUR(8, u8)

// n / d for n below 2^31, by the numbers of crate `cuda`'s `Divisor`.
DEVICE u32 divided(u32 n, u32 magic, u32 shift) { return (u32)((u64)n * magic >> shift); }
