//! Every operator's samples as dense operations, against the reference interpreter in FP64.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use super::{compute, round::counts};
use crate::test_device;
use bitbudget_formats::{Format, Overflow, Rounder};
use bitbudget_ir::{Array, Bindings, DType, Layout, Op, Sample, Shape, interpret, ops};
use bitbudget_program::{Buffer, Rounding, Source};
use bitbudget_testkit::{spread, values};
use candle_core::Tensor;

fn bindings(sample: &Sample) -> Bindings<f64> {
    Bindings { batch: 1, values: values(sample) }
}

fn tensor(array: &Array<f64>, dtype: DType) -> Tensor {
    let shape = array.shape.as_slice();
    match dtype {
        DType::F32 | DType::I32 | DType::Bool => {
            Tensor::from_vec(array.data.iter().map(|&x| x as f32).collect(), shape, &test_device::dense())
        }
        DType::Index8 => Tensor::from_vec(array.data.iter().map(|&x| x as u8).collect(), shape, &test_device::dense()),
    }
    .unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn buffer(shape: &[usize], format: Format) -> Buffer {
    let (name, shape, dtype) = (String::new(), shape.to_vec(), DType::F32);
    Buffer { name, shape, dtype, format, packed: false, layout: Layout::ROWS, source: Source::None, offset: None }
}

#[test]
fn every_operator_agrees_with_the_reference() {
    for (name, samples) in Op::all_samples() {
        for (case, sample) in samples.into_iter().enumerate() {
            let results = interpret(&sample.graph, &bindings(&sample)).unwrap();
            let y = sample.graph.output("y").unwrap();
            let operands = sample.graph.operands(y);
            let operands: Vec<Tensor> =
                operands.iter().map(|o| tensor(&results[o.index()], sample.graph.ty(*o).dtype)).collect();
            let expected = &results[y.index()];
            let buffer = buffer(&expected.shape, Format::FP32);
            let computed = compute(sample.graph.op(y), &operands.iter().collect::<Vec<_>>(), &buffer, None);
            let (computed, _) = computed.unwrap_or_else(|e| panic!("{name} {case}: {e}"));
            assert_eq!(computed.dims(), expected.shape, "{name} {case}");
            assert!(computed.is_contiguous(), "{name} {case}");
            for (i, (&actual, &expected)) in numbers(&computed).iter().zip(&expected.data).enumerate() {
                let tolerance = 5e-6 * (1.0 + expected.abs());
                let error = (f64::from(actual) - expected).abs();
                assert!(error < tolerance, "{name} {case}: [{i}] {actual}, not {expected}");
            }
        }
    }
}

#[test]
fn results_are_rounded_and_counted_and_operands_stay() {
    let values = [0.3f32, -1e9, 1e-9, f32::NAN, 2.0, f32::INFINITY];
    let x = Tensor::new(&values, &test_device::dense()).unwrap();
    let rounding = Rounding { overflow: Overflow::Saturate, counted: Some(1) };
    let op = ops::Cast {}.into();
    let (y, counted) = compute(&op, &[&x], &buffer(&[6], Format::PAPER_LOW_FORWARD), Some(&rounding)).unwrap();
    let counts = counts(&[counted.unwrap()]).unwrap()[0];
    let rounder = Rounder::new(Format::PAPER_LOW_FORWARD, Overflow::Saturate);
    let expected: Vec<u32> = values.iter().map(|&x| rounder.round(x).to_bits()).collect();
    assert_eq!(numbers(&y).iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected);
    assert_eq!((counts.overflow, counts.underflow, counts.not_finite), (3, 1, 2));
    assert_eq!(numbers(&x)[1], -1e9);
}

#[test]
fn rounding_gives_the_bits_of_the_formats_crate() {
    let custom = Format::custom(5, 4, 3).unwrap();
    let paper = [Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD];
    let others = [Format::BF16, Format::FP16, Format::E4M3, Format::E5M2, custom];
    // Every exponent with the leading bits of the fraction, then bits all over.
    let leading = (0..1u32 << 17).map(|leading| leading << 15);
    let all = leading.chain((0..1u32 << 17).map(|i| i.wrapping_mul(0x9e37_79b1)));
    let x: Vec<f32> = all.map(f32::from_bits).collect();
    let tensor = Tensor::new(x.as_slice(), &test_device::dense()).unwrap();
    for format in paper.into_iter().chain(others) {
        let mut all_counts = Vec::new();
        let mut expected_counts = Vec::new();
        for overflow in [Overflow::Saturate, Overflow::NotFinite] {
            let (rounding, buffer) = (Rounding { overflow, counted: Some(0) }, buffer(&[x.len()], format));
            let (y, counted) = compute(&ops::Cast {}.into(), &[&tensor], &buffer, Some(&rounding)).unwrap();
            all_counts.extend(counted);
            let mut expected = x.clone();
            expected_counts.push(Rounder::new(format, overflow).round_slice(&mut expected));
            for ((x, y), expected) in x.iter().zip(numbers(&y)).zip(expected) {
                assert_eq!(y.to_bits(), expected.to_bits(), "{format} {overflow:?}: {x:e} to {y:e}, not {expected:e}");
            }
        }
        assert_eq!(counts(&all_counts).unwrap(), expected_counts, "{format}");
    }
}

#[test]
fn what_is_not_finite_stays_visible() {
    let x = Tensor::new(&[f32::NAN, -1.0, 2.0], &test_device::dense()).unwrap();
    let run = |op: Op, operands: &[&Tensor], shape: &[usize]| {
        numbers(&compute(&op, operands, &buffer(shape, Format::FP32), None).unwrap().0)
    };
    let (min, max) = (bitbudget_ir::Real(0.0), bitbudget_ir::Real(f64::INFINITY));
    for op in [ops::Relu {}.into(), ops::Clip { min, max }.into()] {
        let y = run(op, &[&x], &[3]);
        assert!(y[0].is_nan() && y[1..] == [0.0, 2.0], "{y:?}");
    }
    let finite = Tensor::new(&[f32::MAX, f32::MAX, -1e-40], &test_device::dense()).unwrap();
    let all_finite = || ops::AllFinite {}.into();
    assert_eq!(run(all_finite(), &[&finite, &finite], &[]), [1.0]);
    assert_eq!(run(all_finite(), &[&finite, &x], &[]), [0.0]);
    assert_eq!(run(all_finite(), &[&(x.broadcast_div(&x.zeros_like().unwrap()).unwrap())], &[]), [0.0]);
}

#[test]
fn labels_out_of_range_are_refused() {
    let scores = Tensor::zeros((2, 3), candle_core::DType::F32, &test_device::dense()).unwrap();
    let loss = |labels: [f32; 2]| {
        let labels = Tensor::new(&labels, &test_device::dense()).unwrap();
        compute(
            &ops::NllLoss { smoothing: bitbudget_ir::Real(0.0) }.into(),
            &[&scores, &labels],
            &buffer(&[], Format::FP32),
            None,
        )
    };
    assert!(loss([0.0, 3.0]).unwrap_err().to_string().contains("label 3 is not one of 3 classes"));
    // A row with a negative label does not count.
    assert_eq!(numbers(&loss([-100.0, 2.0]).unwrap().0), [0.0]);
}

/// An operator, its operands, the shape of its result.
type Pass<'a> = (Op, [&'a Array<f64>; 2], [usize; 4]);

