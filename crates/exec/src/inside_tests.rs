//! Results that are stored nowhere, in front of every kind of operator, give the bits of stored ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use super::tests::stored_as;
use super::{Executor, Target};
use crate::{Array, Inputs, Step, Values};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Origin, Role, Shape, Stage, ops};
use bitbudget_program::{BufferId, Instruction, Kernel, Part, Program, Source};
use bitbudget_schedule::Storage;
use bitbudget_testkit::numbers;
use std::collections::BTreeMap;

const GRAPH: &str = r#"graph "inside" {
  %0 = input {name="x"} : f32[N,8,6,6]
  %1 = parameter {name="w"} : f32[8,8,3,3]
  %2 = conv(%0, %1) {strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1} : f32[N,8,6,6] output
  %3 = batch_mean(%2) : f32[8]
  %4 = batch_variance(%2, %3) : f32[8]
  %5 = parameter {name="scale"} : f32[8]
  %6 = parameter {name="bias"} : f32[8]
  %7 = batch_normalize(%2, %3, %4, %5, %6) {epsilon=1e-5} : f32[N,8,6,6] output
  %8 = add(%7, %0) : f32[N,8,6,6] output
  %9 = relu(%8) : f32[N,8,6,6] output
  %10 = slice(%9) {begin=[0,2,0,0], step=[1,1,1,1], shape=<N,4,6,6>} : f32[N,4,6,6] output
  %11 = slice(%0) {begin=[0,0,0,0], step=[1,1,1,1], shape=<N,4,6,6>} : f32[N,4,6,6] output
  %12 = sigmoid(%11) : f32[N,4,6,6] output
  %13 = concat(%12, %10) {axis=1} : f32[N,8,6,6] output
  %14 = reshape(%13) {shape=<N,2,4,6,6>} : f32[N,2,4,6,6] output
  %15 = transpose(%14) {perm=[0,2,1,3,4]} : f32[N,4,2,6,6] output
  %16 = reshape(%15) {shape=<N,8,6,6>} : f32[N,8,6,6] output
  %17 = tanh(%16) : f32[N,8,6,6] output
  %18 = parameter {name="v"} : f32[6,8,1,1]
  %19 = conv(%9, %18) {strides=[1,1], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], groups=1} : f32[N,6,6,6] output
  %20 = conv(%17, %18) {strides=[1,1], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], groups=1} : f32[N,6,6,6] output
  %21 = parameter {name="depthwise"} : f32[8,1,3,3]
  %22 = conv(%16, %21) {strides=[2,2], pads_begin=[1,1], pads_end=[0,1], dilations=[1,1], groups=8} : f32[N,8,3,3] output
  %23 = conv_grad_weight(%9, %19) {strides=[1,1], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], groups=1, weight=<6,8,1,1>} : f32[6,8,1,1] output
  %24 = max_pool(%9) {kernel=[2,2], strides=[2,2], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], ceil=false} : f32[N,8,3,3] output
  %25 = max_pool_indices(%9) {kernel=[2,2], strides=[2,2], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], ceil=false} : index8[N,8,3,3]
  %26 = batch_mean(%17) : f32[8]
  %27 = batch_variance(%17, %26) : f32[8]
  %28 = mul(%10, %12) : f32[N,4,6,6] output
  %29 = add(%28, %11) : f32[N,4,6,6] output
  %30 = reduce_mean(%16) {axes=[2,3], keep=false} : f32[N,8] output
  %31 = clip(%30) {min=0.1, max=0.4} : f32[N,8] output
  %32 = parameter {name="m"} : f32[5,8]
  %33 = matmul(%31, %32) {trans_a=false, trans_b=true} : f32[N,5] output
  %34 = max_pool_grad(%24, %25) {kernel=[2,2], strides=[2,2], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], ceil=false, input=<N,8,6,6>} : f32[N,8,6,6] output
  return "a" = %19
  return "b" = %20
  return "c" = %22
  return "d" = %23
  return "e" = %34
  return "f" = %26
  return "g" = %27
  return "h" = %29
  return "i" = %33
}"#;

const BATCH: usize = 3;

/// Results that may be stored nowhere.
const INSIDE: [u32; 13] = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 28, 31];

/// Gives every stored result a place of its own until the end.
fn spread(program: &mut Program) {
    program.instructions.retain(|instruction| !matches!(instruction, Instruction::Free { .. }));
    let mut end = 0;
    let mut take = |bytes: usize| {
        let offset = end;
        end += bytes.next_multiple_of(64);
        offset
    };
    for buffer in &mut program.buffers {
        if buffer.offset.is_some() {
            buffer.offset = Some(take(buffer.bytes()));
        }
    }
    for instruction in &mut program.instructions {
        if let Instruction::Compute { kernel, workspace: Some(offset), .. } = instruction {
            *offset = take(kernel.workspace);
        }
    }
    program.arena = end;
}

