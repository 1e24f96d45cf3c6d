//! The alternatives to a training graph's terms, as plain data.

use crate::egraph::{Limits, Saturated};
use crate::exact::Exact;
use crate::rule::Rule;
use crate::rules::Rules;
use crate::term::Head;
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::{Graph, NodeId, Op, Stored, TensorType};
use std::collections::{BTreeMap, BTreeSet};

/// A class: terms that give the same tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u32);

impl ClassId {
    /// The position in the list of classes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The function of a term.
#[derive(Clone, Debug, PartialEq)]
pub enum Computes {
    /// The operator, in FP32.
    Op(Op),
    /// The rounding of its one operand.
    Round(Stored),
}

/// One way to compute a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The operator.
    pub computes: Computes,
    /// The classes that it is computed from, in order.
    pub operands: Vec<ClassId>,
    /// The rule that made it; `None` for a term of the training graph.
    pub rule: Option<&'static str>,
}

/// A tensor with all ways to compute it, in the order in which they were found.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// The tensor's type.
    pub ty: TensorType,
    /// The ways to compute it; never empty.
    pub terms: Vec<Term>,
    exact: Exact,
}

impl Class {
    /// The format of fewest bits that holds all numbers of the tensor, if what does not fit is treated so.
    pub fn format(&self, overflow: Overflow) -> Format {
        self.exact.narrowest(overflow)
    }
}

/// A training graph's terms and their alternatives.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternatives {
    /// The classes; those of the training graph first, in its order.
    pub classes: Vec<Class>,
    /// The class of each node of the training graph.
    pub of: Vec<ClassId>,
    /// The classes of outputs and of updates' targets and values.
    pub roots: Vec<ClassId>,
    /// How often each rule merged two classes, in the order of the rules.
    pub fired: Vec<(&'static str, usize)>,
    /// Why not all rules were applied, if so.
    pub note: Option<String>,
}

/// The alternatives of a training graph, given the formats of its tensors.
pub fn alternatives(graph: &Graph, rules: Rules, limits: &Limits) -> Alternatives {
    by_rules(graph, rules.all(), limits)
}

/// The alternatives without one of the rules, to see what that one does.
pub fn alternatives_without(graph: &Graph, rules: Rules, limits: &Limits, without: &str) -> Alternatives {
    by_rules(graph, rules.all().into_iter().filter(|rule| rule.name != without).collect(), limits)
}

fn by_rules(graph: &Graph, rules: Vec<&Rule>, limits: &Limits) -> Alternatives {
    let mut saturated = Saturated::new(graph, rules.len());
    saturated.saturate(&rules, limits);
    let Saturated { egraph, of, root, made, fired, note } = saturated;
    let name = |id: egg::Id| made[usize::from(id)].map(|rule: usize| rules[rule].name);
    // Classes by the first of their terms, whatever the e-graph calls them.
    let ids: Vec<egg::Id> = (0..egraph.nodes().len()).map(egg::Id::from).collect();
    let mut number: BTreeMap<egg::Id, ClassId> = BTreeMap::new();
    for id in ids.iter().filter(|&&id| egraph[id].data.ty.is_some()) {
        let next = ClassId(number.len() as u32);
        number.entry(egraph.find(*id)).or_insert(next);
    }
    let operands = |term: &crate::term::Term| -> Vec<ClassId> {
        term.operands.iter().filter_map(|&operand| number.get(&egraph.find(operand)).copied()).collect()
    };
    let mut classes: Vec<Class> = Vec::with_capacity(number.len());
    let mut seen = BTreeSet::new();
    for id in ids {
        let term = egraph.id_to_node(id);
        let class = egraph.find(id);
        let (Some(&at), Some(ty)) = (number.get(&class), &egraph[class].data.ty) else { continue };
        let operands = operands(term);
        let computes = match &term.head {
            Head::Source(op, _) | Head::Op(op) => Computes::Op(op.clone()),
            Head::Round(rounding) => Computes::Round(*rounding),
            Head::Root => continue,
        };
        if at.index() == classes.len() {
            classes.push(Class { ty: ty.clone(), terms: Vec::new(), exact: egraph[class].data.exact.clone() });
        }
        if seen.insert((at, term.head.clone(), operands.clone())) {
            classes[at.index()].terms.push(Term { computes, operands, rule: name(id) });
        }
    }
    let roots = operands(egraph.id_to_node(root));
    let of = of.into_iter().filter_map(|id| number.get(&egraph.find(id)).copied()).collect();
    let fired = rules.iter().map(|rule| rule.name).zip(fired).collect();
    Alternatives { classes, of, roots, fired, note }
}

impl Alternatives {
    /// The nodes of the training graph that have the tensor of each class, in order.
    pub(crate) fn members(&self) -> Vec<Vec<NodeId>> {
        let mut members = vec![Vec::new(); self.classes.len()];
        for (at, class) in self.of.iter().enumerate() {
            members[class.index()].push(NodeId(at as u32));
        }
        members
    }
}
