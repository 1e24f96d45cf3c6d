//! Chains of elementwise functions: against formulas in double precision, and packed against not packed.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_kernels::*;
use common::{assert_close, numbers, same_for_any_threads};
use stored::{FORMATS, Stored};

/// `[n, c, s]`, with rows of every kind of length: one, short, not a power of two, longer than a tile; the last but one
/// have channels so large that one-byte codes go through tables.
const SHAPES: [[usize; 3]; 11] = [
    [2, 3, 1],
    [70, 50, 1],
    [3, 5, 2],
    [40, 70, 4],
    [9, 40, 16],
    [2, 7, 49],
    [5, 3, 600],
    [1, 2, 5000],
    [41, 5, 100],
    [33, 2, 128],
    [3, 0, 4],
];

/// Which operand is how shaped: e each, c channel, s scalar.
type Formula = (Function, &'static str, fn(&[f64], f64) -> f64);

const EPSILON: f32 = 1e-3;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Every function and its formula; the second argument is `n * s`.
const FORMULAS: &[Formula] = &[
    (Function::Copy, "e", |x, _| x[0]),
    (Function::Relu, "e", |x, _| x[0].max(0.0)),
    (Function::LeakyRelu { alpha: 0.25 }, "e", |x, _| if x[0] > 0.0 { x[0] } else { 0.25 * x[0] }),
    (Function::Clip { min: -0.5, max: 1.5 }, "e", |x, _| x[0].clamp(-0.5, 1.5)),
    (Function::Sigmoid, "e", |x, _| sigmoid(x[0])),
    (Function::Tanh, "e", |x, _| x[0].tanh()),
    (Function::Exp, "e", |x, _| x[0].exp()),
    (Function::Log, "p", |x, _| x[0].ln()),
    (Function::Sqrt, "p", |x, _| x[0].sqrt()),
    (Function::Scale { by: -3.0 }, "e", |x, _| -3.0 * x[0]),
    (Function::Add, "ee", |x, _| x[0] + x[1]),
    (Function::Add, "ec", |x, _| x[0] + x[1]),
    (Function::Sub, "ce", |x, _| x[0] - x[1]),
    (Function::Sub, "es", |x, _| x[0] - x[1]),
    (Function::Mul, "ec", |x, _| x[0] * x[1]),
    (Function::Div, "se", |x, _| x[0] / x[1]),
    (Function::Div, "ep", |x, _| x[0] / x[1]),
    (Function::Sum, "", |_, _| 0.0),
    (Function::Sum, "e", |x, _| x[0]),
    (Function::Sum, "ee", |x, _| x[0] + x[1]),
    (Function::Sum, "eeecs", |x, _| x.iter().sum()),
    (Function::ReluGrad, "ee", |x, _| if x[1] > 0.0 { x[0] } else { 0.0 }),
    (Function::ClipGrad { min: -0.5, max: 1.5 }, "ee", |x, _| if x[1] > -0.5 && x[1] < 1.5 { x[0] } else { 0.0 }),
    (Function::LeakyReluGrad { alpha: 0.25 }, "ee", |x, _| if x[1] > 0.0 { x[0] } else { 0.25 * x[0] }),
    (Function::Normalize { epsilon: EPSILON }, "eccccp", |x, _| {
        (x[0] - x[1]) / (x[2] * x[2] + f64::from(EPSILON)).sqrt() * x[3] + x[4]
    }),
    (Function::NormalizeMask { epsilon: EPSILON, low: 0.25, high: 1.5 }, "eecccc", |x, _| {
        let z = (x[1] - x[2]) / (x[3] * x[3] + f64::from(EPSILON)).sqrt() * x[4] + x[5];
        if (0.25..1.5).contains(&z) { x[0] } else { 0.0 }
    }),
    (Function::NormalizeGradInput { epsilon: EPSILON }, "eeccccc", |x, count| {
        let r = 1.0 / (x[3] * x[3] + f64::from(EPSILON)).sqrt();
        x[4] * r * (x[0] - x[6] / count - (x[1] - x[2]) * r * x[5] / count)
    }),
    (Function::RunningAverage { momentum: 0.1, correction: 1.25 }, "ee", |x, _| 0.9 * x[0] + 0.125 * x[1]),
    (Function::SgdVelocity { momentum: 0.9, weight_decay: 5e-4 }, "eees", |x, _| {
        0.9 * x[0] + x[2] * x[3] + 5e-4 * x[1]
    }),
    (Function::SgdParameter, "ees", |x, _| x[0] - x[2] * x[1]),
    (Function::AdamFirstMoment { beta: 0.9 }, "ees", |x, _| 0.9 * x[0] + 0.1 * x[1] * x[2]),
    (Function::AdamSecondMoment { beta: 0.9 }, "pes", |x, _| 0.9 * x[0] + 0.1 * (x[1] * x[2]).powi(2)),
    (Function::AdamwParameter { weight_decay: 0.1, epsilon: 1e-3 }, "eepsss", |x, _| {
        x[0] * (1.0 - x[3] * 0.1) - x[3] * (x[1] / x[4]) / ((x[2] / x[5]).sqrt() + 1e-3)
    }),
];

/// An operand with its numbers.
enum Given {
    Each(Stored),
    Channel(Stored),
    Scalar(f32),
}

impl Given {
    fn operand(&self) -> Operand<'_> {
        match self {
            Given::Each(x) => Operand::Elements(x.elements()),
            Given::Channel(x) => Operand::Channel(x.elements()),
            Given::Scalar(x) => Operand::Scalar(*x),
        }
    }

    /// The same numbers in FP32.
    fn unpacked(&self) -> Given {
        let plain = |x: &Stored| Stored::of(Format::FP32, &x.numbers());
        match self {
            Given::Each(x) => Given::Each(plain(x)),
            Given::Channel(x) => Given::Channel(plain(x)),
            Given::Scalar(x) => Given::Scalar(*x),
        }
    }

    fn at(&self, index: usize, [_, c, s]: [usize; 3], numbers: &[f32]) -> f64 {
        f64::from(match self {
            Given::Each(_) => numbers[index],
            Given::Channel(_) => numbers[index / s % c],
            Given::Scalar(x) => *x,
        })
    }

    fn numbers(&self) -> Vec<f32> {
        match self {
            Given::Each(x) | Given::Channel(x) => x.numbers(),
            Given::Scalar(_) => vec![],
        }
    }
}

