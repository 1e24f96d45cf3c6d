//! The abilities of the CPU's kernels.

use crate::group::{Group, Member};
use crate::load::Load;
use crate::needs::{self, Needs};
use crate::target::Target;
use bitbudget_ir::{Form, Graph, NodeId, Op, ops};
use bitbudget_kernels::derived_scratch;
use bitbudget_program::{Family, Kernel, Role};

/// A cache line.
const ALIGNMENT: usize = 64;

/// Arithmetic and copies of a machine with AVX-512 and two cores, per second.
const FLOPS: f64 = 250e9;
const BYTES: f64 = 10e9;

/// Every CPU, whatever its vector instructions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

impl Target for Cpu {
    fn takes(&self, graph: &Graph, reader: NodeId, position: usize) -> bool {
        let facts = graph.facts(reader);
        match (&facts.form, graph.op(reader)) {
            (Form::Map(_), Op::BatchNormGradInput(_)) => position == 0,
            (Form::Map(_) | Form::Planes(_), _) => facts.is_cheap(),
            (Form::Window, Op::MaxPool(_) | Op::MaxPoolIndices(_) | Op::AveragePool(_)) => true,
            (Form::Product, Op::Conv(_) | Op::ConvGradWeight(_)) => position == 0,
            (Form::Reduction { .. }, Op::ReduceMean(_)) => true,
            (Form::Reduction { .. }, Op::ReduceSum(_)) => facts.is_over_channels(),
            (Form::Reduction { .. }, Op::BatchNormGradScale(_)) => position == 0,
            (Form::Reduction { .. }, Op::LayerNormGradScale(_)) => true,
            (Form::Rows { .. }, Op::LayerNormalization(_) | Op::LayerNormGradInput(_)) => true,
            (
                Form::Source
                | Form::Alias
                | Form::Move
                | Form::Reduction { .. }
                | Form::Rows { .. }
                | Form::Window
                | Form::Product,
                _,
            ) => false,
        }
    }

    fn needs(&self, member: &Member) -> Needs {
        needs::needs(member)
    }

    fn kernel(&self, group: &Group) -> Kernel {
        let members = &group.members;
        let elementwise: Vec<bool> = members.iter().map(|member| member.facts().is_elementwise()).collect();
        let heads = heads(members, &elementwise);
        let needs: Vec<Needs> = members.iter().map(|member| self.needs(member)).collect();
        let of_kernels = needs.iter().map(|needs| needs.scratch).max().unwrap_or(0);
        let in_passing = in_passing(members, &elementwise).saturating_mul(size_of::<f32>());
        let role = |&is_head: &bool| if is_head { Role::Head } else { Role::Prologue };
        let last = members.iter().zip(&heads).rfind(|(_, head)| **head);
        Kernel {
            family: last.map_or(Family::Move, |(member, _)| family(member)),
            roles: heads.iter().map(role).collect(),
            workspace: needs.iter().map(|needs| needs.workspace).max().unwrap_or(0),
            scratch: of_kernels.saturating_add(in_passing),
        }
    }

    fn alignment(&self) -> usize {
        ALIGNMENT
    }

    fn takes_channels_last(&self) -> bool {
        false
    }

    fn seconds(&self, load: Load) -> f64 {
        (load.flops / FLOPS).max(load.bytes / BYTES)
    }
}

/// The kind of kernel that computes an operator.
pub(crate) fn family(member: &Member) -> Family {
    let facts = member.facts();
    match (&facts.form, &member.op) {
        (Form::Map(_), _) if facts.is_elementwise() => Family::Elementwise,
        (Form::Map(_) | Form::Planes(_) | Form::Move | Form::Alias | Form::Source, _) => Family::Move,
        (Form::Product, Op::Matmul(_) | Op::Recurrent(_) | Op::RecurrentGrad(_)) => Family::Product,
        (Form::Product, Op::GatherGrad(_)) => Family::Reduction,
        (Form::Product, _) => Family::Convolution,
        (Form::Window, _) => Family::Pooling,
        (Form::Reduction { .. }, _) => Family::Reduction,
        (Form::Rows { .. }, _) => Family::Rows,
    }
}

/// The members that are computed as a whole: the elementwise ones at the end, of the last one's shape, that only each other read; else the
/// stored ones.
pub(crate) fn heads(members: &[Member], elementwise: &[bool]) -> Vec<bool> {
    let joins = |i: usize| elementwise[i] && members.last().is_some_and(|last| last.shape == members[i].shape);
    match elementwise.last() {
        Some(true) => ops::one_pass(members.len(), joins, |reader, i| members[reader].reads(i)),
        _ => members.iter().map(|member| member.is_stored).collect(),
    }
}

/// Elements that a thread needs for the members that are computed as others read them.
fn in_passing(members: &[Member], elementwise: &[bool]) -> usize {
    let is_same = |member: &Member| members.first().is_some_and(|first| first.shape == member.shape);
    if members.iter().zip(elementwise).all(|(member, &elementwise)| elementwise && is_same(member)) {
        return 0;
    }
    let inside = (0..members.len()).filter(|&i| !members[i].is_stored);
    let (chained, mut moved): (Vec<usize>, Vec<usize>) = inside.partition(|&i| elementwise[i]);
    // What only shows something else by another shape takes nothing, unless it parts two chains.
    let shows_chain = |i: usize| chained.iter().any(|&chain| members[i].reads(chain));
    moved.retain(|&i| !matches!(members[i].op, Op::Reshape(_)) || shows_chain(i));
    // Chains read each other only through what is no chain, so these say how many are at work at the same time.
    let operands = chained.iter().map(|&i| members[i].operands.len()).sum();
    match chained.len() + moved.len() {
        0 => 0,
        _ => derived_scratch(operands, chained.len()).saturating_mul(1 + moved.len()),
    }
}
