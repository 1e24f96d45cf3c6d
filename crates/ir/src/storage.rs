//! How tensors are stored.

use crate::facts::Form;
use crate::graph::{Graph, NodeId, Role};
use crate::ops::{Op, Precision};
use crate::origin::Stage;
use crate::types::DType;
use bitbudget_formats::{Format, Overflow};

/// Storage of tensors starts at multiples of this many bytes: a cache line.
pub const ALIGNMENT: usize = 64;

/// How a tensor's numbers are stored. Tensors that hold no floating-point numbers have no format, and FP32 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stored {
    /// In which format.
    pub format: Format,
    /// What becomes of numbers that it cannot hold.
    pub overflow: Overflow,
}

impl Stored {
    /// A tensor of a role in a format: gradients become not finite, so that loss scaling sees it; others saturate.
    pub fn of(role: Role, format: Format) -> Stored {
        let overflow = match role {
            Role::OutputGradient { .. } | Role::ParameterGradient { .. } => Overflow::NotFinite,
            Role::Output | Role::Parameter | Role::Internal => Overflow::Saturate,
        };
        Stored { format, overflow }
    }

    /// Bytes of so many elements of a type.
    pub fn bytes(self, dtype: DType, elements: usize) -> usize {
        let width = match dtype {
            DType::F32 => self.format.bytes(),
            DType::Label => 4,
            DType::Index8 => 1,
        };
        elements.saturating_mul(width)
    }
}

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

    /// How a node's result is rounded: not at all in FP32, or where it only relabels, for its operand's numbers are of the format.
    pub fn rounding(&self, id: NodeId) -> Option<Stored> {
        let node = self.node(id);
        let stays = node.stored.format == Format::FP32 || node.op.precision() == Precision::Relabel;
        (!stays).then_some(node.stored)
    }

    /// Whether a node only shows its operand's storage: a reshape, or a cast to the format that the operand is stored in.
    pub fn is_alias(&self, id: NodeId) -> bool {
        match (&self.facts(id).form, self.op(id), self.operands(id).first()) {
            (Form::Alias, _, _) => true,
            (Form::Map(_), Op::Cast(_), Some(&operand)) => {
                let (from, to) = (self.format(operand), self.format(id));
                to == Format::FP32 && from == Format::FP32
                    || from == to && self.is_gradient(operand) && self.is_gradient(id)
            }
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