/// The variance of normalisation must not be negative: its position.
fn squared(function: Function, index: usize) -> bool {
    let variance = match function {
        Function::Normalize { .. } => 2,
        Function::NormalizeMask { .. } | Function::NormalizeGradInput { .. } => 3,
        _ => return false,
    };
    index == variance
}

/// Operands of these kinds; `wild` ones hold NaN and overflow small formats.
fn given(function: Function, kinds: &str, shape: [usize; 3], format: Format, wild: bool) -> Vec<Given> {
    let size = shape.iter().product();
    let operand = |(i, kind): (usize, char)| {
        let seed = i as u64 + 1;
        match kind {
            'e' => {
                let mut x: Vec<f32> = numbers(size, seed).iter().map(|x| 2.0 * x).collect();
                if wild {
                    x.iter_mut().step_by(7).for_each(|x| *x *= 100.0);
                    x.iter_mut().step_by(97).for_each(|x| *x = f32::NAN);
                }
                Given::Each(Stored::of(format, &x))
            }
            'p' => {
                Given::Each(Stored::of(format, &numbers(size, seed).iter().map(|x| x.abs() + 0.1).collect::<Vec<_>>()))
            }
            'c' => {
                let x = numbers(shape[1], seed);
                let x = if squared(function, i) { x.iter().map(|x| x * x).collect() } else { x };
                Given::Channel(Stored::of(format, &x))
            }
            _ => Given::Scalar(0.375 + i as f32 / 8.0),
        }
    };
    let arity = if matches!(function, Function::Normalize { .. }) { 5 } else { kinds.len() };
    kinds.chars().take(arity).enumerate().map(operand).collect()
}

