//! Tensors that need not be stored, since what reads them can compute them in passing.

use crate::lifetimes::{Lives, lives};
use crate::schedule::Place;
use crate::setting::Setting;
use crate::tensors::Tensors;
use bitbudget_ir::{DType, Form, Graph, NodeId, Op};
use std::collections::{BTreeMap, BTreeSet};

/// Functions that are computed for one element of a derived tensor at most, and stored elements that these read.
const FUNCTIONS: usize = 8;
const READS: usize = 2;
/// An operand that is smaller than the tensor by this factor may be kept for it.
const SMALL: usize = 16;

/// The nodes of a graph that need not be stored, with the step whose copy counts what overflows.
///
/// They are cheap functions of tensors that are stored anyway for as long as something reads them, and everything that
/// reads them can compute them in passing: `takes` says whether a node's kernel can compute its operand at a position. What a rectifier lets through of a gradient is such a function, too, though the
/// gradient is kept in its place. `steps` are the graph's, which is in FP32. A step that computes every element of a copy
/// exactly once counts at no cost; where there is none, the first step that has a copy does.
pub fn derivable(
    graph: &Graph,
    steps: &[Vec<NodeId>],
    setting: &Setting,
    takes: &dyn Fn(NodeId, usize) -> bool,
) -> BTreeMap<NodeId, usize> {
    let deriving = Deriving::new(graph, steps, setting, takes);
    let derived = deriving.choose();
    let mut counting = deriving.counting(&derived, |id| is_elementwise(graph, id));
    for (id, step) in deriving.counting(&derived, |_| true) {
        counting.entry(id).or_insert(step);
    }
    counting
}

/// Whether a node computes every element exactly once, and so can count those that overflow.
fn is_elementwise(graph: &Graph, id: NodeId) -> bool {
    let facts = graph.facts(id);
    facts.is_elementwise() && (facts.cheap || matches!(graph.op(id), Op::BatchNormGradInput(_)))
}

struct Deriving<'a> {
    graph: &'a Graph,
    steps: &'a [Vec<NodeId>],
    batch: usize,
    takes: &'a dyn Fn(NodeId, usize) -> bool,
    /// Places outside the arena, and whether a node lies in it, by node id.
    places: Vec<Option<Place>>,
    in_arena: Vec<bool>,
    /// The node whose storage each node lies in.
    root: Vec<NodeId>,
    /// The nodes that read each storage, with the position of the operand; nothing for those that only show it.
    readers: Vec<Vec<(NodeId, usize)>>,
    /// The last step that reads each storage; the number of steps for what stays.
    last: Vec<usize>,
}

/// The bytes of one element of a node.
#[derive(Clone, Copy, Default)]
struct Work {
    functions: usize,
    reads: usize,
}

