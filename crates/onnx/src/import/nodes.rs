//! The walk over the nodes that the network's output needs: each is looked up in the table of rows, folded if its inputs are known, or
//! built.

use super::buffers;
use super::control::{self, Body, Unrolling};
use super::made;
use crate::analysis::order::{self, is_statistic, node_name};
use crate::error::ImportProblem;
use crate::file::constant::Constant;
use crate::importer::{self, Importer, Node, Operand, Value};
use crate::inline::notes;
use crate::ops::{self, Fold, Row};
use crate::warning::WarningKind;
use bitbudget_ir::DType;
use onnx_protobuf::{GraphProto, NodeProto};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Numbers that folding may produce in one tensor, and in all.
const MOST_FOLDED: usize = 1_000_000;
const MOST_FOLDED_IN_ALL: usize = 10_000_000;

/// Nodes that unrolled loops may come to in all.
const MOST_UNROLLED: usize = 20_000;

/// Operators of which ONNX Runtime does not check the attributes, so that files have others.
const UNCHECKED: [&str; 2] = ["LayerNormalization", "SimplifiedLayerNormalization"];

/// The walk over a file's nodes, and over those that control flow adds.
pub(super) struct Walk<'g> {
    /// The needed nodes; inputs stand first.
    nodes: Vec<&'g NodeProto>,
    /// Running statistics that are computed from the network's input.
    batch_statistics: BTreeSet<&'g str>,
    opset: i64,
    /// Numbers that folding has produced so far.
    folded: usize,
    /// Numbers so far in tensors that may be weights.
    made: usize,
    /// Nodes of unrolled loops so far.
    unrolled: usize,
    /// Operators without a row, by domain, with their nodes.
    unsupported: BTreeMap<(String, String), Vec<String>>,
}

/// The inputs of a node as far as they can be imported.
enum Inputs {
    All(Vec<Option<Operand>>),
    /// One of them belongs to a node whose problem is reported already.
    Failed,
}

