//! Classes of tensors that have one format.

use crate::allowed::Allowed;
use crate::setting::Granularity;
use crate::step::{Skeleton, Where};
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Numbers, Op, Role, TrainingId};
use bitbudget_precision::{Kind, Tensor};
use std::collections::BTreeMap;

/// Tensors that have one format.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// Positions in the list of tensors.
    pub(crate) tensors: Vec<usize>,
    /// The allowed formats.
    pub(crate) formats: Vec<Format>,
}

/// For each tensor the one whose rounding it repeats if it has its format, if there is one: it passes on that one's numbers, so that
/// rounding them changes nothing. Both have one format, or they are a rectifier's input and output.
pub(crate) fn repeats(skeleton: &Skeleton<'_>, tensors: &[Tensor], allowed: &Allowed) -> Vec<Option<usize>> {
    classes(skeleton, tensors, allowed).repeats(skeleton.training, tensors)
}

/// Classes with the class of each tensor, and the tensor whose format each node's result has.
pub(crate) struct Classes {
    pub(crate) classes: Vec<Class>,
    pub(crate) class_of: Vec<usize>,
    pub(crate) tensor_of: Vec<Option<usize>>,
    pub(crate) rectifiers: Vec<Rectifier>,
}

/// A rectifier whose gradient has two terms: it reads the output, if that has the input's format, or the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rectifier {
    /// Positions of input and output in the list of tensors.
    pub(crate) tensors: [usize; 2],
    /// Where they are stored.
    pub(crate) input: NodeId,
    pub(crate) output: NodeId,
    /// The gradient, where it reads the output.
    pub(crate) gradient: TrainingId,
    /// Whether there is a format that both may have.
    pub(crate) has_common: bool,
}

/// The classes of a graph's tensors: those that rewriting and aliases ask for, and groups.
pub(crate) fn classes(skeleton: &Skeleton<'_>, tensors: &[Tensor], allowed: &Allowed) -> Classes {
    let of = Tensors::new(skeleton.training, tensors);
    let tensor_of = of.computed(skeleton.graph);
    let mut union = Union { parent: (0..tensors.len()).collect(), common: allowed.formats.clone() };
    if allowed.granularity == Granularity::Group {
        let mut first = BTreeMap::new();
        for (at, tensor) in tensors.iter().enumerate() {
            let free = allowed.formats[at].len() > 1;
            if free {
                let one = *first.entry((tensor.group, tensor.kind.is_gradient())).or_insert(at);
                union.join_if_common(one, at);
            }
        }
    }
    // A gradient that is passed on lies where it came from if both have one format.
    let graph = skeleton.graph;
    for id in graph.ids().filter(|&id| matches!(graph.op(id), Op::Cast(_))) {
        let Where::Of(from) = skeleton.places[id.index()] else { continue };
        if let (Some(x), Some(y)) = (tensor_of[from.index()], tensor_of[id.index()]) {
            union.join_if_common(x, y);
        }
    }
    let (alike, rectified) = of.alike(skeleton.graph, &tensor_of);
    for alike in alike {
        for pair in alike.windows(2) {
            union.join_if_common(pair[0], pair[1]);
        }
    }
    let mut rectifiers = Vec::new();
    let roots: Vec<usize> = (0..tensors.len()).map(|at| union.find(at)).collect();
    let (mut of_root, mut sides_of) = (vec![0; tensors.len()], vec![0; tensors.len()]);
    roots.iter().for_each(|&root| of_root[root] += 1);
    for one in &rectified {
        sides_of[one.input] += 1;
        sides_of[one.output] += usize::from(one.output != one.input);
    }
    let places = stored_nodes(skeleton, &tensor_of, tensors.len());
    for one in &rectified {
        let sides = [one.input, one.output];
        let is_alone = |&at: &usize| sides_of[at] == 1 && of_root[roots[at]] == 1;
        let formats = sides.map(|at| &allowed.formats[at]);
        let has_common = formats[0].iter().any(|format| formats[1].contains(format));
        let are_free = !has_common || allowed.recompute && (formats[0] != formats[1] || formats[0].len() > 1);
        match sides.map(|at| places[at].as_slice()) {
            [&[input], &[output]] if are_free && sides.iter().all(is_alone) => {
                rectifiers.push(Rectifier { tensors: sides, input, output, gradient: one.gradient, has_common });
            }
            _ => union.join_if_common(one.input, one.output),
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
    Classes { classes, class_of, tensor_of, rectifiers }
}

/// By tensor, the nodes that store it.
fn stored_nodes(skeleton: &Skeleton<'_>, tensor_of: &[Option<usize>], tensors: usize) -> Vec<Vec<NodeId>> {
    let mut stored = vec![Vec::new(); tensors];
    for id in skeleton.graph.ids().filter(|id| skeleton.places[id.index()] == Where::Own) {
        if let Some(tensor) = tensor_of[id.index()] {
            stored[tensor].push(id);
        }
    }
    stored
}

/// A gradient of a rectifier that reads the output in place of the input, and the tensors of both.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Rectified {
    input: usize,
    output: usize,
    gradient: TrainingId,
}

/// The tensors of a training graph by node: what it outputs, and its gradient.
struct Tensors<'a> {
    training: &'a Graph,
    forward: Vec<Option<usize>>,
    backward: Vec<Option<usize>>,
}

