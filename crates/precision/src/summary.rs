//! A summary of an assignment as a plain record, for JSON and reports.

use crate::assign::Assignment;
use crate::kind::Kind;
use crate::tensors::Level;
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId};
use serde::Serialize;

/// A summary of an assignment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The method's name.
    pub method: String,
    /// The batch size at which elements are counted.
    pub batch: usize,
    /// The names of the levels' formats.
    pub formats: FormatNames,
    /// The low ratio.
    pub low_ratio: LowRatio,
    /// The number of elements of all tensors.
    pub elements: u64,
    /// The sum of elements times bits over all tensors.
    pub bits_total: u64,
    /// The number of elements by format, the widest format first.
    pub elements_by_format: Vec<FormatElements>,
    /// The demoted groups, in the order of demotion.
    pub demoted: Vec<usize>,
    /// The tensor groups in order.
    pub groups: Vec<GroupSummary>,
}

/// The number of elements stored in a format.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormatElements {
    /// The format's name.
    pub format: String,
    /// The number of elements.
    pub elements: u64,
}

/// The names of the levels' formats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormatNames {
    /// The format of high precision.
    pub high: String,
    /// The low format of parameters and outputs.
    pub low_forward: String,
    /// The low format of output gradients.
    pub low_backward: String,
    /// The low format of parameter gradients.
    pub low_parameter_gradient: String,
}

/// The low ratio, by elements and by bits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LowRatio {
    /// The fraction of all elements that are low.
    pub elements: f64,
    /// Twice the fraction of bits saved over uniform high precision.
    pub bits: f64,
}

/// A tensor group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupSummary {
    /// The position among the groups.
    pub id: usize,
    /// The number of elements of its tensors.
    pub elements: u64,
    /// `high`, `low`, or `mixed` if the levels of its tensors differ.
    pub level: &'static str,
    /// Its operators as `operator:name`, such as `conv:fire2.conv1`.
    pub operators: Vec<String>,
    /// The names of the operators whose parameters are in it.
    pub parameters_of: Vec<String>,
    /// Its tensors, if their levels differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<TensorSummary>,
}

/// A tensor of a mixed group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorSummary {
    /// The kind.
    pub kind: Kind,
    /// The name of the tensor's node.
    pub name: String,
    /// The number of elements.
    pub elements: u64,
    /// `high` or `low`.
    pub level: &'static str,
    /// The format's name.
    pub format: String,
}

/// Summarises an assignment of the training graph `graph`.
pub fn summary(assignment: &Assignment, graph: &Graph) -> Summary {
    let formats = &assignment.by_level;
    Summary {
        method: assignment.method.to_string(),
        batch: assignment.batch,
        formats: FormatNames {
            high: formats.high.to_string(),
            low_forward: formats.low_forward.to_string(),
            low_backward: formats.low_backward.to_string(),
            low_parameter_gradient: formats.low_parameter_gradient.to_string(),
        },
        low_ratio: LowRatio { elements: assignment.low_ratio_elements(), bits: assignment.low_ratio_bits() },
        elements: assignment.elements(),
        bits_total: assignment.bits_total(),
        elements_by_format: by_format(assignment),
        demoted: assignment.demoted.clone(),
        groups: (0..assignment.groups.len()).map(|id| group(assignment, graph, id)).collect(),
    }
}

/// Returns the number of elements by format, the widest format first.
fn by_format(assignment: &Assignment) -> Vec<FormatElements> {
    let mut found: Vec<(Format, u64)> = Vec::new();
    for (tensor, _, format) in assignment.assigned() {
        match found.iter_mut().find(|(other, _)| *other == format) {
            Some((_, elements)) => *elements = elements.saturating_add(tensor.elements),
            None => found.push((format, tensor.elements)),
        }
    }
    found.sort_by_key(|&(format, elements)| std::cmp::Reverse((format.bits(), elements)));
    found.into_iter().map(|(format, elements)| FormatElements { format: format.to_string(), elements }).collect()
}

/// Summarises a group.
fn group(assignment: &Assignment, graph: &Graph, id: usize) -> GroupSummary {
    let group = &assignment.groups[id];
    let level = assignment.group_level(id);
    GroupSummary {
        id,
        elements: group.elements,
        level: level.map_or("mixed", level_name),
        operators: group.operators.iter().map(|&o| format!("{}:{}", graph.op(o).name(), name(graph, o))).collect(),
        parameters_of: group.parameters_of.iter().map(|&o| name(graph, o)).collect(),
        tensors: if level.is_none() { tensors(assignment, graph, id) } else { Vec::new() },
    }
}

/// Summarises the tensors of a group.
fn tensors(assignment: &Assignment, graph: &Graph, group: usize) -> Vec<TensorSummary> {
    let inside = assignment.assigned().filter(|(tensor, _, _)| tensor.group == group);
    inside
        .map(|(tensor, level, format)| TensorSummary {
            kind: tensor.kind,
            name: name(graph, tensor.node),
            elements: tensor.elements,
            level: level_name(level),
            format: format.to_string(),
        })
        .collect()
}

/// Returns the name of a node, or its id if it has none.
fn name(graph: &Graph, id: NodeId) -> String {
    let name = &graph.node(id).name;
    if name.is_empty() { id.to_string() } else { name.clone() }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::High => "high",
        Level::Low => "low",
    }
}
