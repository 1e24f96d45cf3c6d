//! The compiled trainer: instructions over buffers, with a text form for people.
//!
//! A program is plain data at a fixed batch size. A buffer has a storage format and, where a step computes it, a place in
//! one block of memory, the arena. An instruction has one part, or several that run together and share what only they
//! need; a part computes in FP32 from what its operands hold and rounds its result to the format of its output buffer on
//! the way. This crate knows nothing of devices and executes nothing.
//!
//! ```
//! use bitbudget_formats::Format;
//! use bitbudget_ir::{DType, ops};
//! use bitbudget_program::{Buffer, BufferId, Family, Instruction, Kernel, Part, Program, Role, Source};
//!
//! let buffer = |name: &str, source, offset| Buffer {
//!     name: name.into(), shape: vec![8], dtype: DType::F32, format: Format::FP32, packed: true, source, offset,
//! };
//! let relu = Part { op: ops::Relu {}.into(), inputs: vec![BufferId(0)], output: BufferId(1), rounding: None };
//! let kernel = Kernel { family: Family::Elementwise, roles: vec![Role::Head], workspace: 0, scratch: 0 };
//! let program = Program {
//!     batch: 8,
//!     arena: 32,
//!     buffers: vec![buffer("x", Source::Input, None), buffer("y", Source::None, Some(0))],
//!     instructions: vec![Instruction::Compute { parts: vec![relu], kernel, workspace: None }],
//!     outputs: vec![("y".into(), BufferId(1))],
//! };
//! program.check()?;
//! assert!(program.to_string().contains("b1 = relu(b0)"));
//! # Ok::<(), bitbudget_program::ProgramError>(())
//! ```

mod check;
mod dot;
mod footprint;
mod kernel;
mod progress;
mod text;

pub use check::ProgramError;
pub use footprint::{DeviceMemory, Footprint};
pub use kernel::{Family, Kernel, Role};
pub use progress::{DynamicScale, Progress};

use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::{DType, Op, ScalarKind, Stored};

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
    /// What a step is given under the buffer's name: FP32 numbers or, in a buffer of labels, integers.
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

    /// How elements are stored: sources are FP32 numbers.
    fn held(&self) -> Stored {
        let is_packed = self.packed && self.source == Source::None;
        Stored::of(bitbudget_ir::Role::Internal, if is_packed { self.format } else { Format::FP32 })
    }

    /// Bytes of one element.
    pub fn width(&self) -> usize {
        self.held().bytes(self.dtype, 1)
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.held().bytes(self.dtype, self.elements())
    }
}

/// How a result is rounded to the format of its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounding {
    /// What a number too large for the format becomes.
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
        /// What computes them.
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

/// A step as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The batch size.
    pub batch: usize,
    /// Bytes of the arena, in which everything lies that a step computes.
    pub arena: usize,
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

    /// Checks what holds for every program: buffers exist, are written before they are read, fit their operators, and lie
    /// over nothing that is still needed.
    ///
    /// # Errors
    /// If it does not hold.
    pub fn check(&self) -> Result<(), ProgramError> {
        check::check(self)
    }
}
