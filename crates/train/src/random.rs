//! Random numbers that depend only on what they are for, never on who asks first.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The purposes of random numbers; two purposes never share a stream.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Shuffle = 1,
    Augment = 2,
    SyntheticTemplate = 3,
    SyntheticTrain = 4,
    SyntheticTest = 5,
    Arrays = 6,
}

/// The generator for one purpose, seed, epoch and index of an example.
pub(crate) fn generator(purpose: Purpose, seed: u64, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, value) in key.chunks_exact_mut(8).zip([purpose as u64, seed, epoch, index]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
