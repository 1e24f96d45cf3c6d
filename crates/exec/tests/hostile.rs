//! Programs may hold anything that passes the checks: neither the checks nor a step may panic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_formats::Format;
use bitbudget_ir::{Attribute, DType, Dim, Layout, Op, Real, Shape, TensorType};
use bitbudget_program::{Buffer, BufferId, Instruction, Machine, Part, Program, Source};
use bitbudget_testkit::kernel;
use proptest::prelude::*;
use proptest::sample::Index;

/// An operator with the types of its operands.
type Use = (Op, Vec<TensorType>);

fn uses() -> Vec<Use> {
    let mut uses = Vec::new();
    for (_, samples) in Op::all_samples() {
        for sample in samples {
            let y = sample.graph.output("y").unwrap();
            let types = sample.graph.operands(y).iter().map(|&o| sample.graph.ty(o).clone()).collect();
            uses.push((sample.graph.op(y).clone(), types));
        }
    }
    uses
}

/// Numbers that sizes and attributes are replaced with: small ones, which often fit, and those that overflow.
const NUMBERS: [i64; 18] =
    [0, 0, 1, 1, 2, 3, 4, 5, 7, 255, 257, -1, -3, 1 << 31, 1 << 32, i64::MAX / 2 + 1, i64::MAX, i64::MIN];
const REALS: [f64; 7] = [0.0, -1.0, 1e-300, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

fn dim(number: i64, batch: bool) -> Dim {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    if batch { Dim::batches(number) } else { Dim::fixed(number) }
}

/// Changes number `at` (counted over all) of a list, or its length.
fn change_list<T: Clone>(list: &mut Vec<T>, at: usize, value: T) {
    match at % (list.len() + 2) {
        0 => list.push(value),
        1 => drop(list.pop()),
        entry => list[entry - 2] = value,
    }
}

fn change_attribute(attribute: &mut Attribute, at: usize, number: i64, batch: bool) {
    match attribute {
        Attribute::Bool(b) => *b = !*b,
        Attribute::Int(n) => *n = number,
        Attribute::Real(r) => *r = Real(REALS[at % REALS.len()]),
        Attribute::Text(text) => text.push('x'),
        Attribute::Ints(list) if list.len() == 2 => list[at % 2] = number,
        Attribute::Ints(list) => change_list(list, at, number),
        Attribute::Shape(shape) => change_list(&mut shape.0, at, dim(number, batch)),
    }
}

/// One change: of an operand's shape, of its element type, or of an attribute.
fn change((op, types): &mut Use, what: &(Index, Index, Index, bool)) {
    let (place, at, number, batch) = what;
    let mut attributes: Vec<(String, Attribute)> =
        op.attributes().into_iter().map(|(n, v)| (n.to_string(), v)).collect();
    let (at, number) = (at.index(1 << 16), *number.get(&NUMBERS));
    let place = place.index(2 * attributes.len() + types.len() + 1);
    if place < 2 * attributes.len() {
        change_attribute(&mut attributes[place / 2].1, at, number, *batch);
    } else if let Some(ty) = types.get_mut(place - 2 * attributes.len()) {
        change_list(&mut ty.shape.0, at, dim(number, *batch));
    } else if let Some(ty) = types.first_mut() {
        ty.dtype = [DType::F32, DType::I32, DType::Bool, DType::Index8][at % 4];
    }
    if let Ok(changed) = Op::from_name(op.name(), &attributes) {
        *op = changed;
    }
}

/// The same number in every dimension and attribute that holds another, so that hostile sizes agree with each other.
fn replace_everywhere((op, types): &mut Use, from: usize, to: i64) {
    let same = |d: &mut Dim| {
        if d.as_fixed() == Some(from) {
            *d = dim(to, false);
        }
    };
    types.iter_mut().for_each(|ty| ty.shape.0.iter_mut().for_each(same));
    let replaced = |(name, mut value): (&'static str, Attribute)| {
        match &mut value {
            Attribute::Shape(Shape(dims)) => dims.iter_mut().for_each(same),
            Attribute::Int(n) if *n == from as i64 => *n = to,
            Attribute::Ints(list) => list.iter_mut().filter(|n| **n == from as i64).for_each(|n| *n = to),
            _ => {}
        }
        (name.to_string(), value)
    };
    let attributes: Vec<(String, Attribute)> = op.attributes().into_iter().map(replaced).collect();
    if let Ok(changed) = Op::from_name(op.name(), &attributes) {
        *op = changed;
    }
}

/// The operator on kept tensors (labels and indices as they can be had), if it accepts them.
fn program((op, types): &Use) -> Option<Program> {
    let result = op.infer(&types.iter().collect::<Vec<_>>()).ok()?;
    let mut buffers = Vec::new();
    for (i, ty) in types.iter().chain([&result]).enumerate() {
        let source = match (i == types.len(), ty.dtype) {
            (true, _) => Source::None,
            (false, DType::I32 | DType::Bool) => Source::Input,
            (false, _) => Source::Kept,
        };
        let (name, shape) = (format!("p{i}"), ty.shape.at(2));
        let offset = (source == Source::None).then_some(0);
        buffers.push(Buffer {
            name,
            shape,
            dtype: ty.dtype,
            format: Format::E4M3,
            packed: true,
            layout: Layout::ROWS,
            source,
            offset,
        });
    }
    let inputs: Vec<BufferId> = (0..types.len() as u32).map(BufferId).collect();
    let output = BufferId(types.len() as u32);
    let parts = vec![Part { op: op.clone(), inputs, output, rounding: None }];
    let kernel = kernel(&buffers, &parts);
    let offset = buffers[types.len()].bytes().checked_next_multiple_of(64)?;
    let arena = offset.checked_add(kernel.workspace)?;
    let workspace = (kernel.workspace > 0).then_some(offset);
    let instructions = vec![Instruction::Compute { parts, kernel, workspace }];
    let program = Program {
        machine: Machine::Cpu,
        batch: 2,
        arena,
        alignment: 64,
        buffers,
        instructions,
        outputs: vec![("y".into(), output)],
    };
    program.check().ok().map(|()| program)
}

/// Runs a program whose tensors are small enough for a test; errors are fine.
fn run<'a>(program: &'a Program) {
    if program.arena > 1 << 24 || program.buffers.iter().any(|b| b.elements() > 1 << 14) {
        return;
    }
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let mut values = Values::new(program, &Default::default(), executor.device()).unwrap();
    for label in [0, 1, -1, i32::MAX, i32::MIN] {
        let labels = vec![label; 1 << 14];
        let array = |input: &'a Buffer| Array::integers(&input.shape, &labels[..input.elements()]);
        let inputs = Inputs::new(program.inputs().map(|input| (input.name.as_str(), array(input))));
        let _ = executor.run(program, &mut values, &inputs);
    }
}

