//! Operators that give the same elements another shape, order or number of copies.

use super::fold;
use super::row::Row;
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Value, axes, axis, is_uniform};
use bitbudget_ir::{Dim, NodeId, Shape, ops};
use std::rc::Rc;

type Inputs<'a> = &'a [Option<Rc<Constant>>];

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Reshape",
        versions: &[5, 13, 14, 19, 21, 23, 24, 25],
        attributes: &["allowzero"],
        forms: "`reshape`; shapes known at import, with -1, 0, and the batch size as a symbol or as the number that the \
                file was exported with",
        build: Some(reshape),
        fold: Some(fold_reshape),
    },
    Row {
        name: "Flatten",
        versions: &[1, 9, 11, 13, 21, 23, 24, 25],
        attributes: &["axis"],
        forms: "`reshape`",
        build: Some(flatten),
        fold: None,
    },
    Row {
        name: "Squeeze",
        versions: &[1, 11, 13, 21, 23, 24, 25],
        attributes: &["axes"],
        forms: "`reshape`; axes as attribute or known input",
        build: Some(squeeze),
        fold: Some(fold_squeeze),
    },
    Row {
        name: "Unsqueeze",
        versions: &[1, 11, 13, 21, 23, 24, 25],
        attributes: &["axes"],
        forms: "`reshape`; axes as attribute or known input",
        build: Some(unsqueeze),
        fold: Some(fold_unsqueeze),
    },
    Row {
        name: "Transpose",
        versions: &[1, 13, 21, 23, 24, 25],
        attributes: &["perm"],
        forms: "`transpose`",
        build: Some(transpose),
        fold: Some(fold_transpose),
    },
    Row {
        name: "Expand",
        versions: &[8, 13],
        attributes: &[],
        forms: "`broadcast`; shapes known at import",
        build: Some(expand),
        fold: Some(fold_expand),
    },
];

fn reshaped(importer: &mut Importer, node: &Node, x: NodeId, shape: Shape) -> Result<Vec<Value>, String> {
    Ok(vec![Value::Tensor(importer.reshape(node.name, x, shape)?)])
}

fn reshape(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.moved(node, 0)?;
    let target = importer.constant(node.need(1)?)?;
    let source = importer.shape(x);
    let (sizes, zeros) = (target.as_ints()?, node.flag("allowzero")?);
    let shape = resolve(&source, sizes, zeros, importer.batch)?;
    if importer.batch.is_some() && resolve(&source, sizes, zeros, None).as_ref() != Ok(&shape) {
        importer.replaced_batch(node.name);
    }
    reshaped(importer, node, x, shape)
}

/// The shape that a Reshape's target means for elements of shape `source`.
///
/// A target that names no batch dimension was exported at a fixed batch size: the batch goes where it keeps its place.
pub(super) fn resolve(source: &Shape, target: &[Int], zeros: bool, batch: Option<usize>) -> Result<Shape, String> {
    let written: Vec<String> = target.iter().map(Int::to_string).collect();
    let fault = |why: &str| format!("{source} cannot be reshaped to [{}]: {why}", written.join(", "));
    let mut dims: Vec<Option<Dim>> = Vec::with_capacity(target.len());
    for (at, size) in target.iter().enumerate() {
        dims.push(match size.as_fixed() {
            Some(-1) if dims.contains(&None) => return Err(fault("only one dimension may be -1")),
            Some(-1) => None,
            Some(0) if !zeros => {
                Some(source.get(at).ok_or_else(|| fault("0 stands for a dimension that is not there"))?)
            }
            _ => Some(size.as_dim().ok_or_else(|| fault("sizes must be positive"))?),
        });
    }
    let (elements, batches) = source.symbolic_elements();
    if batches == 1 && !dims.iter().flatten().any(|d| d.is_batch()) {
        let found = candidates(source, &dims, batch).find_map(|dims| complete(&dims, elements, batches));
        if let Some(shape) = found {
            return Ok(shape);
        }
    }
    complete(&dims, elements, batches)
        .ok_or_else(|| fault("the numbers of elements differ, whatever the batch size N is"))
}

