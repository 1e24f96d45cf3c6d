//! How tensors are stored.

use crate::layout::Layout;
use crate::role::Role;
use crate::types::DType;
use bitbudget_formats::{Format, Overflow};

/// How a tensor's numbers are stored. Tensors that hold no floating-point numbers have no format, and FP32 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stored {
    /// In which format.
    pub format: Format,
    /// The result of rounding numbers that it cannot hold.
    pub overflow: Overflow,
    /// In which order its elements lie.
    pub layout: Layout,
}

impl Stored {
    /// A tensor of a role in a format: gradients become not finite, so that loss scaling sees it; others saturate.
    pub fn of(role: Role, format: Format) -> Stored {
        let overflow = match role {
            Role::OutputGradient { .. } | Role::ParameterGradient { .. } => Overflow::NotFinite,
            Role::Output | Role::Parameter | Role::Internal => Overflow::Saturate,
        };
        Stored { format, overflow, layout: Layout::ROWS }
    }

    /// Bytes of so many elements of a type.
    pub fn bytes(self, dtype: DType, elements: usize) -> usize {
        let width = match dtype {
            DType::F32 => self.format.bytes(),
            DType::I32 => 4,
            DType::Bool | DType::Index8 => 1,
        };
        elements.saturating_mul(width)
    }
}
