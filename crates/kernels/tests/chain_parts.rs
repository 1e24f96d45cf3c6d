//! Chains against their parts one after the other.
#![allow(clippy::unwrap_used)]

mod chains;
mod common;
mod stored;

use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_kernels::*;
use chains::{EPSILON, SHAPES, part};
use common::{numbers, same_for_any_threads};
use stored::{FORMATS, Stored};

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
    kink: Option<&Function>,
    gradient: &Function,
    rounding: [Option<(Format, Overflow)>; 3],
) -> Vec<Part<'a>> {
    let channels = |count: usize| vectors.iter().take(count).map(|v| Operand::Channel(v.elements()));
    let normalize = std::iter::once(x).chain(channels(4)).collect();
    let mut parts = vec![part(Function::Normalize { epsilon: EPSILON }, normalize, rounding[0], None)];
    parts.extend(kink.map(|kink| part(kink.clone(), vec![Operand::Part(0)], rounding[0], None)));
    let before = parts.len() - 1;
    parts.push(part(gradient.clone(), vec![dy, Operand::Part(before)], rounding[1], None));
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
        .flat_map(|shape| kinks.each_ref().map(|kink| (shape, kink)))
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
        let parts = masked_gradient([each_dy, each_x], &vectors, kink.as_ref(), gradient, roundings);

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
            let parts = masked_gradient([Operand::Output(0), each_x], &vectors, kink.as_ref(), gradient, roundings);
            let (found, counts) = run(shape, &parts, Some(&dy));
            assert!(counts == expected && bits(&found) == bits(&results[parts.len() - 1]), "{case} in place of dy");
        }
        if of_x == last {
            let parts = masked_gradient([each_dy, Operand::Output(0)], &vectors, kink.as_ref(), gradient, roundings);
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
