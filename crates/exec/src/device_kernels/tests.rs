//! The kernels of `cuda/`, compiled as C and called once per thread index, against this workspace's other engines.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use super::{Rounding, Window};
use bitbudget_formats::{Counts, Format, Overflow, Rounder};
use bitbudget_ir::{Bindings, DType, Op, interpret, ops};
use bitbudget_kernels as kernels;
use bitbudget_testkit::numbers;
use proptest::prelude::*;

// SAFETY: the functions are those of `cuda/*.cu` as `cuda/kernel.h` declares them on the host, with the thread's index
// first; the structs have the same layout.
unsafe extern "C" {
    fn round_to_format(index: u64, rounding: Rounding, n: u64, x: *const f32, y: *mut f32, counts: *mut u64);
    fn conv(index: u64, window: Window, n: u64, x: *const f32, w: *const f32, y: *mut f32);
    fn conv_grad_input(index: u64, window: Window, n: u64, dy: *const f32, w: *const f32, dx: *mut f32);
    fn conv_grad_weight(index: u64, window: Window, n: u64, x: *const f32, dy: *const f32, dw: *mut f32);
    fn max_pool(index: u64, window: Window, n: u64, x: *const f32, y: *mut f32);
    fn max_pool_indices(index: u64, window: Window, n: u64, x: *const f32, y: *mut u8);
    fn max_pool_grad(index: u64, window: Window, n: u64, dy: *const f32, indices: *const u8, dx: *mut f32);
    fn average_pool(index: u64, window: Window, n: u64, x: *const f32, y: *mut f32);
    fn average_pool_grad(index: u64, window: Window, n: u64, dy: *const f32, dx: *mut f32);
}

/// Fills a result of `n` elements as a launch does, with threads to spare.
fn launch<T: Clone>(n: usize, zero: T, kernel: impl Fn(u64, u64, *mut T)) -> Vec<T> {
    let mut y = vec![zero; n];
    for index in 0..n.next_multiple_of(256) as u64 {
        kernel(index, n as u64, y.as_mut_ptr());
    }
    y
}

fn round(format: Format, overflow: Overflow, x: &[f32]) -> (Vec<f32>, Counts) {
    let mut counts = [0; 3];
    let (rounding, counters) = (Rounding::new(format, overflow), counts.as_mut_ptr());
    // SAFETY: x and y have `n` elements, there are three counters, and the kernel ignores indices from `n` on.
    let kernel = |i, n, y| unsafe { round_to_format(i, rounding, n, x.as_ptr(), y, counters) };
    let y = launch(x.len(), 0.0, kernel);
    (y, Counts { overflow: counts[0], underflow: counts[1], not_finite: counts[2] })
}

fn check_rounding(format: Format, overflow: Overflow, x: &[f32]) {
    let (y, counts) = round(format, overflow, x);
    let mut expected = x.to_vec();
    let expected_counts = Rounder::new(format, overflow).round_slice(&mut expected);
    for ((x, y), expected) in x.iter().zip(&y).zip(&expected) {
        assert_eq!(y.to_bits(), expected.to_bits(), "{format} {overflow:?}: {x:e} to {y:e}, not {expected:e}");
    }
    assert_eq!(counts, expected_counts, "{format} {overflow:?}");
}

#[test]
fn rounding_gives_the_bits_of_the_formats_crate() {
    let mut formats = vec![Format::BF16, Format::FP16, Format::E4M3, Format::E5M2];
    let custom = |(e, m, b)| Format::custom(e, m, b).ok();
    formats.extend((2..=8).flat_map(|e| (1..=9).flat_map(move |m| [-3, 0, 4].map(|b| (e, m, b)))).filter_map(custom));
    for &format in &formats {
        let mut x =
            vec![0.0f32, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE];
        x.extend((0..32).map(|bit| f32::from_bits(1 << bit)));
        // All exponents with all leading fractions, and what is just beside the thresholds.
        x.extend((0..1u32 << 14).map(|leading| f32::from_bits(leading << 18)));
        let edges =
            [format.max_finite(), format.overflow_threshold(), format.underflow_threshold(), format.min_normal()];
        for edge in edges {
            x.extend(
                (-3i32..=3).flat_map(|d| [1.0, -1.0].map(|s| s * f32::from_bits((edge.to_bits() as i32 + d) as u32))),
            );
        }
        for overflow in [Overflow::Saturate, Overflow::NotFinite] {
            check_rounding(format, overflow, &x);
        }
    }
    assert!(formats.len() > 100);
}

