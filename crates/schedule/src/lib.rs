//! Orders the nodes of a graph, ends the lifetimes of its tensors, gives them places and states the peak in bytes.
//!
//! [`group`] makes steps, [`place`] finds places; what kernels need is asked between the two.
//!
//! The order is the graph's, except that rounded copies are made just before their first reader, and that a node which
//! frees more than it takes comes as early as it can. Elementwise nodes are joined to steps, inside which tensors need
//! no memory; what [`derivable`] names is computed by every step that reads it, in passing. A tensor that only shows another one (a reshape, or a cast that changes nothing) is an alias and shares its
//! storage; an elementwise result takes the place of an operand that ends with it. This crate knows nothing of devices
//! and does not choose formats.
//!
//! ```
//! use bitbudget_ir::Graph;
//! use bitbudget_schedule::{Setting, Storage, plan};
//!
//! let graph: Graph = r#"graph "g" {
//!   %0 = input {name="x"} : f32[N,4]
//!   %1 = reduce_sum(%0) {axes=[1], keep=true} : f32[N,1] output
//!   %2 = exp(%1) : f32[N,1] output
//!   %3 = relu(%2) : f32[N,1] output
//!   return "y" = %3
//! }"#.parse()?;
//! let setting = Setting { batch: 16, storage: Storage::Packed };
//! let schedule = plan(&graph, &setting);
//! assert_eq!(schedule.steps.len(), 2); // The exponential and the rectifier are one step, in the sum's place.
//! assert_eq!(schedule.arena, 64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod derive;
mod fuse;
mod lifetimes;
mod memory;
mod order;
mod pack;
mod place;

use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Stage, Stored};

pub use derive::derivable;
pub use memory::{Life, Memory, Use};

/// How tensors are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In the bits of their formats.
    #[default]
    Packed,
    /// As FP32 numbers, rounded to their formats: what a simulation does.
    Simulated,
}

/// What sizes depend on.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Examples per step.
    pub batch: usize,
    /// How tensors are stored.
    pub storage: Storage,
}

/// Nodes that are computed together, then tensors end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The nodes, operands first.
    pub nodes: Vec<NodeId>,
    /// The tensors (never aliases) that nothing reads any more, in order of ids.
    pub ends: Vec<NodeId>,
    /// The byte offset of the workspace in the arena, if there is one.
    pub workspace: Option<usize>,
}

/// Where a result lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is used inside its step only.
    Inside,
    /// In the arena, from a byte offset on.
    Arena(usize),
    /// In the place of the parameter or state whose next value it is.
    Kept(NodeId),
    /// Where the tensor lies that it is an alias of.
    Alias,
}

/// An execution order with the places of all tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Every node that something needs, in one step.
    pub steps: Vec<Step>,
    /// Where results lie, by node id; nothing for sources that are not rounded and for nodes that nothing needs.
    pub places: Vec<Option<Place>>,
    /// Bytes of the arena.
    pub arena: usize,
    /// What lies in the arena when.
    pub lives: Vec<Life>,
    /// What is alive at the peak.
    pub peak: Memory,
}

/// The nodes of each step: in order, unless the graph is, and those together that are computed together. What is computed in passing is
/// in the step that reads it.
pub fn group(graph: &Graph, batch: usize) -> Vec<Vec<NodeId>> {
    let setting = Setting { batch, storage: Storage::Packed };
    let tensors = Tensors { graph, setting: &setting, live: graph.live() };
    let order = match graph.stage() {
        Stage::Ordered => graph.ids().filter(|&id| tensors.is_computed(id)).collect(),
        _ => order::order(&tensors),
    };
    fuse::units(&tensors, &order)
}

/// As [`group`], with the nodes in the graph's own order and each in a step of its own, so that every result is stored.
pub fn one_by_one(graph: &Graph) -> Vec<Vec<NodeId>> {
    let setting = Setting { batch: 1, storage: Storage::Packed };
    let tensors = Tensors { graph, setting: &setting, live: graph.live() };
    graph.ids().filter(|&id| tensors.is_computed(id)).map(|id| vec![id]).collect()
}

