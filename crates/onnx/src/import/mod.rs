//! Import: from the bytes of a file to a verified graph.
//!
//! The file is analysed as a whole (`analysis`), its nodes are walked in order (`nodes`), each goes through its row (`ops`), and the
//! rows add to the graph (`importer`).

mod attempts;
mod buffers;
mod control;
mod interface;
mod loss;
mod made;
mod nodes;
mod options;
mod sizes;
mod stated;

use crate::analysis::{Clues, folded, order};
use crate::batch;
use crate::error::{ImportError, ImportProblem};
use crate::file::external::DataFolders;
use crate::file::old_sets;
use crate::file::wire;
use crate::importer::Importer;
use crate::inline::{self, quantized, subgraphs, weights};
use crate::ops;
use crate::warning::{self, Warning, WarningKind};
use bitbudget_ir::{Model, Op, verify};
use nodes::Walk;
use onnx_protobuf::{GraphProto, Message, ModelProto};
pub use options::ImportOptions;
use sizes::Batch;
use std::collections::BTreeSet;
use std::path::Path;

/// A network that was read from a file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The forward graph with the initial values of its parameters, states and constants.
    pub model: Model,
    /// Warnings: losses of precision, dropped operators, suspicious exports; each kind once.
    pub warnings: Vec<Warning>,
}

/// The oldest and the newest operator set that is read.
pub(crate) const OPSETS: (i64, i64) = (1, 28);

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

/// What the inputs and outputs of a file are.
#[derive(Clone, Copy, Debug)]
enum Interface<'o> {
    /// Those of a network, by what the user says: examples in, scores out.
    Network {
        options: &'o ImportOptions,
        /// Losses that stood behind the scores.
        losses: &'o [String],
        /// Where the examples are.
        batch: Batch,
    },
    /// What the file states.
    Stated,
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

fn import_model(
    model: &ModelProto,
    data: Option<DataFolders>,
    interface: Interface<'_>,
) -> Result<Imported, ImportError> {
    let graph =
        model.graph.as_ref().ok_or_else(|| ImportError::one("the file holds no graph; is it an ONNX model?"))?;
    let order = order::execution_order(&graph.node);
    let whole = subgraphs::flattened(graph);
    let clues = Clues::of(model, &whole);
    let mut importer = Importer::new(&graph.name, clues, data);
    let opset = operator_set(model, &mut importer);
    interface::unique_names(graph, &mut importer.problems);
    let walk = order.map(|order| Walk::new(graph, &order, opset));
    if let Ok(walk) = &walk {
        let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
        importer.count_readers(walk.nodes(), &outputs);
    }
    interface::initializers(graph, &mut importer);
    let output = match interface {
        Interface::Network { options, losses, batch } => {
            importer.has_own_loss = options.loss.is_some();
            warn_of_each(&mut importer, WarningKind::LossInside, losses.to_vec());
            importer.dropout = options.dropout;
            interface::network_inputs(graph, options, batch, &mut importer);
            let wanted = options.output.as_deref().filter(|wanted| !losses.iter().any(|loss| loss == wanted));
            interface::network_output(graph, options.loss.as_deref().or(wanted), &mut importer)
        }
        Interface::Stated => {
            stated::inputs(graph, &mut importer);
            None
        }
    };
    match walk {
        Ok(mut walk) => walk.import(&mut importer),
        Err(cycle) => importer.problems.push(cycle.into()),
    }
    match interface {
        Interface::Network { losses, batch, .. } => {
            let is_example = batch == Batch::One && !importer.has_own_loss;
            let set = |name| interface::set_output(name, !losses.is_empty(), is_example, &mut importer);
            output.into_iter().for_each(set);
            if importer.has_own_loss {
                interface::set_other_outputs(graph, &mut importer);
            }
        }
        Interface::Stated => stated::set_outputs(graph, &mut importer),
    }
    interface::unreadable(&mut importer);
    importer.warnings.extend(folded::warning(&whole, &importer.clues.signature));
    warn_of_each(&mut importer, WarningKind::FoldedStatistics, folded::scales(&whole));
    warn_of_each(&mut importer, WarningKind::MixedModes, folded::in_evaluation(&whole));
    finish(importer)
}

fn warn_of_each(importer: &mut Importer, kind: WarningKind, names: Vec<String>) {
    if !names.is_empty() {
        warning::add(&mut importer.warnings, kind, names);
    }
}

fn finish(mut importer: Importer) -> Result<Imported, ImportError> {
    importer.problems.extend(importer.misread());
    if importer.problems.is_empty() {
        let is_trained = |id| matches!(importer.graph.op(id), Op::Parameter(_));
        if !importer.graph.ids().any(is_trained) {
            warning::add(&mut importer.warnings, WarningKind::NoParameters, []);
        }
        let (graph, _) = importer.graph.without_dead_nodes();
        if let Err(faults) = verify(&graph) {
            importer.problems.extend(faults.iter().map(|fault| ImportProblem::from(fault.to_string())));
        } else if let Err(fault) = batch::check(&graph, importer.has_own_loss) {
            importer.problems.push(fault.into());
        } else {
            let sources: BTreeSet<&str> = graph.ids().filter_map(|id| graph.op(id).source_name()).collect();
            importer.values.retain(|name, _| sources.contains(name.as_str()));
            if let Some(name) = importer.examples.values().find(|name| sources.contains(name.as_str())) {
                let node = name.strip_suffix(".examples").unwrap_or(name);
                let how = format!(
                    "node `{node}` (Range) numbers the examples of a batch, and the network computes with the numbers"
                );
                importer.problems.push(batch::mixing(&how).into());
                return Err(ImportError::new(importer.problems));
            }
            return Ok(Imported { model: Model { graph, values: importer.values }, warnings: importer.warnings });
        }
    }
    Err(ImportError::new(importer.problems))
}

fn operator_set(model: &ModelProto, importer: &mut Importer) -> i64 {
    let (oldest, newest) = OPSETS;
    let Some(opset) = model.opset_import.iter().find(|o| ops::is_onnx(&o.domain)).map(|o| o.version) else {
        importer.problems.push("the file does not say which operator set of ONNX it uses (opset_import)".into());
        return newest;
    };
    if opset < oldest {
        importer.problems.push(
            format!("the file uses operator set {opset}; operator sets {oldest} to {newest} are read; export it again")
                .into(),
        );
    } else if opset > newest {
        let kind = WarningKind::NewerOperatorSet { found: opset, newest };
        warning::add(&mut importer.warnings, kind, []);
    }
    opset.clamp(oldest, newest)
}
