//! The inputs of a step: arrays by name, and the numbers of the training loop.

use crate::error::ExecError;
use bitbudget_ir::{DType, ScalarKind};
use bitbudget_program::{Buffer, Program, Source};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The elements of an array, row-major.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers<'a> {
    /// FP32 numbers.
    F32(&'a [f32]),
    /// Whole numbers of at most 2^24 in magnitude; for truth values 0 and 1.
    Integers(&'a [i32]),
}

/// The largest whole number up to which FP32 holds all of them.
pub(crate) const LARGEST_INTEGER: i32 = 1 << 24;
/// Seeds and updates that random numbers tell from each other: those that FP32 holds exactly.
const RANDOM: u64 = 1 << 24;

impl<'a> Numbers<'a> {
    /// The same as FP32 numbers.
    fn exact(self) -> Cow<'a, [f32]> {
        match self {
            Numbers::F32(x) => x.into(),
            Numbers::Integers(x) => x.iter().map(|&i| i as f32).collect(),
        }
    }

    /// The first element that a program cannot hold.
    fn too_large(&self) -> Option<i32> {
        match self {
            Numbers::F32(_) => None,
            Numbers::Integers(x) => x.iter().copied().find(|i| i.unsigned_abs() > LARGEST_INTEGER.unsigned_abs()),
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Numbers::F32(x) => x.len(),
            Numbers::Integers(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn kind(&self) -> &'static str {
        match self {
            Numbers::F32(_) => FP32,
            Numbers::Integers(_) => INTEGERS,
        }
    }
}

const FP32: &str = "FP32 numbers";
const INTEGERS: &str = "integers";

/// An array that a step reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    /// The dimensions, batch included.
    pub shape: &'a [usize],
    /// The elements.
    pub numbers: Numbers<'a>,
}

impl<'a> Array<'a> {
    /// An array of FP32 numbers.
    pub fn f32(shape: &'a [usize], numbers: &'a [f32]) -> Array<'a> {
        Array { shape, numbers: Numbers::F32(numbers) }
    }

    /// An array of integers.
    pub fn integers(shape: &'a [usize], numbers: &'a [i32]) -> Array<'a> {
        Array { shape, numbers: Numbers::Integers(numbers) }
    }
}

/// The inputs of one step.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The program's inputs by name.
    pub arrays: BTreeMap<&'a str, Array<'a>>,
    /// The loss scale.
    pub loss_scale: f32,
    /// The learning rate.
    pub learning_rate: f32,
    /// The decay of Adam's moments.
    pub betas: [f64; 2],
    /// The seed of random numbers, of which 24 bits count.
    pub seed: u64,
}

impl Default for Inputs<'_> {
    fn default() -> Self {
        Inputs { arrays: BTreeMap::new(), loss_scale: 1.0, learning_rate: 0.0, betas: [0.9, 0.999], seed: 0 }
    }
}

impl<'a> Inputs<'a> {
    /// Arrays by name; loss scale 1, learning rate 0.
    pub fn new(arrays: impl IntoIterator<Item = (&'a str, Array<'a>)>) -> Inputs<'a> {
        Inputs { arrays: arrays.into_iter().collect(), ..Inputs::default() }
    }

    /// The same without the arrays that `program` does not read, such as the labels of an evaluation.
    #[must_use]
    pub fn only(mut self, program: &Program) -> Inputs<'a> {
        self.arrays.retain(|name, _| program.input(name).is_some());
        self
    }

    /// Checks that a program's inputs are all there, with its shapes and types, and no others.
    ///
    /// # Errors
    /// Names every input that is unknown, missing, or of another shape or type.
    pub fn check(&self, program: &Program) -> Result<(), ExecError> {
        let missing: Vec<&Buffer> =
            program.inputs().filter(|input| !self.arrays.contains_key(input.name.as_str())).collect();
        let mut problems = Vec::new();
        for (&name, array) in &self.arrays {
            match program.input(name) {
                Some(input) => problems.extend(problem(input, array)),
                None => problems.push(unknown(name, &missing)),
            }
        }
        for input in missing {
            problems.push(format!("`{}` is missing: give {}", input.name, wanted(input)));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(ExecError::inputs("the inputs of the step", problems.join("; "))),
        }
    }

    /// The FP32 numbers of the program's inputs, by buffer.
    pub(crate) fn bound(&self, program: &Program) -> Result<Vec<Option<Cow<'a, [f32]>>>, ExecError> {
        self.check(program)?;
        let numbers = |buffer: &Buffer| match buffer.source {
            Source::Input => self.arrays.get(buffer.name.as_str()).map(|array| array.numbers.exact()),
            _ => None,
        };
        Ok(program.buffers.iter().map(numbers).collect())
    }

    /// The number of a kind in a program's step, the update that follows on so many.
    pub(crate) fn scalar(&self, kind: ScalarKind, program: &Program, updates: u32) -> f32 {
        let bias = |beta: f64| (1.0 - beta.powf(f64::from(updates) + 1.0)) as f32;
        match kind {
            ScalarKind::LossScale => self.loss_scale,
            ScalarKind::InverseLossScale => self.loss_scale.recip(),
            ScalarKind::LearningRate => self.learning_rate,
            ScalarKind::FirstBias => bias(self.betas[0]),
            ScalarKind::SecondBias => bias(self.betas[1]),
            ScalarKind::Seed => (self.seed % RANDOM) as f32,
            ScalarKind::Update => (u64::from(updates) % RANDOM) as f32,
            ScalarKind::Examples => program.batch as f32,
        }
    }
}

