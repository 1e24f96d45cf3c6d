//! The file form: protocol buffers, declared by the structs below.

use crate::check::check;
use crate::{Buffer, BufferId, Instruction, Part, Program, Rounding, Source, Workspace};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::{Attribute, DType, Dim, Op, Real, ScalarKind, Shape};
use prost::Message;

/// Why bytes are not a program.
#[derive(Debug, thiserror::Error)]
#[error("not a bitbudget program: {0}")]
pub struct DecodeError(String);

impl DecodeError {
    pub(crate) fn new(reason: impl Into<String>) -> DecodeError {
        DecodeError(reason.into())
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProgramMessage {
    #[prost(uint64, tag = "1")]
    batch: u64,
    #[prost(message, repeated, tag = "2")]
    buffers: Vec<BufferMessage>,
    #[prost(message, repeated, tag = "3")]
    instructions: Vec<InstructionMessage>,
    #[prost(message, repeated, tag = "4")]
    outputs: Vec<OutputMessage>,
    #[prost(uint64, tag = "5")]
    arena: u64,
}

#[derive(Clone, PartialEq, Message)]
struct BufferMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, repeated, tag = "2")]
    shape: Vec<u64>,
    #[prost(string, tag = "3")]
    dtype: String,
    #[prost(string, tag = "4")]
    format: String,
    #[prost(string, tag = "5")]
    source: String,
    #[prost(bool, tag = "6")]
    packed: bool,
    #[prost(uint64, optional, tag = "7")]
    offset: Option<u64>,
}

