// Slices by index.
#pragma once

#include "elements.h"
#include "formats.h"

// An index of an axis, of which a negative one counts from the end. One outside, which the host refuses, reads no other memory.
DEVICE u32 inside(i32 index, u32 size) {
    const u32 at = (u32)(index < 0 ? index + (i32)size : index);
    return at < size ? at : size - 1;
}

// The position of the lowest bit that is set.
DEVICE u32 lowest(u32 bits) {
    u32 at = 0;
    while (!(bits >> at & 1)) at++;
    return at;
}
