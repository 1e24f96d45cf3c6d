//! Convolution and its gradients against a direct loop in double precision.
#![allow(clippy::unwrap_used)]

mod common;

use bitbudget_formats::{Counts, Format, Overflow, round_slice};
use bitbudget_kernels::{Conv2d, Elements, Output, Pass, ShapeError};
use common::{Packed, assert_close, numbers, out, same_for_any_threads};
use proptest::prelude::*;

/// Memory that a pass needs, with contents that would show.
fn shared(g: &Conv2d, pass: Pass, a: Elements, b: Elements) -> Vec<f32> {
    vec![f32::NAN; g.workspace(pass, a.format(), b.format())]
}

fn conv2d(g: &Conv2d, x: Elements, w: Elements, bias: Option<Elements>, y: &mut Output) -> Result<Counts, ShapeError> {
    bitbudget_kernels::conv2d(g, x, w, bias, y, &mut shared(g, Pass::Forward, x, w))
}

fn conv2d_grad_input(g: &Conv2d, dy: Elements, w: Elements, dx: &mut Output) -> Result<Counts, ShapeError> {
    bitbudget_kernels::conv2d_grad_input(g, dy, w, dx, &mut shared(g, Pass::GradInput, dy, w))
}

fn conv2d_grad_weight(g: &Conv2d, x: Elements, dy: Elements, dw: &mut Output) -> Result<Counts, ShapeError> {
    bitbudget_kernels::conv2d_grad_weight(g, x, dy, dw, &mut shared(g, Pass::GradWeight, x, dy))
}

struct Sizes {
    x: usize,
    w: usize,
    y: usize,
}

fn sizes(g: &Conv2d) -> Sizes {
    Sizes {
        x: g.batch * g.in_channels * g.in_height * g.in_width,
        w: g.out_channels * (g.in_channels / g.groups) * g.kernel[0] * g.kernel[1],
        y: g.batch * g.out_channels * g.out_height() * g.out_width(),
    }
}

/// Calls `f(x index, w index, y index)` for every product of the convolution.
fn products(g: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
    let (group_in, group_out) = (g.in_channels / g.groups, g.out_channels / g.groups);
    let (oh, ow) = (g.out_height(), g.out_width());
    for n in 0..g.batch {
        for o in 0..g.out_channels {
            for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                for c in 0..group_in {
                    for (ky, kx) in (0..g.kernel[0]).flat_map(|y| (0..g.kernel[1]).map(move |x| (y, x))) {
                        let iy = (oy * g.stride[0] + ky * g.dilation[0]).wrapping_sub(g.pad_begin[0]);
                        let ix = (ox * g.stride[1] + kx * g.dilation[1]).wrapping_sub(g.pad_begin[1]);
                        if iy < g.in_height && ix < g.in_width {
                            let channel = o / group_out * group_in + c;
                            f(
                                ((n * g.in_channels + channel) * g.in_height + iy) * g.in_width + ix,
                                ((o * group_in + c) * g.kernel[0] + ky) * g.kernel[1] + kx,
                                ((n * g.out_channels + o) * oh + oy) * ow + ox,
                            );
                        }
                    }
                }
            }
        }
    }
}

fn check(g: &Conv2d) {
    let size = sizes(g);
    let (x, w, dy) = (numbers(size.x, 1), numbers(size.w, 2), numbers(size.y, 3));
    let bias = numbers(g.out_channels, 4);
    let mut oracle = (vec![0.0f64; size.y], vec![0.0f64; size.x], vec![0.0f64; size.w]);
    products(g, |i, j, k| {
        oracle.0[k] += f64::from(x[i]) * f64::from(w[j]);
        oracle.1[i] += f64::from(dy[k]) * f64::from(w[j]);
        oracle.2[j] += f64::from(dy[k]) * f64::from(x[i]);
    });
    let plane = (g.out_height() * g.out_width()).max(1);
    let biased: Vec<f64> =
        oracle.0.iter().enumerate().map(|(i, y)| y + f64::from(bias[i / plane % g.out_channels])).collect();
    // Outputs start as NaN, so that an element which is not written shows.
    let (mut y, mut dx, mut dw) = (vec![f32::NAN; size.y], vec![f32::NAN; size.x], vec![f32::NAN; size.w]);
    let (x, w, dy) = (Elements::from(&x[..]), Elements::from(&w[..]), Elements::from(&dy[..]));
    conv2d(g, x, w, None, &mut out(&mut y)).unwrap();
    assert_close(&y, &oracle.0, 2e-5);
    y.fill(f32::NAN);
    conv2d(g, x, w, Some(bias[..].into()), &mut out(&mut y)).unwrap();
    assert_close(&y, &biased, 2e-5);
    conv2d_grad_input(g, dy, w, &mut out(&mut dx)).unwrap();
    assert_close(&dx, &oracle.1, 2e-5);
    conv2d_grad_weight(g, x, dy, &mut out(&mut dw)).unwrap();
    assert_close(&dw, &oracle.2, 5e-5);
    for (format, y_format) in FORMATS {
        check_packed(g, format, y_format);
    }
}

