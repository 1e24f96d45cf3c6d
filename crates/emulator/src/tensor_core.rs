//! What tensor cores compute: products are exact, sums are cut off.
//!
//! The products of a block of the inner dimension and the number that they are added to are shifted to the largest exponent among them; what
//! lies below a fixed number of bits is dropped, without rounding; the rest is added exactly, and the sum is cut off to FP32. Which blocks and
//! how many bits differ between generations. Source: Khattak and Mikaitis, "Accurate Models of NVIDIA Tensor Cores", arXiv 2512.07004, whose
//! models have the bits of the hardware.

/// How a generation adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorCore {
    /// Products that are added at once, of 16-bit operands; half as many in TF32.
    pub block: usize,
    /// Bits that are kept below the 23 of FP32's fraction.
    pub extra_bits: i32,
    /// The smallest exponent that numbers are shifted to.
    pub least_exponent: i32,
}

impl TensorCore {
    /// A100, and the generation of RTX 4090, L40S.
    pub const AMPERE: TensorCore = TensorCore { block: 8, extra_bits: 1, least_exponent: -132 };
    /// H100, H200; and B200 with its `mma`.
    pub const HOPPER: TensorCore = TensorCore { block: 16, extra_bits: 2, least_exponent: -133 };
}

/// The formats of operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// 8 exponent bits, 7 of the fraction.
    Bf16,
    /// 5 exponent bits, 10 of the fraction.
    Fp16,
    /// The upper 19 bits of FP32.
    Tf32,
}

/// Terms of a sum: the largest block, and what it is added to.
const MOST_TERMS: usize = 17;

/// A number as a whole multiple of a power of two.
#[derive(Clone, Copy, Debug)]
struct Exact {
    /// The significand with `point` bits behind the point.
    significand: i64,
    point: i32,
    exponent: i32,
}

impl Operand {
    /// The number of a pattern of bits, or nothing where it is not finite.
    fn exact(self, bits: u32) -> Option<Exact> {
        let (bits, exponent_bits, fraction_bits) = match self {
            Operand::Bf16 => (bits & 0xffff, 8, 7),
            Operand::Fp16 => (bits & 0xffff, 5, 10),
            Operand::Tf32 => (bits >> 13, 8, 10),
        };
        split(bits, exponent_bits, fraction_bits)
    }

    /// The number as FP64.
    fn value(self, bits: u32) -> f64 {
        match self {
            Operand::Bf16 => f64::from(f32::from_bits(bits << 16)),
            Operand::Tf32 => f64::from(f32::from_bits(bits & 0xffff_e000)),
            Operand::Fp16 => match self.exact(bits) {
                Some(x) => x.significand as f64 * 2f64.powi(x.exponent - x.point),
                None if bits & 0x3ff != 0 => f64::NAN,
                None if bits & 0x8000 != 0 => f64::NEG_INFINITY,
                None => f64::INFINITY,
            },
        }
    }
}

fn split(bits: u32, exponent_bits: u32, fraction_bits: u32) -> Option<Exact> {
    let fraction = bits & ((1 << fraction_bits) - 1);
    let field = bits >> fraction_bits & ((1 << exponent_bits) - 1);
    let bias = (1 << (exponent_bits - 1)) - 1;
    if field == (1 << exponent_bits) - 1 {
        return None;
    }
    let magnitude = i64::from(if field == 0 { fraction } else { fraction | 1 << fraction_bits });
    let is_negative = bits >> (exponent_bits + fraction_bits) & 1 == 1;
    Some(Exact {
        significand: if is_negative { -magnitude } else { magnitude },
        point: fraction_bits as i32,
        exponent: field.max(1) as i32 - bias,
    })
}

impl TensorCore {
    /// `c + a b` for a row and a column, block by block.
    pub fn dot(self, operand: Operand, a: &[u32], b: &[u32], c: f32) -> f32 {
        let block = if operand == Operand::Tf32 { self.block / 2 } else { self.block };
        a.chunks(block).zip(b.chunks(block)).fold(c, |c, (a, b)| self.block(operand, a, b, c))
    }

    fn block(self, operand: Operand, a: &[u32], b: &[u32], c: f32) -> f32 {
        // Those that are not zero: at most all products of a block, and what they are added to.
        let mut terms = [Exact { significand: 0, point: 0, exponent: 0 }; MOST_TERMS];
        let mut count = 0;
        let mut add = |term: Exact| {
            if term.significand != 0 {
                terms[count] = term;
                count += 1;
            }
        };
        let products = a.iter().zip(b).try_for_each(|(&a, &b)| {
            add(product(operand.exact(a)?, operand.exact(b)?));
            Some(())
        });
        let Some(((), addend)) = products.zip(split(c.to_bits(), 8, 23)) else {
            // Infinities and NaN are as usual; where they came from in the block does not matter.
            let products = a.iter().zip(b).map(|(&a, &b)| operand.value(a) * operand.value(b));
            let sum = products.fold(f64::from(c), |sum, product| sum + product);
            return if sum.is_nan() { f32::NAN } else { sum as f32 };
        };
        add(addend);
        let terms = &terms[..count];
        let Some(most) = terms.iter().map(|term| term.exponent).max() else { return 0.0 };
        let most = most.max(self.least_exponent);
        let kept = 23 + self.extra_bits;
        let shifted = |term: &Exact| {
            // Division by a power of two towards zero.
            let left = kept - term.point - (most - term.exponent);
            let magnitude = term.significand.abs();
            let magnitude =
                if left >= 0 { magnitude << left } else { magnitude.checked_shr(left.unsigned_abs()).unwrap_or(0) };
            magnitude * term.significand.signum()
        };
        cut(terms.iter().map(shifted).sum(), most - kept)
    }
}

fn product(a: Exact, b: Exact) -> Exact {
    Exact { significand: a.significand * b.significand, point: a.point + b.point, exponent: a.exponent + b.exponent }
}

/// `sum * 2^exponent` in FP32, cut off.
fn cut(sum: i64, exponent: i32) -> f32 {
    if sum == 0 {
        return 0.0;
    }
    let magnitude = sum.unsigned_abs();
    let leading = 63 - magnitude.leading_zeros() as i32 + exponent;
    // The exponent of the last bit of the result.
    let last = leading.max(-126) - 23;
    let down = last - exponent;
    let fraction = if down >= 0 { magnitude.checked_shr(down.unsigned_abs()).unwrap_or(0) } else { magnitude << -down };
    let x = match leading {
        128.. => f32::INFINITY,
        // Exact: a fraction of at most 24 bits, times a power of two.
        _ => (fraction as f64 * 2f64.powi(last)) as f32,
    };
    if sum < 0 { -x } else { x }
}
