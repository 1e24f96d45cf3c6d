//! Every kernel gives the same bits and counts on an operand that is computed as it is read as on the stored one.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_kernels::*;
use common::{numbers, same_for_any_threads};
use proptest::prelude::*;
use stored::{FORMATS, Stored, wild};

type Rounding = Option<(Format, Overflow)>;

fn rounding(format: Format, overflow: Overflow) -> Rounding {
    (format != Format::FP32).then_some((format, overflow))
}

fn part<'a>(function: Function, operands: Vec<Operand<'a>>, rounding: Rounding) -> Part<'a> {
    Part { function, operands, rounding, output: None }
}

/// Bits, with one NaN for all.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// The operands of a chain: two tensors, and vectors of a number for each channel.
struct Operands {
    x: Stored,
    z: Stored,
    vectors: Vec<Stored>,
}

impl Operands {
    fn new(shape: [usize; 3], [x, z]: [Format; 2], seed: u64) -> Operands {
        let size = shape.iter().product();
        let vector = |k| numbers(shape[1], seed + k).iter().map(|x| x.abs() + 0.1).collect::<Vec<_>>();
        Operands {
            x: Stored::new(x, Overflow::NotFinite, &wild(size, seed)).0,
            z: Stored::new(z, Overflow::NotFinite, &wild(size, seed + 1)).0,
            vectors: (2..6).map(|k| Stored::of(Format::FP32, &vector(k))).collect(),
        }
    }

    /// Chains of every kind.
    fn chain(&self, kind: usize, [first, last]: [Rounding; 2]) -> Vec<Part<'_>> {
        let (x, z) = (Operand::Elements(self.x.elements()), Operand::Elements(self.z.elements()));
        let (before, clip) = (Operand::Part(0), Function::Clip { min: 0.0, max: 2.5 });
        let vectors = self.vectors.iter().map(|vector| Operand::Channel(vector.elements()));
        let normalize = part(Function::Normalize { epsilon: 1e-3 }, std::iter::once(x).chain(vectors).collect(), first);
        match kind {
            0 => vec![part(Function::Relu, vec![x], last)],
            1 => vec![normalize, part(Function::Relu, vec![before], last)],
            2 => vec![normalize, part(clip, vec![before], last)],
            3 => vec![
                normalize,
                part(Function::Add, vec![z, before], last),
                part(Function::Relu, vec![Operand::Part(1)], last),
            ],
            4 => vec![normalize, part(Function::Sum, vec![before, z], first), part(clip, vec![Operand::Part(1)], last)],
            5 => vec![part(Function::ReluGrad, vec![x, z], last)],
            6 => vec![normalize, part(Function::Sum, vec![before, before, x, Operand::Scalar(0.25)], last)],
            7 => vec![
                normalize,
                part(Function::Tanh, vec![before], first),
                part(Function::Mul, vec![before, Operand::Part(1)], last),
            ],
            8 => vec![normalize],
            9 => vec![
                normalize,
                part(Function::Relu, vec![before], first),
                part(Function::ReluGrad, vec![z, Operand::Part(1)], last),
            ],
            10 => vec![
                normalize,
                part(clip, vec![before], first),
                part(Function::ClipGrad { min: 0.0, max: 2.5 }, vec![z, Operand::Part(1)], last),
            ],
            12 | 13 => {
                let vectors = self.vectors.iter().rev().map(|vector| Operand::Channel(vector.elements()));
                let operands = std::iter::once(z).chain(vectors).collect();
                let mut parts = vec![normalize, part(Function::Normalize { epsilon: 1e-3 }, operands, last)];
                if kind == 13 {
                    parts.push(part(Function::Relu, vec![before], first));
                }
                let side = Operand::Part(if kind == 13 { 2 } else { 0 });
                parts.push(part(Function::Add, vec![Operand::Part(1), side], last));
                parts.push(part(Function::Relu, vec![Operand::Part(parts.len() - 1)], last));
                parts
            }
            11 => vec![normalize, part(Function::ReluGrad, vec![x, before], last)],
            _ => vec![normalize, part(Function::Add, vec![x, before], last)],
        }
    }
}

const KINDS: usize = 15;

