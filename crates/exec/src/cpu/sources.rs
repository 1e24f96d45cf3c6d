//! Where an instruction finds its numbers in one step.

use super::arena::Split;
use super::operands::Operand;
use super::part::{Origin, TRUTH, missing};
use crate::error::Fault;
use bitbudget_ir::DType;
use bitbudget_kernels::Elements;
use bitbudget_program::{Buffer, Program};
use std::borrow::Cow;

/// The holders of a step's numbers.
#[derive(Clone, Copy)]
pub(super) struct Sources<'s, 't> {
    pub(super) program: &'t Program,
    /// The arrays of the inputs, by buffer.
    pub(super) given: &'t [Option<Cow<'t, [f32]>>],
    /// The numbers of the training loop, by buffer.
    pub(super) scalars: &'t [[f32; 1]],
    /// Kept tensors that the instruction reads, in the order of its reach.
    pub(super) kept: &'s [&'t [f32]],
    /// The arena, but for what the instruction writes.
    pub(super) split: &'s Split<'t>,
    /// Parts of the instruction that are computed as they are read.
    pub(super) derived: &'s [Option<Elements<'t>>],
}

impl<'t> Sources<'_, 't> {
    pub(super) fn operand(&self, origin: &Origin) -> Result<Operand<'t>, Fault> {
        match origin {
            Origin::Output(_) => Ok(Operand::Own),
            Origin::Part(part) => {
                let derived = self.derived.get(*part).copied().flatten();
                Ok(derived.map_or(Operand::Own, Operand::Numbers))
            }
            Origin::Arena(root, range) => stored(self.program.buffer(*root), self.split.read(range)?),
            Origin::Given(root) => match &self.given[root.index()] {
                Some(x) => Ok(Operand::Numbers((&**x).into())),
                None => Err(missing(*root)),
            },
            Origin::Scalar(root) => Ok(Operand::Numbers(self.scalars[root.index()].as_slice().into())),
            Origin::Kept(position) => Ok(Operand::Numbers(self.kept[*position].into())),
        }
    }

    pub(super) fn numbers(&self, origin: &Origin) -> Result<Elements<'t>, Fault> {
        match self.operand(origin)? {
            Operand::Numbers(x) => Ok(x),
            _ => Err(Fault::Operands("an operand must hold numbers of its own".into())),
        }
    }

    pub(super) fn scalar(&self, origin: &Origin) -> Result<f32, Fault> {
        let mut scalar = [0.0];
        match self.numbers(origin)?.copy_to(&mut scalar) {
            Ok(()) => Ok(scalar[0]),
            Err(_) => Err(Fault::Operands("an operand must be a single number".into())),
        }
    }
}

pub(super) fn unaligned(error: bytemuck::PodCastError) -> Fault {
    Fault::Operands(format!("bytes of the arena cannot be read as elements: {error}"))
}

/// The type of a buffer's elements.
fn stored<'t>(buffer: &Buffer, bytes: &'t [u8]) -> Result<Operand<'t>, Fault> {
    let format = buffer.format;
    Ok(match (buffer.dtype, buffer.width()) {
        (DType::Index8, _) => Operand::Indices(bytes),
        (DType::Bool, _) => Operand::Numbers(Elements::u8(TRUTH, bytes)?),
        (DType::I32, _) => Operand::Numbers(Elements::from(bytemuck::try_cast_slice(bytes).map_err(unaligned)?)),
        (DType::F32, 1) => Operand::Numbers(Elements::u8(format, bytes)?),
        (DType::F32, 2) => {
            Operand::Numbers(Elements::u16(format, bytemuck::try_cast_slice(bytes).map_err(unaligned)?)?)
        }
        (DType::F32, _) => {
            Operand::Numbers(Elements::rounded(format, bytemuck::try_cast_slice(bytes).map_err(unaligned)?))
        }
    })
}
