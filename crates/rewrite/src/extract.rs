//! The choice of one way to compute every tensor.
//!
//! It begins with the training graph's own terms and goes over the classes in order: where another term costs no more, that is
//! taken, with whatever it needs. Shared tensors count once. A term may read only what stands before its class in the training
//! graph's order, so that the choice has no cycles and the order stays.

use crate::alternatives::{Alternatives, ClassId, Computes};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::ops::Cast;
use bitbudget_ir::{Graph, NodeId, Op, Precision, Role, Stored, TensorType};

/// The batch at which costs are compared.
const BATCH: usize = 64;
/// The cost of a byte that is kept from the forward pass to the backward pass, beside that of storing it.
const KEPT: i64 = 4;
/// Floating-point operations that cost as much as a byte.
const FLOPS: u64 = 25;
/// How often all classes are gone over at most.
const PASSES: usize = 4;

/// An operator with the rounding of its result.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) op: Op,
    pub(crate) operands: Vec<ClassId>,
    pub(crate) rounding: Option<Stored>,
}

/// Where a class stands: behind a node of the training graph, and behind so many classes that this does not have.
type Position = (u32, u32);

/// The choice, while it is made.
pub(crate) struct Selection<'a> {
    alternatives: &'a Alternatives,
    pub(crate) members: Vec<Vec<NodeId>>,
    candidates: Vec<Vec<Candidate>>,
    chosen: Vec<Option<usize>>,
    position: Vec<Option<Position>>,
    backward: Vec<bool>,
    overflow: Vec<Overflow>,
    /// The format in which each class is stored if its term does not round.
    formats: Vec<Format>,
    /// Whether the first node of the training graph that has the class is an output, a parameter or a gradient.
    is_rounded: Vec<bool>,
    /// How many chosen terms and results read each class, and how many of the backward pass, if it is of the forward pass.
    readers: Vec<usize>,
    keepers: Vec<usize>,
    cost: Cost,
}

/// The cost of a choice; the first field that differs decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Bytes with every tensor in FP32, and work in bytes, so that the same is taken in all formats in which it is equal.
    whole: i64,
    /// Bytes of the tensors in their formats.
    stored: i64,
}

/// A class's choice and position before a change.
struct Change {
    class: ClassId,
    chosen: Option<usize>,
    position: Option<Position>,
}

/// The cheapest choice that was found.
pub(crate) fn select<'a>(graph: &Graph, alternatives: &'a Alternatives) -> Selection<'a> {
    let count = alternatives.classes.len();
    let members = alternatives.members();
    let is_backward = graph.backward();
    let first = |members: &Vec<NodeId>| members.first().copied();
    let mut selection = Selection {
        alternatives,
        candidates: (0..count).map(|class| candidates(alternatives, &members, class)).collect(),
        chosen: vec![None; count],
        position: members.iter().map(|members| first(members).map(|id| (id.0, 0))).collect(),
        backward: members.iter().map(|members| first(members).is_some_and(|id| is_backward[id.index()])).collect(),
        overflow: members
            .iter()
            .map(|m| first(m).map_or(Overflow::Saturate, |id| graph.node(id).stored.overflow))
            .collect(),
        formats: Vec::new(),
        is_rounded: members.iter().map(|m| first(m).is_some_and(|id| graph.node(id).role != Role::Internal)).collect(),
        members,
        readers: vec![0; count],
        keepers: vec![0; count],
        cost: Cost::default(),
    };
    selection.formats = (0..count).map(|class| selection.stored_in(graph, class)).collect();
    for class in 0..count {
        selection.chosen[class] = selection.own(graph, class);
    }
    selection.count(alternatives.roots.iter().map(|&root| (root, 1)).collect());
    for _ in 0..PASSES {
        let before = selection.cost;
        (0..count).for_each(|class| selection.improve(ClassId(class as u32)));
        if selection.cost == before {
            break;
        }
    }
    selection
}

/// The operators that give a class, each with its rounding.
fn candidates(alternatives: &Alternatives, members: &[Vec<NodeId>], class: usize) -> Vec<Candidate> {
    let mut found = Vec::new();
    for term in &alternatives.classes[class].terms {
        let operands = term.operands.clone();
        match &term.computes {
            Computes::Op(op) => found.push(Candidate { op: op.clone(), operands, rounding: None }),
            &Computes::Round(rounding) => {
                let Some(of) = operands.first().map(|operand| operand.index()) else { continue };
                let exact = &alternatives.classes[of].terms;
                // An input that is rounded at once is there in no other form.
                let is_input = members[of].is_empty()
                    && exact.iter().any(|term| matches!(term.computes, Computes::Op(Op::Input(_))));
                for term in exact {
                    let Computes::Op(op) = &term.computes else { continue };
                    // What only relabels does not round, nor does a source but such an input.
                    let rounds = op.precision() != Precision::Relabel && (op.source_name().is_none() || is_input);
                    // Where the rounding is nothing, the operator by itself is of the class too.
                    let same = |c: &Candidate| c.rounding.is_none() && c.op == *op && c.operands == term.operands;
                    let known = found.iter().any(same);
                    if rounds && !known {
                        let (op, operands) = (op.clone(), term.operands.clone());
                        found.push(Candidate { op, operands, rounding: Some(rounding) });
                    }
                }
                if !is_input && of != class {
                    found.push(Candidate { op: Cast {}.into(), operands, rounding: Some(rounding) });
                }
            }
        }
    }
    found
}

