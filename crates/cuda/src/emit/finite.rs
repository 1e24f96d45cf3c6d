//! Whether all numbers are finite.

use super::work::{EmitError, Work};
use crate::elements::Elements;
use crate::finite::{Finite, MOST};
use std::collections::BTreeMap;

/// Whether all numbers of all operands are finite: 1, or else 0.
pub(super) fn all_finite(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let mut kinds: BTreeMap<String, (Elements, Vec<(u64, usize)>)> = BTreeMap::new();
    for &id in &of.inputs {
        if work.part_of(id, part).is_some() {
            return Err(work.error(part, format!("{id} is computed in its own step")));
        }
        let (elements, tensor) = (work.elements(id), (work.address(id), work.buffer(id).elements()));
        kinds.entry(format!("{elements:?}")).or_insert((elements, Vec::new())).1.push(tensor);
    }
    let flag = work.scratch(4);
    work.zero(flag, 4);
    for (elements, tensors) in kinds.into_values() {
        let finite = Finite { elements };
        for some in tensors.chunks(MOST) {
            let (blocks, arguments) = (Finite::blocks(some), Finite::arguments(some, flag));
            work.launch("finite", &|name| finite.kernel(name), (blocks, 0), arguments);
        }
    }
    let (output, elements) = (of.output, work.elements(of.output));
    if elements != Elements::Fp32 {
        return Err(work.error(part, "its result is FP32"));
    }
    let arguments = Finite::last_arguments(flag, work.address(output));
    work.launch("all_finite", &Finite::last, (1, 0), arguments);
    Ok(())
}
