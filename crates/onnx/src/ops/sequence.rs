//! Sequences of tensors that a loop or a list of a scripted program makes.

use super::row::{Build, Row};
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Operand, Value, axis};
use bitbudget_ir::{Dim, ops};
use std::rc::Rc;

const fn row(name: &'static str, attributes: &'static [&'static str], forms: &'static str, build: Build) -> Row {
    Row { name, versions: &[11], attributes, forms, build: Some(build), fold: None }
}

pub(super) const ROWS: &[Row] = &[
    row("SequenceEmpty", &["dtype"], "nothing: a sequence is known at import", |_, _| Ok(vec![sequence(Vec::new())])),
    row("SequenceConstruct", &[], "nothing", |_, node| {
        Ok(vec![sequence(node.inputs.iter().flatten().map(|operand| operand.value.clone()).collect())])
    }),
    row("SequenceInsert", &[], "nothing; positions known at import", insert),
    row("SequenceLength", &[], "a number that is known at import", |_, node| {
        let length = Int::fixed(i64::try_from(given(node)?.len()).map_err(|e| e.to_string())?);
        Ok(vec![Value::known(Constant { shape: Vec::new(), elements: Elements::Ints(vec![length]) })])
    }),
    row("ConcatFromSequence", &["axis", "new_axis"], "`concat`, with `reshape` before for a new axis", join),
];

fn sequence(values: Vec<Value>) -> Value {
    Value::Sequence(Rc::new(values))
}

fn given<'n>(node: &'n Node) -> Result<&'n [Value], String> {
    match &node.need(0)?.value {
        Value::Sequence(values) => Ok(values),
        _ => Err("it needs a sequence".into()),
    }
}

fn insert(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let mut values = given(node)?.to_vec();
    let value = node.need(1)?.value.clone();
    let at = match importer.ints(node, 2)?.and_then(|list| list.first().copied()) {
        // One position more than there are elements.
        Some(position) => axis(position, values.len() + 1)
            .map_err(|_| format!("position {position} is out of range for a sequence of {}", values.len()))?,
        None => values.len(),
    };
    values.insert(at, value);
    Ok(vec![sequence(values)])
}

fn join(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let new_axis = node.flag("new_axis")?;
    let along = node.int("axis")?.ok_or("attribute `axis` is missing")?;
    let mut parts = Vec::new();
    let mut at = 0;
    for (position, value) in given(node)?.iter().enumerate() {
        let name = importer.fresh_name(&format!("{}.{position}", node.name));
        let x = importer.operand(&Operand { name, value: value.clone() })?;
        let mut shape = importer.shape(x);
        at = axis(along, shape.rank() + usize::from(new_axis))?;
        if new_axis {
            shape.0.insert(at, Dim::fixed(1));
        }
        parts.push(importer.reshape(node.name, x, shape)?);
    }
    match parts.as_slice() {
        [] => Err("it joins a sequence without elements".into()),
        [one] => Ok(vec![Value::Tensor(*one)]),
        _ => Ok(vec![Value::Tensor(importer.emit(node.name, ops::Concat { axis: at }, &parts)?)]),
    }
}