/// The element type of an input.
fn kind(input: &Buffer) -> &'static str {
    match input.dtype {
        DType::F32 => FP32,
        DType::I32 | DType::Bool | DType::Index8 => INTEGERS,
    }
}

fn wanted(input: &Buffer) -> String {
    format!("{} of shape {:?}", kind(input), input.shape)
}

/// Why an array is not what an input takes.
fn problem(input: &Buffer, array: &Array<'_>) -> Option<String> {
    let Array { shape, numbers } = array;
    let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let found = match () {
        () if *shape != input.shape || numbers.kind() != kind(input) => {
            format!("{} of shape {shape:?} were given, not {}", numbers.kind(), wanted(input))
        }
        () if elements != Some(numbers.len()) => {
            format!("{} {} were given, its shape {shape:?} needs {}", numbers.len(), numbers.kind(), input.elements())
        }
        () => format!("it holds {}, whole numbers are at most {LARGEST_INTEGER} in magnitude", numbers.too_large()?),
    };
    Some(format!("`{}`: {found}", input.name))
}

/// That no input has a name, with the missing one that may be meant.
fn unknown(name: &str, missing: &[&Buffer]) -> String {
    let near = missing.iter().map(|input| (distance(name, &input.name), input)).min_by_key(|(distance, _)| *distance);
    let meant = near.filter(|(distance, input)| *distance <= 1 + input.name.chars().count() / 3);
    let meant = meant.map_or(String::new(), |(_, input)| format!("; do you mean `{}`?", input.name));
    format!("the program has no input `{name}`{meant}")
}

/// How many characters to insert, drop or change, case aside, to come from one name to another.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Array, Inputs, distance};
    use bitbudget_formats::Format;
    use bitbudget_ir::{DType, Layout};
    use bitbudget_program::{Buffer, Machine, Program, Source};

    fn program() -> Program {
        let buffer = |name: &str, shape: &[usize], dtype| Buffer {
            name: name.into(),
            shape: shape.to_vec(),
            dtype,
            format: Format::FP32,
            packed: true,
            layout: Layout::ROWS,
            source: Source::Input,
            offset: None,
        };
        let buffers = vec![buffer("image", &[2, 3], DType::F32), buffer("labels", &[2], DType::I32)];
        Program {
            machine: Machine::Cpu,
            batch: 2,
            arena: 0,
            alignment: 64,
            buffers,
            instructions: Vec::new(),
            outputs: Vec::new(),
        }
    }

    #[test]
    fn all_problems_of_inputs_are_told_at_once() {
        let (x, y) = ([0.5; 6], [0, 1]);
        let check =
            |arrays: Vec<(&'static str, Array<'_>)>| Inputs::new(arrays).check(&program()).map_err(|e| e.to_string());
        let (image, labels) = (Array::f32(&[2, 3], &x), Array::integers(&[2], &y));
        assert_eq!(check(vec![("image", image), ("labels", labels)]), Ok(()));
        let cases = [
            (vec![("image", image)], "the inputs of the step: `labels` is missing: give integers of shape [2]"),
            (
                vec![("images", image), ("labels", labels)],
                "the inputs of the step: the program has no input `images`; do you mean `image`?; `image` is missing: give \
                 FP32 numbers of shape [2, 3]",
            ),
            (
                vec![("image", Array::f32(&[3, 2], &x)), ("labels", Array::f32(&[2], &x[..2])), ("mask", labels)],
                "the inputs of the step: `image`: FP32 numbers of shape [3, 2] were given, not FP32 numbers of shape \
                 [2, 3]; `labels`: FP32 numbers of shape [2] were given, not integers of shape [2]; the program has no \
                 input `mask`",
            ),
            (
                vec![("image", Array::f32(&[2, 3], &x[..5])), ("labels", labels)],
                "the inputs of the step: `image`: 5 FP32 numbers were given, its shape [2, 3] needs 6",
            ),
        ];
        for (arrays, expected) in cases {
            assert_eq!(check(arrays), Err(expected.to_string()));
        }
        assert!(
            Inputs::new([("image", image), ("mask", labels), ("labels", labels)])
                .only(&program())
                .check(&program())
                .is_ok()
        );
    }

    #[test]
    fn distances_count_changed_characters() {
        for (a, b, expected) in [("x", "X", 0), ("", "abc", 3), ("labels", "label", 1), ("kitten", "sitting", 3)] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
