//! The short-time Fourier transform.

use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value};
use bitbudget_ir::{Dim, NodeId, Shape, ops};
use std::f64::consts::TAU;

pub(super) const ROWS: &[Row] = &[Row {
    name: "STFT",
    versions: &[17],
    attributes: &["onesided"],
    forms: "`conv` with constant waves, which the window weighs; real signals, window, length and step of frames known at import",
    build: Some(stft),
    fold: None,
}];

/// The most numbers of all waves.
const MOST: usize = 1 << 24;

fn stft(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let signal = importer.tensor(node, 0)?;
    let (batch, length) = samples(&importer.shape(signal))?;
    let window = node.input(2).map(|operand| importer.constant(operand)?.as_floats()).transpose()?;
    let given = positive(importer, node, 3, "frame_length")?;
    let step = positive(importer, node, 1, "frame_step")?.ok_or("its second input (frame_step) is missing")?;
    let frame = given.or(window.as_ref().map(Vec::len)).ok_or("it needs a window or a frame_length")?;
    if window.as_ref().is_some_and(|window| window.len() != frame) {
        return Err(format!("its window has {} elements, its frame_length is {frame}", window.map_or(0, |w| w.len())));
    }
    if frame > length {
        return Err(format!(
            "its frames of {frame} samples do not fit into a signal of {length}; give a longer signal"
        ));
    }
    let one_sided = node.int("onesided")?.unwrap_or(1) != 0;
    let bins = if one_sided { frame / 2 + 1 } else { frame };
    if bins.saturating_mul(2).saturating_mul(frame) > MOST {
        return Err(format!("its frames of {frame} samples are too long; use shorter frames"));
    }
    let name = importer.fresh_name(&format!("{}.waves", node.name));
    let shape = vec![2 * bins, 1, 1, frame];
    let waves = Constant { shape, elements: Elements::Floats(waves(bins, frame, window.as_deref())) };
    let waves = importer.constant_source(&name, &waves)?;
    let rows = Shape(vec![batch, Dim::fixed(1), Dim::fixed(1), Dim::fixed(length)]);
    let rows = importer.reshape(node.name, signal, rows)?;
    let op = ops::Conv { strides: [1, step], pads_begin: [0; 2], pads_end: [0; 2], dilations: [1; 2], groups: 1 };
    let spectra = importer.emit(node.name, op, &[rows, waves])?;
    let frames = importer.shape(spectra).0[3];
    complex(importer, node, spectra, [batch, Dim::fixed(bins), frames]).map(|y| vec![Value::Tensor(y)])
}

/// The examples of a real signal, `[examples, samples]` or `[examples, samples, 1]`, and its samples.
fn samples(shape: &Shape) -> Result<(Dim, usize), String> {
    let fault =
        || format!("a real signal [examples, samples] or [examples, samples, 1] is needed, its input is {shape}");
    match shape.0.as_slice() {
        [batch, samples] => Ok((*batch, samples.as_fixed().ok_or_else(fault)?)),
        [batch, samples, one] if *one == Dim::fixed(1) => Ok((*batch, samples.as_fixed().ok_or_else(fault)?)),
        _ => Err(fault()),
    }
}

/// An optional input that is one positive number, known at import.
fn positive(importer: &Importer, node: &Node, position: usize, name: &str) -> Result<Option<usize>, String> {
    let Some(numbers) = importer.ints(node, position)? else { return Ok(None) };
    let number =
        <[i64; 1]>::try_from(numbers.as_slice()).ok().and_then(|[n]| usize::try_from(n).ok()).filter(|&n| n > 0);
    number.map(Some).ok_or_else(|| format!("its {name} is {numbers:?}; one positive number is needed"))
}

/// The real and the imaginary part of each bin's wave, as rows of so many samples, times the window.
fn waves(bins: usize, frame: usize, window: Option<&[f32]>) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(2 * bins * frame);
    for bin in 0..bins {
        // The angle is exact: whole turns are left out before the division.
        let angle = |t: usize| TAU * ((bin * t) % frame) as f64 / frame as f64;
        let weight = |t: usize| window.map_or(1.0, |window| f64::from(window[t]));
        numbers.extend((0..frame).map(|t| (weight(t) * libm::cos(angle(t))) as f32));
        numbers.extend((0..frame).map(|t| (-weight(t) * libm::sin(angle(t))) as f32));
    }
    numbers
}

/// Planes of parts by bin as `[examples, frames, bins, 2]`.
fn complex(importer: &mut Importer, node: &Node, x: NodeId, sizes: [Dim; 3]) -> Result<NodeId, String> {
    let [batch, bins, frames] = sizes;
    let parts = importer.reshape(node.name, x, Shape(vec![batch, bins, Dim::fixed(2), frames]))?;
    importer.emit(node.name, ops::Transpose { perm: vec![0, 3, 1, 2] }, &[parts])
}
