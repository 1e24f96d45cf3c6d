//! The FP32 step from which the integer program is made, as plain data.

use bitbudget_ir::{Graph, NodeId};

/// Where a node's result lies while every tensor is FP32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In memory of its own.
    Own,
    /// Where another one lies.
    Of(NodeId),
    /// Nowhere, or in what stays from step to step.
    Nowhere,
}

/// A training step in which every tensor is FP32, and what stays whatever is chosen. Memory is in bytes.
#[derive(Clone, Debug)]
pub struct Fp32Step {
    /// The training graph after rewriting, with copies of what is stored nowhere; what follows goes by its ids.
    pub graph: Graph,
    /// The nodes of each step in the order in which they are computed.
    pub steps: Vec<Vec<NodeId>>,
    /// The operators of each step, in words.
    pub computes: Vec<String>,
    /// Where results lie, by node id. Rounded copies of parameters count as stored: they are in other formats.
    pub places: Vec<Where>,
    /// The tensor whose place a result takes when it ends, by node id.
    pub replaced: Vec<Option<NodeId>>,
    /// Workspace at each step, for the formats that need most and for those that need least.
    pub workspace: Vec<usize>,
    /// The same for the formats that need least.
    pub workspace_least: Vec<usize>,
    /// The most bytes beside the arena, whatever the formats.
    pub beside: usize,
    /// The least bytes beside the arena, whatever the formats and the form of the program.
    pub beside_least: usize,
    /// The least that programs of this form take beside the arena.
    pub beside_least_in_form: usize,
    /// Masters and optimizer state, which all assignments take.
    pub kept: usize,
    /// The peak.
    pub peak: usize,
    /// Tensors and workspace begin at multiples of so many bytes.
    pub alignment: usize,
}

/// The FP32 step in the forms that a training graph's program may have: all compute the same bits.
#[derive(Clone, Debug)]
pub struct Fp32 {
    /// In the form that takes least in FP32.
    pub step: Fp32Step,
    /// In the other forms, if that one stores what can be computed in passing.
    pub others: Vec<Fp32Step>,
    /// Estimated seconds of each node of the training graph.
    pub seconds: Vec<f64>,
    /// The peak in bytes that a budget may be a share of: that of FP32 by the rules that are applied by default.
    pub base: usize,
}

impl Fp32Step {
    /// The step as the integer program reads it.
    pub(crate) fn skeleton<'a>(&'a self, training: &'a Graph) -> Skeleton<'a> {
        let Fp32Step { graph, steps, places, replaced, workspace, alignment, .. } = self;
        Skeleton { training, graph, steps, places, replaced, workspace, alignment: *alignment }
    }

    /// The same with the workspace of the formats that need least.
    pub(crate) fn optimistic<'a>(&'a self, training: &'a Graph) -> Skeleton<'a> {
        Skeleton { workspace: &self.workspace_least, ..self.skeleton(training) }
    }

    /// By how much the workspace of the formats that need most exceeds that of those that need least, at most.
    pub(crate) fn workspace_spread(&self) -> usize {
        self.workspace.iter().zip(&self.workspace_least).map(|(most, least)| most - least).max().unwrap_or(0)
    }

    /// The operators of the steps of the largest weights, the largest first; at most `count`.
    pub(crate) fn largest(&self, weights: &[f64], count: usize) -> Vec<String> {
        let is_heavy = |&step: &usize| weights.get(step).is_some_and(|&weight| weight > 0.0);
        let mut steps: Vec<usize> = (0..self.steps.len()).filter(is_heavy).collect();
        steps.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
        steps.into_iter().take(count).map(|step| self.computes[step].clone()).collect()
    }
}

/// The input of the integer program: an [`Fp32Step`] with the training graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skeleton<'a> {
    pub(crate) training: &'a Graph,
    pub(crate) graph: &'a Graph,
    pub(crate) steps: &'a [Vec<NodeId>],
    pub(crate) places: &'a [Where],
    pub(crate) replaced: &'a [Option<NodeId>],
    pub(crate) workspace: &'a [usize],
    pub(crate) alignment: usize,
}
