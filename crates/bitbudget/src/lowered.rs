//! From a graph with formats to a program.

use crate::{CompileError, Storage};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId};
use bitbudget_lower::lower;
use bitbudget_program::Program;
use bitbudget_rewrite::{Recomputed, Rewritten, recompute, rewrite};
use bitbudget_schedule::{Schedule, Setting, plan, plan_in_order};

/// A program with the graph and the schedule that it was lowered from.
pub(crate) struct Lowered {
    pub(crate) program: Program,
    pub(crate) graph: Graph,
    pub(crate) schedule: Schedule,
    /// The node of the training graph that each node of the graph computes, if it has one.
    pub(crate) origins: Vec<Option<NodeId>>,
}

/// From a graph with formats to a program; the backward pass computes the nodes in `recomputed` again.
pub(crate) fn program(
    graph: &Graph,
    formats: &[Format],
    recomputed: &[NodeId],
    batch: usize,
    storage: Storage,
) -> Result<Lowered, CompileError> {
    let Rewritten { graph, formats, origins, values } = rewrite(graph, formats)?;
    let recomputed: Vec<NodeId> =
        recomputed.iter().filter_map(|id| values.get(id.index()).copied().flatten()).collect();
    if recomputed.is_empty() {
        let workspace = workspace(&graph, &formats, batch);
        let setting = Setting { batch, storage, workspace: &workspace };
        let schedule = plan(&graph, &formats, &setting);
        let mut program = lower(&graph, &formats, &schedule, &setting)?;
        program.count_as(&|id| origins.get(id as usize).copied().flatten().map(|origin| origin.0));
        return Ok(Lowered { program, graph, schedule, origins });
    }
    let steps = steps(&graph, batch);
    let Recomputed { graph, formats, origins: copied } = recompute(&graph, &formats, &steps, &recomputed)?;
    let workspace = workspace(&graph, &formats, batch);
    let setting = Setting { batch, storage, workspace: &workspace };
    let schedule = plan_in_order(&graph, &formats, &setting);
    let mut program = lower(&graph, &formats, &schedule, &setting)?;
    // Overflows are counted by nodes of the training graph, and once.
    let counted =
        |id: u32| copied.get(id as usize).filter(|copy| !copy.again).and_then(|copy| origins[copy.node.index()]);
    program.count_as(&|id| counted(id).map(|origin| origin.0));
    let origins = copied.iter().map(|copy| origins[copy.node.index()]).collect();
    Ok(Lowered { program, graph, schedule, origins })
}

/// The steps in which nodes are computed, whatever their formats.
fn steps(graph: &Graph, batch: usize) -> Vec<Vec<NodeId>> {
    let setting = Setting { batch, storage: Storage::Packed, workspace: &[] };
    let schedule = plan(graph, &vec![Format::FP32; graph.len()], &setting);
    schedule.steps.into_iter().map(|step| step.nodes).collect()
}

/// Bytes that every node's kernel needs beside operands and result.
pub(crate) fn workspace(graph: &Graph, formats: &[Format], batch: usize) -> Vec<usize> {
    let of = |id: NodeId| {
        let operands = graph.operands(id);
        let shape = |id: NodeId| graph.ty(id).shape.at(batch);
        let operands: Vec<(Vec<usize>, Format)> = operands.iter().map(|&o| (shape(o), formats[o.index()])).collect();
        bitbudget_exec::workspace(graph.op(id), &operands, &shape(id))
    };
    graph.ids().map(of).collect()
}

/// A node in words: its operator with its name, or its number in the training graph.
pub(crate) fn described(op: &str, name: &str, origin: Option<NodeId>) -> String {
    match (name, origin) {
        ("", Some(id)) => format!("{op} {id}"),
        ("", None) => op.to_string(),
        (name, _) => format!("{op} `{name}`"),
    }
}
