//! Trained networks as files.

use super::Session;
use crate::{Compiled, Error, ErrorKind, Graph, Model, Rules, onnx};
use bitbudget_ir::{NodeId, Op};
use bitbudget_train::checkpoint::{Checkpoint, Tensor};
use std::collections::BTreeMap;

/// The kinds of files that a trainer can be saved as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveAs {
    /// The network with its weights, as ONNX.
    Onnx,
    /// Weights and optimizer state, as safetensors.
    Safetensors,
    /// Everything that training needs to go on, as a trainer file.
    Trainer,
}

impl Session {
    /// The bytes of a file with the values that were trained; the caller writes it.
    ///
    /// # Errors
    /// If the device fails, or the network cannot be written so.
    pub fn save(&mut self, kind: SaveAs) -> Result<Vec<u8>, Error> {
        self.download()?;
        self.compiled.file(kind)
    }

    /// Ends the session: the trainer with the values that were trained.
    ///
    /// # Errors
    /// If the device fails.
    pub fn end(mut self) -> Result<Compiled, Error> {
        self.download()?;
        Ok(self.compiled)
    }

    /// Takes the values from the device.
    fn download(&mut self) -> Result<(), Error> {
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.trains) {
            (self.compiled.values, self.compiled.progress) = (kept.values.download()?, kept.values.progress);
        }
        Ok(())
    }
}

impl Compiled {
    /// The bytes of a file with the values that the trainer has.
    ///
    /// # Errors
    /// If the network cannot be written so.
    pub fn file(&self, kind: SaveAs) -> Result<Vec<u8>, Error> {
        Ok(match kind {
            SaveAs::Onnx => onnx::export_bytes(&Model { graph: self.forward.clone(), values: self.values.clone() })?,
            SaveAs::Safetensors => checkpoint(self).encode()?,
            SaveAs::Trainer if matches!(self.lowering.rewrite, Some(Rules::With(_))) => return Err(own_rules()),
            SaveAs::Trainer => self.encode(),
        })
    }
}

fn own_rules() -> Error {
    let reason = "a trainer file cannot hold rewriting rules of a program's own";
    let help = "save the network as ONNX, or compile it with the rules that there are";
    Error::new(ErrorKind::Unsupported, "the rewriting rules", reason, help)
}

/// Every tensor with a value, optimizer state included.
fn checkpoint(compiled: &Compiled) -> Checkpoint {
    let sources = |graph: &Graph| {
        let has_value = |id: &NodeId| matches!(graph.op(*id), Op::Parameter(_) | Op::State(_) | Op::Constant(_));
        let shape = |id| Some((graph.op(id).source_name()?.to_string(), graph.ty(id).shape.at(compiled.train.batch)));
        graph.ids().filter(has_value).filter_map(shape).collect::<Vec<_>>()
    };
    let shapes: BTreeMap<String, Vec<usize>> =
        [&compiled.forward, &compiled.training].into_iter().flat_map(sources).collect();
    let tensors = compiled.values.iter().map(|(name, values)| {
        let shape = shapes.get(name).cloned().unwrap_or_else(|| vec![values.len()]);
        (name.clone(), Tensor { shape, values: values.clone() })
    });
    let metadata = [
        ("name".to_string(), compiled.forward.name().to_string()),
        ("updates".to_string(), compiled.progress.updates.to_string()),
    ];
    Checkpoint { tensors: tensors.collect(), metadata: metadata.into() }
}
