//! The classes of an e-graph: what is known of each, and what rules may ask of them.

use crate::exact::{Exact, kept};
use crate::term::{Expr, Head, Term};
use bitbudget_ir::TensorType;
use egg::{Analysis, DidMerge, EGraph, Id};

/// The facts known about a class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    /// The type of its tensor; the root has none.
    pub(crate) ty: Option<TensorType>,
    pub(crate) exact: Exact,
}

/// Finds what is known of classes, and remembers which have changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    pub(crate) changed: Vec<Id>,
}

impl Analysis<Term> for Knowledge {
    type Data = Known;

    fn make(egraph: &mut EGraph<Term, Self>, term: &Term, _: Id) -> Known {
        let operands: Vec<&Known> = term.operands.iter().map(|&id| &egraph[id].data).collect();
        let first = || operands.first().and_then(|known| known.ty.clone());
        match &term.head {
            Head::Source(_, ty) => Known { ty: Some(ty.clone()), exact: Exact::default() },
            Head::Op(op) => {
                let typed: Option<Vec<_>> = operands.iter().map(|k| Some((k.ty.as_ref()?, &k.exact))).collect();
                let typed = typed.unwrap_or_default();
                let types: Vec<&TensorType> = typed.iter().map(|&(ty, _)| ty).collect();
                let ty = op.infer(&types).ok();
                let exact = ty.as_ref().map(|ty| kept(op, &typed, ty)).unwrap_or_default();
                Known { ty, exact }
            }
            Head::Round(rounding) => Known { ty: first(), exact: Exact(vec![*rounding]) },
            Head::Root => Known { ty: None, exact: Exact::default() },
        }
    }

    fn merge(&mut self, a: &mut Known, b: Known) -> DidMerge {
        a.exact.merge(b.exact)
    }

    fn modify(egraph: &mut EGraph<Term, Self>, id: Id) {
        egraph.analysis.changed.push(id);
    }
}

/// The classes as rules see them.
pub struct Classes<'a> {
    pub(crate) egraph: &'a EGraph<Term, Knowledge>,
}

impl Classes<'_> {
    /// The terms of a class.
    pub fn terms(&self, id: Id) -> &[Term] {
        &self.egraph[id].nodes
    }

    /// Whether two ids are of one class.
    pub fn same(&self, a: Id, b: Id) -> bool {
        self.egraph.find(a) == self.egraph.find(b)
    }

    /// The type of a class's tensor.
    pub fn ty(&self, id: Id) -> Option<&TensorType> {
        self.egraph[id].data.ty.as_ref()
    }

    /// The roundings that change nothing.
    pub(crate) fn exact(&self, id: Id) -> &Exact {
        &self.egraph[id].data.exact
    }

    /// The class of a term if the e-graph has it already.
    pub fn find(&self, expr: &Expr) -> Option<Id> {
        let term = match expr {
            Expr::Class(id) => return Some(self.egraph.find(*id)),
            Expr::Op(op, operands) => {
                let operands: Option<Vec<Id>> = operands.iter().map(|operand| self.find(operand)).collect();
                Term { head: Head::Op(op.clone()), operands: operands? }
            }
            Expr::Round(rounding, operand) => {
                Term { head: Head::Round(*rounding), operands: vec![self.find(operand)?] }
            }
        };
        self.egraph.lookup(term)
    }
}
