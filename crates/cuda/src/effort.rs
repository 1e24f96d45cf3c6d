//! Estimates of the work of kernels beside the bytes that they move.
//!
//! The instructions of the loops of products are those of `tests/cuda/kernels.csv` to a fourth; costs of elements follow from these loops.

use crate::chain::{Chain, ChainRead};
use crate::columns::{ColumnSizes, Columns};
use crate::conv_sizes::ConvSizes;
use crate::depthwise::DepthwiseSizes;
use crate::elements::Elements;
use crate::epilogue::Epilogue;
use crate::pass::{DEPTH, Pass, TILE};
use crate::pools::PoolSizes;
use crate::precision::Precision;
use crate::product::Product;
use crate::rows::{RowSizes, Rows};
use crate::side::{Matrix, Side};
use bitbudget_ir::Expression;
use std::ops::AddAssign;

/// Threads of a warp, and warps of a product's block.
const LANES: f64 = 32.0;
const WARPS: f64 = 8.0;
/// Elements of an operand that a thread of a product takes to shared memory in a step of its loop.
const STAGED: f64 = 16.0;

/// What kernels do beside moving bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effort {
    /// Multiplications and additions of tensor cores on BF16 and FP16 numbers, those of tiles that are not full included.
    pub narrow: f64,
    /// The same on TF32 numbers.
    pub wide: f64,
    /// Instructions that warps issue.
    pub slots: f64,
}

impl AddAssign for Effort {
    fn add_assign(&mut self, other: Effort) {
        self.narrow += other.narrow;
        self.wide += other.wide;
        self.slots += other.slots;
    }
}

impl Effort {
    /// That of kernels without products, whose threads issue so many instructions in all.
    pub(crate) fn of_threads(instructions: f64) -> Effort {
        Effort { slots: instructions / LANES, ..Effort::default() }
    }
}

impl Effort {
    /// That of moving elements.
    pub(crate) fn of_move(from: Elements, epilogue: Epilogue, elements: usize) -> Effort {
        let each = if epilogue.is_copy(from) { 2.0 } else { 2.0 + decode(from) + epilogue.instructions() };
        Effort::of_threads(elements as f64 * each)
    }
}

impl Columns {
    /// That of sums over rows.
    pub(crate) fn effort(&self, sizes: &ColumnSizes) -> Effort {
        let each = self.chain.instructions() + 2.0 * self.ends.statistic.results() as f64;
        Effort::of_threads((sizes.rows * sizes.channels) as f64 * each)
    }
}

impl Rows {
    /// That of functions of rows: each number of a row takes its elements once more.
    pub(crate) fn effort(&self, sizes: &RowSizes) -> Effort {
        let each = (1 + self.function.numbers.len()) as f64 * (2.0 + self.chain.instructions());
        Effort::of_threads((sizes.rows * sizes.length) as f64 * (each + self.epilogue.instructions()))
    }
}

impl PoolSizes {
    /// That of windows, each of whose elements is computed by a chain, and of what else each takes.
    fn of_windows(&self, each: f64) -> Effort {
        let [area, pixels] = [self.window.kernel, self.output].map(|[a, b]| a * b);
        Effort::of_threads((self.batch * self.channels * pixels * area) as f64 * each)
    }

    /// That of pooling, or of its gradient.
    pub(crate) fn effort(&self, chain: &Chain) -> Effort {
        self.of_windows(2.0 + chain.instructions())
    }
}

impl DepthwiseSizes {
    /// That of a convolution of each channel by itself, or of its gradient.
    pub(crate) fn effort(&self, chains: &[Chain; 2]) -> Effort {
        self.0.of_windows(2.0 + chains.iter().map(Chain::instructions).sum::<f64>())
    }
}

/// Instructions that make a number of what is stored.
fn decode(elements: Elements) -> f64 {
    match elements {
        Elements::Codes(_) => 9.0,
        Elements::Fp32 => 0.0,
        Elements::I32 | Elements::Bytes => 1.0,
    }
}

/// Instructions of an operator's expression on an element.
fn of_expression(expression: &Expression) -> f64 {
    use Expression as E;
    let all = |operands: &[Expression]| operands.iter().map(of_expression).sum::<f64>();
    match expression {
        E::Operand(_) | E::Number(_) | E::PerChannel(_) => 0.0,
        E::Neg(a) | E::Floor(a) | E::Round(a) => 1.0 + of_expression(a),
        E::Add(ab) | E::Sub(ab) | E::Mul(ab) => 1.0 + all(&ab[..]),
        E::Fma(abc) => 1.0 + all(&abc[..]),
        E::Less(abcd) | E::AtMost(abcd) => 2.0 + all(&abcd[..]),
        E::Div(ab) => 10.0 + all(&ab[..]),
        E::Sqrt(a) => 10.0 + of_expression(a),
        E::Exp(a) => 15.0 + of_expression(a),
        E::Log(a) | E::Tanh(a) | E::Erf(a) | E::Log1p(a) => 25.0 + of_expression(a),
        E::Sin(a) | E::Cos(a) => 40.0 + of_expression(a),
        E::Pow(ab) => 60.0 + all(&ab[..]),
        E::Uniform(_, ab) => 110.0 + all(&ab[..]),
    }
}

