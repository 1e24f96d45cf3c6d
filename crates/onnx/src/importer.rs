//! The state of an import: the graph so far, what each ONNX name stands for, warnings and problems.

use crate::constant::{Constant, Elements};
use crate::node::{Node, Operand, Padded, Value};
use crate::ops::Row;
use crate::order::node_name;
use crate::tensor::Decoded;
use bitbudget_ir::{Dim, Graph, NodeId, Op, Role, Shape, TensorType, ops};
use onnx_protobuf::{GraphProto, NodeProto};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A floating-point initializer with dimensions.
#[derive(Debug)]
pub(crate) struct Initializer {
    pub(crate) name: String,
    pub(crate) constant: Rc<Constant>,
    loss: Option<&'static str>,
    parameter: Option<NodeId>,
}

/// Numbers that folding may produce in one tensor, and in all.
const MOST_FOLDED: usize = 1_000_000;
const MOST_FOLDED_IN_ALL: usize = 10_000_000;

/// Elements per example, or of a tensor without a batch, beyond which a shape is surely wrong.
const MOST_ELEMENTS: usize = 1 << 40;

/// The state of an import.
pub(crate) struct Importer {
    pub(crate) graph: Graph,
    pub(crate) values: BTreeMap<String, Vec<f32>>,
    pub(crate) known: HashMap<String, Value>,
    pub(crate) initializers: Vec<Initializer>,
    /// The batch size that the file fixes, if it does.
    pub(crate) batch: Option<usize>,
    pub(crate) warnings: Vec<String>,
    pub(crate) problems: Vec<String>,
    /// Dropout nodes with a positive ratio.
    pub(crate) dropouts: Vec<String>,
    /// Batch normalisations by the initializer that they read as scale.
    pub(crate) scales: BTreeMap<String, usize>,
    /// Running statistics that are copies, since several nodes read the initializer.
    pub(crate) copies: Vec<String>,
    /// How many needed nodes read a name, and which node does if it is one.
    readers: HashMap<String, (usize, Option<NodeProto>)>,
    /// Results that an earlier node has computed along with its own.
    pub(crate) merged: HashMap<String, NodeId>,
    constants: HashMap<String, NodeId>,
    names: BTreeSet<String>,
    folded: usize,
    folder: Option<PathBuf>,
}

impl Importer {
    pub(crate) fn new(name: &str) -> Importer {
        Importer {
            graph: Graph::new(name),
            values: BTreeMap::new(),
            known: HashMap::new(),
            initializers: Vec::new(),
            batch: None,
            warnings: Vec::new(),
            problems: Vec::new(),
            dropouts: Vec::new(),
            scales: BTreeMap::new(),
            copies: Vec::new(),
            readers: HashMap::new(),
            merged: HashMap::new(),
            constants: HashMap::new(),
            names: BTreeSet::new(),
            folded: 0,
            folder: None,
        }
    }

    pub(crate) fn add_initializer(&mut self, name: &str, decoded: Decoded) {
        let Decoded { constant, loss } = decoded;
        let constant = Rc::new(constant);
        let trained = matches!(constant.elements, Elements::Floats(_)) && !constant.shape.is_empty();
        let value = match trained {
            true => {
                let entry = Initializer { name: name.into(), constant, loss, parameter: None };
                self.initializers.push(entry);
                Value::Initializer(self.initializers.len() - 1)
            }
            false => Value::Constant(constant),
        };
        self.names.insert(name.into());
        self.known.insert(name.into(), value);
    }

    pub(crate) fn add_input(&mut self, name: &str, ty: TensorType) {
        if let Err(reason) = plausible(&ty.shape) {
            return self.problems.push(format!("input `{name}`: {reason}"));
        }
        if name.is_empty() {
            return self.problems.push("the input has no name".into());
        }
        self.names.insert(name.into());
        let id = self.graph.source(ops::Input { name: name.into() }, ty);
        self.known.insert(name.into(), Value::Tensor(id));
    }