fn part<'a>(
    function: Function,
    operands: Vec<Operand<'a>>,
    rounding: Option<(Format, Overflow)>,
    output: Option<usize>,
) -> Part<'a> {
    Part { function, operands, rounding, output }
}

/// One function on FP32 numbers, not rounded.
fn plain(function: Function, given: &[Given], shape: [usize; 3]) -> Vec<f32> {
    let mut y = vec![f32::NAN; shape.iter().product()];
    let operands = given.iter().map(Given::operand).collect();
    chain(shape, &[part(function, operands, None, Some(0))], &mut [Output::from(y.as_mut_slice())]).unwrap();
    y
}

#[test]
fn functions_are_their_formulas() {
    for &(function, kinds, formula) in FORMULAS {
        for shape in SHAPES {
            let given = given(function, kinds, shape, Format::FP32, false);
            let y = plain(function, &given, shape);
            let columns: Vec<Vec<f32>> = given.iter().map(Given::numbers).collect();
            let count = (shape[0] * shape[2]) as f64;
            let expected = |i: usize| {
                let mut x: Vec<f64> = given.iter().zip(&columns).map(|(g, x)| g.at(i, shape, x)).collect();
                // The formulas square what stands for the variance.
                x.iter_mut().enumerate().filter(|(k, _)| squared(function, *k)).for_each(|(_, x)| *x = x.sqrt());
                formula(&x, count)
            };
            let expected: Vec<f64> = (0..y.len()).map(expected).collect();
            assert_close(&y, &expected, 5e-6);
        }
    }
}

#[test]
fn packed_is_rounding_of_unpacked() {
    for &(function, kinds, _) in FORMULAS {
        for format in FORMATS {
            for shape in SHAPES {
                for overflow in [Overflow::Saturate, Overflow::NotFinite] {
                    let given = given(function, kinds, shape, format, true);
                    let unpacked: Vec<Given> = given.iter().map(Given::unpacked).collect();
                    let (expected, counts) = Stored::new(format, overflow, &plain(function, &unpacked, shape));
                    let mut y = Stored::of(format, &vec![f32::NAN; shape.iter().product()]);
                    let operands = given.iter().map(Given::operand).collect();
                    let parts = [part(function, operands, Some((format, overflow)), Some(0))];
                    let found = chain(shape, &parts, &mut [y.output(overflow)]).unwrap();
                    assert_eq!(found, [counts], "{function:?} {format} {shape:?}");
                    assert!(y.codes() == expected.codes(), "{function:?} {kinds} {format} {shape:?}");
                }
            }
        }
    }
}

#[test]
fn nan_stays_and_gradients_know_their_kinks() {
    let one = |function, operands: &[&[f32]]| {
        let mut y = vec![9.0; operands[0].len()];
        let each = operands.iter().map(|x| Operand::Elements(Elements::from(*x))).collect();
        chain([1, 1, y.len()], &[part(function, each, None, Some(0))], &mut [Output::from(y.as_mut_slice())]).unwrap();
        y
    };
    for &(function, kinds, _) in FORMULAS.iter().filter(|(_, kinds, _)| kinds.len() == 1) {
        assert!(one(function, &[&[f32::NAN]])[0].is_nan(), "{function:?} {kinds} hides a NaN");
    }
    let (dy, x) = ([1.0, 2.0, 3.0, 4.0, 5.0], [-1.0, 0.0, 0.5, 1.0, 2.0]);
    assert_eq!(one(Function::ReluGrad, &[&dy, &x]), [0.0, 0.0, 3.0, 4.0, 5.0]);
    assert_eq!(one(Function::ClipGrad { min: 0.0, max: 1.0 }, &[&dy, &x]), [0.0, 0.0, 3.0, 0.0, 0.0]);
    assert_eq!(one(Function::LeakyReluGrad { alpha: 0.5 }, &[&dy, &x]), [0.5, 1.0, 3.0, 4.0, 5.0]);
}

