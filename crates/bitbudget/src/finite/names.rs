//! Tensors in words.

use crate::Compiled;
use bitbudget_ir::{Graph, NodeId, Op, Role};

/// A parameter or a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its description, with its name.
    pub words: String,
    /// Whether it is a running statistic; otherwise the optimizer updates it.
    pub is_statistic: bool,
}

impl Compiled {
    /// The name of a node of a graph, or of the tensor whose gradient it is.
    pub(super) fn short_name(&self, graph: &Graph, node: NodeId) -> String {
        let of = match graph.origin(node).map(|origin| self.training.node(origin.node()).role) {
            Some(Role::OutputGradient { of } | Role::ParameterGradient { of }) => self.training.node(of).name.as_str(),
            _ => "",
        };
        let names = [graph.node(node).name.as_str(), of];
        names.into_iter().find(|name| !name.is_empty()).map_or_else(|| node.to_string(), str::to_string)
    }

    /// The role of a parameter or state, by name.
    pub fn kept(&self, name: &str) -> Kept {
        let training = &self.training;
        let update = training.updates().iter().find(|(target, _)| training.op(*target).source_name() == Some(name));
        let of = |value: NodeId| {
            let statistic = training.operands(value).get(1).copied()?;
            let x = training.operands(statistic).first().copied()?;
            Some(training.node(x).name.clone()).filter(|name| !name.is_empty())
        };
        let statistic = |what: &str, value: NodeId| match of(value) {
            Some(x) => format!("the {what} `{name}` of `{x}`"),
            None => format!("the {what} `{name}`"),
        };
        let (is_statistic, words) = match update {
            Some(&(_, value)) if matches!(training.op(value), Op::RunningAverage(_)) => {
                (true, statistic("running mean", value))
            }
            Some(&(_, value)) if matches!(training.op(value), Op::RunningVariance(_)) => {
                (true, statistic("running variance", value))
            }
            Some(&(target, _)) if matches!(training.op(target), Op::State(_)) => {
                (false, format!("the optimizer's state `{name}`"))
            }
            _ => (false, format!("the parameter `{name}`")),
        };
        Kept { words, is_statistic }
    }
}
