//! Control flow that is known at import: the branch of an If, the steps of a Loop or a Scan one after the other.

use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Operand, Value, axis};
use crate::inline::{Copy, node_name, notes};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, GraphProto, NodeProto};
use std::collections::HashMap;

/// Steps of one loop that are unrolled at most.
const MOST_STEPS: usize = 64;

/// The first operator set in which Unsqueeze takes its axes as an input.
const AXES_AS_INPUT: &str = "13";

/// Nodes to import, and the names of the results.
pub(super) struct Body {
    pub(super) nodes: Vec<NodeProto>,
    pub(super) outputs: Vec<String>,
}

/// Whether a node is one of control flow.
pub(super) fn is_control(node: &NodeProto) -> bool {
    matches!(node.domain.as_str(), "" | "ai.onnx") && matches!(node.op_type.as_str(), "If" | "Loop" | "Scan")
}

fn graph<'n>(node: &'n NodeProto, name: &str) -> Result<&'n GraphProto, String> {
    let attribute = node.attribute.iter().find(|attribute| attribute.name == name);
    attribute.and_then(|attribute| attribute.g.as_ref()).ok_or_else(|| format!("attribute `{name}` is missing"))
}

fn numbers(node: &NodeProto, name: &str) -> Vec<i64> {
    node.attribute.iter().find(|attribute| attribute.name == name).map(|a| a.ints.clone()).unwrap_or_default()
}

/// A copy of a graph within a node. `map` holds the names of its inputs.
fn copy(importer: &mut Importer, graph: &GraphProto, prefix: &str, mut map: HashMap<String, String>) -> Body {
    let mark = |node: &mut NodeProto| {
        if !prefix.is_empty()
            && notes::get(node, notes::ORIGINAL).is_none()
            && let Some(output) = node.output.first().cloned()
        {
            notes::set(node, notes::ORIGINAL, &output);
        }
    };
    let mut copy = Copy { prefix, names: &mut importer.names, each: &mark };
    let nodes = copy.nodes(&graph.node, &mut map);
    let named = |name: &String| map.get(name).unwrap_or(name).clone();
    Body { nodes, outputs: graph.output.iter().map(|output| named(&output.name)).collect() }
}

/// Whether a condition holds, which has to be known.
fn holds(operand: &Operand) -> Result<bool, String> {
    match &operand.value {
        Value::Constant(constant) => match constant.as_fixed()?.as_slice() {
            [one] => Ok(*one != 0),
            all => Err(format!("its condition `{}` holds {} values, one is needed", operand.name, all.len())),
        },
        _ => Err(format!(
            "its condition `{}` is computed from the network's input or its parameters, but a trainer runs the same \
             operators in each step; export the network without the condition",
            operand.name
        )),
    }
}

/// The branch of an If.
pub(super) fn branch(importer: &mut Importer, node: &NodeProto, inputs: &[Option<Operand>]) -> Result<Body, String> {
    let condition = inputs.first().and_then(Option::as_ref).ok_or("its condition is missing")?;
    let taken = graph(node, if holds(condition)? { "then_branch" } else { "else_branch" })?;
    if taken.output.len() != node.output.len() {
        return Err(format!("its branch has {} outputs, it has {}", taken.output.len(), node.output.len()));
    }
    Ok(copy(importer, taken, "", HashMap::new()))
}

/// What decides how often a body runs.
enum Steps {
    /// Of a Loop: at most so often, and as long as the condition holds.
    While { most: Option<i64>, goes_on: bool },
    /// Of a Scan: once for each slice of its inputs.
    Each { count: usize, slices: Vec<Slices> },
}

/// An input of a Scan that is read slice by slice.
struct Slices {
    name: String,
    axis: usize,
    backward: bool,
}

/// A Loop or a Scan on its way.
pub(super) struct Unrolling<'n> {
    node: &'n NodeProto,
    body: &'n GraphProto,
    steps: Steps,
    /// The values that the next step takes from the last one.
    states: Vec<Value>,
    /// The results of the steps that are joined, by output.
    parts: Vec<Vec<Value>>,
    done: usize,
}

