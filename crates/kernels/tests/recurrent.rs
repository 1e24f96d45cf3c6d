//! Recurrent layers: the same bits for any number of threads, and a plain LSTM in FP64.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its functions too")]

use bitbudget_formats::{Format, Overflow, pack_u8};
use bitbudget_kernels::{
    Activation, Elements, Output, Recurrent, RecurrentCell, RecurrentGradient, RecurrentOperands, recurrent,
    recurrent_grad, recurrent_grad_workspace, recurrent_workspace,
};
use std::ops::Range;

const CELLS: [RecurrentCell; 4] = [
    RecurrentCell::Lstm { input_forget: false },
    RecurrentCell::Gru { linear_before_reset: false },
    RecurrentCell::Gru { linear_before_reset: true },
    RecurrentCell::Rnn,
];

/// Numbers without pattern from -0.5 to 0.5.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i + 1) * (2 * seed + 7)) as f64 * 0.618_033_988_7).fract() as f32 - 0.5).collect()
}

/// Gates, states of a step, vectors of the gradient, activations.
fn counts(cell: RecurrentCell) -> [usize; 4] {
    match cell {
        RecurrentCell::Lstm { .. } => [4, 2, 4, 3],
        RecurrentCell::Gru { linear_before_reset: false } => [3, 2, 3, 2],
        RecurrentCell::Gru { linear_before_reset: true } => [3, 1, 4, 2],
        RecurrentCell::Rnn => [1, 1, 1, 1],
    }
}

fn layer(cell: RecurrentCell, reversed: &[bool]) -> Recurrent {
    let functions = [Activation::Sigmoid, Activation::Tanh, Activation::Tanh];
    let used = &functions[..counts(cell)[3]];
    Recurrent {
        cell,
        steps: 7,
        batch: 37,
        inputs: 24,
        hidden: 40,
        reversed: reversed.to_vec(),
        activations: reversed.iter().flat_map(|_| used.to_vec()).collect(),
        clip: 0.0,
    }
}

/// The rows of some examples of an array `[.., N, inner]`.
fn rows(all: &[f32], of: usize, inner: usize, examples: &Range<usize>) -> Vec<f32> {
    let each = all.chunks(of * inner);
    each.flat_map(|all| all[examples.start * inner..examples.end * inner].to_vec()).collect()
}

/// States and the gradients of gates and initial states of some examples out of `of`, with so many threads.
fn all(cell: RecurrentCell, threads: usize, of: usize, examples: Range<usize>) -> [Vec<f32>; 3] {
    let g = Recurrent { batch: examples.len(), ..layer(cell, &[false, true]) };
    let [gates, states, vectors, _] = counts(cell);
    let Recurrent { steps, batch, inputs, hidden, .. } = g;
    let picked =
        |outer: usize, inner: usize, seed: usize| rows(&numbers(outer * of * inner, seed), of, inner, &examples);
    let (x, w) = (picked(steps, inputs, 1), numbers(2 * gates * hidden * inputs, 2));
    let (r, b) = (numbers(2 * gates * hidden * hidden, 3), numbers(4 * gates * hidden, 4));
    let (h, c) = (picked(2, hidden, 5), picked(2, hidden, 6));
    let lengths: Vec<f32> = examples.clone().map(|example| (example % (steps + 1)) as f32).collect();
    let operands = RecurrentOperands {
        x: x.as_slice().into(),
        w: w.as_slice().into(),
        r: r.as_slice().into(),
        bias: Some(b.as_slice().into()),
        lengths: Some(&lengths),
        hidden: Some(h.as_slice().into()),
        cell: matches!(cell, RecurrentCell::Lstm { .. }).then(|| c.as_slice().into()),
        peepholes: None,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut y = vec![0.0; states * steps * 2 * batch * hidden];
        let mut workspace = vec![f32::NAN; recurrent_workspace(&g)];
        recurrent(&g, &operands, &mut y.as_mut_slice().into(), &mut workspace).unwrap();
        let dy = picked(states * steps * 2, hidden, 8);
        let mut workspace = vec![f32::NAN; recurrent_grad_workspace(&g)];
        let [d_gates, d_hidden] = [
            (RecurrentGradient::Gates, steps * batch * 2 * vectors * hidden),
            (RecurrentGradient::Hidden, 2 * batch * hidden),
        ]
        .map(|(by, len)| {
            let mut result = vec![f32::NAN; len];
            let given = [dy.as_slice().into(), y.as_slice().into()];
            recurrent_grad(&g, by, given, &operands, &mut result.as_mut_slice().into(), &mut workspace).unwrap();
            result
        });
        [y, d_gates, d_hidden]
    })
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for cell in CELLS {
        let one = all(cell, 1, 37, 0..37);
        assert!(one.iter().flatten().all(|x| x.is_finite()), "{cell:?}");
        for threads in [2, 5] {
            assert_eq!(all(cell, threads, 37, 0..37), one, "{cell:?} with {threads} threads");
        }
    }
}