/// How far `x` is from the exact value, in units of its last place.
fn ulps(x: f32, exact: f64) -> f64 {
    let nearest = exact as f32;
    if x == nearest || x.is_nan() && nearest.is_nan() {
        return 0.0;
    }
    let unit = f64::from(f32::from_bits(nearest.abs().to_bits().max(0x0080_0000)).next_up())
        - f64::from(f32::from_bits(nearest.abs().to_bits().max(0x0080_0000)));
    (f64::from(x) - exact).abs() / unit
}

#[test]
fn exponentials_are_exact_but_for_the_last_places() {
    // Every 1,009th number of all FP32 numbers, and the special ones.
    let mut x: Vec<f32> = (0..=u32::MAX).step_by(1009).map(f32::from_bits).collect();
    x.extend((-110_000..=110_000).map(|i| i as f32 / 1000.0));
    x.extend([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, f32::MAX, f32::MIN]);
    type Formula = (Function, f64, fn(f64) -> f64);
    let formulas: [Formula; 3] = [
        (Function::Exp, 2.0, f64::exp),
        (Function::Tanh, 2.0, f64::tanh),
        (Function::Sigmoid, 2.5, |x| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }),
    ];
    for (function, bound, exact) in formulas {
        let mut y = vec![9.0; x.len()];
        let operands = vec![Operand::Elements(Elements::from(x.as_slice()))];
        let parts = [part(function, operands, None, Some(0))];
        chain([1, 1, x.len()], &parts, &mut [Output::from(y.as_mut_slice())]).unwrap();
        let mut worst = (0.0, 0.0);
        for (&x, &y) in x.iter().zip(&y) {
            let exact = exact(f64::from(x));
            assert_eq!(y.is_nan(), exact.is_nan(), "{function:?} of {x}");
            assert!(y.is_finite() || (exact as f32).is_infinite() || y.is_nan(), "{function:?} of {x} is {y}");
            let error = ulps(y, exact);
            if error > worst.0 {
                worst = (error, x);
            }
        }
        assert!(worst.0 <= bound, "{function:?} is {} units off at {}", worst.0, worst.1);
    }
}

/// A chain like those of a training step: normalisation, relu and a sum, with a gradient's rounding in it.
fn residual<'a>(
    x: &'a Stored,
    skip: &'a Stored,
    vectors: &'a [Stored],
    rounding: [(Format, Overflow); 3],
) -> Vec<Part<'a>> {
    let channels = vectors.iter().map(|v| Operand::Channel(v.elements()));
    let operands = std::iter::once(Operand::Elements(x.elements())).chain(channels).collect();
    vec![
        part(Function::Normalize { epsilon: EPSILON }, operands, Some(rounding[0]), None),
        part(
            Function::Sum,
            vec![Operand::Part(0), Operand::Elements(skip.elements()), Operand::Scalar(0.25)],
            Some(rounding[1]),
            None,
        ),
        part(Function::ReluGrad, vec![Operand::Part(0), Operand::Part(1)], Some(rounding[2]), None),
    ]
}

