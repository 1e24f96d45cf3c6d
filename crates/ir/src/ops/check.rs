//! Checks that operators share: operand counts, element types, shapes.

use crate::error::Reason;
use crate::types::{DType, Dim, Shape, TensorType};

/// Exactly `N` floating-point operands.
pub(super) fn floats<'t, const N: usize>(operands: &[&'t TensorType]) -> Result<[&'t TensorType; N], Reason> {
    let types: [&TensorType; N] = count(operands)?;
    all_floats(operands)?;
    Ok(types)
}

/// Exactly `N` operands.
pub(super) fn count<'t, const N: usize>(operands: &[&'t TensorType]) -> Result<[&'t TensorType; N], Reason> {
    operands.try_into().map_err(|_| Reason::new(format!("needs {N} operands, has {}", operands.len())))
}

/// Floating-point operands only.
pub(super) fn all_floats(operands: &[&TensorType]) -> Result<(), Reason> {
    match operands.iter().find(|t| t.dtype != DType::F32) {
        Some(other) => Err(Reason::new(format!("needs floating-point operands, has {other}"))),
        None => Ok(()),
    }
}

/// One operand of any type that moves may have, whose type the result keeps.
pub(super) fn moved<'t>(operands: &[&'t TensorType]) -> Result<&'t TensorType, Reason> {
    let [x] = count(operands)?;
    one_type(&[x])?;
    Ok(x)
}

/// Operands of one type that moves may have: any but indices of pooling.
pub(super) fn one_type(operands: &[&TensorType]) -> Result<(), Reason> {
    let first = operands.first().map(|t| t.dtype);
    match operands.iter().find(|t| t.dtype == DType::Index8 || Some(t.dtype) != first) {
        Some(other) => Err(Reason::new(format!("needs operands of one type, has {} and {other}", operands[0]))),
        None => Ok(()),
    }
}

/// An operand of a type.
pub(super) fn is_of(what: &str, x: &TensorType, dtype: DType) -> Result<(), Reason> {
    if x.dtype == dtype { Ok(()) } else { Err(Reason::new(format!("{what} must be {dtype}, but is {x}"))) }
}

/// Two operands of one shape.
pub(super) fn same(what: &str, a: &TensorType, b: &TensorType) -> Result<(), Reason> {
    if a.shape == b.shape {
        return Ok(());
    }
    Err(Reason::new(format!("{what} must have one shape, but are {} and {}", a.shape, b.shape)))
}

/// A vector with one element per channel (dimension 1) of `x`.
pub(super) fn per_channel(what: &str, vector: &TensorType, x: &TensorType) -> Result<(), Reason> {
    if vector.shape.0 == [channels(x)?] {
        return Ok(());
    }
    Err(Reason::new(format!("{what} must have one element per channel of {}, but is {}", x.shape, vector.shape)))
}

/// Dimension 1 of `x`, which has at least two dimensions.
pub(super) fn channels(x: &TensorType) -> Result<Dim, Reason> {
    match x.shape.get(1) {
        Some(dim) if !dim.is_batch() => Ok(dim),
        _ => Err(Reason::new(format!("needs a batch and a channel dimension, has {}", x.shape))),
    }
}

/// A scalar.
pub(super) fn scalar(what: &str, x: &TensorType) -> Result<(), Reason> {
    if x.shape.rank() == 0 { Ok(()) } else { Err(Reason::new(format!("{what} must be a scalar, but is {}", x.shape))) }
}

/// The shape to which two shapes broadcast (ONNX, multidirectional).
pub(super) fn broadcast(a: &Shape, b: &Shape) -> Result<Shape, Reason> {
    let rank = a.rank().max(b.rank());
    let one = Dim::fixed(1);
    let dim = |s: &Shape, axis: usize| (axis + s.rank()).checked_sub(rank).and_then(|i| s.get(i)).unwrap_or(one);
    let dims: Result<Vec<Dim>, Reason> = (0..rank)
        .map(|axis| match (dim(a, axis), dim(b, axis)) {
            (x, y) if x == y || y == one => Ok(x),
            (x, y) if x == one => Ok(y),
            (x, y) => Err(Reason::new(format!("{a} and {b} do not broadcast: {x} against {y} in dimension {axis}"))),
        })
        .collect();
    Ok(Shape(dims?))
}

/// Axes that are in range, ascending and distinct.
pub(super) fn axes(axes: &[usize], x: &TensorType) -> Result<(), Reason> {
    let ascending = axes.windows(2).all(|w| w[0] < w[1]);
    if ascending && axes.iter().all(|&a| a < x.shape.rank()) {
        return Ok(());
    }
    Err(Reason::new(format!("axes {axes:?} are not ascending dimensions of {}", x.shape)))
}

/// Two operands of one shape, or the second one of one element.
pub(super) fn same_or_scalar(what: &str, a: &TensorType, b: &TensorType) -> Result<(), Reason> {
    if b.shape.rank() == 0 { Ok(()) } else { same(what, a, b) }
}
