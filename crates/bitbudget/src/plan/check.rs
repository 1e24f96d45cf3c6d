//! From a plan to the assignment of a network.

use super::text::Row;
use super::{Plan, PlanError, Problem};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, TrainingId};
use bitbudget_precision::{Formats, Kind, Method, Tensor, may_have, node_names};
use std::collections::{BTreeMap, BTreeSet};

/// The formats that a plan gives to a training graph's tensors.
pub(crate) struct Choices {
    /// The format of each tensor, in the order of [`bitbudget_precision::tensors`].
    pub(crate) formats: Vec<Format>,
    /// The nodes that are computed again, in order of ids.
    pub(crate) recomputed: Vec<TrainingId>,
}

/// For each node, whether it is computed of the forward pass alone: before the loss, or from such nodes, as the square in the gradient of a
/// hyperbolic tangent is.
fn of_forward(graph: &Graph) -> Vec<bool> {
    let mut found = vec![false; graph.len()];
    for id in graph.ids() {
        let operands = graph.operands(id);
        found[id.index()] = match graph.output("loss") {
            Some(loss) if loss == id => false,
            Some(loss) if loss < id => !operands.is_empty() && operands.iter().all(|x| found[x.index()]),
            _ => true,
        };
    }
    found
}

impl Plan {
    /// The choices for the tensors of a training graph; `problems` are those that are known already.
    ///
    /// # Errors
    /// Everything that is wrong: tensors that are missing, unknown or of other shapes, formats that are none or not allowed,
    /// and recomputed nodes that there are not.
    pub(crate) fn choices(
        &self,
        graph: &Graph,
        tensors: &[Tensor],
        mut problems: Vec<Problem>,
    ) -> Result<Choices, PlanError> {
        let names = node_names(graph);
        let mut rows: BTreeMap<&str, &Row> = BTreeMap::new();
        for (name, row) in &self.tensors.0 {
            if rows.insert(name, row).is_some() {
                problems.push(Problem::Twice(name.clone()));
            }
        }
        let mut unused: BTreeSet<&str> = rows.keys().copied().collect();
        let mut formats = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let name = names[tensor.node.index()].as_deref().unwrap_or_default();
            let shape = graph.ty(tensor.node).shape.to_string();
            let is_forward = matches!(tensor.kind, Kind::Parameter | Kind::Output);
            unused.remove(name);
            let Some(row) = rows.get(name) else {
                if is_forward {
                    problems.push(Problem::Missing { name: name.to_string(), shape });
                }
                continue;
            };
            if is_forward && row.shape.replace(' ', "") != shape {
                problems.push(Problem::Shape { name: name.to_string(), found: row.shape.clone(), expected: shape });
            }
            let operator = graph.op(tensor.operator).name();
            if is_forward && row.operator != operator {
                let (name, found) = (name.to_string(), row.operator.clone());
                problems.push(Problem::Operator { name, found, expected: operator.to_string() });
            }
            match self.format(graph, tensor, name, row) {
                Ok(format) => formats.push(format),
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(unused.into_iter().map(|name| Problem::Unknown(name.to_string())));
        let named = |id| graph.origin(id).zip(names[id.index()].as_deref()).map(|(id, name)| (name, id));
        let found: BTreeMap<&str, TrainingId> = graph.ids().filter_map(named).collect();
        let is_named = |id: NodeId, name: &str| names[id.index()].as_deref() == Some(name);
        let of_forward = of_forward(graph);
        let is_result = |id: &TrainingId, name: &str| {
            let id = id.node();
            // A parameter in FP32 is its master: it has no copy that could be made again.
            let is_master = |(tensor, format): (&Tensor, &Format)| {
                tensor.kind == Kind::Parameter && *format == Format::FP32 && is_named(tensor.node, name)
            };
            let is_parameter = tensors.iter().zip(&formats).any(is_master);
            // Nothing of the backward pass reads the loss itself.
            let is_loss = graph.output("loss").is_some_and(|loss| is_named(loss, name));
            graph.op(id).source_name().is_none() && !is_parameter && !is_loss && of_forward[id.index()]
        };
        let mut recomputed = BTreeSet::new();
        for name in &self.recompute {
            match found.get(name.as_str()).filter(|id| is_result(id, name)) {
                Some(&id) => drop(recomputed.insert(id)),
                None => problems.push(Problem::Recompute(name.clone())),
            }
        }
        let foreign = |problem: &Problem| {
            matches!(
                problem,
                Problem::Unknown(_) | Problem::Missing { .. } | Problem::Shape { .. } | Problem::Operator { .. }
            )
        };
        if self.network != graph.name() && problems.iter().any(foreign) {
            let network = Problem::Network { found: self.network.clone(), expected: graph.name().to_string() };
            problems.insert(0, network);
        }
        match problems.is_empty() {
            true => Ok(Choices { formats, recomputed: recomputed.into_iter().collect() }),
            false => Err(PlanError::Problems(problems)),
        }
    }

    /// The format of a tensor in its row.
    fn format(&self, graph: &Graph, tensor: &Tensor, name: &str, row: &Row) -> Result<Format, Problem> {
        let (pass, text) = match tensor.kind {
            Kind::Parameter | Kind::Output => ("forward", &row.forward),
            Kind::OutputGradient | Kind::ParameterGradient => ("backward", &row.backward),
        };
        let name = name.to_string();
        match text.parse() {
            Ok(format) if may_have(graph, tensor, format, self.method.0, &self.by_level()) => Ok(format),
            Ok(format) => Err(Problem::Exact { name, pass, format }),
            Err(reason) => Err(Problem::Format { name, pass, reason }),
        }
    }

    /// The formats of the levels.
    pub(crate) fn by_level(&self) -> Formats {
        if self.method.0 == Method::Fp32 { Formats::FP32 } else { self.formats() }
    }
}