proptest! {
    #[test]
    fn rounding_any_bits_gives_the_bits_of_the_formats_crate(
        bits in proptest::collection::vec(any::<u32>(), 1..300),
        which in 0usize..8,
        saturate: bool,
    ) {
        let custom = Format::custom(7, 8, -20).unwrap();
        let formats = [
            Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD, Format::BF16, Format::FP16,
            Format::E4M3, Format::E5M2, custom,
        ];
        let overflow = if saturate { Overflow::Saturate } else { Overflow::NotFinite };
        let x: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        check_rounding(formats[which], overflow, &x);
    }
}

/// Runs an operator's kernel on operands of the given shapes.
fn run(op: &Op, operands: &[(Vec<f32>, Vec<usize>)], shape: &[usize]) -> Vec<f32> {
    let ((a, a_shape), n) = (&operands[0], shape.iter().product());
    let b = operands.get(1).map(|(b, _)| b.as_slice()).unwrap_or_default();
    let b_shape = operands.get(1).map(|(_, shape)| shape.as_slice()).unwrap_or_default();
    let widen = |indices: Vec<u8>| indices.into_iter().map(f32::from).collect();
    // SAFETY of all calls: operands and result have the sizes of the shapes that the window is made of.
    match op {
        Op::Conv(op) => {
            let g = Window::convolution(op, a_shape, b_shape, shape).unwrap();
            // SAFETY: see above.
            launch(n, 0.0, |i, n, y| unsafe { conv(i, g, n, a.as_ptr(), b.as_ptr(), y) })
        }
        Op::ConvGradInput(op) => {
            let g = Window::convolution(&op.forward(), shape, b_shape, a_shape).unwrap();
            // SAFETY: see above.
            launch(n, 0.0, |i, n, y| unsafe { conv_grad_input(i, g, n, a.as_ptr(), b.as_ptr(), y) })
        }
        Op::ConvGradWeight(op) => {
            let g = Window::convolution(&op.forward(), a_shape, shape, b_shape).unwrap();
            // SAFETY: see above.
            let kernel = |i, n, y| unsafe { conv_grad_weight(i, g, n, a.as_ptr(), b.as_ptr(), y) };
            // In parts, some of which have no image where there are fewer.
            let parts = launch(3 * n, 0.0, kernel);
            (0..n).map(|i| parts.iter().skip(i).step_by(n).sum()).collect()
        }
        Op::MaxPool(op) => {
            let g = Window::pooling(&op.window(), false, a_shape, shape).unwrap();
            // SAFETY: see above.
            launch(n, 0.0, |i, n, y| unsafe { max_pool(i, g, n, a.as_ptr(), y) })
        }
        Op::MaxPoolIndices(op) => {
            let g = Window::pooling(&op.window(), false, a_shape, shape).unwrap();
            // SAFETY: see above.
            widen(launch(n, 0, |i, n, y| unsafe { max_pool_indices(i, g, n, a.as_ptr(), y) }))
        }
        Op::MaxPoolGrad(op) => {
            let g = Window::pooling(&op.window(), false, shape, a_shape).unwrap();
            let indices: Vec<u8> = b.iter().map(|&i| i as u8).collect();
            // SAFETY: see above.
            launch(n, 0.0, |i, n, y| unsafe { max_pool_grad(i, g, n, a.as_ptr(), indices.as_ptr(), y) })
        }
        Op::AveragePool(op) => {
            let g = Window::pooling(&op.window(), op.count_include_pad, a_shape, shape).unwrap();
            // SAFETY: see above.
            launch(n, 0.0, |i, n, y| unsafe { average_pool(i, g, n, a.as_ptr(), y) })
        }
        Op::AveragePoolGrad(op) => {
            let g = Window::pooling(&op.window(), op.count_include_pad, shape, a_shape).unwrap();
            // SAFETY: see above.
            launch(n, 0.0, |i, n, y| unsafe { average_pool_grad(i, g, n, a.as_ptr(), y) })
        }
        other => panic!("{} has no kernel", other.name()),
    }
}

const NAMES: [&str; 8] = [
    "conv",
    "conv_grad_input",
    "conv_grad_weight",
    "max_pool",
    "max_pool_indices",
    "max_pool_grad",
    "average_pool",
    "average_pool_grad",
];

