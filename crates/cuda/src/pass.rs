//! The products of a convolution.

use crate::side::Matrix;

/// Rows and columns of a block's tile, as in `product.h`.
pub(crate) const TILE: usize = 128;

/// How much of the inner dimension a step of the loop takes, as in `product.h`.
pub(crate) const DEPTH: usize = 32;

/// The most products that a tensor core adds to one sum, which it cuts off: 64 steps of 32.
pub(crate) const CHAIN: usize = 2048;

/// Which product a kernel computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Of the input and the weights: the output.
    Forward,
    /// Of the output's gradient and the weights: the input's.
    GradInput,
    /// Of the output's gradient and the input: the weights'.
    GradWeight,
}

/// Where windows lie, as far as kernels differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lying {
    /// They are one pixel each, and all pixels are.
    Points,
    /// At each pixel.
    Dense,
    /// Anywhere.
    Any,
}

impl Pass {
    /// How the operands are read.
    pub(crate) fn matrices(self, lying: Lying) -> [Matrix; 2] {
        match (self, lying) {
            (Pass::Forward, Lying::Points) => [Matrix::Points, Matrix::Filters],
            (Pass::Forward, Lying::Dense | Lying::Any) => [Matrix::Pixels, Matrix::Filters],
            (Pass::GradInput, Lying::Points) => [Matrix::Points, Matrix::PointChannels],
            (Pass::GradInput, Lying::Dense) => [Matrix::Dense, Matrix::Channels],
            (Pass::GradInput, Lying::Any) => [Matrix::Sources, Matrix::Channels],
            (Pass::GradWeight, Lying::Points) => [Matrix::Gradients, Matrix::PointWindows],
            (Pass::GradWeight, Lying::Dense | Lying::Any) => [Matrix::Gradients, Matrix::Windows],
        }
    }
}
