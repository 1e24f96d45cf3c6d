//! Arithmetic on known tensors: elementwise with broadcasting, and gathering of elements.

use crate::file::constant::{Constant, Elements, Int};
use crate::importer::Node;
use std::rc::Rc;

/// The number of elements of a shape, if it is within `room`.
pub(super) fn elements(shape: &[usize], room: usize) -> Result<usize, String> {
    shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= room)
        .ok_or_else(|| format!("a constant of shape {shape:?} is too large to be computed at import"))
}

/// The most elements of a constant that the importer makes beside those of the file: 1 GiB of FP32 numbers.
const MADE: usize = 1 << 28;

/// The number of elements of a constant that the importer makes.
pub(super) fn made(shape: &[usize]) -> Result<usize, String> {
    let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).filter(|&n| n <= MADE);
    count.ok_or_else(|| format!("it needs a constant of shape {shape:?}, which takes more than 1 GiB"))
}

/// The known input at a position.
pub(super) fn need(inputs: &[Option<Rc<Constant>>], position: usize) -> Result<&Constant, String> {
    inputs.get(position).and_then(|c| c.as_deref()).ok_or_else(|| format!("input {position} is missing"))
}

/// The shape to which two shapes broadcast.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], axis: usize| (axis + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    let dims = (0..rank).map(|axis| match (dim(a, axis), dim(b, axis)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(format!("{a:?} and {b:?} do not broadcast")),
    });
    dims.collect()
}

/// Calls `f` with every index of a shape, the last dimension running fastest.
pub(super) fn each_index(shape: &[usize], mut f: impl FnMut(&[usize])) {
    let count: usize = shape.iter().product();
    let mut index = vec![0; shape.len()];
    for _ in 0..count {
        f(&index);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// The elements of `x` at the positions that `from` gives for each index of `shape`.
pub(super) fn gather(
    x: &Constant,
    shape: &[usize],
    room: usize,
    mut from: impl FnMut(&[usize]) -> Option<usize>,
) -> Result<Constant, String> {
    let mut positions = Vec::with_capacity(elements(shape, room)?);
    each_index(shape, |index| positions.push(from(index)));
    fn pick<T: Copy>(all: &[T], positions: &[Option<usize>]) -> Option<Vec<T>> {
        positions.iter().map(|p| p.and_then(|p| all.get(p)).copied()).collect()
    }
    let picked = match &x.elements {
        Elements::Ints(all) => pick(all, &positions).map(Elements::Ints),
        Elements::Floats(all) => pick(all, &positions).map(Elements::Floats),
    };
    let picked = picked.ok_or_else(|| format!("an index leaves the tensor of shape {:?}", x.shape))?;
    Ok(Constant { shape: shape.to_vec(), elements: picked })
}

/// The position of an index in a row-major tensor.
pub(super) fn offset(shape: &[usize], index: &[usize]) -> usize {
    shape.iter().zip(index).fold(0, |offset, (&d, &i)| offset * d + i)
}

/// A known tensor repeated to a larger shape.
pub(super) fn expand(x: &Constant, shape: &[usize], room: usize) -> Result<Constant, String> {
    let skip = shape.len() - x.shape.len().min(shape.len());
    gather(x, shape, room, |index| {
        let own = index[skip..].iter().zip(&x.shape);
        Some(own.fold(0, |offset, (&i, &d)| offset * d + if d == 1 { 0 } else { i }))
    })
}

/// An elementwise operator of two inputs that are both whole or both floating-point numbers.
pub(super) fn binary(
    inputs: &[Option<Rc<Constant>>],
    room: usize,
    ints: impl Fn(Int, Int) -> Option<Int>,
    floats: impl Fn(f32, f32) -> f32,
) -> Result<Constant, String> {
    let (a, b) = (need(inputs, 0)?, need(inputs, 1)?);
    let shape = broadcast(&a.shape, &b.shape)?;
    let (a, b) = (expand(a, &shape, room)?, expand(b, &shape, room)?);
    let elements = match (&a.elements, &b.elements) {
        (Elements::Ints(a), Elements::Ints(b)) => {
            let results = a.iter().zip(b).map(|(&a, &b)| {
                ints(a, b).ok_or_else(|| format!("{a} and {b} have no result that is known for every batch size N"))
            });
            Elements::Ints(results.collect::<Result<_, _>>()?)
        }
        (Elements::Floats(a), Elements::Floats(b)) => {
            Elements::Floats(a.iter().zip(b).map(|(&a, &b)| floats(a, b)).collect())
        }
        _ => return Err("whole and floating-point numbers do not mix".into()),
    };
    Ok(Constant { shape, elements })
}

/// A comparison, or another operator with truth values as result.
pub(super) fn compare(
    inputs: &[Option<Rc<Constant>>],
    room: usize,
    holds: impl Fn(std::cmp::Ordering) -> bool,
) -> Result<Constant, String> {
    let truth = |holds: bool| Int::fixed(i64::from(holds));
    let result = binary(
        inputs,
        room,
        |a, b| a.compare(b).map(|order| truth(holds(order))),
        |a, b| a.partial_cmp(&b).map_or(0.0, |order| f32::from(u8::from(holds(order)))),
    )?;
    let elements = match result.elements {
        Elements::Floats(floats) => Elements::Ints(floats.into_iter().map(|f| truth(f != 0.0)).collect()),
        ints => ints,
    };
    Ok(Constant { shape: result.shape, elements })
}

/// An elementwise operator on floating-point numbers.
pub(super) fn unary(inputs: &[Option<Rc<Constant>>], room: usize, f: impl Fn(f32) -> f32) -> Result<Constant, String> {
    let x = need(inputs, 0)?;
    elements(&x.shape, room)?;
    match &x.elements {
        Elements::Floats(floats) => {
            let elements = Elements::Floats(floats.iter().map(|&x| f(x)).collect());
            Ok(Constant { shape: x.shape.clone(), elements })
        }
        Elements::Ints(_) => Err("needs floating-point numbers".into()),
    }
}

/// The input itself.
pub(super) fn identity(_: &Node, inputs: &[Option<Rc<Constant>>], room: usize) -> Result<Vec<Constant>, String> {
    let x = need(inputs, 0)?;
    elements(&x.shape, room)?;
    Ok(vec![x.clone()])
}