const FORMATS: [(Format, Format); 4] = [
    (Format::PAPER_HIGH, Format::PAPER_HIGH),
    (Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD),
    (Format::BF16, Format::FP16),
    (Format::E5M2, Format::E4M3),
];

/// Whether numbers in this format are summed in the order of FP32 numbers. Numbers that fit in BF16 are summed in pairs
/// where the processor has instructions for it, and cut into tasks as such pairs are on any processor.
fn same_order(g: &Conv2d, format: Format) -> bool {
    let depthwise = g.groups == g.in_channels && g.groups > 1;
    depthwise || format.mantissa_bits() > 7
}

/// Results of packed operands, against those of the same numbers in FP32: the same bits where both sum in the same
/// order, else close in FP32.
fn check_packed(g: &Conv2d, format: Format, y_format: Format) {
    let size = sizes(g);
    let (x, w, dy) = (Packed::new(format, size.x, 1), Packed::new(format, size.w, 2), Packed::new(format, size.y, 3));
    let bias = Packed::new(format, g.out_channels, 4);
    type Kernel<'a> = dyn Fn(bool, &mut Output) -> Counts + 'a;
    let passes: [(usize, &Kernel); 3] = [
        (size.y, &|packed, y| {
            conv2d(g, x.elements(packed), w.elements(packed), Some(bias.elements(packed)), y).unwrap()
        }),
        (size.x, &|packed, dx| conv2d_grad_input(g, dy.elements(packed), w.elements(packed), dx).unwrap()),
        (size.w, &|packed, dw| conv2d_grad_weight(g, x.elements(packed), dy.elements(packed), dw).unwrap()),
    ];
    for (pass, (len, run)) in passes.into_iter().enumerate() {
        let mut expected = vec![f32::NAN; len];
        run(false, &mut out(&mut expected));
        let mut found = vec![f32::NAN; len];
        run(true, &mut out(&mut found));
        if same_order(g, format) {
            assert_eq!(common::bits(&found), common::bits(&expected), "{g:?} {format} pass {pass}");
        } else {
            let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
            assert_close(&found, &expected, 2e-5);
        }
        // Rounded and packed results are those of rounding the FP32 result.
        let counts = round_slice(y_format, Overflow::NotFinite, &mut found);
        let mut rounded = vec![f32::NAN; len];
        let rounding = run(true, &mut Output::rounded(y_format, Overflow::NotFinite, &mut rounded));
        assert_eq!((common::bits(&rounded), rounding), (common::bits(&found), counts), "{g:?} {format} pass {pass}");
        let mut packed = Packed::empty(y_format, len);
        let packing = run(true, &mut packed.output(Overflow::NotFinite));
        assert_eq!(packed.codes(), Packed::of(y_format, &found).codes(), "{g:?} {format} pass {pass}");
        assert_eq!(packing, counts);
    }
}

/// batch, channels in and out, input size, kernel, stride 1, padding 1 unless changed.
fn conv(batch: usize, channels: [usize; 2], size: [usize; 2], kernel: [usize; 2]) -> Conv2d {
    Conv2d {
        batch,
        in_channels: channels[0],
        in_height: size[0],
        in_width: size[1],
        out_channels: channels[1],
        kernel,
        stride: [1, 1],
        dilation: [1, 1],
        pad_begin: [kernel[0] / 2, kernel[1] / 2],
        pad_end: [kernel[0] / 2, kernel[1] / 2],
        groups: 1,
    }
}

