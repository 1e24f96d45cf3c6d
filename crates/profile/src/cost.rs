//! The effect of rounding one tensor, over all batches.

use crate::file::{FormatProfile, TensorProfile};
use bitbudget_formats::{Counts, Format, Overflow, round_slice};
use bitbudget_precision::Kind;

/// Elements that are looked at together, so that they stay in a core's cache.
const TILE: usize = 4096;

/// A tensor in one batch.
pub(crate) struct Sample<'a> {
    /// The numbers that are rounded: the tensor, or the contributions whose sum is the gradient, times the loss scale.
    pub(crate) parts: Vec<&'a [f32]>,
    /// The inverse of the loss scale; 1 for tensors that are not gradients.
    pub(crate) unscale: f64,
    /// By how much the loss changes per change of an element; nothing where it does not.
    pub(crate) effect: Option<&'a [f32]>,
}

impl Sample<'_> {
    /// The parts with 0 in place of infinities that have no effect on the loss, as masked scores have none; nothing if there are no such.
    fn without_masks(&self) -> Option<Vec<Vec<f32>>> {
        let is_mask =
            |part: &[f32], at: usize| part[at].is_infinite() && self.effect.is_none_or(|effect| effect[at] == 0.0);
        let shown = |part: &&[f32]| (0..part.len()).map(|at| if is_mask(part, at) { 0.0 } else { part[at] }).collect();
        let has_masks = self.parts.iter().any(|part| (0..part.len()).any(|at| is_mask(part, at)));
        has_masks.then(|| self.parts.iter().map(shown).collect())
    }
}

/// Sums over the batches so far.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    min: f64,
    max: f64,
    magnitudes: f64,
    elements: u64,
    /// How many numbers were rounded.
    rounded: u64,
    formats: Vec<FormatSums>,
}

#[derive(Clone, Debug)]
struct FormatSums {
    format: Format,
    counts: Counts,
    cost: f64,
}

/// The sums that the cost of one batch is made of.
#[derive(Clone, Copy, Default)]
struct Change {
    mean: f64,
    squares: f64,
}

impl Sums {
    pub(crate) fn new(formats: &[Format]) -> Sums {
        let sums = |&format: &Format| FormatSums { format, counts: Counts::default(), cost: 0.0 };
        let formats = formats.iter().map(sums).collect();
        Sums { min: f64::INFINITY, max: f64::NEG_INFINITY, magnitudes: 0.0, elements: 0, rounded: 0, formats }
    }

    /// Adds a batch of a tensor of the forward pass, in which infinities may be masks; whether all other numbers of it are finite.
    pub(crate) fn add_forward(&mut self, sample: &Sample<'_>) -> bool {
        match sample.without_masks() {
            Some(parts) => self.add(&Sample { parts: parts.iter().map(Vec::as_slice).collect(), ..*sample }),
            None => self.add(sample),
        }
    }

    /// Adds a batch; whether all numbers of it are finite.
    pub(crate) fn add(&mut self, sample: &Sample<'_>) -> bool {
        let elements = sample.parts.first().map_or(0, |part| part.len());
        let mut changes = vec![Change::default(); self.formats.len()];
        let (mut whole, mut rounded, mut error) = (Vec::new(), Vec::new(), Vec::new());
        for start in (0..elements).step_by(TILE) {
            let tile = start..elements.min(start + TILE);
            self.look(sample, tile.clone(), &mut whole);
            for (sums, change) in self.formats.iter_mut().zip(&mut changes) {
                error.clear();
                error.resize(tile.len(), 0.0);
                for part in &sample.parts {
                    rounded.clear();
                    rounded.extend_from_slice(&part[tile.clone()]);
                    sums.counts += round_slice(sums.format, Overflow::Saturate, &mut rounded);
                    for ((error, &y), &x) in error.iter_mut().zip(&rounded).zip(&part[tile.clone()]) {
                        *error += f64::from(y) - f64::from(x);
                    }
                }
                let Some(effect) = sample.effect else { continue };
                // The effect of a gradient's rounding is a difference, of infinities where a mask is, whose gradient is 0.
                for (&error, &effect) in error.iter().zip(&effect[tile.clone()]).filter(|&(&error, _)| error != 0.0) {
                    let change_of_one = error * sample.unscale * f64::from(effect);
                    change.mean += change_of_one;
                    change.squares += change_of_one * change_of_one;
                }
            }
        }
        self.elements += elements as u64;
        self.rounded += (elements * sample.parts.len()) as u64;
        for (sums, Change { mean, squares }) in self.formats.iter_mut().zip(changes) {
            sums.cost += mean * mean + squares;
        }
        self.magnitudes.is_finite() && self.formats.iter().all(|sums| sums.cost.is_finite())
    }

    /// Range and magnitude of a tile of the whole tensor.
    fn look(&mut self, sample: &Sample<'_>, tile: std::ops::Range<usize>, whole: &mut Vec<f64>) {
        whole.clear();
        whole.resize(tile.len(), 0.0);
        for part in &sample.parts {
            whole.iter_mut().zip(&part[tile.clone()]).for_each(|(sum, &x)| *sum += f64::from(x) * sample.unscale);
        }
        for &x in whole.iter() {
            self.min = self.min.min(x);
            self.max = self.max.max(x);
            self.magnitudes += x.abs();
        }
    }

