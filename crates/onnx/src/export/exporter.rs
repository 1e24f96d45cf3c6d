//! A graph message in the making, and the names in it.

use super::annotations::Annotations;
use super::messages::{metadata, tensor, tensor_info};
use bitbudget_ir::{Graph, Model, Names, NodeId, Op};
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{GraphProto, NodeProto, TensorProto};
use protobuf::Enum;
use std::collections::BTreeMap;

/// A graph message in the making.
pub(super) struct Exporter<'m> {
    pub(super) model: &'m Model,
    annotations: &'m Annotations,
    pub(super) proto: GraphProto,
    /// The names of the tensors by node.
    names: BTreeMap<NodeId, String>,
    taken: Names,
    node_names: Names,
}

impl<'m> Exporter<'m> {
    pub(super) fn new(model: &'m Model, annotations: &'m Annotations) -> Exporter<'m> {
        let graph = &model.graph;
        let sources = graph.ids().filter_map(|id| graph.op(id).source_name());
        let outputs = graph.outputs().iter().map(|(name, _)| name.as_str());
        let taken = sources.chain(outputs).map(String::from).collect();
        let proto = GraphProto { name: graph.name().to_string(), ..GraphProto::default() };
        let mut exporter =
            Exporter { model, annotations, proto, names: BTreeMap::new(), taken, node_names: Names::default() };
        for (name, id) in graph.outputs() {
            if graph.op(*id).source_name().is_none() && !exporter.is_source(name) {
                exporter.names.entry(*id).or_insert_with(|| name.clone());
            }
        }
        exporter
    }

    fn is_source(&self, name: &str) -> bool {
        let graph = &self.model.graph;
        graph.ids().any(|id| graph.op(id).source_name() == Some(name))
    }

    /// A name that nothing else has.
    pub(super) fn fresh(&mut self, base: &str) -> String {
        self.taken.fresh(base)
    }

    /// The name of a node's tensor.
    pub(super) fn name(&mut self, id: NodeId) -> String {
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
    pub(super) fn node(&mut self, id: NodeId, operator: &str, inputs: Vec<String>) -> &mut NodeProto {
        let output = self.name(id);
        let node = &self.model.graph.node(id).name;
        let name = if node.is_empty() { output.clone() } else { node.clone() };
        let metadata = self.annotations.nodes.get(&id).map(|pairs| metadata(pairs)).unwrap_or_default();
        let message = self.message(name, operator, inputs, output);
        message.metadata_props = metadata;
        message
    }

    pub(super) fn message(
        &mut self,
        name: String,
        operator: &str,
        input: Vec<String>,
        output: String,
    ) -> &mut NodeProto {
        let op_type = operator.to_string();
        // Readers refuse two nodes of one name; tensors have names of their own.
        let name = self.node_names.fresh(&name);
        let node = NodeProto { name, op_type, input, output: vec![output], ..NodeProto::default() };
        let at = self.proto.node.len();
        self.proto.node.push(node);
        &mut self.proto.node[at]
    }

    /// An operator's argument: an initializer of whole numbers, such as a shape, or a Constant node of floating-point ones, such as a
    /// factor. Floating-point initializers are parameters and states.
    pub(super) fn argument(&mut self, id: NodeId, what: &str, mut value: TensorProto) -> String {
        let output = self.name(id);
        let name = self.fresh(&format!("{output}.{what}"));
        if value.data_type == DataType::FLOAT.value() {
            self.message(name.clone(), "Constant", Vec::new(), name.clone()).attribute = vec![tensor("value", value)];
        } else {
            value.name.clone_from(&name);
            self.proto.initializer.push(value);
        }
        name
    }

    pub(super) fn outputs(&mut self) {
        let model = self.model;
        for (name, id) in model.graph.outputs() {
            let computed = self.name(*id);
            // An output can have the name of an input whose batch axis was moved.
            let name = if computed != *name && self.is_source(name) { self.fresh(name) } else { name.clone() };
            if computed != name {
                self.message(name.clone(), "Identity", vec![computed], name.clone());
            }
            self.proto.output.push(tensor_info(&name, model.graph.ty(*id)));
        }
    }
}

/// The states that hold the running mean and variance of a batch normalisation, each with its momentum if it has one.
pub(super) fn running_statistics(graph: &Graph, id: NodeId) -> Option<[(NodeId, Option<f64>); 2]> {
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