impl<'a> Deriving<'a> {
    fn new(
        graph: &'a Graph,
        steps: &'a [Vec<NodeId>],
        setting: &Setting,
        takes: &'a dyn Fn(NodeId, usize) -> bool,
    ) -> Deriving<'a> {
        let Setting { batch, storage, alignment } = *setting;
        let Lives { items, places, .. } = lives(&Tensors::stored(graph, batch, storage), steps, &[], alignment);
        let mut in_arena = vec![false; graph.len()];
        items.iter().flat_map(|item| &item.tensors).for_each(|id| in_arena[id.index()] = true);
        let root: Vec<NodeId> = graph.ids().map(|id| graph.storage(id)).collect();
        let mut readers = vec![Vec::new(); graph.len()];
        let mut last = vec![0; graph.len()];
        for (at, step) in steps.iter().enumerate() {
            for &id in step {
                for (position, operand) in graph.operands(id).iter().copied().enumerate() {
                    let storage = root[operand.index()];
                    last[storage.index()] = at;
                    if root[id.index()] != storage {
                        readers[storage.index()].push((id, position));
                    }
                }
            }
        }
        let updates = graph.updates().iter().flat_map(|&(target, value)| [target, value]);
        for id in graph.outputs().iter().map(|&(_, id)| id).chain(updates) {
            last[root[id.index()].index()] = steps.len();
        }
        Deriving { graph, steps, batch, takes, places, in_arena, root, readers, last }
    }

    /// The nodes that are derived, with those that only show them.
    fn choose(&self) -> BTreeSet<NodeId> {
        let mut derived = BTreeSet::new();
        for id in self.steps.iter().flatten().copied() {
            if self.in_arena[id.index()] {
                let mut closure = BTreeSet::new();
                if self.is_read_in_passing(id) && self.work(id, id, &derived, &mut closure).is_some() {
                    derived.extend(closure);
                }
            } else if self.root[id.index()] != id && derived.contains(&self.root[id.index()]) {
                derived.insert(id);
            }
        }
        derived
    }

    /// Whether all readers of a tensor can compute it in passing.
    fn is_read_in_passing(&self, id: NodeId) -> bool {
        let ty = self.graph.ty(id);
        let batched = ty.shape.rank() > 1 && ty.shape.get(0).is_some_and(|dim| dim.as_fixed().is_none());
        let readers = &self.readers[id.index()];
        let passes = self.last[id.index()] < self.steps.len() && !readers.is_empty();
        let shows = readers.iter().all(|&(reader, position)| (self.takes)(reader, position));
        ty.dtype == DType::F32 && batched && passes && shows
    }

    /// The work for one element of `id`, on the way to one of `top`, if that is cheap and reads what is stored for as long as
    /// something reads `top`; `closure` gets what has to be computed.
    fn work(
        &self,
        id: NodeId,
        top: NodeId,
        derived: &BTreeSet<NodeId>,
        closure: &mut BTreeSet<NodeId>,
    ) -> Option<Work> {
        if !self.graph.facts(id).is_cheap() {
            return None;
        }
        closure.insert(id);
        let mut work = Work { functions: 1, reads: 0 };
        for &operand in self.graph.operands(id) {
            let storage = self.root[operand.index()];
            let is_inside = self.places[storage.index()] == Some(Place::Inside);
            let of = match is_inside || derived.contains(&storage) {
                true => self.work(storage, top, derived, closure)?,
                false => Work { functions: 0, reads: self.read(storage, id, top)? },
            };
            let Work { functions, reads } = &mut work;
            match self.graph.facts(id).form {
                Form::Planes(_) => (*functions, *reads) = ((*functions).max(of.functions + 1), (*reads).max(of.reads)),
                _ => (*functions, *reads) = (*functions + of.functions, *reads + of.reads),
            }
        }
        (work.functions <= FUNCTIONS && work.reads <= READS).then_some(work)
    }

    /// How many stored elements `id` reads for one of a stored tensor: none to speak of if it is small.
    fn read(&self, storage: NodeId, id: NodeId, top: NodeId) -> Option<usize> {
        let elements = |id: NodeId| self.graph.ty(id).shape.elements(self.batch);
        if elements(storage).saturating_mul(SMALL) <= elements(top) {
            return Some(0);
        }
        let source = self.graph.op(storage).source_name().is_some();
        // A gradient takes no more room than what is let through of it.
        let replaces = id == top
            && self.graph.facts(top).is_mask()
            && self.root[self.graph.operands(top)[0].index()] == storage
            && elements(storage) == elements(top);
        (source || replaces || self.last[storage.index()] >= self.last[top.index()]).then_some(1)
    }

    /// The first step that reads each derived node, by way of nodes that do as is asked.
    fn counting(&self, derived: &BTreeSet<NodeId>, does: impl Fn(NodeId) -> bool) -> BTreeMap<NodeId, usize> {
        let mut counting = BTreeMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            let mut heads: Vec<NodeId> = step.iter().filter(|id| !derived.contains(id)).copied().collect();
            if !heads.iter().all(|&id| does(id)) {
                continue;
            }
            while let Some(id) = heads.pop() {
                for &operand in self.graph.operands(id) {
                    if derived.contains(&operand) && does(operand) {
                        counting.entry(operand).or_insert(at);
                        heads.push(operand);
                    }
                }
            }
        }
        counting
    }
}
