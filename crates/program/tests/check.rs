//! Each way in which a program can be wrong is refused with its reason.

use bitbudget_formats::Format;
use bitbudget_ir::{DType, Layout, Op, Shape, ops};
use bitbudget_program::{Buffer, BufferId, Family, Instruction, Kernel, Machine, Part, Program, Role, Source};

fn buffer(name: &str, shape: &[usize], source: Source) -> Buffer {
    let (dtype, format) = (DType::F32, Format::FP32);
    Buffer {
        name: name.into(),
        shape: shape.to_vec(),
        dtype,
        format,
        packed: true,
        layout: Layout::ROWS,
        source,
        offset: None,
    }
}

fn part(input: u32, output: u32) -> Part {
    Part { op: ops::Relu {}.into(), inputs: vec![BufferId(input)], output: BufferId(output), rounding: None }
}

/// A kernel that computes all parts as a whole, with a workspace of so many bytes.
fn heads(parts: &[Part], workspace: usize) -> Kernel {
    Kernel { family: Family::Elementwise, roles: vec![Role::Head; parts.len()], workspace, scratch: 0 }
}

fn compute(parts: Vec<Part>) -> Instruction {
    Instruction::Compute { kernel: heads(&parts, 0), parts, workspace: None }
}

fn relu(input: u32, output: u32) -> Instruction {
    compute(vec![part(input, output)])
}

fn both(first: Part, second: Part) -> Instruction {
    compute(vec![first, second])
}

fn beside(input: u32, output: u32, offset: usize, bytes: usize) -> Instruction {
    let parts = vec![part(input, output)];
    Instruction::Compute { kernel: heads(&parts, bytes), parts, workspace: Some(offset) }
}

fn view(input: u32, output: u32) -> Instruction {
    Instruction::View { input: BufferId(input), output: BufferId(output) }
}

fn free(buffer: u32) -> Instruction {
    Instruction::Free { buffer: BufferId(buffer) }
}

fn store(value: u32, target: u32) -> Instruction {
    Instruction::Store { value: BufferId(value), target: BufferId(target) }
}

/// Buffers 0 (input), 1 (kept) and 2 to 4 (computed, in places of their own), all of shape [2, 3], under the given
/// instructions.
fn program(instructions: &[Instruction]) -> Program {
    let shape = [2, 3];
    let mut buffers = vec![buffer("x", &shape, Source::Input), buffer("w", &shape, Source::Kept)];
    buffers.extend((0..3).map(|i| Buffer { offset: Some(64 * i), ..buffer("", &shape, Source::None) }));
    Program {
        machine: Machine::Cpu,
        batch: 2,
        arena: 192,
        alignment: 64,
        buffers,
        instructions: instructions.to_vec(),
        outputs: Vec::new(),
    }
}

fn refusal(program: &Program) -> String {
    program.check().map_or_else(|error| error.to_string(), |()| "accepted".to_string())
}

