//! The BF16 numbers of all codes of the formats of at most 8 bits.

use std::sync::OnceLock;

use crate::counts::Overflow;
use crate::element::{Constants, decode};
use crate::format::{Encoding, Format};

/// The BF16 number of each byte in a format of at most 8 bits, all of which are exact in BF16.
#[derive(Debug)]
pub(crate) struct Table {
    format: Format,
    /// The numbers' lower bytes.
    pub(crate) low: [u8; 256],
    /// The numbers' upper bytes.
    pub(crate) high: [u8; 256],
    next: OnceLock<Box<Table>>,
}

/// The tables of the formats used so far, each built once, in a list that only grows.
static FIRST: OnceLock<Box<Table>> = OnceLock::new();

impl Table {
    /// The table of a format.
    pub(crate) fn of(format: Format) -> &'static Table {
        let mut place = &FIRST;
        loop {
            let table = place.get_or_init(|| Box::new(Table::new(format)));
            if table.format == format {
                return table;
            }
            place = &table.next;
        }
    }

    fn new(format: Format) -> Table {
        // Decoding does not depend on the overflow mode.
        let constants = Constants::new(format, Overflow::Saturate);
        let number = |code: usize| match format.encoding {
            Encoding::Paper => decode::<false>(&constants, code as u32),
            _ => decode::<true>(&constants, code as u32),
        };
        Table {
            format,
            low: std::array::from_fn(|code| (number(code).to_bits() >> 16) as u8),
            high: std::array::from_fn(|code| (number(code).to_bits() >> 24) as u8),
            next: OnceLock::new(),
        }
    }
}
