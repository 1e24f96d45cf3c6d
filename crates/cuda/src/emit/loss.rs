//! Functions of rows, and losses.

use super::chaining::Chaining;
use super::reductions::columns;
use super::work::{EmitError, Work};
use crate::chain::{ChainOperand, ChainRead};
use crate::elements::Elements;
use crate::epilogue::Epilogue;
use crate::row_function::RowFunction;
use crate::rows::{RowSizes, Rows};
use bitbudget_ir::{Expression, Op};
use bitbudget_program::BufferId;

/// An operator that computes rows.
pub(super) fn rows(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let shape = work.shape(of.output);
    let (function, axis) = match &of.op {
        Op::LayerNormalization(op) => {
            (Some(RowFunction::layer_normalization(op.epsilon.0, of.inputs.len() > 2)), op.axis)
        }
        Op::LayerNormGradInput(op) => (RowFunction::of(&of.op), op.axis),
        op => (RowFunction::of(op), shape.len().saturating_sub(1)),
    };
    let function = function.ok_or_else(|| work.error(part, "it is no function of rows"))?;
    let length = shape[axis.min(shape.len())..].iter().product::<usize>();
    let sizes = RowSizes { rows: shape.iter().product::<usize>() / length.max(1), length };
    let mut chaining = Chaining::new(of.output);
    let mut operands = Vec::new();
    for &id in &of.inputs {
        if !work.order(id).is_by_rows() {
            return Err(work.error(part, format!("{:?} does not lie by rows", work.shape(id))));
        }
        let read = if work.shape(id) == shape { ChainRead::Each } else { ChainRead::Channel };
        operands.push(chaining.value(work, id, part, read)?);
    }
    let (epilogue, address) = (work.epilogue(part), work.address(of.output));
    row_function(work, chaining, &operands, function, &sizes, (epilogue, address), &[part]);
    Ok(())
}

/// The gradient of layer normalisation by its scale: the sum over the rows of what another kernel leaves in the workspace.
pub(super) fn layer_norm_grad_scale(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let Op::LayerNormGradScale(op) = &of.op else { return Err(work.error(part, "it is no gradient of a scale")) };
    let (shape, length) = (work.shape(of.inputs[0]), work.buffer(of.output).elements());
    let sizes = RowSizes { rows: shape.iter().product::<usize>() / length.max(1), length };
    let mut chaining = Chaining::new(of.inputs[0]);
    let mut operands = Vec::new();
    for &id in &of.inputs {
        if !work.order(id).is_by_rows() {
            return Err(work.error(part, format!("{:?} does not lie by rows", work.shape(id))));
        }
        operands.push(chaining.value(work, id, part, ChainRead::Each)?);
    }
    let products = work.scratch(4 * sizes.rows * length);
    let function = RowFunction::layer_norm_grad_scale(op.epsilon.0);
    row_function(work, chaining, &operands, function, &sizes, (Epilogue::FP32, products), &[]);
    let mut chaining = Chaining::new(of.inputs[0]);
    let input = chaining.input(Elements::Fp32, ChainRead::Each, products);
    chaining.pass(input);
    let (epilogue, address) = (work.epilogue(part), work.address(of.output));
    columns(work, chaining, [sizes.rows, length], vec![epilogue], &[address], &[part])
}

/// Launches a function of rows on operands of a chain.
fn row_function(
    work: &mut Work<'_>,
    mut chaining: Chaining,
    operands: &[ChainOperand],
    function: RowFunction,
    sizes: &RowSizes,
    (epilogue, address): (Epilogue, u64),
    counted: &[usize],
) {
    chaining.count_apart(work);
    operands.iter().for_each(|&operand| chaining.pass(operand));
    let addresses = [&chaining.inputs[..], &[address]].concat();
    let rows = Rows::new(chaining.chain, function, epilogue, sizes);
    work.takes(rows.effort(sizes));
    let counters = work.counters(counted);
    let arguments = sizes.arguments(&addresses, counters);
    work.launch("rows", &|name| rows.kernel(name), (sizes.blocks(), rows.shared()), arguments);
}

/// What a loss reads: labels, and the weights of classes if there are any.
struct Labels {
    labels: BufferId,
    weights: Option<BufferId>,
    sizes: RowSizes,
}

