//! The state of an import: the graph so far, what each ONNX name stands for, warnings and problems.

use crate::buffers;
use crate::constant::{Constant, Elements};
use crate::error::ImportProblem;
use crate::external::DataFolders;
use crate::node::{Node, Operand, Padded, Value};
use crate::ops::Row;
use crate::order::{is_statistic, node_name};
use crate::pytorch::Signature;
use crate::scalars::{Scalar, Source};
use crate::sharing::{self, Reader};
use crate::tensor::Decoded;
use crate::warning::{self, Warning, WarningKind};
use bitbudget_ir::{Dim, Graph, Names, NodeId, Op, Role, Shape, TensorType, ops};
use onnx_protobuf::{GraphProto, NodeProto};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// A floating-point initializer that may be trained.
#[derive(Debug)]
pub(crate) struct Initializer {
    pub(crate) name: String,
    pub(crate) constant: Rc<Constant>,
    /// Whether FP64 numbers were rounded.
    pub(crate) rounded: bool,
    /// Whether all elements are equal.
    pub(crate) uniform: bool,
    /// The initializer that this one is by another name, or itself.
    pub(crate) origin: usize,
    /// The parameters that were made of it, by the group of their readers, with the first reader.
    pub(crate) parameters: BTreeMap<String, (NodeId, usize)>,
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
    pub(crate) warnings: Vec<Warning>,
    pub(crate) problems: Vec<ImportProblem>,
    /// Initializers, and their names by Identity, that are running statistics in arithmetic.
    pub(crate) frozen: BTreeSet<String>,
    /// Running statistics that are computed from the network's input.
    pub(crate) batch_statistics: BTreeSet<String>,
    /// What PyTorch's newer exporter says of the program's tensors.
    pub(crate) signature: Signature,
    /// What scalar initializers are told apart by, and those that it leaves unclear.
    pub(crate) source: Source,
    pub(crate) unclear: BTreeSet<String>,
    /// Whether the file shows all initializers that the exporter merged, or that it merged none.
    pub(crate) marks_merged: bool,
    /// The node that is being imported, and its type.
    pub(crate) reader: Reader,
    operator: String,
    /// Parameters that several nodes read.
    pub(crate) shared: BTreeSet<String>,
    /// How many needed nodes read a name, and which node does if it is one.
    readers: HashMap<String, (usize, Option<NodeProto>)>,
    /// Results that an earlier node has computed along with its own.
    pub(crate) merged: HashMap<String, NodeId>,
    constants: HashMap<String, NodeId>,
    names: Names,
    folded: usize,
    data: Option<DataFolders>,
}

impl Importer {
    pub(crate) fn new(name: &str, data: Option<DataFolders>) -> Importer {
        Importer {
            graph: Graph::new(name),
            values: BTreeMap::new(),
            known: HashMap::new(),
            initializers: Vec::new(),
            batch: None,
            warnings: Vec::new(),
            problems: Vec::new(),
            frozen: BTreeSet::new(),
            batch_statistics: BTreeSet::new(),
            signature: Signature::default(),
            source: Source::default(),
            unclear: BTreeSet::new(),
            marks_merged: false,
            reader: Reader::default(),
            operator: String::new(),
            shared: BTreeSet::new(),
            readers: HashMap::new(),
            merged: HashMap::new(),
            constants: HashMap::new(),
            names: Names::default(),
            folded: 0,
            data,
        }
    }

    /// Something that the user should know of a name.
    pub(crate) fn warn(&mut self, kind: WarningKind, name: impl Into<String>) {
        warning::add(&mut self.warnings, kind, [name.into()]);
    }

    pub(crate) fn add_initializer(&mut self, name: &str, decoded: Decoded) {
        let Decoded { constant, rounded } = decoded;
        let constant = Rc::new(constant);
        let scalar = constant.shape.is_empty().then(|| self.source.scalar(&self.signature, name));
        let is_float = matches!(constant.elements, Elements::Floats(_));
        if is_float && scalar == Some(Scalar::Unclear) {
            self.unclear.insert(name.into());
        }
        let trained = is_float && scalar.is_none_or(|scalar| scalar == Scalar::Parameter);
        self.names.take(name);
        let value = match trained {
            _ if self.frozen.contains(name) => self.frozen(name, constant),
            true => self.initializer(name, constant, rounded, self.initializers.len()),
            false => Value::Constant(constant),
        };
        self.known.insert(name.into(), value);
    }

    fn initializer(&mut self, name: &str, constant: Rc<Constant>, rounded: bool, origin: usize) -> Value {
        let (uniform, parameters) = (sharing::is_uniform(&constant), BTreeMap::new());
        self.initializers.push(Initializer { name: name.into(), constant, rounded, uniform, origin, parameters });
        Value::Initializer(self.initializers.len() - 1)
    }

    fn frozen(&mut self, name: &str, constant: Rc<Constant>) -> Value {
        if self.is_read(name) {
            self.warn(WarningKind::FrozenStatistics, name);
        }
        Value::Constant(constant)
    }

    /// A value under the name that Identity gives it: an initializer that may have been merged with others gets its own back, unless the
    /// file lists the program's tensors by their own names.
    pub(crate) fn renamed(&mut self, value: &Value, name: &str) -> Value {
        let Value::Initializer(i) = value else { return value.clone() };
        let Initializer { constant, rounded, uniform, origin, .. } = &self.initializers[*i];
        let (constant, rounded, uniform, origin) = (constant.clone(), *rounded, *uniform, *origin);
        match (self.frozen.contains(name), uniform) {
            (true, _) => self.frozen(name, constant),
            (false, true) if !self.signature.is_known() => self.initializer(name, constant, rounded, origin),
            (false, _) => value.clone(),
        }
    }

