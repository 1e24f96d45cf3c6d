//! Slices by index, sums of slices by index, and the index of the largest element.
//!
//! Indices are whole numbers held in FP32; a negative one counts from the end.

use bitbudget_formats::Counts;

use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::{Elements, Output, TILE};
use crate::tensors::parallel::with_scratch;

/// A tensor `[outer, size, inner]` whose middle axis is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Elements of the axes before it, multiplied.
    pub outer: usize,
    /// The size of the axis.
    pub size: usize,
    /// Elements of the axes behind it, multiplied.
    pub inner: usize,
}

impl Indexed {
    fn len(self, size: usize) -> usize {
        elements(&[self.outer, size, self.inner])
    }

    /// Checks that all indices are in range.
    fn check(self, kernel: &'static str, indices: &[f32]) -> Result<(), ShapeError> {
        let size = self.size as f32;
        match indices.iter().find(|index| !(-size..size).contains(*index)) {
            None => Ok(()),
            Some(wrong) => {
                Err(geometry(kernel, format!("index {wrong} is out of range: the dimension has {size} elements")))
            }
        }
    }

    fn resolved(self, index: f32) -> usize {
        if index < 0.0 { (index + self.size as f32) as usize } else { index as usize }
    }
}

/// Slices by index (ONNX `Gather`): x is `[outer, size, inner]`, y `[outer, indices, inner]`.
pub fn gather(x: Elements<'_>, of: Indexed, indices: &[f32], y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    check("gather", &[("x", x.len(), of.len(of.size)), ("y", y.len(), of.len(indices.len()))])?;
    of.check("gather", indices)?;
    Ok(y.arrange(std::iter::once(x), |start, y| {
        let mut position = 0;
        while position < y.len() {
            let (row, column) = ((start + position) / of.inner, (start + position) % of.inner);
            let (outer, index) = (row / indices.len(), of.resolved(indices[row % indices.len()]));
            let count = (of.inner - column).min(y.len() - position);
            y.take(position, count, x, (outer * of.size + index) * of.inner + column, 1);
            position += count;
        }
    }))
}

/// Elements of workspace that [`gather_grad`] needs.
pub fn gather_grad_workspace(size: usize, indices: usize) -> usize {
    size.saturating_add(indices).saturating_add(1)
}

/// Gradient of [`gather`]: dx `[outer, size, inner]` is the sum, in the order of the indices, of dy's slices `[outer, indices, inner]`
/// of each index. `workspace` has [`gather_grad_workspace`] elements.
pub fn gather_grad(
    dy: Elements<'_>,
    of: Indexed,
    indices: &[f32],
    dx: &mut Output<'_>,
    workspace: &mut [f32],
) -> Result<Counts, ShapeError> {
    let needed = gather_grad_workspace(of.size, indices.len());
    check("gather_grad", &[("dy", dy.len(), of.len(indices.len())), ("dx", dx.len(), of.len(of.size))])?;
    check("gather_grad", &[("workspace", workspace.len().min(needed), needed)])?;
    of.check("gather_grad", indices)?;
    let sorted = Sorted::new(of, indices, workspace);
    Ok(dx.fill(1, |start, dx| {
        with_scratch(TILE.min(of.inner), |scratch| {
            let mut position = 0;
            while position < dx.len() {
                let (row, column) = ((start + position) / of.inner, (start + position) % of.inner);
                let count = (of.inner - column).min(dx.len() - position).min(scratch.len());
                let sum = &mut dx[position..position + count];
                sum.fill(0.0);
                for slice in sorted.of(row % of.size) {
                    let from = (row / of.size * indices.len() + slice) * of.inner + column;
                    let slice = dy.read(from, count, scratch);
                    sum.iter_mut().zip(slice).for_each(|(sum, x)| *sum += x);
                }
                position += count;
            }
        });
    }))
}

/// The positions of each index, in order. Positions are kept as the bits of the workspace's numbers.
struct Sorted<'w> {
    /// By index, where its positions end.
    ends: &'w [f32],
    positions: &'w [f32],
}

impl<'w> Sorted<'w> {
    fn new(of: Indexed, indices: &[f32], workspace: &'w mut [f32]) -> Sorted<'w> {
        let (ends, positions) = workspace.split_at_mut(of.size + 1);
        let positions = &mut positions[..indices.len()];
        ends.fill(f32::from_bits(0));
        let add = |at: &mut f32, more: u32| {
            let before = at.to_bits();
            *at = f32::from_bits(before + more);
            before
        };
        for &index in indices {
            add(&mut ends[of.resolved(index) + 1], 1);
        }
        let mut sum = 0;
        for end in ends.iter_mut() {
            sum += end.to_bits();
            *end = f32::from_bits(sum);
        }
        // Each index's start moves to its end.
        for (position, &index) in indices.iter().enumerate() {
            let at = add(&mut ends[of.resolved(index)], 1);
            positions[at as usize] = f32::from_bits(position as u32);
        }
        Sorted { ends, positions }
    }

    fn of(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].to_bits() as usize);
        let end = self.ends[index].to_bits() as usize;
        self.positions[start..end].iter().map(|position| position.to_bits() as usize)
    }
}

/// The index of the largest of each row's elements (ONNX `ArgMax`), the first one of equal ones or the last; x is `[rows, columns]`.
pub fn arg_max(columns: usize, last: bool, x: Elements<'_>, y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    check("arg_max", &[("x", x.len(), elements(&[y.len(), columns]))])?;
    Ok(y.fill(1, |start, y| {
        with_scratch(TILE.min(columns), |scratch| {
            for (i, y) in y.iter_mut().enumerate() {
                let (mut best, mut at) = (f32::NEG_INFINITY, 0);
                for first in (0..columns).step_by(TILE) {
                    let row = x.read((start + i) * columns + first, TILE.min(columns - first), scratch);
                    for (column, &x) in row.iter().enumerate() {
                        if x > best || last && x == best {
                            (best, at) = (x, first + column);
                        }
                    }
                }
                *y = at as f32;
            }
        });
    }))
}
