//! The walk over the nodes that the network's output needs: each is looked up in the table of rows, folded if its inputs are known, or
//! built.

use super::buffers;
use crate::analysis::order::{self, is_statistic, node_name};
use crate::error::ImportProblem;
use crate::file::constant::Constant;
use crate::importer::{self, Importer, Node, Operand, Value};
use crate::ops::{self, Fold, Row};
use onnx_protobuf::{GraphProto, NodeProto};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Numbers that folding may produce in one tensor, and in all.
const MOST_FOLDED: usize = 1_000_000;
const MOST_FOLDED_IN_ALL: usize = 10_000_000;

/// The nodes of a file, and which of them are imported in which order.
pub(super) struct Walk<'g> {
    graph: &'g GraphProto,
    /// Positions of nodes; inputs stand first.
    order: Vec<usize>,
    /// By position.
    needed: Vec<bool>,
    /// Running statistics that are computed from the network's input.
    batch_statistics: BTreeSet<&'g str>,
    opset: i64,
    /// Numbers that folding has produced so far.
    folded: usize,
}

/// The inputs of a node as far as they can be imported.
enum Inputs {
    All(Vec<Option<Operand>>),
    /// One of them belongs to a node whose problem is reported already.
    Failed,
}

impl<'g> Walk<'g> {
    pub(super) fn new(graph: &'g GraphProto, order: Vec<usize>, opset: i64) -> Walk<'g> {
        let outputs: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
        let computed = order::computed(graph, &order);
        let batch_statistics = order::batch_statistics(graph, &computed);
        let needed = order::needed(&graph.node, &order, &outputs, &batch_statistics);
        Walk { graph, order, needed, batch_statistics, opset, folded: 0 }
    }

    /// Which nodes the outputs need.
    pub(super) fn needed(&self) -> &[bool] {
        &self.needed
    }

    /// Imports the needed nodes.
    pub(super) fn import(&mut self, importer: &mut Importer) {
        let mut unsupported: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        let graph = self.graph;
        let nodes: Vec<&NodeProto> =
            self.order.iter().filter(|&&at| self.needed[at]).map(|&at| &graph.node[at]).collect();
        for proto in nodes {
            let row = ops::is_onnx(&proto.domain).then(|| ops::find(&proto.op_type)).flatten();
            let values = match row {
                Some(row) => self.node(importer, row, proto).unwrap_or_else(|problem| {
                    importer.problems.push(problem);
                    Vec::new()
                }),
                None => {
                    unsupported.entry((&proto.domain, &proto.op_type)).or_default().push(node_name(proto));
                    Vec::new()
                }
            };
            let mut values = values.into_iter();
            for name in &proto.output {
                let value = values.next().unwrap_or(Value::Failed);
                if !name.is_empty() {
                    importer.known.insert(name.clone(), value);
                }
            }
        }
        for ((domain, operator), names) in unsupported {
            importer.problems.push(unsupported_operator(domain, operator, self.opset, &names).into());
        }
    }

    /// Imports one node: the values of its outputs, none if those of its inputs are missing already.
    fn node(&mut self, importer: &mut Importer, row: &Row, proto: &NodeProto) -> Result<Vec<Value>, ImportProblem> {
        let name = node_name(proto);
        let Some(version) = row.version(self.opset) else {
            let first = row.versions.first().copied().unwrap_or(0);
            let (operator, opset) = (&proto.op_type, self.opset);
            let reason = format!("operator {operator} came with operator set {first}, the file uses {opset}");
            return Err(ImportProblem::at(format!("node `{name}`"), reason));
        };
        let place = format!("node `{name}` ({} version {version})", proto.op_type);
        let inputs = self.inputs(importer, row, proto).map_err(|reason| ImportProblem::at(&place, reason))?;
        if let Some(unknown) = proto.attribute.iter().find(|a| !row.attributes.contains(&a.name.as_str())) {
            return Err(ImportProblem::at(place, format!("attribute `{}` is not known", unknown.name)));
        }
        let Inputs::All(inputs) = inputs else { return Ok(Vec::new()) };
        let read = proto.output.iter().map(|n| !n.is_empty() && importer.is_read(n)).collect();
        let node = Node { proto, name, version, inputs, read };
        importer.reader = importer::reader(importer, &node, importer.reader.node + 1);
        importer.operator.clone_from(&node.proto.op_type);
        self.build(importer, row, &node).map_err(|reason| {
            let shapes: Vec<String> = node.inputs.iter().map(|input| describe(importer, input.as_ref())).collect();
            let on = if shapes.is_empty() { String::new() } else { format!(" on {}", shapes.join(", ")) };
            ImportProblem::at(format!("{place}{on}"), reason)
        })
    }

    /// Looks the inputs of a node up.
    fn inputs(&self, importer: &mut Importer, row: &Row, proto: &NodeProto) -> Result<Inputs, String> {
        let mut inputs = Vec::with_capacity(proto.input.len());
        let mut missing = Vec::new();
        let mut failed = false;
        for (position, input) in proto.input.iter().enumerate() {
            inputs.push(match importer.known.get(input).cloned() {
                _ if input.is_empty() => None,
                Some(value) => {
                    failed |= matches!(value, Value::Failed);
                    Some(Operand { name: input.clone(), value: buffers::read(importer, row, proto, position, value) })
                }
                None if is_statistic(proto, position) && self.batch_statistics.contains(input.as_str()) => None,
                None => {
                    missing.push(format!("`{input}`"));
                    None
                }
            });
        }
        match missing.is_empty() {
            true => Ok(if failed { Inputs::Failed } else { Inputs::All(inputs) }),
            false => Err(format!("it reads {}, which no node, initializer or input provides", missing.join(", "))),
        }
    }

    fn build(&mut self, importer: &mut Importer, row: &Row, node: &Node) -> Result<Vec<Value>, String> {
        if let Some(&id) = node.proto.output.first().and_then(|name| importer.merged.get(name)) {
            return Ok(vec![Value::Tensor(id)]);
        }
        if let (Some(fold), Some(constants)) = (row.fold, constants(node))
            && !is_repeated_by_batch(row, &constants)
        {
            return self.fold(fold, node, &constants);
        }
        match row.build {
            Some(build) => build(importer, node),
            None => Err("it is supported only on values that are known at import (shapes and constants)".into()),
        }
    }

    fn fold(&mut self, fold: Fold, node: &Node, constants: &[Option<Rc<Constant>>]) -> Result<Vec<Value>, String> {
        let room = MOST_FOLDED.min(MOST_FOLDED_IN_ALL - self.folded);
        let results = fold(node, constants, room)?;
        self.folded += results.iter().map(Constant::len).sum::<usize>();
        if self.folded > MOST_FOLDED_IN_ALL {
            self.folded = MOST_FOLDED_IN_ALL;
            return Err("the file computes too many constants; simplify it before the import".into());
        }
        Ok(results.into_iter().map(Value::known).collect())
    }
}

/// The inputs of a node if all that it has are known at import.
fn constants(node: &Node) -> Option<Vec<Option<Rc<Constant>>>> {
    let known = |input: &Option<Operand>| match input.as_ref().map(|operand| &operand.value) {
        None => Some(None),
        Some(Value::Constant(constant)) => Some(Some(constant.clone())),
        Some(_) => None,
    };
    node.inputs.iter().map(known).collect()
}

/// Whether a constant is repeated as often as the batch has examples, which only a tensor of the network can be.
fn is_repeated_by_batch(row: &Row, inputs: &[Option<Rc<Constant>>]) -> bool {
    let by = inputs.get(1).and_then(Option::as_ref).filter(|_| matches!(row.name, "Expand" | "Tile"));
    by.and_then(|by| by.as_ints().ok()).is_some_and(|by| by.iter().any(|int| int.as_fixed().is_none()))
}

/// The shape of an input, for messages.
fn describe(importer: &Importer, input: Option<&Operand>) -> String {
    match input.map(|operand| &operand.value) {
        None => "nothing".into(),
        Some(Value::Tensor(id)) => importer.graph.ty(*id).shape.to_string(),
        Some(Value::Padded(padded)) => format!("padded {}", importer.graph.ty(padded.x).shape),
        Some(Value::Constant(constant)) => format!("constant {:?}", constant.shape),
        Some(Value::Initializer(i)) => format!("initializer {:?}", importer.initializers[*i].constant.shape),
        Some(Value::Sequence(values)) => format!("a sequence of {} tensors", values.len()),
        Some(Value::Failed) => "?".into(),
    }
}

/// Why a file with an operator that has no row is refused.
fn unsupported_operator(domain: &str, operator: &str, opset: i64, names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|n| format!("`{n}`")).collect();
    let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    let place = match ops::is_onnx(domain) {
        true => format!("(operator set {opset})"),
        false => format!("of domain `{domain}`"),
    };
    let advice = match operator {
        "If" | "Loop" | "Scan" => {
            "control flow has no place in a trainer; export with fixed shapes and without control flow, or simplify \
             the file (onnxsim)"
        }
        "RandomUniformLike" | "RandomNormalLike" | "Bernoulli" => {
            "this is dropout or stochastic depth in training, taken apart by the exporter; export with these layers in \
             evaluation mode (layer.eval()), networks train without them"
        }
        _ => "docs/onnx.md lists the supported ones; replace it in the network or export without it",
    };
    format!("operator {operator} {place} is not supported, used by {}{more}; {advice}", shown.join(", "))
}
