//! The CPU kernel of every operator that is computed by itself.

mod call;
mod index;
mod moves;
mod normalisation;
mod products;
mod recurrent;
mod reductions;
mod rows;

use super::operands::{Operands, Place};
use crate::error::Fault;
use bitbudget_formats::{Counts, Format};
use bitbudget_ir::ops::BatchNormGradScale;
use bitbudget_ir::{Op, Shape};
use bitbudget_kernels::{
    self as kernels, AvgPoolGradPlan, AvgPoolPlan, Binary, ConvPlan, MaxPoolGradPlan, MaxPoolPlan,
};
use bitbudget_select::convolution;
use bitbudget_select::geometry::{channels, pool2d};
use call::Call;

/// The kernel of an operator, with what shapes and formats decide.
#[derive(Debug)]
pub(super) enum BoundKernel {
    Conv(Box<ConvPlan>),
    MaxPool(Box<MaxPoolPlan>),
    MaxPoolIndices(Box<MaxPoolPlan>),
    MaxPoolGrad(Box<MaxPoolGradPlan>),
    AvgPool(Box<AvgPoolPlan>),
    AvgPoolGrad(Box<AvgPoolGradPlan>),
    /// The sums over everything but the channels of `[n, c, s]`.
    ChannelSum([usize; 3]),
    /// One without a plan.
    Direct,
}

impl BoundKernel {
    /// The kernel for operands of some shapes and formats; `shape` is the result's.
    ///
    /// # Errors
    /// If the operands of a convolution or a pooling are not images.
    pub(super) fn new(op: &Op, operands: &[(&[usize], Format)], shape: &[usize]) -> Result<BoundKernel, Fault> {
        let first = operands.first().map_or(&[][..], |(shape, _)| shape);
        Ok(match op {
            Op::MaxPool(op) => BoundKernel::MaxPool(Box::new(MaxPoolPlan::new(&pool2d(&op.window(), first, shape)?)?)),
            Op::MaxPoolIndices(op) => {
                BoundKernel::MaxPoolIndices(Box::new(MaxPoolPlan::new(&pool2d(&op.window(), first, shape)?)?))
            }
            Op::MaxPoolGrad(op) => {
                BoundKernel::MaxPoolGrad(Box::new(MaxPoolGradPlan::new(&pool2d(&op.window(), shape, first)?)?))
            }
            Op::AveragePool(op) => {
                let g = pool2d(&op.window(), first, shape)?;
                BoundKernel::AvgPool(Box::new(AvgPoolPlan::new(&g, op.count_include_pad)?))
            }
            Op::AveragePoolGrad(op) => {
                let g = pool2d(&op.window(), shape, first)?;
                BoundKernel::AvgPoolGrad(Box::new(AvgPoolGradPlan::new(&g, op.count_include_pad)?))
            }
            Op::ReduceSum(_) if is_over_channels(op, operands, shape) => BoundKernel::ChannelSum(channels(first)),
            op => match convolution(op, operands, shape).transpose()? {
                Some((conv, pass, [a, b])) => BoundKernel::Conv(Box::new(conv.plan(pass, a, b))),
                None => BoundKernel::Direct,
            },
        })
    }

    /// How this machine computes it, in words, where there is a choice.
    pub(super) fn way(&self) -> Option<&'static str> {
        if let BoundKernel::Conv(plan) = self { Some(plan.way()) } else { None }
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
        let first = || operands.numbers(0);
        match self {
            BoundKernel::Conv(plan) => {
                let bias = if let Op::Conv(_) = op { operands.optional(2)? } else { None };
                Ok(plan.run([first()?, operands.numbers(1)?], bias, place.numbers()?, workspace)?)
            }
            BoundKernel::MaxPool(plan) => Ok(plan.run(first()?, place.numbers()?)?),
            BoundKernel::MaxPoolIndices(plan) => {
                plan.indices(first()?, place.indices()?)?;
                Ok(Counts::default())
            }
            BoundKernel::MaxPoolGrad(plan) => Ok(plan.run(first()?, operands.indices(1)?, place.numbers()?)?),
            BoundKernel::AvgPool(plan) => Ok(plan.run(first()?, place.numbers()?)?),
            BoundKernel::AvgPoolGrad(plan) => Ok(plan.run(first()?, place.numbers()?)?),
            BoundKernel::ChannelSum([n, c, s]) => {
                let x = first()?;
                Ok(call::put(place.numbers()?, |sums| kernels::channel_sum(*n, *c, *s, x, sums))?.0)
            }
            BoundKernel::Direct => compute(op, operands, place, shape, workspace),
        }
    }
}

fn is_over_channels(op: &Op, operands: &[(&[usize], Format)], shape: &[usize]) -> bool {
    let operands: Vec<Shape> = operands.iter().map(|(shape, _)| Shape::fixed(shape)).collect();
    op.facts(&operands.iter().collect::<Vec<_>>(), &Shape::fixed(shape)).is_over_channels()
}

/// Two operators that share a pass over what they read.
#[derive(Debug)]
pub(super) enum BoundPair {
    /// Mean and variance.
    Moments,
    /// The gradients of normalisation by its scale, with this number for stability, and by its bias; or the other way round.
    NormSums { op: BatchNormGradScale, is_reversed: bool },
    /// Maxima and their positions.
    MaxPool(Box<MaxPoolPlan>),
}

