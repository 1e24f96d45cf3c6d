//! How elements lie in memory.

use bitbudget_formats::{Constants, Format, Overflow};
use bitbudget_ir::DType;

/// How a tensor's elements lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elements {
    /// FP32 numbers.
    Fp32,
    /// Codes of a format, in one or two bytes.
    Codes(Format),
    /// Whole numbers of 32 bits.
    I32,
    /// A byte each: truth values, indices.
    Bytes,
}

impl Elements {
    /// The elements of a type, in the bits of a format if they are packed.
    pub fn new(dtype: DType, format: Format, is_packed: bool) -> Elements {
        match dtype {
            DType::F32 if is_packed && format != Format::FP32 => Elements::Codes(format),
            DType::F32 => Elements::Fp32,
            DType::I32 => Elements::I32,
            DType::Bool | DType::Index8 => Elements::Bytes,
        }
    }

    /// Bits of an element.
    pub fn width(self) -> u32 {
        match self {
            Elements::Fp32 | Elements::I32 => 32,
            Elements::Codes(format) => 8 * format.bytes() as u32,
            Elements::Bytes => 8,
        }
    }

    /// C that gives an element's number from the bits of an expression.
    pub(crate) fn number(self, bits: &str) -> String {
        match self {
            Elements::Fp32 => format!("number_of({bits})"),
            Elements::Codes(format) => format!("number_of(decoded({}, {bits}))", constants(format, Overflow::Saturate)),
            Elements::I32 => format!("(float)(i32){bits}"),
            Elements::Bytes => format!("(float){bits}"),
        }
    }

    /// C that gives an element's bits from a number; what the format cannot hold becomes what the mode says.
    pub(crate) fn bits(self, number: &str, overflow: Overflow) -> String {
        match self {
            Elements::Fp32 => format!("bits_of({number})"),
            Elements::Codes(format) => format!("encoded({}, bits_of({number}))", constants(format, overflow)),
            Elements::I32 => format!("(u32)(i32){number}"),
            Elements::Bytes => format!("(u32){number}"),
        }
    }
}

fn tag(format: Format) -> String {
    format.to_string().replace('-', "_").replace('@', "at").replace(['+', '.'], "")
}

/// The name of a format's constants in C.
pub(crate) fn constants(format: Format, overflow: Overflow) -> String {
    let mode = match overflow {
        Overflow::Saturate => "saturating",
        Overflow::NotFinite => "overflowing",
    };
    format!("{mode}_{}", tag(format))
}

/// C that defines a format's constants.
pub(crate) fn definition(format: Format, overflow: Overflow) -> String {
    let c = Constants::new(format, overflow);
    let numbers = [
        c.shift,
        c.half,
        c.min_normal,
        c.subnormal_unit,
        c.overflow_threshold,
        c.underflow_threshold,
        c.overflow,
        c.overflow_code,
        c.nan_code,
        c.infinity_code,
        c.max_code,
        c.min_normal_code,
        c.sign_code,
        c.sign_shift,
        u32::from(format.ties_to_even()),
    ];
    let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:#x}u")).collect();
    let name = constants(format, overflow);
    format!("// {format}\nCONSTANT struct format {name} = {{{}}};\n", numbers.join(", "))
}