impl Labels {
    fn new(work: &Work<'_>, part: usize, scores: &[usize]) -> Labels {
        let of = &work.parts[part];
        Labels {
            labels: of.inputs[1],
            weights: of.inputs.get(2).copied(),
            sizes: RowSizes { rows: scores[0], length: scores[1] },
        }
    }

    /// A number of each row, in the workspace.
    fn of_rows(
        &self,
        work: &mut Work<'_>,
        part: usize,
        mut chaining: Chaining,
        mut operands: Vec<ChainOperand>,
        function: RowFunction,
    ) -> Result<u64, EmitError> {
        operands.push(chaining.value(work, self.labels, part, ChainRead::Row)?);
        if let Some(weights) = self.weights {
            operands.push(chaining.value(work, weights, part, ChainRead::Channel)?);
        }
        let address = work.scratch(4 * self.sizes.rows);
        row_function(work, chaining, &operands, function, &self.sizes, (Epilogue::FP32, address), &[]);
        Ok(address)
    }

    fn weight_of_rows(&self, work: &mut Work<'_>, part: usize) -> Result<u64, EmitError> {
        let function = RowFunction::row_weight(self.weights.is_some());
        self.of_rows(work, part, Chaining::new(self.labels), Vec::new(), function)
    }

    /// The sums of numbers of rows.
    fn sums(&self, work: &mut Work<'_>, of_rows: &[u64]) -> Result<Vec<u64>, EmitError> {
        let mut chaining = Chaining::new(self.labels);
        for &address in of_rows {
            let input = chaining.input(Elements::Fp32, ChainRead::Each, address);
            chaining.pass(input);
        }
        let results: Vec<u64> = of_rows.iter().map(|_| work.scratch(4)).collect();
        let forms = vec![Epilogue::FP32; of_rows.len()];
        columns(work, chaining, [self.sizes.rows, 1], forms, &results, &[])?;
        Ok(results)
    }
}

/// The negative log-likelihood: the sum of the rows' shares by the sum of their weights.
pub(super) fn nll_loss(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let Op::NllLoss(op) = &of.op else { return Err(work.error(part, "it is no loss")) };
    let labels = Labels::new(work, part, work.shape(of.inputs[0]));
    let mut chaining = Chaining::new(of.inputs[0]);
    let scores = chaining.value(work, of.inputs[0], part, ChainRead::Each)?;
    let function = RowFunction::nll_loss(op.smoothing.0, labels.weights.is_some());
    let shares = labels.of_rows(work, part, chaining, vec![scores], function)?;
    let weights = labels.weight_of_rows(work, part)?;
    let sums = labels.sums(work, &[shares, weights])?;
    let mut chaining = Chaining::new(of.output);
    let operands: Vec<ChainOperand> =
        sums.iter().map(|&sum| chaining.input(Elements::Fp32, ChainRead::Scalar, sum)).collect();
    let (x, zero) = (Expression::Operand, Expression::Number(0.0));
    let mean = Expression::Less(Box::new([zero.clone(), x(1), x(0) / x(1), zero]));
    chaining.last(work, part, mean, operands);
    chaining.launch(work);
    Ok(())
}

/// Its gradient.
pub(super) fn nll_loss_grad(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let Op::NllLossGrad(op) = &of.op else { return Err(work.error(part, "it is no gradient of a loss")) };
    let labels = Labels::new(work, part, work.shape(of.output));
    let weights = labels.weight_of_rows(work, part)?;
    let sums = labels.sums(work, &[weights])?;
    let mut chaining = Chaining::new(of.output);
    let mut operands = vec![chaining.value(work, of.inputs[0], part, ChainRead::Scalar)?];
    operands.push(chaining.input(Elements::Fp32, ChainRead::Scalar, sums[0]));
    operands.push(chaining.value(work, labels.labels, part, ChainRead::Row)?);
    if let Some(weights) = labels.weights {
        operands.push(chaining.value(work, weights, part, ChainRead::Channel)?);
    }
    let function = RowFunction::nll_loss_grad(op.smoothing.0, labels.weights.is_some());
    let (epilogue, address) = (work.epilogue(part), work.address(of.output));
    row_function(work, chaining, &operands, function, &labels.sizes, (epilogue, address), &[part]);
    Ok(())
}