#[test]
fn dense() {
    for kernel in [[1, 1], [3, 3], [5, 5], [1, 3], [7, 2]] {
        for stride in [[1, 1], [2, 2], [3, 1]] {
            check(&Conv2d { stride, ..conv(3, [5, 7], [9, 8], kernel) });
            check(&Conv2d { stride, ..conv(1, [17, 33], [20, 21], kernel) });
            check(&Conv2d { stride, pad_begin: [0, 0], pad_end: [0, 0], ..conv(2, [3, 2], [11, 7], kernel) });
        }
    }
}

#[test]
fn many_channels_and_many_images_per_tile() {
    check(&conv(70, [40, 24], [4, 4], [3, 3]));
    check(&conv(3, [520, 20], [4, 4], [3, 3]));
    check(&conv(9, [600, 10], [7, 7], [1, 1]));
    check(&Conv2d { stride: [2, 2], ..conv(37, [30, 50], [8, 8], [3, 3]) });
    check(&Conv2d { stride: [2, 2], ..conv(3, [18, 34], [33, 35], [1, 1]) });
}

#[test]
fn channels_that_several_parts_read() {
    check(&conv(9, [90, 300], [8, 8], [1, 1]));
    check(&conv(37, [80, 280], [5, 3], [1, 1]));
    check(&conv(9, [24, 280], [8, 8], [3, 3]));
    check(&Conv2d { groups: 2, ..conv(9, [160, 560], [4, 4], [1, 1]) });
}

#[test]
fn rows_longer_than_a_tile() {
    check(&conv(1, [2, 3], [3, 700], [3, 3]));
    check(&Conv2d { stride: [1, 2], ..conv(1, [2, 3], [5, 1300], [3, 5]) });
}

#[test]
fn groups_and_depthwise() {
    for stride in [[1, 1], [2, 2], [2, 3]] {
        for kernel in [[3, 3], [5, 5], [1, 1], [2, 3]] {
            check(&Conv2d { stride, groups: 3, ..conv(2, [6, 9], [9, 10], kernel) });
            check(&Conv2d { stride, groups: 8, ..conv(35, [8, 8], [9, 10], kernel) });
            check(&Conv2d { stride, groups: 4, ..conv(2, [4, 12], [15, 14], kernel) });
            check(&Conv2d { stride, groups: 2, ..conv(1, [2, 2], [70, 41], kernel) });
        }
    }
}

#[test]
fn dilation_asymmetric_pads_and_kernels_beyond_the_input() {
    for groups in [1, 2, 4] {
        let base = Conv2d { groups, ..conv(2, [4, 8], [7, 6], [3, 3]) };
        check(&Conv2d { dilation: [2, 3], pad_begin: [0, 3], pad_end: [2, 1], ..base });
        check(&Conv2d { pad_begin: [5, 0], pad_end: [0, 4], ..base });
        check(&Conv2d { stride: [2, 2], pad_begin: [0, 0], pad_end: [1, 1], ..base });
        check(&Conv2d { kernel: [9, 9], pad_begin: [2, 3], pad_end: [3, 2], ..base });
        check(&Conv2d { kernel: [2, 2], dilation: [6, 5], stride: [4, 5], pad_begin: [1, 1], ..base });
        check(&Conv2d { kernel: [1, 1], pad_begin: [1, 2], pad_end: [2, 1], ..base });
        check(&Conv2d { kernel: [1, 1], pad_begin: [0, 0], pad_end: [2, 0], ..base });
        check(&Conv2d { kernel: [2, 1], stride: [3, 1], pad_begin: [0, 0], pad_end: [0, 0], ..base });
        check(&Conv2d { kernel: [1, 1], stride: [9, 9], pad_begin: [0, 0], pad_end: [0, 0], ..base });
    }
}

#[test]
fn empty_tensors() {
    check(&conv(0, [2, 3], [4, 4], [3, 3]));
    check(&Conv2d { pad_begin: [0, 0], pad_end: [0, 0], ..conv(2, [2, 3], [4, 4], [5, 5]) });
    check(&conv(2, [0, 3], [4, 4], [3, 3]));
}

