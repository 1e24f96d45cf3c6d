//! Tensors as they lie in memory: FP32 numbers, or codes of a format of at most 16 bits.
//!
//! Kernels compute in FP32, tile by tile: operands are unpacked into scratch memory that stays in the cache, results are
//! rounded and packed from there, with what overflows counted. No FP32 copy of a whole packed tensor exists.

use bitbudget_formats::{Counts, Format, Overflow, pack_u8, pack_u16, round_slice, unpack_u8, unpack_u16};
use rayon::prelude::*;

use crate::error::{ShapeError, check, geometry};
use crate::tensors::parallel::{CHUNK, with_scratch};

mod computed;
mod piece;
mod shared;
mod special;
mod storage;

pub(crate) use computed::{Bounds, Computed, Mask};
pub(crate) use shared::SharedOutput;
pub use storage::{ResultStorage, Storage};

/// Elements that are unpacked, computed and packed at a time (16 KiB of FP32).
pub(crate) const TILE: usize = 4 * 1024;

/// The elements of an operand.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a>(Stored<'a>, Format);

/// How the elements of an operand are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored<'a> {
    F32(&'a [f32]),
    U16(Format, &'a [u16]),
    U8(Format, &'a [u8]),
    /// Nowhere: computed as they are read.
    Derived(&'a dyn Computed),
}

impl<'a> From<&'a [f32]> for Elements<'a> {
    fn from(numbers: &'a [f32]) -> Self {
        Elements(Stored::F32(numbers), Format::FP32)
    }
}

impl<'a> Elements<'a> {
    /// FP32 numbers that are all numbers of a format.
    pub fn rounded(format: Format, numbers: &'a [f32]) -> Self {
        Elements(Stored::F32(numbers), format)
    }

    /// Codes of a format of 9 to 16 bits.
    ///
    /// # Errors
    /// If the format's elements do not take two bytes.
    pub fn u16(format: Format, codes: &'a [u16]) -> Result<Self, ShapeError> {
        check_width(format, 2)?;
        Ok(Elements(Stored::U16(format, codes), format))
    }

    /// Codes of a format of at most 8 bits.
    ///
    /// # Errors
    /// If the format's elements do not take one byte.
    pub fn u8(format: Format, codes: &'a [u8]) -> Result<Self, ShapeError> {
        check_width(format, 1)?;
        Ok(Elements(Stored::U8(format, codes), format))
    }

    /// Elements that are computed as they are read.
    pub(crate) fn computed(elements: &'a dyn Computed) -> Self {
        Elements(Stored::Derived(elements), elements.format())
    }

    /// The number of elements.
    pub fn len(self) -> usize {
        match self.0 {
            Stored::F32(x) => x.len(),
            Stored::U16(_, x) => x.len(),
            Stored::U8(_, x) => x.len(),
            Stored::Derived(x) => x.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The format whose numbers the elements are; kernels choose their arithmetic by it.
    pub fn format(self) -> Format {
        self.1
    }

    /// Writes all numbers to `numbers`, which is as long.
    ///
    /// # Errors
    /// If it is not.
    pub fn copy_to(self, numbers: &mut [f32]) -> Result<(), ShapeError> {
        check("copy", &[("numbers", numbers.len(), self.len())])?;
        self.unpack(0, numbers);
        Ok(())
    }

    /// The numbers, where they are stored as such.
    pub fn numbers(self) -> Option<&'a [f32]> {
        match self.0 {
            Stored::F32(x) => Some(x),
            _ => None,
        }
    }

    /// Whether the elements are stored as codes of a format.
    pub(crate) fn holds_codes(self, format: Format) -> bool {
        matches!(self.0, Stored::U16(own, _) | Stored::U8(own, _) if own == format)
    }

    /// Whether rounding to a format leaves the elements as they are: numbers of it that are never infinite. Those that are
    /// stored in FP32 may be.
    pub(crate) fn stays_in(self, format: Format) -> bool {
        self.storage().stays_in(format)
    }

    /// Whether both are the same elements in the same place.
    pub(crate) fn is_same(self, other: Self) -> bool {
        match (self.0, other.0) {
            (Stored::F32(a), Stored::F32(b)) => std::ptr::eq(a, b),
            (Stored::U16(f, a), Stored::U16(g, b)) => f == g && std::ptr::eq(a, b),
            (Stored::U8(f, a), Stored::U8(g, b)) => f == g && std::ptr::eq(a, b),
            (Stored::Derived(a), Stored::Derived(b)) => std::ptr::addr_eq(a, b),
            _ => false,
        }
    }

    /// The elements from `start` to `start + len`, where they are stored.
    pub(crate) fn part(self, start: usize, len: usize) -> Option<Self> {
        let range = start..start.checked_add(len)?;
        let stored = match self.0 {
            Stored::F32(x) => Stored::F32(x.get(range)?),
            Stored::U16(format, x) => Stored::U16(format, x.get(range)?),
            Stored::U8(format, x) => Stored::U8(format, x.get(range)?),
            Stored::Derived(_) => return None,
        };
        Some(Elements(stored, self.1))
    }

    /// How the elements are stored.
    pub(crate) fn stored(self) -> Stored<'a> {
        self.0
    }

    /// The numbers from `start` to `start + len`: lent where they are stored as such, else unpacked into `scratch`, which
    /// holds `len` at least.
    pub(crate) fn read<'s>(self, start: usize, len: usize, scratch: &'s mut [f32]) -> &'s [f32]
    where
        'a: 's,
    {
        if let Stored::F32(x) = self.0 {
            return &x[start..start + len];
        }
        let scratch = &mut scratch[..len];
        self.unpack(start, scratch);
        scratch
    }

    /// Writes the numbers from `start` on to `numbers`, as many as it holds.
    pub(crate) fn unpack(self, start: usize, numbers: &mut [f32]) {
        let end = start + numbers.len();
        let unpacked = match self.0 {
            Stored::F32(x) => {
                numbers.copy_from_slice(&x[start..end]);
                Ok(())
            }
            Stored::U16(format, codes) => unpack_u16(format, &codes[start..end], numbers),
            Stored::U8(format, codes) => unpack_u8(format, &codes[start..end], numbers),
            Stored::Derived(x) => {
                x.unpack(start, numbers);
                Ok(())
            }
        };
        debug_assert!(unpacked.is_ok(), "widths were checked");
    }
}

fn check_width(format: Format, bytes: usize) -> Result<(), ShapeError> {
    match format.bytes() == bytes {
        true => Ok(()),
        false => Err(geometry("elements", format!("{format} does not take {bytes} byte(s) an element"))),
    }
}

/// Where a kernel's result goes, and how it is rounded on the way.
#[derive(Debug)]
pub struct Output<'a> {
    place: Place<'a>,
    rounding: Option<(Format, Overflow)>,
}

