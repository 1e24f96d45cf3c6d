//! Statistics that a file uses in arithmetic: batch normalisation that is frozen, or was taken apart, and normalisation of the
//! network's input.
//!
//! They are found by their names (`running_mean`, `running_var`, and Keras's `moving_mean`, `moving_variance`) where only
//! arithmetic reads them, and by what is computed: `(x - mean) / sqrt(variance + epsilon)`, or, with the scale computed
//! first, `bias - mean * scale`. Where a network first subtracts a stored tensor from its input and then divides by another, both
//! are statistics of the data.

use onnx_protobuf::{GraphProto, NodeProto, TensorProto};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const STATISTICS: [&str; 5] = ["running_mean", "running_var", "moving_mean", "moving_variance", "num_batches_tracked"];

/// Operators that show their first input in another form.
const VIEWS: [&str; 7] = ["Reshape", "Unsqueeze", "Squeeze", "Flatten", "Expand", "Cast", "CastLike"];

const ARITHMETIC: [&str; 8] = ["Add", "Sub", "Mul", "Div", "Sqrt", "Pow", "Neg", "Reciprocal"];

/// The graph by names.
struct Names<'g> {
    /// Initializers, and what Identity gives another name.
    stored: BTreeSet<&'g str>,
    /// Initializers of one element, such as epsilon.
    numbers: BTreeSet<&'g str>,
    writers: HashMap<&'g str, &'g NodeProto>,
    readers: HashMap<&'g str, Vec<(&'g NodeProto, usize)>>,
}

impl<'g> Names<'g> {
    fn new(graph: &'g GraphProto) -> Names<'g> {
        let (numbers, stored) = graph.initializer.iter().partition::<Vec<_>, _>(|t| t.dims.iter().all(|&d| d == 1));
        let set = |tensors: Vec<&'g TensorProto>| tensors.into_iter().map(|t| t.name.as_str()).collect();
        let (stored, numbers) = (set(stored), set(numbers));
        let mut names = Names { stored, numbers, writers: HashMap::new(), readers: HashMap::new() };
        for node in &graph.node {
            let again = node.op_type == "Identity" && node.input.iter().all(|i| names.stored.contains(i.as_str()));
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                names.writers.insert(output, node);
                if again {
                    names.stored.insert(output);
                }
            }
            for (position, input) in node.input.iter().enumerate() {
                names.readers.entry(input).or_default().push((node, position));
            }
        }
        names
    }

    /// The stored tensor that a name shows.
    fn stored(&self, mut name: &'g str) -> Option<&'g str> {
        for _ in 0..=VIEWS.len() {
            if self.stored.contains(name) {
                return Some(name);
            }
            let node = self.writers.get(name).filter(|node| VIEWS.contains(&node.op_type.as_str()))?;
            name = node.input.first()?;
        }
        None
    }

    /// Whether a name is that of a number, such as epsilon.
    fn is_number(&self, name: &str) -> bool {
        self.numbers.contains(name) || self.writers.get(name).is_some_and(|node| node.op_type == "Constant")
    }

    /// Whether only arithmetic, and batch normalisation as its statistics, reads a name.
    fn is_read_by_arithmetic_only(&self, name: &str, depth: usize) -> bool {
        let fits = |&(node, position): &(&NodeProto, usize)| match node.op_type.as_str() {
            "Identity" => true,
            "BatchNormalization" => position >= 3,
            "CastLike" | "Expand" | "Reshape" if position > 0 => true,
            op if VIEWS.contains(&op) => {
                depth > 0 && node.output.iter().all(|o| self.is_read_by_arithmetic_only(o, depth - 1))
            }
            op => ARITHMETIC.contains(&op),
        };
        self.readers.get(name).is_none_or(|readers| readers.iter().all(fits))
    }
}

impl Names<'_> {
    /// Whether arithmetic reads a name.
    fn is_computed_with(&self, name: &str, depth: usize) -> bool {
        let reads = |&(node, position): &(&NodeProto, usize)| match node.op_type.as_str() {
            op if VIEWS.contains(&op) && position == 0 && depth > 0 => {
                node.output.iter().any(|o| self.is_computed_with(o, depth - 1))
            }
            op => ARITHMETIC.contains(&op),
        };
        self.readers.get(name).into_iter().flatten().any(reads)
    }
}

/// The stored tensors of a graph that are running statistics in arithmetic; its nodes stand in the order given.
pub(crate) fn statistics(graph: &GraphProto, order: &[usize]) -> BTreeSet<String> {
    let names = Names::new(graph);
    let is_statistic = |name: &&str| STATISTICS.contains(&name.rsplit(['.', '/']).next().unwrap_or(name));
    let mut found: BTreeSet<&str> = names.stored.iter().copied().filter(is_statistic).collect();
    found.extend(by_pattern(graph, order, &names));
    found.extend(of_input(graph, &names));
    found.retain(|name| {
        names.is_read_by_arithmetic_only(name, VIEWS.len()) && names.is_computed_with(name, VIEWS.len())
    });
    found.into_iter().map(String::from).collect()
}

