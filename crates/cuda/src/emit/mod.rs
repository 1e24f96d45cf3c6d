//! From a program's instructions to launches of kernels.

mod chaining;
mod finite;
mod heads;
mod indexing;
mod loss;
mod moving;
mod orders;
mod products;
mod recurrent;
mod reductions;
mod windows;
mod work;

use bitbudget_program::{Instruction, Program};

pub use work::{Addresses, EmitError, Emitted, Launch};

/// The launches of an instruction; none for those that compute nothing.
///
/// Counters begin at the `counted`-th of three words each.
///
/// # Errors
/// If there is no kernel for an operator, or for the way in which operands lie.
pub fn emit(
    program: &Program,
    instruction: &Instruction,
    addresses: &Addresses,
    counted: usize,
) -> Result<Emitted, EmitError> {
    match instruction {
        Instruction::Compute { parts, kernel, .. } => {
            let mut work = work::Work::new(program, parts, &kernel.roles, addresses, counted);
            heads::heads(&mut work)?;
            Ok(work.emitted())
        }
        Instruction::Store { value, target } => {
            let mut work = work::Work::new(program, &[], &[], addresses, counted);
            moving::stored(&mut work, *value, *target)?;
            Ok(work.emitted())
        }
        Instruction::View { .. } | Instruction::Free { .. } => Ok(Emitted::default()),
    }
}
