//! Import: from the bytes of a file to a verified graph.
//!
//! The file is analysed as a whole (`analysis`), its nodes are walked in order (`nodes`), each goes through its row (`ops`), and the
//! rows add to the graph (`importer`).

mod attempts;
mod buffers;
mod control;
mod fitting;
mod interface;
mod loss;
mod made;
mod model;
mod nodes;
mod options;
mod sizes;
mod stated;

use crate::error::ImportError;
use crate::file::external::DataFolders;
use crate::file::{kind, old_sets, wire};
use crate::inline::{self, quantized, subgraphs, weights};
use crate::ops;
use crate::warning::{self, WarningKind};
use model::{Interface, import_model};
use onnx_protobuf::{GraphProto, Message, ModelProto};
use std::path::Path;

pub use model::Imported;
pub(crate) use model::OPSETS;
pub use options::ImportOptions;

/// The largest protobuf message that there can be.
const MOST_BYTES: u64 = i32::MAX as u64;

/// Reads an ONNX file (operator sets 1 to 28), by the default options.
///
/// One size of the inputs becomes the batch size: the one that is variable, or else the first dimension, whatever number the file has there.
/// Floating-point initializers become parameters, except the running statistics of batch normalisation, which become states, and
/// scalars that are numbers of the program.
///
/// # Errors
/// All problems of the file at once, each with the node, its operator and what to do.
pub fn import(path: &Path) -> Result<Imported, ImportError> {
    import_with(path, &ImportOptions::default())
}

/// Like [`import`], with options.
///
/// # Errors
/// As for [`import`].
pub fn import_with(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let fault = |e: std::io::Error| ImportError::unreadable(path, &e);
    let meta = std::fs::metadata(path).map_err(fault)?;
    if !meta.is_file() {
        return Err(ImportError::one(format!("`{}` is not a file", path.display())));
    }
    if meta.len() > MOST_BYTES {
        return Err(too_large(meta.len()));
    }
    let bytes = std::fs::read(path).map_err(fault)?;
    parse(&bytes, Some(DataFolders::of(path, &options.folders)), options)
}

fn too_large(bytes: u64) -> ImportError {
    ImportError::one(format!(
        "the file has {bytes} bytes, a protobuf message at most {MOST_BYTES}; store the weights as external data"
    ))
}

/// Like [`import`], from bytes; `folder` is where external data may lie.
///
/// # Errors
/// All problems of the file at once, each with the node, its operator and what to do.
pub fn import_bytes(bytes: &[u8], folder: Option<&Path>) -> Result<Imported, ImportError> {
    import_bytes_with(bytes, folder, &ImportOptions::default())
}

/// The same with options; `folder` is where external data may lie beside those of the options.
///
/// # Errors
/// As for [`import_bytes`].
pub fn import_bytes_with(
    bytes: &[u8],
    folder: Option<&Path>,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    parse(bytes, folder.map(|folder| DataFolders::new(folder, &options.folders)), options)
}

/// Like [`import_bytes`], but no dimension is the batch: all sizes are those that the file states, and it may have any number of inputs and
/// outputs, outputs that are known at import among them.
///
/// Tests of operators need it, whose tensors have no examples; what is to be trained needs a batch.
///
/// # Errors
/// All problems of the file at once, each with the node, its operator and what to do.
pub fn import_stated(bytes: &[u8]) -> Result<Imported, ImportError> {
    import_model(&decode(bytes, &mut |_| ())?, None, Interface::Stated)
}

fn parse(bytes: &[u8], data: Option<DataFolders>, options: &ImportOptions) -> Result<Imported, ImportError> {
    let mut dynamic = Vec::new();
    let mut model = decode(bytes, &mut |graph| dynamic = quantized::replace(graph))?;
    model.graph.as_mut().into_iter().for_each(loss::without_tables);
    if let (Some(graph), Some(wanted), None) = (model.graph.as_mut(), &options.output, &options.loss)
        && graph.output.iter().any(|output| output.name == *wanted)
    {
        // What only other outputs need is not read.
        graph.output.retain(|output| output.name == *wanted);
    }
    let losses = model.graph.as_mut().map(|graph| loss::strip(graph, options.loss.as_deref())).unwrap_or_default();
    // The files that are written here have constants that are not trained.
    let is_own = model.producer_name == "bitbudget";
    let graph = model.graph.as_mut().filter(|_| !is_own);
    let constants = graph.map(weights::from_constants).unwrap_or_default();
    let mut imported = attempts::import(&model, data, options, &losses)?;
    for (kind, names) in [(WarningKind::Constants, constants), (WarningKind::DynamicQuantization, dynamic)] {
        if !names.is_empty() {
            warning::add(&mut imported.warnings, kind, names);
        }
    }
    Ok(imported)
}

/// The file's message, in the forms of the oldest operator set whose forms are read, without functions; `prepare` changes the graph first.
fn decode(bytes: &[u8], prepare: &mut dyn FnMut(&mut GraphProto)) -> Result<ModelProto, ImportError> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    if bytes.is_empty() {
        return Err(ImportError::one("the file is empty"));
    }
    if let Some(other) = kind::other(bytes) {
        return Err(ImportError::one(other));
    }
    wire::check(bytes).map_err(ImportError::one)?;
    let mut model = ModelProto::parse_from_bytes(bytes)
        .map_err(|e| ImportError::one(format!("{e}; the file is corrupt or not an ONNX file")))?;
    old_sets::convert(&mut model);
    model.graph.as_mut().into_iter().for_each(prepare);
    inline::functions(&mut model, &ops::is_read).map_err(ImportError::new)?;
    if let Some(graph) = model.graph.as_mut() {
        subgraphs::hoist(graph);
    }
    Ok(model)
}
