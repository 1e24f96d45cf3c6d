//! The tables by which chains over one-byte codes go: what a chain gives for every code, by running it on all of them.

use bitbudget_formats::{Format, Overflow};

use super::fused::{Fused, Storages};
use super::part::{ChainData, ChainOperand, PlannedOperand, PlannedPart};
use super::plan::{Plan, Values};
use super::run::run_plan;
use crate::elementwise::function::Function;
use crate::tensors::elements::{Elements, Output, ResultStorage, SharedOutput, Storage};
use crate::words::simd::multiversion;

/// Codes of one byte.
pub(super) const CODES: usize = 256;

/// The tables of all channels.
pub(super) struct Tables {
    /// For each stored part its output and its codes.
    pub(super) outputs: Vec<(usize, Vec<u8>)>,
    /// For each code the bits of `counted`.
    pub(super) flags: Vec<u8>,
    /// For each bit the counts that it stands for: parts and kinds.
    pub(super) counted: Vec<Vec<(usize, Kind)>>,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Overflow,
    Underflow,
    NotFinite,
}

/// A chain that runs on all codes of each channel, which are its last tensor but for those that are added.
pub(super) struct Every {
    plan: Plan,
    fused: Option<Fused>,
    format: Format,
    codes: Vec<u8>,
}

impl Every {
    pub(super) fn new(channels: usize, parts: &[PlannedPart], storages: Storages<'_>, format: Format) -> Every {
        let plan = Plan::new([1, channels, CODES], parts, storages.tensors, storages.outputs);
        let fused = Fused::new(&plan.tiles, parts, storages);
        Every { plan, fused, format, codes: (0..channels * CODES).map(|i| i as u8).collect() }
    }

    /// Runs the chain with the tensors of another one, all codes, and `more`.
    pub(super) fn run(&self, values: &Values<'_>, more: &[f32], outputs: &mut [Output<'_>]) -> Option<()> {
        let mut tensors: Vec<Elements<'_>> = values.tensors.clone();
        tensors.extend([Elements::u8(self.format, &self.codes).ok()?, Elements::from(more)]);
        let values = self.plan.bind(ChainData { tensors, scalars: values.scalars.clone() });
        let places: Vec<SharedOutput> = outputs.iter_mut().map(Output::shared).collect();
        run_plan(&self.plan, self.fused.as_ref(), &values, &places);
        Some(())
    }
}

/// Whether what parts give for a code depends on the code only.
pub(super) fn are_fixed(parts: &[PlannedPart]) -> bool {
    let value = |operand: &PlannedOperand| matches!(operand, ChainOperand::Channel(_) | ChainOperand::Scalar(_));
    !parts.iter().flat_map(|part| &part.operands).any(value)
}