impl<'n> Unrolling<'n> {
    pub(super) fn new(
        importer: &mut Importer,
        node: &'n NodeProto,
        inputs: Vec<Option<Operand>>,
    ) -> Result<Unrolling<'n>, String> {
        let body = graph(node, "body")?;
        let (steps, states, parts) = match node.op_type.as_str() {
            "Loop" => {
                let given = |at: usize| inputs.get(at).and_then(Option::as_ref);
                let most = given(0).map(|most| trips(importer, most)).transpose()?;
                let goes_on = given(1).map(holds).transpose()?.unwrap_or(true);
                let states: Vec<Value> = values(inputs.get(2..).unwrap_or_default())?;
                let parts =
                    (body.output.len()).checked_sub(states.len() + 1).filter(|_| body.input.len() == states.len() + 2);
                (Steps::While { most, goes_on }, states, parts)
            }
            _ => {
                let slices = node.attribute.iter().find(|a| a.name == "num_scan_inputs").map_or(0, |a| a.i);
                let slices = usize::try_from(slices).unwrap_or(0);
                let own = inputs.len().checked_sub(slices).filter(|_| slices > 0);
                let (states, scanned) = inputs.split_at(own.ok_or("num_scan_inputs does not fit its inputs")?);
                let states = values(states)?;
                let parts = body.output.len().checked_sub(states.len()).filter(|_| body.input.len() == inputs.len());
                (scan(importer, node, scanned)?, states, parts)
            }
        };
        let parts = parts.filter(|parts| parts + states.len() >= node.output.len());
        let parts = parts.ok_or("the inputs or outputs of its body do not fit its own")?;
        Ok(Unrolling { node, body, steps, states, parts: vec![Vec::new(); parts], done: 0 })
    }

    /// The next step, if there is one.
    pub(super) fn next(&mut self, importer: &mut Importer) -> Result<Option<Body>, String> {
        let (runs, most) = match &self.steps {
            Steps::While { most, goes_on } => {
                (*goes_on && most.is_none_or(|most| i64::try_from(self.done).is_ok_and(|done| done < most)), *most)
            }
            Steps::Each { count, .. } => (self.done < *count, i64::try_from(*count).ok()),
        };
        if !runs {
            return Ok(None);
        }
        if self.done >= MOST_STEPS {
            let count =
                most.filter(|&most| most < i64::MAX).map(|most| format!(", {most} at most")).unwrap_or_default();
            return Err(format!(
                "it runs for more than {MOST_STEPS} steps{count}; loops of up to {MOST_STEPS} steps are unrolled, export a \
                 shorter one, or the operator that the loop stands for"
            ));
        }
        let prefix = format!("{}/{}/", node_name(self.node), self.done);
        let mut map = HashMap::new();
        let mut slices = Vec::new();
        let mut formal = self.body.input.iter().map(|input| input.name.as_str());
        let mut bind = |importer: &mut Importer, formal: Option<&str>, value: Option<Value>| {
            let formal = formal.unwrap_or_default();
            let name = importer.fresh_name(&format!("{prefix}{formal}"));
            if let Some(value) = value {
                importer.known.insert(name.clone(), value);
            }
            map.insert(formal.to_string(), name.clone());
            name
        };
        if let Steps::While { .. } = self.steps {
            bind(importer, formal.next(), Some(scalar(self.done)));
            bind(importer, formal.next(), Some(scalar(1)));
        }
        for state in &self.states {
            bind(importer, formal.next(), Some(state.clone()));
        }
        if let Steps::Each { count, slices: inputs } = &self.steps {
            for input in inputs {
                let output = bind(importer, formal.next(), None);
                let at = if input.backward { count - 1 - self.done } else { self.done };
                let index = importer.fresh_name(&format!("{output}.index"));
                importer.known.insert(index.clone(), scalar(at));
                let gather = made("Gather", vec![input.name.clone(), index], output);
                slices.push(with_axis(gather, i64::try_from(input.axis).unwrap_or(i64::MAX)));
            }
        }
        let mut body = copy(importer, self.body, &prefix, map);
        body.nodes.extend(slices);
        Ok(Some(body))
    }

    /// Takes the results of a step.
    pub(super) fn took(&mut self, results: Vec<Value>) -> Result<(), String> {
        self.done += 1;
        let mut results = results.into_iter();
        if let Steps::While { goes_on, .. } = &mut self.steps {
            let name = self.body.output.first().map(|output| output.name.clone()).unwrap_or_default();
            let value = results.next().ok_or("its body has no condition")?;
            *goes_on = holds(&Operand { name, value })?;
        }
        for state in &mut self.states {
            *state = results.next().ok_or("its body has too few outputs")?;
        }
        for (part, value) in self.parts.iter_mut().zip(results) {
            part.push(value);
        }
        Ok(())
    }

    /// Nodes that join the parts of the steps, and the names of all results.
    pub(super) fn joined(self, importer: &mut Importer) -> Result<Body, String> {
        let (axes, directions) = match &self.steps {
            Steps::While { .. } => (Vec::new(), Vec::new()),
            Steps::Each { .. } => {
                (numbers(self.node, "scan_output_axes"), numbers(self.node, "scan_output_directions"))
            }
        };
        let prefix = format!("{}/", node_name(self.node));
        let mut body = Body { nodes: Vec::new(), outputs: Vec::new() };
        let mut outputs = self.node.output.iter();
        for (state, output) in self.states.iter().zip(&mut outputs) {
            body.outputs.push(named(importer, format!("{prefix}{output}"), state.clone()));
        }
        for ((at, part), output) in self.parts.into_iter().enumerate().zip(outputs) {
            if output.is_empty() || !importer.is_read(output) {
                body.outputs.push(named(importer, format!("{prefix}{output}"), Value::Failed));
                continue;
            }
            if part.is_empty() {
                return Err(format!("it runs no step, so its output `{output}` would be empty"));
            }
            let axis = axes.get(at).copied().unwrap_or(0);
            let index = Constant::ints(vec![Int::fixed(axis)]);
            let index = named(importer, format!("{prefix}{output}.axis"), Value::known(index));
            let mut rows = Vec::with_capacity(part.len());
            for (step, value) in part.into_iter().enumerate() {
                let value = named(importer, format!("{prefix}{step}/{output}"), value);
                let row = importer.fresh_name(&format!("{value}.row"));
                let mut node = made("Unsqueeze", vec![value, index.clone()], row.clone());
                notes::set(&mut node, notes::OPERATOR_SET, AXES_AS_INPUT);
                body.nodes.push(node);
                rows.push(row);
            }
            if directions.get(at) == Some(&1) {
                rows.reverse();
            }
            let name = importer.fresh_name(&format!("{prefix}{output}"));
            let mut node = with_axis(made("Concat", rows, name.clone()), axis);
            node.name.clone_from(output);
            body.nodes.push(node);
            body.outputs.push(name);
        }
        Ok(body)
    }
}

