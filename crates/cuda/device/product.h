// Products of matrices on tensor cores: a block's tile of 128x128 numbers, 32 of the inner dimension at a time.
//
// An operand lies in shared memory in chunks of 16 bytes: 8 numbers of 16 bits, or 4 of 32. Along the inner dimension: 128 rows of 32 numbers.
// Across it, where memory holds the numbers of one index of the inner dimension side by side: 32 rows of 128 numbers, which are transposed as
// they are read. The chunks of rows are permuted, so that neither writing them nor reading a fragment meets a bank twice.
#pragma once

#include "elements.h"
#include "formats.h"

#define TILE 128
#define DEPTH 32
#define PRODUCT_THREADS 256

DEVICE u32 along_at(u32 row, u32 chunk) { return row * 64 + (chunk ^ (row >> 1 & 3)) * 16; }
DEVICE u32 across_at(u32 row, u32 chunk) { return row * 256 + (chunk ^ (row & 7)) * 16; }
DEVICE u32 wide_along_at(u32 row, u32 chunk) { return row * 128 + (chunk ^ (row & 7)) * 16; }
DEVICE u32 wide_across_at(u32 row, u32 chunk) { return row * 512 + (chunk ^ 2 * (row & 3)) * 16; }

// The highest bit of each byte of a word that has a value under a mask.
DEVICE u32 bytes_that_are(u32 x, u32 mask, u32 value) {
    const u32 v = (x & mask) ^ value;
    return ~(((v & 0x7f7f7f7fu) + 0x7f7f7f7fu) | v | 0x7f7f7f7fu);
}
// Four codes of 8 bits as BF16 numbers, two in a word: exponent and fraction go to their places, and a product by a power of two corrects the
// exponent, that of subnormal numbers too. Codes that have a value under a mask stand for no finite number: they get the largest exponent, and
// bits of a NaN beside their own.
DEVICE void four_bf16(u32 out[2], u32 codes, u32 shift, u32 fields, u32 scale, u32 mask, u32 value, u32 nan) {
    const u32 special = bytes_that_are(codes, mask, value);
    UNROLL for (u32 i = 0; i < 2; i++) {
        const u32 high = bytes_of(codes, i ? 0x3424 : 0x1404);
        out[i] = fused_bf16((high & 0x80008000u) | (high >> shift & fields), scale, 0x80008000u);
    }
    if (special) {
        UNROLL for (u32 i = 0; i < 2; i++) {
            const u32 at = bytes_of(special, i ? 0x3424 : 0x1404);
            out[i] |= (at - (at >> 8)) | (at >> 9 & nan);
        }
    }
}

// Eight numbers of 16 bits to shared memory; BF16 and FP16 hold them.
DEVICE void stage_bf16(u32 at, const u32 bits[8]) {
    struct quad q;
    UNROLL for (u32 w = 0; w < 4; w++) q.word[w] = bits[2 * w] >> 16 | (bits[2 * w + 1] & 0xffff0000u);
    shared_put128(at, q);
}
DEVICE void stage_fp16(u32 at, const u32 bits[8]) {
    const struct format f = {13, 0x1000, 0x38800000, 0x3f000000, 0x477ff000, 0x33000001, 0x7f800000, 0x7c00,
                             0x7e00, 0x7c00, 0x7bff, 0x400, 0x8000, 16, 1};
    struct quad q;
    UNROLL for (u32 w = 0; w < 4; w++) q.word[w] = encoded(f, bits[2 * w]) | encoded(f, bits[2 * w + 1]) << 16;
    shared_put128(at, q);
}
// Eight numbers of 32 bits in two chunks. Every second four threads begin with the second one, so that they do not meet the others.
DEVICE void stage_wide(u32 first, u32 second, const u32 bits[8]) {
    const struct quad low = {{bits[0], bits[1], bits[2], bits[3]}}, high = {{bits[4], bits[5], bits[6], bits[7]}};
    const int swapped = THREAD >> 2 & 1;
    shared_put128(swapped ? second : first, swapped ? high : low);
    shared_put128(swapped ? first : second, swapped ? low : high);
}

