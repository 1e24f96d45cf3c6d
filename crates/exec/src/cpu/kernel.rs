//! The CPU kernel of every operator that is computed by itself.

mod call;
mod moves;
mod normalisation;
mod pooling;
mod products;
mod reductions;
mod rows;

use super::operands::{Operands, Place};
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::Op;
use bitbudget_kernels::{self as kernels, Binary};
use call::Call;
pub(super) use products::matmul_sizes;

/// Computes an operator; `shape` is the result's, `workspace` what its kernel needs beside.
pub(super) fn compute(
    op: &Op,
    operands: &Operands<'_>,
    place: &mut Place<'_>,
    shape: &[usize],
    workspace: &mut [f32],
) -> Result<Counts, Fault> {
    if let Op::MaxPoolIndices(op) = op {
        return pooling::max_indices(op, operands, place, shape);
    }
    let call = Call { operands, y: place.numbers()?, shape, workspace };
    match op {
        Op::Conv(op) => products::conv(op, call),
        Op::ConvGradInput(op) => products::conv_grad_input(op, call),
        Op::ConvGradWeight(op) => products::conv_grad_weight(op, call),
        Op::Matmul(op) => products::matmul(op, call),
        Op::BatchMean(_) => normalisation::mean(call),
        Op::BatchVariance(_) => normalisation::variance(call),
        Op::BatchNormGradScale(op) => normalisation::grad_scale(op, call),
        Op::LayerNormalization(op) => rows::layer_norm(op, call),
        Op::LayerNormGradInput(op) => rows::layer_norm_grad_input(op, call),
        Op::LayerNormGradScale(op) => rows::layer_norm_grad_scale(op, call),
        Op::MaxPool(op) => pooling::max(op, call),
        Op::MaxPoolGrad(op) => pooling::max_grad(op, call),
        Op::AveragePool(op) => pooling::average(op, call),
        Op::AveragePoolGrad(op) => pooling::average_grad(op, call),
        Op::Add(_) => moves::binary(Binary::Add, call),
        Op::Sub(_) => moves::binary(Binary::Sub, call),
        Op::Mul(_) => moves::binary(Binary::Mul, call),
        Op::Div(_) => moves::binary(Binary::Div, call),
        Op::Transpose(op) => moves::transpose(op, call),
        Op::Slice(op) => moves::slice(op, call),
        Op::SliceScatter(op) => moves::slice_scatter(op, call),
        Op::Concat(op) => moves::concat(op, call),
        Op::Broadcast(_) => moves::broadcast(call),
        Op::ReduceSum(op) => reductions::sum(op, call),
        Op::ReduceMean(op) => reductions::mean(op, call),
        Op::AllFinite(_) => reductions::all_finite(call),
        Op::Softmax(_) => rows::rows(kernels::softmax, call),
        Op::SoftmaxGrad(_) => rows::rows2(kernels::softmax_grad, call),
        Op::LogSoftmax(_) => rows::rows(kernels::log_softmax, call),
        Op::LogSoftmaxGrad(_) => rows::rows2(kernels::log_softmax_grad, call),
        Op::NllLoss(_) => rows::nll_loss(call),
        Op::NllLossGrad(_) => rows::nll_loss_grad(call),
        Op::Input(_) | Op::Label(_) | Op::Parameter(_) | Op::State(_) | Op::Constant(_) | Op::Scalar(_) => {
            Err(Fault::Operands("sources are bound, not computed".into()))
        }
        // Element by element, which `chain` computes where operands fit.
        _ => Err(Fault::Operands("its operands do not fit each other".into())),
    }
}

/// Computes several parts in one pass over what they share, which are not elementwise.
pub(super) fn pair(
    parts: [(&Op, &Operands<'_>); 2],
    places: &mut [Place<'_>],
    shapes: [&[usize]; 2],
) -> Result<[Counts; 2], Fault> {
    let [first, second] = places else {
        return Err(Fault::Operands("two results are needed".into()));
    };
    match parts {
        [(Op::BatchMean(_), operands), (Op::BatchVariance(_), _)] => normalisation::moments(operands, [first, second]),
        [(Op::BatchNormGradScale(op), operands), (Op::ReduceSum(_), _)] => {
            normalisation::grad_sums(op, operands, [first, second])
        }
        [(Op::ReduceSum(_), _), (Op::BatchNormGradScale(op), operands)] => {
            let [scale, bias] = normalisation::grad_sums(op, operands, [second, first])?;
            Ok([bias, scale])
        }
        [(Op::MaxPool(op), operands), (Op::MaxPoolIndices(_), _)] => {
            pooling::max_with_indices(op, operands, [first, second], shapes[0])
        }
        [(a, _), (b, _)] => Err(Fault::Operands(format!("{} and {} are not one pass", a.name(), b.name()))),
    }
}
