//! Operands and results of an instruction as slices.

use crate::error::Fault;
use bitbudget_kernels::{Elements, Output};

/// One operand.
#[derive(Clone, Copy)]
pub(super) enum Operand<'t> {
    Numbers(Elements<'t>),
    Indices(&'t [u8]),
    /// A result of the instruction itself, replaced or computed.
    Own,
}

/// One result.
pub(super) enum Place<'t> {
    Numbers(Output<'t>),
    Indices(&'t mut [u8]),
}

impl<'t> Place<'t> {
    /// Where numbers go.
    pub(super) fn numbers(&mut self) -> Result<&mut Output<'t>, Fault> {
        match self {
            Place::Numbers(output) => Ok(output),
            Place::Indices(_) => Err(Fault::Operands("the result must hold numbers".into())),
        }
    }

    /// Where indices go.
    pub(super) fn indices(&mut self) -> Result<&mut [u8], Fault> {
        match self {
            Place::Indices(indices) => Ok(indices),
            Place::Numbers(_) => Err(Fault::Operands("the result must hold indices".into())),
        }
    }
}

/// All operands of one part, each with its shape.
pub(super) struct Operands<'t>(pub(super) Vec<(Operand<'t>, &'t [usize])>);

impl<'t> Operands<'t> {
    pub(super) fn get(&self, i: usize) -> Result<(Operand<'t>, &'t [usize]), Fault> {
        self.0.get(i).copied().ok_or_else(|| Fault::Operands(format!("operand {i} is missing")))
    }

    /// The numbers of operand `i` with their shape.
    pub(super) fn shaped(&self, i: usize) -> Result<(Elements<'t>, &'t [usize]), Fault> {
        match self.get(i)? {
            (Operand::Numbers(x), shape) => Ok((x, shape)),
            _ => Err(Fault::Operands(format!("operand {i} must hold numbers of its own"))),
        }
    }

    /// The numbers of operand `i`.
    pub(super) fn numbers(&self, i: usize) -> Result<Elements<'t>, Fault> {
        self.shaped(i).map(|(x, _)| x)
    }

    /// The numbers of operand `i`, which nothing rounds: statistics.
    pub(super) fn exact(&self, i: usize) -> Result<&'t [f32], Fault> {
        let numbers = self.numbers(i)?.numbers();
        numbers.ok_or_else(|| Fault::Operands(format!("operand {i} must be stored as FP32")))
    }

    /// The numbers of operand `i`, if there is one.
    pub(super) fn optional(&self, i: usize) -> Result<Option<Elements<'t>>, Fault> {
        if i < self.0.len() { self.numbers(i).map(Some) } else { Ok(None) }
    }

    /// The numbers of all operands with their shapes.
    pub(super) fn all(&self) -> Result<Vec<(Elements<'t>, &'t [usize])>, Fault> {
        (0..self.0.len()).map(|i| self.shaped(i)).collect()
    }

    /// The single number of operand `i`.
    pub(super) fn scalar(&self, i: usize) -> Result<f32, Fault> {
        match self.exact(i)? {
            [x] => Ok(*x),
            _ => Err(Fault::Operands(format!("operand {i} must be a scalar"))),
        }
    }

    /// The pooling indices of operand `i`.
    pub(super) fn indices(&self, i: usize) -> Result<&'t [u8], Fault> {
        match self.get(i)?.0 {
            Operand::Indices(x) => Ok(x),
            _ => Err(Fault::Operands(format!("operand {i} must hold indices"))),
        }
    }
}
