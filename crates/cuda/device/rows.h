// Functions of rows: a warp or a block takes one.
#pragma once

#include "elements.h"
#include "formats.h"
#include "functions.h"

#define ROWS_THREADS 256

// How many of the four elements from `at` on a row has.
DEVICE u32 rest_of(u32 length, u32 at) { return at >= length ? 0 : length - at < 4 ? length - at : 4; }

DEVICE float larger(float a, float b) { return a < b ? b : a; }
DEVICE float sum(float a, float b) { return a + b; }

// Numbers of all threads joined, in an order that does not depend on timing. A block's are joined in the first 32 bytes of shared memory.
#define JOINED(name, join)                                                                            \
    DEVICE float name##_of_warp(float x) {                                                            \
        UNROLL for (u32 lanes = 16; lanes > 0; lanes >>= 1)                                           \
            x = join(x, number_of(shuffle_xor(bits_of(x), lanes)));                                   \
        return x;                                                                                     \
    }                                                                                                 \
    DEVICE float name##_of_block(float x) {                                                           \
        x = name##_of_warp(x);                                                                        \
        if (THREAD % 32 == 0) shared_put32(THREAD / 8, bits_of(x));                                   \
        barrier();                                                                                    \
        float all = number_of(shared_get32(0));                                                       \
        UNROLL for (u32 i = 1; i < ROWS_THREADS / 32; i++) all = join(all, number_of(shared_get32(4 * i))); \
        barrier();                                                                                    \
        return all;                                                                                   \
    }
JOINED(sum, sum)
JOINED(largest, larger)
