// Windows with channels last: a thread takes four channels of a pixel of the result.
#pragma once

#include "elements.h"
#include "formats.h"
#include "functions.h"

#define POOL_THREADS 256
// Taps whose sums a thread holds.
#define HELD_TAPS 9
#define NO_TAP 0xffffffffu

// A number to divide by, below 2^31.
struct divisor { u32 number, magic, shift; };

// Height first. `image` is the size of what is pooled, `size` that of the tensor that is read: in gradients these are not the same. `counted` are
// the pixels of an image of the result, and those of its rows.
struct pool {
    u32 threads, channels, image[2], padded[2];
    u32 size[2], kernel[2], dilations[2], pads[2];
    struct divisor groups, counted[2], strides[2];
};

// A pixel of the result, and the first of its channels.
struct pixel { u32 image, place[2], channel; };

DEVICE struct pixel pixel_at(const struct pool *p, u32 index, u32 channel) {
    const u32 image = divided(index, p->counted[0].magic, p->counted[0].shift), in_image = index - image * p->counted[0].number;
    const u32 row = divided(in_image, p->counted[1].magic, p->counted[1].shift);
    const struct pixel x = {image, {row, in_image - row * p->counted[1].number}, channel};
    return x;
}

// The place of a window's tap, if it is in the image.
DEVICE int place_of_tap(const struct pool *p, u32 d, u32 window, u32 tap, u32 *place) {
    *place = window * p->strides[d].number + tap * p->dilations[d] - p->pads[d];
    return *place < p->size[d];
}
// The window of which a place is a tap, if there is one.
DEVICE int window_of_tap(const struct pool *p, u32 d, u32 place, u32 tap, u32 *window) {
    const u32 first = place + p->pads[d] - tap * p->dilations[d];
    if ((i32)first < 0) return 0;
    *window = divided(first, p->strides[d].magic, p->strides[d].shift);
    return *window * p->strides[d].number == first && *window < p->size[d];
}

// How many taps a window has in the image, or in its borders too; at least one.
DEVICE float taps_of_window(const struct pool *p, const u32 window[2], int is_padded) {
    u32 taps = 1;
    UNROLL for (u32 d = 0; d < 2; d++) {
        u32 count = 0;
        for (u32 tap = 0; tap < p->kernel[d]; tap++) {
            const u32 at = window[d] * p->strides[d].number + tap * p->dilations[d];
            count += is_padded ? at < p->padded[d] : at - p->pads[d] < p->image[d];
        }
        taps *= count;
    }
    return taps ? (float)taps : 1.0f;
}

DEVICE u64 first_of(const struct pool *p, const struct pixel *x, const u32 place[2]) {
    return (((u64)x->image * p->size[0] + place[0]) * p->size[1] + place[1]) * p->channels + x->channel;
}
