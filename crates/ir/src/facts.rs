//! The facts about an operator that passes rely on: how it computes its result, how it reads each operand, whose numbers the
//! result holds.
//!
//! Every operator states all of it ([`crate::ops::Operator::facts`]), so that no pass has a list of operators of its own
//! from which a new one could be missing.

use crate::expression::Expression;
use crate::types::Shape;
use crate::window::Window;

/// The facts of an operator on operands of certain shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// How the result is computed.
    pub form: Form,
    /// How each operand is read.
    pub reads: Reads,
    /// Whose numbers the result holds.
    pub numbers: Numbers,
    /// Whether an element is cheap enough to be computed wherever it is read.
    pub cheap: bool,
    /// The pass over the first operand that gives this result and another one.
    pub pass: Option<Pass>,
}

impl Facts {
    /// An operator of a form that reads all its operands in one way, and makes new numbers.
    pub(crate) fn new(form: Form, reads: Reads) -> Facts {
        Facts { form, reads, numbers: Numbers::New, cheap: false, pass: None }
    }

    /// A value that comes from outside.
    pub(crate) fn source() -> Facts {
        Facts::new(Form::Source, Reads::List(&[]))
    }

    /// An operator that computes element by element.
    pub(crate) fn map(expression: Expression, reads: &'static [Read]) -> Facts {
        Facts::new(Form::Map(expression), Reads::List(reads))
    }

    /// An operator that computes element by element from two operands, which may be broadcast.
    pub(crate) fn binary(expression: Expression, operands: &[&Shape], result: &Shape) -> Facts {
        let is_each = |position: usize| operands.get(position).is_some_and(|shape| *shape == result);
        let reads: &[Read] = match (is_each(0), is_each(1)) {
            (true, true) => &[Read::Each, Read::Each],
            (true, false) => &[Read::Each, Read::Broadcast],
            (false, true) => &[Read::Broadcast, Read::Each],
            (false, false) => &[Read::Broadcast, Read::Broadcast],
        };
        Facts::map(expression, reads)
    }

    /// An operator that moves its operand's elements.
    pub(crate) fn moving(form: Form) -> Facts {
        Facts { numbers: Numbers::Of(0), ..Facts::new(form, Reads::All(Read::Whole)) }
    }

    /// A reduction that keeps these axes of its first operand.
    pub(crate) fn reduction(kept: Vec<usize>) -> Facts {
        Facts::new(Form::Reduction { kept }, Reads::All(Read::Whole))
    }

    pub(crate) fn with_numbers(self, numbers: Numbers) -> Facts {
        Facts { numbers, ..self }
    }

    pub(crate) fn cheap(self) -> Facts {
        Facts { cheap: true, ..self }
    }

    pub(crate) fn in_pass(self, pass: Pass) -> Facts {
        Facts { pass: Some(pass), ..self }
    }

    /// Whether an element of the result depends on one element at most of each operand, besides vectors over the channels and
    /// scalars: so it can be computed in one pass with others of its shape.
    pub fn is_elementwise(&self) -> bool {
        matches!(self.form, Form::Map(_)) && !self.reads.any(Read::Broadcast)
    }

    /// Whether elements of the result can be computed a few at a time: at little cost from the same elements of the operands, or from
    /// planes of these.
    pub fn is_cheap(&self) -> bool {
        match self.form {
            Form::Map(_) => self.cheap && self.is_elementwise(),
            Form::Planes(_) => true,
            Form::Source
            | Form::Alias
            | Form::Move
            | Form::Reduction { .. }
            | Form::Rows { .. }
            | Form::Window
            | Form::Product => false,
        }
    }

    /// Whether the operator passes its first operand on where its second one allows it.
    pub fn is_mask(&self) -> bool {
        let passes = matches!(self.numbers, Numbers::Of(0) | Numbers::SomeOf(0));
        matches!(self.form, Form::Map(_)) && passes && self.reads == Reads::List(&[Read::Each, Read::Each])
    }