/// The instruction that computes or shows a buffer.
fn producer(program: &Program, id: BufferId) -> Option<Part> {
    program.instructions.iter().find_map(|instruction| match instruction {
        Instruction::Compute { parts, .. } => parts.iter().find(|part| part.output == id).cloned(),
        Instruction::View { input, output } if *output == id => {
            let op = ops::Reshape { shape: Shape::fixed(&program.buffer(id).shape) }.into();
            Some(Part { op, inputs: vec![*input], output: id, rounding: None })
        }
        _ => None,
    })
}

/// Puts a copy of what computes a buffer in front of `parts`, and gives the copy's buffer; stored ones stay.
fn copy(program: &mut Program, inside: &[BufferId], id: BufferId, parts: &mut Vec<Part>) -> BufferId {
    let Some(mut part) = producer(program, id).filter(|_| inside.contains(&id)) else { return id };
    if let Some(copied) = parts.iter().find(|part| program.buffer(part.output).name == format!("inside {id}")) {
        return copied.output;
    }
    for input in &mut part.inputs {
        *input = copy(program, inside, *input, parts);
    }
    let (name, offset) = (format!("inside {id}"), None);
    let buffer = bitbudget_program::Buffer { name, offset, ..program.buffer(id).clone() };
    part.output = BufferId(program.buffers.len() as u32);
    part.rounding.iter_mut().for_each(|rounding| rounding.counted = None);
    program.buffers.push(buffer);
    parts.push(part.clone());
    part.output
}

/// The program with some results stored nowhere: whatever reads them computes them.
fn with_inside(program: &Program, chosen: &[u32]) -> Program {
    let mut program = program.clone();
    let nowhere = |id: &BufferId| {
        let buffer = program.buffer(*id);
        buffer.offset.is_none() && buffer.source == Source::None && producer(&program, *id).is_some()
    };
    let is_view = |id: &BufferId| matches!(producer(&program, *id), Some(Part { op: Op::Reshape(_), .. }));
    let mut inside: Vec<BufferId> = chosen.iter().map(|&id| BufferId(id)).collect();
    let all = (0..program.buffers.len() as u32).map(BufferId);
    inside.extend(all.filter(|id| nowhere(id) && !is_view(id)));
    // Views of what is stored nowhere are, too.
    for id in (0..program.buffers.len() as u32).map(BufferId) {
        if let Some(Part { op: Op::Reshape(_), inputs, .. }) = producer(&program, id)
            && inside.contains(&inputs[0])
            && !inside.contains(&id)
        {
            inside.push(id);
        }
    }
    let mut instructions = Vec::new();
    for instruction in program.instructions.clone() {
        match instruction {
            Instruction::Compute { parts, kernel, workspace } => {
                let mut new = Vec::new();
                let mut heads = Vec::new();
                for mut part in parts.into_iter().filter(|part| !inside.contains(&part.output)) {
                    for input in &mut part.inputs {
                        *input = copy(&mut program, &inside, *input, &mut new);
                    }
                    heads.push(part);
                }
                new.extend(heads);
                if new.iter().any(|part| program.buffer(part.output).offset.is_some()) {
                    let kernel =
                        Kernel { workspace: kernel.workspace, ..bitbudget_testkit::kernel(&program.buffers, &new) };
                    instructions.push(Instruction::Compute { parts: new, kernel, workspace });
                }
            }
            Instruction::View { output, .. } if inside.contains(&output) => {}
            other => instructions.push(other),
        }
    }
    program.instructions = instructions;
    program
}

/// A batch of the graph.
fn inputs(examples: &[f32]) -> Inputs<'_> {
    Inputs::new([("x", Array::f32(&[BATCH, 8, 6, 6], examples))])
}

fn run(program: &Program) -> Step {
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let kept = program.buffers.iter().filter(|buffer| buffer.source == Source::Kept);
    let initial: BTreeMap<String, Vec<f32>> =
        kept.map(|buffer| (buffer.name.clone(), numbers(buffer.elements(), buffer.name.len()))).collect();
    let mut values = Values::new(program, &initial, executor.device()).unwrap();
    let examples: Vec<f32> = numbers(BATCH * 8 * 36, 5).iter().map(|x| x * 4.0).collect();
    let step = executor.run(program, &mut values, &inputs(&examples)).unwrap();
    assert!(executor.allocated(&values).total() <= executor.predicted(program).total());
    step
}

fn lowered(graph: &Graph, formats: &[Format], storage: Storage) -> Program {
    let mut program = stored_as(graph, formats, storage);
    spread(&mut program);
    program
}

/// Formats by turns.
fn formats(graph: &Graph, turns: &[Format]) -> Vec<Format> {
    let format = |id: NodeId| match graph.node(id).role {
        Role::Internal => Format::FP32,
        _ => turns[id.index() % turns.len()],
    };
    let mut formats: Vec<Format> = graph.ids().map(format).collect();
    // What only moves elements has its operand's format.
    for id in graph.ids() {
        if let Op::Slice(_) | Op::Concat(_) | Op::Reshape(_) | Op::Transpose(_) = graph.op(id) {
            formats[id.index()] = formats[graph.operands(id)[0].index()];
        }
    }
    formats
}

