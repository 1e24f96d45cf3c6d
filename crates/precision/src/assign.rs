//! Assignments: a level per tensor, and a format per node.

use crate::demote::{demoted, largest_first, shuffled, smallest_first};
use crate::groups::{Group, groups_of};
use crate::kind::Kind;
use crate::method::Method;
use crate::operators::{Levels, amp, hybrid};
use crate::pins::Pinned;
use crate::tensors::{Formats, Level, Tensor, node_names, operators, tensors};
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Role, TrainingId};
use std::collections::BTreeSet;
use std::fmt;

/// Why there is no assignment.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignError {
    /// The low ratio is not between 0 and 1.
    LowRatio(f64),
    /// The batch is empty.
    Batch,
    /// The method needs a budget.
    Budget(Method),
    /// The formats are not one per tensor.
    Count {
        /// The number of formats given.
        formats: usize,
        /// The number of tensors in the graph.
        tensors: usize,
    },
    /// The graph has no tensors to assign.
    Empty(String),
}

impl AssignError {
    /// Where: the option, or the graph.
    pub fn place(&self) -> String {
        match self {
            AssignError::LowRatio(_) => "the low ratio".to_string(),
            AssignError::Batch => "the batch size".to_string(),
            AssignError::Budget(method) => format!("method {method}"),
            AssignError::Count { .. } => "the formats".to_string(),
            AssignError::Empty(graph) => format!("graph `{graph}`"),
        }
    }

    /// The fault.
    pub fn reason(&self) -> String {
        match self {
            AssignError::LowRatio(ratio) => format!("the low ratio is {ratio:?}"),
            AssignError::Batch => "the batch size is 0".to_string(),
            AssignError::Budget(method) => format!("method `{method}` chooses formats for a memory budget"),
            AssignError::Count { formats, tensors } => format!("{formats} formats for {tensors} tensors"),
            AssignError::Empty(graph) => format!(
                "graph `{graph}` has no input and no operator with the role of an output, so there is nothing to assign"
            ),
        }
    }

    /// Advice.
    pub fn help(&self) -> &'static str {
        match self {
            AssignError::LowRatio(_) => "choose a number from 0 (nothing low) to 1 (everything low)",
            AssignError::Batch => "choose at least 1",
            AssignError::Budget(_) => "give one, or choose another method",
            AssignError::Count { .. } => "give one per tensor",
            AssignError::Empty(_) => "choose another network",
        }
    }
}

impl fmt::Display for AssignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason(), self.help())
    }
}

/// How levels are chosen, and the formats that they stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// How levels are chosen.
    pub method: Method,
    /// The fraction of elements to make low at least, for the methods that use it.
    pub low_ratio: f64,
    /// The seed of random choices.
    pub seed: u64,
    /// The formats of high and low precision.
    pub formats: Formats,
}

/// The level of every tensor, and the formats that follow.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The method that chose the levels.
    pub method: Method,
    /// The batch size at which elements are counted.
    pub batch: usize,
    /// The formats of both levels. With [`Method::Fp32`] all of them are FP32.
    pub by_level: Formats,
    /// The tensor groups.
    pub groups: Vec<Group>,
    /// The demoted groups, in the order of demotion. Empty for methods that do not demote groups.
    pub demoted: Vec<usize>,
    /// All tensors of all operators, operator by operator.
    pub tensors: Vec<Tensor>,
    /// The level of each tensor. With [`Method::Ilp`], tensors of at most 8 bits are low.
    pub levels: Vec<Level>,
    /// The format of each tensor.
    pub chosen: Vec<Format>,
    /// The nodes whose results the backward pass recomputes, in order of ids.
    pub recomputed: Vec<TrainingId>,
    /// The format of each node's result, by node id.
    ///
    /// Internal nodes are FP32, but those that only move a tensor's numbers have its format, as relabelling nodes have. One reader's
    /// contribution to a gradient has the format of the whole gradient.
    pub formats: Vec<Format>,
}

/// Assigns formats to the tensors of a training graph.
///
/// [`Method::Demote`], [`Method::DemoteSmallest`] and [`Method::Random`] demote groups until at least `low_ratio` of all elements
/// are low. [`Method::Random`] orders groups by `seed`. For [`Method::Ilp`] use [`Assignment::of_choices`].
///
/// # Errors
/// If the low ratio is not between 0 and 1, the batch is empty, the method is [`Method::Ilp`], or the graph has no operator.
pub fn assign(
    graph: &Graph,
    batch: usize,
    method: Method,
    low_ratio: f64,
    seed: u64,
    formats: Formats,
) -> Result<Assignment, AssignError> {
    let setting = Setting { method, low_ratio, seed, formats };
    assign_with(graph, batch, &tensors(graph, batch), &setting, &Pinned::new())
}

