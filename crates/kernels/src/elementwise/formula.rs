//! Functions that are given as expressions: how an operator runs that has no function of its own.

use crate::error::{ShapeError, geometry};

/// Numbers of a block that a formula may hold at a time.
pub(crate) const DEEPEST: usize = 12;

/// An instruction on the numbers that were computed last, which it replaces by one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Word {
    /// The operand's number.
    Operand(usize),
    /// This number.
    Number(f32),
    /// `-a`.
    Neg,
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// `a * b + c`, rounded once where the processor can.
    Fma,
    /// The square root.
    Sqrt,
    /// Within 2 units in the last place.
    Exp,
    /// The natural logarithm.
    Log,
    /// Within 2 units in the last place.
    Tanh,
    /// The error function, within 2 units in the last place.
    Erf,
    /// The sine, within 1 unit in the last place.
    Sin,
    /// The cosine, within 1 unit in the last place.
    Cos,
    /// `log(1 + a)`, within 1 unit in the last place.
    Log1p,
    /// The largest whole number that is not above.
    Floor,
    /// The nearest whole number, the even one of two.
    Round,
    /// `a^b`, within 1 unit in the last place.
    Pow,
    /// A random number from 0 to below 1, of this key, the seed `a`, the update `b` and the element's place.
    Uniform(u64),
    /// `c` where `a < b`, else `d`.
    Less,
    /// `c` where `a <= b`, else `d`.
    AtMost,
}

impl Word {
    /// How many numbers it takes.
    fn takes(self) -> usize {
        match self {
            Word::Operand(_) | Word::Number(_) => 0,
            Word::Neg | Word::Sqrt | Word::Exp | Word::Log | Word::Tanh | Word::Erf => 1,
            Word::Sin | Word::Cos | Word::Log1p | Word::Floor | Word::Round => 1,
            Word::Add | Word::Sub | Word::Mul | Word::Div | Word::Pow | Word::Uniform(_) => 2,
            Word::Fma => 3,
            Word::Less | Word::AtMost => 4,
        }
    }
}

/// A function of any number of operands, as instructions in the order in which they run.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    pub(crate) words: Vec<Word>,
    pub(crate) operands: usize,
}

impl Formula {
    /// Whether an element's number depends on the operands' numbers alone, not on its place.
    pub(crate) fn is_pointwise(&self) -> bool {
        !self.words.iter().any(|word| matches!(word, Word::Uniform(_)))
    }

    /// A function of so many operands.
    ///
    /// # Errors
    /// If the instructions read an operand that does not exist, take numbers that there are not, leave more or less than one, or
    /// hold too many at a time.
    pub fn new(words: Vec<Word>, operands: usize) -> Result<Formula, ShapeError> {
        let wrong = |reason: String| Err(geometry("formula", reason));
        let mut held = 0usize;
        for word in &words {
            if let Word::Operand(position) = *word
                && position >= operands
            {
                return wrong(format!("operand {position} of {operands}"));
            }
            held = match held.checked_sub(word.takes()) {
                Some(rest) => rest + 1,
                None => return wrong(format!("{word:?} takes {} numbers, there are {held}", word.takes())),
            };
            if held > DEEPEST {
                return wrong(format!("holds more than {DEEPEST} numbers at a time"));
            }
        }
        match held {
            1 => Ok(Formula { words, operands }),
            _ => wrong(format!("leaves {held} numbers, not 1")),
        }
    }
}
