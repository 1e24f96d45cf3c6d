//! The state of an import: the graph so far, what each ONNX name stands for, warnings and problems.

use super::node::Value;
use crate::analysis::Clues;
use crate::dropout::Dropout;
use crate::error::ImportProblem;
use crate::file::constant::Constant;
use crate::file::external::DataFolders;
use crate::inline::captures;
use crate::warning::{self, Warning, WarningKind};
use bitbudget_ir::{DType, Graph, Names, NodeId};
use onnx_protobuf::NodeProto;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// A floating-point initializer that may be trained.
#[derive(Debug)]
pub(crate) struct Initializer {
    pub(crate) name: String,
    pub(crate) constant: Rc<Constant>,
    /// Whether FP64 numbers were rounded.
    pub(crate) rounded: bool,
    /// Whether all elements are equal.
    pub(crate) uniform: bool,
    /// The initializer that this one is by another name, or itself.
    pub(crate) origin: usize,
    /// The parameters that were made of it, by the group of their readers.
    pub(crate) parameters: BTreeMap<String, Made>,
}

/// A parameter that was made of an initializer.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) id: NodeId,
    /// The first operator that reads it, by its number and by the name of its layer.
    pub(crate) node: usize,
    pub(crate) owner: String,
}

/// The operator that is being imported, as the parameters that it reads see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    /// Its number among the imported ones.
    pub(crate) node: usize,
    /// Operators of one group share parameters.
    pub(crate) group: String,
    /// Its layer in PyTorch or its own name, from which parameters of its own take theirs.
    pub(crate) owner: String,
    /// The scalar initializers that it certainly reads as themselves.
    pub(crate) scalars: BTreeSet<usize>,
}

/// The state of an import.
pub(crate) struct Importer {
    pub(crate) graph: Graph,
    pub(crate) values: BTreeMap<String, Vec<f32>>,
    pub(crate) known: HashMap<String, Value>,
    pub(crate) initializers: Vec<Initializer>,
    /// Whether an output is the network's own loss, which may be a mean over the batch.
    pub(crate) has_own_loss: bool,
    /// The batch size that the file fixes, if it does.
    pub(crate) batch: Option<usize>,
    /// Which dropout the network trains with.
    pub(crate) dropout: Dropout,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) problems: Vec<ImportProblem>,
    /// The file's evidence about its initializers.
    pub(crate) clues: Clues,
    /// Scalar initializers that may be numbers or parameters, as far as the clues go.
    pub(crate) unclear: BTreeSet<String>,
    /// Known values that the file makes of a shape and a number.
    pub(crate) made: BTreeSet<String>,
    /// ONNX's element types of the whole numbers that the file stores, by name.
    pub(crate) element_types: HashMap<String, i32>,
    /// Initializers that cannot be read, with the reasons, and those of them that nodes need.
    pub(crate) unreadable: BTreeMap<String, String>,
    pub(crate) missed: BTreeSet<String>,
    /// Tensors of the examples' numbers in their batch, with the names of their sources.
    pub(crate) examples: HashMap<NodeId, String>,
    /// The node that is being imported, and its type.
    pub(crate) reader: Reader,
    pub(crate) operator: String,
    /// Parameters that several nodes read.
    pub(crate) shared: BTreeSet<String>,
    /// How many needed nodes read a name, and which node does if it is one.
    readers: HashMap<String, (usize, Option<NodeProto>)>,
    /// Results that an earlier node has computed along with its own.
    pub(crate) merged: HashMap<String, NodeId>,
    /// The nodes that bear the name of the ONNX node that they are made of, by that name, with its number.
    pub(super) bearers: HashMap<String, (usize, NodeId)>,
    /// The sources that known values have become, by name.
    pub(super) constants: HashMap<(String, DType), NodeId>,
    /// Tensors as another type.
    pub(super) conversions: HashMap<(NodeId, DType), NodeId>,
    /// Tensors that stand for random numbers, with their range.
    pub(crate) uniform: BTreeMap<NodeId, [f64; 2]>,
    /// Truth values that are to be cast only.
    pub(crate) cast_only: BTreeSet<NodeId>,
    pub(crate) names: Names,
    data: Option<DataFolders>,
}