    /// Notes who reads what, for the operators that are imported together with their only reader.
    pub(crate) fn count_readers(&mut self, graph: &GraphProto, needed: &[bool]) {
        for node in graph.node.iter().zip(needed).filter(|(_, needed)| **needed).map(|(node, _)| node) {
            for name in node.input.iter().filter(|n| !n.is_empty()) {
                let entry = self.readers.entry(name.clone()).or_insert((0, None));
                *entry = (entry.0 + 1, (entry.0 == 0 && node.op_type == "Add").then(|| node.clone()));
            }
            self.names.extend(node.output.iter().cloned());
        }
        for output in &graph.output {
            let entry = self.readers.entry(output.name.clone()).or_insert((0, None));
            *entry = (entry.0 + 1, None);
        }
    }

    /// The Add that is the only reader of a name.
    pub(crate) fn only_reader(&self, name: &str) -> Option<&NodeProto> {
        self.readers.get(name).and_then(|(_, node)| node.as_ref())
    }

    pub(crate) fn is_read(&self, name: &str) -> bool {
        self.readers.contains_key(name)
    }

    /// Imports one node: the values of its outputs, or nothing after a problem.
    pub(crate) fn node(
        &mut self,
        row: &'static Row,
        proto: &NodeProto,
        opset: i64,
        folder: Option<&Path>,
    ) -> Option<Vec<Value>> {
        self.folder = folder.map(Path::to_path_buf);
        let name = node_name(proto);
        let version = row.versions.iter().copied().filter(|&v| v <= opset).max();
        let place = match version {
            Some(version) => format!("node `{name}` ({} version {version})", proto.op_type),
            None => {
                let first = row.versions.first().copied().unwrap_or(0);
                self.problems.push(format!(
                    "node `{name}`: operator {} came with operator set {first}, the file uses {opset}",
                    proto.op_type
                ));
                return None;
            }
        };
        let mut inputs = Vec::with_capacity(proto.input.len());
        let mut missing = Vec::new();
        let mut failed = false;
        for input in &proto.input {
            inputs.push(match self.known.get(input) {
                _ if input.is_empty() => None,
                Some(value) => {
                    failed |= matches!(value, Value::Failed);
                    Some(Operand { name: input.clone(), value: value.clone() })
                }
                None => {
                    missing.push(format!("`{input}`"));
                    None
                }
            });
        }
        if !missing.is_empty() {
            let names = missing.join(", ");
            self.problems.push(format!("{place}: it reads {names}, which no node, initializer or input provides"));
            return None;
        }
        if let Some(unknown) = proto.attribute.iter().find(|a| !row.attributes.contains(&a.name.as_str())) {
            self.problems.push(format!("{place}: attribute `{}` is not known", unknown.name));
            return None;
        }
        if failed {
            return None;
        }
        let read = proto.output.iter().map(|n| !n.is_empty() && self.is_read(n)).collect();
        let node = Node { proto, name, version: version.unwrap_or(opset), inputs, read };
        match self.build(row, &node) {
            Ok(values) => Some(values),
            Err(reason) => {
                let shapes: Vec<String> = node.inputs.iter().map(|input| self.describe(input.as_ref())).collect();
                let on = if shapes.is_empty() { String::new() } else { format!(" on {}", shapes.join(", ")) };
                self.problems.push(format!("{place}{on}: {reason}"));
                None
            }
        }
    }

    fn build(&mut self, row: &Row, node: &Node) -> Result<Vec<Value>, String> {
        if let Some(&id) = node.proto.output.first().and_then(|name| self.merged.get(name)) {
            return Ok(vec![Value::Tensor(id)]);
        }
        let constants: Option<Vec<Option<Rc<Constant>>>> = node
            .inputs
            .iter()
            .map(|input| match input.as_ref().map(|operand| &operand.value) {
                None => Some(None),
                Some(Value::Constant(constant)) => Some(Some(constant.clone())),
                Some(_) => None,
            })
            .collect();
        if let (Some(fold), Some(constants)) = (row.fold, constants) {
            return self.fold(fold, node, &constants);
        }
        match row.build {
            Some(build) => build(self, node),
            None => Err("it is supported only on values that are known at import (shapes and constants)".into()),
        }
    }

    fn fold(
        &mut self,
        fold: crate::ops::Fold,
        node: &Node,
        constants: &[Option<Rc<Constant>>],
    ) -> Result<Vec<Value>, String> {
        let room = MOST_FOLDED.min(MOST_FOLDED_IN_ALL - self.folded);
        let results = fold(node, constants, room)?;
        self.folded += results.iter().map(Constant::len).sum::<usize>();
        if self.folded > MOST_FOLDED_IN_ALL {
            self.folded = MOST_FOLDED_IN_ALL;
            return Err("the file computes too many constants; simplify it before the import".into());
        }
        Ok(results.into_iter().map(crate::import::known).collect())
    }