/// Assigns formats like [`assign`] to the [`tensors`] of a graph at a batch, except that pinned ones get the formats they are pinned
/// to.
///
/// Tensors pinned to a format narrower than high precision count as low, so the ratio is reached as far as pins allow. Groups
/// are ordered by their elements that are not pinned.
///
/// # Errors
/// Those of [`assign`].
pub fn assign_with(
    graph: &Graph,
    batch: usize,
    tensors: &[Tensor],
    setting: &Setting,
    pinned: &Pinned,
) -> Result<Assignment, AssignError> {
    let Setting { method, low_ratio, seed, formats } = *setting;
    if !(0.0..=1.0).contains(&low_ratio) {
        return Err(AssignError::LowRatio(low_ratio));
    }
    check(graph, batch, tensors)?;
    let groups = groups_of(graph, tensors);
    let by_level = if method == Method::Fp32 { Formats::FP32 } else { formats };
    let mut sizes = vec![0u64; groups.len()];
    let mut low = 0u64;
    for (at, tensor) in tensors.iter().enumerate() {
        match pinned.get(&at) {
            None => sizes[tensor.group] = sizes[tensor.group].saturating_add(tensor.elements),
            Some(format) if format.bits() < by_level.high.bits() => low = low.saturating_add(tensor.elements),
            Some(_) => {}
        }
    }
    let total = groups.iter().fold(0u64, |sum, group| sum.saturating_add(group.elements));
    let first = |order: &[usize]| demoted(&sizes, order, low, total, low_ratio);
    let demoted = match method {
        Method::Demote => first(&largest_first(&sizes)),
        Method::DemoteSmallest => first(&smallest_first(&sizes)),
        Method::Random => first(&shuffled(&sizes, seed)),
        Method::Fp32 | Method::UniformHigh | Method::UniformLow | Method::Operator | Method::Amp => Vec::new(),
        Method::Ilp => return Err(AssignError::Budget(method)),
    };
    let levels = match method {
        Method::Fp32 | Method::UniformHigh => vec![Level::High; tensors.len()],
        Method::UniformLow => vec![Level::Low; tensors.len()],
        Method::Operator => spread(graph, tensors, &hybrid(graph)),
        Method::Amp => spread(graph, tensors, &amp(graph)),
        Method::Demote | Method::DemoteSmallest | Method::Random | Method::Ilp => by_group(tensors, &demoted),
    };
    let (chosen, formats, recomputed, tensors) = (Vec::new(), Vec::new(), Vec::new(), tensors.to_vec());
    let assignment =
        Assignment { method, batch, by_level, groups, demoted, tensors, levels, chosen, recomputed, formats };
    Ok(assignment.with_formats(graph, pinned))
}

/// Returns the level of each tensor when these groups are demoted.
fn by_group(tensors: &[Tensor], demoted: &[usize]) -> Vec<Level> {
    let level = |t: &Tensor| if demoted.contains(&t.group) { Level::Low } else { Level::High };
    tensors.iter().map(level).collect()
}

/// Checks that there is something to assign.
///
/// # Errors
/// If the batch is empty or there are no tensors.
fn check(graph: &Graph, batch: usize, tensors: &[Tensor]) -> Result<(), AssignError> {
    match tensors {
        _ if batch == 0 => Err(AssignError::Batch),
        [] => Err(AssignError::Empty(graph.name().to_string())),
        _ => Ok(()),
    }
}

/// Returns the level of each tensor, given those of operators.
fn spread(graph: &Graph, tensors: &[Tensor], levels: &[Levels]) -> Vec<Level> {
    let mut by_node = vec![None; graph.len()];
    for (operator, &level) in operators(graph).iter().zip(levels) {
        by_node[operator.node.index()] = Some(level);
    }
    tensors.iter().map(|t| by_node[t.operator.index()].map_or(Level::High, |level| level.of(t.kind))).collect()
}

