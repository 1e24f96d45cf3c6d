//! Pseudorandom numbers, the same in every run.

/// The generator xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016). The
/// state must not be 0. Packings, and so peaks, depend on its sequence, which no update of a library may change.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `n`, or 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }
}
