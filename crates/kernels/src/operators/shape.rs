//! Moving elements: transpose, concatenation, slices, broadcasting; and binary functions of broadcast operands.
//!
//! Between operands and results of one format the codes are moved as they are. Otherwise a tile of numbers is unpacked,
//! rounded and packed at a time.

use bitbudget_formats::Counts;

use crate::elementwise::math::Binary;
use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::{Elements, Output};
use crate::tensors::parallel::with_scratch;
use crate::tensors::walk::{Inverse, Walk, broadcast as broadcast_steps, contiguous};

/// Writes `y` in its own order from the places of `x` that the walk names.
fn gather(walk: &Walk<1>, x: Elements<'_>, y: &mut Output<'_>) -> Counts {
    y.arrange(std::iter::once(x), |start, y| y.take_walk(walk, start, x))
}

/// Transpose (ONNX `Transpose`): axis `i` of y is axis `perm[i]` of x, which has `shape`.
pub fn transpose(x: Elements<'_>, shape: &[usize], perm: &[usize], y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.len()) {
        return Err(geometry("transpose", format!("{perm:?} is not a permutation of the axes of {shape:?}")));
    }
    let size = elements(shape);
    check("transpose", &[("x", x.len(), size), ("y", y.len(), size)])?;
    let steps = contiguous(shape);
    let y_shape: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
    let y_steps: Vec<isize> = perm.iter().map(|&axis| steps[axis]).collect();
    Ok(gather(&Walk::new(&y_shape, [&y_steps], [0]), x, y))
}

/// Broadcasting (ONNX `Expand`): shapes are right-aligned, and axes of size 1 repeat.
pub fn broadcast(
    x: Elements<'_>,
    x_shape: &[usize],
    y_shape: &[usize],
    y: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    let Some(steps) = broadcast_steps(x_shape, y_shape) else {
        return Err(geometry("broadcast", format!("{x_shape:?} does not broadcast to {y_shape:?}")));
    };
    check("broadcast", &[("x", x.len(), elements(x_shape)), ("y", y.len(), elements(y_shape))])?;
    Ok(gather(&Walk::new(y_shape, [&steps], [0]), x, y))
}

/// `y = a kind b` with both operands broadcast to `y_shape`.
pub fn binary_broadcast(
    kind: Binary,
    a: Elements<'_>,
    a_shape: &[usize],
    b: Elements<'_>,
    b_shape: &[usize],
    y: &mut Output<'_>,
    y_shape: &[usize],
) -> Result<Counts, ShapeError> {
    let steps = (broadcast_steps(a_shape, y_shape), broadcast_steps(b_shape, y_shape));
    let (Some(a_steps), Some(b_steps)) = steps else {
        let reason = format!("{a_shape:?} and {b_shape:?} do not broadcast to {y_shape:?}");
        return Err(geometry("binary_broadcast", reason));
    };
    let sizes = [("a", a.len(), elements(a_shape)), ("b", b.len(), elements(b_shape))];
    check("binary_broadcast", &sizes)?;
    check("binary_broadcast", &[("y", y.len(), elements(y_shape))])?;
    let walk = Walk::new(y_shape, [&a_steps, &b_steps], [0, 0]);
    let inner = walk.inner();
    Ok(y.fill(1, |start, y| {
        let len = y.len();
        with_scratch(2 * len, |scratch| {
            let (a_scratch, b_scratch) = scratch.split_at_mut(len);
            let touched = touched(&walk, start, len);
            let (mut a, mut b) = (Window::new(a, touched[0], a_scratch), Window::new(b, touched[1], b_scratch));
            walk.runs(start, len, |position, [i, j], count| {
                let y = &mut y[position..position + count];
                match inner {
                    [0, 0] => {
                        kind.rows(a.read(i, 1), b.read(j, 1), &mut y[..1]);
                        let value = y[0];
                        y.fill(value);
                    }
                    [_, 0] => kind.row_scalar(a.read(i, count), b.read(j, 1)[0], false, y),
                    [0, _] => kind.row_scalar(b.read(j, count), a.read(i, 1)[0], true, y),
                    _ => kind.rows(a.read(i, count), b.read(j, count), y),
                }
            });
        })
    }))
}

/// The range of each operand's elements that the result's elements from `start` to `start + len` are made of.
fn touched<const K: usize>(walk: &Walk<K>, start: usize, len: usize) -> [(usize, usize); K] {
    let (mut touched, inner) = ([(usize::MAX, 0); K], walk.inner());
    walk.runs(start, len, |_, from, count| {
        for k in 0..K {
            let end = from[k] + if inner[k] == 0 { 1 } else { count };
            touched[k] = (touched[k].0.min(from[k]), touched[k].1.max(end));
        }
    });
    touched
}

/// The numbers of an operand around a tile of the result: all unpacked at once where they fit in the scratch memory,
/// else run by run.
enum Window<'a> {
    Whole(usize, &'a [f32]),
    Runs(Elements<'a>, &'a mut [f32]),
}