    fn describe(&self, input: Option<&Operand>) -> String {
        match input.map(|operand| &operand.value) {
            None => "nothing".into(),
            Some(Value::Tensor(id)) => self.graph.ty(*id).shape.to_string(),
            Some(Value::Padded(padded)) => format!("padded {}", self.graph.ty(padded.x).shape),
            Some(Value::Constant(constant)) => format!("constant {:?}", constant.shape),
            Some(Value::Initializer(i)) => format!("initializer {:?}", self.initializers[*i].constant.shape),
            Some(Value::Sequence(values)) => format!("a sequence of {} tensors", values.len()),
            Some(Value::Failed) => "?".into(),
        }
    }

    /// The folder in which external data may lie.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The input at a position as a tensor of the graph.
    pub(crate) fn tensor(&mut self, node: &Node, position: usize) -> Result<NodeId, String> {
        self.operand(node.need(position)?)
    }

    /// An operand as a tensor of the graph: initializers become parameters, constants constants.
    pub(crate) fn operand(&mut self, operand: &Operand) -> Result<NodeId, String> {
        match &operand.value {
            Value::Tensor(id) => Ok(*id),
            Value::Padded(padded) => self.padded(padded),
            Value::Initializer(i) => self.parameter(*i),
            Value::Constant(constant) => match self.constants.get(&operand.name) {
                Some(&id) => Ok(id),
                None => {
                    let id = self.constant_source(&operand.name, constant)?;
                    self.constants.insert(operand.name.clone(), id);
                    Ok(id)
                }
            },
            Value::Sequence(_) => Err(format!("`{}` is a sequence of tensors where one is needed", operand.name)),
            Value::Failed => Err("it needs the result of a node that cannot be imported".into()),
        }
    }

    /// The shape of an operand, without making a source of it.
    pub(crate) fn shape_of(&mut self, operand: &Operand) -> Result<Shape, String> {
        Ok(match &operand.value {
            Value::Constant(constant) => Shape::fixed(&constant.shape),
            Value::Initializer(i) => Shape::fixed(&self.initializers[*i].constant.shape),
            _ => {
                let x = self.operand(operand)?;
                self.shape(x)
            }
        })
    }

    /// The value of an operand that has to be known at import; an initializer that is read so is not trained.
    pub(crate) fn constant(&self, operand: &Operand) -> Result<Rc<Constant>, String> {
        match &operand.value {
            Value::Constant(constant) => Ok(constant.clone()),
            Value::Initializer(i) => Ok(self.initializers[*i].constant.clone()),
            _ => Err(format!("`{}` must be known at import, but is computed from the network's input", operand.name)),
        }
    }

    /// The whole numbers of an optional input, which have to be known at import.
    pub(crate) fn ints(&self, node: &Node, position: usize) -> Result<Option<Vec<i64>>, String> {
        node.input(position).map(|operand| self.constant(operand)?.as_fixed()).transpose()
    }

    /// A constant source with the given value.
    pub(crate) fn constant_source(&mut self, name: &str, constant: &Constant) -> Result<NodeId, String> {
        let Elements::Floats(floats) = &constant.elements else {
            return Err(format!("`{name}` holds whole numbers where floating-point ones are needed"));
        };
        if floats.is_empty() {
            return Err(format!("`{name}` has no elements"));
        }
        let name = if self.values.contains_key(name) { self.fresh_name(name) } else { name.to_string() };
        self.values.insert(name.clone(), floats.clone());
        Ok(self.graph.source(ops::Constant { name }, TensorType::f32(Shape::fixed(&constant.shape))))
    }

