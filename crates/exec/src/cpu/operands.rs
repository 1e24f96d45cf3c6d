//! Operands of an instruction as slices.

use crate::error::Fault;

/// One operand: its elements, and for numbers its shape.
pub(super) enum Operand<'t> {
    F32(&'t [f32], &'t [usize]),
    U8(&'t [u8]),
    U32(&'t [u32]),
}

/// Numbers with their shape.
pub(super) type Shaped<'t> = (&'t [f32], &'t [usize]);

/// All operands of an instruction.
pub(super) struct Operands<'t>(pub(super) Vec<Operand<'t>>);

impl<'t> Operands<'t> {
    /// The numbers of operand `i` with their shape.
    pub(super) fn shaped(&self, i: usize) -> Result<Shaped<'t>, Fault> {
        match self.0.get(i) {
            Some(&Operand::F32(x, shape)) => Ok((x, shape)),
            _ => Err(Fault::Operands(format!("operand {i} must hold numbers"))),
        }
    }

    /// The numbers of operand `i`.
    pub(super) fn numbers(&self, i: usize) -> Result<&'t [f32], Fault> {
        self.shaped(i).map(|(x, _)| x)
    }

    /// The numbers of operand `i`, if there is one.
    pub(super) fn optional(&self, i: usize) -> Result<Option<&'t [f32]>, Fault> {
        if i < self.0.len() { self.numbers(i).map(Some) } else { Ok(None) }
    }

    /// The numbers of all operands with their shapes.
    pub(super) fn all(&self) -> Result<Vec<Shaped<'t>>, Fault> {
        (0..self.0.len()).map(|i| self.shaped(i)).collect()
    }

    /// The single number of operand `i`.
    pub(super) fn scalar(&self, i: usize) -> Result<f32, Fault> {
        match self.numbers(i)? {
            [x] => Ok(*x),
            _ => Err(Fault::Operands(format!("operand {i} must be a scalar"))),
        }
    }

    /// The pooling indices of operand `i`.
    pub(super) fn indices(&self, i: usize) -> Result<&'t [u8], Fault> {
        match self.0.get(i) {
            Some(&Operand::U8(x)) => Ok(x),
            _ => Err(Fault::Operands(format!("operand {i} must hold indices"))),
        }
    }

    /// The labels of operand `i`.
    pub(super) fn labels(&self, i: usize) -> Result<&'t [u32], Fault> {
        match self.0.get(i) {
            Some(&Operand::U32(x)) => Ok(x),
            _ => Err(Fault::Operands(format!("operand {i} must hold labels"))),
        }
    }
}
