//! Metadata of PyTorch's newer exporter: the kinds of the exported program's tensors, and the layer and the operator that
//! each node comes from.

use onnx_protobuf::{GraphProto, ModelProto, NodeProto};
use std::collections::{BTreeMap, BTreeSet};

/// Operators whose weights can take up a scale and a shift.
const LINEAR: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

const SCOPES: &str = "pkg.torch.onnx.name_scopes";
const CLASSES: &str = "pkg.torch.onnx.class_hierarchy";
const FX_NODE: &str = "pkg.torch.onnx.fx_node";

/// The kind of a tensor in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Parameter,
    /// A buffer, or a tensor that the program makes of numbers.
    Constant,
}

/// The kinds of a program's tensors by their names, and which of them the file stores; empty for files of other exporters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signature {
    kinds: BTreeMap<String, Kind>,
    stored: BTreeSet<String>,
    /// The tensors by what the program calls them, such as `p_norm_weight`.
    placeholders: BTreeMap<String, String>,
    /// By initializer that the exporter computed, what it computed it from, as it notes.
    folded: BTreeMap<String, Vec<String>>,
}

/// How a node treats an initializer that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// It is trained, or a running statistic.
    Default,
    /// It is a constant: one that every program has in this place, such as a scale of one.
    Implied,
    /// It is a constant: a buffer of the program.
    Buffer,
    /// It is a constant: a part of frozen batch normalisation without parameters.
    Frozen,
    /// It is trained, but frozen statistics were folded into it.
    Folded,
}

impl Signature {
    /// Reads the signature: lines such as `b_norm_weight: BUFFER target='norm.weight' persistent=True`, or, before PyTorch 2.7,
    /// `InputSpec(kind=<InputKind.BUFFER: 3>, arg=..., target='norm.weight', persistent=True)`.
    pub(crate) fn of(model: &ModelProto, graph: &GraphProto) -> Signature {
        let notes = graph.metadata_props.iter().chain(&model.metadata_props);
        let texts = notes.filter(|p| p.key.ends_with("graph_signature")).map(|p| p.value.as_str());
        let entries: Vec<&str> = texts.flat_map(|text| text.split("InputSpec(").flat_map(str::lines)).collect();
        let kind = |entry: &str| {
            let (before, after) = entry.split_once("target='")?;
            let (name, _) = after.split_once('\'')?;
            let kind = match before {
                _ if before.contains("PARAMETER") => Kind::Parameter,
                _ if before.contains("BUFFER") || before.contains("CONSTANT_TENSOR") => Kind::Constant,
                _ => return None,
            };
            Some((name.to_string(), kind))
        };
        let stored = graph.initializer.iter().map(|t| t.name.clone()).collect();
        let placeholder = |entry: &str| {
            let (name, _) = kind(entry)?;
            let (before, _) = entry.split_once("target='")?;
            let own = match before.split_once("TensorArgument(name='") {
                Some((_, after)) => after.split_once('\'')?.0,
                None => before.split_once(':')?.0,
            };
            Some((own.trim().to_string(), name))
        };
        let placeholders = entries.iter().filter_map(|entry| placeholder(entry)).collect();
        let values = model.graph.as_ref().map(|graph| graph.value_info.as_slice()).unwrap_or_default();
        let folded = values.iter().filter_map(|value| {
            let from = value.metadata_props.iter().find(|p| p.key.ends_with("folded_from"))?;
            let names = from.value.split('\'').skip(1).step_by(2).map(str::to_string);
            Some((value.name.clone(), names.collect()))
        });
        let folded = folded.collect();
        Signature { kinds: entries.iter().filter_map(|entry| kind(entry)).collect(), stored, placeholders, folded }
    }

    /// Whether the exporter made an initializer of none of the program's tensors: a number, a mask, a table that the program computes.
    pub(crate) fn is_computed(&self, name: &str, uniform: bool) -> bool {
        if self.kinds.is_empty() || self.kinds.contains_key(name) {
            return false;
        }
        match self.folded.contains_key(name) {
            true => !self.sources(name).iter().any(|source| self.is_parameter(source) == Some(true)),
            false => uniform && is_numbered(name),
        }
    }