/// A view, store or end has one part and no attributes.
#[derive(Clone, PartialEq, Message)]
struct InstructionMessage {
    #[prost(message, repeated, tag = "1")]
    parts: Vec<PartMessage>,
    #[prost(message, optional, tag = "2")]
    workspace: Option<WorkspaceMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct WorkspaceMessage {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(uint64, tag = "2")]
    bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
struct PartMessage {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(message, repeated, tag = "2")]
    attributes: Vec<AttributeMessage>,
    #[prost(uint32, repeated, tag = "3")]
    inputs: Vec<u32>,
    #[prost(uint32, tag = "4")]
    output: u32,
    #[prost(message, optional, tag = "5")]
    rounding: Option<RoundingMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct RoundingMessage {
    #[prost(bool, tag = "1")]
    saturate: bool,
    #[prost(uint32, optional, tag = "2")]
    counted: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(oneof = "ValueMessage", tags = "2, 3, 4, 5, 6, 7")]
    value: Option<ValueMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ValueMessage {
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sint64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Real(f64),
    #[prost(string, tag = "5")]
    Text(String),
    #[prost(message, tag = "6")]
    Ints(IntsMessage),
    #[prost(message, tag = "7")]
    Shape(ShapeMessage),
}

#[derive(Clone, PartialEq, Message)]
struct IntsMessage {
    #[prost(sint64, repeated, tag = "1")]
    values: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct ShapeMessage {
    #[prost(string, repeated, tag = "1")]
    dims: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct OutputMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    buffer: u32,
}

const SOURCES: [(Source, &str); 4] =
    [(Source::None, ""), (Source::Input, "input"), (Source::Kept, "kept"), (Source::Constant, "constant")];

const DTYPES: [DType; 3] = [DType::F32, DType::Label, DType::Index8];

pub(crate) fn encode(program: &Program) -> Vec<u8> {
    to_message(program).encode_to_vec()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Program, DecodeError> {
    from_message(ProgramMessage::decode(bytes).map_err(|e| DecodeError(e.to_string()))?)
}

pub(crate) fn to_message(program: &Program) -> ProgramMessage {
    ProgramMessage {
        batch: program.batch as u64,
        arena: program.arena as u64,
        buffers: program.buffers.iter().map(buffer_message).collect(),
        instructions: program.instructions.iter().map(instruction_message).collect(),
        outputs: program.outputs.iter().map(|(n, b)| OutputMessage { name: n.clone(), buffer: b.0 }).collect(),
    }
}

pub(crate) fn from_message(message: ProgramMessage) -> Result<Program, DecodeError> {
    let buffers: Result<_, String> = message.buffers.into_iter().map(buffer).collect();
    let instructions: Result<_, String> = message.instructions.into_iter().map(instruction).collect();
    let program = Program {
        batch: size(message.batch).map_err(DecodeError)?,
        arena: size(message.arena).map_err(DecodeError)?,
        buffers: buffers.map_err(DecodeError)?,
        instructions: instructions.map_err(DecodeError)?,
        outputs: message.outputs.into_iter().map(|o| (o.name, BufferId(o.buffer))).collect(),
    };
    check(&program).map_err(|error| DecodeError(error.to_string()))?;
    Ok(program)
}

fn buffer_message(buffer: &Buffer) -> BufferMessage {
    let source = match buffer.source {
        Source::Scalar(kind) => kind.name(),
        other => SOURCES.iter().find(|(s, _)| *s == other).map_or("", |(_, name)| name),
    };
    BufferMessage {
        name: buffer.name.clone(),
        shape: buffer.shape.iter().map(|&d| d as u64).collect(),
        dtype: buffer.dtype.to_string(),
        format: buffer.format.to_string(),
        source: source.to_string(),
        packed: buffer.packed,
        offset: buffer.offset.map(|offset| offset as u64),
    }
}

fn size(number: u64) -> Result<usize, String> {
    usize::try_from(number).map_err(|e| e.to_string())
}

fn buffer(message: BufferMessage) -> Result<Buffer, String> {
    let scalar = || ScalarKind::ALL.into_iter().find(|k| k.name() == message.source).map(Source::Scalar);
    let source = SOURCES.iter().find(|(_, name)| *name == message.source).map(|(s, _)| *s).or_else(scalar);
    let dtype = DTYPES.into_iter().find(|d| d.to_string() == message.dtype);
    let shape: Result<Vec<usize>, String> = message.shape.iter().map(|&d| size(d)).collect();
    Ok(Buffer {
        source: source.ok_or_else(|| format!("`{}` does not name the source of a buffer", message.source))?,
        dtype: dtype.ok_or_else(|| format!("`{}` is not an element type", message.dtype))?,
        format: message.format.parse::<Format>().map_err(|e| e.to_string())?,
        shape: shape?,
        packed: message.packed,
        offset: message.offset.map(size).transpose()?,
        name: message.name,
    })
}

fn instruction_message(instruction: &Instruction) -> InstructionMessage {
    let bare = |kind: &str, inputs: &[BufferId], output: BufferId| InstructionMessage {
        parts: vec![part_message(kind, inputs, output)],
        workspace: None,
    };
    match instruction {
        Instruction::Compute { parts, workspace } => InstructionMessage {
            parts: parts.iter().map(computed).collect(),
            workspace: workspace.map(|w| WorkspaceMessage { offset: w.offset as u64, bytes: w.bytes as u64 }),
        },
        Instruction::View { input, output } => bare(VIEW, &[*input], *output),
        Instruction::Store { value, target } => bare(STORE, &[*value], *target),
        Instruction::Free { buffer } => bare(FREE, &[], *buffer),
    }
}

fn part_message(kind: &str, inputs: &[BufferId], output: BufferId) -> PartMessage {
    let inputs = inputs.iter().map(|b| b.0).collect();
    PartMessage { kind: kind.into(), inputs, output: output.0, ..PartMessage::default() }
}

fn computed(part: &Part) -> PartMessage {
    let saturate = |r: Rounding| r.overflow == Overflow::Saturate;
    PartMessage {
        attributes: part.op.attributes().into_iter().map(attribute_message).collect(),
        rounding: part.rounding.map(|r| RoundingMessage { saturate: saturate(r), counted: r.counted }),
        ..part_message(part.op.name(), &part.inputs, part.output)
    }
}

const VIEW: &str = "view";
const STORE: &str = "store";
const FREE: &str = "free";

fn instruction(message: InstructionMessage) -> Result<Instruction, String> {
    if let [bare] = message.parts.as_slice() {
        let output = BufferId(bare.output);
        let only = match bare.inputs.as_slice() {
            [input] => Ok(BufferId(*input)),
            _ => Err(format!("`{}` needs one operand", bare.kind)),
        };
        match bare.kind.as_str() {
            VIEW => return Ok(Instruction::View { input: only?, output }),
            STORE => return Ok(Instruction::Store { value: only?, target: output }),
            FREE => return Ok(Instruction::Free { buffer: output }),
            _ => {}
        }
    }
    let parts: Result<Vec<Part>, String> = message.parts.into_iter().map(part).collect();
    let workspace = |w: WorkspaceMessage| Ok::<_, String>(Workspace { offset: size(w.offset)?, bytes: size(w.bytes)? });
    Ok(Instruction::Compute { parts: parts?, workspace: message.workspace.map(workspace).transpose()? })
}

fn part(message: PartMessage) -> Result<Part, String> {
    let attributes: Result<Vec<_>, String> = message.attributes.into_iter().map(attribute).collect();
    let overflow = |r: &RoundingMessage| if r.saturate { Overflow::Saturate } else { Overflow::NotFinite };
    Ok(Part {
        op: Op::from_name(&message.kind, &attributes?)?,
        inputs: message.inputs.into_iter().map(BufferId).collect(),
        output: BufferId(message.output),
        rounding: message.rounding.map(|r| Rounding { overflow: overflow(&r), counted: r.counted }),
    })
}

fn attribute_message((name, value): (&'static str, Attribute)) -> AttributeMessage {
    let value = match value {
        Attribute::Bool(b) => ValueMessage::Bool(b),
        Attribute::Int(i) => ValueMessage::Int(i),
        Attribute::Real(r) => ValueMessage::Real(r.0),
        Attribute::Text(t) => ValueMessage::Text(t),
        Attribute::Ints(values) => ValueMessage::Ints(IntsMessage { values }),
        Attribute::Shape(s) => ValueMessage::Shape(ShapeMessage { dims: s.0.iter().map(Dim::to_string).collect() }),
    };
    AttributeMessage { name: name.into(), value: Some(value) }
}

fn attribute(message: AttributeMessage) -> Result<(String, Attribute), String> {
    let value = match message.value.ok_or_else(|| format!("attribute `{}` has no value", message.name))? {
        ValueMessage::Bool(b) => Attribute::Bool(b),
        ValueMessage::Int(i) => Attribute::Int(i),
        ValueMessage::Real(r) => Attribute::Real(Real(r)),
        ValueMessage::Text(t) => Attribute::Text(t),
        ValueMessage::Ints(list) => Attribute::Ints(list.values),
        ValueMessage::Shape(s) => {
            let dims: Result<Vec<Dim>, String> = s.dims.iter().map(|d| d.parse()).collect();
            Attribute::Shape(Shape(dims?))
        }
    };
    Ok((message.name, value))
}
