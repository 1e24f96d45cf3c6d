//! The cause of numbers that are not finite: the step is run again with its formats, then with wider ones.

use super::finding::{Cause, Decided, ProbeError, SEVERAL, Saturated};
use super::run::{Probed, Seen};
use crate::Compiled;
use bitbudget_exec::{Executor, Inputs, Values};
use bitbudget_formats::Format;
use bitbudget_ir::NodeId;
use bitbudget_precision::{Assignment, Level, Method, may_have, node_names};
use std::collections::{BTreeMap, BTreeSet};

/// How often tensors are widened that saturate only because others do not any more.
const WIDENINGS: usize = 8;

impl Compiled {
    /// Which tensor of a step's forward and backward pass made its numbers not finite; nothing if they are all finite.
    ///
    /// Runs the step again with the same formats, every tensor in a place of its own and nothing updated; `values` are those
    /// before the step, of which the forward pass reads no running statistics that it updates. Where forward tensors saturate,
    /// runs it with these in FP32 too.
    ///
    /// # Errors
    /// If the step cannot be lowered or fails.
    pub fn cause_in_step(
        &self,
        executor: &mut Executor,
        values: &mut Values,
        inputs: &Inputs<'_>,
    ) -> Result<Option<Cause>, ProbeError> {
        self.cause(false, |formats| self.seen(Probed::Step, formats, executor, values, inputs))
    }

    /// The same for the evaluation of a batch, of any size, with or without rounding.
    ///
    /// # Errors
    /// As for [`Compiled::cause_in_step`].
    pub fn cause_in_evaluation(
        &self,
        executor: &mut Executor,
        values: &mut Values,
        inputs: &Inputs<'_>,
        fp32: bool,
    ) -> Result<Option<Cause>, ProbeError> {
        self.cause(fp32, |formats| self.seen(Probed::Evaluation, formats, executor, values, inputs))
    }

    /// The cause of what `run` shows with formats of the training graph's nodes.
    fn cause(
        &self,
        fp32: bool,
        mut run: impl FnMut(&[Format]) -> Result<Seen, ProbeError>,
    ) -> Result<Option<Cause>, ProbeError> {
        let Seen { first, saturated, .. } = run(&self.assignment.formats)?;
        let first = if fp32 { run(&vec![Format::FP32; self.training.len()])?.first } else { first };
        let Some(first) = first else { return Ok(None) };
        // The first of equal ones first.
        let mut worst: Vec<(usize, f64)> = saturated.iter().map(|(&at, &share)| (at, share)).collect();
        worst.sort_by(|a, b| b.1.total_cmp(&a.1));
        let Some(&(at, _)) = worst.first() else {
            return Ok(Some(Cause { first, saturated: None, is_saturation: false }));
        };
        // Their numbers before rounding: that of the worst alone, and of several.
        let several = worst.iter().take(SEVERAL).map(|&(at, _)| at);
        let mut largest = run(&self.widened(&several.collect()))?.largest;
        largest.extend(run(&self.widened(&BTreeSet::from([at])))?.largest.remove_entry(&at));
        let worst = self.saturated(&worst, &largest);
        let is_saturation = !fp32 && self.is_finite_without(saturated.into_keys().collect(), run)?;
        Ok(Some(Cause { first, saturated: worst, is_saturation }))
    }

    /// Whether all numbers are finite with tensors in FP32 that saturate, and those that saturate only then.
    fn is_finite_without(
        &self,
        mut saturated: BTreeSet<usize>,
        mut run: impl FnMut(&[Format]) -> Result<Seen, ProbeError>,
    ) -> Result<bool, ProbeError> {
        for _ in 0..WIDENINGS {
            let seen = run(&self.widened(&saturated))?;
            let before = saturated.len();
            saturated.extend(seen.saturated.into_keys());
            if seen.first.is_none() || saturated.len() == before {
                return Ok(seen.first.is_none());
            }
        }
        Ok(false)
    }

    /// The formats of the training graph's nodes with some tensors of the assignment in FP32.
    fn widened(&self, wide: &BTreeSet<usize>) -> Vec<Format> {
        let is_wide = |id: NodeId| {
            let owner = self.assignment.forward_tensor(&self.training, id);
            owner.is_some_and(|at| wide.contains(&at))
        };
        let formats = self.training.ids().zip(&self.assignment.formats);
        formats.map(|(id, &format)| if is_wide(id) { Format::FP32 } else { format }).collect()
    }

    /// The tensors that saturate, by their positions in the assignment with the share that does, the worst first, and their
    /// largest numbers before rounding.
    fn saturated(&self, worst: &[(usize, f64)], largest: &BTreeMap<usize, f32>) -> Option<Saturated> {
        let (&(at, share), others) = worst.split_first()?;
        let names = node_names(&self.training);
        let name = |at: usize| {
            let node = self.assignment.tensors[at].node;
            names[node.index()].clone().unwrap_or_else(|| node.to_string())
        };
        let Assignment { by_level, method, tensors, chosen, levels, .. } = &self.assignment;
        let largest = |at: usize| largest.get(&at).copied().unwrap_or(f32::INFINITY);
        let holds = |wider: &Format| {
            let of = |at: usize| {
                let is_held = wider.overflow_threshold() > largest(at);
                is_held && may_have(&self.training, &tensors[at], *wider, *method, by_level)
            };
            worst.iter().take(SEVERAL).all(|&(at, _)| of(at))
        };
        let narrow = [by_level.high, Format::PAPER_HIGH, Format::BF16].into_iter().filter(|&f| f != Format::FP32);
        let decided = match (self.pinned.contains_key(&at), method, levels[at]) {
            (true, ..) => Decided::Pin,
            (false, Method::Ilp, _) => Decided::Search,
            (false, _, Level::High) => Decided::High,
            (false, _, Level::Low) => Decided::Low,
        };
        Some(Saturated {
            name: name(at),
            format: chosen[at],
            decided,
            largest: largest(at),
            share,
            wider: narrow.into_iter().find(holds).unwrap_or(Format::FP32),
            others: others.iter().map(|&(other, _)| name(other)).collect(),
        })
    }
}
