//! The sizes of a file's inputs: one of them is the batch, and stays a symbol; the others are numbers.

use crate::error::ImportProblem;
use crate::warning::few;
use bitbudget_ir::{Dim, Shape};
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{ValueInfoProto, type_proto};
use std::collections::{BTreeMap, BTreeSet};

/// The size of a dimension in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// A number.
    Fixed(usize),
    /// A variable by its name; one that the file does not name is called by its input and place, `x.1`.
    Named(String),
}

/// The dimensions of an input.
///
/// # Errors
/// If the file does not say how many there are, or one is larger than can be.
pub(crate) fn sizes(input: &ValueInfoProto) -> Result<Vec<Size>, String> {
    let Some(type_proto::Value::TensorType(ty)) = input.type_.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err("it is not a tensor".into());
    };
    let shape = ty.shape.as_ref().ok_or("its shape is missing; export with an example input")?;
    let size = |(axis, dim): (usize, &Dimension)| match &dim.value {
        Some(dimension::Value::DimValue(size)) if *size > i64::from(i32::MAX) => {
            Err(format!("its dimension {axis} is {size}"))
        }
        Some(dimension::Value::DimValue(size)) if *size > 0 => Ok(Size::Fixed(*size as usize)),
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => Ok(Size::Named(name.clone())),
        // Exporters write 0 or -1 for a size that they do not know.
        _ => Ok(Size::Named(format!("{}.{axis}", input.name))),
    };
    shape.dim.iter().enumerate().map(size).collect()
}

/// The shapes of inputs, one of whose sizes is the batch.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// By input.
    pub(super) shapes: Vec<Shape>,
    /// The batch size that the file fixes, if it does.
    pub(super) batch: Option<usize>,
    /// The sizes that arrays bind, as `name=size`.
    pub(super) bound: Vec<String>,
}

/// The shapes of inputs as the file states them, without a batch; nothing if it leaves a size open.
pub(super) fn stated(inputs: &[(&str, Vec<Size>)]) -> Option<Vec<Shape>> {
    let dim = |size: &Size| if let Size::Fixed(size) = size { Some(Dim::fixed(*size)) } else { None };
    inputs.iter().map(|(_, sizes)| Some(Shape(sizes.iter().map(dim).collect::<Option<_>>()?))).collect()
}