/// [`group`], then [`place`], where no kernel needs workspace.
pub fn plan(graph: &Graph, setting: &Setting) -> Schedule {
    place(graph, group(graph, setting.batch), &[], setting)
}

/// The results, by node id, that are used inside their step only, so that they need no place.
pub fn inside(graph: &Graph, steps: &[Vec<NodeId>], batch: usize) -> Vec<bool> {
    let setting = Setting { batch, storage: Storage::Packed };
    lifetimes::inside(&Tensors { graph, setting: &setting, live: graph.live() }, steps)
}

/// The places of the results of steps, which hold every node that something needs; `workspace` is the bytes that each step's kernel
/// needs beside operands and results.
pub fn place(graph: &Graph, steps: Vec<Vec<NodeId>>, workspace: &[usize], setting: &Setting) -> Schedule {
    let (tensors, units) = (&Tensors { graph, setting, live: graph.live() }, steps);
    let lives = lifetimes::lives(tensors, &units, workspace);
    let placed = place::place(&lives.items);
    let arena = placed.size;
    let in_arena = memory::in_arena(tensors, &lives);
    let peak = memory::peak(tensors, &lives, &in_arena, arena);
    let mut places = lives.places.clone();
    for (item, &offset) in lives.items.iter().zip(&placed.offsets) {
        for &id in &item.tensors {
            places[id.index()] = Some(Place::Arena(offset));
        }
    }
    let workspaces = lives.items.iter().zip(&placed.offsets).filter(|(item, _)| item.tensors.is_empty());
    let mut offsets = vec![None; units.len()];
    workspaces.for_each(|(item, &offset)| offsets[item.first] = Some(offset));
    let steps = units.into_iter().zip(lives.ends).zip(offsets);
    let steps = steps.map(|((nodes, ends), workspace)| Step { nodes, ends, workspace }).collect();
    Schedule { steps, places, arena, lives: in_arena, peak }
}

/// What a tensor counts as at most, 64 TiB: so the sum of very many cannot overflow. Such a program is refused later.
pub(crate) const MOST: usize = 1 << 46;

/// A graph with what the passes ask of its tensors.
pub(crate) struct Tensors<'a> {
    pub(crate) graph: &'a Graph,
    setting: &'a Setting,
    live: Vec<bool>,
}

impl Tensors<'_> {
    /// Whether a step computes the node: everything that something needs but sources, of which only rounded inputs.
    pub(crate) fn is_computed(&self, id: NodeId) -> bool {
        let source = self.graph.op(id).source_name().is_some();
        self.live[id.index()] && (!source || self.is_rounded_input(id))
    }

    /// Whether the node is an input that is stored in a format of its own.
    pub(crate) fn is_rounded_input(&self, id: NodeId) -> bool {
        matches!(self.graph.op(id), Op::Input(_)) && self.graph.format(id) != Format::FP32
    }

    /// Whether the node is computed inside the step that reads it.
    pub(crate) fn is_derived(&self, id: NodeId) -> bool {
        self.graph.node(id).origin.in_passing
    }

    /// The node whose storage the result of `id` lies in.
    pub(crate) fn root(&self, id: NodeId) -> NodeId {
        self.graph.storage(id)
    }

    pub(crate) fn is_alias(&self, id: NodeId) -> bool {
        self.graph.is_alias(id)
    }

    /// Bytes of a tensor, at most [`MOST`].
    pub(crate) fn bytes(&self, id: NodeId) -> usize {
        match self.setting.storage {
            Storage::Packed => self.graph.bytes(id, self.setting.batch).min(MOST),
            Storage::Simulated => self.size(id),
        }
    }

    /// Bytes of a tensor before formats are chosen. Order and steps go by these, so that they are the same for all formats.
    pub(crate) fn size(&self, id: NodeId) -> usize {
        let node = self.graph.node(id);
        let exact = Stored::of(node.role, Format::FP32);
        exact.bytes(node.ty.dtype, node.ty.shape.elements(self.setting.batch)).min(MOST)
    }
}
