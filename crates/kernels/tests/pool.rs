//! Pooling against direct loops.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_kernels::*;
use common::{bits, numbers, same_for_any_threads};
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

/// The geometry of an axis-wise rounded pooling; with `ceil` a last window has to start inside the input or the
/// padding before it.
fn pool(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [[usize; 2]; 2],
    ceil: bool,
) -> Pool2d {
    let out = |a: usize| {
        let span = (size[a] + pads[0][a] + pads[1][a]).saturating_sub(dilation[a] * (kernel[a] - 1) + 1);
        let mut out = (if ceil { span.div_ceil(stride[a]) } else { span / stride[a] }) + 1;
        if ceil && (out - 1) * stride[a] >= size[a] + pads[0][a] {
            out -= 1;
        }
        out
    };
    Pool2d {
        batch: 2,
        channels: 3,
        in_height: size[0],
        in_width: size[1],
        out_height: out(0),
        out_width: out(1),
        kernel,
        stride,
        dilation,
        pad_begin: pads[0],
        pad_end: pads[1],
    }
}

/// For each output: (position in the window, input index or none in the padding) of the taps not beyond `pad_end`.
fn windows(g: &Pool2d) -> Vec<Vec<(usize, Option<usize>)>> {
    let mut windows = Vec::new();
    for plane in 0..g.batch * g.channels {
        for (oy, ox) in (0..g.out_height).flat_map(|y| (0..g.out_width).map(move |x| (y, x))) {
            let mut window = Vec::new();
            for (ky, kx) in (0..g.kernel[0]).flat_map(|y| (0..g.kernel[1]).map(move |x| (y, x))) {
                let (y, x) = (oy * g.stride[0] + ky * g.dilation[0], ox * g.stride[1] + kx * g.dilation[1]);
                if y < g.in_height + g.pad_begin[0] + g.pad_end[0] && x < g.in_width + g.pad_begin[1] + g.pad_end[1] {
                    let (y, x) = (y.wrapping_sub(g.pad_begin[0]), x.wrapping_sub(g.pad_begin[1]));
                    let inside = y < g.in_height && x < g.in_width;
                    window.push((ky * g.kernel[1] + kx, inside.then(|| (plane * g.in_height + y) * g.in_width + x)));
                }
            }
            windows.push(window);
        }
    }
    windows
}

/// Compares all bits with sums in FP32: of a window's elements in order; of the windows around an element in order, in
/// [`avg_pool_grad`] only those of different rows (in a row, that of the first tap comes first).
fn check(g: &Pool2d, numbers: fn(usize, u64) -> Vec<f32>) {
    let windows = windows(g);
    let size = g.batch * g.channels * g.in_height * g.in_width;
    let x = numbers(size, 1).iter().map(|x| (x * 4.0).round()).collect::<Vec<f32>>(); // With ties.
    let dy = numbers(windows.len(), 2);
    let y = result(windows.len(), |y| max_pool(g, from(&x), y));
    let (mut idx, mut same_idx) = (vec![77; windows.len()], vec![78; windows.len()]);
    max_pool_indices(g, from(&x), &mut idx).unwrap();
    let same_y = result(windows.len(), |y| max_pool_with_indices(g, from(&x), y, &mut same_idx));
    assert_eq!((bits(&y), &idx), (bits(&same_y), &same_idx));
    let dx = result(size, |dx| max_pool_grad(g, from(&dy), &idx, dx));
    let mut expected = vec![0.0f32; size];
    for (o, window) in windows.iter().enumerate() {
        let mut best: Option<(usize, usize)> = None;
        for (position, at) in window.iter().filter_map(|&(p, at)| Some((p, at?))) {
            if best.is_none_or(|(_, b)| x[at] > x[b] || x[at].is_nan() && !x[b].is_nan()) {
                best = Some((position, at));
            }
        }
        let Some((position, at)) = best else {
            assert_eq!(y[o], f32::NEG_INFINITY);
            continue;
        };
        assert_eq!((y[o].to_bits(), usize::from(idx[o])), (x[at].to_bits(), position));
        expected[at] += dy[o];
    }
    assert_eq!(bits(&dx), bits(&expected));

    let x = numbers(size, 3);
    for count_include_pad in [false, true] {
        let mut averages = vec![0.0f32; windows.len()];
        let mut gifts = Vec::new();
        for (o, window) in windows.iter().enumerate() {
            let inside = window.iter().filter(|w| w.1.is_some()).count();
            let share = 1.0 / (if count_include_pad { window.len() } else { inside }).max(1) as f32;
            for (position, at) in window.iter().filter_map(|&(p, at)| Some((p, at?))) {
                averages[o] += x[at];
                gifts.push(((o / g.out_width, position), at, dy[o] * share));
            }
            averages[o] *= share;
        }
        gifts.sort_by_key(|gift| gift.0);
        expected.fill(0.0);
        gifts.iter().for_each(|(_, at, gift)| expected[*at] += gift);
        let y = result(windows.len(), |y| avg_pool(g, count_include_pad, from(&x), y));
        assert_eq!(nan_as_one(&y), nan_as_one(&averages));
        let dx = result(size, |dx| avg_pool_grad(g, count_include_pad, from(&dy), dx));
        assert_eq!(nan_as_one(&dx), nan_as_one(&expected));
    }
}

