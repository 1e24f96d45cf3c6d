//! Moving elements: transpose, concatenation, slices, broadcasting; and binary functions of broadcast operands.

use crate::elementwise::Binary;
use crate::error::{ShapeError, check, elements, geometry};
use crate::parallel::{SharedOut, fill, fill_rows, for_tasks, rows_per_task};
use crate::walk::{Walk, broadcast as broadcast_steps, contiguous};

/// Writes `y` in its own order from the places of `x` that the walk names.
fn gather(walk: &Walk<1>, x: &[f32], y: &mut [f32]) {
    let [step] = walk.inner();
    fill(y, |start, y| {
        walk.runs(start, y.len(), |position, [from], count| {
            let y = &mut y[position..position + count];
            match step {
                1 => y.copy_from_slice(&x[from..from + count]),
                0 => y.fill(x[from]),
                2.. => y.iter_mut().zip(x[from..].iter().step_by(step as usize)).for_each(|(y, x)| *y = *x),
                _ => y.iter_mut().enumerate().for_each(|(i, y)| *y = x[(from as isize + i as isize * step) as usize]),
            }
        });
    });
}

/// Transpose (ONNX `Transpose`): axis `i` of y is axis `perm[i]` of x, which has `shape`.
pub fn transpose(x: &[f32], shape: &[usize], perm: &[usize], y: &mut [f32]) -> Result<(), ShapeError> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.len()) {
        return Err(geometry("transpose", format!("{perm:?} is no permutation of the axes of {shape:?}")));
    }
    let size = elements(shape);
    check("transpose", &[("x", x.len(), size), ("y", y.len(), size)])?;
    let steps = contiguous(shape);
    let y_shape: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
    let y_steps: Vec<isize> = perm.iter().map(|&axis| steps[axis]).collect();
    gather(&Walk::new(&y_shape, [&y_steps], [0]), x, y);
    Ok(())
}

/// Broadcasting (ONNX `Expand`): shapes are right-aligned, and axes of size 1 repeat.
pub fn broadcast(x: &[f32], x_shape: &[usize], y_shape: &[usize], y: &mut [f32]) -> Result<(), ShapeError> {
    let Some(steps) = broadcast_steps(x_shape, y_shape) else {
        return Err(geometry("broadcast", format!("{x_shape:?} does not broadcast to {y_shape:?}")));
    };
    check("broadcast", &[("x", x.len(), elements(x_shape)), ("y", y.len(), elements(y_shape))])?;
    gather(&Walk::new(y_shape, [&steps], [0]), x, y);
    Ok(())
}

/// `y = a kind b` with both operands broadcast to `y_shape`.
pub fn binary_broadcast(
    kind: Binary,
    a: &[f32],
    a_shape: &[usize],
    b: &[f32],
    b_shape: &[usize],
    y: &mut [f32],
    y_shape: &[usize],
) -> Result<(), ShapeError> {
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
    fill(y, |start, y| {
        walk.runs(start, y.len(), |position, [i, j], count| {
            let y = &mut y[position..position + count];
            match inner {
                [0, 0] => {
                    kind.rows(&a[i..=i], &b[j..=j], &mut y[..1]);
                    let value = y[0];
                    y.fill(value);
                }
                [_, 0] => kind.row_scalar(&a[i..i + count], b[j], false, y),
                [0, _] => kind.row_scalar(&b[j..j + count], a[i], true, y),
                _ => kind.rows(&a[i..i + count], &b[j..j + count], y),
            }
        });
    });
    Ok(())
}

/// Concatenation along one axis: input `i` is `[outer, axis size i, inner]`, y `[outer, sum of axis sizes, inner]`.
pub fn concat(inputs: &[(&[f32], usize)], outer: usize, inner: usize, y: &mut [f32]) -> Result<(), ShapeError> {
    let axis = inputs.iter().fold(0usize, |sum, (_, size)| sum.saturating_add(*size));
    for (x, size) in inputs {
        check("concat", &[("inputs", x.len(), elements(&[outer, *size, inner]))])?;
    }
    check("concat", &[("y", y.len(), elements(&[outer, axis, inner]))])?;
    let row = axis * inner;
    fill_rows(y, rows_per_task(row) * row, |start, y| {
        for (i, y) in y.chunks_mut(row).enumerate() {
            let mut at = 0;
            for (x, size) in inputs {
                let len = size * inner;
                y[at..at + len].copy_from_slice(&x[(start / row + i) * len..][..len]);
                at += len;
            }
        }
    });
    Ok(())
}

/// The walk over the elements of `shape` that a slice takes.
fn sliced(
    kernel: &'static str,
    shape: &[usize],
    begin: &[usize],
    step: &[isize],
    out_shape: &[usize],
) -> Result<Walk<1>, ShapeError> {
    let wrong = |reason: &str| {
        let slice = format!("begin {begin:?}, step {step:?}, result {out_shape:?} of {shape:?}");
        geometry(kernel, format!("{reason} ({slice})"))
    };
    if [begin.len(), step.len(), out_shape.len()] != [shape.len(); 3] {
        return Err(wrong("a slice needs one begin, step and size for each axis"));
    }
    let (mut steps, mut base) = (contiguous(shape), 0);
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
        base += begin[axis] as isize * steps[axis];
        steps[axis] *= step[axis];
    }
    Ok(Walk::new(out_shape, [&steps], [base]))
}

/// Slice (ONNX `Slice` with its bounds resolved): element `i` along an axis of y is element `begin + i * step` of x,
/// which has `shape`; steps may be negative.
pub fn slice(
    x: &[f32],
    shape: &[usize],
    begin: &[usize],
    step: &[isize],
    out_shape: &[usize],
    y: &mut [f32],
) -> Result<(), ShapeError> {
    check("slice", &[("x", x.len(), elements(shape)), ("y", y.len(), elements(out_shape))])?;
    if !y.is_empty() {
        gather(&sliced("slice", shape, begin, step, out_shape)?, x, y);
    }
    Ok(())
}

/// Gradient of [`slice()`], and padding with zeros: dx, which has `shape`, is zero except where the slice took dy's
/// elements from.
pub fn slice_scatter(
    dy: &[f32],
    dy_shape: &[usize],
    begin: &[usize],
    step: &[isize],
    shape: &[usize],
    dx: &mut [f32],
) -> Result<(), ShapeError> {
    check("slice_scatter", &[("dy", dy.len(), elements(dy_shape)), ("dx", dx.len(), elements(shape))])?;
    let walk = if dy.is_empty() { None } else { Some(sliced("slice_scatter", shape, begin, step, dy_shape)?) };
    fill(dx, |_, dx| dx.fill(0.0));
    let Some(walk) = walk else { return Ok(()) };
    let ([step], out) = (walk.inner(), SharedOut::new(dx));
    for_tasks(dy.len().div_ceil(crate::parallel::CHUNK), |task| {
        let start = task * crate::parallel::CHUNK;
        let len = crate::parallel::CHUNK.min(dy.len() - start);
        walk.runs(start, len, |position, [to], count| {
            let dy = &dy[start + position..][..count];
            // SAFETY: `sliced` checked that the slice lies inside dx, and different elements of dy go to different ones
            // of dx, since no step is 0.
            unsafe {
                if step == 1 {
                    out.slice(to, count).copy_from_slice(dy);
                } else {
                    for (i, dy) in dy.iter().enumerate() {
                        *out.at((to as isize + i as isize * step) as usize) = *dy;
                    }
                }
            }
        });
    });
    Ok(())
}
