//! The tensors that are assigned: four kinds per operator.

use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Op, Precision, Role};

/// What a tensor is to its operator (paper, "The problem").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// P: a parameter as forward and backward pass read it.
    Parameter,
    /// Y: the operator's result.
    Output,
    /// GY: the gradient with respect to the result.
    OutputGradient,
    /// GP: the gradient with respect to a parameter.
    ParameterGradient,
}

/// High or low precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The format of everything that is not demoted.
    High,
    /// The format of its kind at low precision.
    Low,
}

/// The formats that levels stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    /// High precision, every kind.
    pub high: Format,
    /// Low precision of parameters and outputs.
    pub low_forward: Format,
    /// Low precision of output gradients.
    pub low_backward: Format,
    /// Low precision of parameter gradients.
    pub low_parameter_gradient: Format,
}

impl Formats {
    /// The paper's: high 1-6-9; low 1-4-3 for P and Y, 1-5-2 for GY, and 1-6-9 for GP.
    pub const PAPER: Formats = Formats {
        high: Format::PAPER_HIGH,
        low_forward: Format::PAPER_LOW_FORWARD,
        low_backward: Format::PAPER_LOW_BACKWARD,
        low_parameter_gradient: Format::PAPER_HIGH,
    };

    /// FP32 whatever the level.
    pub const FP32: Formats = Formats {
        high: Format::FP32,
        low_forward: Format::FP32,
        low_backward: Format::FP32,
        low_parameter_gradient: Format::FP32,
    };

    /// The format of a kind at a level.
    pub fn of(&self, kind: Kind, level: Level) -> Format {
        match (level, kind) {
            (Level::High, _) => self.high,
            (Level::Low, Kind::Parameter | Kind::Output) => self.low_forward,
            (Level::Low, Kind::OutputGradient) => self.low_backward,
            (Level::Low, Kind::ParameterGradient) => self.low_parameter_gradient,
        }
    }
}

/// A tensor with its place among operators and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// What it is to its operator.
    pub kind: Kind,
    /// The node whose result it is, or whose result's gradient it is.
    pub node: NodeId,
    /// The operator: the node itself, or the first one that reads the parameter.
    pub operator: NodeId,
    /// Its tensor group.
    pub group: usize,
    /// Its size in elements at the training batch. The loss counts one element per example.
    pub elements: u64,
}

/// An operator in the paper's sense.
pub(crate) struct Operator {
    pub(crate) node: NodeId,
    /// The group of Y and GY.
    pub(crate) group: usize,
    /// The positions of the operators whose results it reads, in the order of its operands.
    pub(crate) reads: Vec<usize>,
    /// The parameters of which it is the first reader.
    pub(crate) parameters: Vec<NodeId>,
}

fn is_operator(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let computes = node.role == Role::Output && node.op.precision() != Precision::Relabel;
    node.ty.dtype == DType::F32 && (matches!(node.op, Op::Input(_)) || computes)
}

/// All operators in execution order; a group starts at every input and at every convolution or matrix product.
pub(crate) fn operators(graph: &Graph) -> Vec<Operator> {
    let mut operators: Vec<Operator> = Vec::new();
    let mut position = vec![None; graph.len()];
    let mut read = vec![false; graph.len()];
    for id in graph.ids().filter(|&id| is_operator(graph, id)) {
        let owners: Vec<NodeId> = graph.operands(id).into_iter().map(|operand| graph.owner(operand)).collect();
        let reads = owners.iter().filter_map(|o| position[o.index()]).collect();
        let mut parameters = Vec::new();
        for o in owners {
            if graph.node(o).role == Role::Parameter && !read[o.index()] {
                read[o.index()] = true;
                parameters.push(o);
            }
        }
        let starts = matches!(graph.op(id).precision(), Precision::Gemm | Precision::Input);
        let group = operators.last().map_or(0, |before| before.group + usize::from(starts));
        position[id.index()] = Some(operators.len());
        operators.push(Operator { node: id, group, reads, parameters });
    }
    operators
}

/// All tensors that are assigned, operator by operator: P, Y, GY, GP.
///
/// A gradient is as large as its tensor and counts even where it is never computed, such as that of the network's input.
/// Y and GY are in the group of their operator, P and GP in that of the operator that produces its first input (its own
/// where no operator does). A parameter that several operators read belongs to the first.
pub fn tensors(graph: &Graph, batch: usize) -> Vec<Tensor> {
    let operators = operators(graph);
    let mut tensors = Vec::new();
    for operator in &operators {
        let fed_by = operator.reads.first().map_or(operator.group, |&first| operators[first].group);
        let parameter = |kind, node| {
            let elements = graph.ty(node).shape.elements(batch) as u64;
            Tensor { kind, node, operator: operator.node, group: fed_by, elements }
        };
        let elements = output_elements(graph, operator.node, batch);
        let output =
            |kind| Tensor { kind, node: operator.node, operator: operator.node, group: operator.group, elements };
        tensors.extend(operator.parameters.iter().map(|&p| parameter(Kind::Parameter, p)));
        tensors.extend([output(Kind::Output), output(Kind::OutputGradient)]);
        tensors.extend(operator.parameters.iter().map(|&p| parameter(Kind::ParameterGradient, p)));
    }
    tensors
}

fn output_elements(graph: &Graph, operator: NodeId, batch: usize) -> u64 {
    let counted = match (graph.op(operator), graph.operands(operator).as_slice()) {
        (Op::NllLoss(_), &[_, labels]) => labels,
        _ => operator,
    };
    graph.ty(counted).shape.elements(batch) as u64
}

/// The name of each node that is a tensor or can be recomputed, by node id: as reports name it, with its id behind it where
/// another node has that name too. `None` for nodes of the backward pass, masters and states.
pub fn node_names(graph: &Graph) -> Vec<Option<String>> {
    let backward = graph.backward();
    let is_named = |id: NodeId| {
        let source = graph.op(id).source_name().is_some() && !matches!(graph.op(id), Op::Input(_));
        !backward[id.index()] && !source
    };
    let mut seen = std::collections::BTreeMap::new();
    for id in graph.ids().filter(|&id| is_named(id)) {
        *seen.entry(graph.node(id).name.as_str()).or_insert(0) += 1;
    }
    let name = |id: NodeId| match graph.node(id).name.as_str() {
        "" => id.to_string(),
        name if seen.get(name) == Some(&1) => name.to_string(),
        name => format!("{name} {id}"),
    };
    graph.ids().map(|id| is_named(id).then(|| name(id))).collect()
}
