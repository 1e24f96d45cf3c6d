//! The tensors that get formats: four kinds per operator.

use crate::kind::Kind;
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Op, Precision, Role};

/// The level of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// High precision, for tensors that are not demoted.
    High,
    /// Low precision, for demoted tensors.
    Low,
}

/// The formats of both levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    /// The format of high precision, for every kind.
    pub high: Format,
    /// The low format of parameters and outputs.
    pub low_forward: Format,
    /// The low format of output gradients.
    pub low_backward: Format,
    /// The low format of parameter gradients.
    pub low_parameter_gradient: Format,
}

impl Formats {
    /// The paper's formats: high 1-6-9; low 1-4-3 for P and Y, 1-5-2 for GY, and 1-6-9 for GP.
    pub const PAPER: Formats = Formats {
        high: Format::PAPER_HIGH,
        low_forward: Format::PAPER_LOW_FORWARD,
        low_backward: Format::PAPER_LOW_BACKWARD,
        low_parameter_gradient: Format::PAPER_HIGH,
    };

    /// FP32 at both levels.
    pub const FP32: Formats = Formats {
        high: Format::FP32,
        low_forward: Format::FP32,
        low_backward: Format::FP32,
        low_parameter_gradient: Format::FP32,
    };

    /// Returns the format of a kind at a level.
    pub fn of(&self, kind: Kind, level: Level) -> Format {
        match (level, kind) {
            (Level::High, _) => self.high,
            (Level::Low, Kind::Parameter | Kind::Output) => self.low_forward,
            (Level::Low, Kind::OutputGradient) => self.low_backward,
            (Level::Low, Kind::ParameterGradient) => self.low_parameter_gradient,
        }
    }
}

/// A tensor that gets a format, with its operator and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The kind.
    pub kind: Kind,
    /// The node whose result the tensor is, or whose gradient.
    pub node: NodeId,
    /// The operator: the node itself, or the first one that reads the parameter.
    pub operator: NodeId,
    /// The position of its tensor group.
    pub group: usize,
    /// The number of elements at the training batch size. The loss counts one element per example.
    pub elements: u64,
}

/// An operator in the paper's sense.
pub(crate) struct Operator {
    pub(crate) node: NodeId,
    /// The group of Y and GY.
    pub(crate) group: usize,
    /// The positions of the operators whose outputs it reads, in the order of its operands.
    pub(crate) reads: Vec<usize>,
    /// The parameters that it is the first to read.
    pub(crate) parameters: Vec<NodeId>,
}

/// Whether a node is an operator in the sense of the paper.
fn is_operator(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let computes = node.role == Role::Output && node.op.precision() != Precision::Relabel;
    node.is_numeric_input() || node.ty.dtype == DType::F32 && computes
}

/// Returns all operators in execution order. A group starts at every input, convolution and matrix product.
pub(crate) fn operators(graph: &Graph) -> Vec<Operator> {
    let mut operators: Vec<Operator> = Vec::new();
    let mut position = vec![None; graph.len()];
    let mut read = vec![false; graph.len()];
    for id in graph.ids().filter(|&id| is_operator(graph, id)) {
        let owners: Vec<NodeId> = graph.operands(id).iter().copied().map(|operand| graph.owner(operand)).collect();
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

/// Returns all tensors that get formats, operator by operator: P, Y, GY, GP.
///
/// A gradient is as large as its tensor. It counts even if it is never computed, such as the gradient of the network's input.
/// Y and GY are in the group of their operator. P and GP are in the group of the operator that produces their operator's first
/// input, or in their operator's group if there is none. A parameter that several operators read belongs to the first.
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

/// Returns the number of elements of an operator's output; for the loss, one per example.
fn output_elements(graph: &Graph, operator: NodeId, batch: usize) -> u64 {
    let counted = match (graph.op(operator), graph.operands(operator)) {
        (Op::NllLoss(_), &[_, labels, ..]) => labels,
        _ => operator,
    };
    graph.ty(counted).shape.elements(batch) as u64
}

/// Whether a tensor's format is fixed to FP32: the loss, and the input, which comes in FP32.
pub fn stays_exact(graph: &Graph, tensor: &Tensor) -> bool {
    matches!(graph.op(tensor.operator), Op::LogSoftmax(_) | Op::NllLoss(_) | Op::Input(_))
}

/// Returns by node id the name that reports give a forward node or rounded parameter, followed by its id if another node has the
/// same name. Nodes of the backward pass, masters and optimizer states have none.
pub fn node_names(graph: &Graph) -> Vec<Option<String>> {
    let backward = graph.backward();
    let is_named = |id: NodeId| {
        let source = graph.op(id).source_name().is_some() && !graph.node(id).is_numeric_input();
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