#[test]
fn instructions_out_of_order_are_refused() {
    let cases: &[(&[Instruction], &str)] = &[
        (&[relu(0, 2), view(2, 3), relu(3, 4), free(2), store(4, 1)], "accepted"),
        (&[relu(2, 3)], "b2 is read before it is written"),
        (&[relu(0, 2), free(2), relu(2, 3)], "b2 is read before it is written or after its end"),
        (&[relu(0, 2), free(2), free(2)], "b2 is read before it is written or after its end"),
        (&[relu(0, 2), view(2, 3), free(2), relu(3, 4)], "b3 is read before it is written or after its end"),
        (&[view(1, 3), relu(0, 2), store(2, 1), relu(3, 4)], "b3 is read before it is written or after its end"),
        (&[relu(0, 2), store(2, 1), relu(2, 3)], "b2 is read before it is written or after its end"),
        (&[relu(0, 2), view(2, 3), store(2, 1), relu(3, 4)], "b3 is read before it is written or after its end"),
        (&[relu(0, 2), relu(0, 2)], "b2 is written twice"),
        (&[relu(0, 2), free(2), relu(0, 2)], "b2 is written twice"),
        (&[relu(0, 1)], "b1 is written twice, or is a source"),
        (&[relu(1, 1), relu(1, 2)], "accepted"),
        (&[relu(1, 1), relu(1, 1)], "b1 is stored twice"),
        (&[view(1, 3), relu(1, 1), relu(3, 4)], "b3 is read before it is written or after its end"),
        (&[both(part(0, 2), part(2, 3)), relu(3, 4)], "accepted"),
        (&[both(part(3, 2), part(0, 3))], "b3 is read before it is written"),
        (&[beside(0, 2, 128, 64)], "accepted"),
        (&[beside(0, 2, 128, 65)], "a workspace does not lie in the arena of 192 bytes"),
        (&[beside(0, 2, 8, 8)], "or not at a multiple of 64"),
        (&[beside(0, 2, 0, 8)], "a workspace overlaps b2"),
        (&[relu(0, 3), beside(0, 2, 64, 8)], "a workspace overlaps b3"),
        (&[free(1)], "b1 is a source or a view"),
        (&[relu(0, 2), view(2, 3), free(3)], "b3 is a source or a view"),
        (&[store(0, 1)], "b0 is a source or a view"),
        (&[relu(0, 2), relu(0, 3), store(2, 1), store(3, 1)], "b1 is stored twice"),
        (&[relu(0, 2), relu(0, 3), store(2, 3)], "b3 cannot take b2"),
        (&[relu(9, 2)], "b9 is not a buffer"),
        (&[relu(0, 9)], "b9 is not a buffer"),
        (&[view(0, 9)], "b9 is not a buffer"),
        (&[relu(0, 2), store(2, 9)], "b9 is not a buffer"),
        (&[free(9)], "b9 is not a buffer"),
    ];
    for (instructions, message) in cases {
        let refusal = refusal(&program(instructions));
        assert!(refusal.contains(message), "{instructions:?}: {refusal}");
    }
}

#[test]
fn places_that_overlap_are_refused() {
    type Change = fn(&mut Program);
    let chain = |first: Instruction| [first, relu(2, 3), free(2), relu(3, 4), free(3)];
    let cases: &[(Change, &str)] = &[
        (|_| {}, "accepted"),
        // In place of an operand that ends, and where something ended.
        (|p| p.buffers[3].offset = Some(0), "accepted"),
        (|p| p.buffers[4].offset = Some(0), "accepted"),
        (|p| p.buffers[3].offset = None, "b3 is read before it is written or after its end"),
        (|p| p.buffers[3].offset = Some(32), "b3 does not lie in the arena of 192 bytes, or not at a multiple of 64"),
        (|p| p.buffers[3].offset = Some(192), "b3 does not lie in the arena"),
        (|p| p.buffers[3].offset = Some(usize::MAX - 63), "b3 does not lie in the arena"),
        (|p| p.arena = 150, "b4 does not lie in the arena"),
        (|p| drop(p.instructions.remove(2)), "accepted"),
        (|p| p.instructions[2] = relu(0, 2), "b2 is written twice"),
    ];
    for (change, message) in cases {
        let mut program = program(&chain(relu(0, 2)));
        change(&mut program);
        let refusal = refusal(&program);
        assert!(refusal.contains(message), "{message}: {refusal}");
    }
    let overlap = |instructions: &[Instruction]| {
        let mut program = program(instructions);
        program.buffers[3].offset = Some(0);
        refusal(&program)
    };
    assert_eq!(overlap(&[relu(0, 2), relu(0, 3)]), "b3 overlaps b2");
    assert!(
        overlap(&[relu(0, 2), relu(2, 3), relu(2, 4)]).contains("b2 is read before it is written or after its end")
    );
    assert_eq!(overlap(&[relu(0, 2), relu(2, 3), free(2), relu(3, 4), free(3)]), "accepted");
}

/// A name, the parts of an instruction, the buffers without a place, those over `b2`, one digit each, and what is said.
type Tampered<'t> = (&'t str, Vec<Part>, &'t [usize], usize, &'t str);

