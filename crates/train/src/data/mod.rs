//! Labelled examples: where they come from, how they are fitted to a network, how they are normalised.

mod arrange;
mod arrays;
mod change;
mod cifar;
mod dataset;
mod digits;
mod fit;
mod folder;
mod labels;
mod layout;
mod mnist;
mod normalization;
mod npy;
mod npz;
mod ports;
mod resize;
mod source;
mod synthetic;

pub(crate) use arrays::Column;
pub use arrays::{Arrays, Columns};
pub use dataset::{Dataset, Images, Network, Split};
pub use fit::{Fitting, fit};
pub use layout::Layout;
pub(crate) use layout::transpose;
pub use normalization::Normalization;
pub use npz::shapes as array_shapes;
pub use ports::{Interface, Port};
pub use resize::Resize;
pub use source::{DataSpec, load};
