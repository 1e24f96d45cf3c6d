//! Sums, means and variances of channels against FP64.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_cuda::{
    Chain, ChainInput, ChainOperand, ChainPart, ChainRead, ColumnSizes, Columns, Elements, Epilogue, Parts, Statistic,
    file, packed,
};
use bitbudget_emulator::{Launch, Machine, Memory, Module, TensorCore, launch};
use bitbudget_formats::{Format, Overflow, Rounder, pack_u8};
use bitbudget_ir::Expression;
use bitbudget_testkit::numbers;

const FORMAT: Format = Format::PAPER_LOW_FORWARD;

/// The numbers, and their products with those of their channel.
fn chain() -> Chain {
    let part = |expression, operands: &[ChainOperand]| ChainPart {
        expression,
        operands: operands.to_vec(),
        rounding: None,
        stored: None,
    };
    let product = Expression::Mul(Box::new([Expression::Operand(0), Expression::Operand(1)]));
    Chain {
        inputs: vec![
            ChainInput { elements: Elements::Codes(FORMAT), read: ChainRead::Each },
            ChainInput { elements: Elements::Fp32, read: ChainRead::Channel },
        ],
        parts: vec![
            part(product, &[ChainOperand::Input(0), ChainOperand::Input(1)]),
            part(Expression::Operand(0), &[ChainOperand::Input(0)]),
        ],
    }
}

#[test]
fn sums_and_moments_of_channels_are_right() {
    let rounded = Epilogue { elements: Elements::Fp32, ..Epilogue::counted(FORMAT, Overflow::Saturate) };
    let ends = |statistic| Parts { statistic, results: vec![Epilogue::FP32, rounded] };
    let columns = |statistic, is_aligned| Columns { chain: chain(), ends: ends(statistic), is_aligned };
    let kinds = [
        columns(Statistic::Sums(2), true),
        columns(Statistic::Sums(2), false),
        columns(Statistic::Moments, true),
        columns(Statistic::Moments, false),
    ];
    let kernels: Vec<_> = kinds.iter().enumerate().map(|(i, of)| of.kernel(&format!("columns_{i}"))).collect();
    let mut module = Module::compile(&file(&kernels)).unwrap();
    let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed: 5, records_traffic: false };
    for (rows, channels) in [(1, 1), (7, 3), (513, 4), (1300, 20), (40, 300), (1030, 129), (512, 64), (3, 128)] {
        let sizes = ColumnSizes { rows, channels };
        // Far from zero, so that squares of the numbers themselves would not do.
        let mut x: Vec<f32> = numbers(rows * channels, 3).iter().map(|x| 12.0 + x).collect();
        Rounder::new(FORMAT, Overflow::Saturate).round_slice(&mut x);
        let factors = numbers(channels, 4);
        let mut codes = vec![0; x.len()];
        pack_u8(FORMAT, Overflow::Saturate, &x, &mut codes).unwrap();
        for (columns, kernel) in kinds.iter().zip(&kernels) {
            if columns.is_aligned && channels % 4 != 0 {
                continue;
            }
            let mut memory = Memory::default();
            let tensors =
                [memory.put(&codes), memory.put(&factors.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<_>>())];
            let workspace = memory.reserve(sizes.part_sizes().workspace(columns.ends.statistic));
            let (counters, turns) = (memory.put(&[0; 24]), memory.put(&vec![0; 4 * sizes.turns()]));
            let results = [memory.reserve(4 * channels), memory.reserve(4 * channels)];
            let arguments = columns.arguments(&sizes, [&tensors, &results], [counters, workspace, turns]);
            let (blocks, shared) = (sizes.blocks(), columns.shared());
            let (threads, arguments) = (kernel.threads, &packed(&arguments));
            let call = Launch { kernel: &kernel.name, blocks, threads, shared, arguments };
            let outcome = launch(&mut module, &mut memory, &call, &machine).unwrap();
            assert!(outcome.faults.is_empty(), "{rows} {channels}: {}", outcome.faults[0]);
            assert!(memory.get(turns).unwrap().iter().all(|&byte| byte == 0), "{rows} {channels}: turns are left");
            let numbers = |at: u64| {
                let bytes = memory.get(at).unwrap();
                bytes.chunks_exact(4).map(|x| f64::from(f32::from_ne_bytes(x.try_into().unwrap()))).collect::<Vec<_>>()
            };
            let found = results.map(numbers);
            for c in 0..channels {
                let column = || (0..rows).map(|row| f64::from(x[row * channels + c]));
                let mean = column().sum::<f64>() / rows as f64;
                let expected = match columns.ends.statistic {
                    Statistic::Sums(_) => [column().sum::<f64>() * f64::from(factors[c]), column().sum()],
                    Statistic::Moments => [mean, column().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64],
                };
                // A sum has up to 256 terms in a line, and as many lines: so many roundings of 2^-24.
                let near = |found: f64, expected: f64| (found - expected).abs() <= 1.5e-5 * expected.abs() + 1e-7;
                assert!(near(found[0][c], expected[0]), "{rows} {channels} {c}: {found:?} {expected:?}");
                // The second result is rounded: to that of a number nearby.
                let nearby = |factor: f64| {
                    let mut x = [(expected[1] * factor) as f32];
                    Rounder::new(FORMAT, Overflow::Saturate).round_slice(&mut x);
                    f64::from(x[0])
                };
                let bounds = [nearby(1.0 - 1.5e-5), nearby(1.0 + 1.5e-5)];
                assert!(bounds.contains(&found[1][c]), "{rows} {channels} {c}: {found:?} {expected:?}");
            }
        }
    }
}