impl<'g> Walk<'g> {
    /// The walk over a graph whose nodes stand in the order given.
    pub(super) fn new(graph: &'g GraphProto, order: &[usize], opset: i64) -> Walk<'g> {
        let outputs: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
        let computed = order::computed(graph, order);
        let batch_statistics = order::batch_statistics(graph, &computed);
        let needed = order::needed(&graph.node, order, &outputs, &batch_statistics);
        let nodes = order.iter().filter(|&&at| needed[at]).map(|&at| &graph.node[at]).collect();
        Walk { nodes, batch_statistics, opset, folded: 0, made: 0, unrolled: 0, unsupported: BTreeMap::new() }
    }

    /// The nodes that the outputs need; inputs stand first.
    pub(super) fn nodes(&self) -> &[&'g NodeProto] {
        &self.nodes
    }

    /// Imports the needed nodes.
    pub(super) fn import(&mut self, importer: &mut Importer) {
        let nodes = std::mem::take(&mut self.nodes);
        self.each(importer, &nodes);
        for ((domain, operator), names) in std::mem::take(&mut self.unsupported) {
            importer.problems.push(unsupported_operator(&domain, &operator, self.opset, &names).into());
        }
    }

    fn each(&mut self, importer: &mut Importer, nodes: &[&NodeProto]) {
        for &proto in nodes {
            let values = match ops::find(&proto.domain, &proto.op_type) {
                Some(row) => self.node(importer, row, proto),
                None if control::is_control(proto) => self.control(importer, proto),
                None => {
                    let operator = (proto.domain.clone(), proto.op_type.clone());
                    self.unsupported.entry(operator).or_default().push(node_name(proto).into());
                    Ok(Vec::new())
                }
            };
            let values = values.unwrap_or_else(|problem| {
                importer.problems.push(problem);
                Vec::new()
            });
            note_element_type(importer, proto);
            let mut values = values.into_iter();
            for name in &proto.output {
                let value = values.next().unwrap_or(Value::Failed);
                if !name.is_empty() {
                    importer.known.insert(name.clone(), value);
                }
            }
        }
    }

    /// Imports a node of control flow by the nodes within it: the values of its outputs, none if those of its inputs are missing already.
    fn control(&mut self, importer: &mut Importer, proto: &NodeProto) -> Result<Vec<Value>, ImportProblem> {
        let place = format!("node `{}` ({}{})", node_name(proto), proto.op_type, called(proto));
        let at = |reason: String| ImportProblem::at(&place, reason);
        let mut inputs = Vec::with_capacity(proto.input.len());
        for name in &proto.input {
            inputs.push(match importer.known.get(name) {
                _ if name.is_empty() => None,
                Some(Value::Failed) => {
                    importer.missed.insert(name.clone());
                    return Ok(Vec::new());
                }
                Some(value) => Some(Operand { name: name.clone(), value: value.clone() }),
                None => return Err(at(format!("it reads `{name}`, which no node, initializer or input provides"))),
            });
        }
        if proto.op_type == "If" {
            let body = control::branch(importer, proto, &inputs).map_err(at)?;
            return self.body(importer, &body).map_err(at);
        }
        let mut unrolling = Unrolling::new(importer, proto, inputs).map_err(at)?;
        while let Some(body) = unrolling.next(importer).map_err(at)? {
            self.unrolled += body.nodes.len();
            if self.unrolled > MOST_UNROLLED {
                let reason = format!(
                    "unrolled, the loops of the file come to more than {MOST_UNROLLED} nodes; export the network with fewer steps"
                );
                return Err(at(reason));
            }
            let results = self.body(importer, &body).map_err(at)?;
            if results.iter().any(|value| matches!(value, Value::Failed)) {
                return Ok(Vec::new());
            }
            unrolling.took(results).map_err(at)?;
        }
        let body = unrolling.joined(importer).map_err(at)?;
        self.body(importer, &body).map_err(at)
    }

    /// Imports a copy of nodes: the values of its outputs.
    fn body(&mut self, importer: &mut Importer, body: &Body) -> Result<Vec<Value>, String> {
        let order = order::execution_order(&body.nodes)?;
        let outputs: Vec<&str> = body.outputs.iter().map(String::as_str).collect();
        let needed = order::needed(&body.nodes, &order, &outputs, &BTreeSet::new());
        let nodes: Vec<&NodeProto> = order.iter().filter(|&&at| needed[at]).map(|&at| &body.nodes[at]).collect();
        importer.count_readers(&nodes, &outputs);
        self.each(importer, &nodes);
        let value = |name: &&str| match importer.known.get(*name) {
            Some(value) => Ok(value.clone()),
            None => Err(format!("no node within it writes its output `{name}`")),
        };
        outputs.iter().map(value).collect()
    }

    /// Imports one node: the values of its outputs, none if those of its inputs are missing already.
    fn node(&mut self, importer: &mut Importer, row: &Row, proto: &NodeProto) -> Result<Vec<Value>, ImportProblem> {
        let name = node_name(proto);
        let opset = notes::operator_set(proto, self.opset);
        let Some(version) = row.version(opset) else {
            let first = row.versions.first().copied().unwrap_or(0);
            let operator = &proto.op_type;
            let reason = format!("operator {operator} came with operator set {first}, the file uses {opset}");
            return Err(ImportProblem::at(format!("node `{name}`"), reason));
        };
        let place = format!("node `{name}` ({} version {version}{})", proto.op_type, called(proto));
        let inputs = self.inputs(importer, row, proto).map_err(|reason| ImportProblem::at(&place, reason))?;
        for unknown in proto.attribute.iter().filter(|a| !row.attributes.contains(&a.name.as_str())) {
            if !UNCHECKED.contains(&row.name) {
                return Err(ImportProblem::at(place, format!("attribute `{}` is not known", unknown.name)));
            }
            importer.warn(WarningKind::UnknownAttribute, format!("{name}.{}", unknown.name));
        }
        let Inputs::All(inputs) = inputs else { return Ok(Vec::new()) };
        let read = proto.output.iter().map(|n| !n.is_empty() && importer.is_read(n)).collect();
        let node = Node { proto, name, version, inputs, read };
        importer.reader = importer::reader(importer, &node, importer.reader.node + 1);
        importer.operator = notes::get(proto, notes::DEFINES).unwrap_or(&proto.op_type).into();
        let first = importer.graph.len();
        let built = self.build(importer, row, &node);
        if notes::get(proto, notes::INNER).is_some() {
            importer.make_all_internal(first);
        }
        built.map_err(|reason| {
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
                    if matches!(value, Value::Failed) {
                        failed = true;
                        importer.missed.insert(input.clone());
                    }
                    let value = made::weight(importer, proto, position, value);
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
        if let (Some(fold), Some(constants)) = (row.fold, constants(node).filter(|all| !is_of_batch(node, all))) {
            return self.fold(importer, fold, node, &constants);
        }
        match row.build {
            Some(build) if is_arithmetic_of_integers(importer, node) => {
                let results = build(importer, node)?;
                let whole = |value| match value {
                    Value::Tensor(id) if importer.graph.ty(id).dtype == DType::F32 => {
                        Ok(Value::Tensor(importer.whole_again(id, DType::I32)?))
                    }
                    other => Ok(other),
                };
                results.into_iter().map(whole).collect()
            }
            Some(build) => build(importer, node),
            None => Err("it is supported only on values that are known at import (shapes and constants)".into()),
        }
    }

    fn fold(
        &mut self,
        importer: &mut Importer,
        fold: Fold,
        node: &Node,
        constants: &[Option<Rc<Constant>>],
    ) -> Result<Vec<Value>, String> {
        let is_made = made::is_made(importer, node)?;
        let room = match is_made {
            true => made::MOST - self.made,
            false => MOST_FOLDED.min(MOST_FOLDED_IN_ALL - self.folded),
        };
        let results = fold(node, constants, room)?;
        let count = results.iter().map(Constant::len).sum::<usize>();
        if is_made {
            self.made = made::MOST.min(self.made + count);
            importer.made.extend(node.proto.output.iter().filter(|name| !name.is_empty()).cloned());
        } else {
            self.folded += count;
        }
        if self.folded > MOST_FOLDED_IN_ALL {
            self.folded = MOST_FOLDED_IN_ALL;
            return Err("the file computes too many constants; simplify it before the import".into());
        }
        Ok(results.into_iter().map(Value::known).collect())
    }
}

/// Notes the type that known whole numbers have in the file, which is that of quantised ones.
fn note_element_type(importer: &mut Importer, node: &NodeProto) {
    let (Some(output), Some(input)) = (node.output.first(), node.input.first()) else { return };
    let found = match node.op_type.as_str() {
        "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" => importer.element_types.get(input).copied(),
        "Cast" => node.attribute.iter().find(|a| a.name == "to").and_then(|to| i32::try_from(to.i).ok()),
        _ => None,
    };
    if let Some(code) = found {
        importer.element_types.insert(output.clone(), code);
    }
}

/// Whether a node computes whole numbers of whole numbers. Rows compute in FP32, which holds these exactly.
fn is_arithmetic_of_integers(importer: &Importer, node: &Node) -> bool {
    let is = |wanted: DType| node.inputs.iter().flatten().any(|operand| importer.dtype(operand) == wanted);
    let is_tensor = |operand: &Operand| matches!(operand.value, Value::Tensor(_));
    let reads_integers =
        node.inputs.iter().flatten().any(|operand| is_tensor(operand) && importer.dtype(operand) == DType::I32);
    reads_integers && !is(DType::F32) && !matches!(node.proto.op_type.as_str(), "Cast" | "CastLike")
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

/// Whether a node makes a tensor of numbers in a shape that depends on the batch size.
fn is_of_batch(node: &Node, constants: &[Option<Rc<Constant>>]) -> bool {
    let position = match node.proto.op_type.as_str() {
        "ConstantOfShape" => 0,
        "Expand" | "Tile" | "Range" => 1,
        _ => return false,
    };
    let shape = constants.get(position).and_then(Option::as_ref).and_then(|shape| shape.as_ints().ok());
    shape.is_some_and(|sizes| sizes.iter().any(|size| size.as_fixed().is_none()))
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

/// Where a node comes from that is a part of another one.
fn called(node: &NodeProto) -> String {
    notes::get(node, notes::CALL).map(|call| format!(", {call}")).unwrap_or_default()
}

/// Why a file with an operator that has no row is refused.
fn unsupported_operator(domain: &str, operator: &str, opset: i64, names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|n| format!("`{n}`")).collect();
    let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    let place = match ops::is_onnx(domain) {
        true => format!("(operator set {opset})"),
        false => format!("of domain `{domain}`"),
    };
    let advice = match operator {
        "RandomNormal" | "RandomNormalLike" => {
            "networks train without noise; export with this layer in evaluation mode (layer.eval())"
        }
        _ => "docs/onnx.md lists the supported ones; replace it in the network or export without it",
    };
    format!("operator {operator} {place} is not supported, used by {}{more}; {advice}", shown.join(", "))
}