    /// Whether the result holds one number for each index of the second axis of the first operand.
    pub fn is_over_channels(&self) -> bool {
        matches!(&self.form, Form::Reduction { kept } if kept == &[1])
    }
}

/// How a result is computed.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// It is a value from outside.
    Source,
    /// Element by element.
    Map(Expression),
    /// It consists of planes of operands: elements that lie behind each other, of one example.
    Planes(Planes),
    /// It is the operand's storage by another shape.
    Alias,
    /// It consists of elements of the operands, and zeros, in another arrangement.
    Move,
    /// A reduction of the operands over all axes of the first one but `kept`.
    Reduction {
        /// The axes of the first operand that are left, in order.
        kept: Vec<usize>,
    },
    /// Row by row: each depends on the operands' rows in the same place only.
    Rows {
        /// How many of the last axes make a row.
        axes: usize,
    },
    /// From windows over the trailing axes.
    Window,
    /// A matrix product or convolution, or a sum of slices by index.
    Product,
}

/// Planes of operands, for each example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planes {
    /// The elements of a plane.
    pub elements: usize,
    /// Which planes the result consists of, in order.
    pub runs: Vec<Run>,
}

/// The elements of a shape from an axis on, unless that depends on the batch.
pub(crate) fn elements_after(shape: &Shape, axis: usize) -> Option<usize> {
    shape.0.iter().skip(axis).try_fold(1usize, |elements, dim| Some(elements.saturating_mul(dim.as_fixed()?)))
}

/// Some planes of an operand that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The operand.
    pub operand: usize,
    /// The planes of the operand.
    pub of: usize,
    /// The first one.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// How an operator reads an operand for one element of its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The element in the same position.
    Each,
    /// The element of the same channel, from a vector over the second axis.
    Channel,
    /// The only element.
    Scalar,
    /// The element that broadcasting puts in the same position.
    Broadcast,
    /// None: only the shape matters.
    Shape,
    /// Any number of elements.
    Whole,
}

/// How each operand is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// By position.
    List(&'static [Read]),
    /// Any number of operands in one way.
    All(Read),
}

impl Reads {
    /// How the operand at `position` is read.
    pub fn of(self, position: usize) -> Read {
        match self {
            Reads::List(reads) => reads.get(position).copied().unwrap_or(Read::Whole),
            Reads::All(read) => read,
        }
    }

    fn any(self, wanted: Read) -> bool {
        match self {
            Reads::List(reads) => reads.contains(&wanted),
            Reads::All(read) => read == wanted,
        }
    }
}

/// Whose numbers a result holds, besides zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers {
    /// New ones.
    New,
    /// An operand's.
    Of(usize),
    /// Some of an operand's, and new ones.
    SomeOf(usize),
    /// Those of every operand.
    OfEvery,
    /// The first operand's, and two bounds.
    Clamped(f64, f64),
}

/// One of two results of a pass over the first operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The means of the channels.
    Mean,
    /// The variances of the channels, on the means as second operand.
    Variance,
    /// The sums over the channels of a gradient times the normalised input.
    ScaleGradient,
    /// The sums over the channels.
    ChannelSum,
    /// The maxima of windows.
    Maximum(Window),
    /// Where the maxima of windows are.
    MaximumIndex(Window),
}

impl Pass {
    /// Whether a pass gives this result and then the other.
    pub fn is_one_with(self, second: Pass) -> bool {
        match (self, second) {
            (Pass::Mean, Pass::Variance)
            | (Pass::ScaleGradient, Pass::ChannelSum)
            | (Pass::ChannelSum, Pass::ScaleGradient) => true,
            (Pass::Maximum(window), Pass::MaximumIndex(other)) => window == other,
            (
                Pass::Mean
                | Pass::Variance
                | Pass::ScaleGradient
                | Pass::ChannelSum
                | Pass::Maximum(_)
                | Pass::MaximumIndex(_),
                _,
            ) => false,
        }
    }
}