#[test]
fn samples_themselves_run() {
    let programs: Vec<Program> = uses().iter().filter_map(program).collect();
    assert!(programs.len() > 60, "{}", programs.len());
    programs.iter().for_each(run);
}

#[test]
fn each_size_replaced_everywhere_never_panics() {
    for sample in uses() {
        for from in 0..7 {
            for to in NUMBERS {
                let mut changed = sample.clone();
                replace_everywhere(&mut changed, from, to);
                if let Some(program) = program(&changed) {
                    run(&program);
                }
            }
        }
    }
}

/// Replaces a list of two numbers among the attributes.
fn set(op: &Op, attribute: &str, value: [i64; 2]) -> Op {
    let replaced = |(name, old): (&'static str, Attribute)| {
        (name.to_string(), if name == attribute { Attribute::Ints(value.to_vec()) } else { old })
    };
    let attributes: Vec<(String, Attribute)> = op.attributes().into_iter().map(replaced).collect();
    Op::from_name(op.name(), &attributes).unwrap_or_else(|_| op.clone())
}

#[test]
fn windows_that_reach_absurdly_far_never_panic() {
    for far in [1 << 20, 1 << 31, 1 << 33, 1 << 61, 1 << 62, i64::MAX] {
        for (op, types) in uses() {
            // Padding makes room for what the dilation spreads, so that the result stays small.
            let op = ["pads_begin", "pads_end", "dilations"].iter().fold(op, |op, name| set(&op, name, [far; 2]));
            for stride in [1, 2, 3, far] {
                if let Some(program) = program(&(set(&op, "strides", [stride; 2]), types.clone())) {
                    run(&program);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn hostile_operators_never_panic(
        which in any::<Index>(),
        everywhere in proptest::option::of((0usize..7, any::<Index>())),
        changes in proptest::collection::vec((any::<Index>(), any::<Index>(), any::<Index>(), any::<bool>()), 0..4),
    ) {
        let uses = uses();
        let mut sample = which.get(&uses).clone();
        if let Some((from, to)) = everywhere {
            replace_everywhere(&mut sample, from, *to.get(&NUMBERS));
        }
        changes.iter().for_each(|what| change(&mut sample, what));
        if let Some(program) = program(&sample) {
            run(&program);
        }
    }
}
