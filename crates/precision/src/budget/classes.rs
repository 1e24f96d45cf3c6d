//! Classes of tensors that have one format.

use super::{Allowed, Granularity, Skeleton, Where, is_forward};
use crate::tensors::{Kind, Tensor, owner};
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Op, Precision, Role};

/// Tensors that have one format.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// Positions in the list of tensors.
    pub(crate) tensors: Vec<usize>,
    /// What it may have.
    pub(crate) formats: Vec<Format>,
}

/// Classes with the class of each tensor, and the tensor whose format each node's result has.
pub(crate) struct Classes {
    pub(crate) classes: Vec<Class>,
    pub(crate) class_of: Vec<usize>,
    pub(crate) tensor_of: Vec<Option<usize>>,
}

/// The classes of a graph's tensors: those that rewriting and aliases ask for, and groups.
pub(crate) fn classes(skeleton: &Skeleton<'_>, tensors: &[Tensor], allowed: &Allowed) -> Classes {
    let (graph, rewritten) = (skeleton.training, skeleton.graph);
    let same: Vec<NodeId> = graph.ids().collect();
    let of_training = tensor_of(graph, graph, &same, tensors);
    let tensor_of = tensor_of(graph, rewritten, skeleton.origins, tensors);
    let mut union = Union((0..tensors.len()).collect());
    if allowed.granularity == Granularity::Group {
        let mut first = std::collections::BTreeMap::new();
        for (at, tensor) in tensors.iter().enumerate() {
            let free = allowed.formats[at].len() > 1;
            if free {
                let one = *first.entry((tensor.group, is_forward(tensor.kind))).or_insert(at);
                union.join_if_common(one, at, &allowed.formats);
            }
        }
    }
    // A gradient that is passed on lies where it came from if both have one format.
    for id in rewritten.ids().filter(|&id| matches!(rewritten.op(id), Op::Cast(_))) {
        let Where::Of(from) = skeleton.places[id.index()] else { continue };
        if let (Some(x), Some(y)) = (tensor_of[from.index()], tensor_of[id.index()]) {
            union.join_if_common(x, y, &allowed.formats);
        }
    }
    // A gradient reads the output in place of the input if both have one format.
    for (id, &origin) in rewritten.ids().zip(skeleton.origins) {
        let (old, new) = (graph.operands(origin), rewritten.operands(id));
        if old.len() != new.len() || graph.op(origin) != rewritten.op(id) {
            continue;
        }
        for (old, new) in old.into_iter().zip(new) {
            if let (Some(x), Some(y)) = (of_training[old.index()], tensor_of[new.index()])
                && x != y
            {
                union.join_if_common(x, y, &allowed.formats);
            }
        }
    }
    let mut classes: Vec<Class> = Vec::new();
    let mut class_at = vec![None; tensors.len()];
    let mut class_of = Vec::with_capacity(tensors.len());
    for at in 0..tensors.len() {
        let root = union.find(at);
        let class = *class_at[root].get_or_insert_with(|| {
            classes.push(Class { tensors: Vec::new(), formats: allowed.formats[at].clone() });
            classes.len() - 1
        });
        classes[class].tensors.push(at);
        classes[class].formats.retain(|format| allowed.formats[at].contains(format));
        class_of.push(class);
    }
    Classes { classes, class_of, tensor_of }
}

/// The tensor of the training graph whose format each node's result has, by node id of `graph`, whose nodes come from `origins`.
fn tensor_of(training: &Graph, graph: &Graph, origins: &[NodeId], tensors: &[Tensor]) -> Vec<Option<usize>> {
    let (mut forward, mut backward) = (vec![None; training.len()], vec![None; training.len()]);
    for (at, tensor) in tensors.iter().enumerate() {
        match tensor.kind {
            Kind::Parameter | Kind::Output => forward[tensor.node.index()] = Some(at),
            Kind::OutputGradient | Kind::ParameterGradient => backward[tensor.node.index()] = Some(at),
        }
    }
    let mut found: Vec<Option<usize>> = vec![None; graph.len()];
    for id in graph.ids() {
        let node = graph.node(id);
        let operand = graph.operands(id).first().copied();
        found[id.index()] = match (node.op.precision(), node.role, operand) {
            _ if node.ty.dtype != DType::F32 => None,
            (Precision::Relabel, _, Some(operand)) => found[operand.index()],
            (_, Role::OutputGradient { of } | Role::ParameterGradient { of }, _) => {
                backward[owner(training, origins[of.index()]).index()]
            }
            _ => forward[origins[id.index()].index()],
        };
    }
    found
}

/// Sets that are joined.
struct Union(Vec<usize>);

impl Union {
    fn find(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    /// Joins two sets if a format is left that all of their members may have.
    fn join_if_common(&mut self, a: usize, b: usize, formats: &[Vec<Format>]) {
        let (a, b) = (self.find(a), self.find(b));
        let members: Vec<usize> = (0..self.0.len()).filter(|&at| [a, b].contains(&self.find(at))).collect();
        let common = |format: &&Format| members.iter().all(|&at| formats[at].contains(format));
        if formats[a].iter().any(|format| common(&format)) {
            self.0[a.max(b)] = a.min(b);
        }
    }
}

/// The class of a node's result, if it has one.
impl Classes {
    pub(crate) fn of(&self, id: NodeId) -> Option<usize> {
        self.tensor_of[id.index()].map(|tensor| self.class_of[tensor])
    }
}
