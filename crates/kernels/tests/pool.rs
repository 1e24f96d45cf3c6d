//! Pooling against direct loops.
#![allow(clippy::unwrap_used)]

mod common;

use bitbudget_kernels::{Pool2d, avg_pool, avg_pool_grad, max_pool, max_pool_grad, max_pool_indices};
use common::{assert_close, numbers, same_for_any_threads};
use proptest::prelude::*;

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

fn check(g: &Pool2d) {
    let windows = windows(g);
    let size = g.batch * g.channels * g.in_height * g.in_width;
    let x = numbers(size, 1).iter().map(|x| (x * 4.0).round()).collect::<Vec<f32>>(); // With ties.
    let dy = numbers(windows.len(), 2);
    let (mut y, mut idx, mut dx) = (vec![f32::NAN; windows.len()], vec![77; windows.len()], vec![f32::NAN; size]);
    max_pool(g, &x, &mut y).unwrap();
    max_pool_indices(g, &x, &mut idx).unwrap();
    max_pool_grad(g, &dy, &idx, &mut dx).unwrap();
    let mut expected = vec![0.0f64; size];
    for (o, window) in windows.iter().enumerate() {
        let mut best: Option<(usize, usize)> = None;
        for (position, at) in window.iter().filter_map(|&(p, at)| Some((p, at?))) {
            if best.is_none_or(|(_, b)| x[at] > x[b]) {
                best = Some((position, at));
            }
        }
        let Some((position, at)) = best else {
            assert_eq!(y[o], f32::NEG_INFINITY);
            continue;
        };
        assert_eq!((y[o], usize::from(idx[o])), (x[at], position));
        expected[at] += f64::from(dy[o]);
    }
    assert_close(&dx, &expected, 1e-6);

    let x = numbers(size, 3);
    for count_include_pad in [false, true] {
        let mut averages = vec![0.0f64; windows.len()];
        expected.fill(0.0);
        for (o, window) in windows.iter().enumerate() {
            let inside: Vec<usize> = window.iter().filter_map(|w| w.1).collect();
            let count = if count_include_pad { window.len() } else { inside.len() } as f64;
            for at in inside {
                averages[o] += f64::from(x[at]) / count;
                expected[at] += f64::from(dy[o]) / count;
            }
        }
        avg_pool(g, count_include_pad, &x, &mut y).unwrap();
        assert_close(&y, &averages, 1e-6);
        avg_pool_grad(g, count_include_pad, &dy, &mut dx).unwrap();
        assert_close(&dx, &expected, 1e-6);
    }
}

#[test]
fn common_geometries() {
    check(&pool([8, 8], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], false));
    check(&pool([9, 7], [3, 3], [2, 2], [1, 1], [[1; 2]; 2], false));
    check(&pool([9, 8], [3, 3], [2, 2], [1, 1], [[0; 2]; 2], true));
    check(&pool([7, 8], [3, 3], [2, 2], [1, 1], [[1; 2]; 2], true));
    check(&pool([8, 9], [3, 2], [1, 1], [2, 3], [[1, 0], [0, 1]], false));
    check(&pool([7, 7], [7, 7], [1, 1], [1, 1], [[0; 2]; 2], false));
    check(&pool([5, 5], [2, 2], [3, 3], [1, 1], [[0; 2]; 2], true));
}

#[test]
fn nan_is_the_maximum() {
    let g = Pool2d { batch: 1, channels: 1, ..pool([2, 4], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], false) };
    let x = [1.0, f32::NAN, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NAN, 9.0, f32::NEG_INFINITY, f32::NEG_INFINITY];
    let (mut y, mut idx) = ([0.0; 2], [9; 2]);
    max_pool(&g, &x, &mut y).unwrap();
    max_pool_indices(&g, &x, &mut idx).unwrap();
    assert!(y[0].is_nan() && y[1] == f32::NEG_INFINITY);
    assert_eq!(idx, [1, 0]);
}

#[test]
fn wrong_arguments_are_errors() {
    let g = pool([4, 4], [2, 2], [2, 2], [1, 1], [[0; 2]; 2], false);
    let (x, mut y) = (vec![0.0; 96], vec![0.0; 24]);
    assert!(max_pool(&g, &x, &mut y).is_ok());
    assert!(max_pool(&g, &x[1..], &mut y).is_err());
    assert!(avg_pool(&g, true, &x, &mut y[1..]).is_err());
    assert!(max_pool(&Pool2d { stride: [0, 1], ..g }, &x, &mut y).is_err());
    assert!(max_pool(&Pool2d { pad_begin: [usize::MAX, 1], ..g }, &x, &mut y).is_err());
    let message = max_pool_indices(&Pool2d { kernel: [20, 20], ..g }, &x, &mut [0; 24]).unwrap_err().to_string();
    assert!(message.contains("20x20"), "{message}");
    // Indices that no maximum has are ignored.
    assert!(max_pool_grad(&g, &y, &[255; 24], &mut vec![0.0; 96]).is_ok());
}

#[test]
fn bits_do_not_depend_on_threads() {
    let g = Pool2d { batch: 30, ..pool([30, 30], [3, 3], [2, 2], [1, 1], [[1; 2]; 2], false) };
    let (x, dy) = (numbers(90 * 900, 1), numbers(90 * 225, 2));
    same_for_any_threads(|| {
        let (mut y, mut idx, mut dx) = (vec![0.0; dy.len()], vec![0; dy.len()], vec![0.0; x.len()]);
        max_pool_indices(&g, &x, &mut idx).unwrap();
        max_pool_grad(&g, &dy, &idx, &mut dx).unwrap();
        avg_pool(&g, true, &x, &mut y).unwrap();
        [y, dx].concat()
    });
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
        check(&pool(size.into(), kernel.into(), stride.into(), dilation.into(), [pad_begin.into(), pad_end.into()], ceil));
    }
}
