//! From a file's message to a verified graph: inputs, nodes in order, outputs.

use super::nodes::Walk;
use super::options::ImportOptions;
use super::sizes::Batch;
use super::{interface, stated};
use crate::analysis::{Clues, folded, order};
use crate::batch;
use crate::error::{ImportError, ImportProblem};
use crate::file::external::DataFolders;
use crate::importer::{Importer, parameters};
use crate::inline::subgraphs;
use crate::ops;
use crate::warning::{self, Warning, WarningKind};
use bitbudget_ir::{Model, Op, verify};
use onnx_protobuf::ModelProto;
use std::collections::BTreeSet;

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

/// What the inputs and outputs of a file are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interface<'o> {
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

/// Reads a network.
///
/// # Errors
/// All problems at once.
pub(super) fn import_model(
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
    let transposed = parameters::transposed(&importer);
    warn_of_each(&mut importer, WarningKind::Transposed, transposed);
    importer.warnings.extend(folded::warning(&whole, &importer.clues.signature));
    warn_of_each(&mut importer, WarningKind::FoldedStatistics, folded::scales(&whole));
    let is_folded =
        |kind: &WarningKind| matches!(kind, WarningKind::FoldedNormalisation | WarningKind::FoldedStatistics);
    if !importer.warnings.iter().any(|warning| is_folded(&warning.kind)) {
        let lost = parameters::lost(&importer);
        warn_of_each(&mut importer, WarningKind::Lost, lost);
    }
    warn_of_each(&mut importer, WarningKind::MixedModes, folded::in_evaluation(&whole));
    finish(importer, matches!(interface, Interface::Network { .. }))
}

fn warn_of_each(importer: &mut Importer, kind: WarningKind, names: Vec<String>) {
    if !names.is_empty() {
        warning::add(&mut importer.warnings, kind, names);
    }
}

fn finish(mut importer: Importer, is_network: bool) -> Result<Imported, ImportError> {
    importer.problems.extend(importer.misread());
    if importer.problems.is_empty() {
        let is_trained = |id| matches!(importer.graph.op(id), Op::Parameter(_));
        if !importer.graph.ids().any(is_trained) {
            warning::add(&mut importer.warnings, WarningKind::NoParameters, []);
        }
        let (graph, _) = importer.graph.without_dead_nodes();
        let has_input = graph.ids().any(|id| matches!(graph.op(id), Op::Input(_)));
        if is_network
            && !has_input
            && let Some((name, _)) = graph.outputs().first()
        {
            let reason = format!(
                "the trained output `{name}` depends on no input; choose another one, --output NAME, or export the network again"
            );
            importer.problems.push(reason.into());
        } else if let Err(faults) = verify(&graph) {
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
