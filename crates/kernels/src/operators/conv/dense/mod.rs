//! Dense and grouped convolution and its input gradient: weights times staged planes, without columns.
//!
//! A vector holds 16 neighbouring outputs of a row, or those of several images where rows are short: the planes of such
//! images are staged side by side. Every tap reads a vector at an offset of its own.

mod plan;
mod task;

use bitbudget_formats::Counts;

use crate::operators::product::{Kernel, LANES};
use crate::tensors::elements::{Elements, Output};
use crate::tensors::parallel::{sum_tasks, with_scratch};
use plan::{Class, Share};
pub(super) use plan::{Dense, as_rows};
use task::Task;

impl Dense {
    /// With the steps of its products.
    pub(super) fn ready(self) -> DensePlan {
        let classes = |in_place| -> Phases {
            let channel_len = self.channel_len(in_place);
            self.phases.iter().map(|phase| self.classes(phase, channel_len)).collect()
        };
        let classes = [classes(false), if self.may_be_in_place() { classes(true) } else { Vec::new() }];
        DensePlan { dense: self, classes }
    }
}

/// The classes of each phase.
type Phases = Vec<Vec<Class>>;

/// A product of weights and planes with its steps.
#[derive(Debug)]
pub(super) struct DensePlan {
    dense: Dense,
    /// For each phase: where planes are staged, and where products read the operand in its place.
    classes: [Phases; 2],
}

impl DensePlan {
    /// Computes the outputs; `shared` has the elements of `workspace`.
    pub(super) fn run(
        &self,
        x: Elements,
        w: Elements,
        bias: Option<Elements>,
        y: &mut Output,
        shared: &mut [f32],
    ) -> Counts {
        let DensePlan { dense, classes } = self;
        let kernel = Kernel::new(dense.weights.arithmetic);
        let in_place = dense.in_place(x);
        let classes = &classes[usize::from(in_place)];
        let out = y.shared();
        let units = dense.groups * dense.weights.panels();
        let chunk = (shared.len() / dense.weights.unit_len()).clamp(1, units);
        let mut counts = Counts::default();
        for first in (0..units).step_by(chunk) {
            let count = chunk.min(units - first);
            let packed = &mut shared[..count * dense.weights.unit_len()];
            dense.weights.pack(w, first, count, packed);
            let shares = dense.shares(first, count);
            let (tiles, packed) = (dense.tiles(), &*packed);
            // One task takes all shares of a group if it can stage their operands once.
            let once = dense.weights.elements() <= dense.staged && !in_place && tiles >= 8;
            let shares: Vec<&[Share]> = shares.chunk_by(|a, b| once && a.group == b.group).collect();
            counts += sum_tasks(tiles * shares.len(), |task| {
                let tile = dense.tile(task % tiles);
                with_scratch(dense.lens().iter().sum(), |scratch| {
                    let shares = shares[task / tiles].iter().enumerate().map(|(i, share)| {
                        let weights = &packed[(share.unit - first) * dense.weights.unit_len()..]
                            [..share.units * dense.weights.unit_len()];
                        let task = Task { plan: dense, kernel, classes, share, weights, tile, is_staged: i > 0 };
                        task.run(x, bias, &out, scratch)
                    });
                    shares.sum()
                })
            });
        }
        counts
    }
}

impl Dense {
    /// The chunk's units in shares that one task takes: each of one group.
    fn shares(&self, first: usize, count: usize) -> Vec<Share> {
        let mut shares = Vec::new();
        let mut unit = first;
        while unit < first + count {
            let (group, panel) = (unit / self.weights.panels(), unit % self.weights.panels());
            let units = self.units.min(self.weights.panels() - panel).min(first + count - unit);
            let output = panel * LANES;
            shares.push(Share {
                group,
                unit,
                units,
                output,
                outputs: (units * LANES).min(self.weights.outputs - output),
            });
            unit += units;
        }
        shares
    }
}