    /// The tensors that the exporter computed an initializer from, also by way of others.
    fn sources<'s>(&'s self, name: &'s str) -> BTreeSet<&'s str> {
        let mut found = BTreeSet::new();
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            let new = self.folded.get(name).into_iter().flatten().filter(|source| found.insert(source.as_str()));
            next.extend(new.map(String::as_str));
        }
        found
    }

    /// The parameters of the program that the file does not have, and that no trained parameter was computed from.
    pub(crate) fn lost(&self, trained: &BTreeSet<&str>) -> Vec<String> {
        let sources: BTreeSet<&str> = trained.iter().flat_map(|name| self.sources(name)).collect();
        let parameters = self.kinds.iter().filter(|(_, kind)| **kind == Kind::Parameter).map(|(name, _)| name);
        let is_there = |name: &str| self.stored.contains(name) || trained.contains(name) || sources.contains(name);
        parameters.filter(|name| !is_there(name)).cloned().collect()
    }

    /// Whether the program lists a tensor as a parameter; nothing if the file has no list.
    pub(crate) fn is_parameter(&self, name: &str) -> Option<bool> {
        (!self.kinds.is_empty()).then(|| self.kinds.get(name) == Some(&Kind::Parameter))
    }

    /// Whether the file stores each parameter and buffer of the program under its own name, so that the exporter merged none.
    pub(crate) fn is_stored_whole(&self) -> bool {
        let is_stored = |name: &String| name.ends_with("num_batches_tracked") || self.stored.contains(name);
        !self.kinds.is_empty() && self.kinds.keys().all(is_stored)
    }

    /// The program's tensors that the operator reads which a node comes from; nothing if the file does not say.
    pub(crate) fn read_by(&self, node: &NodeProto) -> Option<Vec<&str>> {
        if self.placeholders.is_empty() {
            return None;
        }
        let (_, arguments) = note(node, FX_NODE)?.split_once("](")?;
        let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
        let read = arguments.split('%').skip(1).filter_map(|argument| argument.split(|c| !is_name(c)).next());
        Some(read.filter_map(|placeholder| self.placeholders.get(placeholder)).map(String::as_str).collect())
    }

    /// Whether the operator that a node comes from reads no parameter that an initializer is, or could have been merged with.
    pub(crate) fn reads_number(&self, node: &NodeProto, initializer: &str) -> bool {
        let parameter = |name: &&str| *name == initializer || !self.stored.contains(*name);
        self.read_by(node).is_some_and(|read| !read.iter().any(parameter))
    }

    /// Whether the file lists the program's tensors.
    pub(crate) fn is_known(&self) -> bool {
        !self.kinds.is_empty()
    }

    /// How a node treats an initializer, whose elements may all be equal: exporters merge such tensors, so that the name says little.
    pub(crate) fn treatment(&self, node: &NodeProto, name: &str, uniform: bool) -> Treatment {
        if took_up_normalisation(node) {
            return Treatment::Default;
        }
        let Some(origin) = Origin::of(node) else {
            return match self.kinds.get(name) {
                Some(Kind::Constant) if !uniform => Treatment::Buffer,
                _ => Treatment::Default,
            };
        };
        let layer = origin.layer();
        let normalises = self.normalises(layer) || (self.kinds.is_empty() && origin.is_frozen());
        let trained = self.of_layer(layer).any(|(_, kind)| kind == Kind::Parameter);
        match self.kinds.get(name) {
            // A scale of one that the exporter merged with a parameter of ones.
            _ if uniform && !trained && self.is_norm_layer(node, &origin) => Treatment::Implied,
            Some(Kind::Parameter) => Treatment::Default,
            _ if normalises && !trained => match node.op_type.as_str() {
                "BatchNormalization" => Treatment::Implied,
                _ => Treatment::Frozen,
            },
            Some(Kind::Constant) if !uniform || self.is_whole(layer, name) => Treatment::Buffer,
            None if normalises && node.op_type != "BatchNormalization" && self.has_lost_statistics(layer) => {
                Treatment::Folded
            }
            _ => Treatment::Default,
        }
    }

    /// Whether the file lacks the statistics of batch normalisation that is not frozen: the scale of frozen one is a buffer.
    pub(crate) fn has_lost_normalisation(&self) -> bool {
        let layers = self.kinds.keys().filter_map(|name| name.strip_suffix("running_mean"));
        let mut layers = layers.map(|layer| layer.strip_suffix('.').unwrap_or(layer));
        let is_frozen = |layer: &str| self.kinds.get(&member(layer, "weight")) == Some(&Kind::Constant);
        layers.any(|layer| self.has_lost_statistics(layer) && !is_frozen(layer))
    }

    fn has_lost_statistics(&self, layer: &str) -> bool {
        !self.stored.contains(&member(layer, "running_mean"))
    }

    /// Whether a layer has running statistics.
    fn normalises(&self, layer: &str) -> bool {
        self.kinds.contains_key(&member(layer, "running_mean"))
    }

    /// Whether a node is a normalisation layer of PyTorch's own, whose parameters are all its own.
    fn is_norm_layer(&self, node: &NodeProto, origin: &Origin<'_>) -> bool {
        let normalises = matches!(node.op_type.as_str(), "BatchNormalization" | "LayerNormalization");
        normalises && !self.kinds.is_empty() && origin.class().starts_with("torch.nn.modules.")
    }

    /// Whether a tensor belongs to a layer itself, and the file has all parameters that do, so that none was merged with the tensor.
    fn is_whole(&self, layer: &str, name: &str) -> bool {
        let owns = |name: &str| name.strip_prefix(&member(layer, "")).is_some_and(|rest| !rest.contains('.'));
        let mut own = self.of_layer(layer).filter(|(name, _)| owns(name));
        owns(name) && own.all(|(name, kind)| kind == Kind::Constant || self.stored.contains(name))
    }

    /// The tensors of a layer and of those within it.
    fn of_layer(&self, layer: &str) -> impl Iterator<Item = (&String, Kind)> {
        let start = member(layer, "");
        self.kinds.iter().filter(move |(name, _)| name.starts_with(&start)).map(|(name, &kind)| (name, kind))
    }
}

