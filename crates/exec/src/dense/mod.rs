//! Instructions as dense tensor operations of candle on any device; what candle lacks goes to kernels of our own.
//!
//! Nothing is overwritten here: every result is a new tensor, or shows the storage of one that never changes. Operands
//! have no dimension of size zero.

mod conv;
mod elementwise;
mod index;
mod layer_norm;
mod operands;
mod own;
mod reduce;
mod round;
mod run;
mod shape;
#[cfg(test)]
mod tests;

use crate::error::Fault;
use bitbudget_formats::Format;
use bitbudget_ir::{Form, Op, Shape};
use bitbudget_program::{Buffer, Rounding};
use candle_core::Tensor;

use operands::operand;
use round::Counted;
pub(crate) use run::run;

/// The result of `op` on contiguous operands, rounded to its buffer's format, with what is counted.
pub(crate) fn compute(
    op: &Op,
    operands: &[&Tensor],
    buffer: &Buffer,
    rounding: Option<&Rounding>,
) -> Result<(Tensor, Option<Counted>), Fault> {
    let shape = buffer.shape.as_slice();
    let y = evaluate(op, operands, shape)?.contiguous()?.reshape(shape)?;
    match rounding {
        Some(rounding) if buffer.format != Format::FP32 => round::round(&y, buffer.format, rounding),
        _ => Ok((y, None)),
    }
}

fn evaluate(op: &Op, operands: &[&Tensor], shape: &[usize]) -> Result<Tensor, Fault> {
    let x = |i: usize| operand(operands, i);
    match op {
        Op::Input(_) | Op::Parameter(_) | Op::State(_) | Op::Constant(_) | Op::Scalar(_) => {
            Err(Fault::Operands("sources are bound, not computed".into()))
        }
        Op::Conv(op) => conv::forward(op, x(0)?, x(1)?, operands.get(2).copied(), shape),
        Op::ConvGradInput(op) => conv::grad_input(&op.forward(), x(0)?, x(1)?, shape),
        Op::ConvGradWeight(op) => conv::grad_weight(&op.forward(), x(0)?, x(1)?, shape),
        Op::Matmul(op) => {
            let side = |m: &Tensor, transposed: bool| if transposed { m.t() } else { Ok(m.clone()) };
            let y = side(x(0)?, op.trans_a)?.contiguous()?.matmul(&side(x(1)?, op.trans_b)?.contiguous()?)?;
            match operands.get(2) {
                Some(bias) => Ok(y.broadcast_add(bias)?),
                None => Ok(y),
            }
        }
        Op::MaxPool(_) | Op::MaxPoolIndices(_) | Op::AveragePool(_) | Op::AveragePoolGrad(_) => {
            own::one(op, x(0)?, shape)
        }
        Op::MaxPoolGrad(_) => own::two(op, x(0)?, x(1)?, shape),
        Op::Recurrent(_) | Op::RecurrentGrad(_) => own::on_host(op, operands, shape),
        Op::BatchMean(_) | Op::BatchVariance(_) | Op::BatchNormGradScale(_) | Op::ReduceSum(_) | Op::ReduceMean(_) => {
            reduce::reduce(op, operands)
        }
        Op::ReduceExtremum(op) => reduce::extremum(x(0)?, &op.axes, op.least),
        Op::ReduceExtremumGrad(op) => reduce::extremum_grad(x(0)?, x(1)?, &op.axes, op.least),
        Op::LayerNormalization(_) | Op::LayerNormGradInput(_) | Op::LayerNormGradScale(_) => {
            layer_norm::layer_norm(op, operands)
        }
        Op::Softmax(_) | Op::SoftmaxGrad(_) | Op::LogSoftmax(_) | Op::LogSoftmaxGrad(_) => reduce::rows(op, operands),
        Op::NllLoss(_) => reduce::nll_loss(x(0)?, x(1)?),
        Op::NllLossGrad(_) => reduce::nll_loss_grad(x(0)?, x(1)?, shape),
        Op::Gather(op) => index::gather(x(0)?, x(1)?, op, shape),
        Op::GatherGrad(op) => index::gather_grad(x(0)?, x(1)?, op, shape),
        Op::ArgMax(op) => index::arg_max(x(0)?, op.last),
        Op::TopK(op) => index::top_k(x(0)?, op.count),
        Op::AllFinite(_) => reduce::all_finite(operands),
        Op::Reshape(_) => Ok(x(0)?.clone()),
        Op::Transpose(op) => Ok(x(0)?.permute(op.perm.as_slice())?),
        Op::Broadcast(_) => Ok(x(0)?.broadcast_as(shape)?),
        Op::Concat(op) => Ok(Tensor::cat(operands, op.axis)?),
        Op::Slice(op) => shape::slice(x(0)?, &op.begin, &op.step, shape),
        Op::SliceScatter(op) => shape::slice_scatter(x(0)?, &op.begin, &op.step, shape),
        op => {
            let shapes: Vec<Shape> = operands.iter().map(|operand| Shape::fixed(operand.dims())).collect();
            let facts = op.facts(&shapes.iter().collect::<Vec<_>>(), &Shape::fixed(shape));
            match &facts.form {
                Form::Map(expression) => elementwise::elementwise(&facts, expression, operands, shape),
                _ => Err(Fault::Operands(format!("there are no dense operations for {}", op.name()))),
            }
        }
    }
}
