//! Sparse tensors, which are read as dense ones.

use super::constant::{Constant, Elements};
use super::external::DataFolders;
use super::tensor::{self, Decoded};
use onnx_protobuf::SparseTensorProto;

/// More elements than a sparse tensor may come to.
const MOST_ELEMENTS: usize = 1 << 28;

/// All elements of a sparse tensor, zeros among them; `data` says where external data may lie.
pub(crate) fn decode(sparse: &SparseTensorProto, data: Option<&DataFolders>) -> Result<Decoded, String> {
    let values = tensor::decode(sparse.values.as_ref().ok_or("it has no values")?, data)?;
    let indices = tensor::decode(sparse.indices.as_ref().ok_or("it has no indices")?, data)?.constant.as_fixed()?;
    let shape: Vec<usize> = sparse.dims.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect();
    let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).filter(|&n| n <= MOST_ELEMENTS);
    let count = count.ok_or_else(|| format!("its dimensions {:?} are too large", sparse.dims))?;
    let Elements::Floats(numbers) = values.constant.elements else {
        return Err("it is sparse and holds no floating-point numbers; store it densely".into());
    };
    // Either the place of each value among all elements, or its index along each dimension.
    let per_value = match indices.len() {
        n if n == numbers.len() => 1,
        n if n == numbers.len() * shape.len() => shape.len(),
        n => return Err(format!("it has {} values and {n} indices", numbers.len())),
    };
    let mut dense = vec![0.0; count];
    for (number, index) in numbers.into_iter().zip(indices.chunks(per_value.max(1))) {
        let sizes = if per_value == 1 { &[count][..] } else { &shape };
        let at = index.iter().zip(sizes).try_fold(0, |at, (&index, &size)| {
            usize::try_from(index).ok().filter(|&index| index < size).map(|index| at * size + index)
        });
        let place =
            at.and_then(|at| dense.get_mut(at)).ok_or_else(|| format!("index {index:?} is out of {shape:?}"))?;
        *place = number;
    }
    Ok(Decoded { constant: Constant { shape, elements: Elements::Floats(dense) }, rounded: values.rounded })
}