/// Values where none matter.
pub(super) fn nothing(storages: Storages<'_>) -> Values<'static> {
    let tensors = storages.tensors.iter().map(|_| Elements::from([].as_slice())).collect();
    Values::of(ChainData { tensors, scalars: Vec::new() })
}

/// The maker of a chain's tables.
pub(super) struct Maker {
    /// How each part rounds.
    pub(super) parts: Vec<Option<(Format, Overflow)>>,
    /// The outputs that are stored, and how these are rounded.
    stored: Vec<(usize, (Format, Overflow))>,
    /// Every part in two: what it computes, which is kept for the counts, and the rounding of that.
    doubled: Every,
    size: usize,
}

impl Maker {
    /// None if an output is not rounded. With `by_class`, the second operand has a number for each of two channels.
    pub(super) fn new(
        channels: usize,
        parts: &[PlannedPart],
        format: Format,
        by_class: bool,
        storages: Storages<'_>,
    ) -> Option<Self> {
        let (all, numbers) = (storages.tensors.len(), storages.tensors.len() + 1);
        let outputs = parts.iter().filter_map(|part| Some((part.output?, part.rounding)));
        let stored: Option<Vec<_>> = outputs.map(|(output, rounding)| Some((output, rounding?))).collect();
        let stored = stored?;
        let mut doubled = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let operands = part.operands.iter().enumerate().map(|(k, operand)| match *operand {
                ChainOperand::Elements(_) | ChainOperand::Output(_) if by_class && k == 1 => {
                    ChainOperand::Channel(numbers)
                }
                ChainOperand::Elements(_) | ChainOperand::Output(_) => ChainOperand::Elements(all),
                ChainOperand::Part(j) => ChainOperand::Part(2 * j + 1),
                other => other,
            });
            doubled.push(PlannedPart {
                function: part.function.clone(),
                operands: operands.collect(),
                rounding: None,
                output: Some(i),
            });
            let place = stored.iter().position(|(output, _)| Some(*output) == part.output);
            doubled.push(PlannedPart {
                function: Function::Copy,
                operands: vec![ChainOperand::Part(2 * i)],
                rounding: part.rounding,
                output: place.map(|place| parts.len() + place),
            });
        }
        let more = [Storage::Codes(format), Storage::Numbers(Format::FP32)];
        let tensors: Vec<Storage> = storages.tensors.iter().copied().chain(more).collect();
        let numbers = parts.iter().map(|_| ResultStorage { is_packed: false, rounding: None });
        let codes = stored.iter().map(|&(_, rounding)| ResultStorage { is_packed: true, rounding: Some(rounding) });
        let outputs: Vec<ResultStorage> = numbers.chain(codes).collect();
        let doubled = Every::new(channels, &doubled, Storages { tensors: &tensors, outputs: &outputs }, format);
        let parts = parts.iter().map(|part| part.rounding).collect();
        Some(Maker { parts, stored, doubled, size: channels * CODES })
    }

    /// Runs the chain on all codes, for each channel, or for both numbers of `by_class`; none if more than eight counts differ.
    pub(super) fn tables(&self, values: &Values<'_>, by_class: &[f32]) -> Option<Tables> {
        let mut numbers = vec![vec![0.0f32; self.size]; self.parts.len()];
        let mut stored: Vec<(usize, Vec<u8>)> =
            self.stored.iter().map(|&(output, _)| (output, vec![0; self.size])).collect();
        let mut outputs: Vec<Output<'_>> = numbers.iter_mut().map(|numbers| numbers.as_mut_slice().into()).collect();
        for ((_, codes), &(_, (format, overflow))) in stored.iter_mut().zip(&self.stored) {
            outputs.push(Output::u8(format, overflow, codes).ok()?);
        }
        self.doubled.run(values, by_class, &mut outputs)?;
        drop(outputs);
        let rounded = self.parts.iter().zip(&numbers).enumerate();
        let rounded = rounded.filter_map(|(i, (rounding, numbers))| rounding.map(|(format, _)| (i, format, numbers)));
        let mut columns: Vec<Vec<u8>> = Vec::new();
        let mut counted: Vec<Vec<(usize, Kind)>> = Vec::new();
        for (part, format, numbers) in rounded {
            for kind in [Kind::Overflow, Kind::Underflow, Kind::NotFinite] {
                let column = column(kind, format, numbers);
                if is_zero(&column) {
                    continue;
                }
                match columns.iter().position(|other| *other == column) {
                    Some(bit) => counted[bit].push((part, kind)),
                    None => {
                        columns.push(column);
                        counted.push(vec![(part, kind)]);
                    }
                }
            }
        }
        if columns.len() > 8 {
            return None;
        }
        let mut flags = vec![0; self.size];
        for (bit, column) in columns.iter().enumerate() {
            set(bit, column, &mut flags);
        }
        Some(Tables { outputs: stored, flags, counted })
    }
}

multiversion! {
    /// For each number whether rounding it to a format counts it.
    fn column(kind: Kind, format: Format, numbers: &[f32]) -> Vec<u8> {
        let (most, least) = match format == Format::FP32 {
            true => (f32::INFINITY, 0.0),
            false => (format.overflow_threshold(), format.underflow_threshold()),
        };
        match kind {
            Kind::Overflow => flags(numbers, |x| (x >= most) | x.is_nan()),
            Kind::Underflow => flags(numbers, |x| (x < least) & (x > 0.0)),
            Kind::NotFinite => flags(numbers, |x| (x >= f32::INFINITY) | x.is_nan()),
        }
    }
}

multiversion! {
    fn is_zero(column: &[u8]) -> bool {
        column.iter().fold(0, |any, flag| any | flag) == 0
    }
}

multiversion! {
    /// Sets a bit where a column has a flag.
    fn set(bit: usize, column: &[u8], flags: &mut [u8]) {
        flags.iter_mut().zip(column).for_each(|(flags, flag)| *flags |= flag << bit);
    }
}

#[inline(always)]
fn flags(numbers: &[f32], of_magnitude: impl Fn(f32) -> bool) -> Vec<u8> {
    numbers.iter().map(|x| u8::from(of_magnitude(x.abs()))).collect()
}
