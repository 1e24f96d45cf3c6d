//! The tensors of a graph: their formats, where they lie, their bytes.

use crate::facts::{Facts, Form, Numbers};
use crate::graph::Graph;
use crate::layout::Layout;
use crate::ops::{Op, Precision};
use crate::origin::Stage;
use crate::role::{NodeId, Role};
use crate::storage::Stored;
use bitbudget_formats::Format;

impl Graph {
    /// The format in which a node's result is stored.
    pub fn format(&self, id: NodeId) -> Format {
        self.node(id).stored.format
    }

    /// The same graph with its tensors in these formats, by node of the training graph; what has none stays as it is.
    #[must_use]
    pub fn stored_in(&self, formats: &[Format]) -> Graph {
        let mut graph = self.clone();
        for id in self.ids() {
            if let Some(&format) = self.origin(id).and_then(|origin| formats.get(origin.index())) {
                graph.set_format(id, format);
            }
        }
        graph.set_stage(self.stage().max(Stage::Assigned));
        graph
    }

    /// The same graph with all tensors in FP32.
    #[must_use]
    pub fn exact(&self) -> Graph {
        let mut graph = self.clone();
        self.ids().for_each(|id| graph.set_format(id, Format::FP32));
        graph
    }

    /// How a node's result is rounded: not at all in FP32, or where it only moves numbers of the format.
    pub fn rounding(&self, id: NodeId) -> Option<Stored> {
        let node = self.node(id);
        let format = node.stored.format;
        let relabels = node.op.precision() == Precision::Relabel;
        let stays =
            format == Format::FP32 || relabels || self.moved(id, |operand| self.format(operand)) == Some(format);
        (!stays).then_some(node.stored)
    }

    /// What the operands have in common, such as their format, whose numbers are all that a node's result holds and that has no format of
    /// its own: it relabels or, where it is internal, moves them. Nothing where these differ.
    pub fn moved<T: PartialEq>(&self, id: NodeId, of: impl Fn(NodeId) -> T) -> Option<T> {
        let (node, operands) = (self.node(id), self.operands(id));
        let moved = match self.facts(id) {
            _ if node.op.precision() == Precision::Relabel => operands.get(..1)?,
            Facts { form: Form::Move | Form::Planes(_), numbers, .. } if node.role == Role::Internal => {
                match &numbers {
                    Numbers::Of(operand) => std::slice::from_ref(operands.get(*operand)?),
                    Numbers::OfEvery => operands,
                    Numbers::New | Numbers::SomeOf(_) | Numbers::Clamped(..) => return None,
                }
            }
            _ => return None,
        };
        let (first, rest) = moved.split_first()?;
        let common = of(*first);
        rest.iter().all(|&operand| of(operand) == common).then_some(common)
    }

    /// The order in which a node's elements lie.
    pub fn layout(&self, id: NodeId) -> Layout {
        self.node(id).stored.layout
    }

    /// Whether a node only shows its operand's storage: a reshape, a cast to the format that the operand is stored in, or a transposition
    /// into the order in which the operand's elements lie.
    pub fn is_alias(&self, id: NodeId) -> bool {
        let Some(&operand) = self.operands(id).first() else { return false };
        let (from, to) = (self.layout(operand), self.layout(id));
        let (shape, by) = (&self.ty(operand).shape, &self.ty(id).shape);
        match (&self.facts(id).form, self.op(id)) {
            (Form::Alias, _) => from.shows(shape, to, by),
            (Form::Map(_), Op::Cast(_)) => {
                let formats = (self.format(operand), self.format(id));
                let is_gradient = self.is_gradient(operand) && self.is_gradient(id);
                let stays = formats == (Format::FP32, Format::FP32) || formats.0 == formats.1 && is_gradient;
                stays && from.is_same(to, by)
            }
            // By rows no transposition is free: those that were became reshapes.
            (_, Op::Transpose(op)) if from != to => from.shows_transposed(shape, &op.perm, to),
            _ => false,
        }
    }

    /// The node whose storage a node's result lies in: itself, or what it is an alias of.
    pub fn storage(&self, id: NodeId) -> NodeId {
        self.first_operand_while(id, |id| self.is_alias(id))
    }

    /// The node whose tensor a chain of relabelling operators shows.
    pub fn owner(&self, id: NodeId) -> NodeId {
        self.first_operand_while(id, |id| self.op(id).precision() == Precision::Relabel)
    }

    fn first_operand_while(&self, mut id: NodeId, condition: impl Fn(NodeId) -> bool) -> NodeId {
        while condition(id) {
            match self.operands(id).first() {
                Some(&operand) => id = operand,
                None => break,
            }
        }
        id
    }

    /// Whether a node is a contribution to a gradient.
    pub fn is_gradient(&self, id: NodeId) -> bool {
        matches!(self.node(id).role, Role::OutputGradient { .. } | Role::ParameterGradient { .. })
    }

    /// Bytes of a tensor at a batch of `batch` examples.
    pub fn bytes(&self, id: NodeId, batch: usize) -> usize {
        let node = self.node(id);
        node.stored.bytes(node.ty.dtype, node.ty.shape.elements(batch))
    }
}
