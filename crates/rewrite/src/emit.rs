//! The graph of a choice.

use crate::alternatives::{Alternatives, ClassId};
use crate::extract::{Candidate, Selection};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::{DType, Graph, GraphError, NodeId, Origin, Precision, Reason, Role, Stage};

struct Emission<'a> {
    training: &'a Graph,
    alternatives: &'a Alternatives,
    selection: &'a Selection<'a>,
    nodes: Vec<Option<NodeId>>,
    graph: Graph,
}

/// The graph that computes every class as it was chosen, without what nothing needs. Nodes stand where the first one that they stand for stood.
///
/// # Errors
/// If a chosen term is not well typed, which would be a fault of a rule.
pub(crate) fn emit(
    training: &Graph,
    alternatives: &Alternatives,
    selection: &Selection<'_>,
) -> Result<Graph, GraphError> {
    let nodes = vec![None; selection.members.len()];
    let mut graph = Graph::new(training.name());
    graph.set_stage(Stage::Rewritten);
    let mut emission = Emission { training, alternatives, selection, nodes, graph };
    for (id, &class) in training.ids().zip(&alternatives.of) {
        if selection.members[class.index()].first() == Some(&id) && selection.choice(class).is_some() {
            emission.emit(class)?;
        }
    }
    let Emission { mut graph, nodes, .. } = emission;
    let value = |id: NodeId| nodes[alternatives.of[id.index()].index()].ok_or_else(|| missing(training, id));
    for (name, id) in training.outputs() {
        graph.set_output(name.clone(), value(*id)?);
    }
    for &(target, new) in training.updates() {
        graph.add_update(value(target)?, value(new)?);
    }
    Ok(graph)
}

fn missing(training: &Graph, id: NodeId) -> GraphError {
    let reason = Reason::new(format!("nothing computes {id}"));
    GraphError::new(training.op(id).name(), &training.node(id).name, &[], reason)
}

impl Emission<'_> {
    /// Adds a class's node, and before it those of operands that are not there yet.
    fn emit(&mut self, class: ClassId) -> Result<(), GraphError> {
        let mut pending = vec![class];
        while let Some(&class) = pending.last() {
            let Some(choice) = self.selection.choice(class).filter(|_| self.nodes[class.index()].is_none()) else {
                pending.pop();
                continue;
            };
            let absent = choice.operands.iter().find(|o| self.nodes[o.index()].is_none());
            match absent {
                // What is chosen has no cycles; a fault would go round for ever.
                Some(operand) if pending.contains(operand) || self.selection.choice(*operand).is_none() => {
                    let reason = Reason::new("its operands need it themselves");
                    return Err(GraphError::new(choice.op.name(), "", &[], reason));
                }
                Some(&operand) => pending.push(operand),
                None => {
                    self.node(class, choice)?;
                    pending.pop();
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, class: ClassId, choice: &Candidate) -> Result<(), GraphError> {
        let origin = self.selection.members[class.index()].first().copied();
        let operands: Vec<NodeId> = choice.operands.iter().filter_map(|o| self.nodes[o.index()]).collect();
        let name = origin.map_or("", |id| self.training.node(id).name.as_str());
        let new = match (choice.op.source_name(), origin) {
            (Some(_), Some(id)) => self.graph.source(choice.op.clone(), self.training.ty(id).clone()),
            _ => self.graph.add_named(choice.op.clone(), &operands, name)?,
        };
        let role = self.role(class, choice, origin, &operands);
        self.graph.set_role(new, role);
        self.graph.set_name(new, name);
        let relabelled = operands.first().filter(|_| choice.op.precision() == Precision::Relabel);
        let format = match (choice.rounding, relabelled) {
            (Some(rounding), _) => rounding.format,
            (None, Some(operand)) => self.graph.format(*operand),
            (None, None) if self.graph.ty(new).dtype != DType::F32 => Format::FP32,
            (None, None) => match origin.filter(|_| role == Role::Internal) {
                Some(origin) => self.training.format(origin),
                None => self.selection.format(class),
            },
        };
        self.graph.set_format(new, format);
        let members = self.selection.members[class.index()].iter();
        let stands_for = members.flat_map(|&id| &self.training.node(id).origin.stands_for).copied().collect();
        self.graph.set_origin(new, Origin { stands_for, ..Origin::default() });
        self.nodes[class.index()] = Some(new);
        Ok(())
    }

    /// The role of a node: its origin's, but a sum of gradients that became something else is a gradient too, and what the
    /// training graph does not have is what its operands are.
    fn role(&self, class: ClassId, choice: &Candidate, origin: Option<NodeId>, operands: &[NodeId]) -> Role {
        let role = origin.map_or(Role::Internal, |id| self.training.node(id).role);
        let unlike = |id: NodeId| *self.training.op(id) != choice.op || choice.rounding.is_some();
        let saturates = choice.rounding.is_some_and(|rounding| rounding.overflow == Overflow::Saturate);
        if role == Role::Internal && self.selection.is_backward(class) && origin.is_none_or(unlike) && !saturates {
            let inherited = origin.and_then(|id| {
                let roles = self.training.operands(id).iter().copied().map(|o| self.training.node(o).role);
                roles.map(|role| self.renamed(role)).find(is_gradient)
            });
            let own = || operands.iter().map(|&o| self.graph.node(o).role).find(is_gradient);
            let rounded = choice.rounding.and(operands.first()).map(|&of| Role::OutputGradient { of });
            return inherited.or_else(own).or(rounded).unwrap_or(Role::Internal);
        }
        match (role, origin) {
            (Role::Internal, None) if !self.selection.is_backward(class) => Role::Output,
            (role, _) => self.renamed(role),
        }
    }

    /// A role in the new graph's ids; a tensor that is not there any more is stood for by what it was computed from.
    fn renamed(&self, role: Role) -> Role {
        let node = |mut of: NodeId| loop {
            if let Some(new) = self.nodes[self.alternatives.of[of.index()].index()] {
                return new;
            }
            match self.training.operands(of).first() {
                Some(&operand) => of = operand,
                None => return NodeId(0),
            }
        };
        match role {
            Role::OutputGradient { of } => Role::OutputGradient { of: node(of) },
            Role::ParameterGradient { of } => Role::ParameterGradient { of: node(of) },
            role => role,
        }
    }
}

fn is_gradient(role: &Role) -> bool {
    matches!(role, Role::OutputGradient { .. } | Role::ParameterGradient { .. })
}
