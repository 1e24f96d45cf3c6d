//! The terms of the e-graph.

use bitbudget_ir::{Op, Stored, TensorType};
use egg::{Id, Language};
use std::mem::{Discriminant, discriminant};

/// The operator of a term.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Head {
    /// A source, which differs from others by its name.
    Source(Op, TensorType),
    /// An operator, in FP32.
    Op(Op),
    /// The rounding of one tensor.
    Round(Stored),
    /// Everything that the step has to give: outputs and updates.
    Root,
}

/// An operator, a rounding or the root, on classes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// The function that it computes.
    pub head: Head,
    /// The classes that it reads.
    pub operands: Vec<Id>,
}

/// The kind of a term, without its attributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An operator's.
    Op(Discriminant<Op>),
    /// A rounding's.
    Round,
    /// The root's.
    Root,
}

impl Language for Term {
    type Discriminant = Kind;

    fn discriminant(&self) -> Kind {
        match &self.head {
            Head::Source(op, _) | Head::Op(op) => Kind::Op(discriminant(op)),
            Head::Round(_) => Kind::Round,
            Head::Root => Kind::Root,
        }
    }

    fn matches(&self, other: &Term) -> bool {
        self.head == other.head && self.operands.len() == other.operands.len()
    }

    fn children(&self) -> &[Id] {
        &self.operands
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.operands
    }
}

/// A term over classes and terms, as rules make it.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A class.
    Class(Id),
    /// An operator.
    Op(Op, Vec<Expr>),
    /// A rounding.
    Round(Stored, Box<Expr>),
}

impl From<&Id> for Expr {
    fn from(id: &Id) -> Expr {
        Expr::Class(*id)
    }
}

/// An operator on classes or terms.
pub fn op<E: Into<Expr>>(op: impl Into<Op>, operands: impl IntoIterator<Item = E>) -> Expr {
    Expr::Op(op.into(), operands.into_iter().map(E::into).collect())
}

/// The rounding of a class or term.
pub fn round(rounding: Stored, operand: impl Into<Expr>) -> Expr {
    Expr::Round(rounding, Box::new(operand.into()))
}
