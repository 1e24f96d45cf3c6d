//! Pooling that readers such as ONNX Runtime refuse is padded by a node of its own: where padding is at least as wide as the window, as auto_pad
//! with dilations makes it, and where `ceil_mode` drops a last window that begins behind the input, which shape inference counts.

use super::exporter::Exporter;
use super::messages::{flag, floats, ints, list};
use bitbudget_ir::NodeId;
use bitbudget_ir::ops::Window;

/// The pooled tensor.
pub(super) enum Pool {
    Max,
    Average { count_include_pad: bool },
}

/// Writes a pooling as nodes that any reader takes.
pub(super) fn write(exporter: &mut Exporter, id: NodeId, window: &Window, pool: Pool) -> Result<(), String> {
    let x = exporter.model.graph.operand(id, 0).map_err(|e| e.to_string())?;
    let input = exporter.name(x);
    let mut attributes =
        vec![list("kernel_shape", window.kernel), list("strides", window.strides), list("dilations", window.dilations)];
    let sizes: Vec<usize> = exporter.model.graph.ty(x).shape.0.iter().skip(2).map(|d| d.factor()).collect();
    let [height, width] = sizes[..] else { return Err("it pools a tensor that is not [N, C, H, W]".into()) };
    let output = window.output([height, width]).map_err(|e| e.to_string())?;
    let is_narrow = (0..2).all(|d| window.pads_begin[d].max(window.pads_end[d]) < window.kernel[d]);
    if is_narrow && (!window.ceil || ceil_output(window, [height, width]) == output) {
        attributes.push(list("pads", window.pads_begin.into_iter().chain(window.pads_end)));
        attributes.push(flag("ceil_mode", window.ceil));
        let operator = match pool {
            Pool::Max => "MaxPool",
            Pool::Average { count_include_pad } => {
                attributes.push(flag("count_include_pad", count_include_pad));
                "AveragePool"
            }
        };
        exporter.node(id, operator, vec![input]).attribute = attributes;
        return Ok(());
    }
    let value = match pool {
        Pool::Max => f32::NEG_INFINITY,
        Pool::Average { .. } => 0.0,
    };
    let padded = pad(exporter, id, input, value, &pads(window, [height, width], output));
    let Pool::Average { count_include_pad } = pool else {
        exporter.node(id, "MaxPool", vec![padded]).attribute = attributes;
        return Ok(());
    };
    let factors = factors(window, [height, width], output, count_include_pad);
    if factors.iter().all(|&f| f == 1.0) {
        exporter.node(id, "AveragePool", vec![padded]).attribute = attributes;
        return Ok(());
    }
    let result = exporter.name(id);
    let mean = exporter.fresh(&format!("{result}.mean"));
    exporter.message(mean.clone(), "AveragePool", vec![padded], mean.clone()).attribute = attributes;
    let by = exporter.argument(id, "by", floats(&[1, 1, output[0], output[1]], &factors));
    exporter.node(id, "Mul", vec![mean, by]);
    Ok(())
}

/// The output's size by ONNX's formula for `ceil_mode`, which drops no window.
fn ceil_output(window: &Window, input: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|d| {
        let extent = (window.kernel[d] - 1) * window.dilations[d] + 1;
        let room = (input[d] + window.pads_begin[d] + window.pads_end[d]).saturating_sub(extent);
        room.div_ceil(window.strides[d]) + 1
    })
}

/// The input with a border of one value.
fn pad(exporter: &mut Exporter, id: NodeId, input: String, value: f32, pads: &[i64]) -> String {
    let lists = [("pads", ints(pads)), ("padding", floats(&[], &[value]))];
    let mut inputs = vec![input];
    for (what, values) in lists {
        inputs.push(exporter.argument(id, what, values));
    }
    let result = exporter.name(id);
    let padded = exporter.fresh(&format!("{result}.padded"));
    exporter.message(padded.clone(), "Pad", inputs, padded.clone());
    padded
}

/// A Pad's numbers such that the windows end with the padded input, or before it.
fn pads(window: &Window, input: [usize; 2], output: [usize; 2]) -> Vec<i64> {
    let end = |d: usize| {
        let extent = (window.kernel[d] - 1) * window.dilations[d] + 1;
        let reach = (output[d] - 1) * window.strides[d] + extent;
        reach.saturating_sub(input[d] + window.pads_begin[d])
    };
    let [top, left] = window.pads_begin;
    [0, 0, top, left, 0, 0, end(0), end(1)].map(|p| p as i64).to_vec()
}

/// By how much a window's mean with all taps differs from that of those that count, per window.
fn factors(window: &Window, input: [usize; 2], output: [usize; 2], count_include_pad: bool) -> Vec<f32> {
    let counts = |d: usize, o: usize| {
        let (from, to) = match count_include_pad {
            true => (0, window.pads_begin[d] + input[d] + window.pads_end[d]),
            false => (window.pads_begin[d], window.pads_begin[d] + input[d]),
        };
        let taps = (0..window.kernel[d]).map(|k| o * window.strides[d] + k * window.dilations[d]);
        taps.filter(|at| (from..to).contains(at)).count()
    };
    let area = (window.kernel[0] * window.kernel[1]) as f32;
    let columns: Vec<usize> = (0..output[1]).map(|o| counts(1, o)).collect();
    let rows = (0..output[0]).map(|o| counts(0, o));
    rows.flat_map(|row| columns.iter().map(move |&column| area / (row * column).max(1) as f32)).collect()
}
