//! What is trained under a budget takes no more; with FP32 alone, recomputation changes no bit.

use super::training::{same_bits, train_compiled};
use super::{Case, Checked, Findings, Trained, diverged, options, text};
use bitbudget::{Budget, BudgetError, CompileError, Limit, Options, Rules, Shortage, compile};
use bitbudget_formats::Format;
use bitbudget_ir::{Model, TrainingId};
use bitbudget_precision::Method;
use bitbudget_program::Footprint;

/// Shares of the memory that FP32 takes beside what no format changes: masters, states, and scratch memory of threads, which
/// is most of what so small a network takes.
const SHARES: [f64; 3] = [0.75, 0.5, 0.3];
const FP32_SHARES: [f64; 2] = [0.9, 0.7];

pub(super) fn check(case: &Case, model: &Model, exact: &Trained, findings: &mut Findings) {
    findings.run("smallest budget", || smallest(case, model, exact));
    for share in SHARES {
        for method in [Method::Ilp, Method::Demote] {
            let options = Options { budget: Some(budget(exact, share)), ..options(case, method) };
            let name = format!("budget {}% {method}", share * 100.0);
            findings.may_refuse(&name, || within(case, model, &options, &|_| Ok(())));
        }
    }
    for share in FP32_SHARES {
        let only = Budget { forward: vec![Format::FP32], backward: vec![Format::FP32], ..budget(exact, share) };
        let options = Options { budget: Some(only), ..options(case, Method::Ilp) };
        let name = format!("budget {}% of fp32 alone", share * 100.0);
        let same = |trained: &Trained| {
            same_bits(exact, trained).map_err(|e| format!("{e}; recomputed: {}", recomputed(trained)))
        };
        findings.may_refuse(&name, || within(case, model, &options, &same));
    }
}

/// The smallest budget that is stated is enough, no other method needs less, and rewriting adds nothing to what a method needs.
fn smallest(case: &Case, model: &Model, exact: &Trained) -> Result<(), String> {
    let search = |bytes| {
        let budget = Budget { limit: Limit::Bytes(bytes), ..budget(exact, 1.0) };
        compile(model.clone(), &Options { budget: Some(budget), ..options(case, Method::Ilp) })
    };
    let Err(CompileError::Budget(BudgetError::Infeasible(shortage))) = search(1) else {
        return Err("one byte is enough".into());
    };
    let Shortage { smallest, bound, .. } = *shortage;
    let smallest = smallest.ok_or("no smallest budget is stated")?;
    if bound > smallest {
        return Err(format!("{bound} bytes are proven, {smallest} stated"));
    }
    let enough = search(smallest).map_err(|e| format!("{smallest} bytes are stated: {e}"))?;
    let trained = match train_compiled(case, enough, case.loss_scale, 1) {
        Err(refusal) if diverged(&refusal) => None,
        trained => Some(trained?),
    };
    if let Some(Trained { compiled, allocated, evaluations, .. }) = trained
        && (allocated.total() > smallest.max(evaluations.total())
            || Footprint::predicted(&compiled.train, 1).total() > smallest)
    {
        return Err(format!("{smallest} bytes are stated, {allocated:?} allocated"));
    }
    for method in Method::ALL.into_iter().filter(|&method| method != Method::Ilp) {
        let peak = |rewrite| {
            let options = Options { rewrite, threads: 1, low_ratio: 1.0, ..options(case, method) };
            let compiled = compile(model.clone(), &options).map_err(text)?;
            let [step, evaluation] = [&compiled.train, &compiled.evaluate].map(|of| Footprint::predicted(of, 1));
            if evaluation.scratch > step.scratch {
                return Err(format!("{method}: an evaluation takes {evaluation:?}, a step {step:?}"));
            }
            Ok(step.total())
        };
        let (rewritten, plain) = (peak(Some(Rules::Exact))?, peak(None)?);
        if rewritten > plain {
            return Err(format!("{method} needs {rewritten} bytes, {plain} without rewriting"));
        }
        if rewritten < smallest {
            return Err(format!("{method} needs {rewritten} bytes, and {smallest} are stated as the smallest budget"));
        }
    }
    Ok(())
}

/// What is recomputed, by operator and name.
fn recomputed(trained: &Trained) -> String {
    let graph = &trained.compiled.training;
    let node = |id: &TrainingId| format!("{} `{}`", graph.op(id.node()).name(), graph.node(id.node()).name);
    trained.compiled.assignment.recomputed.iter().map(node).collect::<Vec<_>>().join(", ")
}

/// A budget whose search is short and does not depend on the clock.
fn budget(exact: &Trained, share: f64) -> Budget {
    let Footprint { kept, arena, scratch } = exact.allocated;
    let bytes = kept + scratch + (share * arena as f64) as usize;
    Budget { effort: Some(1), ..Budget::new(Limit::Bytes(bytes), 1) }
}

/// Trains under a budget: a refusal, a fault, or nothing of either.
fn within(
    case: &Case,
    model: &Model,
    options: &Options,
    then: &dyn Fn(&Trained) -> Checked,
) -> Result<Result<(), String>, String> {
    let compiled = match compile(model.clone(), options) {
        Ok(compiled) => compiled,
        Err(CompileError::Budget(refusal)) => return Ok(Err(refusal.to_string())),
        Err(other) => return Err(other.to_string()),
    };
    let solved = compiled.solved.clone().ok_or("there is a budget and no solution")?;
    let trained = match train_compiled(case, compiled, case.loss_scale, 1) {
        Err(refusal) if diverged(&refusal) => return Ok(Err(refusal)),
        trained => trained?,
    };
    let (total, step) = (trained.allocated.total(), Footprint::predicted(&trained.compiled.train, 1).total());
    let allowed = solved.budget.max(trained.evaluations.total());
    if solved.peak > solved.budget || step > solved.budget || total > allowed {
        return Err(format!("{total} bytes are allocated and {} stated, {} are allowed", solved.peak, solved.budget));
    }
    then(&trained)?;
    Ok(Ok(()))
}
