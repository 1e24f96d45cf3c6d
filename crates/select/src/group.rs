//! The operators of a step, at a batch size.

use bitbudget_formats::Format;
use bitbudget_ir::{DType, Facts, Graph, Layout, NodeId, Op, Shape, ops};

/// The operators that one kernel computes, operands first.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The operators.
    pub members: Vec<Member>,
}

/// One operator of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The operator.
    pub op: Op,
    /// Its operands.
    pub operands: Vec<Operand>,
    /// The shape of its result.
    pub shape: Vec<usize>,
    /// The element type of its result.
    pub dtype: DType,
    /// The format of its result.
    pub format: Format,
    /// In which order the elements of its result lie.
    pub layout: Layout,
    /// Whether the result is stored.
    pub is_stored: bool,
}

/// An operand of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: DType,
    /// The format in which it is stored.
    pub format: Format,
    /// In which order its elements lie.
    pub layout: Layout,
    /// The earlier member whose result it is, if it is one.
    pub member: Option<usize>,
}

impl Group {
    /// The operators of the nodes of a step; `inside` says by node which results are used inside their step only. A node that only shows
    /// stored memory computes nothing, and is not a member.
    pub fn new(graph: &Graph, nodes: &[NodeId], inside: &[bool], batch: usize) -> Group {
        let is_view = |id: NodeId| graph.is_alias(id) && !inside[graph.storage(id).index()];
        let computed: Vec<NodeId> = nodes.iter().copied().filter(|&id| !is_view(id)).collect();
        let shape = |id: NodeId| graph.ty(id).shape.at(batch);
        let operand = |&id: &NodeId| {
            let shown = if is_view(id) { graph.storage(id) } else { id };
            let member = computed.iter().position(|&member| member == shown);
            let (dtype, format, layout) = (graph.ty(id).dtype, graph.format(graph.storage(id)), graph.layout(id));
            Operand { shape: shape(id), dtype, format, layout, member }
        };
        let member = |&id: &NodeId| {
            let is_stored = !graph.is_alias(id) && !inside[id.index()];
            let (shape, dtype, format, layout) = (shape(id), graph.ty(id).dtype, graph.format(id), graph.layout(id));
            if let Op::Input(_) = graph.op(id) {
                // The batch comes in FP32 and is rounded.
                let given = Operand { dtype, ..Operand::fp32(&shape) };
                return Member {
                    op: ops::Cast {}.into(),
                    operands: vec![given],
                    shape,
                    dtype,
                    format,
                    layout,
                    is_stored,
                };
            }
            let operands = graph.operands(id).iter().map(operand).collect();
            Member { op: graph.op(id).at(batch), operands, shape, dtype, format, layout, is_stored }
        };
        Group { members: computed.iter().map(member).collect() }
    }
}

impl Operand {
    /// An operand of FP32 numbers that lie by rows, and that no member computes.
    pub fn fp32(shape: &[usize]) -> Operand {
        let (dtype, format, layout) = (DType::F32, Format::FP32, Layout::ROWS);
        Operand { shape: shape.to_vec(), dtype, format, layout, member: None }
    }
}

impl Member {
    /// An operator whose result is stored as FP32 numbers by rows.
    pub fn fp32(op: &Op, operands: Vec<Operand>, shape: &[usize]) -> Member {
        let (dtype, format, layout) = (DType::F32, Format::FP32, Layout::ROWS);
        Member { op: op.clone(), operands, shape: shape.to_vec(), dtype, format, layout, is_stored: true }
    }

    /// The facts that passes may rely on.
    pub fn facts(&self) -> Facts {
        let shapes: Vec<Shape> = self.operands.iter().map(|operand| Shape::fixed(&operand.shape)).collect();
        self.op.facts(&shapes.iter().collect::<Vec<_>>(), &Shape::fixed(&self.shape))
    }

    /// Whether it reads another member's result.
    pub fn reads(&self, member: usize) -> bool {
        self.operands.iter().any(|operand| operand.member == Some(member))
    }
}
