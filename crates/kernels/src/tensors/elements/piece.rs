//! Moving elements without looking at them: codes of one format move as they are.

use bitbudget_formats::{Counts, unpack_u8, unpack_u16};

use super::special::{Special, has_special_8, has_special_16};
use super::{Elements, Output, Place, Stored, TILE, chunks, pack_8, pack_16, pieces};
use crate::tensors::parallel::{CHUNK, with_scratch};
use crate::tensors::walk::Walk;
use crate::words::simd::copy_short;

/// Codes that are gathered at a time before they are unpacked.
const GATHERED: usize = 256;

/// Successive elements of a result that are moved there: codes of the operands' own format, or FP32 numbers.
pub(crate) enum Piece<'a> {
    F32(&'a mut [f32]),
    U16(&'a mut [u16]),
    U8(&'a mut [u8]),
}

impl Piece<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Piece::F32(y) => y.len(),
            Piece::U16(y) => y.len(),
            Piece::U8(y) => y.len(),
        }
    }

    /// Makes `count` elements from `position` on zero, whose code is 0 in every format.
    pub(crate) fn zero(&mut self, position: usize, count: usize) {
        match self {
            Piece::F32(y) => y[position..position + count].fill(0.0),
            Piece::U16(y) => y[position..position + count].fill(0),
            Piece::U8(y) => y[position..position + count].fill(0),
        }
    }

    /// Moves elements `from`, `from + step` and so on of `x` to `count` elements from `position` on.
    #[inline]
    pub(crate) fn take(&mut self, position: usize, count: usize, x: Elements<'_>, from: usize, step: isize) {
        match (self, x.0) {
            (Piece::F32(y), Stored::F32(x)) => copy_steps(x, from, step, &mut y[position..position + count]),
            (Piece::U16(y), Stored::U16(_, x)) => copy_steps(x, from, step, &mut y[position..position + count]),
            (Piece::U8(y), Stored::U8(_, x)) => copy_steps(x, from, step, &mut y[position..position + count]),
            (Piece::F32(y), _) => x.unpack_steps(from, step, &mut y[position..position + count]),
            _ => debug_assert!(false, "codes only come from operands of their format"),
        }
    }
}

impl Piece<'_> {
    /// Moves the elements of `x` that a walk from `start` on names.
    pub(crate) fn take_walk(&mut self, walk: &Walk<1>, start: usize, x: Elements<'_>) {
        let ([step], len) = (walk.inner(), self.len());
        match (self, x.0) {
            (Piece::F32(y), Stored::F32(x)) if step == 1 => copy_runs(walk, start, x, y),
            (Piece::U16(y), Stored::U16(_, x)) if step == 1 => copy_runs(walk, start, x, y),
            (Piece::U8(y), Stored::U8(_, x)) if step == 1 => copy_runs(walk, start, x, y),
            (y, _) => walk.runs(start, len, |position, [from], count| y.take(position, count, x, from, step)),
        }
    }
}

/// Copies the runs of a walk. Those of small planes have loops of their own, since a copy of a constant length is a few
/// instructions.
fn copy_runs<T: Copy>(walk: &Walk<1>, start: usize, x: &[T], y: &mut [T]) {
    match walk.run() {
        4 => copy_runs_of::<4, T>(walk, start, x, y),
        16 => copy_runs_of::<16, T>(walk, start, x, y),
        64 => copy_runs_of::<64, T>(walk, start, x, y),
        _ => copy_runs_of::<0, T>(walk, start, x, y),
    }
}

/// Copies runs, whole ones by `N` elements unless `N` is 0.
fn copy_runs_of<const N: usize, T: Copy>(walk: &Walk<1>, start: usize, x: &[T], y: &mut [T]) {
    walk.runs(start, y.len(), |position, [from], count| {
        let (x, y) = (&x[from..][..count], &mut y[position..][..count]);
        match (x.first_chunk::<N>(), y.first_chunk_mut::<N>()) {
            (Some(x), Some(y)) if N > 0 => *y = *x,
            _ => copy_short(x, y),
        }
    });
}

/// Writes elements `from`, `from + step` and so on of `x` to `y`.
#[inline]
fn copy_steps<T: Copy>(x: &[T], from: usize, step: isize, y: &mut [T]) {
    match step {
        _ if y.is_empty() => {}
        1 => copy_short(&x[from..from + y.len()], y),
        0 => y.fill(x[from]),
        2.. => y.iter_mut().zip(x[from..].iter().step_by(step as usize)).for_each(|(y, x)| *y = *x),
        _ => y.iter_mut().enumerate().for_each(|(i, y)| *y = x[(from as isize + i as isize * step) as usize]),
    }
}

