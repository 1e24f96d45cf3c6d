//! A budget, and how an assignment that fits it is searched for.

use crate::limit::Limit;
use bitbudget_formats::Format;
use bitbudget_precision::{Formats, Kind, PinFormats};
use bitbudget_profile::Profile;
use bitbudget_solver::Engine;
use std::fmt;
use std::str::FromStr;

/// The largest weight of time, by which a percent of a step's time costs 10,000 times what rounding everything most coarsely does.
pub const LARGEST_TIME_WEIGHT: f64 = 1e6;

/// The longest search in seconds, a day.
pub const LONGEST_SEARCH: f64 = 86_400.0;

/// A memory budget, and how an assignment that fits it is searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// How much.
    pub limit: Limit,
    /// Threads of the run, whose scratch memory counts.
    pub threads: usize,
    /// Formats that parameters and outputs may have.
    pub forward: Vec<Format>,
    /// Formats that gradients may have.
    pub backward: Vec<Format>,
    /// Whether tensors may be recomputed.
    pub recompute: bool,
    /// The unit that has a format of its own.
    pub granularity: Granularity,
    /// How much a percent of a step's time counts, where 100 is the harm of rounding everything most coarsely.
    pub time_weight: f64,
    /// The share of a step's time that recomputation may add.
    pub max_slowdown: Option<f64>,
    /// The profile that measures the harm of rounding; without it the paper's preference counts.
    pub measured: Option<Measured>,
    /// Which solver.
    pub engine: Engine,
    /// Seconds that solving may take.
    pub seconds: f64,
    /// How much the embedded engine searches in each round, instead of so many seconds, so that equal searches find equal
    /// assignments.
    pub effort: Option<usize>,
}

impl Budget {
    /// A budget with the defaults of everything else: formats FP32, BF16, the paper's, with recomputation.
    pub fn new(limit: Limit, threads: usize) -> Budget {
        let wide = [Format::FP32, Format::BF16, Format::PAPER_HIGH];
        let with = |low| wide.iter().copied().chain([low]).collect();
        Budget {
            limit,
            threads,
            forward: with(Format::PAPER_LOW_FORWARD),
            backward: with(Format::PAPER_LOW_BACKWARD),
            recompute: true,
            granularity: Granularity::Tensor,
            time_weight: 1.0,
            max_slowdown: None,
            measured: None,
            engine: Engine::Embedded,
            seconds: 10.0,
            effort: None,
        }
    }

    /// The effort of a search of which `share` is wanted, if that is counted.
    pub(crate) fn effort(&self, share: f64) -> Option<usize> {
        let counted = self.effort.filter(|_| self.engine == Engine::Embedded);
        counted.map(|effort| ((share * effort as f64) as usize).max(1))
    }

    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.measured.as_ref().map(|measured| &measured.profile)
    }

    /// Whether all formats of the methods that go by level may be chosen.
    pub(crate) fn allows(&self, by_level: &Formats) -> bool {
        let Formats { high, low_forward, low_backward, low_parameter_gradient } = by_level;
        [high, low_forward].iter().all(|format| self.forward.contains(format))
            && [high, low_backward, low_parameter_gradient].iter().all(|format| self.backward.contains(format))
    }

    /// The widest formats that may be chosen, which pins call high precision.
    pub fn widest(&self) -> Option<PinFormats> {
        let widest = |formats: &[Format]| formats.iter().copied().max_by_key(|f| (f.bits(), f.mantissa_bits()));
        Some(PinFormats { forward: widest(&self.forward)?, backward: widest(&self.backward)? })
    }

    /// The formats that tensors of a kind may have.
    pub(crate) fn formats(&self, kind: Kind) -> &[Format] {
        if kind.is_gradient() { &self.backward } else { &self.forward }
    }

    /// How many bytes that are, at least one, where the FP32 assignment takes `fp32`.
    pub fn bytes(&self, fp32: usize) -> usize {
        match self.limit {
            Limit::Bytes(bytes) => bytes,
            Limit::Share(share) => ((share * fp32 as f64) as usize).max(1),
        }
    }
}

/// A profile and what to call it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Its name in reports.
    pub name: String,
    /// Its text.
    pub profile: Profile,
}

/// The unit that is given a format of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Granularity {
    /// Every tensor.
    #[default]
    Tensor,
    /// The forward tensors of a group together, and its gradients together.
    Group,
}

impl Granularity {
    /// All of them.
    pub const ALL: [Granularity; 2] = [Granularity::Tensor, Granularity::Group];

    /// The name, as options and files have it.
    pub fn name(self) -> &'static str {
        match self {
            Granularity::Tensor => "tensor",
            Granularity::Group => "group",
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no granularity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown granularity `{}`; expected one of {}", .0, Granularity::ALL.map(Granularity::name).join(", "))]
pub struct ParseGranularityError(String);

impl FromStr for Granularity {
    type Err = ParseGranularityError;

    fn from_str(name: &str) -> Result<Granularity, ParseGranularityError> {
        Granularity::ALL.into_iter().find(|one| one.name() == name).ok_or(ParseGranularityError(name.into()))
    }
}