/// The last result of a chain, stored.
fn store(shape: [usize; 3], parts: &[Part<'_>]) -> Stored {
    let mut parts = parts.to_vec();
    let last = parts.last_mut().unwrap();
    last.output = Some(0);
    let (format, overflow) = last.rounding.unwrap_or((Format::FP32, Overflow::NotFinite));
    let mut y = Stored::empty(format, shape.iter().product());
    let mut numbers = vec![0.0; shape.iter().product()];
    if format == Format::FP32 {
        chain(shape, &parts, &mut [Output::from(&mut numbers[..])]).unwrap();
        return Stored::of(Format::FP32, &numbers);
    }
    chain(shape, &parts, &mut [y.output(overflow)]).unwrap();
    y
}

/// The elements of a range, as a kernel reads them.
fn read(x: Elements<'_>, start: usize, len: usize) -> Vec<f32> {
    let mut y = vec![9.0; len];
    slice(x, &[x.len()], &[start], &[1], &[len], &mut Output::from(&mut y[..])).unwrap();
    y
}

fn formats() -> impl Strategy<Value = Format> {
    prop::sample::select(&FORMATS[..])
}

fn overflow() -> impl Strategy<Value = Overflow> {
    prop::sample::select(vec![Overflow::Saturate, Overflow::NotFinite])
}

/// Batch, channels, and planes of lengths for which there are loops of their own, and others.
fn shapes() -> impl Strategy<Value = [usize; 3]> {
    let planes = vec![1, 2, 3, 4, 7, 16, 17, 49, 64, 130, 256, 1025, 5000];
    let any = (1usize..4, 1usize..7, prop::sample::select(planes)).prop_map(|(n, c, s)| [n, c, s]);
    // With channels so large that short rows go through tables.
    prop_oneof![6 => any, 1 => Just([130, 3, 16]), 1 => Just([67, 2, 64])]
}

/// Runs `f(stored, derived)` on operands of a shape: chains of any kind, and channels of such chains in any order.
fn with_operand(
    shape: [usize; 3],
    [from, first, last]: [Format; 3],
    overflow: Overflow,
    kind: usize,
    seed: u64,
    mut f: impl FnMut(Elements<'_>, Elements<'_>),
) {
    let operands = Operands::new(shape, [from, last], seed);
    let roundings = [first, last].map(|format| rounding(format, overflow));
    let parts = operands.chain(kind % KINDS, roundings);
    let (stored, derived) = (store(shape, &parts), Derived::chain(shape, &parts).unwrap());
    f(stored.elements(), Elements::derived(&derived));

    let [n, c, s] = shape;
    let z = operands.z.elements();
    let sources = |x| {
        let run = |i: usize| match (i + seed as usize) % 3 {
            0 => ChannelRun { x: z, channels: c, first: c - 1 - i, count: 1 },
            _ => ChannelRun { x, channels: c, first: (i * 5 + 1) % c, count: 1 },
        };
        match seed % 2 {
            0 => (0..c).map(run).collect::<Vec<_>>(),
            _ => vec![
                ChannelRun { x, channels: c, first: c / 3, count: c - c / 3 },
                ChannelRun { x: z, channels: c, first: 0, count: c / 3 },
            ],
        }
    };
    let rounding = rounding(last, overflow);
    let derived_channels = Derived::channels(n, s, &sources(Elements::derived(&derived)), rounding).unwrap();
    let channel = |run: &ChannelRun<'_>| {
        let mut y = vec![0.0; n * run.count * s];
        let result = [n, run.count, s];
        slice(run.x, &shape, &[0, run.first, 0], &[1; 3], &result, &mut Output::from(&mut y[..])).unwrap();
        (y, run.count)
    };
    let channels: Vec<(Vec<f32>, usize)> = sources(stored.elements()).iter().map(channel).collect();
    let runs: Vec<(Elements<'_>, usize)> = channels.iter().map(|(x, count)| (Elements::from(&x[..]), *count)).collect();
    let mut stored_channels = Stored::empty(last, stored.elements().len());
    let mut numbers = vec![0.0; stored.elements().len()];
    match rounding {
        Some(_) => concat(&runs, n, s, &mut stored_channels.output(overflow)).unwrap(),
        None => concat(&runs, n, s, &mut Output::from(&mut numbers[..])).unwrap(),
    };
    if rounding.is_none() {
        stored_channels = Stored::of(last, &numbers);
    }
    f(stored_channels.elements(), Elements::derived(&derived_channels));
}

/// Fails where `kernel` gives other bits or counts for two operands: in FP32, and packed.
fn same(
    len: usize,
    a: Elements<'_>,
    b: Elements<'_>,
    kernel: impl Fn(Elements<'_>, &mut Output<'_>) -> Result<Counts, ShapeError>,
) {
    let exact = |x| {
        let mut y = vec![f32::NAN; len];
        kernel(x, &mut Output::from(&mut y[..])).unwrap();
        bits(&y)
    };
    assert!(exact(a) == exact(b), "FP32");
    for format in [Format::PAPER_LOW_FORWARD, Format::BF16] {
        let packed = |x| {
            let mut y = Stored::empty(format, len);
            let counts = kernel(x, &mut y.output(Overflow::NotFinite)).unwrap();
            (y.codes(), counts)
        };
        assert!(packed(a) == packed(b), "{format}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_range_is_that_of_the_stored_operand(
        shape in shapes(),
        formats in prop::array::uniform3(formats()),
        overflow in overflow(),
        kind in 0..KINDS,
        seed in 0u64..1000,
        at in any::<prop::sample::Index>(),
        len in any::<prop::sample::Index>(),
    ) {
        with_operand(shape, formats, overflow, kind, seed, |stored, derived| {
            assert_eq!(stored.len(), derived.len());
            assert_eq!(stored.format(), derived.format());
            let mut all = [vec![0.0; stored.len()], vec![0.0; stored.len()]];
            stored.copy_to(&mut all[0]).unwrap();
            derived.copy_to(&mut all[1]).unwrap();
            assert_eq!(bits(&all[0]), bits(&all[1]));
            let at = at.index(stored.len());
            let len = 1 + len.index(stored.len() - at);
            assert_eq!(bits(&all[0][at..at + len]), bits(&read(derived, at, len)));
        });
    }

    #[test]
    fn convolutions(
        (batch, group_in, group_out, groups) in (1usize..4, 1usize..20, 1usize..20, 1usize..4),
        size in prop::array::uniform2(1usize..18),
        kernel in prop::array::uniform2(1usize..4),
        (stride, pad, dilation) in (1usize..3, 0usize..2, 1usize..3),
        depthwise in any::<bool>(),
        formats in prop::array::uniform4(formats()),
        overflow in overflow(),
        (kind, seed) in (0..KINDS, 0u64..1000),
    ) {
        let (groups, group_in, group_out) = if depthwise { (group_in + 1, 1, 1 + group_out % 2) } else { (groups, group_in, group_out) };
        let g = Conv2d {
            batch,
            in_channels: groups * group_in,
            in_height: size[0],
            in_width: size[1],
            out_channels: groups * group_out,
            kernel,
            stride: [stride, 1],
            dilation: [1, dilation],
            pad_begin: [pad; 2],
            pad_end: [pad, 0],
            groups,
        };
        let [from, first, last, other] = formats;
        let (result, weights) = (g.out_channels * g.out_height() * g.out_width(), g.out_channels * group_in * kernel[0] * kernel[1]);
        let w = Stored::of(other, &numbers(weights, seed));
        let dy = Stored::of(other, &numbers(batch * result, seed + 1));
        let shared = |pass, a: Elements<'_>, b: Elements<'_>| vec![f32::NAN; g.workspace(pass, a.format(), b.format())];
        let shape = [batch, g.in_channels, size[0] * size[1]];
        with_operand(shape, [from, first, last], overflow, kind, seed, |stored, derived| {
            same(batch * result, stored, derived, |x, y| {
                conv2d(&g, x, w.elements(), None, y, &mut shared(Pass::Forward, x, w.elements()))
            });
            same(weights, stored, derived, |x, dw| {
                conv2d_grad_weight(&g, x, dy.elements(), dw, &mut shared(Pass::GradWeight, x, dy.elements()))
            });
        });
        // Gradients of outputs may be computed as they are read, too.
        let shape = [batch, g.out_channels, g.out_height() * g.out_width()];
        if result > 0 {
            with_operand(shape, [from, first, last], overflow, kind, seed, |stored, derived| {
                let x = Stored::of(other, &numbers(batch * g.in_channels * size[0] * size[1], seed));
                same(weights, stored, derived, |dy, dw| {
                    conv2d_grad_weight(&g, x.elements(), dy, dw, &mut shared(Pass::GradWeight, x.elements(), dy))
                });
                same(batch * g.in_channels * size[0] * size[1], stored, derived, |dy, dx| {
                    conv2d_grad_input(&g, dy, w.elements(), dx, &mut shared(Pass::GradInput, dy, w.elements()))
                });
            });
        }
    }

    #[test]
    fn pooling(
        (batch, channels) in (1usize..4, 1usize..9),
        size in prop::array::uniform2(2usize..17),
        kernel in prop::array::uniform2(1usize..4),
        stride in 1usize..3,
        formats in prop::array::uniform3(formats()),
        overflow in overflow(),
        (kind, seed) in (0..KINDS, 0u64..1000),
        global in any::<bool>(),
    ) {
        let kernel = if global { size } else { [kernel[0].min(size[0]), kernel[1].min(size[1])] };
        let out = |axis: usize| (size[axis] - kernel[axis]) / stride + 1;
        let g = Pool2d {
            batch,
            channels,
            in_height: size[0],
            in_width: size[1],
            out_height: out(0),
            out_width: out(1),
            kernel,
            stride: [stride; 2],
            dilation: [1; 2],
            pad_begin: [0; 2],
            pad_end: [0; 2],
        };
        let (shape, result) = ([batch, channels, size[0] * size[1]], batch * channels * out(0) * out(1));
        with_operand(shape, formats, overflow, kind, seed, |stored, derived| {
            same(result, stored, derived, |x, y| max_pool(&g, x, y));
            same(result, stored, derived, |x, y| avg_pool(&g, true, x, y));
            let indices = |x| {
                let mut found = [vec![255; result], vec![255; result]];
                max_pool_indices(&g, x, &mut found[0]).unwrap();
                let mut y = vec![0.0; result];
                max_pool_with_indices(&g, x, &mut Output::from(&mut y[..]), &mut found[1]).unwrap();
                (found, bits(&y))
            };
            assert!(indices(stored) == indices(derived));
        });
    }

    #[test]
    fn sums_products_and_moves(
        shape in shapes(),
        formats in prop::array::uniform3(formats()),
        overflow in overflow(),
        (kind, seed) in (0..KINDS, 0u64..1000),
    ) {
        let ([n, c, s], size) = (shape, shape.iter().product());
        let other = Stored::of(formats[0], &numbers(size, seed));
        let (mean, var) = (numbers(c, 1), vec![0.7; c]);
        with_operand(shape, formats, overflow, kind, seed, |stored, derived| {
            let statistics = |x: Elements<'_>| {
                let mut y = vec![vec![0.0; c]; 6];
                let [a, b, d, e, f, g] = y.as_mut_slice() else { return vec![] };
                channel_sum(n, c, s, x, a).unwrap();
                batch_moments(n, c, s, x, b, d).unwrap();
                batch_norm_grad_sums(&NormGradient { shape: [n, c, s], dy: other.elements(), x, mean: &mean, var: &var, epsilon: 1e-5 }, e, f).unwrap();
                batch_norm_grad_scale(&NormGradient { shape: [n, c, s], dy: x, x: other.elements(), mean: &mean, var: &var, epsilon: 1e-5 }, g).unwrap();
                bits(&y.concat())
            };
            assert!(statistics(stored) == statistics(derived));
            same(n, stored, derived, |x, y| reduce_sum(x, &shape, &[1, 2], y));
            same(c * s, stored, derived, |x, y| reduce_mean(x, &shape, &[0], y));
            same(n * s, stored, derived, |x, y| reduce_mean(x, &shape, &[1], y));
            same(1, stored, derived, |x, y| reduce_sum(x, &shape, &[0, 1, 2], y));
            same(size, stored, derived, |x, y| transpose(x, &shape, &[2, 0, 1], y));
            same(size, stored, derived, |x, y| transpose(x, &shape, &[1, 0, 2], y));
            same(2 * size, stored, derived, |x, y| concat(&[(x, c), (other.elements(), c)], n, s, y));
            same(size, stored, derived, |x, y| slice(x, &shape, &[n - 1, c - 1, s - 1], &[-1; 3], &shape, y));
            let half = [n, c, s.div_ceil(2)];
            same(half.iter().product(), stored, derived, |x, y| slice(x, &shape, &[0; 3], &[1, 1, 2], &half, y));
            same(size, stored, derived, |x, y| binary_broadcast(Binary::Mul, x, &shape, other.elements(), &shape, y, &shape));
            same(size, stored, derived, |x, y| softmax(n * c, s, x, y));
            for format in FORMATS {
                let sum = |x| {
                    let operands = vec![Operand::Elements(x), Operand::Elements(other.elements()), Operand::Elements(x)];
                    let mut y = Stored::empty(format, size);
                    let parts = [Part { output: Some(0), ..part(Function::Sum, operands, Some((format, overflow))) }];
                    let counts = chain(shape, &parts, &mut [y.output(overflow)]).unwrap();
                    (bits(&y.numbers()), counts)
                };
                assert!(sum(stored) == sum(derived));
            }
            assert_eq!(all_finite(stored), all_finite(derived));
            // As a matrix on either side, also transposed.
            let (rows, columns) = (n, c * s);
            let b = Stored::of(formats[0], &numbers(columns * 5, seed));
            let b_rows = Stored::of(formats[0], &numbers(rows * 5, seed));
            for transposed in [false, true] {
                same(rows * 5, stored, derived, |x, y| {
                    matmul(&Matmul { count: 1, trans_a: false, trans_b: transposed, m: rows, n: 5, k: columns }, x, b.elements(), None, y)
                });
                same(columns * 5, stored, derived, |x, y| {
                    matmul(&Matmul { count: 1, trans_a: true, trans_b: transposed, m: columns, n: 5, k: rows }, x, b_rows.elements(), None, y)
                });
                same(5 * columns, stored, derived, |x, y| {
                    matmul(&Matmul { count: 1, trans_a: transposed, trans_b: false, m: 5, n: columns, k: rows }, b_rows.elements(), x, None, y)
                });
                same(5 * rows, stored, derived, |x, y| {
                    matmul(&Matmul { count: 1, trans_a: transposed, trans_b: true, m: 5, n: rows, k: columns }, b.elements(), x, None, y)
                });
            }
        });
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let shape = [8, 20, 256];
    let operands = Operands::new(shape, [Format::PAPER_LOW_FORWARD, Format::FP16], 3);
    let low = rounding(Format::PAPER_LOW_FORWARD, Overflow::Saturate);
    let parts = operands.chain(3, [low; 2]);
    let derived = Derived::chain(shape, &parts).unwrap();
    same_for_any_threads(|| {
        let (mut mean, mut var) = (vec![0.0; 20], vec![0.0; 20]);
        batch_moments(8, 20, 256, Elements::derived(&derived), &mut mean, &mut var).unwrap();
        [mean, var].concat().iter().map(|x| if x.is_nan() { 0.5 } else { *x }).collect()
    });
}

#[test]
fn wrong_operands_are_refused() {
    let x = [0.0; 6];
    let x = Elements::from(&x[..]);
    let relu = |operand, output| Part { function: Function::Relu, operands: vec![operand], rounding: None, output };
    let chains = [
        (vec![], "no part"),
        (vec![relu(Operand::Output(0), None)], "reads output 0 of 0"),
        (vec![relu(Operand::Elements(x), Some(0))], "writes output 0 of 0"),
        (vec![relu(Operand::Part(0), None)], "reads part 0"),
    ];
    for (parts, expected) in chains {
        let message = Derived::chain([1, 2, 3], &parts).unwrap_err().to_string();
        assert!(message.contains(expected), "{message} does not say {expected}");
    }
    assert!(Derived::chain([1, 2, 4], &[relu(Operand::Elements(x), None)]).is_err());
    let channels = |first, count, plane| {
        Derived::channels(1, plane, &[ChannelRun { x, channels: 2, first, count }], None).map_err(|e| e.to_string())
    };
    assert!(channels(0, 2, 3).is_ok());
    assert!(channels(1, 2, 3).unwrap_err().contains("leave 2"));
    assert!(channels(usize::MAX, 2, 3).is_err());
    assert!(channels(0, 2, 4).is_err());
}