#[test]
fn the_three_passes_of_convolution_agree_with_the_reference() {
    let settings = [
        // Strides, pads at the beginning and the end, dilations, groups, kernel.
        ([2, 2], [1, 0], [1, 1], [1, 1], 1, [3, 3]),
        ([3, 3], [0, 0], [0, 0], [1, 1], 1, [2, 1]),
        ([1, 1], [2, 1], [0, 3], [2, 2], 1, [3, 2]),
        ([2, 2], [3, 2], [2, 2], [3, 3], 1, [2, 3]),
        ([2, 1], [1, 1], [1, 1], [1, 1], 1, [3, 3]),
        ([1, 1], [1, 1], [1, 1], [1, 2], 1, [3, 2]),
        ([2, 2], [1, 1], [1, 1], [1, 1], 2, [3, 3]),
    ];
    for (strides, pads_begin, pads_end, dilations, groups, kernel) in settings {
        let conv = ops::Conv { strides, pads_begin, pads_end, dilations, groups };
        let (x_shape, w_shape) = ([2, 4, 8, 7], [6, 4 / groups, kernel[0], kernel[1]]);
        let [height, width] = conv.window(kernel).output([8, 7]).unwrap();
        let y_shape = [2, 6, height, width];
        let array = |shape: &[usize], seed: usize| {
            let mut count = seed;
            Array::from_fn(shape, |_| {
                count += 1;
                f64::from(spread(count) as f32) - 0.5
            })
        };
        let (x, w, dy) = (array(&x_shape, 1), array(&w_shape, 5), array(&y_shape, 9));
        let (input, weight) = (Shape::fixed(&x_shape), Shape::fixed(&w_shape));
        let grad_input = ops::ConvGradInput { strides, pads_begin, pads_end, dilations, groups, input };
        let grad_weight = ops::ConvGradWeight { strides, pads_begin, pads_end, dilations, groups, weight };
        let passes: [Pass<'_>; 3] = [
            (conv.into(), [&x, &w], y_shape),
            (grad_input.into(), [&dy, &w], x_shape),
            (grad_weight.into(), [&x, &dy], w_shape),
        ];
        for (op, operands, shape) in passes {
            let expected = op.evaluate(&operands, &shape);
            let given = operands.map(|x| tensor(x, DType::F32));
            let (computed, _) = compute(&op, &[&given[0], &given[1]], &buffer(&shape, Format::FP32), None).unwrap();
            for (i, (&actual, &expected)) in numbers(&computed).iter().zip(&expected.data).enumerate() {
                let error = (f64::from(actual) - expected).abs();
                assert!(error < 5e-6 * (1.0 + expected.abs()), "{op:?}: [{i}] {actual}, not {expected}");
            }
        }
    }
}

