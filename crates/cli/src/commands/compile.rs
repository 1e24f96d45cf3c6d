//! `bitbudget compile`.

use crate::args::CompileArgs;
use crate::commands::assign::totals;
use crate::model::{Request, compiled};
use crate::output::{bytes, check, print, save};
use anyhow::Result;
use bitbudget_precision::summary::summary;

pub(crate) fn run(args: &CompileArgs) -> Result<()> {
    check([args.output.as_path()])?;
    let request = Request { seed: Some(args.seed), ..Request::default() };
    let compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
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
