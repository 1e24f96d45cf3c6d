//! Movements and reductions against index arithmetic.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_kernels::*;
use common::{assert_close, numbers, same_for_any_threads};
use proptest::prelude::*;
use stored::{FORMATS, Stored, same_as_unpacked, wild};

fn from(x: &[f32]) -> Elements<'_> {
    Elements::from(x)
}

/// The result of `len` FP32 numbers.
fn result(len: usize, kernel: impl FnOnce(&mut Output<'_>) -> Result<Counts, ShapeError>) -> Vec<f32> {
    let mut y = vec![f32::NAN; len];
    assert_eq!(kernel(&mut Output::from(&mut y[..])).unwrap(), Counts::default());
    y
}

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
    let y = result(x.len(), |y| transpose(from(&x), shape, perm, y));
    let y_shape: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
    for (at, &x) in x.iter().enumerate() {
        let index = unravel(at, shape);
        let moved: Vec<usize> = perm.iter().map(|&p| index[p]).collect();
        assert_eq!(y[ravel(&moved, &y_shape)], x);
    }
}

fn check_broadcast(a_shape: &[usize], b_shape: &[usize], y_shape: &[usize]) {
    let (a, b) = (numbers(size(a_shape), 1), numbers(size(b_shape), 2));
    for kind in [Binary::Sub, Binary::Div, Binary::Add, Binary::Mul, Binary::Max, Binary::Min, Binary::Pow] {
        let y = result(size(y_shape), |y| binary_broadcast(kind, from(&a), a_shape, from(&b), b_shape, y, y_shape));
        for (at, y) in y.iter().enumerate() {
            let index = unravel(at, y_shape);
            let (a, b) = (read(&a, a_shape, &index), read(&b, b_shape, &index));
            let expected = match kind {
                Binary::Add => a + b,
                Binary::Sub => a - b,
                Binary::Mul => a * b,
                Binary::Div => a / b,
                Binary::Max => a.max(b),
                Binary::Min => a.min(b),
                Binary::Pow => libm::powf(a, b),
            };
            assert!(*y == expected || y.is_nan() && expected.is_nan(), "{kind:?}: {y}, not {expected}");
        }
    }
    let y = result(size(y_shape), |y| broadcast(from(&a), a_shape, y_shape, y));
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
    let y = result(expected.len(), |y| reduce_sum(from(&x), shape, axes, y));
    assert_close(&y, &expected, 5e-5);
    let y = result(expected.len(), |y| reduce_mean(from(&x), shape, axes, y));
    let count = (x.len() / expected.len().max(1)) as f64;
    assert_close(&y, &expected.iter().map(|y| y / count).collect::<Vec<_>>(), 5e-5);
}

/// Few different numbers, so that extrema are shared, and one that is not a number where `odd` says so.
fn check_extremum(shape: &[usize], axes: &[usize], least: bool) {
    let x: Vec<f32> = numbers(size(shape), 1).into_iter().map(|x| (x * 2.0).round()).collect();
    let kept: Vec<usize> = (0..shape.len()).filter(|a| !axes.contains(a)).collect();
    let y_shape: Vec<usize> = kept.iter().map(|&a| shape[a]).collect();
    let own = |at: usize| {
        let index = unravel(at, shape);
        ravel(&kept.iter().map(|&a| index[a]).collect::<Vec<_>>(), &y_shape)
    };
    let mut expected = vec![if least { f32::INFINITY } else { f32::NEG_INFINITY }; size(&y_shape)];
    for (at, &x) in x.iter().enumerate() {
        let best = &mut expected[own(at)];
        *best = if least { best.min(x) } else { best.max(x) };
    }
    assert_eq!(result(expected.len(), |y| reduce_extremum(from(&x), shape, axes, least, y)), expected);
    let mut counts = vec![0.0; expected.len()];
    x.iter().enumerate().filter(|&(at, &x)| x == expected[own(at)]).for_each(|(at, _)| counts[own(at)] += 1.0);
    let dy = numbers(expected.len(), 2);
    let mut workspace = vec![f32::NAN; reduce_extremum_workspace(dy.len())];
    let dx = result(x.len(), |dx| reduce_extremum_grad(from(&dy), from(&x), shape, axes, least, &mut workspace, dx));
    for (at, (&dx, &x)) in dx.iter().zip(&x).enumerate() {
        let to = own(at);
        assert_eq!(dx, if x == expected[to] { dy[to] / counts[to] } else { 0.0 }, "{shape:?} {axes:?} {at}");
    }
}