/// Bits, with one for all NaNs: which of two a sum keeps is the compiler's choice.
fn nan_as_one(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

#[test]
fn common_geometries() {
    check(&pool([8, 8], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], false), numbers);
    check(&pool([9, 7], [3, 3], [2, 2], [1, 1], [[1; 2]; 2], false), numbers);
    check(&pool([9, 8], [3, 3], [2, 2], [1, 1], [[0; 2]; 2], true), numbers);
    check(&pool([7, 8], [3, 3], [2, 2], [1, 1], [[1; 2]; 2], true), numbers);
    check(&pool([8, 9], [3, 2], [1, 1], [2, 3], [[1, 0], [0, 1]], false), numbers);
    check(&pool([7, 7], [7, 7], [1, 1], [1, 1], [[0; 2]; 2], false), numbers);
    check(&pool([4, 4], [4, 4], [1, 1], [1, 1], [[0; 2]; 2], false), numbers);
    check(&pool([4, 4], [4, 4], [4, 4], [1, 1], [[0; 2]; 2], false), wild);
    check(&pool([32, 32], [3, 3], [2, 2], [1, 1], [[1; 2]; 2], false), wild);
    check(&pool([32, 32], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], false), wild);
    check(&pool([5, 5], [2, 2], [3, 3], [1, 1], [[0; 2]; 2], true), numbers);
}

#[test]
fn nan_is_the_maximum() {
    let g = Pool2d { batch: 1, channels: 1, ..pool([2, 4], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], false) };
    let x = [1.0, f32::NAN, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NAN, 9.0, f32::NEG_INFINITY, f32::NEG_INFINITY];
    let mut idx = [9; 2];
    let y = result(2, |y| max_pool_with_indices(&g, from(&x), y, &mut idx));
    assert!(y[0].is_nan() && y[1] == f32::NEG_INFINITY);
    assert_eq!(idx, [1, 0]);
}

#[test]
fn nothing_in_nothing_out() {
    let g = pool([4, 4], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], false);
    for g in [Pool2d { batch: 0, ..g }, Pool2d { out_height: 0, ..g }, Pool2d { in_width: 0, ..g }] {
        check(&g, numbers);
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let g = pool([4, 4], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], false);
    let (x, mut y) = (vec![0.0; 96], vec![0.0; 24]);
    let (x, mut y) = (from(&x), Output::from(&mut y[..]));
    assert!(max_pool(&g, x, &mut y).is_ok());
    assert!(max_pool(&Pool2d { batch: 3, ..g }, x, &mut y).is_err());
    assert!(avg_pool(&Pool2d { out_height: 1, ..g }, true, x, &mut y).is_err());
    assert!(max_pool(&Pool2d { stride: [0, 1], ..g }, x, &mut y).is_err());
    assert!(max_pool(&Pool2d { pad_begin: [usize::MAX, 1], ..g }, x, &mut y).is_err());
    assert!(max_pool_with_indices(&g, x, &mut y, &mut [0; 23]).is_err());
    let message = max_pool_indices(&Pool2d { kernel: [20, 20], ..g }, x, &mut [0; 24]).unwrap_err().to_string();
    assert!(message.contains("20x20"), "{message}");
    // Indices that no maximum has are ignored.
    let dx = result(96, |dx| max_pool_grad(&g, from(&[1.0; 24]), &[255; 24], dx));
    assert_eq!(dx, [0.0; 96]);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let g = Pool2d { batch: 30, ..pool([30, 30], [3, 3], [2, 2], [1, 1], [[1; 2]; 2], false) };
    let (x, dy) = (numbers(90 * 900, 1), numbers(90 * 225, 2));
    same_for_any_threads(|| {
        let mut idx = vec![0; dy.len()];
        max_pool_indices(&g, from(&x), &mut idx).unwrap();
        let dx = result(x.len(), |dx| max_pool_grad(&g, from(&dy), &idx, dx));
        [result(dy.len(), |y| avg_pool(&g, true, from(&x), y)), dx].concat()
    });
}