// The sums of a warp: 64 rows and 32 columns.
struct sums { float of[4][4][4]; };

// The fragments of the `i`-th 16 rows of a warp, or of the `j`-th 16 columns as two pairs of words, for half of the inner dimension. Places of
// fragments differ from the first one's by a distance, or in some bits, where their permutation allows no other way.
DEVICE void left_along(u32 r[4], u32 at, u32 row, u32 i, u32 half) {
    const u32 first = along_at(row + THREAD % 16, THREAD % 32 / 16);
    load_matrices(r, at + (first ^ 32 * half) + 1024 * i);
}
DEVICE void left_across(u32 r[4], u32 at, u32 row, u32 i, u32 half) {
    const u32 lane = THREAD % 32, first = across_at(lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2);
    load_matrices_transposed(r, at + (first ^ 32 * i) + 4096 * half);
}
DEVICE void right_along(u32 r[4], u32 at, u32 column, u32 j, u32 half) {
    const u32 lane = THREAD % 32, first = along_at(column + lane / 16 * 8 + lane % 8, lane / 8 % 2);
    load_matrices(r, at + (first ^ 32 * half) + 1024 * j);
}
DEVICE void right_across(u32 r[4], u32 at, u32 column, u32 j, u32 half) {
    const u32 lane = THREAD % 32, first = across_at(lane % 16, column / 8 + lane / 16);
    load_matrices_transposed(r, at + (first ^ 32 * j) + 4096 * half);
}

// Adds the products of the operands that lie at two places of shared memory.
#define ADD_PRODUCTS(name, load_left, load_right, multiply)                                                     \
    DEVICE void name(struct sums *sums, u32 a, u32 b, u32 row, u32 column) {                                    \
        UNROLL for (u32 half = 0; half < 2; half++) {                                                           \
            u32 left[4][4], right[2][4];                                                                        \
            UNROLL for (u32 i = 0; i < 4; i++) load_left(left[i], a, row, i, half);                            \
            UNROLL for (u32 j = 0; j < 2; j++) load_right(right[j], b, column, j, half);                       \
            UNROLL for (u32 i = 0; i < 4; i++)                                                                  \
                UNROLL for (u32 j = 0; j < 4; j++) multiply(sums->of[i][j], left[i], right[j / 2] + 2 * (j % 2)); \
        }                                                                                                       \
    }
ADD_PRODUCTS(add_forward_bf16, left_along, right_along, multiply_bf16)
ADD_PRODUCTS(add_input_bf16, left_along, right_across, multiply_bf16)
ADD_PRODUCTS(add_weight_bf16, left_across, right_across, multiply_bf16)
ADD_PRODUCTS(add_forward_fp16, left_along, right_along, multiply_fp16)
ADD_PRODUCTS(add_input_fp16, left_along, right_across, multiply_fp16)
ADD_PRODUCTS(add_weight_fp16, left_across, right_across, multiply_fp16)

// The same for numbers of 32 bits, for an eighth of 8 numbers of the inner dimension.
DEVICE void wide_left_along(u32 r[4], u32 at, u32 row, u32 i, u32 eighth) {
    const u32 first = wide_along_at(row + THREAD % 16, THREAD % 32 / 16);
    load_matrices(r, at + (first ^ 32 * eighth) + 2048 * i);
}
DEVICE void wide_right_along(u32 r[4], u32 at, u32 column, u32 j, u32 eighth) {
    const u32 lane = THREAD % 32, first = wide_along_at(column + lane / 16 * 8 + lane % 8, lane / 8 % 2);
    load_matrices(r, at + (first ^ 32 * eighth) + 2048 * j);
}
// The place of the number at `THREAD % 4` of the inner dimension of a row or column of a warp.
DEVICE u32 wide_across(u32 first) {
    const u32 index = first + THREAD % 32 / 4;
    return wide_across_at(THREAD % 4, index / 4) + index % 4 * 4;
}
DEVICE void wide_left_across(u32 r[4], u32 at, u32 row, u32 i, u32 eighth) {
    const u32 first = wide_across(row);
    UNROLL for (u32 w = 0; w < 4; w++) r[w] = shared_get32(at + (first ^ (32 * (w % 2) + 64 * i)) + 512 * (8 * eighth + w / 2 * 4));
}
DEVICE void wide_right_across(u32 r[4], u32 at, u32 column, u32 j, u32 eighth) {
    const u32 first = wide_across(column);
    UNROLL for (u32 w = 0; w < 4; w++) r[w] = shared_get32(at + (first ^ (32 * (w / 2) + 64 * j)) + 512 * (8 * eighth + w % 2 * 4));
}