#[test]
fn extrema_share_their_gradient() {
    for least in [false, true] {
        for (shape, axes) in [
            (&[3, 5, 4][..], &[1][..]),
            (&[3, 5, 4], &[0, 2]),
            (&[2, 3, 9000], &[2]),
            (&[70, 33], &[0]),
            (&[2, 3, 4, 5], &[2, 3]),
            (&[6, 7], &[0, 1]),
            (&[4, 1, 3], &[1]),
        ] {
            check_extremum(shape, axes, least);
        }
    }
    let x = [1.0, f32::NAN, 3.0, -2.0];
    let y = result(2, |y| reduce_extremum(from(&x), &[2, 2], &[1], false, y));
    assert!(y[0].is_nan() && y[1] == 3.0);
    let mut y = [0.0; 3];
    assert!(reduce_extremum(from(&[0.0; 6]), &[3, 2], &[2], false, &mut Output::from(&mut y[..])).is_err());
}

fn check_slice(shape: &[usize], begin: &[usize], step: &[isize], out: &[usize]) {
    let (x, dy) = (numbers(size(shape), 1), numbers(size(out), 2));
    let y = result(size(out), |y| slice(from(&x), shape, begin, step, out, y));
    let mut expected = vec![0.0; x.len()];
    for (at, y) in y.iter().enumerate() {
        let index = unravel(at, out);
        let from: Vec<usize> =
            (0..shape.len()).map(|a| (begin[a] as isize + index[a] as isize * step[a]) as usize).collect();
        assert_eq!(*y, x[ravel(&from, shape)]);
        expected[ravel(&from, shape)] = dy[at];
    }
    let dx = result(x.len(), |dx| slice_scatter(from(&dy), out, begin, step, shape, dx));
    assert_eq!(dx, expected);
}

#[test]
fn transposes() {
    check_transpose(&[2, 2, 29, 7, 9], &[0, 2, 1, 3, 4]); // Channel shuffle.
    check_transpose(&[130, 150], &[1, 0]);
    check_transpose(&[3, 40, 50, 4], &[0, 3, 1, 2]);
    check_transpose(&[], &[]);
    check_transpose(&[2, 0, 3], &[1, 2, 0]);
    let (mut y, x) = ([0.0; 4], [0.0; 5]);
    let mut y = Output::from(&mut y[..]);
    assert!(transpose(from(&x[..4]), &[2, 2], &[0, 0], &mut y).is_err());
    assert!(transpose(from(&x[..4]), &[2, 2], &[0], &mut y).is_err());
    assert!(transpose(from(&x), &[2, 2], &[0, 1], &mut y).is_err());
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
    let (mut y, x) = ([0.0; 6], [0.0; 6]);
    let mut y = Output::from(&mut y[..]);
    let error = binary_broadcast(Binary::Add, from(&x[..2]), &[2], from(&x), &[2, 3], &mut y, &[2, 3]).unwrap_err();
    assert_eq!(error.to_string(), "binary_broadcast: [2] and [2, 3] do not broadcast to [2, 3]");
    assert!(broadcast(from(&x[..4]), &[3], &[2, 3], &mut y).is_err());
}

#[test]
fn reductions() {
    for axes in [&[][..], &[0], &[1], &[2], &[0, 2], &[1, 2], &[0, 1, 2], &[0, 1]] {
        check_reduce(&[5, 6, 7], axes);
        check_reduce(&[3, 40, 1100], axes);
        check_reduce(&[70, 3000, 2], axes);
    }
    check_reduce(&[4, 1, 5, 1, 6], &[1, 2]);
    check_reduce(&[100_003], &[0]);
    assert_eq!(result(3, |y| reduce_sum(from(&[]), &[3, 0], &[1], y)), [0.0; 3]);
    let mut y = [1.0; 3];
    let mut y = Output::from(&mut y[..]);
    assert!(reduce_sum(from(&[0.0; 6]), &[3, 2], &[2], &mut y).is_err());
    assert!(reduce_sum(from(&[0.0; 6]), &[3, 2], &[0], &mut y).is_err());
}

