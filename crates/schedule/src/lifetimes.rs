//! The lifetimes of tensors, and which tensors reuse each other's place.

use crate::fuse;
use crate::schedule::Place;
use crate::tensors::{MOST, Tensors};
use bitbudget_ir::{NodeId, Op};

/// Memory that is needed from one unit to another, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// The tensors that lie there, one after the other; none for a unit's workspace.
    pub(crate) tensors: Vec<NodeId>,
    pub(crate) bytes: usize,
    /// The bytes up to the next multiple of the alignment.
    pub(crate) size: usize,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// The lifetimes of all tensors.
pub(crate) struct Lives {
    pub(crate) items: Vec<Item>,
    /// Places outside the arena, by node id.
    pub(crate) places: Vec<Option<Place>>,
    /// The tensors that end with each unit.
    pub(crate) ends: Vec<Vec<NodeId>>,
    /// The unit that computes each node, by node id; 0 for sources.
    pub(crate) computed: Vec<usize>,
}

struct Walk<'a> {
    tensors: &'a Tensors<'a>,
    units: &'a [Vec<NodeId>],
    /// The unit of each node that is computed.
    unit: Vec<Option<usize>>,
    /// The last unit that reads or writes each storage; the number of units for what stays.
    last: Vec<usize>,
}

/// The lifetimes of the tensors that `units` compute.
pub(crate) fn lives(tensors: &Tensors<'_>, units: &[Vec<NodeId>], workspace: &[usize], alignment: usize) -> Lives {
    let alignment = alignment.max(1);
    let new = |tensors: Vec<NodeId>, bytes: usize, first: usize, last: usize| {
        let size = bytes.div_ceil(alignment).saturating_mul(alignment);
        Item { tensors, bytes, size, first, last }
    };
    let walk = Walk::new(tensors, units);
    let computed = walk.unit.iter().map(|unit| unit.unwrap_or(0)).collect();
    let ends = vec![Vec::new(); units.len()];
    let mut lives = Lives { items: Vec::new(), places: walk.outside(), ends, computed };
    let mut items: Vec<Option<usize>> = vec![None; tensors.graph.len()];
    for (at, nodes) in units.iter().enumerate() {
        let mut taken = Vec::new();
        for &id in nodes.iter().filter(|id| lives.places[id.index()].is_none()) {
            let last = walk.last[id.index()].min(units.len() - 1);
            let item = match walk.replaced(at, id, &items, &lives, &taken) {
                Some(item) => {
                    taken.push(item);
                    lives.items[item].tensors.push(id);
                    lives.items[item].last = last;
                    item
                }
                None => {
                    lives.items.push(new(vec![id], tensors.bytes(id), at, last));
                    lives.items.len() - 1
                }
            };
            items[id.index()] = Some(item);
            if walk.last[id.index()] < units.len() {
                lives.ends[walk.last[id.index()]].push(id);
            }
        }
        let bytes = workspace.get(at).map_or(0, |&bytes| bytes.min(MOST));
        if bytes > 0 {
            lives.items.push(new(Vec::new(), bytes, at, at));
        }
    }
    lives.ends.iter_mut().for_each(|ends| ends.sort_unstable());
    lives
}

/// The results that are used inside their unit only.
pub(crate) fn inside(tensors: &Tensors<'_>, units: &[Vec<NodeId>]) -> Vec<bool> {
    let walk = Walk::new(tensors, units);
    let mut inside = vec![false; tensors.graph.len()];
    for (at, nodes) in units.iter().enumerate() {
        nodes.iter().for_each(|&id| inside[id.index()] = !tensors.is_alias(id) && walk.is_inside(at, id));
    }
    inside
}

