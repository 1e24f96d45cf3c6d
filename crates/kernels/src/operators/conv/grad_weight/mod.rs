//! Weight gradient of dense and grouped convolution: dy times staged planes of x, summed over pixels.
//!
//! Vectors hold 16 input channels, panels 16 output channels, side by side for every pixel: both operands are transposed
//! on the way, and every tap of the kernel is an offset of its own into the same staged planes. In BF16, two images meet
//! in one dot product.

mod plan;
mod task;

use bitbudget_formats::Counts;

use crate::operators::product::LANES;
use crate::tensors::elements::{Elements, Output};
use crate::tensors::parallel::{SharedOut, for_tasks, sum_tasks, with_scratch};
pub(super) use plan::GradWeight;
use plan::Tile;
use task::Task;

impl GradWeight {
    /// With the steps of its products.
    pub(super) fn ready(self) -> GradWeightPlan {
        GradWeightPlan { steps: self.steps(), plan: self }
    }

    /// The steps of a tile's pixels: those of each tap, or the same ones for all.
    fn steps(&self) -> Vec<Vec<[u32; 2]>> {
        let pixels = 0..self.images * self.rows * self.result[1];
        let place = |k: usize| {
            let (row, column) = (k / self.result[1], k % self.result[1]);
            (row / self.rows, row % self.rows, column)
        };
        let step = |k: usize| {
            let (image, row, column) = place(k);
            let row_len = if self.columns.is_some() { self.result[1] } else { self.layout.row() };
            [k * LANES, (image * self.image_len() + row * row_len + column) * LANES].map(|offset| offset as u32)
        };
        match self.skips {
            false => vec![pixels.map(step).collect()],
            true => {
                let reaches = |tap: usize, k: usize| {
                    let [rows, columns] = self.layout.reached(place(k).1, place(k).2);
                    let (y, x) = (tap / self.kernel_width, tap % self.kernel_width);
                    rows >> y.min(63) & columns >> x.min(63) & 1 == 1
                };
                let of = |tap: usize| pixels.clone().filter(|&k| reaches(tap, k)).map(step).collect();
                (0..self.taps.len()).map(of).collect()
            }
        }
    }
}

/// A weight gradient with the steps of its products.
#[derive(Debug)]
pub(super) struct GradWeightPlan {
    plan: GradWeight,
    steps: Vec<Vec<[u32; 2]>>,
}

impl GradWeightPlan {
    /// Computes the gradient; `shared` has the elements of [`GradWeight::workspace`].
    pub(super) fn run(&self, x: Elements, dy: Elements, dw: &mut Output, shared: &mut [f32]) -> Counts {
        let GradWeightPlan { plan, steps } = self;
        let out = dw.shared();
        let (x, dy) = if plan.swapped { (dy, x) } else { (x, dy) };
        let images = plan.batch.div_ceil(plan.arithmetic.numbers());
        let per_image = plan.result[0].div_ceil(plan.rows);
        let tiles = images.div_ceil(plan.images) * per_image;
        let per_part = tiles.div_ceil(plan.parts);
        let sum = |block: usize, part: usize, sums: &mut [f32], scratch: &mut [f32]| {
            let task = Task { plan, x, dy, steps, block: plan.block(block) };
            let range = (part * per_part).min(tiles)..((part + 1) * per_part).min(tiles);
            task.sum(
                range.map(|tile| {
                    let (image, row) = (tile / per_image * plan.images, tile % per_image * plan.rows);
                    Tile {
                        image,
                        images: plan.images.min(images - image),
                        row,
                        rows: plan.rows.min(plan.result[0] - row),
                    }
                }),
                sums,
                scratch,
            );
        };
        let [.., sums_len, _] = plan.lens();
        if plan.parts == 1 {
            return sum_tasks(plan.blocks(), |block| {
                with_scratch(plan.scratch(), |scratch| {
                    let (sums, scratch) = scratch.split_at_mut(sums_len);
                    sum(block, 0, sums, scratch);
                    plan.finish(&plan.block(block), sums, scratch, &out)
                })
            });
        }
        let partial = SharedOut::new(shared);
        for_tasks(plan.blocks() * plan.parts, |task| {
            // SAFETY: a task writes its own sums.
            let sums = unsafe { partial.slice(task * sums_len, sums_len) };
            with_scratch(plan.scratch() - sums_len, |scratch| sum(task / plan.parts, task % plan.parts, sums, scratch));
        });
        sum_tasks(plan.blocks(), |block| {
            // SAFETY: every task takes the sums of its own block.
            let sums = unsafe { partial.slice(block * plan.parts * sums_len, plan.parts * sums_len) };
            let (first, others) = sums.split_at_mut(sums_len);
            for other in others.chunks(sums_len) {
                first.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
            }
            with_scratch(plan.scratch() - sums_len, |scratch| plan.finish(&plan.block(block), first, scratch, &out))
        })
    }
}
