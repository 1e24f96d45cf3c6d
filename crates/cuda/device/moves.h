// Elements in another arrangement: each index of up to six axes has a place in what is read and one in what is written.
#pragma once

#include "elements.h"
#include "formats.h"

#define MOVE_THREADS 256
// Elements, or groups of four, that a thread moves.
#define MOVE_TURNS 4
// Rows and columns that a block turns into columns and rows.
#define MOVE_TILE 32

// An axis: its size, the numbers that divide by it, and how many elements lie from one index to the next.
struct axis {
    u64 from, to;
    u32 size, magic, shift, unused;
};

struct places { u64 from, to; };

// The places of an index, the last axis first.
DEVICE struct places places_of(const struct axis *axes, u32 count, u32 index) {
    struct places p = {0, 0};
    UNROLL for (u32 k = 0; k < count; k++) {
        const u32 next = divided(index, axes[k].magic, axes[k].shift), i = index - next * axes[k].size;
        p.from += i * axes[k].from;
        p.to += i * axes[k].to;
        index = next;
    }
    return p;
}