impl Chain {
    /// Instructions of a thread on an element.
    pub(crate) fn instructions(&self) -> f64 {
        let read = self.inputs.iter().zip(self.is_read()).filter(|(_, is_read)| *is_read).map(|(input, _)| *input);
        let read: f64 = read
            .map(|input| match input.read {
                ChainRead::Channel => 2.0 + decode(input.elements),
                _ => decode(input.elements),
            })
            .sum();
        let finds_channels = self.inputs.iter().any(|input| input.read == ChainRead::Channel);
        let parts = self.parts.iter().map(|part| {
            let rounding = part.rounding.map_or(0.0, |(.., is_counted)| if is_counted { 22.0 } else { 18.0 });
            let stored = if matches!(part.stored, Some(Elements::Codes(_))) { 4.0 } else { 0.0 };
            of_expression(&part.expression) + rounding + stored
        });
        read + if finds_channels { 3.0 } else { 0.0 } + parts.sum::<f64>()
    }
}

impl Epilogue {
    /// Instructions of a thread on a result.
    pub(crate) fn instructions(self) -> f64 {
        let rounding = self.rounding.map_or(0.0, |(.., is_counted)| if is_counted { 22.0 } else { 18.0 });
        rounding + if matches!(self.elements, Elements::Codes(_)) { 4.0 } else { 1.0 }
    }
}

impl Side {
    /// Instructions of a thread in a step of the loop: it finds its elements, loads them, and takes them to shared memory.
    fn instructions(&self, precision: Precision) -> f64 {
        let [aligned, any] = match self.matrix {
            Matrix::Pixels => [110.0, 400.0],
            Matrix::Filters => [40.0, 150.0],
            Matrix::Sources => [220.0, 950.0],
            Matrix::Channels => [50.0, 200.0],
            Matrix::Gradients => [40.0, 200.0],
            Matrix::Windows => [110.0, 620.0],
            Matrix::Points => [20.0, 150.0],
            Matrix::Dense => [110.0, 400.0],
            Matrix::PointChannels | Matrix::PointWindows => [40.0, 200.0],
        };
        let pack = match precision {
            Precision::Bf16 | Precision::Tf32 | Precision::Split => 1.0,
            Precision::Fp16 => 9.0,
        };
        let masked = if self.is_masked() { 3.0 } else { 0.0 };
        let stage = match self.words(precision) {
            Some(words) => words.instructions(),
            None => STAGED * (self.chain.instructions() + pack + masked),
        };
        stage + if self.is_aligned { aligned } else { any }
    }
}

impl Product {
    /// Instructions of a warp in a step of the loop.
    pub fn loop_instructions(&self) -> f64 {
        let across = match self.pass {
            Pass::Forward => 0.0,
            Pass::GradInput => 16.0,
            Pass::GradWeight => 180.0,
        };
        let multiplied = match self.precision {
            Precision::Bf16 | Precision::Fp16 => 32.0 + 12.0,
            Precision::Tf32 => 64.0 + 24.0 + across,
            Precision::Split => 192.0 + 24.0 + 192.0 + across,
        };
        let staged: f64 = self.sides.iter().map(|side| side.instructions(self.precision)).sum();
        150.0 + multiplied + staged + if self.is_long { 130.0 } else { 0.0 }
    }

    /// What it does for sizes.
    pub(crate) fn effort(&self, sizes: &ConvSizes) -> Effort {
        let tiles = sizes.tiles(self.pass) as f64;
        let steps = tiles * sizes.product(self.pass)[2].div_ceil(DEPTH) as f64;
        let operations = steps * (2 * TILE * TILE * DEPTH) as f64;
        let results = tiles * sizes.parts(self.pass) as f64 * (TILE * TILE) as f64;
        let ends = Effort::of_threads(results * self.epilogue.instructions());
        let slots = steps * WARPS * self.loop_instructions() + ends.slots;
        match self.precision {
            Precision::Bf16 | Precision::Fp16 => Effort { narrow: operations, wide: 0.0, slots },
            Precision::Tf32 => Effort { narrow: 0.0, wide: operations, slots },
            Precision::Split => Effort { narrow: 0.0, wide: 3.0 * operations, slots },
        }
    }
}