#[test]
fn slices() {
    check_slice(&[9, 50, 60], &[1, 3, 0], &[1, 1, 1], &[7, 40, 60]);
    check_slice(&[9, 50, 60], &[8, 3, 59], &[-1, 2, -3], &[9, 20, 15]);
    check_slice(&[9, 50, 60], &[0, 20, 0], &[1, 1, 1], &[9, 30, 60]);
    check_slice(&[9, 50, 60], &[2, 0, 59], &[1, 1, -1], &[4, 50, 60]);
    check_slice(&[9, 5], &[0, 2], &[3, 1], &[3, 1]);
    check_slice(&[4], &[0], &[1], &[0]);
    let mut y = [0.0; 4];
    for (begin, step, out) in [(1, 1, 4), (2, -1, 4), (0, 0, 2), (0, isize::MAX, 3), (9, 1, 1)] {
        let error = slice(from(&[0.0; 4]), &[4], &[begin], &[step], &[out], &mut Output::from(&mut y[..out]));
        assert!(error.is_err(), "{begin} {step} {out}");
        let (dy, mut dx) = (&[0.0; 4][..out], [0.0; 4]);
        let error = slice_scatter(from(dy), &[out], &[begin], &[step], &[4], &mut Output::from(&mut dx[..]));
        assert!(error.is_err(), "{begin} {step} {out}");
    }
    assert!(slice(from(&[0.0; 4]), &[4], &[0], &[1, 1], &[4], &mut Output::from(&mut y[..])).is_err());
}

