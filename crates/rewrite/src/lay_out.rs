//! The order in which the elements of tensors lie, for targets whose kernels take channels last.

use crate::writing::Writing;
use bitbudget_formats::Format;
use bitbudget_ir::{Form, Graph, GraphError, Layout, NodeId, Op, Read};
use std::collections::BTreeMap;

/// The graph whose convolutions, poolings and normalisations have their channels last, and whose matrix products and functions of rows do not.
///
/// What is computed element by element lies as what it reads. Where a tensor is needed in another order, a copy is made just before its
/// first reader: a transposition that permutes no axis. `steps` hold the nodes that are computed, operands first; the copies give the same bits.
///
/// # Errors
/// If `steps` are none of the graph.
pub fn lay_out(graph: &Graph, steps: &[Vec<NodeId>]) -> Result<Graph, GraphError> {
    let laid = laid(graph);
    let mut source = graph.clone();
    graph.ids().for_each(|id| source.set_layout(id, laid[id.index()]));
    let mut writing = Writing::begin(&source, steps)?;
    let mut copies: BTreeMap<(NodeId, Layout), NodeId> = BTreeMap::new();
    for &id in steps.iter().flatten() {
        let mut operands = Vec::new();
        for (position, &operand) in source.operands(id).iter().enumerate() {
            let written = writing.original(operand, id)?;
            let (has, needs) = (laid[operand.index()], needed(&source, id, position, &laid));
            operands.push(match needs {
                Some(layout) if !has.is_same(layout, &source.ty(operand).shape) => {
                    match copies.get(&(operand, layout)) {
                        Some(&copy) => copy,
                        None => {
                            let copy = writing.moved(operand, written, layout)?;
                            copies.insert((operand, layout), copy);
                            copy
                        }
                    }
                }
                _ => written,
            });
        }
        writing.write(id, &operands)?;
    }
    writing.finish()
}

/// What an operator's kernels say about the order of its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Channels last.
    Last,
    /// By rows.
    Rows,
    /// That of what it reads element by element.
    AsRead,
    /// Any.
    Any,
}

fn wish(graph: &Graph, id: NodeId) -> Wish {
    let facts = graph.facts(id);
    match (&facts.form, graph.op(id)) {
        (_, Op::Gather(_) | Op::GatherGrad(_) | Op::ArgMax(_) | Op::TopK(_)) => Wish::Rows,
        (_, Op::ReduceExtremumGrad(_) | Op::LayerNormGradScale(_)) => Wish::Rows,
        (Form::Map(_), _) => Wish::AsRead,
        // The batch comes by rows; rounding it lays it out.
        (Form::Source, Op::Input(_)) if graph.format(id) == Format::FP32 => Wish::Rows,
        (Form::Source, _) => Wish::AsRead,
        (Form::Product, Op::Conv(_) | Op::ConvGradInput(_) | Op::ConvGradWeight(_)) => Wish::Last,
        (Form::Window, _) => Wish::Last,
        (Form::Product | Form::Rows { .. }, _) => Wish::Rows,
        (Form::Move | Form::Planes(_) | Form::Alias | Form::Reduction { .. }, _) => Wish::Any,
    }
}

/// The order in which a node needs an operand, if it is not any.
fn needed(graph: &Graph, id: NodeId, position: usize, laid: &[Layout]) -> Option<Layout> {
    let (facts, operand) = (graph.facts(id), graph.operands(id)[position]);
    if graph.ty(operand).shape.rank() < 3 {
        return None;
    }
    match wish(graph, id) {
        Wish::Last => Some(Layout::CHANNELS_LAST),
        Wish::Rows => Some(Layout::ROWS),
        Wish::AsRead if facts.reads.of(position) == Read::Each => Some(laid[id.index()]),
        Wish::Any if facts.is_over_channels() => Some(Layout::CHANNELS_LAST),
        Wish::AsRead | Wish::Any => None,
    }
}

