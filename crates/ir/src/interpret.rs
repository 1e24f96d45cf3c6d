//! The reference interpreter: slow, obvious, in FP32 or FP64.

use crate::array::{Array, Float};
use crate::error::GraphError;
use crate::error::Reason;
use crate::graph::Graph;
use crate::ops::{Op, ScalarKind};
use crate::role::NodeId;
use std::collections::BTreeMap;

/// The values of a graph's sources, and the batch size, which is the value of the scalar of that kind.
#[derive(Clone, Debug)]
pub struct Bindings<F> {
    /// The batch size.
    pub batch: usize,
    /// Row-major values by the source's name (inputs, labels, parameters, states, constants, scalars).
    pub values: BTreeMap<String, Vec<F>>,
}

/// Every node's result, in order of ids.
///
/// # Errors
/// If a source has no value, or one of the wrong length.
pub fn interpret<F: Float>(graph: &Graph, bindings: &Bindings<F>) -> Result<Vec<Array<F>>, GraphError> {
    let mut results: Vec<Array<F>> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let result = match graph.op(id).source_name() {
            Some(name) => source(graph, id, name, bindings)?,
            None => {
                let operands = graph.operands(id);
                let inputs: Vec<&Array<F>> = operands.iter().map(|o| &results[o.index()]).collect();
                graph.op(id).evaluate(&inputs, &graph.ty(id).shape.at(bindings.batch))
            }
        };
        results.push(result);
    }
    Ok(results)
}

fn source<F: Float>(graph: &Graph, id: NodeId, name: &str, bindings: &Bindings<F>) -> Result<Array<F>, GraphError> {
    let shape = graph.ty(id).shape.at(bindings.batch);
    let elements: usize = shape.iter().product();
    let fault = |text: String| GraphError::new(graph.op(id).name(), name, &[], Reason::new(text));
    if matches!(graph.op(id), Op::Scalar(op) if op.kind == ScalarKind::Examples) {
        return Ok(Array::new(&shape, vec![F::of(bindings.batch as f64)]));
    }
    let value = bindings.values.get(name).ok_or_else(|| fault("no value is bound to it".into()))?;
    if value.len() != elements {
        return Err(fault(format!("its value has {} elements, its shape {shape:?} needs {elements}", value.len())));
    }
    Ok(Array::new(&shape, value.clone()))
}