    /// The averages; all zero for a tensor that was never there.
    pub(crate) fn finish(&self, kind: Kind, node: u32, name: &str, elements: u64, batches: usize) -> TensorProfile {
        let share = |count: u64| count as f64 / self.rounded.max(1) as f64;
        let row = |sums: &FormatSums| FormatProfile {
            format: sums.format,
            overflow: share(sums.counts.overflow),
            underflow: share(sums.counts.underflow),
            cost: sums.cost / batches.max(1) as f64,
        };
        let there = self.elements > 0;
        TensorProfile {
            kind,
            node,
            name: name.to_string(),
            elements,
            min: if there { self.min } else { 0.0 },
            max: if there { self.max } else { 0.0 },
            mean_abs: self.magnitudes / self.elements.max(1) as f64,
            formats: self.formats.iter().map(row).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitbudget_testkit::numbers;

    const FORMATS: [Format; 3] = [Format::FP32, Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD];

    fn scaled(count: usize, seed: usize, factor: f32) -> Vec<f32> {
        numbers(count, seed).iter().map(|x| x * x * x * factor).collect()
    }

    #[test]
    fn sums_over_tiles_are_those_of_single_elements() {
        // Two contributions of more than one tile, so large and small that both ends of the formats are met.
        let count = TILE + 37;
        let (a, b, effect) = (scaled(count, 1, 1e7), scaled(count, 2, 1e-3), numbers(count, 3));
        let mut sums = Sums::new(&FORMATS);
        for _ in 0..2 {
            assert!(sums.add(&Sample { parts: vec![&a, &b], unscale: 0.25, effect: Some(&effect) }));
        }
        let profile = sums.finish(Kind::OutputGradient, 3, "y", count as u64, 2);
        let whole: Vec<f64> = a.iter().zip(&b).map(|(&a, &b)| (f64::from(a) + f64::from(b)) / 4.0).collect();
        let near = |a: f64, e: f64| assert!((a - e).abs() <= 1e-12 * e.abs(), "{a}, not {e}");
        near(profile.max, whole.iter().copied().fold(f64::MIN, f64::max));
        near(profile.min, whole.iter().copied().fold(f64::MAX, f64::min));
        near(profile.mean_abs, whole.iter().map(|x| x.abs()).sum::<f64>() / count as f64);
        for (row, format) in profile.formats.iter().zip(FORMATS) {
            let round = |x: f32| {
                let mut x = [x];
                round_slice(format, Overflow::Saturate, &mut x);
                f64::from(x[0])
            };
            let error = |i: usize| (round(a[i]) - f64::from(a[i]) + round(b[i]) - f64::from(b[i])) / 4.0;
            let change: Vec<f64> = (0..count).map(|i| error(i) * f64::from(effect[i])).collect();
            let (mean, squares) = (change.iter().sum::<f64>(), change.iter().map(|c| c * c).sum::<f64>());
            near(row.cost, mean * mean + squares);
            let all = || a.iter().chain(&b).map(|x| x.abs());
            let (over, under) = (format.overflow_threshold(), format.underflow_threshold());
            near(row.overflow, all().filter(|&x| x >= over).count() as f64 / (2 * count) as f64);
            near(row.underflow, all().filter(|&x| x > 0.0 && x < under).count() as f64 / (2 * count) as f64);
        }
        let [exact, forward, backward] = &profile.formats[..] else { unreachable!() };
        assert_eq!((exact.cost, exact.overflow, exact.underflow), (0.0, 0.0, 0.0));
        assert!(forward.overflow > 0.0 && forward.underflow > 0.0 && forward.cost > 0.0 && backward.cost > 0.0);
    }

    #[test]
    fn what_nothing_reads_costs_nothing() {
        let x = scaled(100, 1, 1e7);
        let mut sums = Sums::new(&FORMATS);
        assert!(sums.add(&Sample { parts: vec![&x], unscale: 1.0, effect: None }));
        let profile = sums.finish(Kind::Output, 0, "x", 100, 1);
        assert!(profile.formats[1].overflow > 0.0);
        assert_eq!(profile.worst(), 0.0);
        let never = Sums::new(&FORMATS).finish(Kind::OutputGradient, 0, "x", 100, 1);
        assert_eq!((never.min, never.max, never.mean_abs, never.worst()), (0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn masks_cost_nothing_and_are_no_overflows() {
        let (scores, effect) = ([1.1, f32::NEG_INFINITY, 0.7], [0.5, 0.0, -0.25]);
        let [mut masked, mut alone] = [Sums::new(&FORMATS), Sums::new(&FORMATS)];
        assert!(masked.add_forward(&Sample { parts: vec![&scores], unscale: 1.0, effect: Some(&effect) }));
        assert!(alone.add(&Sample { parts: vec![&[1.1, 0.0, 0.7]], unscale: 1.0, effect: Some(&effect) }));
        let [masked, alone] = [masked, alone].map(|sums| sums.finish(Kind::Output, 0, "x", 3, 1));
        assert_eq!(masked, alone);
        assert!(masked.formats[1].cost > 0.0 && masked.formats[1].overflow == 0.0);
        // The gradient there is 0, and its effect a difference of infinities.
        let (gradient, effect) = ([0.3, 0.0, 0.1], [0.5, f32::NAN, 0.5]);
        assert!(Sums::new(&FORMATS).add(&Sample { parts: vec![&gradient], unscale: 1.0, effect: Some(&effect) }));
        // An infinity that has an effect is none.
        let effect = [0.5, 0.1, -0.25];
        assert!(!Sums::new(&FORMATS).add_forward(&Sample {
            parts: vec![&scores],
            unscale: 1.0,
            effect: Some(&effect)
        }));
    }

    #[test]
    fn what_is_not_finite_is_seen() {
        let effect = [1.0; 2];
        for x in [f32::NAN, f32::INFINITY] {
            for (parts, effect) in [([x, 1.0], effect), ([1.1, 1.1], [1.0, x])] {
                let sample = Sample { parts: vec![&parts], unscale: 1.0, effect: Some(&effect) };
                assert!(!Sums::new(&FORMATS).add(&sample));
            }
        }
    }
}
