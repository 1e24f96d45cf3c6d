//! CPU kernels over plain FP32 slices.
mod conv;
mod error;
mod gemm;
mod parallel;
mod simd;

pub use conv::{Conv2d, conv2d, conv2d_grad_input, conv2d_grad_weight};
pub use error::ShapeError;
pub use gemm::matmul;