impl Assignment {
    /// Creates an assignment from a format for each of the [`tensors`] of a graph at a batch, and the recomputed nodes.
    ///
    /// `method` and `by_level` determine the levels, which reports name.
    ///
    /// # Errors
    /// If the batch is empty, the graph has no operator, or the formats are not one per tensor.
    pub fn of_choices(
        graph: &Graph,
        batch: usize,
        tensors: &[Tensor],
        method: Method,
        by_level: Formats,
        chosen: Vec<Format>,
        recomputed: Vec<TrainingId>,
    ) -> Result<Assignment, AssignError> {
        check(graph, batch, tensors)?;
        if tensors.len() != chosen.len() {
            return Err(AssignError::Count { formats: chosen.len(), tensors: tensors.len() });
        }
        let recomputed = without_masters(graph, tensors, &chosen, recomputed);
        Ok(Assignment {
            method,
            batch,
            by_level,
            groups: groups_of(graph, tensors),
            demoted: Vec::new(),
            formats: formats_of(graph, tensors, &chosen),
            levels: levels_of(method, &by_level, tensors, &chosen),
            tensors: tensors.to_vec(),
            chosen,
            recomputed,
        })
    }

    /// Returns a copy in which exactly these groups are demoted.
    pub fn with_demoted(&self, graph: &Graph, demoted: &[usize], pinned: &Pinned) -> Assignment {
        let levels = by_group(&self.tensors, demoted);
        Assignment { demoted: demoted.to_vec(), levels, ..self.clone() }.with_formats(graph, pinned)
    }

    /// Sets formats by levels and pins.
    fn with_formats(mut self, graph: &Graph, pinned: &Pinned) -> Assignment {
        let by_level = self.by_level;
        self.chosen = self.tensors.iter().zip(&self.levels).map(|(t, &level)| by_level.of(t.kind, level)).collect();
        for (&at, &format) in pinned {
            self.chosen[at] = format;
        }
        let levels = levels_of(self.method, &by_level, &self.tensors, &self.chosen);
        pinned.keys().for_each(|&at| self.levels[at] = levels[at]);
        self.formats = formats_of(graph, &self.tensors, &self.chosen);
        self
    }

    /// Returns the tensors with their levels and formats.
    pub fn assigned(&self) -> impl Iterator<Item = (&Tensor, Level, Format)> {
        self.tensors.iter().zip(&self.levels).zip(&self.chosen).map(|((t, &level), &format)| (t, level, format))
    }

    /// Returns the number of elements of all tensors.
    pub fn elements(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, t| sum.saturating_add(t.elements))
    }

    /// Returns the fraction of all elements that are low (the paper's low-precision ratio).
    pub fn low_ratio_elements(&self) -> f64 {
        let low = self.assigned().filter(|&(_, level, _)| level == Level::Low);
        let low = low.fold(0u64, |sum, (t, _, _)| sum.saturating_add(t.elements));
        low as f64 / self.elements().max(1) as f64
    }

    /// Returns twice the fraction of bits that the assignment saves over uniform high precision: 1 if all tensors take half
    /// the bits.
    ///
    /// High precision is that of the assignment's own formats, so FP32 saves nothing.
    pub fn low_ratio_bits(&self) -> f64 {
        let high = self.elements() as f64 * f64::from(self.by_level.high.bits());
        2.0 * (high - self.bits_total() as f64) / high.max(1.0)
    }

    /// Returns the sum of elements times bits over all tensors.
    pub fn bits_total(&self) -> u64 {
        let bits = |t: &Tensor, format: Format| t.elements.saturating_mul(u64::from(format.bits()));
        self.assigned().fold(0, |sum, (t, _, format)| sum.saturating_add(bits(t, format)))
    }

    /// Returns the level of a group's tensors, or `None` if their levels differ.
    pub fn group_level(&self, group: usize) -> Option<Level> {
        let mut levels = self.assigned().filter(|(t, _, _)| t.group == group).map(|(_, level, _)| level);
        let first = levels.next()?;
        levels.all(|level| level == first).then_some(first)
    }

    /// Raises parameters and outputs to high precision permanently (paper, "Promotion").
    ///
    /// `nodes` are the nodes whose tensors overflowed. A relabelling node stands for the tensor it relabels. Gradients keep their
    /// formats. Returns the nodes of the promoted tensors, in execution order.
    pub fn promote(&mut self, graph: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
        let mut promoted = Vec::new();
        for node in nodes.iter().filter(|&&node| graph.contains(node)).map(|&node| graph.owner(node)) {
            for ((tensor, level), chosen) in self.tensors.iter().zip(&mut self.levels).zip(&mut self.chosen) {
                let forward = matches!(tensor.kind, Kind::Parameter | Kind::Output);
                if forward && tensor.node == node && *level == Level::Low {
                    *level = Level::High;
                    *chosen = self.by_level.of(tensor.kind, Level::High);
                    promoted.push(node);
                }
            }
        }
        if !promoted.is_empty() {
            promoted.sort_unstable();
            self.formats = formats_of(graph, &self.tensors, &self.chosen);
        }
        promoted
    }

    /// Returns the position of the parameter or output that a node computes or relabels.
    pub fn forward_tensor(&self, graph: &Graph, node: NodeId) -> Option<usize> {
        let node = graph.contains(node).then(|| graph.owner(node))?;
        self.tensors.iter().position(|t| matches!(t.kind, Kind::Parameter | Kind::Output) && t.node == node)
    }
}

