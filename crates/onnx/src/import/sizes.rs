//! The sizes of a file's inputs: one of them is the batch, and stays a symbol; the others are numbers.

use crate::error::ImportProblem;
use crate::warning::few;
use bitbudget_ir::{Dim, Shape};
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{ValueInfoProto, type_proto};
use std::collections::{BTreeMap, BTreeSet};

/// Why no dimension is the batch where all sizes are given.
pub(super) const NONE_LEFT: &str = "all sizes are given, so that none is left for the batch";

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

/// Names the sizes apart that an input gives the name of the batch besides: some exporters have one name for all sizes that they do not know.
pub(super) fn name_apart(inputs: &mut [(&str, Vec<Size>)], given: &BTreeMap<String, usize>) {
    let Some(batch) = open_batch(inputs, given).map(Size::Named) else { return };
    for (name, sizes) in inputs {
        let repeated = sizes.iter_mut().enumerate().filter(|(_, size)| **size == batch).skip(1);
        repeated.for_each(|(axis, size)| *size = Size::Named(format!("{name}.{axis}")));
    }
}

/// Checks that some input has each size that is given, also one that the trained output does not need.
pub(super) fn check_given(given: &BTreeMap<String, usize>, inputs: &[ValueInfoProto]) -> Result<(), ImportProblem> {
    let mut all = BTreeSet::new();
    let mut places = BTreeSet::new();
    for input in inputs {
        for (axis, size) in sizes(input).unwrap_or_default().into_iter().enumerate() {
            if let Size::Named(name) = size {
                places.insert(format!("{}.{axis}", input.name));
                all.insert(name);
            }
        }
    }
    let is_there = |name: &String| all.contains(name) || places.contains(name);
    let unknown: Vec<String> = given.keys().filter(|name| !is_there(name)).cloned().collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let there = match all.is_empty() {
        true => "it has none".into(),
        false => format!("it has {}", few(&all.into_iter().collect::<Vec<_>>())),
    };
    Err(format!("the file has no variable size {}; {there}", few(&unknown)).into())
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

/// Where the examples of the inputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// Along the size that is open, or else along the first dimension, in any number.
    Any,
    /// Along the second dimension, in any number: the first one counts steps.
    Second,
    /// As many as the file states, or as are given where it leaves the number open.
    Stated(Option<usize>),
    /// As the file states, and all inputs together are one example.
    One,
}

/// The terms of a size that is a sum, such as `past + sequence`, or `past + 1`.
fn terms(name: &str) -> Option<Vec<&str>> {
    name.contains('+').then(|| name.split('+').map(str::trim).collect())
}

/// Whether all terms of a sum are numbers or other sizes of the inputs, from which it follows.
fn follows(name: &str, all: &BTreeSet<String>) -> bool {
    let is_known = |term: &&str| term.parse::<usize>().is_ok() || all.contains(*term);
    terms(name).is_some_and(|terms| terms.iter().all(is_known))
}

/// The sizes that follow from those that are given.
fn sums(all: &BTreeSet<String>, given: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let term = |term: &str| term.parse().ok().or_else(|| given.get(term).copied());
    let sum = |name: &String| {
        let parts: Option<Vec<usize>> = terms(name)?.into_iter().map(term).collect();
        Some((name.clone(), parts?.into_iter().fold(0, usize::saturating_add)))
    };
    all.iter().filter(|name| !given.contains_key(*name)).filter_map(sum).collect()
}

/// The size that is the batch among those that are open.
pub(super) fn open_batch(inputs: &[(&str, Vec<Size>)], given: &BTreeMap<String, usize>) -> Option<String> {
    let open = |size: &Size| match size {
        Size::Named(name) if !given.contains_key(name) => Some(name.clone()),
        _ => None,
    };
    let all: BTreeSet<String> = inputs.iter().flat_map(|(_, sizes)| sizes).filter_map(open).collect();
    let is_batch_name = |name: &&String| name.to_lowercase().contains("batch") || name.as_str() == "N";
    let named = all.iter().find(is_batch_name).cloned();
    let leading = || inputs.iter().find_map(|(_, sizes)| sizes.first().and_then(open));
    named.or_else(leading).or_else(|| all.first().cloned())
}

/// The number of examples that the file states, where their dimension is not open.
fn stated_batch(inputs: &[(&str, Vec<Size>)], batch: Batch) -> Result<Option<usize>, ImportProblem> {
    let fixed = |(_, sizes): &(&str, Vec<Size>), axis: usize| match sizes.get(axis) {
        Some(Size::Fixed(size)) => Some(*size),
        _ => None,
    };
    match batch {
        Batch::Any if inputs.iter().any(|(_, sizes)| matches!(sizes.first(), Some(Size::Named(_)))) => {
            Err(NONE_LEFT.into())
        }
        Batch::Any => Ok(inputs.iter().find_map(|input| fixed(input, 0))),
        Batch::Second => match inputs.iter().find(|(_, sizes)| sizes.len() > 2).and_then(|input| fixed(input, 1)) {
            Some(size) => Ok(Some(size)),
            None => Err("no input has a second dimension for the batch".into()),
        },
        Batch::Stated(_) | Batch::One => Ok(None),
    }
}

