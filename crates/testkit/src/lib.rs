//! Shared parts of the tests of several crates: a small network, numbers without pattern, programs. A dev-dependency only.
//!
//! ```
//! let network: bitbudget_ir::Graph = bitbudget_testkit::NETWORK.parse()?;
//! assert!(bitbudget_ir::verify(&network).is_ok());
//! # Ok::<(), bitbudget_ir::ParseError>(())
//! ```

use bitbudget_ir::{DType, Graph, Sample};
use bitbudget_lower::{LowerError, place_and_lower};
use bitbudget_program::{Buffer, Kernel, Machine, Part, Program, Source};
use bitbudget_schedule::{Setting, Storage, group, inside};
use bitbudget_select::{Cpu, Group, Member, Operand, Target, select};
use std::collections::BTreeMap;

/// How many random cases a test tries: `BITBUDGET_CASES` where that is set, otherwise as many as the suite has time for.
pub fn cases(otherwise: usize) -> usize {
    std::env::var("BITBUDGET_CASES").ok().and_then(|many| many.parse().ok()).unwrap_or(otherwise)
}

/// A small network with a convolution, batch normalisation, a branch, pooling and a fully connected layer.
pub const NETWORK: &str = r#"graph "net" {
  %0 = input {name="x"} : f32[N,2,4,4]
  %1 = parameter {name="w"} : f32[3,2,3,3]
  %2 = conv(%0, %1) {strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1} : f32[N,3,4,4] output "conv"
  %3 = batch_mean(%2) : f32[3]
  %4 = batch_variance(%2, %3) : f32[3]
  %5 = parameter {name="scale"} : f32[3]
  %6 = parameter {name="bias"} : f32[3]
  %7 = state {name="mean"} : f32[3]
  %8 = state {name="var"} : f32[3]
  %9 = batch_normalize(%2, %3, %4, %5, %6) {epsilon=1e-5} : f32[N,3,4,4] output "bn"
  %10 = running_average(%7, %3) {momentum=0.1} : f32[3]
  %11 = running_variance(%8, %4, %2) {momentum=0.1} : f32[3]
  %12 = relu(%9) : f32[N,3,4,4] output "relu"
  %13 = parameter {name="side"} : f32[3,3,1,1]
  %14 = conv(%12, %13) {strides=[1,1], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], groups=1} : f32[N,3,4,4] output "side"
  %15 = add(%12, %14) : f32[N,3,4,4] output "add"
  %16 = max_pool(%15) {kernel=[2,2], strides=[2,2], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], ceil=false} : f32[N,3,2,2] output "pool"
  %17 = reshape(%16) {shape=<N,12>} : f32[N,12] output
  %18 = parameter {name="v"} : f32[5,12]
  %19 = matmul(%17, %18) {trans_a=false, trans_b=true} : f32[N,5] output "fc"
  return "scores" = %19
  update %7 <- %10
  update %8 <- %11
}"#;

/// The `i`-th number of a sequence in [0, 1) without repeats or order.
pub fn spread(i: usize) -> f64 {
    (i as f64 * 0.618_033_988_749_895 + 0.137).fract()
}

/// `count` numbers from -0.5 to 0.5; another seed gives others.
pub fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (spread((i + 1) * (seed + 3)) - 0.5) as f32).collect()
}

/// A value for each source of a sample by name: distinct FP32 numbers of its range, small whole numbers for indices.
pub fn values(sample: &Sample) -> BTreeMap<String, Vec<f64>> {
    let mut count = 0;
    let mut values = BTreeMap::new();
    for id in sample.graph.ids() {
        let Some(name) = sample.graph.op(id).source_name() else { continue };
        let ty = sample.graph.ty(id);
        let value = |_| {
            count += 1;
            match ty.dtype {
                DType::F32 => f64::from((sample.range.0 + (sample.range.1 - sample.range.0) * spread(count)) as f32),
                DType::I32 | DType::Index8 => (count % 3) as f64,
                DType::Bool => (count % 2) as f64,
            }
        };
        values.insert(name.to_string(), (0..ty.shape.elements(1)).map(value).collect());
    }
    values
}

/// The program of a graph as it is: nothing is rewritten, derived or recomputed.
///
/// # Errors
/// If the graph cannot be lowered.
pub fn lowered(graph: &Graph, batch: usize, storage: Storage) -> Result<Program, LowerError> {
    let steps = group(graph, batch);
    let kernels = select(&Cpu, graph, &steps, &inside(graph, &steps, batch), batch);
    let setting = Setting { batch, storage, alignment: Cpu.alignment() };
    place_and_lower(graph, steps, &kernels, &setting, Machine::Cpu).map(|(_, program)| program)
}

/// The kernel of parts that a test puts into a program itself.
pub fn kernel(buffers: &[Buffer], parts: &[Part]) -> Kernel {
    let buffer = |id: bitbudget_program::BufferId| &buffers[id.index()];
    let member = |(i, part): (usize, &Part)| Member {
        op: part.op.clone(),
        operands: part
            .inputs
            .iter()
            .map(|&id| Operand {
                dtype: buffer(id).dtype,
                format: buffer(id).format,
                layout: buffer(id).layout,
                member: parts[..i].iter().rposition(|earlier| earlier.output == id),
                ..Operand::fp32(&buffer(id).shape)
            })
            .collect(),
        shape: buffer(part.output).shape.clone(),
        dtype: buffer(part.output).dtype,
        format: buffer(part.output).format,
        layout: buffer(part.output).layout,
        is_stored: buffer(part.output).offset.is_some() || buffer(part.output).source == Source::Kept,
    };
    Cpu.kernel(&Group { members: parts.iter().enumerate().map(member).collect() })
}