#[test]
fn wrong_arguments_are_errors() {
    let g = conv(2, [2, 3], [4, 4], [3, 3]);
    let (x, w, mut y) = (vec![0.0f32; 64], vec![0.0f32; 54], vec![0.0f32; 96]);
    let conv2d = |g: &Conv2d, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]| {
        conv2d(g, x.into(), w.into(), bias.map(Elements::from), &mut out(y))
    };
    conv2d(&g, &x, &w, None, &mut y).unwrap();
    let error = conv2d(&g, &x[1..], &w, None, &mut y).unwrap_err();
    assert_eq!(error, ShapeError::Length { kernel: "conv2d", argument: "x", expected: 64, found: 63 });
    assert_eq!(error.to_string(), "conv2d: `x` holds 63 elements where its shape needs 64");
    assert!(conv2d(&g, &x, &w[1..], None, &mut y).is_err());
    assert!(conv2d(&g, &x, &w, Some(&x), &mut y).is_err());
    assert!(conv2d(&g, &x, &w, None, &mut y[1..]).is_err());
    for broken in [
        Conv2d { groups: 0, ..g },
        Conv2d { groups: 2, ..g },
        Conv2d { stride: [0, 1], ..g },
        Conv2d { dilation: [1, 0], ..g },
        Conv2d { kernel: [3, 0], ..g },
        Conv2d { batch: usize::MAX, in_height: usize::MAX, ..g },
        Conv2d { pad_begin: [usize::MAX, 0], ..g },
        Conv2d { dilation: [usize::MAX, 1], ..g },
    ] {
        assert!(conv2d(&broken, &x, &w, None, &mut y).is_err(), "{broken:?}");
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let base = conv(20, [24, 40], [14, 14], [3, 3]);
    let small = conv(20, [24, 40], [5, 5], [3, 3]);
    for g in [
        base,
        small,
        Conv2d { stride: [2, 2], ..base },
        Conv2d { groups: 4, ..base },
        conv(40, [3, 8], [16, 16], [3, 3]),
        conv(20, [24, 40], [14, 14], [1, 1]),
        Conv2d { groups: 24, ..conv(20, [24, 24], [14, 14], [3, 3]) },
    ] {
        let size = sizes(&g);
        for format in [Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD] {
            let [x, w, dy] = [(size.x, 1), (size.w, 2), (size.y, 3)].map(|(len, seed)| Packed::new(format, len, seed));
            for packed in [false, true] {
                let [x, w, dy] = [&x, &w, &dy].map(|operand| operand.elements(packed));
                same_for_any_threads(|| {
                    let (mut y, mut dx, mut dw) = (vec![0.0; size.y], vec![0.0; size.x], vec![0.0; size.w]);
                    conv2d(&g, x, w, None, &mut out(&mut y)).unwrap();
                    conv2d_grad_input(&g, dy, w, &mut out(&mut dx)).unwrap();
                    conv2d_grad_weight(&g, x, dy, &mut out(&mut dw)).unwrap();
                    [y, dx, dw].concat()
                });
            }
        }
    }
}

/// Small whole numbers, whose sums of products FP32 holds exactly.
fn whole_numbers(format: Format, len: usize, seed: u64) -> Packed {
    Packed::of(format, &numbers(len, seed).iter().map(|x| (x * 4.0).round()).collect::<Vec<f32>>())
}

#[test]
fn exact_sums_are_the_same_in_every_arithmetic() {
    for g in [
        conv(20, [24, 40], [14, 14], [3, 3]),
        conv(33, [20, 40], [4, 4], [3, 3]),
        conv(5, [3, 24], [16, 16], [3, 3]),
        conv(7, [33, 17], [8, 8], [1, 1]),
        Conv2d { stride: [2, 2], ..conv(17, [18, 34], [8, 8], [3, 3]) },
        Conv2d { groups: 3, ..conv(5, [9, 51], [7, 9], [3, 3]) },
    ] {
        let size = sizes(&g);
        for (format, gradient) in
            [(Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD), (Format::BF16, Format::E4M3)]
        {
            let (x, w) = (whole_numbers(format, size.x, 1), whole_numbers(format, size.w, 2));
            let dy = whole_numbers(gradient, size.y, 3);
            let [results, expected] = [true, false].map(|packed| {
                let [x, w, dy] = [&x, &w, &dy].map(|operand| operand.elements(packed));
                let (mut y, mut dx, mut dw) = (vec![f32::NAN; size.y], vec![f32::NAN; size.x], vec![f32::NAN; size.w]);
                conv2d(&g, x, w, None, &mut out(&mut y)).unwrap();
                conv2d_grad_input(&g, dy, w, &mut out(&mut dx)).unwrap();
                conv2d_grad_weight(&g, x, dy, &mut out(&mut dw)).unwrap();
                [y, dx, dw]
            });
            assert_eq!(results, expected, "{g:?} {format}");
            assert!(expected.iter().all(|result| result.iter().any(|&x| x != 0.0)));
        }
    }
}