/// The dimensions of a target that names no batch dimension with the batch where it may be, the most likely first.
///
/// It keeps its place among the elements. In a dimension such as `3*N` it is the outer or the inner factor; in the target it begins a
/// dimension, or what is in front of it is part of the same one.
fn candidates(source: &Shape, dims: &[Option<Dim>], batch: Option<usize>) -> impl Iterator<Item = Vec<Option<Dim>>> {
    let before = |dims: &mut dyn Iterator<Item = Dim>| dims.fold(1usize, |n, d| n.saturating_mul(d.factor()));
    let outer = before(&mut source.0.iter().copied().take_while(|d| !d.is_batch()));
    let of_batch = source.0.iter().find(|d| d.is_batch()).map_or(1, |d| d.factor());
    let inner = (of_batch > 1).then(|| outer.saturating_mul(of_batch));
    let mut found: Vec<Vec<Option<Dim>>> = Vec::new();
    for begins in [true, false] {
        for place in std::iter::once(outer).chain(inner) {
            for at in 0..dims.len() {
                let start = before(&mut dims[..at].iter().copied().flatten());
                if dims[..at].contains(&None)
                    || start == 0
                    || place == 0
                    || place % start != 0
                    || (start == place) != begins
                {
                    continue;
                }
                // What is in front of the batch within the dimension.
                let front = place / start;
                let size = match (dims[at], batch) {
                    (None, _) if begins => None,
                    (Some(d), Some(batch)) if d.factor() % front.saturating_mul(batch) == 0 => {
                        Some(Dim::batches(d.factor() / batch))
                    }
                    _ => continue,
                };
                found.push(dims.iter().enumerate().map(|(axis, &d)| if axis == at { size } else { d }).collect());
            }
        }
    }
    // It is more often a dimension of its own, and hardly ever the last one.
    let is_unlikely = |dims: &Vec<Option<Dim>>| {
        let batches = |d: &Dim| d.is_batch() && d.factor() > 1;
        (dims.iter().flatten().any(batches), dims.last().is_some_and(|d| d.is_some_and(Dim::is_batch)))
    };
    found.sort_by_key(is_unlikely);
    found.into_iter()
}

/// Fills the open dimension in, if the elements are those of the source.
fn complete(dims: &[Option<Dim>], elements: usize, batches: usize) -> Option<Shape> {
    let given = Shape(dims.iter().copied().flatten().collect());
    let (factor, found) = given.symbolic_elements();
    let open = match dims.contains(&None) {
        false => return (factor == elements && found == batches).then_some(given),
        true if factor == 0 || !elements.is_multiple_of(factor) => return None,
        true if found == batches => Dim::fixed(elements / factor),
        true if found + 1 == batches => Dim::batches(elements / factor),
        true => return None,
    };
    Some(Shape(dims.iter().map(|d| d.unwrap_or(open)).collect()))
}

fn fold_reshape(node: &Node, inputs: Inputs, room: usize) -> Result<Vec<Constant>, String> {
    let (x, target) = (fold::need(inputs, 0)?, fold::need(inputs, 1)?);
    fold::elements(&x.shape, room)?;
    if x.len() == 0 {
        return Err("reshaping an empty constant is not supported".into());
    }
    let shape = resolve(&Shape::fixed(&x.shape), target.as_ints()?, node.flag("allowzero")?, None)?;
    relabelled(x, shape.0.iter().map(|d| d.factor()).collect(), room)
}

fn relabelled(x: &Constant, shape: Vec<usize>, room: usize) -> Result<Vec<Constant>, String> {
    fold::elements(&x.shape, room)?;
    Ok(vec![Constant { shape, elements: x.elements.clone() }])
}

fn flatten(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.moved(node, 0)?;
    let shape = importer.shape(x);
    let given = node.int("axis")?.unwrap_or(1);
    let rank = shape.rank();
    let at = if usize::try_from(given) == Ok(rank) { rank } else { axis(given, rank)? };
    let side = |dims: &[Dim]| match Shape(dims.to_vec()).symbolic_elements() {
        (factor, 0) => Dim::fixed(factor),
        (factor, _) => Dim::batches(factor),
    };
    let (rows, columns) = shape.0.split_at(at);
    reshaped(importer, node, x, Shape(vec![side(rows), side(columns)]))
}

fn given_axes(importer: &Importer, node: &Node) -> Result<Option<Vec<i64>>, String> {
    match importer.ints(node, 1)? {
        Some(axes) => Ok(Some(axes)),
        None => Ok(node.ints("axes")?.map(<[i64]>::to_vec)),
    }
}

fn known_axes(node: &Node, inputs: Inputs) -> Result<Option<Vec<i64>>, String> {
    match inputs.get(1).and_then(Option::as_ref) {
        Some(axes) => axes.as_fixed().map(Some),
        None => Ok(node.ints("axes")?.map(<[i64]>::to_vec)),
    }
}

/// The dimensions without those at `given`, which must be 1, or without all that are.
fn squeezed<D: Copy + PartialEq + std::fmt::Display>(
    dims: &[D],
    given: Option<&[i64]>,
    one: D,
) -> Result<Vec<D>, String> {
    let gone = match given {
        Some(given) => axes(given, dims.len())?,
        None => (0..dims.len()).filter(|&a| dims[a] == one).collect(),
    };
    if let Some(&axis) = gone.iter().find(|&&a| dims[a] != one) {
        return Err(format!("dimension {axis} is {} and not 1", dims[axis]));
    }
    Ok(dims.iter().enumerate().filter(|(a, _)| gone.binary_search(a).is_err()).map(|(_, &d)| d).collect())
}