/// Mean and deviation of the network's input, if it is normalised first: `(x - mean) / deviation`, or times its reciprocal. Either alone
/// may be a layer that is trained.
fn of_input<'g>(graph: &'g GraphProto, names: &Names<'g>) -> BTreeSet<&'g str> {
    let is_stored = |name: &str| graph.initializer.iter().any(|t| t.name == name && !t.dims.is_empty());
    // The stored tensor that the only reader of a name takes from it, or divides it by, and that reader's result. Where others
    // read the name too, the network may have a shortcut.
    let next = |name: &str, operators: &[&str]| -> Option<(&'g str, &'g str)> {
        let [(node, 0)] = names.readers.get(name)?.as_slice() else { return None };
        let [_, other] = node.input.as_slice() else { return None };
        let fits = operators.contains(&node.op_type.as_str()) && is_stored(other);
        Some((other.as_str(), node.output.first()?.as_str())).filter(|_| fits)
    };
    let inputs = graph.input.iter().filter(|input| !graph.initializer.iter().any(|t| t.name == input.name));
    let normalised = inputs.filter_map(|input| {
        let (mean, centred) = next(&input.name, &["Sub"])?;
        let (deviation, _) = next(centred, &["Div", "Mul"])?;
        Some([mean, deviation])
    });
    normalised.flatten().collect()
}

/// Means and variances by what is computed of them.
fn by_pattern<'g>(graph: &'g GraphProto, order: &[usize], names: &Names<'g>) -> BTreeSet<&'g str> {
    // The tensors that are computed from a deviation, sqrt(variance + epsilon), and stored tensors alone: their variances.
    let mut deviations: BTreeMap<&str, BTreeSet<&'g str>> = BTreeMap::new();
    let nodes = || order.iter().filter_map(|&at| graph.node.get(at));
    for node in nodes() {
        let variances: BTreeSet<&'g str> = match node.op_type.as_str() {
            "Sqrt" => variance(node, names).into_iter().collect(),
            "Div" | "Mul" | "Reciprocal" => scaled(node, &deviations, names),
            op if VIEWS.contains(&op) => {
                node.input.first().and_then(|i| deviations.get(i.as_str())).cloned().unwrap_or_default()
            }
            _ => BTreeSet::new(),
        };
        if let (Some(output), false) = (node.output.first(), variances.is_empty()) {
            deviations.insert(output, variances);
        }
    }
    let mut found = BTreeSet::new();
    for node in nodes().filter(|node| node.op_type == "Sub") {
        let ([_, taken], Some(output)) = (node.input.as_slice(), node.output.first()) else { continue };
        // (x - mean) / deviation, or times its reciprocal.
        if let Some(mean) = names.stored(taken) {
            let readers = names.readers.get(output.as_str()).into_iter().flatten();
            let others = readers
                .filter(|(reader, position)| reader.op_type == "Mul" || (reader.op_type == "Div" && *position == 0))
                .flat_map(|(reader, _)| &reader.input);
            for variances in others.filter_map(|name| deviations.get(name.as_str())) {
                found.insert(mean);
                found.extend(variances);
            }
        }
        // bias - mean * scale, with the scale divided by the deviation.
        if let Some([a, b]) =
            names.writers.get(taken.as_str()).filter(|w| w.op_type == "Mul").map(|w| w.input.as_slice())
        {
            for (mean, scale) in [(a, b), (b, a)] {
                if let (Some(mean), Some(variances)) = (names.stored(mean), deviations.get(scale.as_str())) {
                    found.insert(mean);
                    found.extend(variances);
                }
            }
        }
    }
    found
}

/// The stored tensor of which a Sqrt takes the root, with a number added or not.
fn variance<'g>(node: &'g NodeProto, names: &Names<'g>) -> Option<&'g str> {
    let under = node.input.first()?;
    match names.writers.get(under.as_str()).filter(|w| w.op_type == "Add").map(|w| w.input.as_slice()) {
        Some([a, b]) if names.is_number(b) => names.stored(a),
        Some([a, b]) if names.is_number(a) => names.stored(b),
        Some(_) => None,
        None => names.stored(under),
    }
}

/// The variances behind a node all of whose inputs are stored, numbers, or computed from deviations.
fn scaled<'g>(
    node: &'g NodeProto,
    deviations: &BTreeMap<&str, BTreeSet<&'g str>>,
    names: &Names<'g>,
) -> BTreeSet<&'g str> {
    let mut variances = BTreeSet::new();
    for input in &node.input {
        match deviations.get(input.as_str()) {
            Some(behind) => variances.extend(behind),
            None if names.is_number(input) || names.stored(input).is_some() => {}
            None => return BTreeSet::new(),
        }
    }
    variances
}
