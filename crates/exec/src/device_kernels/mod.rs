//! The kernels of `cuda/*.cu`, for what candle lacks on CUDA: rounding with counts, grouped and uneven convolutions,
//! pooling. Tests run the same files, compiled as C, on the host.

mod arguments;
#[cfg(feature = "cuda")]
mod launch;
#[cfg(all(test, feature = "host-kernels"))]
mod tests;

pub(crate) use arguments::{Rounding, Window};
#[cfg(feature = "cuda")]
pub(crate) use launch::{convolve, indices, pool, round, scatter};
