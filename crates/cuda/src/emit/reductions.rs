//! Sums, means and variances.

use super::chaining::Chaining;
use super::moving;
use super::work::{EmitError, Tensor, Work};
use crate::chain::ChainRead;
use crate::columns::{ColumnSizes, Columns};
use crate::elements::Elements;
use crate::epilogue::Epilogue;
use crate::factors::Factors;
use crate::parts::Statistic;
use crate::row_function::{RowFunction, RowNumber};
use crate::rows::{RowSizes, Rows};
use bitbudget_ir::{Expression, Op};
use bitbudget_program::BufferId;

/// Sums over the rows of `[rows, channels]`, of the chain's last parts.
pub(super) fn columns(
    work: &mut Work<'_>,
    chaining: Chaining,
    shape: [usize; 2],
    forms: Vec<Epilogue>,
    results: &[u64],
    counted: &[usize],
) -> Result<(), EmitError> {
    let statistic = Statistic::Sums(forms.len());
    statistics(work, chaining, shape, statistic, forms, results, counted)
}

fn statistics(
    work: &mut Work<'_>,
    chaining: Chaining,
    [rows, channels]: [usize; 2],
    statistic: Statistic,
    forms: Vec<Epilogue>,
    results: &[u64],
    counted: &[usize],
) -> Result<(), EmitError> {
    let sizes = ColumnSizes { rows, channels };
    let columns = Columns::new(chaining.chain, statistic, forms, &sizes);
    work.takes(columns.effort(&sizes));
    let workspace = work.scratch(sizes.part_sizes().workspace(statistic));
    let (counters, turns) = (work.counters(counted), work.turns(sizes.turns())?);
    let arguments = columns.arguments(&sizes, [&chaining.inputs, results], [counters, workspace, turns]);
    work.launch("columns", &|name| columns.kernel(name), (sizes.blocks(), columns.shared()), arguments);
    Ok(())
}

/// The matrix that a tensor is with its channels as columns.
fn matrix(work: &Work<'_>, part: usize, id: BufferId) -> Result<[usize; 2], EmitError> {
    match work.order(id).around_channels() {
        [rows, channels, 1] => Ok([rows, channels]),
        _ => Err(work.error(part, format!("the channels of {:?} do not lie last", work.shape(id)))),
    }
}

/// Mean and variance of channels, or a sum over everything but them.
pub(super) fn of_channels(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let address = work.address(of.output);
    match &of.op {
        Op::BatchMean(_) => {
            let other = work.scratch(4 * work.buffer(of.output).elements());
            moments(work, part, [(work.epilogue(part), address), (Epilogue::FP32, other)], &[part])
        }
        Op::BatchVariance(_) => {
            let other = work.scratch(4 * work.buffer(of.output).elements());
            // The mean comes first.
            moments(work, part, [(Epilogue::FP32, other), (work.epilogue(part), address)], &[part])
        }
        _ => {
            let mut chaining = Chaining::new(of.inputs[0]);
            scale_gradient(work, part, &mut chaining)?;
            let shape = matrix(work, part, of.inputs[0])?;
            chaining.count_apart(work);
            columns(work, chaining, shape, vec![work.epilogue(part)], &[address], &[part])
        }
    }
}

fn moments(
    work: &mut Work<'_>,
    part: usize,
    [mean, variance]: [(Epilogue, u64); 2],
    counted: &[usize],
) -> Result<(), EmitError> {
    let (chaining, _) = Chaining::of_operand(work, part, 0)?;
    let shape = matrix(work, part, work.parts[part].inputs[0])?;
    chaining.count_apart(work);
    let forms = vec![mean.0, variance.0];
    statistics(work, chaining, shape, Statistic::Moments, forms, &[mean.1, variance.1], counted)
}

/// The last part of a chain becomes a gradient times what is normalised, whose sum is the gradient of the scale.
fn scale_gradient(work: &mut Work<'_>, part: usize, chaining: &mut Chaining) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let Op::BatchNormGradScale(op) = &of.op else { return Err(work.error(part, "it is no gradient of a scale")) };
    let channels = work.buffer(of.output).elements();
    let factors = Factors::reciprocal(op.epsilon.0, work.elements(of.inputs[3]));
    let reciprocal = work.scratch(4 * channels);
    let arguments = factors.arguments(&[work.address(of.inputs[3])], &[reciprocal], channels, 1);
    work.launch("factors", &|name| factors.kernel(name), (Factors::blocks(channels), 0), arguments);
    let mut operands = vec![
        chaining.value(work, of.inputs[0], part, ChainRead::Each)?,
        chaining.value(work, of.inputs[1], part, ChainRead::Each)?,
        chaining.value(work, of.inputs[2], part, ChainRead::Channel)?,
    ];
    operands.push(chaining.input(Elements::Fp32, ChainRead::Channel, reciprocal));
    let x = Expression::Operand;
    chaining.add(x(0) * ((x(1) - x(2)) * x(3)), operands);
    Ok(())
}