/// The order of each node's elements.
fn laid(graph: &Graph) -> Vec<Layout> {
    let mut groups = Groups::new(graph.len());
    for id in graph.ids() {
        let facts = graph.facts(id);
        for (position, &operand) in graph.operands(id).iter().enumerate() {
            let is_each = wish(graph, id) == Wish::AsRead && facts.reads.of(position) == Read::Each;
            let is_shown = facts.form == Form::Alias && shows_either_way(graph, operand, id);
            if is_each || is_shown {
                groups.join(id, operand);
            }
        }
    }
    graph.updates().iter().for_each(|&(target, value)| groups.join(target, value));
    // Who wants channels last has them; who wants rows gets a copy where others of his group do.
    let mut is_last = vec![false; graph.len()];
    for id in graph.ids() {
        if wish(graph, id) == Wish::Last && graph.ty(id).shape.rank() > 2 {
            is_last[groups.of(id)] = true;
        }
        for (position, &operand) in graph.operands(id).iter().enumerate() {
            let is_last_needed = match wish(graph, id) {
                Wish::Last => true,
                Wish::Any => graph.facts(id).is_over_channels() && position < 2,
                Wish::Rows | Wish::AsRead => false,
            };
            if is_last_needed && graph.ty(operand).shape.rank() > 2 {
                is_last[groups.of(operand)] = true;
            }
        }
    }
    follow_moves(graph, &groups, &mut is_last);
    let layout = |id: NodeId| {
        let lies_last = is_last[groups.of(id)] && graph.ty(id).shape.rank() > 2 && wish(graph, id) != Wish::Rows;
        if lies_last { Layout::CHANNELS_LAST } else { Layout::ROWS }
    };
    graph.ids().map(layout).collect()
}

/// A group that nothing asks lies as those from which its elements are moved, or to which they are.
fn follow_moves(graph: &Graph, groups: &Groups, is_last: &mut [bool]) {
    let mut asked = vec![false; graph.len()];
    for id in graph.ids() {
        match wish(graph, id) {
            Wish::Last | Wish::Rows => asked[groups.of(id)] = true,
            Wish::AsRead | Wish::Any => {}
        }
        if wish(graph, id) == Wish::Rows {
            graph.operands(id).iter().for_each(|&operand| asked[groups.of(operand)] = true);
        }
    }
    let mut changes = true;
    while changes {
        changes = false;
        for id in graph.ids().filter(|&id| matches!(graph.facts(id).form, Form::Move | Form::Planes(_))) {
            for &operand in graph.operands(id) {
                let ends = [groups.of(id), groups.of(operand)];
                let ranks = [id, operand].map(|id| graph.ty(id).shape.rank());
                if ranks[0] != ranks[1] || ranks[0] < 3 || is_last[ends[0]] == is_last[ends[1]] {
                    continue;
                }
                let other = if is_last[ends[0]] { ends[1] } else { ends[0] };
                // A transposition may be there to bring the channels elsewhere.
                if !asked[other] && !matches!(graph.op(id), Op::Transpose(_)) {
                    is_last[other] = true;
                    changes = true;
                }
            }
        }
    }
}

/// Whether a reshape shows its operand both by rows and with channels last.
fn shows_either_way(graph: &Graph, operand: NodeId, id: NodeId) -> bool {
    let (from, to) = (&graph.ty(operand).shape, &graph.ty(id).shape);
    let last = Layout::CHANNELS_LAST;
    from.rank() > 2 && to.rank() > 2 && last.shows(from, last, to)
}

/// Nodes that belong together.
struct Groups {
    parents: Vec<usize>,
}

impl Groups {
    fn new(count: usize) -> Groups {
        Groups { parents: (0..count).collect() }
    }

    fn of(&self, id: NodeId) -> usize {
        self.root(id.index())
    }

    fn root(&self, mut at: usize) -> usize {
        while self.parents[at] != at {
            at = self.parents[at];
        }
        at
    }

    fn join(&mut self, a: NodeId, b: NodeId) {
        let (a, b) = (self.root(a.index()), self.root(b.index()));
        self.parents[a.max(b)] = a.min(b);
    }
}
