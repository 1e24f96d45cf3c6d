//! The text form.

use crate::program::{Buffer, BufferId, Instruction, Machine, Part, Program, Source};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::{DType, Layout};
use std::fmt;

impl fmt::Display for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", self.0)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Machine::Cpu => "cpu",
            Machine::Cuda => "cuda",
        })
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = match self.dtype {
            DType::F32 => self.format.to_string(),
            other => other.to_string(),
        };
        write!(f, "{stored}{:?}", self.shape)?;
        match self.layout {
            Layout::ROWS => {}
            Layout::CHANNELS_LAST => write!(f, " channels_last")?,
            Layout { last } => write!(f, " channels_last={last}")?,
        }
        if let Some(offset) = self.offset {
            write!(f, "@{offset}")?;
        }
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        Ok(())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program batch={} arena={} scratch={}", self.batch, self.arena, self.scratch())?;
        writeln!(f, "{} {{", if self.machine == Machine::Cuda { " cuda" } else { "" })?;
        for (i, buffer) in self.buffers.iter().enumerate() {
            let source = match buffer.source {
                Source::None => continue,
                Source::Input => "input",
                Source::Scalar(_) => "scalar",
                Source::Kept => "kept",
                Source::Constant => "constant",
            };
            writeln!(f, "  b{i} = {source} : {buffer}")?;
        }
        for instruction in &self.instructions {
            match instruction {
                Instruction::Compute { parts, kernel, workspace } => {
                    for (i, part) in parts.iter().enumerate() {
                        let indent = if i == 0 { "  " } else { "  & " };
                        write!(f, "{indent}")?;
                        self.part(f, part)?;
                        if i + 1 == parts.len() {
                            write!(f, " kernel {}", kernel.family)?;
                            if let Some(workspace) = workspace {
                                write!(f, " workspace {workspace}+{}", kernel.workspace)?;
                            }
                        }
                        writeln!(f)?;
                    }
                }
                Instruction::View { input, output } => {
                    writeln!(f, "  {output} = view({input}) : {}", self.buffer(*output))?;
                }
                Instruction::Store { value, target } => writeln!(f, "  store {target} <- {value}")?,
                Instruction::Free { buffer } => writeln!(f, "  free {buffer}")?,
            }
        }
        for (name, id) in &self.outputs {
            writeln!(f, "  return {name:?} = {id}")?;
        }
        write!(f, "}}")
    }
}

impl Program {
    fn part(&self, f: &mut fmt::Formatter<'_>, part: &Part) -> fmt::Result {
        let Part { op, inputs, output, rounding } = part;
        let inputs: Vec<String> = inputs.iter().map(BufferId::to_string).collect();
        write!(f, "{output} = {}({}){}", op.name(), inputs.join(", "), op.attribute_text())?;
        write!(f, " : {}", self.buffer(*output))?;
        if let (Some(rounding), true) = (rounding, self.buffer(*output).format != Format::FP32) {
            let mode = match rounding.overflow {
                Overflow::Saturate => "saturate",
                Overflow::NotFinite => "not_finite",
            };
            write!(f, " {mode}")?;
            if let Some(tensor) = rounding.counted {
                write!(f, " counted %{tensor}")?;
            }
        }
        Ok(())
    }
}
