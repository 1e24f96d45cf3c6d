//! A step as data: instructions over buffers.

use crate::kernel::Kernel;
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::{DType, Layout, Op, Role, ScalarKind, Stored};

/// A buffer of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub u32);

impl BufferId {
    /// The position in [`Program::buffers`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a buffer's value comes from at the start of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An instruction computes it.
    None,
    /// An input of the step, bound by the buffer's name: FP32 numbers, or whole numbers where the type says so.
    Input,
    /// A number of the training loop.
    Scalar(ScalarKind),
    /// Kept from step to step under the buffer's name: a master or a state.
    Kept,
    /// Never changes.
    Constant,
}

/// A tensor's storage.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// The name of a source's value; for others where the tensor comes from, for people.
    pub name: String,
    /// The dimensions at the program's batch size.
    pub shape: Vec<usize>,
    /// The element type.
    pub dtype: DType,
    /// The format to which floating-point elements are rounded.
    pub format: Format,
    /// Whether they are stored in the bits of that format; if not, as FP32 numbers.
    pub packed: bool,
    /// In which order elements lie.
    pub layout: Layout,
    /// Where the value comes from.
    pub source: Source,
    /// Where in the arena it lies, in bytes; nothing for sources, for views, and for what only one instruction uses.
    pub offset: Option<usize>,
}

impl Buffer {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |elements: usize, &size| elements.saturating_mul(size))
    }

    /// How elements are stored: sources are FP32 numbers, whatever their type.
    fn held(&self) -> (Stored, DType) {
        match self.source {
            Source::None => {
                (Stored::of(Role::Internal, if self.packed { self.format } else { Format::FP32 }), self.dtype)
            }
            _ => (Stored::of(Role::Internal, Format::FP32), DType::F32),
        }
    }

    /// Bytes of one element.
    pub fn width(&self) -> usize {
        let (stored, dtype) = self.held();
        stored.bytes(dtype, 1)
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let (stored, dtype) = self.held();
        stored.bytes(dtype, self.elements())
    }
}

/// How a result is rounded to the format of its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounding {
    /// The result of rounding a number too large for the format.
    pub overflow: Overflow,
    /// The tensor (a node of the training graph) under which overflows are counted, if they are.
    pub counted: Option<u32>,
}

/// One operator of an instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The operator.
    pub op: Op,
    /// Its operands.
    pub inputs: Vec<BufferId>,
    /// Where the result goes; a kept buffer among the operands is replaced.
    pub output: BufferId,
    /// How the result is rounded; `None` where it is a number of the format already.
    pub rounding: Option<Rounding>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    /// Computes operators together, in order.
    Compute {
        /// The operators: one, or several that run in one pass.
        parts: Vec<Part>,
        /// The kernel that computes them.
        kernel: Kernel,
        /// The byte offset of the kernel's workspace in the arena, if it has one.
        workspace: Option<usize>,
    },
    /// Makes `output` show `input`'s storage under its own shape.
    View {
        /// The shown buffer.
        input: BufferId,
        /// The name under which it is shown.
        output: BufferId,
    },
    /// Makes `value` the next value of the kept buffer `target`; nothing reads the old one after it.
    Store {
        /// The new value, which ends.
        value: BufferId,
        /// The kept buffer.
        target: BufferId,
    },
    /// Ends a buffer.
    Free {
        /// The buffer.
        buffer: BufferId,
    },
}

/// The kinds of machines that programs are made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// Processors, whatever their vector instructions.
    #[default]
    Cpu,
    /// CUDA devices from compute capability 8.0 on.
    Cuda,
}

/// A step as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The kind of machine that it is made for.
    pub machine: Machine,
    /// The batch size.
    pub batch: usize,
    /// Bytes of the arena, in which everything lies that a step computes.
    pub arena: usize,
    /// Tensors and workspace lie at multiples of so many bytes of it.
    pub alignment: usize,
    /// All buffers.
    pub buffers: Vec<Buffer>,
    /// The instructions in order.
    pub instructions: Vec<Instruction>,
    /// Named results.
    pub outputs: Vec<(String, BufferId)>,
}

impl Program {
    /// A buffer of this program.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.index()]
    }

    /// So many bytes, rounded up to a multiple of the alignment.
    pub fn aligned(&self, bytes: usize) -> usize {
        bytes.next_multiple_of(self.alignment.max(1))
    }

    /// By buffer, the one whose memory it shows: views that of what they are of, others their own.
    pub fn storages(&self) -> Vec<BufferId> {
        let mut storages: Vec<BufferId> = (0..self.buffers.len() as u32).map(BufferId).collect();
        for instruction in &self.instructions {
            if let Instruction::View { input, output } = instruction {
                storages[output.index()] = storages[input.index()];
            }
        }
        storages
    }

    /// The named result.
    pub fn output(&self, name: &str) -> Option<BufferId> {
        self.outputs.iter().find(|(n, _)| n == name).map(|&(_, id)| id)
    }

    /// The buffers of the inputs that a step is given, by their names.
    pub fn inputs(&self) -> impl Iterator<Item = &Buffer> {
        self.buffers.iter().filter(|buffer| buffer.source == Source::Input)
    }

    /// The input of a name.
    pub fn input(&self, name: &str) -> Option<&Buffer> {
        self.inputs().find(|buffer| buffer.name == name)
    }
}