impl<'a> Walk<'a> {
    fn new(tensors: &'a Tensors<'a>, units: &'a [Vec<NodeId>]) -> Walk<'a> {
        let graph = tensors.graph;
        let mut unit = vec![None; graph.len()];
        let mut last = vec![0; graph.len()];
        for (at, nodes) in units.iter().enumerate() {
            for &id in nodes {
                unit[id.index()] = Some(at);
                last[tensors.root(id).index()] = at;
                tensors.graph.operands(id).iter().for_each(|&o| last[tensors.root(o).index()] = at);
            }
        }
        let updates = graph.updates().iter().map(|&(_, value)| value);
        for id in graph.outputs().iter().map(|&(_, id)| id).chain(updates) {
            last[tensors.root(id).index()] = units.len();
        }
        Walk { tensors, units, unit, last }
    }

    /// The places of tensors that are not in the arena.
    fn outside(&self) -> Vec<Option<Place>> {
        let (tensors, graph) = (self.tensors, self.tensors.graph);
        let mut places = vec![None; graph.len()];
        for (at, nodes) in self.units.iter().enumerate() {
            for &id in nodes {
                if tensors.is_alias(id) {
                    places[id.index()] = Some(Place::Alias);
                } else if self.is_inside(at, id) {
                    places[id.index()] = Some(Place::Inside);
                }
            }
        }
        let mut updates = vec![0; graph.len()];
        for &(target, value) in graph.updates() {
            updates[target.index()] += 1;
            updates[value.index()] += 1;
        }
        // A new value is computed in the old one's place where nothing reads the old one later.
        for &(target, value) in graph.updates() {
            let Some(at) = self.unit[value.index()] else { continue };
            let source = |id: NodeId| matches!(graph.op(id), Op::Parameter(_) | Op::State(_));
            let alone = updates[target.index()] == 1 && updates[value.index()] == 1;
            let operand = self.tensors.graph.operands(value).contains(&target);
            let in_place = source(target)
                && alone
                && operand
                && self.may_replace(at, value, target)
                && !graph.outputs().iter().any(|&(_, id)| [target, value].contains(&tensors.root(id)))
                && self.last[target.index()] <= at
                && tensors.bytes(target) == tensors.bytes(value)
                && graph.ty(target) == graph.ty(value);
            if in_place {
                places[value.index()] = Some(Place::Kept(target));
            }
        }
        places
    }

    /// The nodes that read a node or what only shows it, as far as they are computed.
    fn readers(&self, id: NodeId) -> Vec<NodeId> {
        let mut readers = self.tensors.graph.readers(id);
        let mut at = 0;
        while let Some(&reader) = readers.get(at) {
            if self.tensors.is_alias(reader) {
                readers.extend(self.tensors.graph.readers(reader));
            }
            at += 1;
        }
        readers.retain(|r| self.unit[r.index()].is_some());
        readers
    }

    /// Whether all readers of a node are in its own unit, and it is no result of the step.
    fn is_inside(&self, at: usize, id: NodeId) -> bool {
        let lasting = self.last[id.index()] == self.units.len();
        let readers = self.readers(id);
        self.units[at].len() > 1
            && !lasting
            && !readers.is_empty()
            && readers.iter().all(|r| self.unit[r.index()] == Some(at))
    }

    /// The item whose place a result can take: an operand of its size, type and format that ends with this unit.
    fn replaced(
        &self,
        at: usize,
        id: NodeId,
        items: &[Option<usize>],
        lives: &Lives,
        taken: &[usize],
    ) -> Option<usize> {
        let (tensors, graph) = (self.tensors, self.tensors.graph);
        let elements = |id: NodeId| &graph.ty(id).shape;
        let operands = self.units[at].iter().flat_map(|&node| tensors.graph.operands(node).iter().copied());
        let mut operands: Vec<NodeId> = operands.filter(|&o| elements(o) == elements(id)).collect();
        operands.dedup();
        operands.into_iter().find_map(|operand| {
            let root = tensors.root(operand);
            let item = items[root.index()]?;
            let ends = self.last[root.index()] == at && self.unit[root.index()] != Some(at);
            let stored = |id: NodeId| (graph.ty(id).dtype, graph.format(id), tensors.bytes(id));
            let same = stored(root) == stored(id) && lives.items[item].tensors.last() == Some(&root);
            (ends && same && !taken.contains(&item) && self.may_replace(at, id, root)).then_some(item)
        })
    }

    /// Whether a result can be written where a storage lies that its unit reads: in one pass with everything that reads it, and
    /// these read it element by element.
    fn may_replace(&self, at: usize, id: NodeId, storage: NodeId) -> bool {
        let (tensors, nodes) = (self.tensors, &self.units[at]);
        let together = fuse::one_pass(tensors, nodes);
        let reads = |node: NodeId| tensors.graph.operands(node).iter().any(|&o| tensors.root(o) == storage);
        nodes.iter().zip(together).all(|(&node, together)| match together {
            true => fuse::reads_in_place(tensors, node, storage),
            false => node != id && !reads(node),
        })
    }
}