/// Two sums over the same elements.
pub(super) fn pair(work: &mut Work<'_>, parts: [usize; 2]) -> Result<(), EmitError> {
    let [first, second] = parts;
    let ops = parts.map(|part| &work.parts[part].op);
    if let [Op::BatchMean(_), Op::BatchVariance(_)] = ops {
        let results = parts.map(|part| (work.epilogue(part), work.address(work.parts[part].output)));
        return moments(work, first, results, &parts);
    }
    let mut chaining = Chaining::new(work.parts[first].inputs[0]);
    // What both read comes first, so that the last parts are what is summed.
    for part in parts {
        let id = work.parts[part].inputs[0];
        chaining.value(work, id, part, ChainRead::Each)?;
    }
    for (part, op) in parts.into_iter().zip(ops) {
        match op {
            Op::BatchNormGradScale(_) => scale_gradient(work, part, &mut chaining)?,
            Op::ReduceSum(_) if work.facts(part).is_over_channels() => {
                let operand = chaining.value(work, work.parts[part].inputs[0], part, ChainRead::Each)?;
                chaining.pass(operand);
            }
            _ => return Err(work.error(part, "it is no sum over the channels")),
        }
    }
    let shape = matrix(work, second, work.parts[second].inputs[0])?;
    chaining.count_apart(work);
    let results = parts.map(|part| work.address(work.parts[part].output));
    columns(work, chaining, shape, parts.map(|part| work.epilogue(part)).to_vec(), &results, &parts)
}

/// A sum or mean over axes: of channels' elements, or of rows, for which elements are moved where they do not lie so.
pub(super) fn reduce(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let (axes, is_mean) = match &of.op {
        Op::ReduceSum(op) => (&op.axes, false),
        Op::ReduceMean(op) => (&op.axes, true),
        _ => return Err(work.error(part, "it is no sum")),
    };
    let (id, address) = (of.inputs[0], work.address(of.output));
    if work.facts(part).is_over_channels() && !is_mean && work.order(id).has_channels_last() {
        let (chaining, _) = Chaining::of_operand(work, part, 0)?;
        let matrix = matrix(work, part, id)?;
        chaining.count_apart(work);
        return columns(work, chaining, matrix, vec![work.epilogue(part)], &[address], &[part]);
    }
    let sum = Expression::Operand(1);
    let result = if is_mean { sum / Expression::PerChannel(0) } else { sum };
    let numbers = vec![RowNumber::Sum(Expression::Operand(0))];
    number_of_rows(work, part, axes, RowFunction { operands: 1, numbers, result, is_number: true })
}

/// A number of each row of a part's operand, whose rows are the elements of some axes.
fn number_of_rows(work: &mut Work<'_>, part: usize, axes: &[usize], function: RowFunction) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let id = of.inputs[0];
    let sizes = row_sizes(work.shape(id), axes);
    let (Tensor { elements, address: from }, _) = moving::with_last(work, part, id, axes)?;
    let mut chaining = Chaining::new(id);
    let input = chaining.input(elements, ChainRead::Each, from);
    chaining.pass(input);
    let numbers = work.scratch(4 * sizes.rows);
    let row_kernel = Rows::new(chaining.chain, function, Epilogue::FP32, &sizes);
    let arguments = sizes.arguments(&[from, numbers], 0);
    work.launch("rows", &|name| row_kernel.kernel(name), (sizes.blocks(), row_kernel.shared()), arguments);
    let mut chaining = Chaining::new(of.output);
    let input = chaining.input(Elements::Fp32, ChainRead::Each, numbers);
    chaining.last(work, part, Expression::Operand(0), vec![input]);
    chaining.launch(work);
    Ok(())
}

/// The rows whose elements are those of some axes.
fn row_sizes(shape: &[usize], axes: &[usize]) -> RowSizes {
    let length: usize = axes.iter().map(|&axis| shape[axis]).product();
    RowSizes { rows: shape.iter().product::<usize>() / length.max(1), length }
}

/// The largest or smallest element over axes.
pub(super) fn extremum(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let Op::ReduceExtremum(op) = &work.parts[part].op else { return Err(work.error(part, "it is no extremum")) };
    number_of_rows(work, part, &op.axes, RowFunction::extremum(op.least))
}

/// Its gradient, for elements that are moved where the axes do not lie last, and back.
pub(super) fn extremum_grad(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let Op::ReduceExtremumGrad(op) = &of.op else { return Err(work.error(part, "it is no extremum's gradient")) };
    let (dy, id) = (of.inputs[0], of.inputs[1]);
    if !work.order(dy).is_by_rows() {
        return Err(work.error(part, format!("{:?} does not lie by rows", work.shape(dy))));
    }
    let sizes = row_sizes(work.shape(id), &op.axes);
    let (x, is_moved) = moving::with_last(work, part, id, &op.axes)?;
    let mut chaining = Chaining::new(id);
    let operands = [
        chaining.input(x.elements, ChainRead::Each, x.address),
        chaining.input(work.elements(dy), ChainRead::Row, work.address(dy)),
    ];
    operands.into_iter().for_each(|operand| chaining.pass(operand));
    let (epilogue, address) = match is_moved {
        false => (work.epilogue(part), work.address(of.output)),
        true => (Epilogue::FP32, work.scratch(4 * work.buffer(id).elements())),
    };
    let rows = Rows::new(chaining.chain, RowFunction::extremum_grad(op.least), epilogue, &sizes);
    let counters = if is_moved { 0 } else { work.counters(&[part]) };
    let arguments = sizes.arguments(&[&chaining.inputs[..], &[address]].concat(), counters);
    work.launch("rows", &|name| rows.kernel(name), (sizes.blocks(), rows.shared()), arguments);
    match is_moved {
        true => moving::from_last(work, part, Tensor { elements: Elements::Fp32, address }, &op.axes),
        false => Ok(()),
    }
}
