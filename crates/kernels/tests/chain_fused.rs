//! Chains over 8-bit codes that run in registers, against their parts one after the other on FP32 numbers.
#![allow(clippy::unwrap_used)]

mod common;
mod stored;

use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_kernels::*;
use common::numbers;
use stored::Stored;

/// Rows of every length that has a loop of its own, with and without what is left over, and of some that have none.
const SHAPES: [[usize; 3]; 12] = [
    [3, 50, 1],
    [128, 33, 1],
    [2, 7, 4],
    [40, 70, 4],
    [9, 40, 16],
    [1, 3, 16],
    [5, 3, 49],
    [4, 6, 64],
    [2, 5, 100],
    [3, 2, 1000],
    [1, 2, 5000],
    [3, 5, 9],
];

const LOW: Format = Format::PAPER_LOW_FORWARD;
const GRADIENT: Format = Format::PAPER_LOW_BACKWARD;

/// How wild numbers are: all in range, many subnormal ones and underflows, some overflows, and NaN.
#[derive(Clone, Copy)]
enum Range {
    Normal,
    Small,
    Wide,
    NotFinite,
}

fn tensor(format: Format, size: usize, seed: u64, range: Range) -> Stored {
    let scale = |i: usize| match range {
        Range::Normal => 1.0,
        // Some blocks have only zeros, some no small number.
        Range::Small => [1.0, 0.0, 2e-3, 2e-4, 1e-5, 1e-6][i / 70 % 6] * if i.is_multiple_of(5) { 0.0 } else { 1.0 },
        Range::Wide => [1.0, 3e4, 1.0, 100.0][i / 64 % 4],
        Range::NotFinite => [1.0, 1.0, 1.0, f32::NAN, 1.0][i / 13 % 5],
    };
    Stored::of(format, &numbers(size, seed).iter().enumerate().map(|(i, x)| x * scale(i)).collect::<Vec<_>>())
}

fn part<'a>(function: Function, operands: Vec<Operand<'a>>, rounding: Option<(Format, Overflow)>) -> Part<'a> {
    Part { function, operands, rounding, output: None }
}

/// Runs a chain whose last part is stored in one go, and part by part on unpacked numbers.
#[track_caller]
fn check(what: &str, shape: [usize; 3], parts: &[Part<'_>]) {
    let size: usize = shape.iter().product();
    let mut results: Vec<Vec<f32>> = Vec::new();
    let mut expected = (Vec::new(), Stored::of(LOW, &[]));
    for part in parts {
        let unpacked: Vec<Vec<f32>> = part
            .operands
            .iter()
            .map(|operand| match *operand {
                Operand::Elements(x) | Operand::Channel(x) => {
                    let mut numbers = vec![0.0; x.len()];
                    x.copy_to(&mut numbers).unwrap();
                    numbers
                }
                Operand::Part(i) => results[i].clone(),
                _ => vec![],
            })
            .collect();
        let operands = part.operands.iter().zip(&unpacked).map(|(operand, x)| match *operand {
            Operand::Elements(_) | Operand::Part(_) => Operand::Elements(Elements::from(x.as_slice())),
            Operand::Channel(_) => Operand::Channel(Elements::from(x.as_slice())),
            other => other,
        });
        let mut y = vec![f32::NAN; size];
        let single =
            Part { function: part.function.clone(), operands: operands.collect(), rounding: None, output: Some(0) };
        chain(shape, &[single], &mut [Output::from(y.as_mut_slice())]).unwrap();
        match part.rounding {
            Some((format, overflow)) => {
                let (codes, counts) = Stored::new(format, overflow, &y);
                results.push(codes.numbers());
                expected.0.push(counts);
                expected.1 = codes;
            }
            None => {
                results.push(y);
                expected.0.push(Counts::default());
            }
        }
    }
    let (format, overflow) = parts.last().unwrap().rounding.unwrap();
    let mut y = Stored::of(format, &vec![f32::NAN; size]);
    let mut parts = parts.to_vec();
    parts.last_mut().unwrap().output = Some(0);
    let counts = chain(shape, &parts, &mut [y.output(overflow)]).unwrap();
    assert_eq!(counts, expected.0, "{what} {shape:?} {overflow:?}");
    assert!(y.codes() == expected.1.codes(), "{what} {shape:?} {overflow:?}");
}

fn each_case(f: impl Fn([usize; 3], Range, Overflow)) {
    for shape in SHAPES {
        for range in [Range::Normal, Range::Small, Range::Wide, Range::NotFinite] {
            for overflow in [Overflow::Saturate, Overflow::NotFinite] {
                f(shape, range, overflow);
            }
        }
    }
}

#[test]
fn sums_and_their_kinks() {
    each_case(|shape, range, overflow| {
        let size = shape.iter().product();
        let terms: Vec<Stored> = (0..4).map(|seed| tensor(GRADIENT, size, seed, range)).collect();
        let y = tensor(LOW, size, 9, if matches!(range, Range::Wide) { Range::NotFinite } else { range });
        let rounding = Some((GRADIENT, overflow));
        let kinks = [
            Function::ReluGrad,
            Function::ClipGrad { min: 0.0, max: 0.5 },
            Function::ClipGrad { min: 0.0, max: 0.3 },
            Function::LeakyReluGrad { alpha: 0.5 },
        ];
        for count in 1..=4 {
            let operands: Vec<_> = terms[..count].iter().map(|x| Operand::Elements(x.elements())).collect();
            check("sum", shape, &[part(Function::Sum, operands.clone(), rounding)]);
            for function in kinks.clone() {
                let gradient = part(function, vec![Operand::Part(0), Operand::Elements(y.elements())], rounding);
                check("sum and kink", shape, &[part(Function::Sum, operands.clone(), None), gradient]);
            }
        }
        for function in kinks.clone() {
            let operands = vec![Operand::Elements(terms[0].elements()), Operand::Elements(y.elements())];
            check("kink", shape, &[part(function, operands, rounding)]);
        }
    });
}

/// Means, variances, scales and so on of channels, which are positive.
fn channels(c: usize, count: u64, scale: f32) -> Vec<Vec<f32>> {
    (0..count).map(|seed| numbers(c, 20 + seed).iter().map(|x| x.abs() * scale + 0.01).collect()).collect()
}

fn channel_operands(channels: &[Vec<f32>]) -> impl Iterator<Item = Operand<'_>> {
    channels.iter().map(|x| Operand::Channel(Elements::from(x.as_slice())))
}