#[derive(Debug)]
enum Place<'a> {
    F32(&'a mut [f32]),
    U16(&'a mut [u16]),
    U8(&'a mut [u8]),
}

impl<'a> From<&'a mut [f32]> for Output<'a> {
    /// FP32 numbers that are not rounded.
    fn from(numbers: &'a mut [f32]) -> Self {
        Output { place: Place::F32(numbers), rounding: None }
    }
}

impl<'a> Output<'a> {
    /// FP32 numbers that are rounded to a format but not packed.
    pub fn rounded(format: Format, overflow: Overflow, numbers: &'a mut [f32]) -> Self {
        Output { place: Place::F32(numbers), rounding: Some((format, overflow)) }
    }

    /// Codes of a format of 9 to 16 bits.
    ///
    /// # Errors
    /// If the format's elements do not take two bytes.
    pub fn u16(format: Format, overflow: Overflow, codes: &'a mut [u16]) -> Result<Self, ShapeError> {
        check_width(format, 2)?;
        Ok(Output { place: Place::U16(codes), rounding: Some((format, overflow)) })
    }

    /// Codes of a format of at most 8 bits.
    ///
    /// # Errors
    /// If the format's elements do not take one byte.
    pub fn u8(format: Format, overflow: Overflow, codes: &'a mut [u8]) -> Result<Self, ShapeError> {
        check_width(format, 1)?;
        Ok(Output { place: Place::U8(codes), rounding: Some((format, overflow)) })
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.place {
            Place::F32(y) => y.len(),
            Place::U16(y) => y.len(),
            Place::U8(y) => y.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same place under a shorter loan.
    pub fn reborrow(&mut self) -> Output<'_> {
        let place = match &mut self.place {
            Place::F32(y) => Place::F32(y),
            Place::U16(y) => Place::U16(y),
            Place::U8(y) => Place::U8(y),
        };
        Output { place, rounding: self.rounding }
    }

    /// The numbers, where nothing rounds them.
    pub fn numbers_mut(&mut self) -> Option<&mut [f32]> {
        match (&mut self.place, self.rounding) {
            (Place::F32(y), None) => Some(y),
            _ => None,
        }
    }

    /// Writes numbers that were computed elsewhere, rounded and packed.
    ///
    /// # Errors
    /// If they are not as many as the elements.
    pub fn put(&mut self, numbers: &[f32]) -> Result<Counts, ShapeError> {
        check("put", &[("numbers", numbers.len(), self.len())])?;
        Ok(self.fill(1, |start, y| y.copy_from_slice(&numbers[start..start + y.len()])))
    }

    /// Runs `f(first index, numbers)` over pieces of the result, each of whole rows of `row` elements and about a tile
    /// long, in parallel; then rounds and packs them. Pieces do not depend on the number of threads.
    pub(crate) fn fill(&mut self, row: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) -> Counts {
        let row = row.max(1);
        let tile = (TILE / row).max(1) * row;
        self.fill_tiles(tile, (CHUNK / tile).max(1) * tile, f)
    }

    /// As [`Output::fill`], over tasks of `task` elements that are rounded and packed by tiles of `tile`; results that
    /// nothing rounds are computed a task at a time.
    pub(crate) fn fill_tiles(
        &mut self,
        tile: usize,
        task: usize,
        f: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) -> Counts {
        let (tile, task) = (tile.max(1), task.max(1));
        let rounding = self.rounding;
        match &mut self.place {
            Place::F32(y) => chunks(y, task, |start, y| match rounding {
                None => {
                    f(start, y);
                    Counts::default()
                }
                Some((format, overflow)) => pieces(y, tile, |at, y| {
                    f(start + at, y);
                    round_slice(format, overflow, y)
                }),
            }),
            Place::U16(y) => chunks(y, task, |start, y| {
                with_scratch(tile, |scratch| {
                    pieces(y, tile, |at, y| {
                        let numbers = &mut scratch[..y.len()];
                        f(start + at, numbers);
                        rounding.map_or(Counts::default(), |(format, overflow)| pack_16(format, overflow, numbers, y))
                    })
                })
            }),
            Place::U8(y) => chunks(y, task, |start, y| {
                with_scratch(tile, |scratch| {
                    pieces(y, tile, |at, y| {
                        let numbers = &mut scratch[..y.len()];
                        f(start + at, numbers);
                        rounding.map_or(Counts::default(), |(format, overflow)| pack_8(format, overflow, numbers, y))
                    })
                })
            }),
        }
    }
}

fn pack_16(format: Format, overflow: Overflow, numbers: &[f32], codes: &mut [u16]) -> Counts {
    let packed = pack_u16(format, overflow, numbers, codes);
    debug_assert!(packed.is_ok(), "widths were checked");
    packed.unwrap_or_default()
}

fn pack_8(format: Format, overflow: Overflow, numbers: &[f32], codes: &mut [u8]) -> Counts {
    let packed = pack_u8(format, overflow, numbers, codes);
    debug_assert!(packed.is_ok(), "widths were checked");
    packed.unwrap_or_default()
}

/// The sum of `f(first index, chunk)` over chunks of `len` elements, in parallel.
fn chunks<T: Send>(y: &mut [T], len: usize, f: impl Fn(usize, &mut [T]) -> Counts + Sync + Send) -> Counts {
    if y.len() <= len {
        return if y.is_empty() { Counts::default() } else { f(0, y) };
    }
    y.par_chunks_mut(len).enumerate().map(|(i, y)| f(i * len, y)).sum()
}

/// The sum of `f(first index, piece)` over pieces of `len` elements.
fn pieces<T>(y: &mut [T], len: usize, mut f: impl FnMut(usize, &mut [T]) -> Counts) -> Counts {
    y.chunks_mut(len).enumerate().map(|(i, y)| f(i * len, y)).sum()
}