// What TF32 holds of numbers, and what is left of them.
DEVICE void split(u32 high[4], u32 low[4], const u32 x[4]) {
    UNROLL for (u32 w = 0; w < 4; w++) {
        high[w] = x[w] & 0xffffe000u;
        low[w] = bits_of(number_of(x[w]) - number_of(high[w]));
    }
}

#define ADD_TF32(name, load_left, load_right)                                                                   \
    DEVICE void name(struct sums *sums, u32 a, u32 b, u32 row, u32 column) {                                    \
        UNROLL for (u32 eighth = 0; eighth < 4; eighth++) {                                                     \
            u32 left[4], right[2][4];                                                                           \
            UNROLL for (u32 j = 0; j < 2; j++) load_right(right[j], b, column, j, eighth);                     \
            UNROLL for (u32 i = 0; i < 4; i++) {                                                                \
                load_left(left, a, row, i, eighth);                                                            \
                UNROLL for (u32 j = 0; j < 4; j++) multiply_tf32(sums->of[i][j], left, right[j / 2] + 2 * (j % 2)); \
            }                                                                                                   \
        }                                                                                                       \
    }
ADD_TF32(add_forward_tf32, wide_left_along, wide_right_along)
ADD_TF32(add_input_tf32, wide_left_along, wide_right_across)
ADD_TF32(add_weight_tf32, wide_left_across, wide_right_across)

// FP32 numbers as sums of two in TF32; the product of what is left of both is left out. Small products come first.
#define ADD_SPLIT(name, load_left, load_right)                                                                  \
    DEVICE void name(struct sums *sums, u32 a, u32 b, u32 row, u32 column) {                                    \
        UNROLL for (u32 eighth = 0; eighth < 4; eighth++) {                                                     \
            u32 x[4], left[2][4], right[2][2][4];                                                               \
            UNROLL for (u32 j = 0; j < 2; j++) {                                                                \
                load_right(x, b, column, j, eighth);                                                           \
                split(right[0][j], right[1][j], x);                                                             \
            }                                                                                                   \
            UNROLL for (u32 i = 0; i < 4; i++) {                                                                \
                load_left(x, a, row, i, eighth);                                                               \
                split(left[0], left[1], x);                                                                     \
                UNROLL for (u32 j = 0; j < 4; j++) {                                                            \
                    multiply_tf32(sums->of[i][j], left[1], right[0][j / 2] + 2 * (j % 2));                      \
                    multiply_tf32(sums->of[i][j], left[0], right[1][j / 2] + 2 * (j % 2));                      \
                    multiply_tf32(sums->of[i][j], left[0], right[0][j / 2] + 2 * (j % 2));                      \
                }                                                                                               \
            }                                                                                                   \
        }                                                                                                       \
    }
ADD_SPLIT(add_forward_split, wide_left_along, wide_right_along)
ADD_SPLIT(add_input_split, wide_left_along, wide_right_across)
ADD_SPLIT(add_weight_split, wide_left_across, wide_right_across)

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