#[test]
fn concatenation_is_undone_by_slices() {
    let (outer, inner, sizes) = (40, 30, [3usize, 0, 5, 20]);
    let inputs: Vec<Vec<f32>> = sizes.iter().map(|n| numbers(outer * n * inner, *n as u64)).collect();
    let parts: Vec<(Elements<'_>, usize)> = inputs.iter().map(|x| from(x)).zip(sizes).collect();
    let y = result(outer * 28 * inner, |y| concat(&parts, outer, inner, y));
    let mut begin = 0;
    for (x, n) in inputs.iter().zip(sizes) {
        let first = if n == 0 { 0 } else { begin };
        let part = result(x.len(), |part| {
            slice(from(&y), &[outer, 28, inner], &[0, first, 0], &[1; 3], &[outer, n, inner], part)
        });
        assert_eq!(part, *x);
        begin += n;
    }
    assert!(concat(&parts, outer, inner + 1, &mut Output::from(&mut y.clone()[..])).is_err());
}

#[test]
fn bits_do_not_depend_on_threads() {
    let x = numbers(60 * 50 * 40, 1);
    same_for_any_threads(|| {
        let rows = result(60, |y| reduce_sum(from(&x), &[60, 50, 40], &[1, 2], y));
        let cols = result(2000, |y| reduce_mean(from(&x), &[60, 50, 40], &[0], y));
        let middle = result(2400, |y| reduce_sum(from(&x), &[60, 50, 40], &[1], y));
        let all = result(1, |y| reduce_sum(from(&x), &[60, 50, 40], &[0, 1, 2], y));
        [rows, cols, middle, all].concat()
    });
}

#[test]
fn codes_give_what_their_numbers_give() {
    let (shape, len) = ([3, 2, 30, 7, 19], 3 * 2 * 30 * 7 * 19);
    let x = [wild(len, 1)];
    for perm in [[0, 2, 1, 3, 4], [4, 0, 3, 2, 1]] {
        same_as_unpacked(&x, len, |x, y| transpose(x[0], &shape, &perm, y));
    }
    let out = [3, 2, 10, 7, 19];
    same_as_unpacked(&x, len / 3, |x, y| slice(x[0], &shape, &[0, 0, 5, 0, 0], &[1; 5], &out, y));
    same_as_unpacked(&x, len / 3, |x, y| slice(x[0], &shape, &[2, 0, 0, 0, 18], &[-1, 1, 3, 1, -1], &out, y));
    let dy = [wild(len / 3, 2)];
    same_as_unpacked(&dy, len, |dy, dx| slice_scatter(dy[0], &out, &[0, 0, 5, 0, 0], &[1; 5], &shape, dx));
    let (begin, step) = ([2, 0, 0, 0, 18], [-1, 1, 3, 1, -1]);
    same_as_unpacked(&dy, len, |dy, dx| slice_scatter(dy[0], &out, &begin, &step, &shape, dx));
    let (begin, step, wide) = ([0, 0, 0, 0, 37], [1, 1, 1, 1, -2], [3, 2, 10, 7, 38]);
    same_as_unpacked(&dy, len * 2 / 3, |dy, dx| slice_scatter(dy[0], &out, &begin, &step, &wide, dx));
    for inner in [1, 300] {
        let inputs = [wild(20 * 5 * inner, 3), wild(20 * inner, 4), wild(20 * 70 * inner, 5)];
        same_as_unpacked(&inputs, 20 * 76 * inner, |x, y| concat(&[(x[0], 5), (x[1], 1), (x[2], 70)], 20, inner, y));
    }
    same_as_unpacked(&[wild(30, 6)], 2 * 30 * 700, |x, y| broadcast(x[0], &[30, 1], &[2, 30, 700], y));
    same_as_unpacked(&[wild(5 * 70, 6)], 40 * 5 * 70, |x, y| broadcast(x[0], &[5, 70], &[40, 5, 70], y));
    for kind in [Binary::Add, Binary::Div] {
        let shapes: [[&[usize]; 3]; 4] = [
            [&[2, 30, 700], &[30, 1], &[2, 30, 700]],
            [&[1], &[9, 1000], &[9, 1000]],
            [&[3, 9, 1000], &[9, 1000], &[3, 9, 1000]],
            [&[50, 1, 30], &[1, 40, 1], &[50, 40, 30]],
        ];
        for [a, b, y_shape] in shapes {
            // Without NaN, of which a sum of two keeps either.
            let operands = [numbers(size(a), 7), numbers(size(b), 8)];
            same_as_unpacked(&operands, size(y_shape), |x, y| binary_broadcast(kind, x[0], a, x[1], b, y, y_shape));
        }
    }
    for axes in [&[][..], &[0], &[1], &[2], &[0, 2], &[1, 2], &[0, 1, 2], &[0, 1]] {
        for shape in [[5, 60, 70], [3, 4, 1100], [70, 300, 2]] {
            let kept: usize = (0..3).filter(|a| !axes.contains(a)).map(|a| shape[a]).product();
            let x = [numbers(size(&shape), 9)];
            same_as_unpacked(&x, kept, |x, y| reduce_sum(x[0], &shape, axes, y));
            same_as_unpacked(&x, kept, |x, y| reduce_mean(x[0], &shape, axes, y));
        }
    }
}

/// Whether a code is moved as it is or rounded again is decided by looking at it.
#[test]
fn every_code_moves_as_its_number_is_rounded() {
    let custom = |e, m| Format::custom(e, m, 0).unwrap();
    for format in FORMATS[1..].iter().copied().chain([Format::E5M2, custom(3, 2), custom(8, 7), custom(5, 7)]) {
        let x = Stored::every_code(format);
        let len = x.codes().len();
        for overflow in [Overflow::Saturate, Overflow::NotFinite] {
            // All in one, and each with finite neighbours only.
            let (expected, expected_counts) = Stored::new(format, overflow, &x.numbers());
            let mut y = Stored::empty(format, len);
            let counts = transpose(x.elements(), &[len], &[0], &mut y.output(overflow)).unwrap();
            assert_eq!((y.codes(), counts), (expected.codes(), expected_counts), "{format}");
            let mut total = Counts::default();
            for at in (0..len).step_by(if format.bytes() == 1 { 1 } else { 61 }) {
                let mut y = Stored::empty(format, 1);
                let counts = slice(x.elements(), &[len], &[at], &[1], &[1], &mut y.output(overflow)).unwrap();
                assert_eq!(y.codes()[0], expected.codes()[at], "{format} {at}");
                total += counts;
            }
            assert!(format.bytes() == 2 || total == expected_counts, "{format}");
        }
    }
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

#[test]
fn runs_of_every_length_are_shuffled() {
    for s in [1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 256] {
        let (n, c) = (40_000 / (6 * s) + 1, 3);
        let x = vec![wild(n * 2 * c * s, s as u64)];
        let len = x[0].len();
        for shape in [[n, 2, c, s], [n, c, 2, s]] {
            let y = result(len, |y| transpose(Elements::from(&x[0][..]), &shape, &[0, 2, 1, 3], y));
            let from = |[n, j, i, s]: [usize; 4]| ((n * shape[1] + i) * shape[2] + j) * shape[3] + s;
            for (at, y) in y.iter().enumerate() {
                let (run, place) = (at / s, at % s);
                let (i, j, n) = (run % shape[1], run / shape[1] % shape[2], run / (shape[1] * shape[2]));
                assert_eq!(y.to_bits(), x[0][from([n, j, i, place])].to_bits(), "{at} of {shape:?}");
            }
            same_as_unpacked(&x, len, |x, y| transpose(x[0], &shape, &[0, 2, 1, 3], y));
        }
    }
}
