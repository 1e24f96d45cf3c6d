//! All methods train, to the same bits with and without rewriting.

use super::training::{same_bits, train_compiled};
use super::{Case, Checked, Findings, Outcome, diverged, options, text};
use bitbudget::{Options, Storage, compile};
use bitbudget_autodiff::Updates;
use bitbudget_ir::Model;
use bitbudget_precision::Method;
use bitbudget_train::loss_scale::LossScaling;

pub(super) fn check(case: &Case, model: &Model, findings: &mut Findings) {
    for method in Method::ALL.into_iter().filter(|&method| method != Method::Ilp && method != Method::Fp32) {
        // Half of the elements low with some networks, all of them with others.
        let low_ratio = if case.tensors.len().is_multiple_of(2) { 0.5 } else { 1.0 };
        let options = Options { low_ratio, updates: Updates::IfFinite, ..options(case, method) };
        findings.may_refuse(&format!("method {method}"), || both(case, model, &options));
    }
}

/// Trains with and without rewriting; a run that diverges, the loss scale being too large for three steps, is no fault where
/// both do at the same step.
fn both(case: &Case, model: &Model, options: &Options) -> Result<Checked, String> {
    let train = |options: &Options, threads: usize| {
        let compiled = compile(model.clone(), options).map_err(text)?;
        train_compiled(case, compiled, LossScaling::Dynamic, threads)
    };
    let plain = train(&Options { rewrite: None, ..options.clone() }, 2);
    let rewritten = train(options, 1);
    if let (Err(one), Err(other)) = (&plain, &rewritten)
        && one == other
        && diverged(one)
    {
        return Ok(Err(one.clone()));
    }
    let plain = plain.map_err(|e| format!("without rewriting: {e}"))?;
    let rewritten = rewritten.map_err(|e| format!("with rewriting: {e}"))?;
    same_bits(&rewritten, &plain)?;
    if options.method != Method::Demote {
        return Ok(Ok(()));
    }
    let simulated = Options { storage: Storage::Simulated, ..options.clone() };
    let simulated = train(&simulated, 1).map_err(|e| format!("simulated: {e}"))?;
    same_bits(&rewritten, &simulated).map_err(|e| format!("simulated: {e}"))?;
    Ok(Ok(()))
}

impl Findings {
    /// Adds the outcome of a check that may be refused.
    pub(super) fn may_refuse<T>(
        &mut self,
        check: &str,
        run: impl FnOnce() -> Result<Result<T, String>, String>,
    ) -> Option<T> {
        match super::protected(run) {
            Ok(Ok(made)) => {
                self.add(check, Outcome::Agreed);
                Some(made)
            }
            Ok(Err(refusal)) => {
                self.add(check, Outcome::Refused(refusal));
                None
            }
            Err(fault) => {
                self.add(check, Outcome::Failed(fault));
                None
            }
        }
    }
}