// A convolution's sizes. Rows and columns are those of the result, `inner` is what is summed over. `out` are the pixels that rows or the
// inner dimension count, `height` and `width` those of the image that windows lie on, which has `channels`. From a pixel of the image to the next
// it is `pitch` numbers, from one of the gradient that is read across `across_pitch`, from a row of the result to the next `result_pitch`.
struct window {
    u32 rows, columns, inner;
    u32 pitch, across_pitch, result_pitch, channel_step, bias_step;
    u32 height, width, channels;
    u32 out_pixels, pixels_magic, pixels_shift, out_width, width_magic, width_shift;
    u32 channels_magic, channels_shift, taps_width, taps_magic, taps_shift, taps;
    u32 stride_height, stride_width, dilation_height, dilation_width, pad_height, pad_width;
    u32 parts, part_steps;
};

// A row or column of an operand: an index, the place of its first number, the pixel that it means or begins at, and a tap of the window. What is
// out of the image has a place, too, which is not read.
struct line {
    u32 index, image, tap_row, tap_column, channel;
    i32 y, x;
    int is_there;
    u64 base;
};

struct spot { i32 y, x; u32 image; };

DEVICE struct spot spot_of(const struct window *w, u32 pixel) {
    struct spot s;
    s.image = divided(pixel, w->pixels_magic, w->pixels_shift);
    const u32 rest = pixel - s.image * w->out_pixels;
    s.y = (i32)divided(rest, w->width_magic, w->width_shift);
    s.x = (i32)(rest - (u32)s.y * w->out_width);
    return s;
}

DEVICE void tap_of(const struct window *w, u32 index, struct line *l) {
    const u32 tap = divided(index, w->channels_magic, w->channels_shift);
    l->channel = index - tap * w->channels;
    l->tap_row = divided(tap, w->taps_magic, w->taps_shift);
    l->tap_column = tap - l->tap_row * w->taps_width;
}

DEVICE u64 place_of(const struct window *w, u32 image, i32 y, i32 x) {
    return (((u64)image * w->height + (u64)(i64)y) * w->width + (u64)(i64)x) * w->pitch;
}
DEVICE int is_inside(const struct window *w, i32 y, i32 x) { return (u32)y < w->height && (u32)x < w->width; }

// Pixels of the result by the window's taps and channels: the input of a convolution.
DEVICE struct line pixels_line(const struct window *w, u32 index) {
    const struct spot s = spot_of(w, index);
    struct line l = {index, s.image, 0, 0, 0, 0, 0, index < w->rows, 0};
    l.y = s.y * (i32)w->stride_height - (i32)w->pad_height;
    l.x = s.x * (i32)w->stride_width - (i32)w->pad_width;
    l.base = place_of(w, s.image, l.y, l.x);
    return l;
}
DEVICE int pixels_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    struct line tap;
    tap_of(w, k, &tap);
    *channel = tap.channel;
    const u32 down = tap.tap_row * w->dilation_height, right = tap.tap_column * w->dilation_width;
    *at = l->base + ((u64)(down * w->width + right) * w->pitch + tap.channel);
    return is_inside(w, l->y + (i32)down, l->x + (i32)right) && l->is_there && k < w->inner;
}

// Pixels by channels, where windows are one pixel each.
DEVICE struct line points_line(const struct window *w, u32 index) {
    struct line l = {index, 0, 0, 0, 0, 0, 0, index < w->rows, (u64)index * w->pitch};
    return l;
}
DEVICE int points_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    *at = l->base + k;
    *channel = k;
    return l->is_there && k < w->inner;
}

// Output channels by taps and channels: weights, as they lie.
DEVICE struct line filters_line(const struct window *w, u32 index) {
    struct line l = {index, 0, 0, 0, 0, 0, 0, index < w->columns, (u64)index * w->inner};
    return l;
}
DEVICE int filters_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    *at = l->base + k;
    *channel = k;
    return l->is_there && k < w->inner;
}

