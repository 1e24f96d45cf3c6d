//! The e-graph of a training graph, and its saturation.

use crate::classes::{Classes, Knowledge};
use crate::rule::Rule;
use crate::term::{Expr, Head, Term};
use bitbudget_ir::{DType, Graph, Op, TensorType};
use egg::{EGraph, Id};
use std::collections::BTreeSet;

/// How many levels below a term its rules look.
const DEPTH: usize = 3;

/// When saturation stops even though rules still hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Terms of the e-graph.
    pub terms: usize,
    /// Terms that rules are applied to, counted each time. It stands for a time that is the same on every machine, a few seconds.
    pub visits: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { terms: 200_000, visits: 2_000_000 }
    }
}

/// A training graph as an e-graph.
pub(crate) struct Saturated {
    pub(crate) egraph: EGraph<Term, Knowledge>,
    /// The class of each node of the training graph.
    pub(crate) of: Vec<Id>,
    pub(crate) root: Id,
    /// The rule that made each term, by its id in the e-graph.
    pub(crate) made: Vec<Option<usize>>,
    /// How often each rule merged classes.
    pub(crate) fired: Vec<usize>,
    /// Why it stopped, if not because no rule changes anything any more.
    pub(crate) note: Option<String>,
}

impl Saturated {
    /// The training graph's own terms.
    pub(crate) fn new(graph: &Graph, rules: usize) -> Saturated {
        let mut egraph = EGraph::new(Knowledge::default());
        let mut of: Vec<Id> = Vec::with_capacity(graph.len());
        for id in graph.ids() {
            let node = graph.node(id);
            let operands: Vec<Id> = graph.operands(id).iter().map(|o| of[o.index()]).collect();
            let rounding = graph.rounding(id);
            let exact = match (&node.op, rounding) {
                // A rounded copy is the rounding itself.
                (Op::Cast(_), Some(_)) => operands[0],
                (op, _) if op.source_name().is_some() => {
                    egraph.add(Term { head: Head::Source(op.clone(), node.ty.clone()), operands })
                }
                (op, _) => egraph.add(Term { head: Head::Op(op.clone()), operands }),
            };
            of.push(match rounding {
                Some(rounding) => egraph.add(Term { head: Head::Round(rounding), operands: vec![exact] }),
                None => exact,
            });
        }
        let outputs = graph.outputs().iter().map(|&(_, id)| id);
        let updates = graph.updates().iter().flat_map(|&(target, value)| [target, value]);
        let operands = outputs.chain(updates).map(|id| of[id.index()]).collect();
        let root = egraph.add(Term { head: Head::Root, operands });
        let made = vec![None; egraph.nodes().len()];
        Saturated { egraph, of, root, made, fired: vec![0; rules], note: None }
    }

    /// Applies rules until nothing changes or a limit is hit: to all classes in order, then to those that changed and what
    /// is just above them.
    pub(crate) fn saturate(&mut self, rules: &[&Rule], limits: &Limits) {
        let mut visits = 0;
        loop {
            self.egraph.rebuild();
            for id in self.changed() {
                let id = self.egraph.find(id);
                // Rules add terms to the class while its own are looked at; those come in the next round.
                let terms = self.egraph[id].nodes.clone();
                visits += terms.len();
                for term in terms {
                    self.apply(rules, id, &term);
                }
                let terms = self.egraph.nodes().len();
                if terms > limits.terms {
                    self.note = Some(format!("stopped at {terms} terms, of at most {}", limits.terms));
                } else if visits > limits.visits {
                    self.note = Some(format!("stopped after {visits} visits to terms, of at most {}", limits.visits));
                }
                if self.note.is_some() {
                    self.egraph.rebuild();
                    return;
                }
            }
            if self.egraph.analysis.changed.is_empty() {
                self.egraph.rebuild();
                return;
            }
        }
    }

    /// The classes that changed since last asked, and those above them whose rules may see it, in order.
    fn changed(&mut self) -> Vec<Id> {
        let changed = std::mem::take(&mut self.egraph.analysis.changed);
        let mut level: BTreeSet<Id> = changed.into_iter().map(|id| self.egraph.find(id)).collect();
        let mut all = level.clone();
        for _ in 0..DEPTH {
            let above = level.iter().flat_map(|&id| self.egraph[id].parents()).map(|id| self.egraph.find(id));
            level = above.filter(|id| !all.contains(id)).collect();
            all.extend(&level);
        }
        all.into_iter().collect()
    }

    fn apply(&mut self, rules: &[&Rule], class: Id, term: &Term) {
        for (at, rule) in rules.iter().enumerate() {
            let mut found = Vec::new();
            (rule.apply)(&Classes { egraph: &self.egraph }, class, term, &mut found);
            for (class, expr) in found {
                let Some(equal) = self.add(&expr, at) else { continue };
                let same = self.egraph[class].data.ty == self.egraph[equal].data.ty;
                if same && self.egraph.union(class, equal) {
                    self.fired[at] += 1;
                }
            }
        }
    }

    /// The class of a rule's term; none if it is not well typed.
    fn add(&mut self, expr: &Expr, rule: usize) -> Option<Id> {
        let term = match expr {
            Expr::Class(id) => return Some(self.egraph.find(*id)),
            Expr::Op(op, operands) => {
                let operands: Option<Vec<Id>> = operands.iter().map(|operand| self.add(operand, rule)).collect();
                Term { head: Head::Op(op.clone()), operands: operands? }
            }
            Expr::Round(rounding, operand) => {
                Term { head: Head::Round(*rounding), operands: vec![self.add(operand, rule)?] }
            }
        };
        let types: Option<Vec<&TensorType>> =
            term.operands.iter().map(|&id| self.egraph[id].data.ty.as_ref()).collect();
        let is_typed = match (&term.head, types?.as_slice()) {
            (Head::Op(op), types) => op.infer(types).is_ok(),
            (Head::Round(_), [ty]) => ty.dtype == DType::F32,
            _ => false,
        };
        let id = is_typed.then(|| self.egraph.add(term));
        self.made.resize(self.egraph.nodes().len(), Some(rule));
        id
    }
}