impl BoundPair {
    /// The kernel of two operators, the first of which reads and gives tensors of these shapes.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn new(ops: [&Op; 2], operands: &[&[usize]], shape: &[usize]) -> Result<BoundPair, Fault> {
        match ops {
            [Op::BatchMean(_), Op::BatchVariance(_)] => Ok(BoundPair::Moments),
            [Op::BatchNormGradScale(op), Op::ReduceSum(_)] => {
                Ok(BoundPair::NormSums { op: op.clone(), is_reversed: false })
            }
            [Op::ReduceSum(_), Op::BatchNormGradScale(op)] => {
                Ok(BoundPair::NormSums { op: op.clone(), is_reversed: true })
            }
            [Op::MaxPool(op), Op::MaxPoolIndices(_)] => {
                let g = pool2d(&op.window(), operands.first().copied().unwrap_or_default(), shape)?;
                Ok(BoundPair::MaxPool(Box::new(MaxPoolPlan::new(&g)?)))
            }
            [a, b] => Err(Fault::Operands(format!("{} and {} are not one pass", a.name(), b.name()))),
        }
    }

    /// Computes both.
    pub(super) fn compute(&self, operands: [&Operands<'_>; 2], places: &mut [Place<'_>]) -> Result<[Counts; 2], Fault> {
        let [first, second] = places else {
            return Err(Fault::Operands("two results are needed".into()));
        };
        match self {
            BoundPair::Moments => normalisation::moments(operands[0], [first, second]),
            BoundPair::NormSums { op, is_reversed: false } => {
                normalisation::grad_sums(op, operands[0], [first, second])
            }
            BoundPair::NormSums { op, is_reversed: true } => {
                let [scale, bias] = normalisation::grad_sums(op, operands[1], [second, first])?;
                Ok([bias, scale])
            }
            BoundPair::MaxPool(plan) => {
                let counts = plan.with_indices(operands[0].numbers(0)?, first.numbers()?, second.indices()?)?;
                Ok([counts, Counts::default()])
            }
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
    let call = Call { operands, y: place.numbers()?, shape, workspace };
    match op {
        Op::Matmul(op) => products::matmul(op, call),
        Op::Recurrent(op) => recurrent::recurrent(op, call),
        Op::RecurrentGrad(op) => recurrent::recurrent_grad(op, call),
        Op::BatchMean(_) => normalisation::mean(call),
        Op::BatchVariance(_) => normalisation::variance(call),
        Op::BatchNormGradScale(op) => normalisation::grad_scale(op, call),
        Op::LayerNormalization(op) => rows::layer_norm(op, call),
        Op::LayerNormGradInput(op) => rows::layer_norm_grad_input(op, call),
        Op::LayerNormGradScale(op) => rows::layer_norm_grad_scale(op, call),
        Op::Add(_) => moves::binary(Binary::Add, call),
        Op::Sub(_) => moves::binary(Binary::Sub, call),
        Op::Mul(_) => moves::binary(Binary::Mul, call),
        Op::Div(_) => moves::binary(Binary::Div, call),
        Op::Extremum(op) => moves::binary(if op.least { Binary::Min } else { Binary::Max }, call),
        Op::Pow(_) => moves::binary(Binary::Pow, call),
        Op::Transpose(op) => moves::transpose(op, call),
        Op::Slice(op) => moves::slice(op, call),
        Op::SliceScatter(op) => moves::slice_scatter(op, call),
        Op::Concat(op) => moves::concat(op, call),
        Op::Broadcast(_) => moves::broadcast(call),
        Op::ReduceSum(op) => reductions::sum(op, call),
        Op::ReduceMean(op) => reductions::mean(op, call),
        Op::ReduceExtremum(op) => reductions::extremum(op, call),
        Op::ReduceExtremumGrad(op) => reductions::extremum_grad(op, call),
        Op::AllFinite(_) => reductions::all_finite(call),
        Op::Softmax(_) => rows::rows(kernels::softmax, call),
        Op::SoftmaxGrad(_) => rows::rows2(kernels::softmax_grad, call),
        Op::LogSoftmax(_) => rows::rows(kernels::log_softmax, call),
        Op::LogSoftmaxGrad(_) => rows::rows2(kernels::log_softmax_grad, call),
        Op::Gather(op) => index::gather(op, call),
        Op::GatherGrad(op) => index::gather_grad(op, call),
        Op::ArgMax(op) => index::arg_max(op, call),
        Op::TopK(op) => index::top_k(op, call),
        Op::NllLoss(_) => rows::nll_loss(call),
        Op::NllLossGrad(_) => rows::nll_loss_grad(call),
        Op::Input(_) | Op::Parameter(_) | Op::State(_) | Op::Constant(_) | Op::Scalar(_) => {
            Err(Fault::Operands("sources are bound, not computed".into()))
        }
        // Element by element, which `chain` computes where operands fit.
        _ => Err(Fault::Operands("its operands do not fit each other".into())),
    }
}