impl Selection<'_> {
    /// The operator chosen for a class, if anything needs it.
    pub(crate) fn choice(&self, class: ClassId) -> Option<&Candidate> {
        let chosen = self.chosen[class.index()].filter(|_| self.readers[class.index()] > 0)?;
        self.candidates[class.index()].get(chosen)
    }

    /// The format in which a class of the training graph is stored: its first node's, or a narrower one that holds all its
    /// numbers where that is internal.
    fn stored_in(&self, graph: &Graph, class: usize) -> Format {
        let Some(&first) = self.members[class].first() else { return Format::FP32 };
        let format = graph.format(first);
        let is_internal = graph.node(first).role == Role::Internal && graph.op(first).source_name().is_none();
        let overflow = if self.backward[class] { Overflow::NotFinite } else { Overflow::Saturate };
        match is_internal && format == Format::FP32 {
            true => self.alternatives.classes[class].format(overflow),
            false => format,
        }
    }

    /// The operator by which the training graph computes a class.
    fn own(&self, graph: &Graph, class: usize) -> Option<usize> {
        let &id = self.members[class].first()?;
        let operands: Vec<ClassId> = graph.operands(id).iter().map(|o| self.alternatives.of[o.index()]).collect();
        let is_own = |at: &usize| {
            let candidate = &self.candidates[class][*at];
            candidate.op == *graph.op(id)
                && candidate.operands == operands
                && self.can_round(ClassId(class as u32), *at)
        };
        (0..self.candidates[class].len()).find(is_own)
    }

    /// The format in which a class is stored if its term does not round.
    pub(crate) fn format(&self, class: ClassId) -> Format {
        self.formats[class.index()]
    }

    /// Whether a class is of the backward pass.
    pub(crate) fn is_backward(&self, class: ClassId) -> bool {
        self.backward[class.index()]
    }

    /// Tries all other terms of a class that is needed.
    fn improve(&mut self, class: ClassId) {
        for candidate in 0..self.candidates[class.index()].len() {
            if self.readers[class.index()] > 0 && self.chosen[class.index()] != Some(candidate) {
                self.attempt(class, candidate);
            }
        }
    }

    /// Takes a term if that, with the best terms of what only it needs, costs no more.
    fn attempt(&mut self, class: ClassId, candidate: usize) {
        let before = self.cost;
        let mut changes = Vec::new();
        if self.switch(class, candidate, &mut changes) {
            let mut at = 0;
            let mut fresh = self.fresh(class);
            while let Some(&next) = fresh.get(at) {
                at += 1;
                for candidate in 0..self.candidates[next.index()].len() {
                    let (cost, done) = (self.cost, changes.len());
                    if self.readers[next.index()] > 0 && self.chosen[next.index()] != Some(candidate) {
                        let better = self.switch(next, candidate, &mut changes) && self.cost < cost;
                        if !better {
                            self.undo(&mut changes, done);
                        }
                    }
                }
                let further = self.fresh(next);
                fresh.extend(further);
            }
        }
        if self.cost > before || self.chosen[class.index()] != Some(candidate) {
            self.undo(&mut changes, 0);
        }
    }

    /// The operands of a class that the training graph does not have and nothing else needs.
    fn fresh(&self, class: ClassId) -> Vec<ClassId> {
        let operands = self.choice(class).map_or(Vec::new(), |choice| choice.operands.clone());
        let is_fresh = |o: &ClassId| self.members[o.index()].is_empty() && self.readers[o.index()] == 1;
        operands.into_iter().filter(is_fresh).collect()
    }

    /// Changes the term of a class that is needed, unless that would read what stands behind it.
    fn switch(&mut self, class: ClassId, candidate: usize, changes: &mut Vec<Change>) -> bool {
        let at = class.index();
        let Some(own) = self.position[at].filter(|_| self.can_round(class, candidate)) else { return false };
        let operands = self.candidates[at][candidate].operands.clone();
        let last = operands.iter().map(|&operand| self.locate(operand, &mut vec![class])).collect::<Option<Vec<_>>>();
        let Some(last) = last.map(|all| all.into_iter().max()) else { return false };
        let position = if self.members[at].is_empty() { behind(last) } else { own };
        if position > own || last.is_some_and(|last| last >= position) {
            return false;
        }
        changes.push(Change { class, chosen: self.chosen[at], position: self.position[at] });
        self.choose(class, Some(candidate));
        self.position[at] = Some(position);
        true
    }

    /// Whether a node of the class can be rounded so: gradients become not finite, and a node of the backward pass may become
    /// one.
    fn can_round(&self, class: ClassId, candidate: usize) -> bool {
        let at = class.index();
        let Some(rounding) = self.candidates[at][candidate].rounding else { return true };
        let becomes_gradient = self.backward[at] && !self.is_rounded[at] && rounding.overflow == Overflow::NotFinite;
        rounding.overflow == self.overflow[at] || becomes_gradient
    }

    /// The position of a class; one that the training graph does not have gets its first term that can be computed.
    fn locate(&mut self, class: ClassId, open: &mut Vec<ClassId>) -> Option<Position> {
        let at = class.index();
        if self.position[at].is_some() || open.contains(&class) {
            return self.position[at].filter(|_| !open.contains(&class));
        }
        open.push(class);
        let found = (0..self.candidates[at].len()).find_map(|candidate| {
            let operands = self.candidates[at][candidate].operands.clone();
            self.backward[at] = operands.iter().any(|o| self.backward[o.index()]);
            self.overflow[at] = if self.backward[at] { Overflow::NotFinite } else { Overflow::Saturate };
            self.formats[at] = self.alternatives.classes[at].format(self.overflow[at]);
            if !self.can_round(class, candidate) {
                return None;
            }
            let last: Option<Vec<Position>> = operands.iter().map(|&o| self.locate(o, open)).collect();
            Some((candidate, last?.into_iter().max()?))
        });
        open.pop();
        let (candidate, last) = found?;
        self.chosen[at] = Some(candidate);
        self.position[at] = Some(behind(Some(last)));
        self.position[at]
    }

    fn undo(&mut self, changes: &mut Vec<Change>, length: usize) {
        while changes.len() > length {
            if let Some(Change { class, chosen, position }) = changes.pop() {
                self.choose(class, chosen);
                self.position[class.index()] = position;
            }
        }
    }

    /// Sets the term of a class and counts anew what is needed; what both terms need stays.
    fn choose(&mut self, class: ClassId, candidate: Option<usize>) {
        let before = std::mem::replace(&mut self.chosen[class.index()], candidate);
        if self.readers[class.index()] > 0 {
            for (candidate, sign) in [(candidate, 1), (before, -1)] {
                let mut pending = Vec::new();
                self.link(class, candidate, sign, &mut pending);
                self.count(pending);
            }
        }
    }

    /// Adds readers of classes, or takes them away, with what they need and what that costs.
    fn count(&mut self, mut pending: Vec<(ClassId, isize)>) {
        while let Some((class, sign)) = pending.pop() {
            let readers = &mut self.readers[class.index()];
            let before = std::mem::replace(readers, readers.saturating_add_signed(sign));
            if before == 0 || *readers == 0 {
                self.link(class, self.chosen[class.index()], sign, &mut pending);
            }
        }
    }

    /// Adds or takes away what a term costs; its operands are pending then.
    fn link(&mut self, class: ClassId, candidate: Option<usize>, sign: isize, pending: &mut Vec<(ClassId, isize)>) {
        let at = class.index();
        let Some(candidate) = candidate.and_then(|chosen| self.candidates[at].get(chosen)) else { return };
        let format = candidate.rounding.map_or(self.formats[at], |rounding| rounding.format);
        let (stored, exact) = match Self::shows(candidate) {
            true => (0, 0),
            false => (self.bytes(class, format), self.bytes(class, Format::FP32)),
        };
        self.cost.stored += sign as i64 * stored;
        self.cost.whole += sign as i64 * (exact + self.work(class, candidate));
        for &operand in &candidate.operands {
            pending.push((operand, sign));
            if self.backward[at] && !self.backward[operand.index()] {
                let keepers = &mut self.keepers[operand.index()];
                let before = std::mem::replace(keepers, keepers.saturating_add_signed(sign));
                if before == 0 || *keepers == 0 {
                    self.cost.whole += sign as i64 * KEPT * self.bytes(operand, Format::FP32);
                }
            }
        }
    }

    /// Bytes of a class's tensor in a format. Sources are there anyway.
    fn bytes(&self, class: ClassId, format: Format) -> i64 {
        let of = &self.alternatives.classes[class.index()];
        let is_source = matches!(&of.terms[0].computes, Computes::Op(op) if op.source_name().is_some());
        let bytes = Stored::of(Role::Internal, format).bytes(of.ty.dtype, of.ty.shape.elements(BATCH));
        if is_source { 0 } else { bytes.min(1 << 40) as i64 }
    }

    /// Whether a term only shows what it reads.
    fn shows(candidate: &Candidate) -> bool {
        match candidate.op {
            Op::Reshape(_) => true,
            Op::Cast(_) => candidate.rounding.is_none(),
            _ => false,
        }
    }

    fn work(&self, class: ClassId, candidate: &Candidate) -> i64 {
        let types: Vec<&TensorType> =
            candidate.operands.iter().map(|o| &self.alternatives.classes[o.index()].ty).collect();
        let work = candidate.op.work(&types, &self.alternatives.classes[class.index()].ty, BATCH);
        (work.flops / FLOPS).min(1 << 40) as i64
    }
}

fn behind(last: Option<Position>) -> Position {
    last.map_or((0, 0), |(node, depth)| (node, depth + 1))
}