impl<'a> Tensors<'a> {
    fn new(training: &'a Graph, tensors: &[Tensor]) -> Tensors<'a> {
        let (mut forward, mut backward) = (vec![None; training.len()], vec![None; training.len()]);
        for (at, tensor) in tensors.iter().enumerate() {
            match tensor.kind {
                Kind::Parameter | Kind::Output => forward[tensor.node.index()] = Some(at),
                Kind::OutputGradient | Kind::ParameterGradient => backward[tensor.node.index()] = Some(at),
            }
        }
        Tensors { training, forward, backward }
    }

    fn gradient(&self, of: NodeId) -> Option<usize> {
        self.backward[self.training.owner(of).index()]
    }

    /// The tensor whose format a node of the training graph has.
    fn of(&self, id: NodeId) -> Option<usize> {
        let id = self.training.owner(id);
        match (self.training.ty(id).dtype, self.training.node(id).role) {
            (DType::F32, Role::OutputGradient { of } | Role::ParameterGradient { of }) => self.gradient(of),
            (DType::F32, _) => self.forward[id.index()],
            _ => None,
        }
    }

    /// The tensor whose format each node has of a graph that computes the same.
    fn computed(&self, graph: &Graph) -> Vec<Option<usize>> {
        let mut found: Vec<Option<usize>> = vec![None; graph.len()];
        for id in graph.ids() {
            let node = graph.node(id);
            let own = || match node.role {
                Role::OutputGradient { of } | Role::ParameterGradient { of } => {
                    graph.origin(of).and_then(|of| self.gradient(of.node()))
                }
                Role::Internal | Role::Output | Role::Parameter => {
                    graph.origin(id).and_then(|id| self.forward[id.index()])
                }
            };
            found[id.index()] = match node.ty.dtype {
                DType::F32 => graph.moved(id, |operand| found[operand.index()]).unwrap_or_else(own),
                DType::Bool | DType::I32 | DType::Index8 => None,
            };
        }
        found
    }

    /// Sets of tensors that have to have one format so that the rewriting holds: those of nodes that have become one, and
    /// those that a node reads in place of others, outputs and gradients apart. Rectifiers that need it only for their
    /// gradient are listed by themselves.
    fn alike(&self, graph: &Graph, tensor_of: &[Option<usize>]) -> (Vec<Vec<usize>>, Vec<Rectified>) {
        let training = self.training;
        let (mut alike, mut rectified) = (Vec::new(), Vec::new());
        let origin = |new: NodeId| graph.origin(new).map(TrainingId::node);
        let mut is_computed = vec![false; training.len()];
        for id in graph.ids() {
            let nodes = graph.node(id).origin.stands_for.iter().map(|id| id.node());
            nodes.clone().for_each(|id| is_computed[id.index()] = true);
            alike.push(nodes.filter_map(|id| self.of(id)).collect());
        }
        let backward = graph.backward();
        for new in graph.ids() {
            let Some(gradient) = graph.origin(new) else { continue };
            let old = gradient.node();
            if matches!(training.op(old), Op::Sum(_)) {
                continue;
            }
            let (before, after) = (training.operands(old), graph.operands(new));
            let same = |(old, new): &(&NodeId, &NodeId)| {
                graph.node(**new).origin.stands_for.iter().any(|id| id.node() == **old)
            };
            if before.len() == after.len() && training.op(old) == graph.op(new) {
                for (&before, &after) in before.iter().zip(after).filter(|pair| !same(pair)) {
                    let (Some(input), Some(output)) = (self.of(before), tensor_of[after.index()]) else { continue };
                    if origin(after).is_some_and(|id| training.operands(id) == [before]) {
                        let one = Rectified { input, output, gradient };
                        rectified.extend(Some(one).filter(|one| !rectified.contains(one)));
                    } else {
                        alike.push(vec![input, output]);
                    }
                }
                continue;
            }
            // Everything between this node and what both graphs have.
            let (mut gradients, mut outputs) = (Vec::new(), Vec::new());
            let mut sort = |tensor: Option<usize>, is_gradient| {
                if is_gradient { &mut gradients } else { &mut outputs }.extend(tensor);
            };
            sort(tensor_of[new.index()], backward[new.index()]);
            let (mut read, mut replaced) = (Vec::new(), Vec::new());
            let mut pending = after.to_vec();
            while let Some(id) = pending.pop() {
                sort(tensor_of[id.index()], backward[id.index()]);
                read.extend(origin(id));
                if origin(id).is_none() {
                    pending.extend(graph.operands(id));
                }
            }
            let is_gradient = training.backward();
            let mut pending = before.to_vec();
            while let Some(id) = pending.pop() {
                sort(self.of(id), is_gradient[id.index()]);
                replaced.push(id);
                if !is_computed[id.index()] {
                    pending.extend(training.operands(id));
                }
            }
            // What is read instead holds the same numbers only if what lies between passes them on.
            let mut passing = BTreeMap::new();
            read.iter().for_each(|&id| _ = self.passes_on(id, &replaced, &mut passing));
            outputs.extend(passing.into_iter().filter(|&(_, reaches)| reaches).filter_map(|(id, _)| self.of(id)));
            alike.extend([gradients, outputs]);
        }
        (alike, rectified)
    }

    /// Whether a node of the forward pass passes on numbers of one of some others, with the nodes between in `known`.
    fn passes_on(&self, id: NodeId, of: &[NodeId], known: &mut BTreeMap<NodeId, bool>) -> bool {
        if let Some(&reaches) = known.get(&id) {
            return reaches;
        }
        let may_pass = self.training.facts(id).numbers != Numbers::New;
        let operands = if may_pass { self.training.operands(id) } else { &[] };
        let reaching = operands.iter().filter(|&&operand| of.contains(&operand) || self.passes_on(operand, of, known));
        let reaches = reaching.count() > 0;
        known.insert(id, reaches);
        reaches
    }
}

/// Sets that are joined.
struct Union {
    parent: Vec<usize>,
    /// By root, the formats that all members may have.
    common: Vec<Vec<Format>>,
}

impl Union {
    fn find(&mut self, mut at: usize) -> usize {
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    /// Joins two sets if a format is left that all of their members may have.
    fn join_if_common(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        let both = |format: &&Format| self.common[b].contains(format);
        let common: Vec<Format> = self.common[a].iter().filter(both).copied().collect();
        if !common.is_empty() {
            self.parent[a.max(b)] = a.min(b);
            self.common[a.min(b)] = common;
        }
    }
}

/// The class of a node's result, if it has one.
impl Classes {
    /// As [`repeats`].
    pub(crate) fn repeats(&self, training: &Graph, tensors: &[Tensor]) -> Vec<Option<usize>> {
        let of = Tensors::new(training, tensors);
        let mut contributions = vec![Vec::new(); training.len()];
        for id in training.ids() {
            if let Role::OutputGradient { of } = training.node(id).role {
                contributions[of.index()].push(id);
            }
        }
        let passed_on = |tensor: &Tensor| match (tensor.kind, contributions[tensor.node.index()].as_slice()) {
            (Kind::Output, _) if matches!(training.op(tensor.node), Op::Relu(_)) => {
                Some(training.operands(tensor.node)[0])
            }
            (Kind::OutputGradient, &[only]) if matches!(training.op(only), Op::ReluGrad(_)) => {
                Some(training.operands(only)[0])
            }
            _ => None,
        };
        // A sum of several gradients is not rounded.
        let rounded = |&id: &NodeId| training.node(training.owner(id)).role != Role::Internal;
        let may_be_one = |at: usize, other: usize| {
            let is_rectified = self.rectifiers.iter().any(|of| of.tensors == [other, at]);
            other != at && (is_rectified || self.class_of[other] == self.class_of[at])
        };
        let repeated = |(at, tensor): (usize, &Tensor)| {
            passed_on(tensor).filter(rounded).and_then(|id| of.of(id)).filter(|&other| may_be_one(at, other))
        };
        tensors.iter().enumerate().map(repeated).collect()
    }

    pub(crate) fn of(&self, id: NodeId) -> Option<usize> {
        self.tensor_of[id.index()].map(|tensor| self.class_of[tensor])
    }
}