#[test]
fn convolution_and_pooling_agree_with_the_reference() {
    let mut compared = 0;
    for (name, samples) in Op::all_samples().into_iter().filter(|(name, _)| NAMES.contains(name)) {
        for (case, sample) in samples.into_iter().enumerate() {
            let mut bindings = Bindings { batch: 1, values: Default::default() };
            for (seed, id) in sample.graph.ids().enumerate() {
                if let Some(source) = sample.graph.op(id).source_name() {
                    assert_eq!(sample.graph.ty(id).dtype, DType::F32);
                    let value = numbers(sample.graph.ty(id).shape.elements(1), seed);
                    bindings.values.insert(source.to_string(), value.into_iter().map(f64::from).collect());
                }
            }
            let results = interpret(&sample.graph, &bindings).unwrap();
            let y = sample.graph.output("y").unwrap();
            let operands: Vec<_> = sample.graph.operands(y).iter().map(|o| &results[o.index()]).collect();
            let as_f32 = |data: &[f64]| data.iter().map(|&x| x as f32).collect::<Vec<f32>>();
            let given: Vec<_> = operands.iter().map(|o| (as_f32(&o.data), o.shape.clone())).collect();
            let expected = &results[y.index()];
            let computed = run(sample.graph.op(y), &given, &expected.shape);
            // The kernel adds no bias; a tensor operation does.
            let bias = |i: usize| match (name, operands.get(2)) {
                ("conv", Some(bias)) => bias.data[i / (expected.shape[2] * expected.shape[3]) % expected.shape[1]],
                _ => 0.0,
            };
            for (i, (&actual, &expected)) in computed.iter().zip(&expected.data).enumerate() {
                let error = (f64::from(actual) + bias(i) - expected).abs();
                assert!(error < 2e-6 * (1.0 + expected.abs()), "{name} {case}: [{i}] {actual}, not {expected}");
            }
            compared += 1;
        }
    }
    assert!(compared > 15, "{compared} samples");
}

#[test]
fn max_pooling_has_the_bits_of_the_cpu_kernels_where_windows_overlap() {
    let op = ops::MaxPool {
        kernel: [3, 2],
        strides: [2, 1],
        pads_begin: [1, 0],
        pads_end: [1, 1],
        dilations: [1, 1],
        ceil: false,
    };
    let (x_shape, y_shape) = ([2, 3, 7, 5], [2, 3, 4, 5]);
    let g = kernels::Pool2d {
        batch: 2,
        channels: 3,
        in_height: 7,
        in_width: 5,
        out_height: 4,
        out_width: 5,
        kernel: op.kernel,
        stride: op.strides,
        dilation: op.dilations,
        pad_begin: op.pads_begin,
        pad_end: op.pads_end,
    };
    let mut x = numbers(210, 1);
    // Ties, numbers that are none, and windows of minus infinity alone.
    x.iter_mut().step_by(7).for_each(|x| *x = 0.5);
    x.iter_mut().skip(60).step_by(31).for_each(|x| *x = f32::NAN);
    x[175..210].fill(f32::NEG_INFINITY);
    let dy = numbers(120, 2);
    let (mut y, mut indices, mut dx) = (vec![0.0; 120], vec![0; 120], vec![0.0; 210]);
    kernels::max_pool(&g, x.as_slice().into(), &mut y.as_mut_slice().into()).unwrap();
    kernels::max_pool_indices(&g, x.as_slice().into(), &mut indices).unwrap();
    kernels::max_pool_grad(&g, dy.as_slice().into(), &indices, &mut dx.as_mut_slice().into()).unwrap();

    let window = Window::pooling(&op.window(), false, &x_shape, &y_shape).unwrap();
    // SAFETY: operands and results have the sizes of the window's shapes.
    let own_y = launch(120, 0.0, |i, n, y| unsafe { max_pool(i, window, n, x.as_ptr(), y) });
    // SAFETY: as above.
    let own_indices = launch(120, 0, |i, n, y| unsafe { max_pool_indices(i, window, n, x.as_ptr(), y) });
    let gradient = |i, n, dx: *mut f32| {
        // SAFETY: as above.
        unsafe { max_pool_grad(i, window, n, dy.as_ptr(), own_indices.as_ptr(), dx) }
    };
    let own_dx = launch(210, 0.0, gradient);
    let bits = |x: &[f32]| x.iter().map(|x| if x.is_nan() { 0 } else { x.to_bits() }).collect::<Vec<u32>>();
    assert_eq!(bits(&own_y), bits(&y));
    assert_eq!(own_indices, indices);
    assert_eq!(bits(&own_dx), bits(&dx));
    assert!(y.iter().any(|y| y.is_nan()) && y.contains(&f32::NEG_INFINITY));
}
