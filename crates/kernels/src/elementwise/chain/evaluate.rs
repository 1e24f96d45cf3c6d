//! Formulas over one tile, block by block.

use super::operands::Operands;
use crate::elementwise::formula::{DEEPEST, Formula, Word};
use crate::elementwise::math::{erf, exp, tanh};
use crate::words::random::{key_of_update, uniform};
use crate::words::simd::{LANES, mul_add, multiversion};

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
    pub(super) fn evaluate(formula: &Formula, operands: &Operands<'_>, y: &mut [f32]) {
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
                    // These are the same on every processor, and rare.
                    Word::Sin => stack.one(libm::sinf),
                    Word::Cos => stack.one(libm::cosf),
                    Word::Log1p => stack.one(libm::log1pf),
                    Word::Floor => stack.one(f32::floor),
                    Word::Round => stack.one(f32::round_ties_even),
                    Word::Uniform(key) => {
                        let [seed, update] = [2, 1].map(|below| stack.blocks[stack.held - below][0] as u32);
                        stack.held -= 2;
                        let at = (operands.tile.start + start) as u64;
                        // A closure would be a function of its own, without this one's vector instructions.
                        uniform(key_of_update(key, seed, update), at, &mut stack.blocks[stack.held]);
                        stack.held += 1;
                    }
                    Word::Pow => stack.several(|[a, b]| libm::powf(a, b)),
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