/// Results in the place of an operand, of which some part of the instruction reads other elements than it is writing.
#[test]
fn results_over_operands_that_are_read_otherwise_are_refused() {
    let of = |op: Op, inputs: &[u32], output: u32| {
        let inputs = inputs.iter().map(|&id| BufferId(id)).collect();
        Part { op, inputs, output: BufferId(output), rounding: None }
    };
    let reversed = || ops::Slice { begin: vec![1, 2], step: vec![-1, -1], shape: Shape::fixed(&[2, 3]) };
    let backwards = |input: u32, output: u32| of(reversed().into(), &[input], output);
    let add = |a: u32, b: u32, output: u32| of(ops::Add {}.into(), &[a, b], output);
    let inside = |p: &mut Program, ids: &[usize]| ids.iter().for_each(|&id| p.buffers[id].offset = None);
    let cases: [Tampered<'_>; 8] = [
        ("element by element", vec![part(2, 3), add(3, 2, 4)], &[3], 4, "accepted"),
        ("elsewhere", vec![backwards(2, 3), add(3, 0, 4)], &[3], 9, "accepted"),
        (
            "backwards",
            vec![backwards(2, 3), add(3, 2, 4)],
            &[3],
            4,
            "b4 takes the place of b2, which slice into b3 does not",
        ),
        (
            "backwards only",
            vec![backwards(2, 3), add(3, 0, 4)],
            &[3],
            4,
            "b4 takes the place of b2, which slice into b3",
        ),
        ("alone", vec![backwards(2, 3)], &[], 3, "b3 takes the place of b2, which slice into b3 does not"),
        ("before", vec![part(2, 5), backwards(5, 3), add(3, 2, 4)], &[3, 5], 4, "b2, which relu into b5 does not"),
        ("two results", vec![part(2, 3), part(3, 4)], &[], 43, "b4 overlaps b3"),
        ("a kept one", vec![backwards(1, 1)], &[], 9, "b1 takes the place of b1, which slice into b1 does not"),
    ];
    for (name, parts, nowhere, over, message) in cases {
        let mut program = program(&[relu(0, 2), compute(parts)]);
        program.buffers.push(program.buffers[4].clone());
        inside(&mut program, nowhere);
        let moved = [over / 10, over % 10].into_iter().filter(|at| [3, 4].contains(at));
        moved.for_each(|at| program.buffers[at].offset = Some(0));
        let refusal = refusal(&program);
        assert!(refusal.contains(message), "{name}: {refusal}");
    }
    // Elements of another format lie there as other bytes.
    let mut program = program(&[relu(0, 2), relu(2, 3)]);
    (program.buffers[3].offset, program.buffers[3].packed) = (Some(0), false);
    program.buffers[3].format = Format::BF16;
    assert!(refusal(&program).contains("b3 overlaps b2"));
}

#[test]
fn buffers_that_do_not_fit_are_refused() {
    type Change = fn(&mut Program);
    let cases: &[(Change, &str)] = &[
        (|_| {}, "accepted"),
        (|p| p.batch = 0, "the batch size is missing"),
        (|p| p.buffers[2].shape = vec![3, 2], "relu gives f32[2,3], but b2 is f32[3,2]"),
        (|p| p.buffers[2].dtype = DType::Index8, "relu gives f32[2,3], but b2 is index8[2,3]"),
        (|p| p.buffers[0].dtype = DType::I32, "needs floating-point operands"),
        (|p| p.buffers[3].shape = vec![7], "b3 cannot show b2"),
        (|p| p.buffers[3].format = Format::BF16, "b3 cannot show b2"),
        (|p| p.buffers[2].packed = false, "accepted"),
        (|p| p.buffers[1].shape = vec![6], "b1 cannot take b2"),
        (|p| p.buffers[1].format = Format::BF16, "b1 cannot take b2"),
        (|p| p.buffers[4].shape = vec![1 << 39], "is too large"),
        (|p| p.buffers[4].shape = vec![0, usize::MAX, 3], "is empty"),
        (|p| p.buffers[4].shape = vec![usize::MAX; 2], "is too large"),
        (|p| p.outputs = vec![("y".into(), BufferId(4))], "output `y` is b4, which is not there at the end"),
        (|p| p.outputs = vec![("y".into(), BufferId(7))], "output `y` is b7, which is not there at the end"),
        (|p| p.outputs = vec![("y".into(), BufferId(3))], "output `y` is b3, which is not there at the end"),
        (|p| p.buffers.push(buffer("w", &[1], Source::Constant)), "two kept buffers are named `w`"),
        (|p| p.buffers.push(buffer("x", &[1], Source::Input)), "two inputs are named `x`"),
        (|p| p.buffers[0].dtype = DType::Index8, "input `x` holds index8, which a step cannot be given"),
    ];
    for (change, message) in cases {
        let mut program = program(&[relu(0, 2), view(2, 3), store(2, 1)]);
        change(&mut program);
        let refusal = refusal(&program);
        assert!(refusal.contains(message), "{message}: {refusal}");
    }
}
