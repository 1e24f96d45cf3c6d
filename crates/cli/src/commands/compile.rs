//! `bitbudget compile`.

use crate::args::CompileArgs;
use crate::commands::assign::totals;
use crate::memory::default_threads;
use crate::model::{Request, compiled};
use crate::output::{bytes, check, print, save};
use crate::report::{Inputs, rerun, save_page};
use anyhow::Result;
use bitbudget_precision::summary::summary;

pub(crate) fn run(args: &CompileArgs) -> Result<()> {
    check([args.output.as_path()].into_iter().chain(args.page.html.as_deref()))?;
    let request = Request { seed: Some(args.seed), ..Request::default() };
    let compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    let encoded = compiled.encode();
    save(&args.output, &encoded)?;
    if args.page.html.is_some() {
        let mut report = bitbudget::report(&compiled, default_threads(), None)?;
        report.rerun = rerun(&Inputs::new(&args.model, &args.assignment), Some(args.seed), default_threads())?;
        save_page(args.page.html.as_deref(), &report)?;
    }
    print(format!(
        "{}: {}, {} instructions a step",
        args.output.display(),
        bytes(encoded.len() as f64),
        compiled.train.instructions.len()
    ))?;
    print(totals(&summary(&compiled.assignment, &compiled.training)))
}