#[test]
fn chains_are_their_parts_one_after_the_other() {
    // With a second tensor, or only one.
    for (shape, only) in SHAPES.into_iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        let size: usize = shape.iter().product();
        for (i, &format) in FORMATS.iter().enumerate() {
            for overflow in [Overflow::Saturate, Overflow::NotFinite] {
                // Large enough to overflow the small formats here and there.
                let wide = |seed, by: f32| numbers(size, seed).iter().map(|x| x * by).collect::<Vec<_>>();
                let mut x = wide(1, 300.0);
                x.iter_mut().step_by(97).for_each(|x| *x = f32::NAN);
                let (x, skip) = (Stored::of(format, &x), Stored::of(Format::BF16, &wide(2, 40.0)));
                let vectors: Vec<Stored> = (3..7)
                    .map(|seed| {
                        Stored::of(format, &numbers(shape[1], seed).iter().map(|x| x.abs()).collect::<Vec<_>>())
                    })
                    .collect();
                let formats = [format, FORMATS[(i + 2) % 7], FORMATS[(i + 4) % 7]];
                let rounding = formats.map(|format| (format, overflow));
                let parts = residual(&x, if only { &x } else { &skip }, &vectors, rounding);

                // One after the other, each result packed.
                let mut results: Vec<Stored> = Vec::new();
                let mut expected_counts: Vec<Counts> = Vec::new();
                for part in &parts {
                    let mut y = Stored::of(part.rounding.unwrap().0, &vec![0.0; size]);
                    let operands = part.operands.iter().map(|operand| match operand {
                        Operand::Part(j) => Operand::Elements(results[*j].elements()),
                        other => *other,
                    });
                    let single = Part { operands: operands.collect(), output: Some(0), ..part.clone() };
                    expected_counts.extend(chain(shape, &[single], &mut [y.output(overflow)]).unwrap());
                    results.push(y);
                }

                // In one chain, with every choice of what is stored.
                for stored in 0..8usize {
                    let mut parts = parts.clone();
                    let mut outputs: Vec<(usize, Stored)> = Vec::new();
                    for (k, part) in parts.iter_mut().enumerate().filter(|(k, _)| stored >> k & 1 == 1) {
                        part.output = Some(outputs.len());
                        outputs.push((k, Stored::of(formats[k], &vec![0.0; size])));
                    }
                    let mut places: Vec<Output<'_>> = outputs.iter_mut().map(|(_, y)| y.output(overflow)).collect();
                    let counts = chain(shape, &parts, &mut places).unwrap();
                    assert_eq!(counts, expected_counts, "{format} {shape:?} {stored}");
                    for (k, y) in &outputs {
                        assert!(y.codes() == results[*k].codes(), "part {k} of {format} {shape:?} {stored}");
                    }
                }
            }
        }
    }
}

/// A normalisation's gradient from what a kink behind the normalisation lets through of `dy`.
fn masked_gradient<'a>(
    [dy, x]: [Operand<'a>; 2],
    vectors: &'a [Stored],
    kink: Option<Function>,
    gradient: Function,
    rounding: [Option<(Format, Overflow)>; 3],
) -> Vec<Part<'a>> {
    let channels = |count: usize| vectors.iter().take(count).map(|v| Operand::Channel(v.elements()));
    let normalize = std::iter::once(x).chain(channels(4)).collect();
    let mut parts = vec![part(Function::Normalize { epsilon: EPSILON }, normalize, rounding[0], None)];
    parts.extend(kink.map(|kink| part(kink, vec![Operand::Part(0)], rounding[0], None)));
    let before = parts.len() - 1;
    parts.push(part(gradient, vec![dy, Operand::Part(before)], rounding[1], None));
    let of_input = [Operand::Part(before + 1), x].into_iter().chain(channels(5)).collect();
    parts.push(part(Function::NormalizeGradInput { epsilon: EPSILON }, of_input, rounding[2], Some(0)));
    parts
}