    /// A name that nothing in the file has.
    pub(crate) fn fresh_name(&mut self, base: &str) -> String {
        let mut name = base.to_string();
        let mut count = 1;
        while name.is_empty() || !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{base}.{count}");
        }
        name
    }

    fn parameter(&mut self, i: usize) -> Result<NodeId, String> {
        let Initializer { name, constant, loss, parameter } = &self.initializers[i];
        if let Some(id) = parameter {
            return Ok(*id);
        }
        let floats = constant.as_floats()?;
        if floats.is_empty() {
            return Err(format!("initializer `{name}` has no elements: its shape is {:?}", constant.shape));
        }
        self.warnings.extend(loss.map(|loss| format!("initializer `{name}`: {loss}")));
        let ty = TensorType::f32(Shape::fixed(&constant.shape));
        let mut name = name.clone();
        // A running statistic may be read as a weight as well: exporters merge equal tensors.
        if self.values.contains_key(&name) {
            name = self.fresh_name(&name);
        }
        let id = self.graph.source(ops::Parameter { name: name.clone() }, ty);
        self.values.insert(name, floats);
        self.initializers[i].parameter = Some(id);
        Ok(id)
    }

    /// A padded tensor for a reader that cannot take the padding into its own.
    pub(crate) fn padded(&mut self, padded: &Padded) -> Result<NodeId, String> {
        if let Some(id) = padded.made.get() {
            return Ok(id);
        }
        let mut shape = self.shape(padded.x);
        for (axis, dim) in shape.0.iter_mut().enumerate() {
            let more = padded.begin[axis] + padded.end[axis];
            match dim.as_fixed() {
                Some(size) => *dim = Dim::fixed(size.saturating_add(more)),
                None if more == 0 => {}
                None => return Err("the batch dimension cannot be padded".into()),
            }
        }
        let op = ops::SliceScatter { begin: padded.begin.clone(), step: vec![1; shape.rank()], shape };
        let id = self.emit(&padded.name, op, &[padded.x])?;
        padded.made.set(Some(id));
        Ok(id)
    }

    pub(crate) fn shape(&self, id: NodeId) -> Shape {
        self.graph.ty(id).shape.clone()
    }

    /// Adds a node that does a forward operator's work.
    pub(crate) fn emit(&mut self, name: &str, op: impl Into<Op>, operands: &[NodeId]) -> Result<NodeId, String> {
        let op = op.into();
        let ty = self.graph.infer(&op, operands, name).map_err(|e| e.reason().to_string())?;
        plausible(&ty.shape)?;
        self.graph.add_named(op, operands, name).map_err(|e| e.reason().to_string())
    }

    /// Adds a node that is no tensor of the network: a statistic.
    pub(crate) fn emit_internal(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        operands: &[NodeId],
    ) -> Result<NodeId, String> {
        let id = self.emit(name, op, operands)?;
        self.graph.set_role(id, Role::Internal);
        Ok(id)
    }

    /// The same elements under another shape; nothing if it has that shape.
    pub(crate) fn reshape(&mut self, name: &str, x: NodeId, shape: Shape) -> Result<NodeId, String> {
        if self.graph.ty(x).shape == shape {
            return Ok(x);
        }
        self.emit(name, ops::Reshape { shape }, &[x])
    }

    pub(crate) fn closing_warnings(&mut self) {
        if !self.dropouts.is_empty() {
            self.warnings
                .push(format!("dropout is left out, the network trains without it: {}", self.dropouts.join(", ")));
        }
        if !self.copies.is_empty() {
            let names = self.copies.join(", ");
            self.warnings.push(format!("running statistics whose initializer several nodes read are copied: {names}"));
        }
        for (name, &count) in self.scales.iter().filter(|(_, count)| **count > 1) {
            self.warnings.push(format!(
                "initializer `{name}` is the scale of {count} batch normalisations and is trained as one parameter; \
                 PyTorch's exporter merges equal tensors unless it exports with \
                 training=torch.onnx.TrainingMode.TRAINING"
            ));
        }
        if self.problems.is_empty() && !self.initializers.iter().any(|i| i.parameter.is_some()) {
            self.warnings.push("the network has no parameters, so there is nothing to train".into());
        }
    }
}

/// Refuses shapes that no memory can hold, before arithmetic on them overflows.
fn plausible(shape: &Shape) -> Result<(), String> {
    let (elements, batches) = shape.symbolic_elements();
    if elements == 0 || elements > MOST_ELEMENTS {
        return Err(format!("a tensor of shape {shape} is {}", if elements == 0 { "empty" } else { "too large" }));
    }
    if batches > 1 {
        return Err(format!("the batch size occurs twice in the shape {shape}"));
    }
    Ok(())
}
