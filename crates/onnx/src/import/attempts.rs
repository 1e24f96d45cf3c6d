//! The batch of a file that does not take any number of examples along the first dimension.

use super::fitting;
use super::interface;
use super::model::{Imported, Interface, import_model};
use super::options::ImportOptions;
use super::sizes::{Batch, NONE_LEFT};
use crate::error::ImportError;
use crate::file::external::DataFolders;
use crate::warning::{self, WarningKind};
use bitbudget_ir::{Dim, Graph, Op};
use onnx_protobuf::ModelProto;

/// A size to try where none is given.
const TRIED: usize = 16;

/// Other sizes to try for what counts no examples: one, as of states for one example, and samples of sound for a window. Larger ones would make
/// large matrices where the file resizes.
const OTHERS: [usize; 2] = [1, 1024];

/// Reads a network with any number of examples in a batch, or else with as many as the file states. Variable sizes that the weights fix
/// are those.
///
/// # Errors
/// What stands in the way of any number of examples.
pub(super) fn import(
    model: &ModelProto,
    data: Option<DataFolders>,
    options: &ImportOptions,
    losses: &[String],
) -> Result<Imported, ImportError> {
    let mut fixed = model.graph.as_ref().map(fitting::fixed_by_weights).unwrap_or_default();
    fixed.retain(|name, _| !options.sizes.contains_key(name));
    let mut fitted = options.clone();
    fitted.sizes.extend(fixed.clone());
    let mut imported = with_batch(model, data, &fitted, losses)?;
    if !fixed.is_empty() {
        let names = fixed.iter().map(|(name, size)| format!("{name}={size}"));
        warning::add(&mut imported.warnings, WarningKind::FixedSizes, names);
    }
    Ok(imported)
}

fn with_batch(
    model: &ModelProto,
    data: Option<DataFolders>,
    options: &ImportOptions,
    losses: &[String],
) -> Result<Imported, ImportError> {
    let read = |options: &ImportOptions, batch| {
        import_model(model, data.clone(), Interface::Network { options, losses, batch })
    };
    let error = match read(options, Batch::Any) {
        Ok(imported) => return Ok(imported),
        Err(error) => error,
    };
    // Recurrent layers often have the steps first.
    if let Ok(imported) = read(options, Batch::Second) {
        return Ok(imported);
    }
    let open = model.graph.as_ref().and_then(|graph| interface::open_batch(graph, options));
    let given = |name: &String, size| {
        let mut given = options.clone();
        given.sizes.insert(name.clone(), size);
        given
    };
    if let Some(name) = &open
        && read(&given(name, TRIED), Batch::Second).is_ok()
    {
        return Err(error.with(format!(
            "the size `{name}` seems to count steps, not examples: give --dim {name}=SIZE, which makes the second dimension the batch"
        )));
    }
    // What a file states for one batch size may be wrong for others.
    let size = options.batch.or(open.is_some().then_some(TRIED));
    let no_examples = |name| format!("the size `{name}` seems not to count examples: give --dim {name}=SIZE");
    let stated = read(options, Batch::Stated(size));
    if let Err(stated) = &stated
        && error.problems().iter().any(|problem| problem.reason() == NONE_LEFT)
    {
        return Err(stated.clone());
    }
    let Ok(mut imported) = stated else {
        let fits = |name: &String, size| read(&given(name, size), Batch::Stated(None)).is_ok();
        let Some(name) = open else { return Err(error) };
        if size != Some(TRIED) && fits(&name, TRIED) {
            return Err(error.with(no_examples(name)));
        }
        return Err(match OTHERS.into_iter().find(|&other| fits(&name, other)) {
            Some(1) => error.with(format!("the file can be read where the size `{name}` is 1: give --dim {name}=1")),
            Some(other) => error.with(format!("{}, such as {other}", no_examples(name))),
            None => error,
        });
    };
    let graph = &imported.model.graph;
    let fixed = graph.fixed_batch().filter(|&batch| options.loss.is_some() || has_example_each(graph, batch));
    let kind = match (fixed, open) {
        (Some(_), Some(_)) if options.batch.is_none() => {
            return Err(error.with("it can be read for one batch size only: give it, --batch SIZE"));
        }
        (Some(batch), _) => WarningKind::FixedBatch { batch },
        (None, Some(name)) => return Err(error.with(no_examples(name))),
        (None, None) => {
            let Ok(one) = read(options, Batch::One) else { return Err(error) };
            imported = one;
            WarningKind::OneExample
        }
    };
    warning::add(&mut imported.warnings, kind, error.problems().iter().map(ToString::to_string));
    Ok(imported)
}

/// Whether the first output has a result for each of so many examples, and no layer takes these for steps.
fn has_example_each(graph: &Graph, batch: usize) -> bool {
    let size = |id, axis| graph.ty(id).shape.get(axis).and_then(Dim::as_fixed);
    let are_steps = |id| {
        let x = graph.operands(id).first().filter(|_| matches!(graph.op(id), Op::Recurrent(_)));
        x.is_some_and(|&x| size(x, 0) == Some(batch) && size(x, 1) == Some(1))
    };
    let has_result = graph.outputs().first().is_some_and(|&(_, output)| size(output, 0) == Some(batch));
    has_result && (batch == 1 || !graph.ids().any(are_steps))
}
