//! Warnings of an import: one per kind, with the names that it is about.

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
    /// Inputs have elements of another type in the file.
    InputType {
        /// ONNX's name of that type.
        elements: String,
    },
    /// Variable sizes that the data bind.
    BoundSizes,
    /// Variable sizes that only one number fits.
    FixedSizes,
    /// The batch has to be as large as the file states.
    FixedBatch {
        /// The examples of a batch.
        batch: usize,
    },
    /// The inputs of the file are one example.
    OneExample,
    /// Nodes hold the batch size of the file, which they do not need.
    AnyBatch {
        /// The examples of a batch in the file.
        batch: usize,
    },
    /// FP64 initializers were rounded.
    Rounded,
    /// Weights are made by nodes of the file.
    MadeWeights,
    /// Weights stand in nodes of the file.
    Constants,
    /// Attributes that the operators do not have.
    UnknownAttribute,
    /// Several outputs, of which one can be trained.
    ChosenOutput,
    /// Activations that the file quantises by their own range.
    DynamicQuantization,
    /// Weights of convolutions are constants.
    ConstantWeight,
    /// Dropout operators have no effect.
    Dropout,
    /// Batch normalisation was folded into the weights of other operators.
    FoldedNormalisation,
    /// Losses that the file computes.
    LossInside,
    /// There is nothing to train.
    NoParameters,
    /// Parameters that an exporter merged were separated.
    Separated,
    /// Parameters that several operators share.
    Shared,
    /// Parameters that copies of one layer share, as if an exporter had merged them.
    SharedByCopies,
    /// Parameters of the exported program that the file does not have.
    Lost,
    /// Parameters that hold the elements of others, transposed.
    Transposed,
    /// Running statistics that an exporter merged were copied.
    CopiedStatistics,
    /// Running statistics, or those of the input, that are used in arithmetic.
    FrozenStatistics,
    /// Initializers that hold infinities, or numbers as large, as masks of scores do.
    Mask,
    /// Weights that the file stores quantised.
    Dequantized,
    /// Scalars that may be meant as parameters.
    ConstantScalar,
    /// Initializers that are buffers in PyTorch.
    Buffers,
    /// The constants of a frozen batch normalisation without parameters.
    FrozenLayer,
    /// Scales and shifts that seem to be folded from frozen batch normalisation.
    FoldedStatistics,
    /// Batch normalisations in evaluation mode beside others in training mode.
    MixedModes,
    /// Batch normalisations whose scale or bias is a constant.
    ConstantScale,
}

/// Everything of one kind that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Its subject.
    pub kind: WarningKind,
    /// The initializers, inputs or nodes that it is about, in the order of the file; of a fixed batch the reasons.
    pub names: Vec<String>,
}

