//! Random numbers that are functions of a place: what is computed again, or by another thread, is the same.
//!
//! The generator is Threefry-2x32 of 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011). Its key
//! is made of a name, a seed and the number of the update, its counter is the place of the element.

/// Rotations of the rounds, and the constant of the key schedule.
const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
const PARITY: u32 = 0x1BD1_1BDA;

/// The part of the key that a name makes: its FNV-1a hash of 64 bits.
pub fn key(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// The key of a name's part, a seed and an update, mixed by the last steps of SplitMix64.
pub fn key_of_update(key: u64, seed: u32, update: u32) -> u64 {
    let mixed = key ^ (u64::from(seed) << 32 | u64::from(update));
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// A number from 0 to below 1, a multiple of 2^-24, for the element at a place.
pub fn uniform(key: u64, at: u64) -> f32 {
    let [first, _] = threefry(halves(key), halves(at));
    (first >> 8) as f32 / 16_777_216.0
}

/// The low and the high half.
fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let keys = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let mut x = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    for group in 0..5 {
        for rotation in ROTATIONS[group % 2] {
            x[0] = x[0].wrapping_add(x[1]);
            x[1] = x[1].rotate_left(rotation) ^ x[0];
        }
        x[0] = x[0].wrapping_add(keys[(group + 1) % 3]);
        x[1] = x[1].wrapping_add(keys[(group + 2) % 3]).wrapping_add(group as u32 + 1);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::threefry;

    #[test]
    fn known_answers() {
        // Those that come with the authors' Random123.
        assert_eq!(threefry([0; 2], [0; 2]), [0x6B20_0159, 0x99BA_4EFE]);
        assert_eq!(threefry([u32::MAX; 2], [u32::MAX; 2]), [0x1CB9_96FC, 0xBB00_2BE7]);
        let (key, counter) = ([0x1319_8A2E, 0x0370_7344], [0x243F_6A88, 0x85A3_08D3]);
        assert_eq!(threefry(key, counter), [0xC492_3A9C, 0x483D_F7A0]);
    }
}
