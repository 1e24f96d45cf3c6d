//! Graphs and programs as text and as drawings.

use crate::{Compiled, ExecError, Format, forward_formats};
use bitbudget_ir::{DType, Drawing};

/// A graph or a program of a compiled trainer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The network as imported.
    Forward,
    /// The training graph.
    Training,
    /// The program of a training step.
    Program,
    /// The program of an evaluation.
    Evaluation,
}

impl Compiled {
    /// A graph or a program as text.
    pub fn text(&self, shown: Shown) -> String {
        match shown {
            Shown::Forward => self.forward.to_string(),
            Shown::Training => self.training.to_string(),
            Shown::Program => self.train.to_string(),
            Shown::Evaluation => self.evaluate.to_string(),
        }
    }

    /// The kernels of the training step as CUDA C, in one file, if it was lowered for CUDA devices.
    ///
    /// # Errors
    /// If it was lowered for the CPU, or an operator has no kernel on CUDA devices.
    pub fn cuda_source(&self) -> Result<String, ExecError> {
        bitbudget_exec::cuda_source(&self.train)
    }

    /// The same as a drawing in GraphViz's language, coloured by the bits of tensors.
    pub fn drawing(&self, shown: Shown) -> Drawing {
        let with_bits = |format: Format| (format.to_string(), format.bits());
        match shown {
            Shown::Forward => {
                let formats = forward_formats(self);
                self.forward.drawing(&|id| formats.get(&id).copied().map(with_bits))
            }
            Shown::Training => {
                let (graph, formats) = (&self.training, &self.assignment.formats);
                graph.drawing(&|id| (graph.ty(id).dtype == DType::F32).then(|| with_bits(formats[id.index()])))
            }
            Shown::Program => self.train.drawing(),
            Shown::Evaluation => self.evaluate.drawing(),
        }
    }
}
