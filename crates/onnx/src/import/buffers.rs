//! Initializers that PyTorch does not train: buffers, and what frozen batch normalisation is made of.

use crate::analysis::order::is_statistic;
use crate::analysis::pytorch::Treatment;
use crate::analysis::scalars;
use crate::importer::{Importer, Value};
use crate::ops::Row;
use crate::warning::WarningKind;
use onnx_protobuf::NodeProto;

/// The operand of a node at a position: an initializer that is not trained there is a constant.
pub(crate) fn read(importer: &mut Importer, row: &Row, node: &NodeProto, position: usize, value: Value) -> Value {
    let Value::Initializer(i) = value else {
        let unclear = node.input.get(position).filter(|name| scalars::computes(node) && importer.unclear.remove(*name));
        if let Some(name) = unclear {
            importer.warn(WarningKind::ConstantScalar, name);
        }
        return value;
    };
    // What reads the other name that Identity gives decides.
    if is_statistic(node, position) || node.op_type == "Identity" {
        return value;
    }
    let initializer = &importer.initializers[i];
    if initializer.constant.shape.is_empty() {
        // A number of the program that the exporter merged with a parameter is read where the program reads no parameter.
        let is_number = node.input.get(position) == Some(&initializer.name)
            && scalars::computes(node)
            && importer.clues.signature.reads_number(node, &initializer.name);
        if is_number || row.build.is_none() || scalars::takes_number(node) {
            return Value::Constant(initializer.constant.clone());
        }
    }
    let treatment = importer.clues.signature.treatment(node, &initializer.name, initializer.uniform);
    let (name, constant) = (initializer.name.clone(), initializer.constant.clone());
    let kind = match treatment {
        Treatment::Default => return value,
        Treatment::Implied => return Value::Constant(constant),
        Treatment::Buffer => WarningKind::Buffers,
        Treatment::Frozen => WarningKind::FrozenLayer,
        Treatment::Folded => WarningKind::FoldedStatistics,
    };
    let is_known = importer.warnings.iter().any(|w| w.kind == kind && w.names.contains(&name));
    if !is_known {
        importer.warn(kind.clone(), name);
    }
    if kind == WarningKind::FoldedStatistics { value } else { Value::Constant(constant) }
}