impl<'a> Window<'a> {
    fn new(x: Elements<'a>, (start, end): (usize, usize), scratch: &'a mut [f32]) -> Self {
        match x.numbers() {
            Some(x) => Window::Whole(0, x),
            None if end - start <= scratch.len() => Window::Whole(start, x.read(start, end - start, scratch)),
            None => Window::Runs(x, scratch),
        }
    }

    fn read(&mut self, from: usize, len: usize) -> &[f32] {
        match self {
            Window::Whole(start, numbers) => &numbers[from - *start..][..len],
            Window::Runs(x, scratch) => x.read(from, len, scratch),
        }
    }
}

/// Concatenation along one axis: input `i` is `[outer, axis size i, inner]`, y `[outer, sum of axis sizes, inner]`.
pub fn concat(
    inputs: &[(Elements<'_>, usize)],
    outer: usize,
    inner: usize,
    y: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    let axis = inputs.iter().fold(0usize, |sum, (_, size)| sum.saturating_add(*size));
    for (x, size) in inputs {
        check("concat", &[("inputs", x.len(), elements(&[outer, *size, inner]))])?;
    }
    check("concat", &[("y", y.len(), elements(&[outer, axis, inner]))])?;
    let row = axis * inner;
    Ok(y.arrange(inputs.iter().map(|(x, _)| *x), |start, y| {
        let mut position = 0;
        while position < y.len() {
            let (index, column) = ((start + position) / row, (start + position) % row);
            let mut end = 0;
            for (x, size) in inputs {
                let len = size * inner;
                end += len;
                let at = start + position - index * row;
                if (column..end).contains(&at) {
                    let count = (end - at).min(y.len() - position);
                    y.take(position, count, *x, index * len + at - (end - len), 1);
                    position += count;
                }
                if position == y.len() {
                    break;
                }
            }
        }
    }))
}

/// Whether a slice lies inside its tensor.
fn check_slice(
    kernel: &'static str,
    shape: &[usize],
    begin: &[usize],
    step: &[isize],
    out_shape: &[usize],
) -> Result<(), ShapeError> {
    let wrong = |reason: &str| {
        let slice = format!("begin {begin:?}, step {step:?}, result {out_shape:?} of {shape:?}");
        geometry(kernel, format!("{reason} ({slice})"))
    };
    if [begin.len(), step.len(), out_shape.len()] != [shape.len(); 3] {
        return Err(wrong("a slice needs one begin, step and size for each axis"));
    }
    for axis in 0..shape.len() {
        if out_shape[axis] > 0 {
            let last = (out_shape[axis] as isize - 1).checked_mul(step[axis]);
            let last = last.and_then(|distance| distance.checked_add_unsigned(begin[axis]));
            let inside = |i: isize| (0..shape[axis] as isize).contains(&i);
            if begin[axis] >= shape[axis] || !last.is_some_and(inside) {
                return Err(wrong("the slice leaves its tensor"));
            }
        }
        if step[axis] == 0 && out_shape[axis] > 1 {
            return Err(wrong("a step is 0"));
        }
    }
    Ok(())
}

/// Slice (ONNX `Slice` with its bounds resolved): element `i` along an axis of y is element `begin + i * step` of x,
/// which has `shape`; steps may be negative.
pub fn slice(
    x: Elements<'_>,
    shape: &[usize],
    begin: &[usize],
    step: &[isize],
    out_shape: &[usize],
    y: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    check("slice", &[("x", x.len(), elements(shape)), ("y", y.len(), elements(out_shape))])?;
    if y.is_empty() {
        return Ok(Counts::default());
    }
    check_slice("slice", shape, begin, step, out_shape)?;
    let strides = contiguous(shape);
    let base = (0..shape.len()).map(|axis| begin[axis] as isize * strides[axis]).sum();
    let steps: Vec<isize> = strides.iter().zip(step).map(|(stride, step)| stride * step).collect();
    Ok(gather(&Walk::new(out_shape, [&steps], [base]), x, y))
}

/// Gradient of [`slice()`], and padding with zeros: dx, which has `shape`, is zero except where the slice took dy's
/// elements from.
pub fn slice_scatter(
    dy: Elements<'_>,
    dy_shape: &[usize],
    begin: &[usize],
    step: &[isize],
    shape: &[usize],
    dx: &mut Output<'_>,
) -> Result<Counts, ShapeError> {
    check("slice_scatter", &[("dy", dy.len(), elements(dy_shape)), ("dx", dx.len(), elements(shape))])?;
    if dy.is_empty() {
        return Ok(dx.arrange(std::iter::empty(), |_, dx| dx.zero(0, dx.len())));
    }
    check_slice("slice_scatter", shape, begin, step, dy_shape)?;
    let inverse = Inverse::new(shape, begin, step, dy_shape);
    Ok(dx.arrange(std::iter::once(dy), |start, dx| {
        inverse.runs(start, dx.len(), |position, count, from| match from {
            Some((from, step)) => dx.take(position, count, dy, from, step),
            None => dx.zero(position, count),
        });
    }))
}
