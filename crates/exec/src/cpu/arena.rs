//! The block of memory in which a step's tensors lie.

use crate::error::Fault;
use bitbudget_select::{Cpu, Target};
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Tensor};
use std::cell::RefCell;
use std::ops::Range;

/// A block of memory that grows to the largest program that ran.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    block: Option<Tensor>,
    bytes: usize,
}

impl Arena {
    /// Makes room for `bytes`.
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<(), Fault> {
        if bytes > self.bytes {
            // The old block goes before the new one comes.
            self.block = None;
            self.bytes = 0;
            let words = bytes.saturating_add(Cpu.alignment()).div_ceil(size_of::<u32>());
            // candle aborts the process where there is no memory.
            Vec::<u32>::new().try_reserve_exact(words).map_err(|_| Fault::Memory(bytes))?;
            self.block = Some(Tensor::zeros(words, DType::U32, &Device::Cpu)?);
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lends the block, which starts at a multiple of a cache line, to `f`.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut [u8]) -> Result<R, Fault>) -> Result<R, Fault> {
        let Some(block) = &self.block else { return f(&mut []) };
        overwrite(block, |storage| {
            let CpuStorage::U32(words) = storage else {
                return Err(Fault::Operands("the arena is not in CPU memory".into()));
            };
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
            let start = bytes.as_ptr().align_offset(Cpu.alignment());
            match bytes.get_mut(start..start.saturating_add(self.bytes)) {
                Some(bytes) => f(bytes),
                None => Err(Fault::Operands("the arena cannot be aligned".into())),
            }
        })
    }
}

/// Lends the storage of a tensor in CPU memory to `f`.
pub(super) fn overwrite<R>(tensor: &Tensor, f: impl FnOnce(&mut CpuStorage) -> Result<R, Fault>) -> Result<R, Fault> {
    let (f, result) = (RefCell::new(Some(f)), RefCell::new(None));
    let write = |storage: &mut CpuStorage| {
        if let Some(f) = f.borrow_mut().take() {
            *result.borrow_mut() = Some(f(storage));
        }
    };
    tensor.inplace_op1(&Write(&write))?;
    result.into_inner().unwrap_or_else(|| Err(Fault::Operands("a tensor was not lent".into())))
}

/// A candle operation that overwrites a tensor's storage.
struct Write<'f>(&'f dyn Fn(&mut CpuStorage));

impl InplaceOp1 for Write<'_> {
    fn name(&self) -> &'static str {
        "bitbudget"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        (self.0)(storage);
        Ok(())
    }
}

/// Disjoint pieces of a block that are written, and the rest, which is read.
pub(super) struct Split<'a> {
    /// The pieces in the order in which they were asked for.
    pub(super) written: Vec<&'a mut [u8]>,
    rest: Vec<(usize, &'a [u8])>,
}

impl<'a> Split<'a> {
    /// Cuts `ranges` out of a block.
    pub(super) fn new(mut block: &'a mut [u8], ranges: &[Range<usize>]) -> Result<Split<'a>, Fault> {
        let mut order: Vec<usize> = (0..ranges.len()).collect();
        order.sort_by_key(|&i| ranges[i].start);
        let mut written: Vec<(usize, &mut [u8])> = Vec::with_capacity(ranges.len());
        let (mut rest, mut at) = (Vec::with_capacity(ranges.len() + 1), 0);
        for i in order {
            let range = &ranges[i];
            if range.start < at || range.end < range.start || range.end - at > block.len() {
                return Err(Fault::Operands(format!("results overlap at {range:?} or leave the arena")));
            }
            let (before, tail) = block.split_at_mut(range.start - at);
            let (piece, tail) = tail.split_at_mut(range.end - range.start);
            rest.push((at, &*before));
            written.push((i, piece));
            (block, at) = (tail, range.end);
        }
        rest.push((at, &*block));
        written.sort_by_key(|(i, _)| *i);
        Ok(Split { written: written.into_iter().map(|(_, piece)| piece).collect(), rest })
    }

    /// A piece that nothing writes.
    pub(super) fn read(&self, range: &Range<usize>) -> Result<&'a [u8], Fault> {
        let found = self
            .rest
            .iter()
            .find_map(|(start, bytes)| bytes.get(range.start.checked_sub(*start)?..range.end.checked_sub(*start)?));
        found.ok_or_else(|| Fault::Operands(format!("an operand at {range:?} is overwritten, or outside the arena")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, Split};

    #[test]
    fn what_no_memory_can_hold_is_an_error() {
        let mut arena = Arena::default();
        let error = arena.reserve(usize::MAX / 4).unwrap_err().to_string();
        assert!(error.contains("MiB cannot be had") && error.contains("--budget"), "{error}");
        assert_eq!(arena.bytes(), 0);
    }

    #[test]
    fn pieces_are_cut_out_and_the_rest_can_be_read() {
        let mut block: Vec<u8> = (0..20).collect();
        let mut split = Split::new(&mut block, &[12..15, 3..5]).map_err(|e| e.to_string()).unwrap();
        assert_eq!((&*split.written[0], &*split.written[1]), (&[12, 13, 14][..], &[3, 4][..]));
        split.written[1][0] = 9;
        assert_eq!(split.read(&(0..3)).ok(), Some(&[0, 1, 2][..]));
        assert_eq!(split.read(&(5..12)).ok().map(<[u8]>::len), Some(7));
        assert_eq!(split.read(&(15..20)).ok().map(<[u8]>::len), Some(5));
        for bad in [2..4, 3..5, 14..16, 18..21, 40..41] {
            assert!(split.read(&bad).is_err(), "{bad:?}");
        }
        for bad in [[3..5, 4..6], [0..1, 18..21], [0..1, std::ops::Range { start: 4, end: 2 }]] {
            assert!(Split::new(&mut [0; 20], &bad).is_err(), "{bad:?}");
        }
    }
}
