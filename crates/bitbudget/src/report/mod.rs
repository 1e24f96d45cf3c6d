//! A compiled trainer as the plain data of a report.

mod instructions;
mod operators;
mod rows;
mod why;

use crate::build::build;
use crate::{Certificate, CompileError, Compiled};
use bitbudget_precision::{Assignment, Level, node_names};
use bitbudget_program::Footprint;
use bitbudget_report::{Demoted, Group, Memory, Report, Rerun, Solver, Training, USES, Verdict};
use instructions::instructions;
use operators::{Operators, operators};
use rows::rows;

/// The report of a trainer that runs with so many threads, and of its training if there was one; how to repeat it is left out.
///
/// # Errors
/// If the graph cannot be built.
pub fn report(compiled: &Compiled, threads: usize, training: Option<Training>) -> Result<Report, CompileError> {
    let Compiled { training: graph, assignment, lowering, train, peak, .. } = compiled;
    let built = build(graph, assignment, *lowering)?;
    let footprint = Footprint::predicted(train, threads);
    let instructions = instructions(graph, &built, footprint.scratch);
    let operators = operators(graph, assignment);
    let taken = instructions.bytes.get(peak.instruction).map_or(0, |bytes| bytes.iter().sum());
    let memory = Memory {
        total: footprint.total(),
        gaps: footprint.total().saturating_sub(taken),
        peak: peak.instruction,
        backward: instructions.backward,
        uses: USES.to_vec(),
        instructions: instructions.described(),
    };
    Ok(Report {
        network: compiled.forward.name().to_string(),
        verdict: verdict(compiled, footprint.total()),
        memory,
        tensors: rows(compiled, &built, &operators, &instructions, training.as_ref()),
        groups: groups(assignment, &operators),
        nodes: operators.nodes,
        training,
        rerun: Rerun::default(),
    })
}

fn verdict(compiled: &Compiled, predicted: usize) -> Verdict {
    let Compiled { training: graph, assignment, solved, .. } = compiled;
    let names = node_names(graph);
    let demoted =
        |demoted: crate::Demoted| Demoted { low_ratio: demoted.low_ratio, peak: demoted.peak, cost: demoted.cost };
    Verdict {
        method: assignment.method.to_string(),
        batch: assignment.batch,
        budget: solved.as_ref().map(|solved| solved.budget),
        fp32: solved.as_ref().map(|solved| solved.fp32),
        predicted,
        allocated: None,
        resident: None,
        elements: assignment.elements(),
        low_ratio: assignment.low_ratio_elements(),
        bits_per_element: assignment.bits_total() as f64 / assignment.elements().max(1) as f64,
        recomputed: assignment.recomputed.iter().filter_map(|id| names[id.index()].clone()).collect(),
        solver: solved.as_ref().and_then(|solved| solved.solver.as_ref()).map(solver),
        demote: solved.as_ref().and_then(|solved| solved.demote).map(demoted),
        demote_allowed: solved.as_ref().is_some_and(|solved| solved.demote_allowed),
    }
}

fn solver(certificate: &Certificate) -> Solver {
    let Certificate { name, profile, seconds, cost, bound, price, binds, slowdown, .. } = certificate.clone();
    Solver { name, profile, seconds, cost, bound, gap: certificate.gap(), price, slowdown, binds }
}

fn groups(assignment: &Assignment, operators: &Operators) -> Vec<Group> {
    let group = |group: &bitbudget_precision::Group| Group {
        nodes: group.operators.iter().filter_map(|&id| operators.position(id)).collect(),
        elements: group.elements,
        level: match assignment.group_level(group.id) {
            Some(Level::High) => "high",
            Some(Level::Low) => "low",
            None => "mixed",
        },
        demoted: assignment.demoted.iter().position(|&demoted| demoted == group.id),
    };
    assignment.groups.iter().map(group).collect()
}
