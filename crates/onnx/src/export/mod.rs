//! Export: from a forward graph to an ONNX file.

mod annotations;
mod exporter;
mod indices;
mod messages;
mod operators;
mod pool;
mod recurrent;
mod sizes;

use crate::error::ExportError;
use bitbudget_ir::{Graph, Model, Op, verify};
use exporter::{Exporter, running_statistics};
use messages::model_message;
use onnx_protobuf::Message;

pub use annotations::Annotations;

/// Writes a forward graph as the bytes of an ONNX file of operator set 19, 20 where it has Gelu or 21 where it is quantised, and IR version 9 or 10, with the batch dimension `N`.
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