#[test]
fn gradients_pass_where_kinks_behind_normalisations_let_them() {
    let kinks = [
        (Some(Function::Relu), Function::ReluGrad),
        (Some(Function::Clip { min: 0.0, max: 1.75 }), Function::ClipGrad { min: 0.0, max: 1.75 }),
        (None, Function::ReluGrad),
        (Some(Function::Relu), Function::ClipGrad { min: -1.0, max: 0.3 }),
        (Some(Function::Clip { min: -0.5, max: 2.0 }), Function::ClipGrad { min: -0.5, max: 2.0 }),
    ];
    let (low, high, exact) = (Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD, Format::FP32);
    let choices = [
        [exact, exact, exact, exact, exact],
        [low, high, low, high, high],
        [low, high, exact, exact, high],
        [low, low, exact, low, high],
        [Format::BF16, high, Format::BF16, high, high],
        [low, high, low, Format::FP16, Format::BF16],
    ];
    for ((shape, (kink, gradient)), [of_x, of_dy, first, second, last]) in SHAPES
        .into_iter()
        .flat_map(|shape| kinks.map(|kink| (shape, kink)))
        .flat_map(|case| choices.map(|formats| (case, formats)))
    {
        let size: usize = shape.iter().product();
        let wide = |seed, by: f32| {
            let mut x: Vec<f32> = numbers(size, seed).iter().map(|x| x * by).collect();
            x.iter_mut().step_by(61).for_each(|x| *x = f32::NAN);
            x.iter_mut().step_by(17).for_each(|x| *x *= 100.0);
            x
        };
        let (x, dy) = (Stored::of(of_x, &wide(1, 3.0)), Stored::of(of_dy, &wide(2, 0.01)));
        let vectors: Vec<Stored> = (3..8)
            .map(|seed| Stored::of(exact, &numbers(shape[1], seed).iter().map(|x| x.abs()).collect::<Vec<_>>()))
            .collect();
        let rounding = |format, overflow| (format != exact).then_some((format, overflow));
        let roundings = [
            rounding(first, Overflow::Saturate),
            rounding(second, Overflow::NotFinite),
            rounding(last, Overflow::NotFinite),
        ];
        let [each_dy, each_x] = [&dy, &x].map(|x| Operand::Elements(x.elements()));
        let parts = masked_gradient([each_dy, each_x], &vectors, kink, gradient, roundings);

        // One after the other, each result packed.
        let mut results: Vec<Stored> = Vec::new();
        let mut expected: Vec<Counts> = Vec::new();
        for part in &parts {
            let operands = part.operands.iter().map(|operand| match operand {
                Operand::Part(j) => Operand::Elements(results[*j].elements()),
                other => *other,
            });
            let single = Part { operands: operands.collect(), output: Some(0), ..part.clone() };
            let (result, counts) = run(shape, &[single], None);
            expected.extend(counts);
            results.push(result);
        }
        let bits =
            |x: &Stored| x.numbers().iter().map(|x| if x.is_nan() { 1 } else { x.to_bits() }).collect::<Vec<_>>();
        let case = format!("{shape:?} {kink:?} {gradient:?} {of_x} {of_dy} {first} {second} {last}");
        let (found, counts) = run(shape, &parts, None);
        assert_eq!(counts, expected, "{case}");
        assert!(bits(&found) == bits(&results[parts.len() - 1]), "{case}");

        // The same in the place of either operand.
        if of_dy == last {
            let parts = masked_gradient([Operand::Output(0), each_x], &vectors, kink, gradient, roundings);
            let (found, counts) = run(shape, &parts, Some(&dy));
            assert!(counts == expected && bits(&found) == bits(&results[parts.len() - 1]), "{case} in place of dy");
        }
        if of_x == last {
            let parts = masked_gradient([each_dy, Operand::Output(0)], &vectors, kink, gradient, roundings);
            let (found, counts) = run(shape, &parts, Some(&x));
            assert!(counts == expected && bits(&found) == bits(&results[parts.len() - 1]), "{case} in place of x");
        }
    }
}