    pub(crate) fn add_input(&mut self, name: &str, ty: TensorType) {
        if let Err(reason) = plausible(&ty.shape) {
            return self.problems.push(ImportProblem::at(format!("input `{name}`"), reason));
        }
        if name.is_empty() {
            return self.problems.push("the input has no name".into());
        }
        self.names.take(name);
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
            node.output.iter().for_each(|output| self.names.take(output));
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
    pub(crate) fn node(&mut self, row: &'static Row, proto: &NodeProto, opset: i64) -> Option<Vec<Value>> {
        let name = node_name(proto);
        let version = row.versions.iter().copied().filter(|&v| v <= opset).max();
        let place = match version {
            Some(version) => format!("node `{name}` ({} version {version})", proto.op_type),
            None => {
                let first = row.versions.first().copied().unwrap_or(0);
                let reason =
                    format!("operator {} came with operator set {first}, the file uses {opset}", proto.op_type);
                self.problems.push(ImportProblem::at(format!("node `{name}`"), reason));
                return None;
            }
        };
        let mut inputs = Vec::with_capacity(proto.input.len());
        let mut missing = Vec::new();
        let mut failed = false;
        for (position, input) in proto.input.iter().enumerate() {
            inputs.push(match self.known.get(input).cloned() {
                _ if input.is_empty() => None,
                Some(value) => {
                    failed |= matches!(value, Value::Failed);
                    Some(Operand { name: input.clone(), value: buffers::read(self, row, proto, position, value) })
                }
                None if is_statistic(proto, position) && self.batch_statistics.contains(input) => None,
                None => {
                    missing.push(format!("`{input}`"));
                    None
                }
            });
        }
        if !missing.is_empty() {
            let names = missing.join(", ");
            self.problems.push(ImportProblem::at(
                place,
                format!("it reads {names}, which no node, initializer or input provides"),
            ));
            return None;
        }
        if let Some(unknown) = proto.attribute.iter().find(|a| !row.attributes.contains(&a.name.as_str())) {
            self.problems.push(ImportProblem::at(place, format!("attribute `{}` is not known", unknown.name)));
            return None;
        }
        if failed {
            return None;
        }
        let read = proto.output.iter().map(|n| !n.is_empty() && self.is_read(n)).collect();
        let node = Node { proto, name, version: version.unwrap_or(opset), inputs, read };
        self.reader = sharing::reader(self, &node, self.reader.node + 1);
        self.operator.clone_from(&node.proto.op_type);
        match self.build(row, &node) {
            Ok(values) => Some(values),
            Err(reason) => {
                let shapes: Vec<String> = node.inputs.iter().map(|input| self.describe(input.as_ref())).collect();
                let on = if shapes.is_empty() { String::new() } else { format!(" on {}", shapes.join(", ")) };
                self.problems.push(ImportProblem::at(format!("{place}{on}"), reason));
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

    /// The folders in which external data may lie.
    pub(crate) fn data(&self) -> Option<&DataFolders> {
        self.data.as_ref()
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
            Value::Initializer(i) => sharing::parameter(self, *i),
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

    /// A new name for what belongs to the present node alone.
    pub(crate) fn own_name(&mut self, what: &str) -> String {
        self.fresh_name(&format!("{}.{what}", self.reader.owner))
    }

    /// A name that nothing in the file has.
    pub(crate) fn fresh_name(&mut self, base: &str) -> String {
        self.names.fresh(base)
    }

    /// A padded tensor for a reader that cannot take the padding into its own.
    pub(crate) fn padded(&mut self, padded: &Padded) -> Result<NodeId, String> {
        if let Some(id) = padded.made.get() {
            return Ok(id);
        }
        if padded.value != 0.0 {
            return Err(format!(
                "padding with {} by `{}` is supported only before a MaxPool without ceil_mode",
                padded.value, padded.name
            ));
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
        let id = self.graph.add_named(op, operands, name).map_err(|e| e.reason().to_string())?;
        self.graph.set_onnx_type(id, &self.operator);
        Ok(id)
    }

    /// Adds a statistic: a node that is not a tensor of the network itself.
    pub(crate) fn emit_internal(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        operands: &[NodeId],
    ) -> Result<NodeId, String> {
        let id = self.emit(name, op, operands)?;
        self.graph.set_role(id, Role::Internal);
        self.graph.set_onnx_type(id, "");
        Ok(id)
    }

    /// The same elements under another shape; nothing if it has that shape.
    pub(crate) fn reshape(&mut self, name: &str, x: NodeId, shape: Shape) -> Result<NodeId, String> {
        if self.graph.ty(x).shape == shape {
            return Ok(x);
        }
        self.emit(name, ops::Reshape { shape }, &[x])
    }

    /// The same elements, repeated to a shape that they broadcast to; nothing if it has that shape.
    pub(crate) fn broadcast(&mut self, name: &str, x: NodeId, shape: Shape) -> Result<NodeId, String> {
        if self.shape(x) == shape {
            return Ok(x);
        }
        self.emit(name, ops::Broadcast { shape }, &[x])
    }

    /// The shape to which two tensors broadcast.
    pub(crate) fn broadcast_shape(&self, a: NodeId, b: NodeId) -> Result<Shape, String> {
        let sum = Op::from(ops::Add {}).infer(&[self.graph.ty(a), self.graph.ty(b)]);
        Ok(sum.map_err(|reason| reason.to_string())?.shape)
    }

    pub(crate) fn closing_warnings(&mut self) {
        let trained = |id: NodeId| matches!(self.graph.op(id), Op::Parameter(_));
        if self.problems.is_empty() && !self.graph.ids().any(trained) {
            warning::add(&mut self.warnings, WarningKind::NoParameters, []);
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
