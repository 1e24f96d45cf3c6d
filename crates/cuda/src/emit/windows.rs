//! Pooling.

use super::chaining::Chaining;
use super::work::{EmitError, Work};
use crate::epilogue::Epilogue;
use crate::pools::{Pool, PoolSizes, Pooling};
use bitbudget_ir::Op;
use bitbudget_ir::ops::Window;
use bitbudget_program::BufferId;

/// Maxima, their taps, or both in one pass.
pub(super) fn maxima(work: &mut Work<'_>, maximum: Option<usize>, tap: Option<usize>) -> Result<(), EmitError> {
    let Some(part) = maximum.or(tap) else { return Ok(()) };
    let window = match &work.parts[part].op {
        Op::MaxPool(op) => op.window(),
        Op::MaxPoolIndices(op) => op.window(),
        _ => return Err(work.error(part, "it is no maximum of windows")),
    };
    let of = &work.parts[part];
    let (x, y) = (of.inputs[0], of.output);
    let pooling = Pooling::Max { maximum: maximum.is_some(), tap: tap.is_some() };
    let results: Vec<u64> =
        [maximum, tap].into_iter().flatten().map(|part| work.address(work.parts[part].output)).collect();
    let epilogue = maximum.map_or(Epilogue::FP32, |part| work.epilogue(part));
    let counted: Vec<usize> = maximum.into_iter().collect();
    pool(work, part, pooling, (window, x, y), epilogue, &counted, &results)
}

/// The other kinds of pooling.
pub(super) fn pooling(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let (read, result) = (of.inputs[0], of.output);
    let (pooling, geometry) = match &of.op {
        Op::MaxPoolGrad(op) => (Pooling::MaxGrad, (op.window(), result, read)),
        Op::AveragePool(op) => (Pooling::Average { is_padded: op.count_include_pad }, (op.window(), read, result)),
        Op::AveragePoolGrad(op) => {
            (Pooling::AverageGrad { is_padded: op.count_include_pad }, (op.window(), result, read))
        }
        _ => return Err(work.error(part, "it is no pooling")),
    };
    let mut addresses = Vec::new();
    if pooling == Pooling::MaxGrad {
        addresses.push(work.address(of.inputs[1]));
    }
    addresses.push(work.address(result));
    pool(work, part, pooling, geometry, work.epilogue(part), &[part], &addresses)
}

fn pool(
    work: &mut Work<'_>,
    part: usize,
    pooling: Pooling,
    (window, x, y): (Window, BufferId, BufferId),
    epilogue: Epilogue,
    counted: &[usize],
    others: &[u64],
) -> Result<(), EmitError> {
    for id in work.parts[part].inputs.iter().chain([&work.parts[part].output]) {
        if !work.order(*id).has_channels_last() {
            return Err(work.error(part, format!("the channels of {:?} do not lie last", work.shape(*id))));
        }
    }
    let (input, output) = (work.shape(x), work.shape(y));
    let sizes = PoolSizes {
        batch: input[0],
        channels: input[1],
        input: [input[2], input[3]],
        output: [output[2], output[3]],
        window,
    };
    let (chaining, _) = Chaining::of_operand(work, part, 0)?;
    chaining.count_apart(work);
    let addresses = [&chaining.inputs[..], others].concat();
    work.takes(sizes.effort(&chaining.chain));
    let pool = Pool::new(chaining.chain, pooling, epilogue, &sizes);
    let counters = work.counters(counted);
    let arguments = sizes.arguments(pooling, &addresses, counters);
    work.launch("pool", &|name| pool.kernel(name), (sizes.blocks(pooling), 0), arguments);
    Ok(())
}
