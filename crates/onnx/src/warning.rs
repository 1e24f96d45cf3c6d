//! What the user should know about an import: one warning per kind, with the names that it is about.

use std::fmt;

/// Names that the short form shows.
const SHOWN: usize = 3;

/// A kind of thing that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// The file uses an operator set that is newer than the newest known one.
    NewerOperatorSet {
        /// That of the file.
        found: i64,
        /// The newest known one.
        newest: i64,
    },
    /// The file defines functions.
    Functions,
    /// Inputs have elements of another type in the file.
    InputType {
        /// ONNX's name of that type.
        elements: String,
    },
    /// FP64 initializers were rounded.
    Rounded,
    /// Weights of convolutions are constants.
    ConstantWeight,
    /// Dropout operators have no effect.
    Dropout,
    /// Batch normalisation was folded into convolutions.
    FoldedNormalisation,
    /// There is nothing to train.
    NoParameters,
    /// Parameters that an exporter merged were separated.
    Separated,
    /// Parameters that several operators share.
    Shared,
    /// Running statistics that an exporter merged were copied.
    CopiedStatistics,
    /// Running statistics, or those of the input, that are used in arithmetic.
    FrozenStatistics,
    /// Initializers that hold infinities.
    Infinite,
}

/// Everything of one kind that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is about.
    pub kind: WarningKind,
    /// The initializers, inputs or nodes that it is about, in the order of the file.
    pub names: Vec<String>,
}

impl WarningKind {
    /// Whether the network trains as its file means it, so that nobody has to act.
    pub fn is_note(&self) -> bool {
        match self {
            WarningKind::Separated
            | WarningKind::Shared
            | WarningKind::CopiedStatistics
            | WarningKind::FrozenStatistics
            | WarningKind::Infinite => true,
            WarningKind::NewerOperatorSet { .. }
            | WarningKind::Functions
            | WarningKind::InputType { .. }
            | WarningKind::Rounded
            | WarningKind::ConstantWeight
            | WarningKind::Dropout
            | WarningKind::FoldedNormalisation
            | WarningKind::NoParameters => false,
        }
    }

    /// What happened, to so many; the names follow it.
    fn event(&self, count: usize) -> String {
        let of = |one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        match self {
            WarningKind::NewerOperatorSet { found, newest } => {
                format!("the file uses operator set {found}, newer than the newest known one ({newest})")
            }
            WarningKind::Functions => "the file defines functions".into(),
            WarningKind::InputType { elements } => format!("the input is {elements} in the file"),
            WarningKind::Rounded => format!("{} rounded to FP32", of("FP64 initializer was", "FP64 initializers were")),
            WarningKind::ConstantWeight => format!(
                "{} a constant, not an initializer, as weight, which is not trained",
                of("convolution has", "convolutions have")
            ),
            WarningKind::Dropout => {
                format!("{} left out, the network trains without dropout", of("Dropout is", "Dropouts are"))
            }
            WarningKind::FoldedNormalisation => format!(
                "batch normalisation was lost: the exporter folded it into {}",
                of("convolution", "convolutions")
            ),
            WarningKind::NoParameters => "the network has no parameters, so there is nothing to train".into(),
            WarningKind::Separated => format!(
                "{} separately: the exporter had merged them with others because their elements were equal",
                of("parameter is trained", "parameters are trained")
            ),
            WarningKind::Shared => {
                format!("{} by several operators", of("parameter is shared", "parameters are shared"))
            }
            WarningKind::CopiedStatistics => format!(
                "{} of an initializer that several operators read",
                of("running statistic is a copy", "running statistics are copies")
            ),
            WarningKind::FrozenStatistics => format!(
                "{} in arithmetic, so the file means normalisation by them to be frozen",
                of("statistic is used", "statistics are used")
            ),
            WarningKind::Infinite => format!("{} infinities", of("initializer holds", "initializers hold")),
        }
    }

    /// What follows from it, and what to do.
    fn advice(&self) -> &'static str {
        match self {
            WarningKind::NewerOperatorSet { .. } => "its operators are read as those of the newest known one",
            WarningKind::Functions => "nodes that call them are not supported",
            WarningKind::InputType { .. } => "here it is FP32; formats are chosen later",
            WarningKind::Rounded | WarningKind::ConstantWeight | WarningKind::Dropout | WarningKind::NoParameters => "",
            WarningKind::FoldedNormalisation => {
                "the network is trained without it. Export with torch.onnx.export(..., dynamo=False, \
                 training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False), or with dynamo=True and \
                 optimize=False"
            }
            WarningKind::Separated => "if they are meant to be one parameter, give it elements that differ",
            WarningKind::Shared => "each is trained as one parameter",
            WarningKind::CopiedStatistics => "each batch normalisation keeps its own",
            WarningKind::FrozenStatistics => {
                "they are not trained and stay as they are. To train batch normalisation, export nn.BatchNorm layers \
                 with training=torch.onnx.TrainingMode.TRAINING"
            }
            WarningKind::Infinite => "initializers with infinities are constants, as masks are, and not trained",
        }
    }
}

impl Warning {
    /// In one line, with all names.
    pub fn full(&self) -> String {
        self.text(self.names.len())
    }

    fn text(&self, shown: usize) -> String {
        let mut text = self.kind.event(self.names.len());
        if !self.names.is_empty() {
            text.push_str(&format!(": {}", listed(&self.names, shown)));
        }
        let advice = self.kind.advice();
        if !advice.is_empty() {
            text.push_str(&format!("; {advice}"));
        }
        text
    }
}

impl fmt::Display for Warning {
    /// In one line, with the first three names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(SHOWN))
    }
}

/// The first names of a list, and how many more there are.
fn listed(names: &[String], shown: usize) -> String {
    let first: Vec<String> = names.iter().take(shown).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(shown) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The first three names of a list, and how many more there are.
pub(crate) fn few(names: &[String]) -> String {
    listed(names, SHOWN)
}

/// Adds names to the warning of their kind.
pub(crate) fn add(warnings: &mut Vec<Warning>, kind: WarningKind, names: impl IntoIterator<Item = String>) {
    let at = warnings.iter().position(|w| w.kind == kind).unwrap_or_else(|| {
        warnings.push(Warning { kind, names: Vec::new() });
        warnings.len() - 1
    });
    if let Some(warning) = warnings.get_mut(at) {
        warning.names.extend(names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_one_line_with_three_names() {
        let mut warnings = Vec::new();
        add(&mut warnings, WarningKind::Dropout, ["a".to_string()]);
        add(&mut warnings, WarningKind::Rounded, ["w".to_string()]);
        add(&mut warnings, WarningKind::Dropout, ["b", "c", "d", "e"].map(String::from));
        let texts: Vec<String> = warnings.iter().map(Warning::to_string).collect();
        let dropout = "5 Dropouts are left out, the network trains without dropout: `a`, `b`, `c` and 2 more";
        assert_eq!(texts, [dropout, "1 FP64 initializer was rounded to FP32: `w`"]);
        assert!(warnings[0].full().ends_with("`c`, `d`, `e`"));
    }
}
