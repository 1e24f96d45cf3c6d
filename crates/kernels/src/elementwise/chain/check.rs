//! Checks of a chain: of its parts before it is planned, of its tensors before it runs.

use super::part::{ChainData, ChainOperand, PlannedPart};
use crate::elementwise::function::{Function, Takes};
use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::{Output, ResultStorage, Storage};

fn wrong(part: usize, function: &Function, reason: impl std::fmt::Display) -> ShapeError {
    geometry("chain", format!("part {part} ({function:?}) {reason}"))
}

/// Checks the operands of parts, and that each output has one part that rounds as it does.
pub(super) fn check_parts(
    parts: &[PlannedPart],
    tensors: &[Storage],
    scalars: usize,
    outputs: &[ResultStorage],
) -> Result<(), ShapeError> {
    let mut writers = vec![0; outputs.len()];
    for (i, part) in parts.iter().enumerate() {
        let wrong = |reason: String| Err(wrong(i, &part.function, reason));
        let found = part.operands.len();
        if let Some(needed) = part.function.arity().filter(|&needed| needed != found) {
            return wrong(format!("has {found} operand(s) where it needs {needed}"));
        }
        for (k, operand) in part.operands.iter().enumerate() {
            let (name, takes) = part.function.takes(k).unwrap_or(("operand", Takes::Each));
            match (takes, operand) {
                (Takes::Channel, ChainOperand::Channel(_))
                | (Takes::Scalar, ChainOperand::Scalar(_))
                | (Takes::Each, _) => {}
                (Takes::Channel, _) => return wrong(format!("needs `{name}` as one number for each channel")),
                (Takes::Scalar, _) => return wrong(format!("needs `{name}` as one number")),
            }
            match *operand {
                ChainOperand::Elements(x) | ChainOperand::Channel(x) if x >= tensors.len() => {
                    return wrong(format!("reads tensor {x} of {}", tensors.len()));
                }
                ChainOperand::Scalar(x) if x >= scalars => return wrong(format!("reads number {x} of {scalars}")),
                ChainOperand::Part(j) if j >= i => {
                    return wrong(format!("reads part {j}, which is not an earlier one"));
                }
                ChainOperand::Output(j) if j >= outputs.len() => {
                    return wrong(format!("reads output {j} of {}", outputs.len()));
                }
                _ => {}
            }
        }
        if let Some(output) = part.output {
            let Some(place) = outputs.get(output) else {
                return wrong(format!("writes output {output} of {}", outputs.len()));
            };
            if place.rounding != part.rounding {
                return wrong(format!("rounds as {:?}, its output as {:?}", part.rounding, place.rounding));
            }
            writers[output] += 1;
        }
    }
    match writers.iter().position(|&writers| writers != 1) {
        Some(output) => Err(geometry("chain", format!("{} parts write output {output}; one must", writers[output]))),
        None => Ok(()),
    }
}

/// The shapes and formats that a plan was made for; its runs must have them.
#[derive(Debug)]
pub(super) struct Planned {
    shape: [usize; 3],
    /// The tensors that parts read, each with its operand's name and whether it has one number for each channel only.
    operands: Vec<(usize, &'static str, bool)>,
    tensors: Vec<Storage>,
    scalars: usize,
    outputs: Vec<ResultStorage>,
}

impl Planned {
    pub(super) fn new(
        shape: [usize; 3],
        parts: &[PlannedPart],
        tensors: &[Storage],
        scalars: usize,
        outputs: &[ResultStorage],
    ) -> Planned {
        let mut operands = Vec::new();
        for part in parts {
            for (k, operand) in part.operands.iter().enumerate() {
                let name = part.function.takes(k).map_or("operand", |(name, _)| name);
                match *operand {
                    ChainOperand::Elements(x) => operands.push((x, name, false)),
                    ChainOperand::Channel(x) => operands.push((x, name, true)),
                    ChainOperand::Scalar(_) | ChainOperand::Part(_) | ChainOperand::Output(_) => {}
                }
            }
        }
        Planned { shape, operands, tensors: tensors.to_vec(), scalars, outputs: outputs.to_vec() }
    }

    /// Checks lengths and storage of what a run reads and writes.
    pub(super) fn check(&self, data: &ChainData<'_>, outputs: &[Output<'_>]) -> Result<(), ShapeError> {
        check(
            "chain",
            &[
                ("tensors", data.tensors.len(), self.tensors.len()),
                ("scalars", data.scalars.len(), self.scalars),
                ("outputs", outputs.len(), self.outputs.len()),
            ],
        )?;
        let size = elements(&self.shape);
        for &(x, name, by_channel) in &self.operands {
            check("chain", &[(name, data.tensors[x].len(), if by_channel { self.shape[1] } else { size })])?;
        }
        outputs.iter().try_for_each(|output| check("chain", &[("output", output.len(), size)]))?;
        let is_other = data.tensors.iter().zip(&self.tensors).any(|(x, planned)| x.storage() != *planned)
            || outputs.iter().zip(&self.outputs).any(|(y, planned)| y.storage() != *planned);
        match is_other {
            true => Err(geometry("chain", "a tensor is stored in another way than the plan's")),
            false => Ok(()),
        }
    }
}
