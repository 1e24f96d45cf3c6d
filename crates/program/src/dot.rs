//! Programs in GraphViz's language.

use crate::program::{Buffer, BufferId, Instruction, Part, Program, Source};
use bitbudget_ir::{DType, Drawing};
use std::collections::BTreeMap;

impl Program {
    /// The program as a drawing: a box per buffer that is given and per instruction with its parts, coloured by what it
    /// writes, and an arrow from what wrote a buffer last to what reads it.
    pub fn drawing(&self) -> Drawing {
        let mut drawing = Drawing::new("program");
        let mut writer: BTreeMap<BufferId, String> = BTreeMap::new();
        let given = self.buffers.iter().enumerate().filter(|(_, buffer)| buffer.source != Source::None);
        for (at, buffer) in given {
            let id = BufferId(at as u32);
            drawing.node(&id.to_string(), &[format!("{id} {}", buffer.name), buffer.stored()], self.bits(id));
            writer.insert(id, id.to_string());
        }
        for (at, instruction) in self.instructions.iter().enumerate() {
            let node = format!("i{at}");
            let (lines, reads, writes) = match instruction {
                Instruction::Compute { parts, .. } => {
                    let inside = |id: &&BufferId| !parts.iter().any(|part| part.output == **id);
                    let reads: Vec<BufferId> =
                        parts.iter().flat_map(|part| &part.inputs).filter(inside).copied().collect();
                    let lines = parts.iter().map(|part| self.line(part)).collect();
                    (lines, reads, parts.iter().map(|part| part.output).collect())
                }
                Instruction::View { input, output } => (vec![format!("{output} = view")], vec![*input], vec![*output]),
                Instruction::Store { value, target } => (vec![format!("store {target}")], vec![*value], vec![*target]),
                Instruction::Free { .. } => continue,
            };
            let bits = writes.last().and_then(|&id: &BufferId| self.bits(id));
            drawing.node(&node, &lines, bits);
            let mut from: Vec<&String> = reads.iter().filter_map(|id| writer.get(id)).collect();
            from.sort_unstable();
            from.dedup();
            from.into_iter().for_each(|from| drawing.edge(from, &node));
            writes.into_iter().for_each(|id| drop(writer.insert(id, node.clone())));
        }
        for (name, id) in &self.outputs {
            let end = format!("return {name}");
            drawing.node(&end, std::slice::from_ref(&end), None);
            writer.get(id).into_iter().for_each(|from| drawing.edge(from, &end));
        }
        drawing
    }

    fn line(&self, part: &Part) -> String {
        let buffer = self.buffer(part.output);
        let named = if buffer.name.is_empty() { String::new() } else { format!(" {}", buffer.name) };
        format!("{} = {}{named} : {}", part.output, part.op.name(), buffer.stored())
    }

    /// The bits of a buffer's elements, if it holds numbers of a format.
    fn bits(&self, id: BufferId) -> Option<u32> {
        let buffer = self.buffer(id);
        (buffer.dtype == DType::F32).then(|| buffer.format.bits())
    }
}

impl Buffer {
    /// The storage of the elements, and their number in each dimension.
    fn stored(&self) -> String {
        match self.dtype {
            DType::F32 => format!("{}{:?}", self.format, self.shape),
            other => format!("{other}{:?}", self.shape),
        }
    }
}
