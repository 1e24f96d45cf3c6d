//! The kernels of the parts that are computed as a whole.

use super::chaining::Chaining;
use super::work::{EmitError, Work};
use super::{finite, indexing, loss, moving, products, recurrent, reductions, windows};
use bitbudget_ir::{Form, Op};

/// The launches of an instruction's heads.
pub(super) fn heads(work: &mut Work<'_>) -> Result<(), EmitError> {
    let heads = work.heads();
    let is_map = |&part: &usize| matches!(work.facts(part).form, Form::Map(_) | Form::Alias);
    if heads.iter().all(is_map) && !is_other_order(work, &heads) {
        return elementwise(work, &heads);
    }
    match *heads.as_slice() {
        [part] => one(work, part),
        [first, second] => match (&work.parts[first].op, &work.parts[second].op) {
            (Op::MaxPool(_), Op::MaxPoolIndices(_)) => windows::maxima(work, Some(first), Some(second)),
            _ => reductions::pair(work, [first, second]),
        },
        _ => Err(work.error(0, format!("{} results of one pass", heads.len()))),
    }
}

fn one(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    match &work.parts[part].op {
        Op::Conv(_) | Op::ConvGradInput(_) | Op::ConvGradWeight(_) => products::convolution(work, part),
        Op::Matmul(_) => products::matmul(work, part),
        Op::MaxPool(_) => windows::maxima(work, Some(part), None),
        Op::MaxPoolIndices(_) => windows::maxima(work, None, Some(part)),
        Op::MaxPoolGrad(_) | Op::AveragePool(_) | Op::AveragePoolGrad(_) => windows::pooling(work, part),
        Op::Softmax(_)
        | Op::SoftmaxGrad(_)
        | Op::LogSoftmax(_)
        | Op::LogSoftmaxGrad(_)
        | Op::LayerNormalization(_)
        | Op::LayerNormGradInput(_) => loss::rows(work, part),
        Op::NllLoss(_) => loss::nll_loss(work, part),
        Op::NllLossGrad(_) => loss::nll_loss_grad(work, part),
        Op::BatchMean(_) | Op::BatchVariance(_) | Op::BatchNormGradScale(_) => reductions::of_channels(work, part),
        Op::ReduceSum(_) | Op::ReduceMean(_) => reductions::reduce(work, part),
        Op::LayerNormGradScale(_) => loss::layer_norm_grad_scale(work, part),
        Op::ReduceExtremum(_) => reductions::extremum(work, part),
        Op::ReduceExtremumGrad(_) => reductions::extremum_grad(work, part),
        Op::Gather(_) | Op::GatherGrad(_) => indexing::slices(work, part),
        Op::ArgMax(_) | Op::TopK(_) => indexing::largest(work, part),
        Op::Recurrent(_) | Op::RecurrentGrad(_) => recurrent::layer(work, part),
        Op::AllFinite(_) => finite::all_finite(work, part),
        Op::Transpose(_) | Op::Slice(_) | Op::SliceScatter(_) | Op::Concat(_) | Op::Broadcast(_) => {
            moving::moved_part(work, part)
        }
        Op::Cast(_) | Op::Reshape(_) => moving::reordered(work, part),
        _ => Err(work.error(part, "it has no CUDA kernel yet")),
    }
}

/// Whether a head only lays what it reads in another order.
fn is_other_order(work: &Work<'_>, heads: &[usize]) -> bool {
    let [part] = heads else { return false };
    let (op, inputs) = (&work.parts[*part].op, &work.parts[*part].inputs);
    let is_plain = matches!(op, Op::Cast(_) | Op::Reshape(_)) && work.part_of(inputs[0], *part).is_none();
    is_plain && !moving::is_same(work, inputs[0], work.parts[*part].output)
}

fn elementwise(work: &mut Work<'_>, heads: &[usize]) -> Result<(), EmitError> {
    let Some(&last) = heads.last() else { return Ok(()) };
    let mut chaining = Chaining::new(work.parts[last].output);
    for &part in heads {
        chaining.part(work, part)?;
    }
    chaining.launch(work);
    Ok(())
}
