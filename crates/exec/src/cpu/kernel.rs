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
use bitbudget_formats::{Counts, Format};
use bitbudget_ir::Op;
use bitbudget_kernels::{self as kernels, Binary, ConvPlan};
use bitbudget_select::convolution;
use call::Call;

/// The kernel of an operator, with what shapes and formats decide.
#[derive(Debug)]
pub(super) enum BoundKernel {
    Conv(Box<ConvPlan>),
    /// One without a plan.
    Direct,
}

impl BoundKernel {
    /// The kernel for operands of some shapes and formats; `shape` is the result's.
    ///
    /// # Errors
    /// If a convolution's operands are not images.
    pub(super) fn new(op: &Op, operands: &[(&[usize], Format)], shape: &[usize]) -> Result<BoundKernel, Fault> {
        match convolution(op, operands, shape).transpose()? {
            Some((conv, pass, [a, b])) => Ok(BoundKernel::Conv(Box::new(conv.plan(pass, a, b)))),
            None => Ok(BoundKernel::Direct),
        }
    }

    /// How this machine computes it, in words, where there is a choice.
    pub(super) fn way(&self) -> Option<&'static str> {
        match self {
            BoundKernel::Conv(plan) => Some(plan.way()),
            BoundKernel::Direct => None,
        }
    }

    /// Computes the operator; `workspace` is what its kernel needs beside.
    pub(super) fn compute(
        &self,
        op: &Op,
        operands: &Operands<'_>,
        place: &mut Place<'_>,
        shape: &[usize],
        workspace: &mut [f32],
    ) -> Result<Counts, Fault> {
        match self {
            BoundKernel::Conv(plan) => {
                let bias = if let Op::Conv(_) = op { operands.optional(2)? } else { None };
                Ok(plan.run([operands.numbers(0)?, operands.numbers(1)?], bias, place.numbers()?, workspace)?)
            }
            BoundKernel::Direct => compute(op, operands, place, shape, workspace),
        }
    }
}

/// Computes an operator whose kernel has no plan; `shape` is the result's.
fn compute(
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