// Pixels of the input by taps and output channels: the output's gradient where windows hold the pixel.
DEVICE struct line sources_line(const struct window *w, u32 index) {
    const struct spot s = spot_of(w, index);
    struct line l = {index, s.image, 0, 0, 0, 0, 0, index < w->rows, 0};
    l.y = s.y + (i32)w->pad_height;
    l.x = s.x + (i32)w->pad_width;
    l.base = place_of(w, s.image, l.y, l.x);
    return l;
}
DEVICE int sources_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    struct line tap;
    tap_of(w, k, &tap);
    *channel = tap.channel;
    const i32 down = l->y - (i32)(tap.tap_row * w->dilation_height), right = l->x - (i32)(tap.tap_column * w->dilation_width);
    const i32 y = down / (i32)w->stride_height, x = right / (i32)w->stride_width;
    const int meets = down >= 0 && right >= 0 && y * (i32)w->stride_height == down && x * (i32)w->stride_width == right;
    *at = place_of(w, l->image, y, x) + tap.channel;
    return is_inside(w, y, x) && meets && l->is_there && k < w->inner;
}

// The same where windows lie at each pixel.
DEVICE struct line dense_line(const struct window *w, u32 index) { return sources_line(w, index); }
DEVICE int dense_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    struct line tap;
    tap_of(w, k, &tap);
    *channel = tap.channel;
    const u32 down = tap.tap_row * w->dilation_height, right = tap.tap_column * w->dilation_width;
    *at = l->base - (u64)(down * w->width + right) * w->pitch + tap.channel;
    return is_inside(w, l->y - (i32)down, l->x - (i32)right) && l->is_there && k < w->inner;
}

// Channels by taps and output channels: weights, across.
DEVICE struct line channels_line(const struct window *w, u32 index) {
    struct line l = {index, 0, 0, 0, 0, 0, 0, index < w->columns, 0};
    return l;
}
DEVICE int channels_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    const u32 tap = divided(k, w->channels_magic, w->channels_shift), filter = k - tap * w->channels;
    *at = ((u64)filter * w->taps + tap) * w->columns + l->index;
    *channel = l->index;
    return l->is_there && k < w->inner;
}

// The same where windows are one pixel each.
DEVICE struct line point_channels_line(const struct window *w, u32 index) { return channels_line(w, index); }
DEVICE int point_channels_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    *at = (u64)k * w->columns + l->index;
    *channel = l->index;
    return l->is_there && k < w->inner;
}

// Output channels by pixels of the output: its gradient, across.
DEVICE struct line gradients_line(const struct window *w, u32 index) {
    struct line l = {index, 0, 0, 0, 0, 0, 0, index < w->rows, 0};
    return l;
}
DEVICE int gradients_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    *at = (u64)k * w->across_pitch + l->index;
    *channel = l->index;
    return l->is_there && k < w->inner;
}

// Taps and channels by pixels of the output: the input where windows lie, across.
DEVICE struct line windows_line(const struct window *w, u32 index) {
    struct line l = {index, 0, 0, 0, 0, 0, 0, index < w->columns, 0};
    tap_of(w, index, &l);
    l.y = (i32)(l.tap_row * w->dilation_height) - (i32)w->pad_height;
    l.x = (i32)(l.tap_column * w->dilation_width) - (i32)w->pad_width;
    l.base = place_of(w, 0, l.y, l.x) + l.channel;
    return l;
}
DEVICE int windows_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    const struct spot s = spot_of(w, k);
    *channel = l->channel;
    const i32 y = s.y * (i32)w->stride_height, x = s.x * (i32)w->stride_width;
    *at = l->base + place_of(w, s.image, y, x);
    return is_inside(w, y + l->y, x + l->x) && l->is_there && k < w->inner;
}

// Channels by pixels, across, where windows are one pixel each.
DEVICE struct line point_windows_line(const struct window *w, u32 index) {
    struct line l = {index, 0, 0, 0, 0, 0, 0, index < w->columns, 0};
    return l;
}
DEVICE int point_windows_find(const struct window *w, const struct line *l, u32 k, u64 *at, u32 *channel) {
    *at = (u64)k * w->pitch + l->index;
    *channel = l->index;
    return l->is_there && k < w->inner;
}
