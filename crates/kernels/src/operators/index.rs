//! Slices by index, sums of slices by index, and the index of the largest element.
//!
//! Indices are whole numbers held in FP32; a negative one counts from the end.

use bitbudget_formats::Counts;

use crate::error::{ShapeError, check, elements, geometry};
use crate::tensors::elements::{Elements, Output, TILE};
use crate::tensors::parallel::with_scratch;

/// A tensor `[lists, outer, size, inner]` whose third axis is indexed, by a list of indices for each element of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// The number of lists of indices.
    pub lists: usize,
    /// Elements of the axes before it, without the first, multiplied.
    pub outer: usize,
    /// The size of the axis.
    pub size: usize,
    /// Elements of the axes behind it, multiplied.
    pub inner: usize,
}

impl Indexed {
    fn len(self, size: usize) -> usize {
        elements(&[self.lists, self.outer, size, self.inner])
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

    /// The number of indices of each list.
    fn each(self, indices: &[f32]) -> usize {
        indices.len() / self.lists.max(1)
    }

    fn resolved(self, index: f32) -> usize {
        if index < 0.0 { (index + self.size as f32) as usize } else { index as usize }
    }
}

/// Slices by index (ONNX `Gather`): x is `[lists, outer, size, inner]`, y `[lists, outer, each, inner]`, where each list has so many of
/// the indices.
pub fn gather(x: Elements<'_>, of: Indexed, indices: &[f32], y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    check("gather", &[("x", x.len(), of.len(of.size)), ("y", y.len(), of.len(of.each(indices)))])?;
    of.check("gather", indices)?;
    let each = of.each(indices);
    Ok(y.arrange(std::iter::once(x), |start, y| {
        let mut position = 0;
        while position < y.len() {
            let (row, column) = ((start + position) / of.inner, (start + position) % of.inner);
            let outer = row / each;
            let index = of.resolved(indices[outer / of.outer * each + row % each]);
            let count = (of.inner - column).min(y.len() - position);
            y.take(position, count, x, (outer * of.size + index) * of.inner + column, 1);
            position += count;
        }
    }))
}

/// Elements of workspace that [`gather_grad`] needs.
pub fn gather_grad_workspace(of: Indexed, indices: usize) -> usize {
    elements(&[of.lists, of.size]).saturating_add(indices).saturating_add(1)
}

/// Gradient of [`gather`]: dx `[lists, outer, size, inner]` is the sum, in the order of the indices, of dy's slices
/// `[lists, outer, each, inner]` of each index. `workspace` has [`gather_grad_workspace`] elements.
pub fn gather_grad(
    dy: Elements<'_>,
    of: Indexed,
    indices: &[f32],
    dx: &mut Output<'_>,
    workspace: &mut [f32],
) -> Result<Counts, ShapeError> {
    let needed = gather_grad_workspace(of, indices.len());
    check("gather_grad", &[("dy", dy.len(), of.len(of.each(indices))), ("dx", dx.len(), of.len(of.size))])?;
    check("gather_grad", &[("workspace", workspace.len().min(needed), needed)])?;
    of.check("gather_grad", indices)?;
    let (sorted, each) = (Sorted::new(of, indices, workspace), of.each(indices));
    Ok(dx.fill(1, |start, dx| {
        with_scratch(TILE.min(of.inner), |scratch| {
            let mut position = 0;
            while position < dx.len() {
                let (row, column) = ((start + position) / of.inner, (start + position) % of.inner);
                let count = (of.inner - column).min(dx.len() - position).min(scratch.len());
                let sum = &mut dx[position..position + count];
                sum.fill(0.0);
                let outer = row / of.size;
                let list = outer / of.outer;
                for slice in sorted.of(list * of.size + row % of.size) {
                    let from = (outer * each + slice - list * each) * of.inner + column;
                    let slice = dy.read(from, count, scratch);
                    sum.iter_mut().zip(slice).for_each(|(sum, x)| *sum += x);
                }
                position += count;
            }
        });
    }))
}

/// The positions of each index of each list, in order. Positions are kept as the bits of the workspace's numbers.
struct Sorted<'w> {
    /// By list and index, where its positions end.
    ends: &'w [f32],
    positions: &'w [f32],
}

impl<'w> Sorted<'w> {
    fn new(of: Indexed, indices: &[f32], workspace: &'w mut [f32]) -> Sorted<'w> {
        let (ends, positions) = workspace.split_at_mut(of.lists * of.size + 1);
        let positions = &mut positions[..indices.len()];
        ends.fill(f32::from_bits(0));
        let add = |at: &mut f32, more: u32| {
            let before = at.to_bits();
            *at = f32::from_bits(before + more);
            before
        };
        let each = of.each(indices).max(1);
        let slot = |position: usize, index: f32| position / each * of.size + of.resolved(index);
        for (position, &index) in indices.iter().enumerate() {
            add(&mut ends[slot(position, index) + 1], 1);
        }
        let mut sum = 0;
        for end in ends.iter_mut() {
            sum += end.to_bits();
            *end = f32::from_bits(sum);
        }
        // Each index's start moves to its end.
        for (position, &index) in indices.iter().enumerate() {
            let at = add(&mut ends[slot(position, index)], 1);
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

/// Elements of scratch memory that each thread of [`top_k`] needs.
pub fn top_k_scratch(columns: usize) -> usize {
    columns.saturating_mul(2).saturating_add(TILE.min(columns))
}

/// The indices of the `count` largest of each row's elements in descending order (ONNX `TopK`), the first one of equal ones first; x is
/// `[rows, columns]`, y `[rows, count]`.
pub fn top_k(columns: usize, count: usize, x: Elements<'_>, y: &mut Output<'_>) -> Result<Counts, ShapeError> {
    let rows = y.len() / count.max(1);
    check("top_k", &[("x", x.len(), elements(&[rows, columns])), ("y", y.len(), elements(&[rows, count]))])?;
    if count > columns {
        return Err(geometry("top_k", format!("{count} elements of rows of {columns} are wanted")));
    }
    Ok(y.fill(count, |start, y| {
        with_scratch(top_k_scratch(columns), |scratch| {
            let (row, scratch) = scratch.split_at_mut(columns);
            let (order, scratch) = scratch.split_at_mut(columns);
            for (i, y) in y.chunks_mut(count).enumerate() {
                for first in (0..columns).step_by(TILE) {
                    let width = TILE.min(columns - first);
                    let piece = x.read((start / count + i) * columns + first, width, scratch);
                    // Zero is added because -0 is not less than 0.
                    row[first..first + width].iter_mut().zip(piece).for_each(|(row, x)| *row = x + 0.0);
                }
                order.iter_mut().enumerate().for_each(|(i, order)| *order = i as f32);
                let descending = |a: &f32, b: &f32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.total_cmp(b));
                if count < columns {
                    order.select_nth_unstable_by(count, descending);
                }
                order[..count].sort_unstable_by(descending);
                y.copy_from_slice(&order[..count]);
            }
        });
    }))
}