/// The shapes of inputs whose named sizes are `given`, or those of arrays, by input.
///
/// # Errors
/// If more sizes than the batch stay open, arrays differ in one, or a size is given that no input has.
pub(super) fn shapes(
    inputs: &[(&str, Vec<Size>)],
    given: &BTreeMap<String, usize>,
    arrays: &[Option<&Vec<usize>>],
    at: Batch,
) -> Result<Shapes, ImportProblem> {
    let named = |size: &Size| if let Size::Named(name) = size { Some(name.clone()) } else { None };
    let open = |size: &Size| named(size).filter(|name| !given.contains_key(name));
    let left: BTreeSet<String> = inputs.iter().flat_map(|(_, sizes)| sizes).filter_map(open).collect();
    // A size that the file does not name is the batch where it stands first.
    let unnamed: BTreeSet<String> = inputs.iter().map(|(name, _)| format!("{name}.0")).collect();
    let batch = open_batch(inputs, given);
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
    let all: BTreeSet<String> = inputs.iter().flat_map(|(_, sizes)| sizes).filter_map(named).collect();
    let given: BTreeMap<String, usize> = sums(&all, &given).into_iter().chain(given).collect();
    let is_open = |name: &&String| !is_batch(name) && !given.contains_key(*name) && !follows(name, &all);
    let open: Vec<String> = left.iter().filter(is_open).cloned().collect();
    if !open.is_empty() {
        let examples: Vec<String> = open.iter().map(|name| format!("--dim {name}=SIZE")).collect();
        let message = format!(
            "the inputs have variable sizes beside the batch `{}`: give {} (one size only may vary)",
            batch.unwrap_or_default(),
            examples.join(" ")
        );
        return Err(message.into());
    }
    // Without a variable a dimension is taken for the batch, whatever number the file has there.
    let axis_of_batch = if at == Batch::Second { 1 } else { 0 };
    let (fixed, variable) = match (&batch, at) {
        (Some(_), Batch::Any) => (None, Dim::BATCH),
        (Some(name), Batch::Second) => return Err(format!("the size `{name}` is open").into()),
        (Some(_), Batch::Stated(Some(size))) => (None, Dim::fixed(size)),
        (Some(name), _) => return Err(format!("the size of `{name}` is not known").into()),
        (None, _) => (stated_batch(inputs, at)?, Dim::BATCH),
    };
    let dim = |(axis, size): (usize, &Size)| match size {
        Size::Fixed(size) if axis == axis_of_batch && fixed == Some(*size) => Dim::BATCH,
        Size::Fixed(size) => Dim::fixed(*size),
        Size::Named(name) => given.get(name).map_or(variable, |&size| Dim::fixed(size)),
    };
    let shape = |(_, sizes): &(&str, Vec<Size>)| Shape(sizes.iter().enumerate().map(dim).collect());
    Ok(Shapes { shapes: inputs.iter().map(shape).collect(), batch: fixed, bound: names })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Batch, Size, shapes};

    fn found(inputs: &[&[&str]], given: &[(&str, usize)]) -> Result<Vec<String>, String> {
        let names = ["a", "b"];
        let size = |text: &&str| text.parse().map_or(Size::Named(text.to_string()), Size::Fixed);
        let inputs: Vec<(&str, Vec<Size>)> =
            names.iter().zip(inputs).map(|(name, sizes)| (*name, sizes.iter().map(size).collect())).collect();
        let given = given.iter().map(|(name, size)| (name.to_string(), *size)).collect();
        let found = shapes(&inputs, &given, &[], Batch::Any).map_err(|problem| problem.to_string())?;
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
        // A sum follows from its terms.
        let inputs: &[&[&str]] = &[&["batch", "s", "p"], &["batch", "p + s", "p+1"]];
        assert!(found(inputs, &[]).unwrap_err().contains("give --dim p=SIZE --dim s=SIZE (one"));
        assert_eq!(found(&[&["batch", "s"], &["batch", "s + 3", "s+1"]], &[("s", 2)]).unwrap(), ["[N,2]", "[N,5,3]"]);
        let message = found(&[&["batch", "s", "t"]], &[("t", 4)]).unwrap_err();
        assert!(message.contains("beside the batch `batch`: give --dim s=SIZE"), "{message}");
    }

    #[test]
    fn arrays_bind_what_is_left() {
        let named = |name: &str| Size::Named(name.into());
        let inputs = [("a", vec![named("batch"), named("s")]), ("b", vec![named("batch"), named("s"), Size::Fixed(3)])];
        let bind = |a: &[usize], b: &[usize]| {
            let found = shapes(&inputs, &Default::default(), &[Some(&a.to_vec()), Some(&b.to_vec())], Batch::Any);
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
