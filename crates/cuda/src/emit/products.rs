//! Convolutions and products of matrices.

use super::chaining::Chaining;
use super::moving;
use super::work::{EmitError, Work};
use crate::chain::ChainRead;
use crate::conv_sizes::ConvSizes;
use crate::depthwise::{Depthwise, DepthwiseSizes};
use crate::epilogue::Epilogue;
use crate::parts::{Parts, Statistic};
use crate::pass::Pass;
use crate::pools::PoolSizes;
use crate::precision::Precision;
use crate::product::Product;
use bitbudget_formats::Format;
use bitbudget_ir::Op;
use bitbudget_ir::ops::Conv;

/// A convolution or one of its gradients.
pub(super) fn convolution(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let (conv, pass, [x, w, y]) = match &of.op {
        Op::Conv(op) => (op.clone(), Pass::Forward, [of.inputs[0], of.inputs[1], of.output]),
        Op::ConvGradInput(op) => (op.forward(), Pass::GradInput, [of.output, of.inputs[1], of.inputs[0]]),
        Op::ConvGradWeight(op) => (op.forward(), Pass::GradWeight, [of.inputs[0], of.output, of.inputs[1]]),
        _ => return Err(work.error(part, "it is no convolution")),
    };
    if let Some(&id) = [x, w, y].iter().find(|&&id| !work.order(id).has_channels_last()) {
        return Err(work.error(part, format!("the channels of {:?} do not lie last", work.shape(id))));
    }
    let sizes = sizes(&conv, work.shape(x), work.shape(w), work.shape(y));
    let is_depthwise = conv.groups > 1 && conv.groups == sizes.channels && sizes.channels == sizes.out_channels;
    let of_channels = depthwise_sizes(&conv, &sizes);
    match is_depthwise && of_channels.is_possible() {
        true => depthwise(work, part, pass, of_channels),
        false => {
            // Of the gradient of the weights the output's gradient comes first.
            let positions = if pass == Pass::GradWeight { [1, 0] } else { [0, 1] };
            product(work, part, pass, positions, sizes)
        }
    }
}

fn sizes(conv: &Conv, x: &[usize], w: &[usize], y: &[usize]) -> ConvSizes {
    ConvSizes {
        batch: x[0],
        height: x[2],
        width: x[3],
        channels: x[1],
        out_height: y[2],
        out_width: y[3],
        out_channels: y[1],
        kernel: [w[2], w[3]],
        strides: conv.strides,
        dilations: conv.dilations,
        pads: conv.pads_begin,
        groups: conv.groups,
        count: 1,
    }
}

fn depthwise_sizes(conv: &Conv, sizes: &ConvSizes) -> DepthwiseSizes {
    DepthwiseSizes(PoolSizes {
        batch: sizes.batch,
        channels: sizes.channels,
        input: [sizes.height, sizes.width],
        output: [sizes.out_height, sizes.out_width],
        window: conv.window(sizes.kernel),
    })
}

/// A product of matrices.
pub(super) fn matmul(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let Op::Matmul(op) = &of.op else { return Err(work.error(part, "it is no product of matrices")) };
    if let Some(id) = of.inputs.iter().chain([&of.output]).find(|&&id| !work.order(id).is_by_rows()) {
        return Err(work.error(part, format!("{:?} does not lie by rows", work.shape(*id))));
    }
    let (a, result) = (work.shape(of.inputs[0]), work.shape(of.output));
    let (&[.., first, second], &[ref leading @ .., m, n]) = (a, result) else {
        return Err(work.error(part, "operands must be matrices"));
    };
    let (k, count) = (if op.trans_a { first } else { second }, leading.iter().product());
    let (pass, sizes) = match (op.trans_a, op.trans_b) {
        (false, true) => (Pass::Forward, ConvSizes::matrices(count, m, n, k)),
        (false, false) => (Pass::GradInput, ConvSizes::matrices(count, m, k, n)),
        (true, false) => (Pass::GradWeight, ConvSizes::matrices(count, k, m, n)),
        (true, true) => {
            let sizes = ConvSizes::matrices(count, m, n, k);
            let (id, format) = (of.inputs[0], work.buffer(of.inputs[0]).format);
            let (turned, _) = moving::with_last(work, part, id, &[a.len() - 2])?;
            let mut left = Chaining::new(id);
            let input = left.input(turned.elements, ChainRead::Each, turned.address);
            left.pass(input);
            let right = Chaining::of_operand(work, part, 1)?;
            return product_of(work, part, Pass::Forward, [(left, format), right], sizes);
        }
    };
    product(work, part, pass, [0, 1], sizes)
}