impl Importer {
    pub(crate) fn new(name: &str, clues: Clues, data: Option<DataFolders>) -> Importer {
        Importer {
            graph: Graph::new(name),
            values: BTreeMap::new(),
            known: HashMap::new(),
            initializers: Vec::new(),
            has_own_loss: false,
            batch: None,
            dropout: Dropout::default(),
            warnings: Vec::new(),
            problems: Vec::new(),
            clues,
            unclear: BTreeSet::new(),
            made: BTreeSet::new(),
            element_types: HashMap::new(),
            unreadable: BTreeMap::new(),
            missed: BTreeSet::new(),
            examples: HashMap::new(),
            reader: Reader::default(),
            operator: String::new(),
            shared: BTreeSet::new(),
            readers: HashMap::new(),
            merged: HashMap::new(),
            bearers: HashMap::new(),
            constants: HashMap::new(),
            conversions: HashMap::new(),
            uniform: BTreeMap::new(),
            cast_only: BTreeSet::new(),
            names: Names::default(),
            data,
        }
    }

    /// Something that the user should know of a name.
    pub(crate) fn warn(&mut self, kind: WarningKind, name: impl Into<String>) {
        warning::add(&mut self.warnings, kind, [name.into()]);
    }

    /// Notes that a node has the batch size of the file, which any other replaces.
    pub(crate) fn replaced_batch(&mut self, name: &str) {
        if let Some(batch) = self.batch {
            self.warn(WarningKind::AnyBatch { batch }, name);
        }
    }

    /// Notes who reads what among nodes and their outputs, for the operators that are imported together with their only reader.
    pub(crate) fn count_readers(&mut self, nodes: &[&NodeProto], outputs: &[&str]) {
        for &node in nodes {
            for name in node.input.iter().filter(|n| !n.is_empty()) {
                let entry = self.readers.entry(name.clone()).or_insert((0, None));
                *entry = (entry.0 + 1, (entry.0 == 0 && node.op_type == "Add").then(|| node.clone()));
            }
            node.output.iter().for_each(|output| self.names.take(output));
        }
        for name in nodes.iter().flat_map(|node| captures(node)).chain(outputs.iter().copied()) {
            let entry = self.readers.entry(name.to_string()).or_insert((0, None));
            *entry = (entry.0 + 1, None);
        }
    }

    /// The Add that is the only reader of a name.
    pub(crate) fn only_reader(&self, name: &str) -> Option<&NodeProto> {
        self.readers.get(name).and_then(|(_, node)| node.as_ref())
    }

    pub(crate) fn is_read(&self, name: &str) -> bool {
        self.readers.contains_key(name)
    }

    /// The folders in which external data may lie.
    pub(crate) fn data(&self) -> Option<&DataFolders> {
        self.data.as_ref()
    }

    /// A new name for what belongs to the present node alone.
    pub(crate) fn own_name(&mut self, what: &str) -> String {
        self.fresh_name(&format!("{}.{what}", self.reader.owner))
    }

    /// The nodes that read random numbers in another way than dropout does.
    pub(crate) fn misread(&self) -> Vec<ImportProblem> {
        let live = self.graph.live();
        let random: BTreeSet<NodeId> = self.uniform.keys().chain(&self.cast_only).copied().collect();
        let reads = |id: &NodeId| live[id.index()] && self.graph.operands(*id).iter().any(|x| random.contains(x));
        let problem = |id: NodeId| {
            let reason = "it reads random numbers; they are read as dropout only, compared with a number and cast";
            ImportProblem::at(format!("node `{}`", self.graph.node(id).name), reason)
        };
        self.graph.ids().filter(reads).map(problem).collect()
    }

    /// A name that nothing in the file has.
    pub(crate) fn fresh_name(&mut self, base: &str) -> String {
        self.names.fresh(base)
    }
}