#[test]
fn a_number_that_is_not_finite_stays_visible() {
    let graph: bitbudget_ir::Graph = r#"graph "kinks" {
      %0 = input {name="x"} : f32[4]
      %1 = input {name="dy"} : f32[4]
      %2 = relu(%0) : f32[4]
      %3 = relu_grad(%1, %0) : f32[4]
      %4 = clip(%0) {min=-1.0, max=1.0} : f32[4]
      %5 = clip_grad(%1, %0) {min=-1.0, max=1.0} : f32[4]
      %6 = leaky_relu(%0) {alpha=0.1} : f32[4]
      %7 = leaky_relu_grad(%1, %0) {alpha=0.1} : f32[4]
    }"#
    .parse()
    .unwrap();
    let x = [f32::NAN, f32::INFINITY, -0.5, 0.5];
    let dy = [3.0, f32::NAN, 3.0, f32::INFINITY];
    let bound = |x: [f32; 4]| x.map(f64::from).to_vec();
    let bindings = Bindings { batch: 1, values: [("x".into(), bound(x)), ("dy".into(), bound(dy))].into() };
    let results = interpret(&graph, &bindings).unwrap();
    for id in graph.ids().skip(2) {
        let operands: Vec<Tensor> =
            graph.operands(id).iter().map(|o| tensor(&results[o.index()], DType::F32)).collect();
        let buffer = buffer(&[4], Format::FP32);
        let (computed, _) = compute(graph.op(id), &operands.iter().collect::<Vec<_>>(), &buffer, None).unwrap();
        let bits = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
        let expected: Vec<u32> = results[id.index()].data.iter().map(|&x| bits(x as f32)).collect();
        assert_eq!(numbers(&computed).into_iter().map(bits).collect::<Vec<_>>(), expected, "{}", graph.op(id).name());
    }
}
