//! `bitbudget compile`.

use crate::args::CompileArgs;
use crate::commands::assign::totals;
use crate::model::compiled;
use crate::output::{bytes, check, print, save};
use anyhow::Result;
use bitbudget_precision::Method;
use bitbudget_precision::summary::summary;

pub(crate) fn run(args: &CompileArgs) -> Result<()> {
    check([args.output.as_path()])?;
    let compiled = compiled(&args.model, &args.assignment, &args.optimizer, args.seed, Method::Demote, false)?;
    let encoded = compiled.encode();
    save(&args.output, &encoded)?;
    print(format!(
        "{}: {}, {} instructions a step",
        args.output.display(),
        bytes(encoded.len() as f64),
        compiled.train.instructions.len()
    ))?;
    print(totals(&summary(&compiled.assignment, &compiled.training)))
}