#[test]
fn codes_give_what_their_numbers_give() {
    let many = |batch: usize, g: Pool2d| Pool2d { batch, ..g };
    for g in [
        many(11, pool([32, 32], [3, 3], [2, 2], [1, 1], [[1; 2]; 2], false)),
        many(30, pool([7, 9], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], true)),
        many(500, pool([4, 4], [4, 4], [1, 1], [1, 1], [[0; 2]; 2], false)),
        many(1, pool([90, 110], [3, 2], [1, 3], [2, 1], [[1, 0], [0, 1]], false)),
    ] {
        let (planes, output) = (g.batch * g.channels, g.out_height * g.out_width);
        let (input, output) = (planes * g.in_height * g.in_width, planes * output);
        let (x, dy) = (vec![wild(input, 1)], vec![wild(output, 2)]);
        same_as_unpacked(&x, output, |x, y| max_pool(&g, x[0], y));
        same_as_unpacked(&x, output, |x, y| {
            let (mut idx, mut same_idx) = (vec![0; output], vec![1; output]);
            max_pool_indices(&g, x[0], &mut idx).unwrap();
            let counts = max_pool_with_indices(&g, x[0], y, &mut same_idx);
            assert_eq!(idx, same_idx);
            counts
        });
        for format in FORMATS {
            // The order of events: maxima are taken of the numbers as they were rounded.
            let (packed, _) = Stored::new(format, Overflow::Saturate, &x[0]);
            let (mut idx, mut unpacked_idx) = (vec![0; output], vec![1; output]);
            max_pool_indices(&g, packed.elements(), &mut idx).unwrap();
            max_pool_indices(&g, from(&packed.numbers()), &mut unpacked_idx).unwrap();
            assert_eq!(idx, unpacked_idx, "{format}");
        }
        let mut idx = vec![0; output];
        max_pool_indices(&g, from(&x[0]), &mut idx).unwrap();
        same_as_unpacked(&dy, input, |dy, dx| max_pool_grad(&g, dy[0], &idx, dx));
        for pads in [true, false] {
            same_as_unpacked(&x, output, |x, y| avg_pool(&g, pads, x[0], y));
            same_as_unpacked(&dy, input, |dy, dx| avg_pool_grad(&g, pads, dy[0], dx));
        }
    }
}

#[test]
fn results_are_rounded_and_counted() {
    let g = Pool2d { batch: 1, channels: 1, ..pool([2, 4], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], false) };
    let x = [1.0, 99.0, 1.06, f32::NAN, 1.0, 1.0, 0.5, 0.5];
    let mut y = Stored::empty(Format::PAPER_LOW_FORWARD, 2);
    let counts = max_pool(&g, from(&x), &mut y.output(Overflow::Saturate)).unwrap();
    assert_eq!(counts, Counts { overflow: 2, underflow: 0, not_finite: 1 });
    let y = y.numbers();
    assert!(y[0] == 30.0 && y[1].is_nan());
}

proptest! {
    #[test]
    fn any_geometry(
        size in (1usize..12, 1usize..12),
        kernel in (1usize..5, 1usize..5),
        stride in (1usize..4, 1usize..4),
        dilation in (1usize..3, 1usize..3),
        pad_begin in (0usize..3, 0usize..3),
        pad_end in (0usize..3, 0usize..3),
        ceil: bool,
    ) {
        check(&pool(size.into(), kernel.into(), stride.into(), dilation.into(), [pad_begin.into(), pad_end.into()], ceil), numbers);
    }
}
