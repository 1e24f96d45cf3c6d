//! Movements and reductions against index arithmetic.
#![allow(clippy::unwrap_used)]

mod common;

use bitbudget_kernels::*;
use common::{assert_close, numbers, same_for_any_threads};
use proptest::prelude::*;

fn size(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn unravel(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = at % shape[axis];
        at /= shape[axis];
    }
    index
}

fn ravel(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |at, (&i, &size)| at * size + i)
}

/// The element that a right-aligned index of a larger shape reads.
fn read(x: &[f32], shape: &[usize], index: &[usize]) -> f32 {
    let index = &index[index.len() - shape.len()..];
    let own: Vec<usize> = index.iter().zip(shape).map(|(&i, &size)| if size == 1 { 0 } else { i }).collect();
    x[ravel(&own, shape)]
}

fn check_transpose(shape: &[usize], perm: &[usize]) {
    let x = numbers(size(shape), 1);
    let mut y = vec![f32::NAN; x.len()];
    transpose(&x, shape, perm, &mut y).unwrap();
    let y_shape: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
    for (at, &x) in x.iter().enumerate() {
        let index = unravel(at, shape);
        let moved: Vec<usize> = perm.iter().map(|&p| index[p]).collect();
        assert_eq!(y[ravel(&moved, &y_shape)], x);
    }
}

fn check_broadcast(a_shape: &[usize], b_shape: &[usize], y_shape: &[usize]) {
    let (a, b) = (numbers(size(a_shape), 1), numbers(size(b_shape), 2));
    let mut y = vec![f32::NAN; size(y_shape)];
    for kind in [Binary::Sub, Binary::Div, Binary::Add, Binary::Mul] {
        binary_broadcast(kind, &a, a_shape, &b, b_shape, &mut y, y_shape).unwrap();
        for (at, y) in y.iter().enumerate() {
            let index = unravel(at, y_shape);
            let (a, b) = (read(&a, a_shape, &index), read(&b, b_shape, &index));
            let expected = match kind {
                Binary::Add => a + b,
                Binary::Sub => a - b,
                Binary::Mul => a * b,
                Binary::Div => a / b,
            };
            assert_eq!(*y, expected);
        }
    }
    broadcast(&a, a_shape, y_shape, &mut y).unwrap();
    assert!((0..y.len()).all(|at| y[at] == read(&a, a_shape, &unravel(at, y_shape))));
}

fn check_reduce(shape: &[usize], axes: &[usize]) {
    let x = numbers(size(shape), 1);
    let kept: Vec<usize> = (0..shape.len()).filter(|a| !axes.contains(a)).collect();
    let y_shape: Vec<usize> = kept.iter().map(|&a| shape[a]).collect();
    let mut expected = vec![0.0f64; size(&y_shape)];
    for (at, &x) in x.iter().enumerate() {
        let index = unravel(at, shape);
        let own: Vec<usize> = kept.iter().map(|&a| index[a]).collect();
        expected[ravel(&own, &y_shape)] += f64::from(x);
    }
    let mut y = vec![f32::NAN; expected.len()];
    reduce_sum(&x, shape, axes, &mut y).unwrap();
    assert_close(&y, &expected, 5e-5);
    reduce_mean(&x, shape, axes, &mut y).unwrap();
    let count = (x.len() / expected.len().max(1)) as f64;
    assert_close(&y, &expected.iter().map(|y| y / count).collect::<Vec<_>>(), 5e-5);
}

fn check_slice(shape: &[usize], begin: &[usize], step: &[isize], out: &[usize]) {
    let (x, dy) = (numbers(size(shape), 1), numbers(size(out), 2));
    let mut y = vec![f32::NAN; size(out)];
    slice(&x, shape, begin, step, out, &mut y).unwrap();
    let mut expected = vec![0.0; x.len()];
    for (at, y) in y.iter().enumerate() {
        let index = unravel(at, out);
        let from: Vec<usize> =
            (0..shape.len()).map(|a| (begin[a] as isize + index[a] as isize * step[a]) as usize).collect();
        assert_eq!(*y, x[ravel(&from, shape)]);
        expected[ravel(&from, shape)] = dy[at];
    }
    let mut dx = vec![f32::NAN; x.len()];
    slice_scatter(&dy, out, begin, step, shape, &mut dx).unwrap();
    assert_eq!(dx, expected);
}

#[test]
fn transposes() {
    check_transpose(&[2, 2, 29, 7, 9], &[0, 2, 1, 3, 4]); // Channel shuffle.
    check_transpose(&[130, 150], &[1, 0]);
    check_transpose(&[3, 40, 50, 4], &[0, 3, 1, 2]);
    check_transpose(&[], &[]);
    check_transpose(&[2, 0, 3], &[1, 2, 0]);
    let mut y = [0.0; 4];
    assert!(transpose(&[0.0; 4], &[2, 2], &[0, 0], &mut y).is_err());
    assert!(transpose(&[0.0; 4], &[2, 2], &[0], &mut y).is_err());
    assert!(transpose(&[0.0; 5], &[2, 2], &[0, 1], &mut y).is_err());
}