impl Elements<'_> {
    /// Writes the numbers at `from`, `from + step` and so on to `numbers`.
    pub(crate) fn unpack_steps(self, from: usize, step: isize, numbers: &mut [f32]) {
        match (step, self.0) {
            _ if numbers.is_empty() => {}
            (_, Stored::F32(x)) => copy_steps(x, from, step, numbers),
            (1, _) => self.unpack(from, numbers),
            (0, _) => {
                self.unpack(from, &mut numbers[..1]);
                let number = numbers[0];
                numbers.fill(number);
            }
            (_, Stored::U16(format, codes)) => {
                unpack_gathered(codes, from, step, numbers, |codes, numbers| {
                    unpack_u16(format, codes, numbers).is_ok()
                });
            }
            (_, Stored::U8(format, codes)) => {
                unpack_gathered(codes, from, step, numbers, |codes, numbers| unpack_u8(format, codes, numbers).is_ok());
            }
            (_, Stored::Derived(_)) => self.unpack_windows(from, step, numbers),
        }
    }

    /// As [`Elements::unpack_steps`], with all that lies between computed, too.
    fn unpack_windows(self, from: usize, step: isize, numbers: &mut [f32]) {
        let mut window = [0.0; GATHERED];
        let together = (GATHERED - 1) / step.unsigned_abs() + 1;
        for (block, numbers) in numbers.chunks_mut(together).enumerate() {
            let first = (from as isize + (block * together) as isize * step) as usize;
            let last = (first as isize + (numbers.len() as isize - 1) * step) as usize;
            let low = first.min(last);
            let window = &mut window[..first.abs_diff(last) + 1];
            self.unpack(low, window);
            copy_steps(window, first - low, step, numbers);
        }
    }
}

fn unpack_gathered<T: Copy + Default>(
    codes: &[T],
    from: usize,
    step: isize,
    numbers: &mut [f32],
    unpack: impl Fn(&[T], &mut [f32]) -> bool,
) {
    let mut gathered = [T::default(); GATHERED];
    for (block, numbers) in numbers.chunks_mut(GATHERED).enumerate() {
        let from = from as isize + (block * GATHERED) as isize * step;
        let gathered = &mut gathered[..numbers.len()];
        copy_steps(codes, from as usize, step, gathered);
        let unpacked = unpack(gathered, numbers);
        debug_assert!(unpacked, "widths were checked");
    }
}

impl Output<'_> {
    /// Runs `f(first index, piece)` over pieces of the result, in parallel, where `f` only moves elements of `operands`
    /// or makes zeros. Gives what rounding the operands' numbers gives; where all are codes of the result's own
    /// format, `f` moves codes.
    pub(crate) fn arrange<'a>(
        &mut self,
        mut operands: impl Iterator<Item = Elements<'a>>,
        f: impl Fn(usize, &mut Piece<'_>) + Sync + Send,
    ) -> Counts {
        let (tile, task) = (2 * TILE, 2 * CHUNK);
        match (&mut self.place, self.rounding) {
            (Place::U8(y), Some((format, overflow))) if operands.all(|x| x.holds_codes(format)) => {
                let special = Special::new(format);
                chunks(y, 2 * task, |start, y| {
                    pieces(y, 2 * tile, |at, y| {
                        f(start + at, &mut Piece::U8(y));
                        match has_special_8(special, y) {
                            true => repack(y, |codes, numbers| {
                                let unpacked = unpack_u8(format, codes, numbers);
                                debug_assert!(unpacked.is_ok(), "widths were checked");
                                pack_8(format, overflow, numbers, codes)
                            }),
                            false => Counts::default(),
                        }
                    })
                })
            }
            (Place::U16(y), Some((format, overflow))) if operands.all(|x| x.holds_codes(format)) => {
                let special = Special::new(format);
                chunks(y, task, |start, y| {
                    pieces(y, tile, |at, y| {
                        f(start + at, &mut Piece::U16(y));
                        match has_special_16(special, y) {
                            true => repack(y, |codes, numbers| {
                                let unpacked = unpack_u16(format, codes, numbers);
                                debug_assert!(unpacked.is_ok(), "widths were checked");
                                pack_16(format, overflow, numbers, codes)
                            }),
                            false => Counts::default(),
                        }
                    })
                })
            }
            _ => self.fill(1, |start, y| f(start, &mut Piece::F32(y))),
        }
    }
}

/// Rounds codes again, a tile at a time: infinities may become other codes, and what is not finite is counted.
fn repack<T>(codes: &mut [T], f: impl Fn(&mut [T], &mut [f32]) -> Counts) -> Counts {
    with_scratch(TILE, |numbers| {
        codes
            .chunks_mut(TILE)
            .map(|codes| {
                let numbers = &mut numbers[..codes.len()];
                f(codes, numbers)
            })
            .sum()
    })
}
