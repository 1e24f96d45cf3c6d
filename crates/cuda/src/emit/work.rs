//! The launches of an instruction in the making.

use super::orders::Order;
use crate::chain::Rounding;
use crate::effort::Effort;
use crate::elements::Elements;
use crate::epilogue::Epilogue;
use crate::source::{Argument, Kernel};
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Facts, Shape};
use bitbudget_program::{Buffer, BufferId, Part, Program, Role, Source, TURNS};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Memory of a kernel begins at multiples of so many bytes.
const ALIGNMENT: usize = 256;

/// Where everything lies on the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// By buffer; a view lies where what it shows does.
    pub buffers: Vec<u64>,
    /// The counters.
    pub counters: u64,
    /// The workspace of the instruction.
    pub workspace: u64,
    /// The words by which blocks take turns: [`TURNS`] bytes, which are zero.
    pub turns: u64,
}

/// A tensor in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tensor {
    pub(super) elements: Elements,
    pub(super) address: u64,
}

/// What the device does.
#[derive(Clone, Debug, PartialEq)]
pub enum Launch {
    /// Runs a kernel.
    Kernel {
        /// The kernel.
        kernel: Kernel,
        /// How many blocks.
        blocks: u32,
        /// Bytes of shared memory of a block.
        shared: u32,
        /// Its arguments.
        arguments: Vec<Argument>,
    },
    /// Makes bytes zero.
    Zero {
        /// The first one.
        address: u64,
        /// How many.
        bytes: usize,
    },
}

/// The launches of an instruction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Emitted {
    /// In order.
    pub launches: Vec<Launch>,
    /// Bytes of workspace that they use.
    pub workspace: usize,
    /// The tensors whose overflows are counted, in the order of the counters, with the buffers that they are counted for.
    pub counted: Vec<(u32, BufferId)>,
    /// What they do beside moving bytes.
    pub effort: Effort,
}

/// Why there are no launches for an instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operator}: {reason}")]
pub struct EmitError {
    /// The operator.
    pub operator: &'static str,
    /// The reason.
    pub reason: String,
}

/// The launches of an instruction in the making.
pub(super) struct Work<'p> {
    program: &'p Program,
    pub(super) parts: &'p [Part],
    roles: &'p [Role],
    addresses: &'p Addresses,
    first_counter: usize,
    emitted: Emitted,
}

