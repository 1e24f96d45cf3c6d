//! A chain as it is given: functions and their operands.

use bitbudget_formats::{Format, Overflow};

use crate::elementwise::function::Function;
use crate::tensors::elements::Elements;

/// One function of a chain, of tensors `T` and numbers `N`.
#[derive(Clone, Debug)]
pub struct ChainPart<T, N> {
    /// The function that it computes.
    pub function: Function,
    /// On what, in the order that [`Function`] states.
    pub operands: Vec<ChainOperand<T, N>>,
    /// How its result is rounded before anything reads it.
    pub rounding: Option<(Format, Overflow)>,
    /// The output that stores its result, which is rounded in the same way.
    pub output: Option<usize>,
}

/// An operand of a part.
#[derive(Clone, Copy, Debug)]
pub enum ChainOperand<T, N> {
    /// A tensor of the chain's shape.
    Elements(T),
    /// `[c]`: one number for each channel.
    Channel(T),
    /// One number for all elements.
    Scalar(N),
    /// The rounded result of an earlier part.
    Part(usize),
    /// The earlier content of an output, for updates in place.
    Output(usize),
}

/// A part with its numbers.
pub type Part<'a> = ChainPart<Elements<'a>, f32>;
/// The operands of such a part.
pub type Operand<'a> = ChainOperand<Elements<'a>, f32>;
/// A part whose tensors and numbers are places in [`ChainData`].
pub type PlannedPart = ChainPart<usize, usize>;
/// The operands of such a part.
pub type PlannedOperand = ChainOperand<usize, usize>;

/// The operands of a planned chain in one run.
#[derive(Clone, Debug, Default)]
pub struct ChainData<'a> {
    /// Each tensor once.
    pub tensors: Vec<Elements<'a>>,
    /// The numbers.
    pub scalars: Vec<f32>,
}

/// Parts apart from what they read.
pub(crate) fn planned<'a>(parts: &[Part<'a>]) -> (Vec<PlannedPart>, ChainData<'a>) {
    let mut data = ChainData::default();
    let parts = parts.iter().map(|part| {
        let operands = part.operands.iter().map(|operand| match *operand {
            ChainOperand::Elements(x) => ChainOperand::Elements(data.place(x)),
            ChainOperand::Channel(x) => ChainOperand::Channel(data.place(x)),
            ChainOperand::Scalar(x) => {
                data.scalars.push(x);
                ChainOperand::Scalar(data.scalars.len() - 1)
            }
            ChainOperand::Part(i) => ChainOperand::Part(i),
            ChainOperand::Output(i) => ChainOperand::Output(i),
        });
        let operands = operands.collect();
        ChainPart { function: part.function.clone(), operands, rounding: part.rounding, output: part.output }
    });
    (parts.collect(), data)
}

impl<'a> ChainData<'a> {
    /// The place of a tensor, which is there from now on.
    fn place(&mut self, x: Elements<'a>) -> usize {
        let is_same = |other: &Elements<'a>| other.is_same(x) && other.storage() == x.storage();
        self.tensors.iter().position(is_same).unwrap_or_else(|| {
            self.tensors.push(x);
            self.tensors.len() - 1
        })
    }
}
