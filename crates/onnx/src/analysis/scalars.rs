//! Initializers without dimensions: numbers of the program, such as epsilon, or parameters, such as a learned scale.

use crate::analysis::pytorch::{Signature, is_numbered};
use onnx_protobuf::{ModelProto, NodeProto};
use std::collections::BTreeSet;

/// Operators that take a number beside the tensor, which is never trained.
const TAKE_NUMBERS: [&str; 6] = ["Clip", "Dropout", "Max", "Min", "Pad", "Pow"];

/// The role of a scalar initializer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Parameter,
    Number,
    /// A number, as far as the file shows; its name could be that of a parameter.
    Unclear,
}

/// The exporter of a file, as far as it decides the role of scalar initializers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) enum Source {
    /// An exporter that writes numbers as initializers too.
    #[default]
    Any,
    /// PyTorch's older exporter: numbers are nodes, initializers parameters and buffers. An optimizer may have added others.
    Older,
    /// Our own export: initializers are parameters; in files of earlier versions also factors, which are named after their nodes.
    Own { factors: BTreeSet<String> },
}

impl Source {
    pub(crate) fn of(model: &ModelProto) -> Source {
        let newer = |node: &NodeProto| node.metadata_props.iter().any(|p| p.key.starts_with("pkg."));
        let nodes = model.graph.as_ref().map(|graph| graph.node.as_slice()).unwrap_or_default();
        let factors = |node: &NodeProto| -> Vec<String> {
            let own = node.output.first().filter(|_| node.op_type == "Mul").map(|output| format!("{output}.by"));
            let is_own = |name: &&String| own.as_ref().is_some_and(|own| name.starts_with(own));
            node.input.iter().filter(is_own).cloned().collect()
        };
        match model.producer_name.as_str() {
            "bitbudget" => Source::Own { factors: nodes.iter().flat_map(factors).collect() },
            "pytorch" if !nodes.iter().any(newer) => Source::Older,
            _ => Source::Any,
        }
    }

    /// The role of an initializer without dimensions: by the file's list of parameters if it has one, otherwise by its name.
    pub(crate) fn scalar(&self, signature: &Signature, name: &str) -> Scalar {
        match signature.is_parameter(name) {
            Some(true) => Scalar::Parameter,
            Some(false) => Scalar::Number,
            None => match self {
                Source::Own { factors } if factors.contains(name) => Scalar::Number,
                Source::Own { .. } => Scalar::Parameter,
                _ if !is_path(name) || is_numbered(name) => Scalar::Number,
                Source::Any if !name.contains('.') => Scalar::Unclear,
                Source::Older | Source::Any => Scalar::Parameter,
            },
        }
    }

    /// Whether it is our own export, which merges no parameters.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Source::Own { .. })
    }

    /// Whether scalars that several operators read are shared: the older exporter gives merged ones other names.
    pub(crate) fn merges_nothing(&self) -> bool {
        *self != Source::Any
    }
}

/// Whether a name is that of an attribute of modules: identifiers with dots between them.
fn is_path(name: &str) -> bool {
    let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let fits = |part: &str| !part.is_empty() && part.chars().all(is_word);
    let starts = |c: char| c == '_' || c.is_ascii_alphabetic();
    name.split('.').all(fits) && name.starts_with(starts)
}

/// Whether a node takes a scalar as a number that is known at import.
pub(crate) fn takes_number(node: &NodeProto) -> bool {
    TAKE_NUMBERS.contains(&node.op_type.as_str())
}

/// Whether a node computes with a scalar as it would with a parameter.
pub(crate) fn computes(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "Add" | "Sub" | "Mul" | "Div")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_parameters_from_numbers() {
        let older = Source::Older;
        let of = |name: &str| older.scalar(&Signature::default(), name);
        for name in ["al", "block.0.scale", "logit_scale", "_gamma"] {
            assert_eq!(of(name), Scalar::Parameter, "{name}");
        }
        for name in
            ["val_6", "57", "onnx::Mul_12", "/Constant_output_0", "scalar_tensor_default_1", "const_fold_opt__9"]
        {
            assert_eq!(of(name), Scalar::Number, "{name}");
        }
        let other = Source::Any;
        assert_eq!(other.scalar(&Signature::default(), "epsilon"), Scalar::Unclear);
        assert_eq!(other.scalar(&Signature::default(), "block.scale"), Scalar::Parameter);
    }
}
