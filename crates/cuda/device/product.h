// Products of matrices on tensor cores: a block's tile of 128x128 numbers, 32 of the inner dimension at a time.
//
// Both operands lie in shared memory as rows of 32 numbers of 16 bits, 64 bytes each, in chunks of 16 bytes. The chunks of rows are permuted,
// so that neither writing them nor reading eight rows of one chunk meets a bank twice.
#pragma once

#include "elements.h"
#include "formats.h"

#define TILE 128
#define DEPTH 32
#define PRODUCT_THREADS 256
#define STAGED (TILE * DEPTH * 2)

DEVICE u32 chunk_at(u32 row, u32 chunk) { return row * 64 + (chunk ^ (row >> 1 & 3)) * 16; }

// Two exact BF16 numbers in a word, the first one low.
DEVICE u32 bf16_pair(u32 low, u32 high) { return low >> 16 | (high & 0xffff0000u); }

// The sums of a warp: 64 rows and 32 columns.
struct sums { float of[4][4][4]; };

// Adds the products of the operands that lie at two places of shared memory.
DEVICE void add_products(struct sums *sums, u32 a, u32 b, u32 row, u32 column) {
    const u32 lane = THREAD % 32;
    UNROLL for (u32 half = 0; half < 2; half++) {
        u32 left[4][4], right[2][4];
        UNROLL for (u32 i = 0; i < 4; i++) load_matrices(left[i], a + chunk_at(row + 16 * i + lane % 16, 2 * half + lane / 16));
        UNROLL for (u32 j = 0; j < 2; j++)
            load_matrices(right[j], b + chunk_at(column + 16 * j + lane / 16 * 8 + lane % 8, 2 * half + lane / 8 % 2));
        UNROLL for (u32 i = 0; i < 4; i++)
            UNROLL for (u32 j = 0; j < 4; j++) multiply_bf16(sums->of[i][j], left[i], right[j / 2] + 2 * (j % 2));
    }
}

// Adds a chain of products to the sums so far by ordinary additions, and begins another one.
DEVICE void end_chain(struct sums *total, struct sums *chain) {
    UNROLL for (u32 i = 0; i < 4; i++)
        UNROLL for (u32 j = 0; j < 4; j++)
            UNROLL for (u32 e = 0; e < 4; e++) {
                total->of[i][j][e] += chain->of[i][j][e];
                chain->of[i][j][e] = 0;
            }
}

// Eight elements of 8, 16 or 32 bits, as far as they are there; a bit of `inside` for each.
struct eight { u32 word[8]; };

DEVICE u32 element_8(const struct eight *x, u32 e) { return x->word[e / 4] >> 8 * (e % 4) & 0xff; }
DEVICE u32 element_16(const struct eight *x, u32 e) { return x->word[e / 2] >> 16 * (e % 2) & 0xffff; }
DEVICE u32 element_32(const struct eight *x, u32 e) { return x->word[e]; }

DEVICE void eight_8(struct eight *x, const void *p) {
    const struct pair q = get64(p);
    x->word[0] = q.word[0];
    x->word[1] = q.word[1];
}
DEVICE void eight_16(struct eight *x, const void *p) { four_32(x->word, p); }
DEVICE void eight_32(struct eight *x, const void *p) {
    four_32(x->word, p);
    four_32(x->word + 4, (const u8 *)p + 16);
}
DEVICE void none(struct eight *x) { UNROLL for (u32 w = 0; w < 8; w++) x->word[w] = 0; }
DEVICE void set_8(struct eight *x, u32 e, const void *p) { x->word[e / 4] |= (u32)get8(p) << 8 * (e % 4); }
DEVICE void set_16(struct eight *x, u32 e, const void *p) { x->word[e / 2] |= (u32)get16(p) << 16 * (e % 2); }
DEVICE void set_32(struct eight *x, u32 e, const void *p) { x->word[e] = get32(p); }

// A convolution's sizes. Rows are the pixels of the result, columns its channels; the inner dimension is the taps of the window, and the
// channels of each.
struct window {
    u32 rows, columns, inner;
    u32 height, width, channels;
    u32 out_pixels, pixels_magic, pixels_shift, out_width, width_magic, width_shift;
    u32 channels_magic, channels_shift, taps_width, taps_magic, taps_shift;
    u32 stride_height, stride_width, dilation_height, dilation_width, pad_height, pad_width;
};

// A pixel of the result: where the first tap of its window lies, and the image.
struct pixel { i32 top, left; u32 image; int is_there; };

DEVICE struct pixel pixel_of(const struct window *w, u32 row) {
    struct pixel p;
    p.is_there = row < w->rows;
    p.image = divided(row, w->pixels_magic, w->pixels_shift);
    const u32 rest = row - p.image * w->out_pixels, y = divided(rest, w->width_magic, w->width_shift);
    p.top = (i32)(y * w->stride_height) - (i32)w->pad_height;
    p.left = (i32)((rest - y * w->out_width) * w->stride_width) - (i32)w->pad_width;
    return p;
}

// The element of the input that an index of the inner dimension means for a pixel, and its channel; whether there is one.
DEVICE int input_of(const struct window *w, const struct pixel *p, u32 k, u64 *at, u32 *channel) {
    const u32 tap = divided(k, w->channels_magic, w->channels_shift), tap_row = divided(tap, w->taps_magic, w->taps_shift);
    *channel = k - tap * w->channels;
    const i32 y = p->top + (i32)(tap_row * w->dilation_height);
    const i32 x = p->left + (i32)((tap - tap_row * w->taps_width) * w->dilation_width);
    *at = (((u64)p->image * w->height + (u32)y) * w->width + (u32)x) * w->channels + *channel;
    return p->is_there && k < w->inner && (u32)y < w->height && (u32)x < w->width;
}
