//! Chains of elementwise functions: against formulas in double precision, and packed against not packed.
#![allow(clippy::unwrap_used)]

mod chains;
mod common;
mod stored;

use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_kernels::*;
use chains::{EPSILON, SHAPES, part};
use common::{assert_close, numbers};
use stored::{FORMATS, Stored};

/// Which operand is how shaped: e each, c channel, s scalar.
type Case = (Function, &'static str, fn(&[f64], f64) -> f64);

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Every function and its formula; the second argument is `n * s`.
const FORMULAS: &[Case] = &[
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
fn squared(function: &Function, index: usize) -> bool {
    let variance = match function {
        Function::Normalize { .. } => 2,
        Function::NormalizeMask { .. } | Function::NormalizeGradInput { .. } => 3,
        _ => return false,
    };
    index == variance
}

/// Operands of these kinds; `wild` ones hold NaN and overflow small formats.
fn given(function: &Function, kinds: &str, shape: [usize; 3], format: Format, wild: bool) -> Vec<Given> {
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

/// One function on FP32 numbers, not rounded.
fn plain(function: &Function, given: &[Given], shape: [usize; 3]) -> Vec<f32> {
    let mut y = vec![f32::NAN; shape.iter().product()];
    let operands = given.iter().map(Given::operand).collect();
    chain(shape, &[part(function.clone(), operands, None, Some(0))], &mut [Output::from(y.as_mut_slice())]).unwrap();
    y
}

#[test]
fn functions_are_their_formulas() {
    for (function, kinds, formula) in FORMULAS {
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
    for (function, kinds, _) in FORMULAS {
        for format in FORMATS {
            for shape in SHAPES {
                for overflow in [Overflow::Saturate, Overflow::NotFinite] {
                    let given = given(function, kinds, shape, format, true);
                    let unpacked: Vec<Given> = given.iter().map(Given::unpacked).collect();
                    let (expected, counts) = Stored::new(format, overflow, &plain(function, &unpacked, shape));
                    let mut y = Stored::of(format, &vec![f32::NAN; shape.iter().product()]);
                    let operands = given.iter().map(Given::operand).collect();
                    let parts = [part(function.clone(), operands, Some((format, overflow)), Some(0))];
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
    let one = |function: &Function, operands: &[&[f32]]| {
        let mut y = vec![9.0; operands[0].len()];
        let each = operands.iter().map(|x| Operand::Elements(Elements::from(*x))).collect();
        chain([1, 1, y.len()], &[part(function.clone(), each, None, Some(0))], &mut [Output::from(y.as_mut_slice())])
            .unwrap();
        y
    };
    for (function, kinds, _) in FORMULAS.iter().filter(|(_, kinds, _)| kinds.len() == 1) {
        assert!(one(function, &[&[f32::NAN]])[0].is_nan(), "{function:?} {kinds} hides a NaN");
    }
    let (dy, x) = ([1.0, 2.0, 3.0, 4.0, 5.0], [-1.0, 0.0, 0.5, 1.0, 2.0]);
    assert_eq!(one(&Function::ReluGrad, &[&dy, &x]), [0.0, 0.0, 3.0, 4.0, 5.0]);
    assert_eq!(one(&Function::ClipGrad { min: 0.0, max: 1.0 }, &[&dy, &x]), [0.0, 0.0, 3.0, 0.0, 0.0]);
    assert_eq!(one(&Function::LeakyReluGrad { alpha: 0.5 }, &[&dy, &x]), [0.5, 1.0, 3.0, 4.0, 5.0]);
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
    let erf = Formula::new(vec![Word::Operand(0), Word::Erf], 1).unwrap();
    /// A function, the units in the last place that it may be off, and the exact one.
    type Case = (Function, f64, fn(f64) -> f64);
    let [sin, cos, log_1p] =
        [Word::Sin, Word::Cos, Word::Log1p].map(|word| Formula::new(vec![Word::Operand(0), word], 1).unwrap());
    let formulas: [Case; 7] = [
        (Function::Formula(erf.into()), 2.0, libm::erf),
        (Function::Formula(sin.into()), 1.0, libm::sin),
        (Function::Formula(cos.into()), 1.0, libm::cos),
        (Function::Formula(log_1p.into()), 1.0, libm::log1p),
        (Function::Exp, 2.0, f64::exp),
        (Function::Tanh, 2.0, f64::tanh),
        (Function::Sigmoid, 2.5, |x| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }),
    ];
    for (function, bound, exact) in formulas {
        let mut y = vec![9.0; x.len()];
        let operands = vec![Operand::Elements(Elements::from(x.as_slice()))];
        let parts = [part(function.clone(), operands, None, Some(0))];
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

#[test]
fn an_optimizer_step_in_place() {
    for (size, low) in [(20_000, Format::PAPER_LOW_FORWARD), (5, Format::BF16), (4099, Format::PAPER_HIGH)] {
        let (velocity, master) = (numbers(size, 1), numbers(size, 2));
        let gradient = Stored::of(Format::PAPER_HIGH, &numbers(size, 3));
        let sgd = Function::SgdVelocity { momentum: 0.9, weight_decay: 5e-4 };
        let each = |x: &[f32]| Given::Each(Stored::of(Format::FP32, x));
        let shape = [1, 1, size];
        let velocity_after =
            plain(&sgd, &[each(&velocity), each(&master), each(&gradient.numbers()), Given::Scalar(0.25)], shape);
        let master_after =
            plain(&Function::SgdParameter, &[each(&master), each(&velocity_after), Given::Scalar(0.1)], shape);
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
        let expected = Stored::of(low, &plain(&function, &given, shape)).codes();
        let run = |operands: Vec<Operand<'_>>, mut y: Stored| {
            let parts = [part(function.clone(), operands, Some((low, Overflow::Saturate)), Some(0))];
            chain(shape, &parts, &mut [y.output(Overflow::Saturate)]).unwrap();
            y.codes()
        };
        let [each_dy, each_x] = [&dy, &x].map(|x| Operand::Elements(x.elements()));
        assert!(run(vec![Operand::Output(0), each_x], dy.clone()) == expected);
        assert!(run(vec![each_dy, Operand::Output(0)], x.clone()) == expected);
    }
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