/// The dimensions with ones at the axes of the result that are `given`.
fn unsqueezed<D: Copy>(dims: &[D], given: Option<&[i64]>, one: D) -> Result<Vec<D>, String> {
    let given = given.ok_or("its axes are missing")?;
    let new = axes(given, dims.len() + given.len())?;
    let mut dims = dims.to_vec();
    new.into_iter().for_each(|axis| dims.insert(axis, one));
    Ok(dims)
}

fn squeeze(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.moved(node, 0)?;
    let given = given_axes(importer, node)?;
    let dims = importer.shape(x).0;
    let shape = squeezed(&dims, given.as_deref(), Dim::fixed(1))?;
    reshaped(importer, node, x, Shape(shape))
}

fn fold_squeeze(node: &Node, inputs: Inputs, room: usize) -> Result<Vec<Constant>, String> {
    let x = fold::need(inputs, 0)?;
    relabelled(x, squeezed(&x.shape, known_axes(node, inputs)?.as_deref(), 1)?, room)
}

fn unsqueeze(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.moved(node, 0)?;
    let given = given_axes(importer, node)?;
    let shape = unsqueezed(&importer.shape(x).0, given.as_deref(), Dim::fixed(1))?;
    reshaped(importer, node, x, Shape(shape))
}

fn fold_unsqueeze(node: &Node, inputs: Inputs, room: usize) -> Result<Vec<Constant>, String> {
    let x = fold::need(inputs, 0)?;
    relabelled(x, unsqueezed(&x.shape, known_axes(node, inputs)?.as_deref(), 1)?, room)
}

fn permutation(node: &Node, rank: usize) -> Result<Vec<usize>, String> {
    let Some(given) = node.ints("perm")? else { return Ok((0..rank).rev().collect()) };
    let perm = given.iter().map(|&p| axis(p, rank)).collect::<Result<Vec<_>, _>>()?;
    match perm.len() == rank && axes(given, rank).is_ok() {
        true => Ok(perm),
        false => Err(format!("{given:?} is not a permutation of {rank} dimensions")),
    }
}

fn transpose(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.moved(node, 0)?;
    let perm = permutation(node, importer.shape(x).rank())?;
    if perm.iter().copied().eq(0..perm.len()) {
        return Ok(vec![Value::Tensor(x)]);
    }
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Transpose { perm }, &[x])?)])
}

fn fold_transpose(node: &Node, inputs: Inputs, room: usize) -> Result<Vec<Constant>, String> {
    let x = fold::need(inputs, 0)?;
    let perm = permutation(node, x.shape.len())?;
    let shape: Vec<usize> = perm.iter().map(|&p| x.shape[p]).collect();
    let mut from = vec![0; perm.len()];
    let result = fold::gather(x, &shape, room, |index| {
        perm.iter().zip(index).for_each(|(&axis, &i)| from[axis] = i);
        Some(fold::offset(&x.shape, &from))
    })?;
    Ok(vec![result])
}

/// A known tensor of one number whose shape holds the batch size of the export where the target has the batch, as exporters write initial
/// states: the same number without that size.
fn without_batch(importer: &mut Importer, node: &Node, target: &Constant) -> Result<Option<NodeId>, String> {
    let Some(Value::Constant(constant)) = node.input(0).map(|operand| operand.value.clone()) else { return Ok(None) };
    let (Elements::Floats(numbers), sizes) = (&constant.elements, target.as_ints()?) else { return Ok(None) };
    let mut shape = constant.shape.clone();
    for (own, size) in shape.iter_mut().rev().zip(sizes.iter().rev()) {
        if *own > 1 && size.as_dim().is_some_and(|dim| dim.is_batch()) {
            *own = 1;
        }
    }
    if shape == constant.shape || !is_uniform(&constant) {
        return Ok(None);
    }
    let elements = Elements::Floats(numbers[..shape.iter().product()].to_vec());
    let name = importer.own_name("number");
    importer.constant_source(&name, &Constant { shape, elements }).map(Some)
}

