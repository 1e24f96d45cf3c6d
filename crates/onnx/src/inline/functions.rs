//! Calls of functions are replaced by the functions' nodes: of those that a file defines, and of those that the standard defines for
//! operators without a row.

use super::copy::Copy;
use super::node::{graphs_mut, node_name};
use super::{notes, standard, subgraphs};
use crate::error::ImportProblem;
use bitbudget_ir::Names;
use onnx_protobuf::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};
use std::collections::HashMap;

/// Nodes, and bytes of tensors within them, that calls may come to in all.
const MOST_NODES: usize = 200_000;
const MOST_BYTES: usize = 1 << 30;

/// Calls within calls.
const DEEPEST: usize = 64;

/// The oldest operator set in a function.
const OLDEST: i64 = 7;

/// Replaces all calls in a file. `has_row` says whether an operator of a domain is read by itself.
///
/// # Errors
/// A problem for each call that cannot be replaced.
pub(crate) fn functions(
    model: &mut ModelProto,
    has_row: &dyn Fn(&str, &str) -> bool,
) -> Result<(), Vec<ImportProblem>> {
    let functions = std::mem::take(&mut model.functions);
    let set = model.opset_import.iter().find(|set| is_onnx(&set.domain)).map_or(OLDEST, |set| set.version);
    let Some(graph) = model.graph.as_mut() else { return Ok(()) };
    let mut inliner = Inliner {
        local: functions
            .iter()
            .map(|function| (key(&function.domain, &function.name, &function.overload), function))
            .collect(),
        has_row,
        names: subgraphs::names(graph),
        calls: Vec::new(),
        nodes: 0,
        bytes: 0,
        problems: Vec::new(),
    };
    inliner.graph(graph, set);
    if inliner.problems.is_empty() { Ok(()) } else { Err(inliner.problems) }
}

type Key = (String, String, String);

/// ONNX's own domain has two names.
fn key(domain: &str, name: &str, overload: &str) -> Key {
    let domain = if is_onnx(domain) { "" } else { domain };
    (domain.into(), name.into(), overload.into())
}

fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

struct Inliner<'f> {
    local: HashMap<Key, &'f FunctionProto>,
    has_row: &'f dyn Fn(&str, &str) -> bool,
    names: Names,
    /// The functions whose nodes are being copied, outermost first.
    calls: Vec<Key>,
    nodes: usize,
    bytes: usize,
    problems: Vec<ImportProblem>,
}

impl<'f> Inliner<'f> {
    fn graph(&mut self, graph: &mut GraphProto, set: i64) {
        let nodes = std::mem::take(&mut graph.node);
        graph.node.reserve(nodes.len());
        self.expand(nodes, set, &mut graph.node);
    }

    /// Adds nodes to others, with the calls among them replaced.
    fn expand(&mut self, nodes: Vec<NodeProto>, set: i64, into: &mut Vec<NodeProto>) {
        for mut node in nodes {
            let set = notes::operator_set(&node, set);
            match self.function(&node, set) {
                Some(function) => self.call(&node, function, set, into),
                None => {
                    graphs_mut(&mut node).for_each(|graph| self.graph(graph, set));
                    into.push(node);
                }
            }
        }
    }

