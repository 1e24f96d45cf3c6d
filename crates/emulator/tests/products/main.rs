//! Convolutions and their gradients on tensor cores against sums in FP64, over random shapes and formats.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod cases;
mod seeded;

use bitbudget_cuda::{Epilogue, Kernel, Pass, Precision, Product, file};
use bitbudget_emulator::{Machine, Module, TensorCore};
use bitbudget_formats::{Format, Rounder, pack_u8, pack_u16};
use cases::{Case, case, every_code, in_parts};
use fastrand::Rng;

/// Cases whose kernels are compiled together.
const TOGETHER: usize = 50;

/// Compiles the kernels of cases, each once, and runs each case twice, storing FP32 numbers and codes.
fn check(cases: &[Case]) {
    let mut found: Vec<Product> = Vec::new();
    let mut kernel = |product: Product| {
        let at = found.iter().position(|other| *other == product).unwrap_or(found.len());
        let kernel = product.kernel(&format!("product_{at}"));
        if at == found.len() {
            found.push(product.clone());
        }
        (kernel, product)
    };
    let kernels: Vec<(Kernel, Product)> = cases
        .iter()
        .flat_map(|case| {
            let exact = Product { epilogue: Epilogue::FP32, ..case.product.clone() };
            [kernel(exact), kernel(case.product.clone())]
        })
        .collect();
    let sources: Vec<Kernel> =
        found.iter().enumerate().map(|(at, product)| product.kernel(&format!("product_{at}"))).collect();
    let mut module = Module::compile(&file(&sources)).unwrap();
    for (i, case) in cases.iter().enumerate() {
        let core = if i % 2 == 0 { TensorCore::HOPPER } else { TensorCore::AMPERE };
        let machine = Machine { tensor_core: core, resident: 2, seed: i as u64, records_traffic: false };
        let (kernel, product) = &kernels[2 * i];
        let (bytes, _) = case.run(&mut module, product, kernel, &machine);
        let found: Vec<f32> = bytes.chunks_exact(4).map(|x| f32::from_ne_bytes(x.try_into().unwrap())).collect();
        for (found, (sum, magnitude)) in found.iter().zip(case.expected()) {
            // Each of the products' blocks cuts off less than a unit in the last place of the largest sum.
            let split = if product.precision == Precision::Split { magnitude * 2f64.powi(-20) } else { 0.0 };
            let tolerance =
                split + magnitude * 2f64.powi(-23) * (4.0 + case.sizes.product(product.pass)[2] as f64 / 16.0);
            let off = (f64::from(*found) - sum).abs();
            assert!(off <= tolerance, "{:?} {:?}: {found}, not {sum}", product.pass, case.sizes);
        }
        let (kernel, product) = &kernels[2 * i + 1];
        let (codes, counts) = case.run(&mut module, product, kernel, &machine);
        let (format, overflow, _) = product.epilogue.rounding.unwrap();
        let mut results = found;
        let expected = match format.bytes() {
            1 => {
                let mut codes = vec![0; results.len()];
                pack_u8(format, overflow, &results, &mut codes).unwrap();
                codes
            }
            _ => {
                let mut codes = vec![0; results.len()];
                pack_u16(format, overflow, &results, &mut codes).unwrap();
                codes.iter().flat_map(|code| code.to_ne_bytes()).collect()
            }
        };
        assert_eq!(codes, expected, "{:?}", case.sizes);
        assert_eq!(counts, Rounder::new(format, overflow).round_slice(&mut results), "{:?}", case.sizes);
    }
}

/// How many kinds of cases are among some: sides that are aligned, precisions, groups, matrices.
fn kinds(pass: Pass, cases: &[Case]) -> usize {
    let aligned = |case: &Case| case.product.sides.iter().filter(|side| side.is_aligned).count();
    let precisions = [Precision::Bf16, Precision::Fp16, Precision::Tf32, Precision::Split];
    let any = |is: &dyn Fn(&Case) -> bool| usize::from(cases.iter().any(is));
    let sides: usize = (0..3)
        .map(|sides| usize::from(pass == Pass::Forward && sides == 1) | any(&|case| aligned(case) == sides))
        .sum();
    let precisions: usize = precisions.iter().map(|&of| any(&|case| case.product.precision == of)).sum();
    sides + precisions + any(&|case| case.sizes.groups > 1) + any(&|case| case.sizes.count > 1)
}

/// Random cases, and some more until all kinds are among them.
fn random(pass: Pass, count: usize) {
    let mut rng = Rng::with_seed(7 + pass as u64);
    let mut cases: Vec<Case> = (0..bitbudget_testkit::cases(count)).map(|_| case(&mut rng, pass, 40)).collect();
    while kinds(pass, &cases) < 9 {
        let before = kinds(pass, &cases);
        cases.push(case(&mut rng, pass, 40));
        if kinds(pass, &cases) == before {
            cases.pop();
        }
    }
    cases.chunks(TOGETHER).for_each(check);
}

#[test]
fn convolutions_of_random_shapes_and_formats_are_right() {
    random(Pass::Forward, 26);
}

#[test]
fn gradients_of_inputs_of_random_shapes_and_formats_are_right() {
    random(Pass::GradInput, 26);
}

#[test]
fn gradients_of_weights_of_random_shapes_and_formats_are_right() {
    random(Pass::GradWeight, 26);
}

#[test]
fn parts_of_gradients_of_weights_add_up() {
    let case = in_parts();
    assert!(case.product.in_parts && case.sizes.parts(Pass::GradWeight) == 3);
    check(&[case]);
}

#[test]
fn every_code_of_a_byte_is_multiplied_as_its_number() {
    let custom = |(e, m, b)| Format::custom(e, m, b).unwrap();
    let mut formats = vec![Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD, Format::E4M3, Format::E5M2];
    formats.extend([(2, 5, 0), (3, 4, -3), (6, 1, 7), (4, 3, -8), (5, 2, 90)].map(custom));
    let cases: Vec<Case> = formats.iter().map(|&format| every_code(format)).collect();
    let kernel = |(i, case): (usize, &Case)| case.product.kernel(&format!("codes_{i}"));
    let kernels: Vec<Kernel> = cases.iter().enumerate().map(kernel).collect();
    let mut module = Module::compile(&file(&kernels)).unwrap();
    for (case, (kernel, format)) in cases.iter().zip(kernels.iter().zip(formats)) {
        let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 1, seed: 1, records_traffic: false };
        let (bytes, _) = case.run(&mut module, &case.product, kernel, &machine);
        for (code, row) in bytes.chunks_exact(32).enumerate() {
            let (found, expected) = (f32::from_ne_bytes(row[..4].try_into().unwrap()), case.operands[0][8 * code]);
            assert!(
                found == expected || found.is_nan() && expected.is_nan(),
                "{format} {code:#x}: {found}, not {expected}"
            );
        }
    }
}
