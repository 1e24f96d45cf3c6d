//! Functions that are given as expressions: how an operator runs that has no function of its own.

use super::function::Operands;
use crate::elementwise::{erf, exp, tanh};
use crate::error::{ShapeError, geometry};
use crate::simd::{LANES, mul_add, multiversion};

/// Numbers of a block that a formula may hold at a time.
const DEEPEST: usize = 12;

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
            Word::Add | Word::Sub | Word::Mul | Word::Div => 2,
            Word::Fma => 3,
            Word::Less | Word::AtMost => 4,
        }
    }
}

/// A function of any number of operands, as instructions in the order in which they run.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    words: Vec<Word>,
    pub(super) operands: usize,
}

impl Formula {
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

/// The numbers of a block that are held.
struct Stack {
    blocks: [[f32; LANES]; DEEPEST],
    held: usize,
}

impl Stack {
    #[inline(always)]
    fn put(&mut self, f: impl FnOnce(&mut [f32; LANES])) {
        f(&mut self.blocks[self.held]);
        self.held += 1;
    }

    #[inline(always)]
    fn one(&mut self, f: impl Fn(f32) -> f32) {
        self.blocks[self.held - 1].iter_mut().for_each(|a| *a = f(*a));
    }

    #[inline(always)]
    fn several<const N: usize>(&mut self, f: impl Fn([f32; N]) -> f32) {
        let first = self.held - N;
        for i in 0..LANES {
            self.blocks[first][i] = f(std::array::from_fn(|k| self.blocks[first + k][i]));
        }
        self.held = first + 1;
    }
}

multiversion! {
    /// Computes one tile.
    pub(super) fn compute(formula: &Formula, operands: &Operands<'_>, y: &mut [f32]) {
        let mut stack = Stack { blocks: [[0.0; LANES]; DEEPEST], held: 0 };
        for (block, y) in y.chunks_mut(LANES).enumerate() {
            let start = block * LANES;
            stack.held = 0;
            for word in &formula.words {
                match *word {
                    Word::Operand(position) => {
                        let x = &operands.each(position)[start..][..y.len()];
                        stack.put(|block| block[..x.len()].copy_from_slice(x));
                    }
                    Word::Number(number) => stack.put(|block| block.fill(number)),
                    Word::Neg => stack.one(|a| -a),
                    Word::Sqrt => stack.one(f32::sqrt),
                    Word::Exp => stack.one(exp::<FMA>),
                    Word::Log => stack.one(f32::ln),
                    Word::Tanh => stack.one(tanh::<FMA>),
                    Word::Erf => stack.one(erf::<FMA>),
                    Word::Add => stack.several(|[a, b]| a + b),
                    Word::Sub => stack.several(|[a, b]| a - b),
                    Word::Mul => stack.several(|[a, b]| a * b),
                    Word::Div => stack.several(|[a, b]| a / b),
                    Word::Fma => stack.several(|[a, b, c]| mul_add::<FMA>(a, b, c)),
                    Word::Less => stack.several(|[a, b, c, d]| if a < b { c } else { d }),
                    Word::AtMost => stack.several(|[a, b, c, d]| if a <= b { c } else { d }),
                }
            }
            y.copy_from_slice(&stack.blocks[0][..y.len()]);
        }
    }
}