fn expand(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let target = importer.constant(node.need(1)?)?;
    let x = match without_batch(importer, node, &target)? {
        Some(x) => x,
        None => importer.moved(node, 0)?,
    };
    let source = importer.shape(x);
    let rank = source.rank().max(target.len());
    let mut dims = vec![Dim::fixed(1); rank - target.len()];
    for (at, size) in target.as_ints()?.iter().enumerate() {
        let axis = rank - target.len() + at;
        let own = (axis + source.rank()).checked_sub(rank).and_then(|i| source.get(i));
        let dim = size.as_dim().ok_or_else(|| format!("its shape's dimension {at} is {size}"))?;
        // A number that is the batch size of the export means the batch where the tensor has it, or in front if the tensor
        // does not have that many elements there itself.
        let batch = importer.batch.is_some_and(|b| dim == Dim::fixed(b));
        let in_front = axis == 0 && own != Some(dim) && importer.batch.is_some_and(|b| b > 1);
        let is_batch = batch && (own.is_some_and(|d| d.is_batch()) || in_front);
        if is_batch && dim != Dim::fixed(1) {
            importer.replaced_batch(node.name);
        }
        dims.push(if is_batch { Dim::BATCH } else { dim });
    }
    for (axis, dim) in dims.iter_mut().enumerate() {
        let own = (axis + source.rank()).checked_sub(rank).and_then(|i| source.get(i));
        if let (Some(own), true) = (own, *dim == Dim::fixed(1)) {
            *dim = own;
        }
    }
    if dims == source.0 {
        return Ok(vec![Value::Tensor(x)]);
    }
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Broadcast { shape: Shape(dims) }, &[x])?)])
}

fn fold_expand(_: &Node, inputs: Inputs, room: usize) -> Result<Vec<Constant>, String> {
    let (x, target) = (fold::need(inputs, 0)?, fold::need(inputs, 1)?.as_fixed()?);
    let sizes: Option<Vec<usize>> = target.iter().map(|&s| usize::try_from(s).ok()).collect();
    let sizes = sizes.ok_or_else(|| format!("the shape {target:?} has negative dimensions"))?;
    let shape = fold::broadcast(&x.shape, &sizes)?;
    match &x.elements {
        Elements::Floats(one) if one.len() == 1 => {
            let elements = Elements::Floats(vec![one[0]; fold::elements(&shape, room)?]);
            Ok(vec![Constant { shape, elements }])
        }
        _ => Ok(vec![fold::expand(x, &shape, room)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, target: &[i64], batch: Option<usize>) -> String {
        let dims = source.split(',').map(|d| d.parse().unwrap()).collect();
        let target: Vec<Int> = target.iter().map(|&t| Int::fixed(t)).collect();
        resolve(&Shape(dims), &target, false, batch).map_or_else(|e| e, |shape| shape.to_string())
    }

    #[test]
    fn the_batch_keeps_its_place() {
        assert_eq!(check("N,6,1,1", &[-1, 6], None), "[N,6]");
        assert_eq!(check("N,6,1,1", &[1, -1], Some(1)), "[N,6]");
        assert_eq!(check("N,6,1,1", &[4, 6], Some(4)), "[N,6]");
        assert_eq!(check("N,6,1,1", &[0, -1], None), "[N,6]");
        assert_eq!(check("N,6,4", &[8, 2, 3, 4], Some(8)), "[N,2,3,4]");
        assert_eq!(check("N,6,4", &[24, -1], Some(8)), "[3*N,8]");
        assert_eq!(check("2,3*N,4", &[2, -1, 3, 4], None), "[2,N,3,4]");
        assert_eq!(check("2,3*N,4", &[2, 8, 3, 4], Some(8)), "[2,N,3,4]");
        assert_eq!(check("N,6", &[-1], Some(8)), "[6*N]");
        assert_eq!(check("4,6", &[-1, 8], Some(2)), "[3,8]");
        // The batch is the inner factor of a dimension.
        assert_eq!(check("7,N,2,16", &[28, 32], Some(4)), "[7*N,32]");
        assert_eq!(check("7*N,32", &[7, 4, 32], Some(4)), "[7,N,32]");
        assert_eq!(check("7*N,32", &[4, 7, 32], Some(4)), "[N,7,32]");
        for (steps, batch) in [(7, 1), (6, 2), (6, 3)] {
            let fixed = [steps as i64, batch as i64];
            let joined = format!("{steps}*N,32");
            assert_eq!(check(&joined, &[fixed[0], fixed[1], 32], Some(batch)), format!("[{steps},N,32]"));
            let heads = check(&format!("{steps},N,32"), &[fixed[0], 2 * fixed[1], 16], Some(batch));
            assert_eq!(heads, format!("[{steps},2*N,16]"));
            let rows = check(&format!("{steps},2*N,16"), &[fixed[0] * fixed[1], 32], Some(batch));
            assert_eq!(rows, format!("[{joined}]"));
        }
    }

    #[test]
    fn refuses_what_fits_at_no_batch_size() {
        assert!(check("N,6", &[4, 7], Some(4)).contains("cannot be reshaped"));
        assert!(check("N,6", &[2, 3], None).contains("cannot be reshaped"));
        assert!(check("N,6", &[-1, -1], None).contains("only one dimension may be -1"));
        assert!(check("N,6", &[0, 0, 0], None).contains("not there"));
        assert!(check("N,6", &[-2, 6], None).contains("positive"));
    }
}
