//! The abilities of the CUDA kernels.

use crate::cpu::{family, heads};
use crate::group::{Group, Member};
use crate::load::Load;
use crate::needs::Needs;
use crate::target::Target;
use bitbudget_cuda::{Addresses, emit};
use bitbudget_ir::{Form, Graph, NodeId, Op, Read};
use bitbudget_program::{Buffer, BufferId, Family, Instruction, Kernel, Machine, Part, Program, Role, Source};

/// What cuBLAS likes; the driver aligns allocations to it, too.
const ALIGNMENT: usize = 256;

/// Products and copies of an A100, per second, and the seconds of a launch.
const FLOPS: f64 = 150e12;
const BYTES: f64 = 1.5e12;
const LAUNCH: f64 = 3e-6;

/// CUDA devices from compute capability 8.0 on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuda;

impl Target for Cuda {
    fn takes(&self, graph: &Graph, reader: NodeId, position: usize) -> bool {
        let operand = graph.operands(reader)[position];
        // Channels that are joined or parted are moved.
        if !matches!(graph.facts(operand).form, Form::Map(_) | Form::Alias) || !graph.facts(operand).is_elementwise() {
            return false;
        }
        let facts = graph.facts(reader);
        match (&facts.form, graph.op(reader)) {
            (Form::Map(_), _) => facts.is_elementwise() && facts.reads.of(position) == Read::Each,
            (Form::Window, Op::MaxPool(_) | Op::MaxPoolIndices(_) | Op::AveragePool(_)) => true,
            (Form::Product, Op::Conv(_) | Op::ConvGradWeight(_)) => position == 0,
            (Form::Reduction { .. }, Op::ReduceSum(_)) => facts.is_over_channels(),
            (Form::Reduction { .. }, Op::BatchNormGradScale(_)) => position == 0,
            (Form::Rows { .. }, Op::LayerNormalization(_) | Op::LayerNormGradInput(_)) => position == 0,
            _ => false,
        }
    }

    fn needs(&self, member: &Member) -> Needs {
        let alone = Group { members: vec![member.clone()] };
        Needs { workspace: self.kernel(&alone).workspace, scratch: 0 }
    }

    fn kernel(&self, group: &Group) -> Kernel {
        let members = &group.members;
        let elementwise: Vec<bool> = members.iter().map(|member| member.facts().is_elementwise()).collect();
        let heads = heads(members, &elementwise);
        let role = |&is_head: &bool| if is_head { Role::Head } else { Role::Prologue };
        let last = members.iter().zip(&heads).rfind(|(_, head)| **head);
        let family = last.map_or(Family::Move, |(member, _)| family(member));
        let kernel = Kernel { family, roles: heads.iter().map(role).collect(), workspace: 0, scratch: 0 };
        Kernel { workspace: workspace(members, kernel.clone()), ..kernel }
    }

    fn alignment(&self) -> usize {
        ALIGNMENT
    }

    fn takes_channels_last(&self) -> bool {
        true
    }

    fn seconds(&self, load: Load) -> f64 {
        (load.flops / FLOPS).max(load.bytes / BYTES) + LAUNCH
    }
}

/// Bytes that the launches of a step leave each other. Nothing where there is no kernel, which loading says.
fn workspace(members: &[Member], kernel: Kernel) -> usize {
    let mut buffers = Vec::new();
    let mut buffer = |shape: &[usize], (dtype, format, layout), is_stored: bool| {
        let offset = is_stored.then_some(0);
        let shape = shape.to_vec();
        buffers.push(Buffer {
            name: String::new(),
            shape,
            dtype,
            format,
            packed: true,
            layout,
            source: Source::None,
            offset,
        });
        BufferId(buffers.len() as u32 - 1)
    };
    let mut outputs = Vec::new();
    let mut parts = Vec::new();
    for member in members {
        let operand = |operand: &crate::group::Operand| match operand.member.and_then(|member| outputs.get(member)) {
            Some(&output) => output,
            None => buffer(&operand.shape, (operand.dtype, operand.format, operand.layout), true),
        };
        let inputs = member.operands.iter().map(operand).collect();
        let output = buffer(&member.shape, (member.dtype, member.format, member.layout), member.is_stored);
        outputs.push(output);
        parts.push(Part { op: member.op.clone(), inputs, output, rounding: None });
    }
    let program = Program {
        machine: Machine::Cuda,
        batch: 1,
        arena: 0,
        alignment: ALIGNMENT,
        buffers,
        instructions: vec![Instruction::Compute { parts, kernel, workspace: None }],
        outputs: Vec::new(),
    };
    let emitted = emit(&program, &program.instructions[0], &Addresses::default(), 0);
    emitted.map_or(0, |emitted| emitted.workspace)
}