#[test]
fn gradients_of_normalisation() {
    each_case(|shape, range, overflow| {
        let size = shape.iter().product();
        let (dy, x) = (tensor(GRADIENT, size, 1, range), tensor(LOW, size, 2, range));
        let vectors = channels(shape[1], 5, if matches!(range, Range::Small) { 0.1 } else { 1.0 });
        let each = [&dy, &x].map(|x| Operand::Elements(x.elements()));
        let operands = each.into_iter().chain(channel_operands(&vectors)).collect();
        let gradient = Function::NormalizeGradInput { epsilon: 1e-5 };
        check("gradient", shape, &[part(gradient, operands, Some((GRADIENT, overflow)))]);
    });
}

#[test]
fn normalisation_with_what_follows() {
    each_case(|shape, range, overflow| {
        let size = shape.iter().product();
        let (x, skip) = (tensor(LOW, size, 1, range), tensor(LOW, size, 2, range));
        let vectors = channels(shape[1], 4, 1.0);
        let rounding = Some((LOW, overflow));
        let operands: Vec<_> =
            std::iter::once(Operand::Elements(x.elements())).chain(channel_operands(&vectors)).collect();
        let normalize = part(Function::Normalize { epsilon: 1e-5 }, operands, rounding);
        let skip = Operand::Elements(skip.elements());
        let clamps = [
            Function::Relu,
            Function::Clip { min: 0.0, max: 6.0 },
            Function::Clip { min: 0.0, max: 0.3 },
            Function::Clip { min: -1.0, max: 6.0 },
        ];
        check("normalize", shape, std::slice::from_ref(&normalize));
        for function in clamps {
            let clamp = |i| part(function.clone(), vec![Operand::Part(i)], rounding);
            check("normalize, clamp", shape, &[normalize.clone(), clamp(0)]);
            for operands in [[Operand::Part(0), skip], [skip, Operand::Part(0)]] {
                let add = part(Function::Add, operands.to_vec(), rounding);
                check("normalize, add", shape, &[normalize.clone(), add.clone()]);
                check("normalize, add, clamp", shape, &[normalize.clone(), add, clamp(1)]);
            }
            let other = part(function, vec![Operand::Part(0)], Some((GRADIENT, overflow)));
            check("normalize, clamp in another format", shape, &[normalize.clone(), other]);
        }
    });
}