impl<'p> Work<'p> {
    pub(super) fn new(
        program: &'p Program,
        parts: &'p [Part],
        roles: &'p [Role],
        addresses: &'p Addresses,
        first_counter: usize,
    ) -> Work<'p> {
        Work { program, parts, roles, addresses, first_counter, emitted: Emitted::default() }
    }

    pub(super) fn emitted(self) -> Emitted {
        self.emitted
    }

    pub(super) fn error(&self, part: usize, reason: impl Into<String>) -> EmitError {
        let operator = self.parts.get(part).map_or("store", |part| part.op.name());
        EmitError { operator, reason: reason.into() }
    }

    /// The parts that are computed as a whole.
    pub(super) fn heads(&self) -> Vec<usize> {
        (0..self.parts.len()).filter(|&part| self.roles.get(part) == Some(&Role::Head)).collect()
    }

    pub(super) fn buffer(&self, id: BufferId) -> &'p Buffer {
        self.program.buffer(id)
    }

    pub(super) fn shape(&self, id: BufferId) -> &'p [usize] {
        &self.buffer(id).shape
    }

    pub(super) fn address(&self, id: BufferId) -> u64 {
        self.addresses.buffers.get(id.index()).copied().unwrap_or(0)
    }

    /// How a buffer's elements lie: sources are FP32 numbers, whatever their type.
    pub(super) fn elements(&self, id: BufferId) -> Elements {
        let buffer = self.buffer(id);
        match buffer.source {
            Source::None => Elements::new(buffer.dtype, buffer.format, buffer.packed),
            _ => Elements::Fp32,
        }
    }

    /// In which order they lie.
    pub(super) fn order(&self, id: BufferId) -> Order {
        Order::new(self.shape(id), self.buffer(id).layout)
    }

    /// Whether a buffer has memory.
    pub(super) fn is_stored(&self, id: BufferId) -> bool {
        let buffer = self.buffer(id);
        buffer.offset.is_some() || buffer.source != Source::None
    }

    /// How a part's results are rounded.
    pub(super) fn rounding(&self, part: usize) -> Option<Rounding> {
        let Part { output, rounding, .. } = &self.parts[part];
        let buffer = self.buffer(*output);
        let rounds = buffer.dtype == DType::F32 && buffer.format != Format::FP32;
        rounding.filter(|_| rounds).map(|r| (buffer.format, r.overflow, r.counted.is_some()))
    }

    /// What becomes of a part's results.
    pub(super) fn epilogue(&self, part: usize) -> Epilogue {
        Epilogue { rounding: self.rounding(part), elements: self.elements(self.parts[part].output) }
    }

    /// A buffer in memory.
    pub(super) fn tensor(&self, id: BufferId) -> Tensor {
        Tensor { elements: self.elements(id), address: self.address(id) }
    }

    pub(super) fn facts(&self, part: usize) -> Facts {
        let Part { op, inputs, output, .. } = &self.parts[part];
        let shapes: Vec<Shape> = inputs.iter().map(|&id| Shape::fixed(self.shape(id))).collect();
        op.facts(&shapes.iter().collect::<Vec<_>>(), &Shape::fixed(self.shape(*output)))
    }

    /// The earlier part whose result an operand of a part is, if it is one.
    pub(super) fn part_of(&self, id: BufferId, before: usize) -> Option<usize> {
        (0..before).rev().find(|&part| self.parts[part].output == id)
    }

    /// Bytes of the workspace that nothing else uses.
    pub(super) fn scratch(&mut self, bytes: usize) -> u64 {
        let at = self.emitted.workspace;
        self.emitted.workspace += bytes.next_multiple_of(ALIGNMENT);
        self.addresses.workspace + at as u64
    }

    /// The address of counters for parts that are counted, in order. Several launches may compute parts of one result.
    pub(super) fn counters(&mut self, parts: &[usize]) -> u64 {
        let counted = |part: &usize| {
            let Part { output, rounding, .. } = &self.parts[*part];
            rounding.and_then(|r| r.counted).map(|tensor| (tensor, *output))
        };
        let new: Vec<_> = parts.iter().filter_map(counted).collect();
        let all = &mut self.emitted.counted;
        let begin = all.windows(new.len().max(1)).position(|some| some == new).unwrap_or_else(|| {
            all.extend(&new);
            all.len() - new.len()
        });
        self.addresses.counters + 24 * (self.first_counter + begin) as u64
    }

    /// The address of words by which the blocks of a kernel take turns.
    pub(super) fn turns(&self, words: usize) -> Result<u64, EmitError> {
        let last = self.parts.len().saturating_sub(1);
        match words * size_of::<u32>() <= TURNS {
            true => Ok(self.addresses.turns),
            false => {
                Err(self.error(last, format!("{words} blocks would take turns, {} can", TURNS / size_of::<u32>())))
            }
        }
    }

    pub(super) fn zero(&mut self, address: u64, bytes: usize) {
        self.emitted.launches.push(Launch::Zero { address, bytes });
    }

    /// Adds to what the launches do.
    pub(super) fn takes(&mut self, effort: Effort) {
        self.emitted.effort += effort;
    }

    /// Runs a kernel, whose name follows from its text.
    pub(super) fn launch(
        &mut self,
        kind: &str,
        make: &dyn Fn(&str) -> Kernel,
        (blocks, shared): (u32, u32),
        arguments: Vec<Argument>,
    ) {
        let mut hasher = DefaultHasher::new();
        make("kernel").text.hash(&mut hasher);
        let kernel = make(&format!("{kind}_{:016x}", hasher.finish()));
        self.emitted.launches.push(Launch::Kernel { kernel, blocks, shared, arguments });
    }
}