/// The result of a chain's last part, where another tensor may have been, and the counts.
fn run(shape: [usize; 3], parts: &[Part<'_>], before: Option<&Stored>) -> (Stored, Vec<Counts>) {
    let (format, overflow) = parts.last().unwrap().rounding.unwrap_or((Format::FP32, Overflow::NotFinite));
    let mut y = before.cloned().unwrap_or_else(|| Stored::of(format, &vec![0.0; shape.iter().product()]));
    if format == Format::FP32 {
        let mut numbers = y.numbers();
        let counts = chain(shape, parts, &mut [Output::from(&mut numbers[..])]).unwrap();
        return (Stored::of(format, &numbers), counts);
    }
    let counts = chain(shape, parts, &mut [y.output(overflow)]).unwrap();
    (y, counts)
}

#[test]
fn an_optimizer_step_in_place() {
    for (size, low) in [(20_000, Format::PAPER_LOW_FORWARD), (5, Format::BF16), (4099, Format::PAPER_HIGH)] {
        let (velocity, master) = (numbers(size, 1), numbers(size, 2));
        let gradient = Stored::of(Format::PAPER_HIGH, &numbers(size, 3));
        let sgd = Function::SgdVelocity { momentum: 0.9, weight_decay: 5e-4 };
        let each = |x: &[f32]| Given::Each(Stored::of(Format::FP32, x));
        let shape = [1, 1, size];
        let velocity_after =
            plain(sgd, &[each(&velocity), each(&master), each(&gradient.numbers()), Given::Scalar(0.25)], shape);
        let master_after =
            plain(Function::SgdParameter, &[each(&master), each(&velocity_after), Given::Scalar(0.1)], shape);
        let (rounded, counts) = Stored::new(low, Overflow::Saturate, &master_after);

        let (mut v, mut p, mut y) = (velocity.clone(), master.clone(), Stored::of(low, &vec![0.0; size]));
        let operands =
            vec![Operand::Output(0), Operand::Output(1), Operand::Elements(gradient.elements()), Operand::Scalar(0.25)];
        let parts = [
            part(sgd, operands, None, Some(0)),
            part(
                Function::SgdParameter,
                vec![Operand::Output(1), Operand::Part(0), Operand::Scalar(0.1)],
                None,
                Some(1),
            ),
            part(Function::Copy, vec![Operand::Part(1)], Some((low, Overflow::Saturate)), Some(2)),
        ];
        let mut places = [v.as_mut_slice().into(), p.as_mut_slice().into(), y.output(Overflow::Saturate)];
        let found = chain(shape, &parts, &mut places).unwrap();
        assert_eq!(found, [Counts::default(), Counts::default(), counts]);
        assert_eq!((v, p), (velocity_after, master_after));
        assert!(y.codes() == rounded.codes());
    }
}

#[test]
fn packed_operands_are_overwritten_in_place() {
    for format in FORMATS {
        for shape in SHAPES {
            let size = shape.iter().product();
            let (x, b) = (Stored::of(format, &numbers(size, 1)), Stored::of(format, &numbers(size, 2)));
            let bias = Stored::of(format, &numbers(shape[1], 3));
            let rounding = Some((format, Overflow::Saturate));
            let parts = |x, old| {
                [
                    part(Function::Add, vec![x, Operand::Channel(bias.elements())], rounding, Some(0)),
                    // What the output held before, though an earlier part wrote it.
                    part(Function::Mul, vec![Operand::Part(0), old], rounding, Some(1)),
                ]
            };
            let run = |parts: &[Part<'_>], mut a: Stored, mut b: Stored| {
                chain(shape, parts, &mut [a.output(Overflow::Saturate), b.output(Overflow::Saturate)]).unwrap();
                (a.codes(), b.codes())
            };
            let apart = parts(Operand::Elements(x.elements()), Operand::Elements(x.elements()));
            let expected = run(&apart, b.clone(), b.clone());
            assert!(run(&parts(Operand::Output(0), Operand::Output(0)), x.clone(), b.clone()) == expected);
            assert!(run(&parts(Operand::Output(1), Operand::Output(1)), b.clone(), x.clone()) == expected);
        }
    }
}

#[test]
fn gradients_overwrite_either_operand() {
    let low = Format::PAPER_LOW_BACKWARD;
    for (size, function) in [(10_001, Function::ReluGrad), (70_000, Function::ClipGrad { min: -0.5, max: 0.5 })] {
        let shape = [1, 1, size];
        let (dy, x) = (Stored::of(low, &numbers(size, 1)), Stored::of(low, &numbers(size, 2)));
        let given = [Given::Each(dy.clone()), Given::Each(x.clone())].map(|given| given.unpacked());
        let expected = Stored::of(low, &plain(function, &given, shape)).codes();
        let run = |operands: Vec<Operand<'_>>, mut y: Stored| {
            let parts = [part(function, operands, Some((low, Overflow::Saturate)), Some(0))];
            chain(shape, &parts, &mut [y.output(Overflow::Saturate)]).unwrap();
            y.codes()
        };
        let [each_dy, each_x] = [&dy, &x].map(|x| Operand::Elements(x.elements()));
        assert!(run(vec![Operand::Output(0), each_x], dy.clone()) == expected);
        assert!(run(vec![each_dy, Operand::Output(0)], x.clone()) == expected);
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let shape = [16, 30, 256];
    let size = shape.iter().product();
    let (x, skip) =
        (Stored::of(Format::PAPER_LOW_FORWARD, &numbers(size, 1)), Stored::of(Format::FP16, &numbers(size, 2)));
    let vectors: Vec<Stored> = (3..7)
        .map(|seed| Stored::of(Format::FP32, &numbers(30, seed).iter().map(|x| x.abs()).collect::<Vec<_>>()))
        .collect();
    let low = (Format::PAPER_LOW_FORWARD, Overflow::Saturate);
    same_for_any_threads(|| {
        let mut parts = residual(&x, &skip, &vectors, [low; 3]);
        parts[1].output = Some(0);
        let tanh = part(Function::Tanh, vec![Operand::Part(2)], None, Some(1));
        parts.push(tanh);
        let (mut sum, mut y) = (Stored::of(low.0, &vec![0.0; size]), vec![0.0; size]);
        let counts = chain(shape, &parts, &mut [sum.output(low.1), y.as_mut_slice().into()]).unwrap();
        y.extend(sum.numbers());
        y.extend(counts.iter().map(|counts| (counts.overflow + counts.underflow) as f32));
        y
    });
}

#[test]
fn wrong_chains_are_refused() {
    let x = vec![0.0; 6];
    let each = || Operand::Elements(Elements::from(x.as_slice()));
    let short = || Operand::Elements(Elements::from(&x[..5]));
    let low = Some((Format::PAPER_LOW_FORWARD, Overflow::Saturate));
    let message = |parts: &[Part<'_>], outputs: usize| {
        let mut y = vec![vec![7.0f32; 6]; outputs];
        let mut places: Vec<Output<'_>> = y.iter_mut().map(|y| Output::from(y.as_mut_slice())).collect();
        let message = chain([1, 2, 3], parts, &mut places).unwrap_err().to_string();
        assert!(y.iter().flatten().all(|&y| y == 7.0));
        message
    };
    let copy = |operand, rounding, output| part(Function::Copy, vec![operand], rounding, output);
    let cases = [
        (vec![part(Function::Add, vec![each()], None, Some(0))], 1, "has 1 operand(s) where it needs 2"),
        (vec![copy(short(), None, Some(0))], 1, "holds 5 elements where its shape needs 6"),
        (vec![copy(Operand::Channel(Elements::from(x.as_slice())), None, Some(0))], 1, "needs 2"),
        (vec![copy(Operand::Part(0), None, Some(0))], 1, "reads part 0"),
        (vec![copy(Operand::Output(1), None, Some(0))], 1, "reads output 1 of 1"),
        (vec![copy(each(), None, Some(1))], 1, "writes output 1 of 1"),
        (vec![copy(each(), None, Some(0))], 2, "0 parts write output 1"),
        (vec![copy(each(), None, Some(0)), copy(each(), None, Some(0))], 1, "2 parts write output 0"),
        (vec![copy(each(), low, Some(0))], 1, "rounds as"),
        (vec![part(Function::SgdParameter, vec![each(); 3], None, Some(0))], 1, "`learning_rate` as one number"),
        (
            vec![part(Function::Normalize { epsilon: 0.0 }, vec![each(); 5], None, Some(0))],
            1,
            "`mean` as one number for",
        ),
    ];
    for (parts, outputs, expected) in cases {
        let message = message(&parts, outputs);
        assert!(message.contains(expected), "{message} does not say {expected}");
    }
}
