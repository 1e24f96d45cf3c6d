//! Random numbers that are functions of a place: Threefry-2x32 of 20 rounds, for the elements of a block at a time.
//!
//! The bits are those of `bitbudget_ir::random`, whose text says what they are.

use crate::words::simd::LANES;

const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
const PARITY: u32 = 0x1BD1_1BDA;

/// The key of a name's part, a seed and an update.
pub(crate) fn key_of_update(key: u64, seed: u32, update: u32) -> u64 {
    let mixed = key ^ (u64::from(seed) << 32 | u64::from(update));
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// Numbers from 0 to below 1 for the elements from a place on.
#[inline(always)]
pub(crate) fn uniform(key: u64, at: u64, y: &mut [f32; LANES]) {
    let [low, high] = [key as u32, (key >> 32) as u32];
    let keys = [low, high, PARITY ^ low ^ high];
    let (mut a, mut b) = ([0u32; LANES], [0u32; LANES]);
    for i in 0..LANES {
        let counter = at + i as u64;
        a[i] = (counter as u32).wrapping_add(low);
        b[i] = ((counter >> 32) as u32).wrapping_add(high);
    }
    for group in 0..5 {
        for rotation in ROTATIONS[group % 2] {
            for i in 0..LANES {
                a[i] = a[i].wrapping_add(b[i]);
                b[i] = b[i].rotate_left(rotation) ^ a[i];
            }
        }
        let (to_a, to_b) = (keys[(group + 1) % 3], keys[(group + 2) % 3].wrapping_add(group as u32 + 1));
        for i in 0..LANES {
            a[i] = a[i].wrapping_add(to_a);
            b[i] = b[i].wrapping_add(to_b);
        }
    }
    for (y, a) in y.iter_mut().zip(a) {
        *y = (a >> 8) as f32 / 16_777_216.0;
    }
}