/// Returns the level of each tensor, given its format.
///
/// With [`Method::Ilp`], formats of at most 8 bits are low. Otherwise the low format of the tensor's kind is low, and so is any
/// format narrower than high precision. If a parameter gradient has the same format at both levels, it has its parameter's level.
fn levels_of(method: Method, by_level: &Formats, tensors: &[Tensor], chosen: &[Format]) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::with_capacity(tensors.len());
    for (tensor, &format) in tensors.iter().zip(chosen) {
        let [high, low] = [Level::High, Level::Low].map(|level| by_level.of(tensor.kind, level));
        let is_parameter = |t: &Tensor| t.kind == Kind::Parameter && t.node == tensor.node;
        let parameter = || tensors.iter().position(is_parameter).and_then(|at| levels.get(at).copied());
        let is_low = match (method, tensor.kind) {
            (Method::Ilp, _) => format.bits() <= 8,
            (_, Kind::ParameterGradient) if high == low && format == low => parameter() == Some(Level::Low),
            _ => format.bits() < by_level.high.bits() || format == low && low != high,
        };
        levels.push(if is_low { Level::Low } else { Level::High });
    }
    levels
}

/// Returns the format of each node's result, given those of the tensors.
fn formats_of(graph: &Graph, tensors: &[Tensor], chosen: &[Format]) -> Vec<Format> {
    let (mut forward, mut gradients) = (vec![None; graph.len()], vec![None; graph.len()]);
    for (at, tensor) in tensors.iter().enumerate() {
        match tensor.kind {
            Kind::Parameter | Kind::Output => forward[tensor.node.index()] = Some(at),
            Kind::OutputGradient | Kind::ParameterGradient => gradients[tensor.node.index()] = Some(at),
        }
    }
    let mut tensor_of: Vec<Option<usize>> = vec![None; graph.len()];
    for id in graph.ids().filter(|&id| graph.ty(id).dtype == DType::F32) {
        let own = || match graph.node(id).role {
            Role::OutputGradient { of } | Role::ParameterGradient { of } => gradients[graph.owner(of).index()],
            Role::Internal | Role::Output | Role::Parameter => forward[id.index()],
        };
        tensor_of[id.index()] = graph.moved(id, |operand| tensor_of[operand.index()]).unwrap_or_else(own);
    }
    tensor_of.iter().map(|tensor| tensor.map_or(Format::FP32, |at| chosen[at])).collect()
}

/// The recomputed nodes but for copies of parameters in FP32, which are their masters: there is nothing to compute.
fn without_masters(
    graph: &Graph,
    tensors: &[Tensor],
    chosen: &[Format],
    recomputed: Vec<TrainingId>,
) -> Vec<TrainingId> {
    if recomputed.is_empty() {
        return recomputed;
    }
    let names = node_names(graph);
    let is_master = |(tensor, format): &(&Tensor, &Format)| tensor.kind == Kind::Parameter && **format == Format::FP32;
    let masters = tensors.iter().zip(chosen).filter(is_master);
    let masters: BTreeSet<&str> = masters.filter_map(|(tensor, _)| names[tensor.node.index()].as_deref()).collect();
    let is_of_master = |id: &TrainingId| names[id.index()].as_deref().is_some_and(|name| masters.contains(name));
    recomputed.into_iter().filter(|id| !is_of_master(id)).collect()
}