/// The name of a layer's tensor.
fn member(layer: &str, name: &str) -> String {
    if layer.is_empty() { name.to_string() } else { format!("{layer}.{name}") }
}

/// The modules that a node comes from, outermost first, and at last its operator.
pub(crate) struct Origin<'n> {
    scopes: Vec<&'n str>,
    classes: Vec<&'n str>,
}

impl<'n> Origin<'n> {
    /// The origin of a node that has one noted.
    pub(crate) fn of(node: &'n NodeProto) -> Option<Origin<'n>> {
        let list = |key: &str| -> Option<Vec<&'n str>> {
            let entries = note(node, key)?.trim_matches(['[', ']']).split(", ");
            Some(entries.map(|entry| entry.trim_matches(['\'', '"'])).collect())
        };
        let (scopes, classes) = (list(SCOPES)?, list(CLASSES)?);
        (scopes.len() == classes.len() && scopes.len() >= 2).then_some(Origin { scopes, classes })
    }

    /// The name of the innermost module.
    pub(crate) fn layer(&self) -> &'n str {
        self.scopes.iter().rev().nth(1).copied().unwrap_or_default()
    }

    /// The class of the innermost module.
    pub(crate) fn class(&self) -> &'n str {
        self.classes.iter().rev().nth(1).copied().unwrap_or_default()
    }

    /// Whether the innermost module is frozen batch normalisation by its class, as in torchvision and detectron2.
    fn is_frozen(&self) -> bool {
        self.class().rsplit('.').next().is_some_and(|class| class.contains("FrozenBatchNorm"))
    }
}

fn note<'n>(node: &'n NodeProto, key: &str) -> Option<&'n str> {
    node.metadata_props.iter().find(|p| p.key == key).map(|p| p.value.as_str())
}

/// The operator of PyTorch that a node stands for, such as `aten.conv2d.default`.
pub(crate) fn operator(node: &NodeProto) -> Option<&str> {
    let last = |classes: &'_ str| classes.rfind("'aten.").map(|at| at + 1);
    if let Some(classes) = note(node, CLASSES)
        && let Some(at) = last(classes)
    {
        return classes.get(at..).map(|rest| rest.trim_end_matches(['\'', ']']));
    }
    let (_, after) = note(node, FX_NODE)?.split_once("target=torch.ops.")?;
    after.split_once(']').map(|(operator, _)| operator)
}

/// Whether the notes of PyTorch's newer exporter say that an operator took up batch normalisation.
pub(crate) fn took_up_normalisation(node: &NodeProto) -> bool {
    let rewritten =
        node.metadata_props.iter().any(|p| p.key.ends_with("rule_name") && p.value.contains("FuseBatchNorm"));
    rewritten || (is_linear(node) && operator(node).is_some_and(|operator| operator.contains("batch_norm")))
}

/// Whether a node multiplies with a weight, which can take up a scale and a shift.
pub(crate) fn is_linear(node: &NodeProto) -> bool {
    LINEAR.contains(&node.op_type.as_str())
}

/// Whether a name is of a value without one in PyTorch's newer exporter, `val_6`.
pub(crate) fn is_value(name: &str) -> bool {
    name.strip_prefix("val_").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

/// Whether an exporter or an optimizer made up a name, such as `val_6`, `scalar_tensor_default` or `const_fold_opt__12`.
pub(super) fn is_numbered(name: &str) -> bool {
    let number = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '_');
    let lower = name.to_ascii_lowercase();
    let numbered = ["val_", "scalar_tensor_default", "onnx_"].iter().any(|start| {
        let rest = lower.strip_prefix(start);
        rest.is_some_and(number)
    });
    numbered || lower.starts_with("const") || lower.contains("_output_")
}
