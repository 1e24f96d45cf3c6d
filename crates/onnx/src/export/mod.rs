//! Export: from a forward graph to an ONNX file.

mod messages;
mod operators;
mod pool;

use crate::error::ExportError;
use bitbudget_ir::{Graph, Model, Names, NodeId, Op, verify};
use messages::{metadata, model_message, tensor_info};
use onnx_protobuf::{GraphProto, Message, NodeProto, TensorProto};
use std::collections::BTreeMap;

/// Keys and values that go with a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Those of the whole model.
    pub model: Vec<(String, String)>,
    /// Those of operators, by node of the graph.
    pub nodes: BTreeMap<NodeId, Vec<(String, String)>>,
}

/// Writes a forward graph as the bytes of an ONNX file of operator set 19, or 20 where it has Gelu, and IR version 9, with the batch dimension `N`.
///
/// Batch normalisation is written in its form for evaluation, with the running statistics; updates are left out.
///
/// # Errors
/// If an operator of backward graphs occurs or a parameter has no value.
pub fn export_bytes(model: &Model) -> Result<Vec<u8>, ExportError> {
    export_annotated_bytes(model, &Annotations::default())
}

/// Like [`export_bytes`], with annotations as `metadata_props` of the model and its nodes, which viewers such as Netron show.
///
/// A file with annotated nodes has IR version 10, the first in which nodes have them.
///
/// # Errors
/// As for [`export_bytes`].
pub fn export_annotated_bytes(model: &Model, annotations: &Annotations) -> Result<Vec<u8>, ExportError> {
    if let Some(fault) = verify(&model.graph).err().and_then(|faults| faults.into_iter().next()) {
        return Err(ExportError(fault.to_string()));
    }
    if model.graph.outputs().is_empty() {
        return Err(ExportError("it has no output".into()));
    }
    let mut exporter = Exporter::new(model, annotations);
    let live = forward(&model.graph);
    for id in model.graph.ids().filter(|id| live[id.index()]) {
        operators::write(&mut exporter, id).map_err(|reason| {
            let node = model.graph.node(id);
            ExportError(format!("{id} `{}` ({}): {reason}", node.name, node.op.name()))
        })?;
    }
    exporter.outputs();
    let bytes = model_message(exporter.proto, annotations).write_to_bytes().map_err(|e| ExportError(e.to_string()))?;
    match i32::try_from(bytes.len()) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(ExportError("it is larger than 2 GiB, the most that a protobuf message can hold".into())),
    }
}

/// The nodes that the outputs need; of a batch normalisation's statistics only the running ones.
fn forward(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.len()];
    graph.outputs().iter().for_each(|(_, id)| live[id.index()] = true);
    for id in graph.ids().rev().filter(|id| !matches!(graph.op(*id), Op::State(_))) {
        if !live[id.index()] {
            continue;
        }
        // The states stand after what updates them, so they are marked here and passed over above.
        let batch_norm = matches!(graph.op(id), Op::BatchNormalize(_));
        let statistics = running_statistics(graph, id).filter(|_| batch_norm);
        statistics.into_iter().flatten().for_each(|(state, _)| live[state.index()] = true);
        for (position, operand) in graph.operands(id).iter().copied().enumerate() {
            live[operand.index()] |= !(batch_norm && (position == 1 || position == 2));
        }
    }
    live
}

/// The states that hold the running mean and variance of a batch normalisation, each with its momentum if it has one.
fn running_statistics(graph: &Graph, id: NodeId) -> Option<[(NodeId, Option<f64>); 2]> {
    let statistics = graph.operands(id).get(1..3)?.to_vec();
    let state = |statistic: NodeId| {
        if matches!(graph.op(statistic), Op::State(_)) {
            return Some((statistic, None));
        }
        graph.updates().iter().find_map(|&(target, value)| {
            let momentum = match graph.op(value) {
                Op::RunningAverage(op) => op.momentum.0,
                Op::RunningVariance(op) => op.momentum.0,
                _ => return None,
            };
            (graph.operands(value).get(1) == Some(&statistic)).then_some((target, Some(momentum)))
        })
    };
    Some([state(statistics[0])?, state(statistics[1])?])
}

/// A graph message in the making.
struct Exporter<'m> {
    model: &'m Model,
    annotations: &'m Annotations,
    proto: GraphProto,
    /// The names of the tensors by node.
    names: BTreeMap<NodeId, String>,
    taken: Names,
    node_names: Names,
}

impl<'m> Exporter<'m> {
    fn new(model: &'m Model, annotations: &'m Annotations) -> Exporter<'m> {
        let graph = &model.graph;
        let sources = graph.ids().filter_map(|id| graph.op(id).source_name());
        let outputs = graph.outputs().iter().map(|(name, _)| name.as_str());
        let taken = sources.chain(outputs).map(String::from).collect();
        let proto = GraphProto { name: graph.name().to_string(), ..GraphProto::default() };
        let mut exporter =
            Exporter { model, annotations, proto, names: BTreeMap::new(), taken, node_names: Names::default() };
        for (name, id) in graph.outputs() {
            if graph.op(*id).source_name().is_none() {
                exporter.names.entry(*id).or_insert_with(|| name.clone());
            }
        }
        exporter
    }

    /// A name that nothing else has.
    fn fresh(&mut self, base: &str) -> String {
        self.taken.fresh(base)
    }

    /// The name of a node's tensor.
    fn name(&mut self, id: NodeId) -> String {
        if let Some(name) = self.names.get(&id) {
            return name.clone();
        }
        let name = match self.model.graph.op(id).source_name() {
            Some(name) => name.to_string(),
            None => self.fresh(&format!("t{}", id.0)),
        };
        self.names.insert(id, name.clone());
        name
    }

    /// A node message that computes the tensor of `id`, on inputs of the given names.
    fn node(&mut self, id: NodeId, operator: &str, inputs: Vec<String>) -> &mut NodeProto {
        let output = self.name(id);
        let node = &self.model.graph.node(id).name;
        let name = if node.is_empty() { output.clone() } else { node.clone() };
        let metadata = self.annotations.nodes.get(&id).map(|pairs| metadata(pairs)).unwrap_or_default();
        let message = self.message(name, operator, inputs, output);
        message.metadata_props = metadata;
        message
    }

    fn message(&mut self, name: String, operator: &str, input: Vec<String>, output: String) -> &mut NodeProto {
        let op_type = operator.to_string();
        // Readers refuse two nodes of one name; tensors have names of their own.
        let name = self.node_names.fresh(&name);
        let node = NodeProto { name, op_type, input, output: vec![output], ..NodeProto::default() };
        let at = self.proto.node.len();
        self.proto.node.push(node);
        &mut self.proto.node[at]
    }

    /// An initializer that is an operator's argument, such as a shape.
    fn argument(&mut self, id: NodeId, what: &str, mut tensor: TensorProto) -> String {
        let output = self.name(id);
        let name = self.fresh(&format!("{output}.{what}"));
        tensor.name.clone_from(&name);
        self.proto.initializer.push(tensor);
        name
    }

    fn outputs(&mut self) {
        let model = self.model;
        for (name, id) in model.graph.outputs() {
            let computed = self.name(*id);
            if computed != *name {
                self.message(name.clone(), "Identity", vec![computed], name.clone());
            }
            self.proto.output.push(tensor_info(name, &model.graph.ty(*id).shape));
        }
    }
}