    /// The function that a node calls, if it calls one.
    fn function(&self, node: &NodeProto, set: i64) -> Option<&'f FunctionProto> {
        let local = self.local.get(&key(&node.domain, &node.op_type, &node.overload)).copied();
        local.or_else(|| match is_onnx(&node.domain) && !(self.has_row)("", &node.op_type) {
            true => standard::body(&node.op_type, set, self.has_row),
            false => None,
        })
    }

    fn call(&mut self, node: &NodeProto, function: &'f FunctionProto, set: i64, into: &mut Vec<NodeProto>) {
        let key = key(&function.domain, &function.name, &function.overload);
        if self.problems.iter().any(|problem| problem.reason() == TOO_LARGE) {
            return;
        }
        let copied = match self.calls.contains(&key) {
            true => {
                let path = self.calls.iter().chain([&key]).map(|(_, name, _)| format!("`{name}`"));
                let path = path.collect::<Vec<_>>().join(" calls ");
                Err(format!("a function must not call itself: {path}"))
            }
            false if self.calls.len() >= DEEPEST => Err(format!("calls are nested more than {DEEPEST} deep")),
            false => self.copied(node, function, set),
        };
        match copied {
            Ok(nodes) => {
                self.calls.push(key);
                self.expand(nodes, set, into);
                self.calls.pop();
            }
            Err(reason) => {
                let place = format!("node `{}` calls function `{}`", node_name(node), function.name);
                self.problems.push(ImportProblem::at(place, reason));
            }
        }
    }

    /// The nodes of a function as they stand in the place of a call.
    fn copied(&mut self, call: &NodeProto, function: &FunctionProto, set: i64) -> Result<Vec<NodeProto>, String> {
        self.nodes += function.node.len() + 1;
        self.bytes = self.bytes.saturating_add(function.node.iter().map(bytes).sum());
        if self.nodes > MOST_NODES || self.bytes > MOST_BYTES {
            return Err(TOO_LARGE.into());
        }
        let is_standard = standard::is_body(function);
        let own_set = own_set(function, set)?;
        check_call(call, function)?;
        let name = node_name(call);
        let mut map: HashMap<String, String> = HashMap::new();
        for (at, formal) in function.input.iter().enumerate() {
            map.insert(formal.clone(), call.input.get(at).cloned().unwrap_or_default());
        }
        let mut passed = Vec::new();
        for (at, formal) in function.output.iter().enumerate() {
            let actual = call.output.get(at).filter(|actual| !actual.is_empty());
            match (actual, map.get(formal).cloned()) {
                (Some(actual), None) => drop(map.insert(formal.clone(), actual.clone())),
                (Some(actual), Some(given)) => passed.push((given, actual.clone())),
                (None, _) => {}
            }
        }
        let place = match is_standard {
            true => format!("in the standard's definition of {} `{name}`", function.name),
            false => format!("in function `{}`, called by `{name}`", function.name),
        };
        let each = |node: &mut NodeProto| {
            set_attributes(node, call, function);
            for entry in &call.metadata_props {
                if node.metadata_props.iter().all(|own| own.key != entry.key) {
                    node.metadata_props.push(entry.clone());
                }
            }
            notes::set(node, notes::CALL, &place);
            if own_set != set {
                notes::set(node, notes::OPERATOR_SET, &own_set.to_string());
            }
        };
        let prefix = format!("{name}/");
        let mut copy = Copy { prefix: &prefix, names: &mut self.names, each: &each };
        let mut nodes = copy.nodes(&function.node, &mut map);
        for node in nodes.iter_mut().filter(|_| is_standard) {
            if notes::get(node, notes::DEFINES).is_none() {
                notes::set(node, notes::DEFINES, &call.op_type);
            }
            // The last node of an operator bears its name.
            match node.output.first() == call.output.first() {
                true => node.name = name.into(),
                false => notes::set(node, notes::INNER, "true"),
            }
        }
        for (from, to) in passed {
            let name = format!("{prefix}{to}");
            let (input, output) = (vec![from], vec![to]);
            nodes.push(NodeProto { op_type: "Identity".into(), name, input, output, ..NodeProto::default() });
        }
        Ok(nodes)
    }
}

const TOO_LARGE: &str =
    "the calls of functions come to more than 200,000 nodes or 1 GiB; export the network without functions";

/// The bytes of the tensors in a node's attributes.
fn bytes(node: &NodeProto) -> usize {
    let tensors = node.attribute.iter().flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
    let of_tensors =
        tensors.map(|t| t.raw_data.len() + 4 * (t.float_data.len() + t.int32_data.len()) + 8 * t.int64_data.len());
    let lists = node.attribute.iter().map(|a| 4 * a.floats.len() + 8 * a.ints.len());
    let within = super::node::graphs(node).flat_map(|graph| {
        let stored =
            graph.initializer.iter().map(|t| t.raw_data.len() + 4 * t.float_data.len() + 8 * t.int64_data.len());
        stored.chain(graph.node.iter().map(bytes))
    });
    of_tensors.chain(lists).chain(within).sum()
}

/// The operator set of a function's nodes.
fn own_set(function: &FunctionProto, of_file: i64) -> Result<i64, String> {
    let own = function.opset_import.iter().find(|set| is_onnx(&set.domain)).map(|set| set.version);
    match own.unwrap_or(of_file) {
        set if set < OLDEST && function.node.iter().any(|node| is_onnx(&node.domain)) => Err(format!(
            "the function uses operator set {set}; functions of operator sets from {OLDEST} on are read, export it again"
        )),
        set => Ok(set),
    }
}

/// Checks that a call fits its function.
fn check_call(call: &NodeProto, function: &FunctionProto) -> Result<(), String> {
    let counts = [("inputs", &call.input, &function.input), ("outputs", &call.output, &function.output)];
    for (what, given, formal) in counts {
        if given.len() > formal.len() {
            return Err(format!("the call has {} {what}, the function {}", given.len(), formal.len()));
        }
    }
    let known =
        |name: &String| function.attribute.contains(name) || function.attribute_proto.iter().any(|a| a.name == *name);
    if let Some(unknown) = call.attribute.iter().find(|attribute| !known(&attribute.name)) {
        return Err(format!("attribute `{}` is not known", unknown.name));
    }
    let written =
        |name: &String| function.node.iter().any(|node| node.output.contains(name)) || function.input.contains(name);
    match function.output.iter().zip(&call.output).find(|(formal, actual)| !actual.is_empty() && !written(formal)) {
        Some((formal, _)) => Err(format!("no node of the function writes its output `{formal}`")),
        None => Ok(()),
    }
}

/// Replaces attributes that refer to those of the function by the call's, or by their defaults; without either they are left out.
fn set_attributes(node: &mut NodeProto, call: &NodeProto, function: &FunctionProto) {
    let resolved = |attribute: AttributeProto| {
        if attribute.ref_attr_name.is_empty() {
            return Some(attribute);
        }
        let mut all = call.attribute.iter().chain(&function.attribute_proto);
        let given = all.find(|given| given.name == attribute.ref_attr_name)?;
        Some(AttributeProto { name: attribute.name, ..given.clone() })
    };
    node.attribute = std::mem::take(&mut node.attribute).into_iter().filter_map(resolved).collect();
}