/// The shapes of inputs whose named sizes are `given`, or those of arrays, by input.
///
/// # Errors
/// If more sizes than the batch stay open, arrays differ in one, or a size is given that no input has.
pub(super) fn shapes(
    inputs: &[(&str, Vec<Size>)],
    given: &BTreeMap<String, usize>,
    arrays: &[Option<&Vec<usize>>],
) -> Result<Shapes, ImportProblem> {
    let named = |size: &Size| if let Size::Named(name) = size { Some(name.clone()) } else { None };
    let all: BTreeSet<String> = inputs.iter().flat_map(|(_, sizes)| sizes).filter_map(named).collect();
    let unknown: Vec<String> = given.keys().filter(|name| !all.contains(*name)).cloned().collect();
    if !unknown.is_empty() {
        let there = if all.is_empty() {
            "it has none".into()
        } else {
            format!("it has {}", few(&all.into_iter().collect::<Vec<_>>()))
        };
        return Err(format!("the file has no variable size {}; {there}", few(&unknown)).into());
    }
    let open = |size: &Size| named(size).filter(|name| !given.contains_key(name));
    let left: BTreeSet<String> = inputs.iter().flat_map(|(_, sizes)| sizes).filter_map(open).collect();
    let first = |(_, sizes): &(&str, Vec<Size>)| sizes.first().and_then(open);
    // A size that the file does not name is the batch where it stands first.
    let unnamed: BTreeSet<String> = inputs.iter().map(|(name, _)| format!("{name}.0")).collect();
    let leading: Vec<String> = inputs.iter().filter_map(first).collect();
    let is_batch_name = |name: &&String| name.to_lowercase().contains("batch") || name.as_str() == "N";
    let batch = left.iter().find(is_batch_name).or(leading.first()).or(left.first()).cloned();
    let is_batch = |name: &String| {
        batch.as_ref() == Some(name) || unnamed.contains(name) && batch.as_ref().is_none_or(|b| unnamed.contains(b))
    };
    let mut bound: BTreeMap<String, usize> = BTreeMap::new();
    for ((_, sizes), array) in inputs.iter().zip(arrays) {
        let Some(array) = array.filter(|array| array.len() == sizes.len()) else { continue };
        for (name, &size) in sizes.iter().map(open).zip(array.iter()).filter_map(|(name, size)| Some((name?, size))) {
            let other = if is_batch(&name) || size == 0 { size } else { *bound.entry(name.clone()).or_insert(size) };
            if other != size {
                return Err(format!("arrays of the data have both {other} and {size} for the size `{name}`").into());
            }
        }
    }
    let names = bound.iter().map(|(name, size)| format!("{name}={size}")).collect();
    let given: BTreeMap<String, usize> = given.iter().map(|(name, &size)| (name.clone(), size)).chain(bound).collect();
    let open: Vec<String> = left.iter().filter(|name| !is_batch(name) && !given.contains_key(*name)).cloned().collect();
    if !open.is_empty() {
        let examples: Vec<String> = open.iter().map(|name| format!("--dim {name}=SIZE")).collect();
        let message = format!(
            "the inputs have variable sizes beside the batch `{}`: give {} (one size only may vary)",
            batch.unwrap_or_default(),
            examples.join(" ")
        );
        return Err(message.into());
    }
    // Without a variable the first dimension is taken for the batch, whatever number the file has there.
    let fixed = match batch {
        Some(_) => None,
        None => inputs.iter().find_map(|(_, sizes)| match sizes.first() {
            Some(Size::Fixed(size)) => Some(*size),
            _ => None,
        }),
    };
    let dim = |(axis, size): (usize, &Size)| match size {
        Size::Fixed(size) if axis == 0 && fixed == Some(*size) => Dim::BATCH,
        Size::Fixed(size) => Dim::fixed(*size),
        Size::Named(name) => given.get(name).map_or(Dim::BATCH, |&size| Dim::fixed(size)),
    };
    let shape = |(_, sizes): &(&str, Vec<Size>)| Shape(sizes.iter().enumerate().map(dim).collect());
    Ok(Shapes { shapes: inputs.iter().map(shape).collect(), batch: fixed, bound: names })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Size, shapes};

    fn found(inputs: &[&[&str]], given: &[(&str, usize)]) -> Result<Vec<String>, String> {
        let names = ["a", "b"];
        let size = |text: &&str| text.parse().map_or(Size::Named(text.to_string()), Size::Fixed);
        let inputs: Vec<(&str, Vec<Size>)> =
            names.iter().zip(inputs).map(|(name, sizes)| (*name, sizes.iter().map(size).collect())).collect();
        let given = given.iter().map(|(name, size)| (name.to_string(), *size)).collect();
        let found = shapes(&inputs, &given, &[]).map_err(|problem| problem.to_string())?;
        Ok(found.shapes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_size_is_the_batch() {
        for (inputs, given, expected) in [
            (&[&["4", "3"][..]][..], &[][..], &["[N,3]"][..]),
            (&[&["n", "3"], &["n", "7"]], &[], &["[N,3]", "[N,7]"]),
            (&[&["7", "n", "3"]], &[], &["[7,N,3]"]),
            (&[&["a.0", "3"], &["b.0"]], &[], &["[N,3]", "[N]"]),
            (&[&["s", "batch"]], &[("s", 7)], &["[7,N]"]),
            (&[&["batch", "s"], &["batch", "s"]], &[("s", 16)], &["[N,16]", "[N,16]"]),
            (&[&["2", "3"], &["5", "2"]], &[], &["[N,3]", "[5,2]"]),
        ] {
            assert_eq!(found(inputs, given).unwrap(), expected, "{inputs:?}");
        }
        let message = found(&[&["batch", "s", "t"]], &[("t", 4)]).unwrap_err();
        assert!(message.contains("beside the batch `batch`: give --dim s=SIZE"), "{message}");
        let message = found(&[&["batch", "s"]], &[("q", 4)]).unwrap_err();
        assert!(message.contains("no variable size `q`; it has `batch`, `s`"), "{message}");
    }

    #[test]
    fn arrays_bind_what_is_left() {
        let named = |name: &str| Size::Named(name.into());
        let inputs = [("a", vec![named("batch"), named("s")]), ("b", vec![named("batch"), named("s"), Size::Fixed(3)])];
        let bind = |a: &[usize], b: &[usize]| {
            let found = shapes(&inputs, &Default::default(), &[Some(&a.to_vec()), Some(&b.to_vec())]);
            found.map(|found| (found.shapes.iter().map(ToString::to_string).collect::<Vec<_>>(), found.bound))
        };
        let (bound, names) = bind(&[100, 7], &[100, 7, 3]).unwrap();
        assert_eq!((bound, names), (vec!["[N,7]".to_string(), "[N,7,3]".to_string()], vec!["s=7".to_string()]));
        // One array is enough; arrays of other ranks say nothing.
        assert!(bind(&[100, 7], &[100]).is_ok());
        assert!(bind(&[100], &[100]).unwrap_err().to_string().contains("--dim s=SIZE"));
        let message = bind(&[100, 7], &[100, 8, 3]).unwrap_err().to_string();
        assert!(message.contains("arrays of the data have both 7 and 8 for the size `s`"), "{message}");
    }
}
