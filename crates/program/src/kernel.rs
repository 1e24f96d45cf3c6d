//! The kernel that was selected for an instruction.

use std::fmt;

/// How the parts of an instruction are computed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The kind of kernel that computes the heads.
    pub family: Family,
    /// The role of each part, in order.
    pub roles: Vec<Role>,
    /// Bytes in the arena that it needs while it runs, beside operands and results.
    pub workspace: usize,
    /// Bytes of scratch memory that each thread needs.
    pub scratch: usize,
}

/// The role of a part in its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its elements are computed whenever a later part reads some of them, and stored nowhere.
    Prologue,
    /// It is computed as a whole.
    Head,
}

/// A kind of kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Operators that compute element by element, all of them for a tile of elements at a time.
    Elementwise,
    /// A convolution, or its gradient by the input or the weights.
    Convolution,
    /// A matrix product.
    Product,
    /// Pooling, or its gradient.
    Pooling,
    /// Sums, means and variances over axes.
    Reduction,
    /// Functions of whole rows: softmax, losses, layer normalization.
    Rows,
    /// Elements in another arrangement.
    Move,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Elementwise => "elementwise",
            Family::Convolution => "convolution",
            Family::Product => "product",
            Family::Pooling => "pooling",
            Family::Reduction => "reduction",
            Family::Rows => "rows",
            Family::Move => "move",
        })
    }
}