/// The steps of a Loop at most.
fn trips(importer: &Importer, operand: &Operand) -> Result<i64, String> {
    let most = importer.constant(operand).map_err(|_| {
        format!(
            "its number of steps `{}` is computed from the network's input; loops of a known number of steps are unrolled",
            operand.name
        )
    })?;
    match most.as_fixed()?.as_slice() {
        [one] => Ok(*one),
        all => Err(format!("its number of steps holds {} values, one is needed", all.len())),
    }
}

/// The steps of a Scan.
fn scan(importer: &mut Importer, node: &NodeProto, inputs: &[Option<Operand>]) -> Result<Steps, String> {
    if node.attribute.iter().any(|attribute| attribute.name == "directions") {
        return Err(
            "Scan of operator set 8, which has a batch of its own, is not supported; export with a newer one".into()
        );
    }
    let (axes, directions) = (numbers(node, "scan_input_axes"), numbers(node, "scan_input_directions"));
    let mut count = None;
    let mut slices = Vec::new();
    for (at, input) in inputs.iter().enumerate() {
        let input = input.as_ref().ok_or("an input that it scans is missing")?;
        let shape = importer.shape_of(input)?;
        let axis = axis(axes.get(at).copied().unwrap_or(0), shape.rank())?;
        let size = shape.0[axis].as_fixed().ok_or_else(|| {
            format!("it runs along the batch of `{}`; loops of a known number of steps are unrolled", input.name)
        })?;
        if count.replace(size).is_some_and(|other| other != size) {
            return Err("the inputs that it scans differ in length".into());
        }
        slices.push(Slices { name: input.name.clone(), axis, backward: directions.get(at) == Some(&1) });
    }
    Ok(Steps::Each { count: count.unwrap_or(0), slices })
}

fn values(operands: &[Option<Operand>]) -> Result<Vec<Value>, String> {
    let value = |operand: &Option<Operand>| operand.as_ref().map(|operand| operand.value.clone());
    operands.iter().map(value).collect::<Option<_>>().ok_or_else(|| "an initial value is missing".into())
}

/// Gives a value a name that nothing else has.
fn named(importer: &mut Importer, base: String, value: Value) -> String {
    let name = importer.fresh_name(&base);
    importer.known.insert(name.clone(), value);
    name
}

/// A whole number, or a truth value.
fn scalar(number: usize) -> Value {
    let number = Int::fixed(i64::try_from(number).unwrap_or(i64::MAX));
    Value::known(Constant { shape: Vec::new(), elements: Elements::Ints(vec![number]) })
}

fn made(operator: &str, input: Vec<String>, output: String) -> NodeProto {
    NodeProto { op_type: operator.into(), input, output: vec![output], ..NodeProto::default() }
}

fn with_axis(mut node: NodeProto, axis: i64) -> NodeProto {
    let (name, type_) = ("axis".into(), AttributeType::INT.into());
    node.attribute.push(AttributeProto { name, type_, i: axis, ..AttributeProto::default() });
    node
}
