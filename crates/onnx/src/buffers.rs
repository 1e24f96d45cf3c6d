//! Initializers that PyTorch does not train: buffers, and what frozen batch normalisation is made of.

use crate::importer::Importer;
use crate::node::Value;
use crate::order::is_statistic;
use crate::pytorch::Treatment;
use crate::warning::WarningKind;
use onnx_protobuf::NodeProto;

/// What a node reads at a position: an initializer that is not trained there is a constant.
pub(crate) fn read(importer: &mut Importer, node: &NodeProto, position: usize, value: Value) -> Value {
    let Value::Initializer(i) = value else { return value };
    if is_statistic(node, position) {
        return value;
    }
    let initializer = &importer.initializers[i];
    let treatment = importer.signature.treatment(node, &initializer.name, initializer.uniform);
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