#[test]
fn what_is_not_finite_stays_visible() {
    let g = conv(4, [6, 20], [8, 8], [3, 3]);
    let size = sizes(&g);
    for format in [Format::PAPER_HIGH, Format::PAPER_LOW_BACKWARD, Format::BF16, Format::E4M3] {
        let mut x = numbers(size.x, 1);
        // The second channel of the third image, in its middle.
        x[(2 * 6 + 1) * 64 + 27] = f32::INFINITY;
        let (x, w, dy) = (Packed::of(format, &x), Packed::new(format, size.w, 2), Packed::new(format, size.y, 3));
        let mut y = Packed::empty(format, size.y);
        let counts = conv2d(&g, x.elements(true), w.elements(true), None, &mut y.output(Overflow::NotFinite)).unwrap();
        assert_eq!(counts.not_finite, 20 * 9, "{format}");
        let mut dw = Packed::empty(format, size.w);
        let dw_out = &mut dw.output(Overflow::NotFinite);
        let counts = conv2d_grad_weight(&g, x.elements(true), dy.elements(true), dw_out).unwrap();
        assert_eq!(counts.not_finite, 20 * 9, "{format}");
    }
}

#[test]
fn memory_is_stated_and_small() {
    let (low, gradient) = (Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD);
    for (channels, size) in [(64, 32), (128, 16), (256, 8), (512, 4), (1024, 4)] {
        for g in [1, channels].map(|groups| Conv2d { groups, ..conv(128, [channels; 2], [size; 2], [3, 3]) }) {
            for pass in [Pass::Forward, Pass::GradInput, Pass::GradWeight] {
                for (a, b) in [(Format::FP32, Format::FP32), (low, gradient)] {
                    assert!(g.workspace(pass, a, b) <= 1024 * 1024, "{g:?} {pass:?}");
                    assert!(g.scratch(pass, a, b) <= 384 * 1024, "{g:?} {pass:?} {}", g.scratch(pass, a, b));
                }
            }
        }
    }
    let g = conv(2, [2, 3], [4, 4], [3, 3]);
    let (x, w, mut y) = (vec![0.0f32; 64], vec![0.0f32; 54], vec![0.0f32; 96]);
    let expected = g.workspace(Pass::Forward, Format::FP32, Format::FP32);
    let mut shared = vec![0.0; expected - 1];
    let error = bitbudget_kernels::conv2d(&g, x[..].into(), w[..].into(), None, &mut out(&mut y), &mut shared);
    let found = expected - 1;
    assert_eq!(error, Err(ShapeError::Length { kernel: "conv2d", argument: "shared", expected, found }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn small_planes_of_many_images(
        batch in 14usize..50,
        channels in (1usize..40, 1usize..40),
        size in (1usize..9, 1usize..9),
        kernel in (1usize..4, 1usize..4),
        stride in (1usize..3, 1usize..3),
        dilation in (1usize..3, 1usize..3),
        pad in (0usize..3, 0usize..3),
    ) {
        check(&Conv2d {
            stride: stride.into(),
            dilation: dilation.into(),
            pad_begin: pad.into(),
            pad_end: pad.into(),
            ..conv(batch, channels.into(), size.into(), kernel.into())
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_geometry(
        batch in 1usize..5,
        groups in 1usize..5,
        per_group in (1usize..5, 1usize..5),
        size in (1usize..20, 1usize..20),
        kernel in (1usize..6, 1usize..6),
        stride in (1usize..4, 1usize..4),
        dilation in (1usize..4, 1usize..4),
        pad_begin in (0usize..5, 0usize..5),
        pad_end in (0usize..5, 0usize..5),
    ) {
        check(&Conv2d {
            batch,
            in_channels: groups * per_group.0,
            in_height: size.0,
            in_width: size.1,
            out_channels: groups * per_group.1,
            kernel: kernel.into(),
            stride: stride.into(),
            dilation: dilation.into(),
            pad_begin: pad_begin.into(),
            pad_end: pad_end.into(),
            groups,
        });
    }
}
