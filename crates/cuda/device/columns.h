// Sums over the rows of [rows, channels]: parts of the rows by blocks, then the parts in their order.
#pragma once

#include "elements.h"
#include "formats.h"

#define COLUMNS_THREADS 256

// Sizes. A block takes `part_rows` rows of 4 * lanes channels, of which each thread takes 4; `lanes` is a power of two.
struct columns {
    u32 rows, channels, lanes, part_rows, parts;
};

// How many numbers there are, their mean, and the sum of the squares of their differences from it.
struct moments {
    float count, mean, squares;
};

// Those of two sets together (Chan, Golub and LeVeque, 1979).
DEVICE struct moments joined(struct moments a, struct moments b) {
    const float count = a.count + b.count, apart = b.mean - a.mean;
    if (a.count == 0) return b;
    if (b.count == 0) return a;
    const struct moments m = {count, a.mean + apart * (b.count / count), a.squares + b.squares + apart * apart * (a.count * b.count / count)};
    return m;
}

// Those of numbers of which the sums of the differences from `shift`, and of their squares, are known.
DEVICE struct moments shifted(u32 count, float shift, float sum, float squares) {
    const float n = (float)count, mean = count ? sum / n : 0, rest = squares - sum * mean;
    const struct moments m = {n, shift + mean, rest < 0 ? 0 : rest};
    return m;
}

// How many of a part's rows a line of threads takes.
DEVICE u32 rows_of(u32 rows, u32 line, u32 lines) { return rows > line ? (rows - line - 1) / lines + 1 : 0; }