/// A product of the operands at two positions.
fn product(
    work: &mut Work<'_>,
    part: usize,
    pass: Pass,
    positions: [usize; 2],
    sizes: ConvSizes,
) -> Result<(), EmitError> {
    let left = Chaining::of_operand(work, part, positions[0])?;
    let right = Chaining::of_operand(work, part, positions[1])?;
    product_of(work, part, pass, [left, right], sizes)
}

/// A product of chains, whose numbers have these formats.
fn product_of(
    work: &mut Work<'_>,
    part: usize,
    pass: Pass,
    [(left, left_format), (right, right_format)]: [(Chaining, Format); 2],
    sizes: ConvSizes,
) -> Result<(), EmitError> {
    let of = &work.parts[part];
    left.count_apart(work);
    right.count_apart(work);
    let precision = Precision::of(left_format, right_format);
    let mut addresses = [&left.inputs[..], &right.inputs[..]].concat();
    let mut product = Product::new(pass, [left.chain, right.chain], precision, work.epilogue(part), &sizes);
    let columns = sizes.product(pass)[1] * sizes.groups;
    if let Some(&bias) = of.inputs.get(2) {
        if work.shape(bias) != [columns] {
            return Err(work.error(part, format!("a bias of {:?} is added to {columns} columns", work.shape(bias))));
        }
        if work.part_of(bias, part).is_some() {
            return Err(work.error(part, "its bias is computed in its own step"));
        }
        product = product.with_bias(work.elements(bias));
        addresses.push(work.address(bias));
    }
    addresses.push(work.address(of.output));
    let (sums, turns) = (work.scratch(sizes.workspace(pass)), work.turns(sizes.turns(pass))?);
    work.takes(product.effort(&sizes));
    let counters = work.counters(&[part]);
    let arguments = sizes.arguments(pass, &addresses, counters, [sums, turns]);
    work.launch("product", &|name| product.kernel(name), (sizes.blocks(pass), product.shared()), arguments);
    Ok(())
}

fn depthwise(work: &mut Work<'_>, part: usize, pass: Pass, sizes: DepthwiseSizes) -> Result<(), EmitError> {
    let of = &work.parts[part];
    // Windows read the first operand; of the gradient of the weights they read the input, too.
    let (chain, _) = Chaining::of_operand(work, part, 0)?;
    let (other, _) = Chaining::of_operand(work, part, 1)?;
    chain.count_apart(work);
    other.count_apart(work);
    if of.inputs.len() > 2 {
        return Err(work.error(part, "depthwise kernels add no bias yet"));
    }
    let mut addresses = [&chain.inputs[..], &other.inputs[..]].concat();
    let chains = [chain.chain, other.chain];
    work.takes(sizes.effort(&chains));
    if pass == Pass::GradWeight {
        let depthwise = Depthwise::new(pass, chains, Epilogue::FP32, &sizes);
        let part_sizes = sizes.part_sizes();
        let workspace = work.scratch(part_sizes.workspace(Statistic::Sums(1)));
        addresses.push(workspace);
        let arguments = sizes.arguments(pass, &addresses, 0);
        let shape = (sizes.blocks(pass), sizes.shared(pass));
        work.launch("depthwise", &|name| depthwise.kernel(name), shape, arguments);
        let parts = Parts { statistic: Statistic::Sums(1), results: vec![work.epilogue(part)] };
        let counters = work.counters(&[part]);
        let arguments = part_sizes.arguments(workspace, &[work.address(of.output)], counters);
        work.launch("parts", &|name| parts.kernel(name), (part_sizes.blocks(), 0), arguments);
        return Ok(());
    }
    let depthwise = Depthwise::new(pass, chains, work.epilogue(part), &sizes);
    addresses.push(work.address(of.output));
    let counters = work.counters(&[part]);
    let arguments = sizes.arguments(pass, &addresses, counters);
    let shape = (sizes.blocks(pass), sizes.shared(pass));
    work.launch("depthwise", &|name| depthwise.kernel(name), shape, arguments);
    Ok(())
}