/// A number with the words for one or for several.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl WarningKind {
    /// Whether the network trains as its file means it, so that nobody has to act.
    pub fn is_note(&self) -> bool {
        match self {
            WarningKind::Separated
            | WarningKind::BoundSizes
            | WarningKind::FixedSizes
            | WarningKind::AnyBatch { .. }
            | WarningKind::Constants
            | WarningKind::ChosenOutput
            | WarningKind::DynamicQuantization
            | WarningKind::Shared
            | WarningKind::CopiedStatistics
            | WarningKind::FrozenStatistics
            | WarningKind::Mask
            | WarningKind::Dequantized
            | WarningKind::Buffers
            | WarningKind::ConstantScalar
            | WarningKind::FrozenLayer
            | WarningKind::LossInside
            | WarningKind::ConstantScale => true,
            WarningKind::NewerOperatorSet { .. }
            | WarningKind::InputType { .. }
            | WarningKind::FixedBatch { .. }
            | WarningKind::OneExample
            | WarningKind::UnknownAttribute
            | WarningKind::Rounded
            | WarningKind::SharedByCopies
            | WarningKind::Lost
            | WarningKind::Transposed
            | WarningKind::ConstantWeight
            | WarningKind::MadeWeights
            | WarningKind::Dropout
            | WarningKind::FoldedNormalisation
            | WarningKind::FoldedStatistics
            | WarningKind::MixedModes
            | WarningKind::NoParameters => false,
        }
    }

    /// The event, for a number of names, which follow.
    fn event(&self, count: usize) -> String {
        let of = |one: &str, many: &str| counted(count, one, many);
        match self {
            WarningKind::NewerOperatorSet { .. }
            | WarningKind::InputType { .. }
            | WarningKind::FixedBatch { .. }
            | WarningKind::OneExample
            | WarningKind::ChosenOutput
            | WarningKind::NoParameters => self.event_of_file(),
            WarningKind::FrozenLayer
            | WarningKind::FoldedStatistics
            | WarningKind::MixedModes
            | WarningKind::ConstantScale => self.event_of_normalisation(count),
            WarningKind::Separated
            | WarningKind::Shared
            | WarningKind::SharedByCopies
            | WarningKind::Lost
            | WarningKind::Transposed => self.event_of_parameters(count),
            WarningKind::BoundSizes => {
                format!("{} taken from the data", of("variable size is", "variable sizes are"))
            }
            WarningKind::FixedSizes => {
                format!("{} fixed by the weights", of("variable size is", "variable sizes are"))
            }
            WarningKind::AnyBatch { batch } => {
                format!("{} the batch size of {batch} in the file", of("node has", "nodes have"))
            }
            WarningKind::Rounded => format!("{} rounded to FP32", of("FP64 initializer was", "FP64 initializers were")),
            WarningKind::ConstantWeight => format!(
                "{} a constant, not an initializer, as weight, which is not trained",
                of("convolution has", "convolutions have")
            ),
            WarningKind::Constants => {
                format!(
                    "{} Constant, not stored as initializers",
                    of("tensor is the result of a", "tensors are the results of a")
                )
            }
            WarningKind::UnknownAttribute => of("attribute is not known", "attributes are not known"),
            WarningKind::DynamicQuantization => {
                of("tensor is quantised by its own range", "tensors are quantised by their own ranges")
            }
            WarningKind::MadeWeights => {
                format!("{} made of a shape and a number, not stored", of("weight is", "weights are"))
            }
            WarningKind::Dropout => {
                format!("{} in evaluation mode and left out", of("Dropout is", "Dropouts are"))
            }
            WarningKind::FoldedNormalisation => format!(
                "batch normalisation was lost: the exporter or an optimizer folded it into the weights of {}",
                of("operator", "operators")
            ),
            WarningKind::LossInside => format!("{} in the file", of("loss is computed", "losses are computed")),
            WarningKind::CopiedStatistics => format!(
                "{} stored once in the file but used by several operators",
                of("running statistic is", "running statistics are")
            ),
            WarningKind::FrozenStatistics => format!(
                "{} in plain arithmetic (frozen batch normalisation, or normalisation of the input)",
                of("statistic is used", "statistics are used")
            ),
            WarningKind::Mask => {
                format!("{} infinities or numbers as large", of("initializer holds", "initializers hold"))
            }
            WarningKind::Dequantized => {
                format!("{} as quantised whole numbers", of("weight is stored", "weights are stored"))
            }
            WarningKind::ConstantScalar => {
                format!("{} as a constant and not trained", of("scalar is taken", "scalars are taken"))
            }
            WarningKind::Buffers => format!(
                "{} in PyTorch",
                of("initializer is a buffer, not a parameter,", "initializers are buffers, not parameters,")
            ),
        }
    }

    /// The event, where it is about parameters that seem to be one, or several.
    fn event_of_parameters(&self, count: usize) -> String {
        let of = |one: &str, many: &str| counted(count, one, many);
        match self {
            WarningKind::Separated => format!(
                "{} with others because their elements were equal",
                of(
                    "parameter is trained separately: the exporter had merged it",
                    "parameters are trained separately: the exporter had merged them"
                )
            ),
            WarningKind::Shared => {
                format!("{} by several operators", of("parameter is shared", "parameters are shared"))
            }
            WarningKind::SharedByCopies => {
                format!("{} by layers that differ in their number", of("parameter is shared", "parameters are shared"))
            }
            WarningKind::Lost => format!(
                "{} not in the file",
                of("parameter of the exported program is", "parameters of the exported program are")
            ),
            WarningKind::Transposed => {
                format!("{} of another, transposed", of("parameter holds the elements", "parameters hold the elements"))
            }
            _ => String::new(),
        }
    }

    /// The event, where it is about batch normalisation.
    fn event_of_normalisation(&self, count: usize) -> String {
        let of = |one: &str, many: &str| counted(count, one, many);
        match self {
            WarningKind::FrozenLayer => format!(
                "{} to frozen batch normalisation, which has no parameters in PyTorch",
                of("initializer belongs", "initializers belong")
            ),
            WarningKind::FoldedStatistics => format!(
                "{} the statistics of frozen batch normalisation, folded by the exporter",
                of("initializer seems to contain", "initializers seem to contain")
            ),
            WarningKind::MixedModes => format!(
                "{} in evaluation mode while others are in training mode",
                of("BatchNormalization is", "BatchNormalizations are")
            ),
            WarningKind::ConstantScale => format!(
                "{} a constant, not an initializer, as scale or bias, which is not trained",
                of("BatchNormalization has", "BatchNormalizations have")
            ),
            _ => String::new(),
        }
    }

    /// The event, where it is one of the file as a whole.
    fn event_of_file(&self) -> String {
        match self {
            WarningKind::NewerOperatorSet { found, newest } => {
                format!("the file uses operator set {found}, newer than the newest known one ({newest})")
            }
            WarningKind::InputType { elements } => format!("the input is {elements} in the file"),
            WarningKind::FixedBatch { batch } => {
                format!(
                    "the network takes {batch} example{} at a time, no other number",
                    if *batch == 1 { "" } else { "s" }
                )
            }
            WarningKind::OneExample => "the network takes one example at a time, all of its inputs together".into(),
            WarningKind::ChosenOutput => "one output only is made of floating-point numbers".into(),
            WarningKind::NoParameters => "the network has no parameters, so there is nothing to train".into(),
            _ => String::new(),
        }
    }

    /// The consequence, and what to do.
    fn advice(&self) -> &'static str {
        match self {
            WarningKind::NewerOperatorSet { .. } => "its operators are read as those of the newest known one",
            WarningKind::FixedBatch { .. } => "export it with a variable batch to train with others",
            WarningKind::OneExample => {
                "arrays of data have a dimension of examples in front of those of the file's inputs"
            }
            WarningKind::AnyBatch { .. } => "it was replaced, so that any other trains too",
            WarningKind::InputType { .. } => "here it is FP32; formats are chosen later",
            WarningKind::Rounded | WarningKind::ConstantWeight | WarningKind::BoundSizes | WarningKind::FixedSizes => {
                ""
            }
            WarningKind::Dropout => "--dropout on trains with dropout",
            WarningKind::NoParameters => "export the network with its weights as initializers",
            WarningKind::LossInside => "the scores before it are trained, with labels as `y` of the data",
            WarningKind::Constants => "they are read as if they were initializers: weights are trained",
            WarningKind::UnknownAttribute => "they are left out",
            WarningKind::ChosenOutput => "it is trained; --output trains another one",
            WarningKind::DynamicQuantization => {
                "in training they are not quantised, since examples would depend on the rest of their batch"
            }
            WarningKind::MadeWeights => "such weights are parameters and trained",
            WarningKind::FoldedNormalisation => {
                "the network is trained without it. Use the file from before any optimizer, exported with torch.onnx.export(..., dynamo=False, \
                 training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False), or with dynamo=True and \
                 optimize=False"
            }
            WarningKind::Separated => "to share a parameter between operators, give it elements that differ",
            WarningKind::Shared => "each is trained as one parameter",
            WarningKind::SharedByCopies => {
                "each is trained as one parameter. If the exporter merged weights that began equal, as it \
                 does those of nn.TransformerEncoder, and they are to be trained separately, export with training=torch.onnx.TrainingMode.TRAINING \
                 (dynamo=False) or optimize=False (dynamo=True)"
            }
            WarningKind::Lost => {
                "what the exporter folded into a constant or left out is not trained; export with optimize=False"
            }
            WarningKind::Transposed => {
                "the two are trained separately. If the network shares them, export with do_constant_folding=False \
                 (dynamo=False) or optimize=False (dynamo=True)"
            }
            WarningKind::CopiedStatistics => "each BatchNormalization gets a copy and updates it",
            WarningKind::FrozenStatistics => {
                "such statistics are not trained and stay as they are. To train batch normalisation, export nn.BatchNorm \
                 layers with training=torch.onnx.TrainingMode.TRAINING"
            }
            WarningKind::Mask => "they are constants, as masks are, and not trained",
            WarningKind::Dequantized => "their floating-point numbers are trained; they are not quantised again",
            WarningKind::ConstantScalar => "to train one, give it the shape [1]",
            WarningKind::Buffers => "buffers are constants and not trained; to train one, make it an nn.Parameter",
            WarningKind::FrozenLayer => {
                "frozen layers are constants and not trained. To train batch normalisation, export nn.BatchNorm layers"
            }
            WarningKind::FoldedStatistics => {
                "such initializers are trained as a scale and a bias, which is right for an affine layer. To keep \
                 statistics fixed, export with do_constant_folding=False (dynamo=False) or optimize=False (dynamo=True)"
            }
            WarningKind::MixedModes => {
                "every BatchNormalization is trained with the statistics of the batch. To keep a layer frozen, replace it \
                 by torchvision.ops.FrozenBatchNorm2d before the export"
            }
            WarningKind::ConstantScale => "in training, the statistics are still those of the batch",
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
        match (&self.kind, self.names.as_slice()) {
            (_, []) => {}
            (WarningKind::FixedBatch { .. } | WarningKind::OneExample, reasons) => {
                let shown: Vec<&str> = reasons.iter().take(shown.div_ceil(SHOWN)).map(String::as_str).collect();
                let more = match reasons.len() - shown.len() {
                    0 => String::new(),
                    more => format!("; and {more} more"),
                };
                text.push_str(&format!(" ({}{more})", shown.join("; ")));
            }
            (_, names) => text.push_str(&format!(": {}", listed(names, shown))),
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
        let dropout = "5 Dropouts are in evaluation mode and left out: `a`, `b`, `c` and 2 more; --dropout on trains with dropout";
        assert_eq!(texts, [dropout, "1 FP64 initializer was rounded to FP32: `w`"]);
        assert!(warnings[0].full().contains("`c`, `d`, `e`;"));
    }

    #[test]
    fn a_fixed_batch_has_its_first_reason() {
        let names =
            ["node `r` (Reshape): 24 is not a multiple of the batch", "node `s`: too"].map(String::from).to_vec();
        let text = Warning { kind: WarningKind::FixedBatch { batch: 8 }, names }.to_string();
        let expected = "the network takes 8 examples at a time, no other number (node `r` (Reshape): 24 is not a multiple of \
                        the batch; and 1 more); export it with a variable batch to train with others";
        assert_eq!(text, expected);
    }

    #[test]
    fn one_and_several_have_their_own_words() {
        let said = |names: &[&str]| {
            let names = names.iter().map(|name| name.to_string()).collect();
            Warning { kind: WarningKind::Separated, names }.to_string()
        };
        let one = "1 parameter is trained separately: the exporter had merged it with others because their elements \
                   were equal: `a`; to share a parameter between operators, give it elements that differ";
        assert_eq!(said(&["a"]), one);
        assert!(
            said(&["a", "b"]).starts_with("2 parameters are trained separately: the exporter had merged them with")
        );
    }
}
