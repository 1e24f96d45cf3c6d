//! Which tensor of a training step is the first that is not finite.

use crate::lowered::{described, workspace};
use crate::{CompileError, Compiled};
use bitbudget_exec::{ExecError, Executor, Inputs, Values};
use bitbudget_ir::{NodeId, Op, Role};
use bitbudget_lower::lower;
use bitbudget_program::BufferId;
use bitbudget_schedule::{Setting, plan_one_by_one};

/// A tensor of a training step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTensor {
    /// Its computation, in words, with its name.
    pub computes: String,
    /// Whether it is a gradient.
    pub is_gradient: bool,
    /// The format in which it is stored.
    pub format: String,
}

/// Why a step cannot be looked at again.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The graph cannot be lowered.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The step failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl Compiled {
    /// The first tensor of a step's forward and backward pass that is not finite, in the order of the training graph.
    ///
    /// Runs the step again with the same formats, every tensor in a place of its own and nothing updated; `values` are those
    /// before the step, of which the forward pass reads no running statistics that it updates.
    ///
    /// # Errors
    /// If the step cannot be lowered or fails.
    pub fn first_not_finite(
        &self,
        executor: &mut Executor,
        values: &mut Values,
        inputs: &Inputs<'_>,
    ) -> Result<Option<NamedTensor>, ProbeError> {
        let (training, formats) = (&self.training, &self.assignment.formats);
        let mut probe = training.clone();
        probe.clear_updates();
        probe.clear_outputs();
        let is_gradient =
            |id: NodeId| matches!(training.node(id).role, Role::OutputGradient { .. } | Role::ParameterGradient { .. });
        let loss = training.output("loss");
        for id in loss.into_iter().chain(training.ids().filter(|&id| is_gradient(id))) {
            probe.set_output(id.to_string(), id);
        }
        let batch = self.assignment.batch;
        let workspace = workspace(&probe, formats, batch);
        let setting = Setting { batch, storage: self.lowering.storage, workspace: &workspace };
        let schedule = plan_one_by_one(&probe, formats, &setting);
        let mut program = lower(&probe, formats, &schedule, &setting).map_err(CompileError::from)?;
        // Results are looked at as they are written.
        program.outputs.clear();
        let mut first = None;
        let mut look = |id: BufferId, numbers: &[f32]| {
            if first.is_none() && !numbers.iter().all(|x| x.is_finite()) {
                first = Some(id);
            }
        };
        executor.run_observed(&program, values, inputs, &mut look)?;
        // Buffers have the ids of the nodes that they were lowered from.
        let named = |id: BufferId| {
            let node = NodeId(id.0);
            NamedTensor {
                computes: described(training, training.op(node).name(), &training.node(node).name, Some(node)),
                is_gradient: loss.is_some_and(|loss| loss < node),
                format: formats[node.index()].to_string(),
            }
        };
        Ok(first.map(named))
    }

    /// What a parameter or a state is, in words, with its name.
    pub fn kept(&self, name: &str) -> String {
        let training = &self.training;
        let update = training.updates().iter().find(|(target, _)| training.op(*target).source_name() == Some(name));
        let of = |value: NodeId, operand: usize| {
            let statistic = training.operands(value).get(operand).copied()?;
            let x = training.operands(statistic).first().copied()?;
            Some(training.node(x).name.clone()).filter(|name| !name.is_empty())
        };
        let statistic = |what: &str, value: NodeId| match of(value, 1) {
            Some(x) => format!("the {what} `{name}` of `{x}`"),
            None => format!("the {what} `{name}`"),
        };
        match update {
            Some(&(_, value)) if matches!(training.op(value), Op::RunningAverage(_)) => {
                statistic("running mean", value)
            }
            Some(&(_, value)) if matches!(training.op(value), Op::RunningVariance(_)) => {
                statistic("running variance", value)
            }
            Some(&(target, _)) if matches!(training.op(target), Op::State(_)) => {
                format!("the optimizer's state `{name}`")
            }
            _ => format!("the parameter `{name}`"),
        }
    }
}