#[test]
fn what_is_stored_nowhere_gives_the_bits_of_what_is_stored() {
    let graph: Graph = GRAPH.parse().unwrap();
    let turns = [
        vec![Format::FP32],
        vec![Format::PAPER_LOW_FORWARD],
        vec![Format::PAPER_HIGH],
        vec![Format::BF16, Format::PAPER_LOW_FORWARD, Format::FP32, Format::E4M3, Format::PAPER_LOW_BACKWARD],
    ];
    for (turns, storage) in turns.iter().flat_map(|turns| [(turns, Storage::Packed), (turns, Storage::Simulated)]) {
        let program = lowered(&graph, &formats(&graph, turns), storage);
        let expected = run(&program);
        for mask in 0..1usize << INSIDE.len() {
            // All of one, of two, of all but one, of all, and some others.
            let count = mask.count_ones() as usize;
            if !(count <= 2 || count + 1 >= INSIDE.len() || mask % 97 == 0) {
                continue;
            }
            let chosen: Vec<u32> = (0..INSIDE.len()).filter(|i| mask >> i & 1 == 1).map(|i| INSIDE[i]).collect();
            let inside = with_inside(&program, &chosen);
            inside.check().unwrap_or_else(|e| panic!("{chosen:?}: {e}\n{inside}"));
            let found = run(&inside);
            for (name, numbers) in &expected.outputs {
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert!(bits(&found.outputs[name]) == bits(numbers), "{name} of {turns:?} with {chosen:?}\n{inside}");
            }
            assert!(found.overflows.iter().all(|counted| expected.overflows.contains(counted)), "{chosen:?}");
        }
    }
}

/// Channels in another order, as a reshape, a transposition and a reshape, from a concatenation; what is stored nowhere.
const SHUFFLE: &str = r#"graph "shuffle" {
  %0 = input {name="x"} : f32[N,8,6,6]
  %1 = slice(%0) {begin=[0,0,0,0], step=[1,1,1,1], shape=<N,4,6,6>} : f32[N,4,6,6] output
  %2 = slice(%0) {begin=[0,4,0,0], step=[1,1,1,1], shape=<N,4,6,6>} : f32[N,4,6,6] output
  %3 = tanh(%2) : f32[N,4,6,6] output
  %4 = concat(%1, %3) {axis=1} : f32[N,8,6,6] output
  %5 = reshape(%4) {shape=<N,2,4,6,6>} : f32[N,2,4,6,6] output
  %6 = transpose(%5) {perm=[0,2,1,3,4]} : f32[N,4,2,6,6] output
  %7 = reshape(%6) {shape=<N,8,6,6>} : f32[N,8,6,6] output
  %8 = parameter {name="w"} : f32[5,8,3,3]
  %9 = conv(%7, %8) {strides=[1,1], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1} : f32[N,5,6,6] output
  return "y" = %9
}"#;

#[test]
fn views_of_what_is_stored_nowhere_are_lowered() {
    let graph: Graph = SHUFFLE.parse().unwrap();
    let lowered = |derived: &[u32]| {
        let mut graph = graph.clone();
        graph.set_stage(Stage::Ordered);
        for &at in derived {
            let id = NodeId(at);
            graph.set_origin(id, Origin { in_passing: true, ..graph.node(id).origin.clone() });
        }
        let program = bitbudget_testkit::lowered(&graph, BATCH, Storage::Packed).unwrap();
        program.check().unwrap_or_else(|e| panic!("{e}\n{program}"));
        program
    };
    let (stored, inside) = (lowered(&[]), lowered(&[4, 5, 6, 7]));
    assert!(inside.arena <= stored.arena, "{} {}", inside.arena, stored.arena);
    assert!(
        [4, 5, 6, 7].iter().all(|&at: &usize| inside.buffers[at].offset.is_none())
            && stored.buffers[4].offset.is_some()
    );
    assert_eq!(run(&inside).outputs, run(&stored).outputs);
}

#[test]
fn what_cannot_be_derived_is_refused() {
    let graph: Graph = GRAPH.parse().unwrap();
    let program = lowered(&graph, &vec![Format::FP32; graph.len()], Storage::Packed);
    let error = |inside: &Program| {
        let mut executor = Executor::new(Target::Cpu, 1).unwrap();
        let mut values = Values::new(inside, &BTreeMap::new(), executor.device()).unwrap();
        let examples = vec![0.5; BATCH * 8 * 36];
        executor.run(inside, &mut values, &inputs(&examples)).unwrap_err().to_string()
    };
    // A convolution inside another step.
    let message = error(&with_inside(&program, &[19]));
    assert!(message.contains("conv has to be stored"), "{message}");
    // A concatenation in the place of what the normalisation inside reads.
    let mut overwriting = with_inside(&program, &[9, 10]);
    overwriting.buffers[13].offset = program.buffer(BufferId(2)).offset;
    let found = overwriting.check().unwrap_err().to_string();
    assert!(found.contains("b13 takes the place of b2, which batch_normalize into"), "{found}");
    let message = error(&overwriting);
    assert!(message.contains("concat") && message.contains("reads output 0 of 0"), "{message}");
}