#[test]
fn broadcasts() {
    check_broadcast(&[2, 30, 40, 20], &[2, 30, 40, 20], &[2, 30, 40, 20]);
    check_broadcast(&[2, 30, 40, 20], &[], &[2, 30, 40, 20]);
    check_broadcast(&[], &[7, 3], &[7, 3]);
    check_broadcast(&[2, 30, 40, 20], &[30, 1, 1], &[2, 30, 40, 20]);
    check_broadcast(&[1, 30, 1, 1], &[2, 30, 40, 20], &[2, 30, 40, 20]);
    check_broadcast(&[500, 70], &[70], &[500, 70]);
    check_broadcast(&[5, 1, 3], &[4, 1], &[5, 4, 3]);
    check_broadcast(&[1, 1], &[1], &[6, 7]);
    check_broadcast(&[0, 3], &[3], &[0, 3]);
    let mut y = [0.0; 6];
    let error = binary_broadcast(Binary::Add, &[0.0; 2], &[2], &[0.0; 6], &[2, 3], &mut y, &[2, 3]).unwrap_err();
    assert_eq!(error.to_string(), "binary_broadcast: [2] and [2, 3] do not broadcast to [2, 3]");
    assert!(broadcast(&[0.0; 4], &[3], &[2, 3], &mut y).is_err());
}

#[test]
fn reductions() {
    for axes in [&[][..], &[0], &[1], &[2], &[0, 2], &[1, 2], &[0, 1, 2], &[0, 1]] {
        check_reduce(&[5, 6, 7], axes);
        check_reduce(&[3, 40, 1100], axes);
        check_reduce(&[70, 3000, 2], axes);
    }
    check_reduce(&[4, 1, 5, 1, 6], &[1, 2]);
    let mut y = [1.0; 3];
    reduce_sum(&[], &[3, 0], &[1], &mut y).unwrap();
    assert_eq!(y, [0.0; 3]);
    assert!(reduce_sum(&[0.0; 6], &[3, 2], &[2], &mut y).is_err());
    assert!(reduce_sum(&[0.0; 6], &[3, 2], &[0], &mut y).is_err());
}

#[test]
fn slices() {
    check_slice(&[9, 50, 60], &[1, 3, 0], &[1, 1, 1], &[7, 40, 60]);
    check_slice(&[9, 50, 60], &[8, 3, 59], &[-1, 2, -3], &[9, 20, 15]);
    check_slice(&[9, 5], &[0, 2], &[3, 1], &[3, 1]);
    check_slice(&[4], &[0], &[1], &[0]);
    let mut y = [0.0; 4];
    for (begin, step, out) in [(1, 1, 4), (2, -1, 4), (0, 0, 2), (0, isize::MAX, 3), (9, 1, 1)] {
        let error = slice(&[0.0; 4], &[4], &[begin], &[step], &[out], &mut y[..out]);
        assert!(error.is_err(), "{begin} {step} {out}");
    }
    assert!(slice(&[0.0; 4], &[4], &[0], &[1, 1], &[4], &mut y).is_err());
}

#[test]
fn concatenation_is_undone_by_slices() {
    let (outer, inner, sizes) = (40, 30, [3usize, 0, 5, 20]);
    let inputs: Vec<Vec<f32>> = sizes.iter().map(|n| numbers(outer * n * inner, *n as u64)).collect();
    let parts: Vec<(&[f32], usize)> = inputs.iter().map(Vec::as_slice).zip(sizes).collect();
    let mut y = vec![f32::NAN; outer * 28 * inner];
    concat(&parts, outer, inner, &mut y).unwrap();
    let mut begin = 0;
    for (x, n) in parts.iter().copied() {
        let mut part = vec![f32::NAN; x.len()];
        let from = if n == 0 { 0 } else { begin };
        slice(&y, &[outer, 28, inner], &[0, from, 0], &[1; 3], &[outer, n, inner], &mut part).unwrap();
        assert_eq!(part, x);
        begin += n;
    }
    assert!(concat(&parts, outer, inner + 1, &mut y).is_err());
}

#[test]
fn bits_do_not_depend_on_threads() {
    let x = numbers(60 * 50 * 40, 1);
    same_for_any_threads(|| {
        let (mut rows, mut cols, mut middle) = (vec![0.0; 60], vec![0.0; 2000], vec![0.0; 2400]);
        reduce_sum(&x, &[60, 50, 40], &[1, 2], &mut rows).unwrap();
        reduce_mean(&x, &[60, 50, 40], &[0], &mut cols).unwrap();
        reduce_sum(&x, &[60, 50, 40], &[1], &mut middle).unwrap();
        [rows, cols, middle].concat()
    });
}

proptest! {
    #[test]
    fn any_shape(shape in prop::collection::vec(1usize..6, 0..5), seed: u64, mask: u8, ones: (u8, u8)) {
        let mut perm: Vec<usize> = (0..shape.len()).collect();
        perm.sort_by_key(|&axis| (seed >> (axis * 8)) & 0xff);
        check_transpose(&shape, &perm);
        let axes: Vec<usize> = (0..shape.len()).filter(|axis| mask >> axis & 1 == 1).collect();
        check_reduce(&shape, &axes);
        let with_ones = |ones: u8| -> Vec<usize> {
            shape.iter().enumerate().map(|(axis, &n)| if ones >> axis & 1 == 1 { 1 } else { n }).collect()
        };
        let skip = usize::from(ones.0 >> 6).min(shape.len());
        check_broadcast(&with_ones(ones.0)[skip..], &with_ones(ones.1), &shape);
        let backwards: Vec<usize> = shape.iter().map(|n| n - 1).collect();
        check_slice(&shape, &backwards, &vec![-1; shape.len()], &shape);
    }
}
