//! The probe that a profile is measured with.

use crate::build::build_stored;
use crate::network::check_fixed_batch;
use crate::{CompileError, Lowering, Storage};
use bitbudget_autodiff::gradients;
use bitbudget_ir::{Graph, GraphError, NodeId, Op, Reason, Role, ScalarKind};
use bitbudget_precision::tensors;
use bitbudget_profile::{Probe, Programs};
use bitbudget_program::Machine;

/// The probe of all tensors of a training graph, with its programs in FP32 at a batch size.
///
/// # Errors
/// If the graph has no loss, cannot be differentiated with respect to its inputs, or cannot be lowered at that batch.
pub fn profiling(training: &Graph, batch: usize) -> Result<(Probe, Programs), CompileError> {
    check_fixed_batch(training, batch)?;
    let probe = Probe::new(training, &differentiated(training)?, &tensors(training, batch));
    // Programs have the ids of the graphs, since nothing is rewritten.
    let lowering = Lowering { storage: Storage::Packed, rewrite: None, threads: 1, machine: Machine::Cpu };
    let compiled =
        |graph: &Graph| -> Result<_, CompileError> { Ok(build_stored(&graph.exact(), batch, lowering)?.program) };
    let (step, forward, training) = (compiled(&probe.step)?, compiled(&probe.forward)?, compiled(training)?);
    Ok((probe, Programs { step, forward, training }))
}

/// A training graph with a backward pass that reaches its inputs too; the one that it had keeps no roles.
fn differentiated(training: &Graph) -> Result<Graph, GraphError> {
    let mut graph = training.clone();
    let find = |wanted: &dyn Fn(&Op) -> bool| training.ids().find(|&id| wanted(training.op(id)));
    let scale = find(&|op| matches!(op, Op::Scalar(op) if op.kind == ScalarKind::LossScale));
    let (Some(loss), Some(scale)) = (training.output("loss"), scale) else {
        return Err(GraphError::new("graph", training.name(), &[], Reason::new("has no loss")));
    };
    let is_gradient = |role| matches!(role, Role::OutputGradient { .. } | Role::ParameterGradient { .. });
    for id in training.ids().filter(|&id| is_gradient(training.node(id).role)) {
        graph.set_role(id, Role::Internal);
    }
    let target = |id: &NodeId| training.node(*id).role == Role::Parameter || training.node(*id).is_numeric_input();
    let targets: Vec<NodeId> = training.ids().filter(target).collect();
    gradients(&mut graph, loss, scale, &targets)?;
    Ok(graph)
}