#[test]
fn examples_do_not_depend_on_what_goes_through_the_steps_with_them() {
    let (of, some) = (150, 50..140);
    for cell in CELLS {
        let [y, d_gates, d_hidden] = all(cell, 2, of, 0..of);
        let [gates, _, vectors, _] = counts(cell);
        let hidden = d_hidden.len() / (2 * of);
        let expected = [(y, hidden), (d_gates, 2 * vectors * hidden), (d_hidden, hidden)];
        for ((whole, inner), found) in expected.iter().zip(all(cell, 2, of, some.clone())) {
            let expected = rows(whole, of, *inner, &some);
            assert_eq!(expected.len(), found.len());
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * a.abs().max(1.0);
            assert!(expected.iter().zip(&found).all(near), "{cell:?}, {gates} gates");
        }
    }
}

#[test]
fn an_lstm_is_that_of_double_precision() {
    let g = layer(CELLS[0], &[true]);
    let Recurrent { steps, batch, inputs, hidden, .. } = g;
    let (x, w, r) =
        (numbers(steps * batch * inputs, 1), numbers(4 * hidden * inputs, 2), numbers(4 * hidden * hidden, 3));
    let operands = RecurrentOperands {
        x: x.as_slice().into(),
        w: w.as_slice().into(),
        r: r.as_slice().into(),
        bias: None,
        lengths: None,
        hidden: None,
        cell: None,
        peepholes: None,
    };
    let mut y = vec![0.0; 2 * steps * batch * hidden];
    let mut workspace = vec![f32::NAN; recurrent_workspace(&g)];
    recurrent(&g, &operands, &mut y.as_mut_slice().into(), &mut workspace).unwrap();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    for example in [0, 11, 36] {
        let (mut h, mut c) = (vec![0.0f64; hidden], vec![0.0f64; hidden]);
        for t in (0..steps).rev() {
            let row = |gate: usize, i: usize| {
                let at = gate * hidden + i;
                let of_x: f64 = (0..inputs)
                    .map(|k| f64::from(x[(t * batch + example) * inputs + k]) * f64::from(w[at * inputs + k]))
                    .sum();
                of_x + (0..hidden).map(|k| h[k] * f64::from(r[at * hidden + k])).sum::<f64>()
            };
            let next: Vec<[f64; 2]> = (0..hidden)
                .map(|i| {
                    let cell = sigmoid(row(2, i)) * c[i] + sigmoid(row(0, i)) * row(3, i).tanh();
                    [sigmoid(row(1, i)) * cell.tanh(), cell]
                })
                .collect();
            for (i, [hidden_state, cell]) in next.into_iter().enumerate() {
                (h[i], c[i]) = (hidden_state, cell);
                for (kind, expected) in [hidden_state, cell].into_iter().enumerate() {
                    let found = f64::from(y[((kind * steps + t) * batch + example) * hidden + i]);
                    assert!((found - expected).abs() < 2e-6, "step {t}, example {example}: {found}, not {expected}");
                }
            }
        }
    }
}

/// Operands and results of one byte an element are those of the numbers that the bytes stand for.
#[test]
fn packed_states_and_weights_are_their_numbers() {
    let (format, overflow) = (Format::PAPER_LOW_FORWARD, Overflow::Saturate);
    for cell in CELLS {
        let g = layer(cell, &[false]);
        let [gates, states, ..] = counts(cell);
        let Recurrent { steps, batch, inputs, hidden, .. } = g;
        let given = [
            numbers(steps * batch * inputs, 1),
            numbers(gates * hidden * inputs, 2),
            numbers(gates * hidden * hidden, 3),
        ];
        let codes = given.map(|numbers| {
            let mut codes = vec![0; numbers.len()];
            pack_u8(format, overflow, &numbers, &mut codes).unwrap();
            codes
        });
        let run = |[x, w, r]: [Elements<'_>; 3], y: &mut Output<'_>| {
            let operands =
                RecurrentOperands { x, w, r, bias: None, lengths: None, hidden: None, cell: None, peepholes: None };
            let mut workspace = vec![f32::NAN; recurrent_workspace(&g)];
            recurrent(&g, &operands, y, &mut workspace).unwrap()
        };
        let packed = [0, 1, 2].map(|i| Elements::u8(format, &codes[i]).unwrap());
        let plain = packed.map(|elements| {
            let mut numbers = vec![0.0; elements.len()];
            elements.copy_to(&mut numbers).unwrap();
            numbers
        });
        let plain = [0, 1, 2].map(|i| Elements::rounded(format, &plain[i]));
        let len = states * steps * batch * hidden;
        let (mut bytes, mut rounded) = (vec![0u8; len], vec![0.0; len]);
        let of_bytes = run(packed, &mut Output::u8(format, overflow, &mut bytes).unwrap());
        let of_numbers = run(plain, &mut Output::rounded(format, overflow, &mut rounded));
        let mut unpacked = vec![0.0; len];
        Elements::u8(format, &bytes).unwrap().copy_to(&mut unpacked).unwrap();
        assert_eq!(unpacked, rounded, "{cell:?}");
        assert_eq!(of_bytes, of_numbers, "{cell:?}");
    }
}
