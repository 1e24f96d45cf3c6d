//! Profiles against finite differences of the reference interpreter in FP64, which know nothing of gradients, roles and
//! kernels.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget::profiling;
use bitbudget_autodiff::{Optimizer, training};
use bitbudget_exec::{Array, Executor, Inputs, Target};
use bitbudget_formats::{Format, Overflow, Rounder};
use bitbudget_ir::{Bindings, Graph, Model, NodeId, Op, Role, interpret, ops};
use bitbudget_precision::Kind;
use bitbudget_profile::{Profile, ProfileError, Settings, measure};
use bitbudget_testkit::{NETWORK, numbers};
use std::collections::BTreeMap;

/// An operator in front of the first parameter, a relabelled tensor with two readers, and a flatten.
const RELABELLED: &str = r#"graph "relabelled" {
  %0 = input {name="x"} : f32[N,2,3,3]
  %1 = sigmoid(%0) : f32[N,2,3,3] output "front"
  %2 = parameter {name="w"} : f32[4,2,1,1]
  %3 = conv(%1, %2) {strides=[1,1], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], groups=1} : f32[N,4,3,3] output "conv"
  %4 = transpose(%3) {perm=[0,2,3,1]} : f32[N,3,3,4] output
  %5 = reshape(%4) {shape=<N,36>} : f32[N,36] output
  %6 = parameter {name="a"} : f32[3,36]
  %7 = parameter {name="b"} : f32[3,36]
  %8 = matmul(%5, %6) {trans_a=false, trans_b=true} : f32[N,3] output "fc1"
  %9 = tanh(%5) : f32[N,36] output "tanh"
  %10 = matmul(%9, %7) {trans_a=false, trans_b=true} : f32[N,3] output "fc2"
  %11 = add(%8, %10) : f32[N,3] output "scores"
  return "scores" = %11
}"#;

const BATCH: usize = 3;
const FORMATS: [Format; 4] = [Format::FP32, Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD];

struct Case {
    model: Model,
    training: Graph,
    /// The shape of the input at the batch size.
    shape: Vec<usize>,
    examples: Vec<f32>,
    labels: Vec<i32>,
}

impl Case {
    fn new(network: &str, classes: i32) -> Case {
        let graph: Graph = network.parse().unwrap();
        let mut values = BTreeMap::new();
        for id in graph.ids() {
            if let Op::Parameter(op) = graph.op(id) {
                values.insert(op.name.clone(), numbers(graph.ty(id).shape.elements(BATCH), 5 + op.name.len()));
            }
        }
        let training = training(&graph, &Optimizer::sgd()).unwrap();
        let shape = graph.ty(NodeId(0)).shape.at(BATCH);
        let examples = numbers(shape.iter().product(), 11);
        let labels = (0..BATCH as i32).map(|i| (2 * i + 1) % classes).collect();
        Case { model: Model { graph, values }, training, shape, examples, labels }
    }

    fn settings(learning_rate: f32, loss_scale: f32) -> Settings {
        let (data, formats) = ("numbers".to_string(), FORMATS.to_vec());
        Settings {
            data,
            loss: "cross-entropy".into(),
            seed: 0,
            batch: BATCH,
            batches: 1,
            learning_rate,
            loss_scale,
            formats,
        }
    }

    fn profile(&self, settings: Settings, threads: usize) -> Result<Profile, ProfileError> {
        let (probe, programs) = profiling(&self.training, BATCH).unwrap();
        let mut executor = Executor::new(Target::Cpu, threads).unwrap();
        let (x, labels) = (Array::f32(&self.shape, &self.examples), Array::integers(&[BATCH], &self.labels));
        let batches = vec![Inputs::new([("x", x), ("labels", labels)]); settings.batches];
        measure(&self.model, &probe, &programs, &mut executor, settings, &batches, &mut || ())
    }

    fn loss_node(&self) -> NodeId {
        self.training.output("loss").unwrap()
    }

    /// The readers of a tensor that contribute to its gradient each by itself.
    fn readers(&self, node: NodeId) -> Vec<Vec<NodeId>> {
        let readers = self.training.readers(node).into_iter().filter(|&r| r <= self.loss_node());
        let readers: Vec<NodeId> = readers.filter(|&r| !self.training.op(r).name().starts_with("running")).collect();
        // The gradient of a batch normalisation is that of the whole.
        match readers.iter().any(|&r| matches!(self.training.op(r), Op::BatchMean(_))) {
            true => vec![readers],
            false => readers.into_iter().map(|r| vec![r]).collect(),
        }
    }

    /// Everything up to the loss, at parameters of one's own, where `readers` see `node`'s result with `delta` added.
    fn run(
        &self,
        parameters: &BTreeMap<String, Vec<f64>>,
        node: NodeId,
        readers: &[NodeId],
        delta: &[f64],
    ) -> BTreeMap<NodeId, Vec<f64>> {
        let mut graph = Graph::new("moved");
        let mut bound = parameters.clone();
        bound.insert("delta".into(), delta.to_vec());
        let change = graph.source(ops::Parameter { name: "delta".into() }, self.training.ty(node).clone());
        let mut moved: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        let mut seen = node;
        for id in self.training.ids().take_while(|&id| id <= self.loss_node()) {
            let op = self.training.op(id).clone();
            if let Some(name) = op.source_name() {
                let value = match &op {
                    Op::Input(op) if !op.target => self.examples.iter().map(|&x| f64::from(x)).collect(),
                    Op::Input(_) => self.labels.iter().map(|&x| f64::from(x)).collect(),
                    _ => vec![0.0; self.training.ty(id).shape.elements(BATCH)],
                };
                bound.entry(name.to_string()).or_insert(value);
                moved.insert(id, graph.source(op.clone(), self.training.ty(id).clone()));
            } else {
                let operand = |o: &NodeId| if *o == node && readers.contains(&id) { seen } else { moved[o] };
                let operands: Vec<NodeId> = self.training.operands(id).iter().map(operand).collect();
                moved.insert(id, graph.add(op, &operands).unwrap());
            }
            if id == node {
                seen = graph.add(ops::Add {}, &[moved[&id], change]).unwrap();
            }
        }
        let results = interpret::<f64>(&graph, &Bindings { batch: BATCH, values: bound }).unwrap();
        moved.into_iter().map(|(id, new)| (id, results[new.index()].data.clone())).collect()
    }

    fn parameters(&self) -> BTreeMap<String, Vec<f64>> {
        let wide = |(name, value): (&String, &Vec<f32>)| (name.clone(), value.iter().map(|&x| f64::from(x)).collect());
        self.model.values.iter().map(wide).collect()
    }

    fn zeros(&self, node: NodeId) -> Vec<f64> {
        vec![0.0; self.training.ty(node).shape.elements(BATCH)]
    }

    fn loss(&self, parameters: &BTreeMap<String, Vec<f64>>, node: NodeId, readers: &[NodeId], delta: &[f64]) -> f64 {
        self.run(parameters, node, readers, delta)[&self.loss_node()][0]
    }

    /// One contribution to the gradient of the loss, by central differences.
    fn gradient(&self, node: NodeId, readers: &[NodeId]) -> Vec<f64> {
        let parameters = self.parameters();
        let mut delta = self.zeros(node);
        let elements = delta.len();
        let slope = |i: usize| {
            delta[i] = STEP;
            let up = self.loss(&parameters, node, readers, &delta);
            delta[i] = -STEP;
            let down = self.loss(&parameters, node, readers, &delta);
            delta[i] = 0.0;
            (up - down) / (2.0 * STEP)
        };
        (0..elements).map(slope).collect()
    }

    fn contributions(&self, node: NodeId) -> Vec<Vec<f64>> {
        self.readers(node).iter().map(|readers| self.gradient(node, readers)).collect()
    }

    /// The rounded copies of the parameters by name.
    fn copies(&self) -> BTreeMap<String, NodeId> {
        let copies = self.training.ids().filter(|&id| self.training.node(id).role == Role::Parameter);
        copies.map(|id| (self.training.node(id).name.clone(), id)).collect()
    }

    /// The parameters after a step, with an error added to their gradients.
    fn stepped(&self, learning_rate: f64, error: &BTreeMap<String, Vec<f64>>) -> BTreeMap<String, Vec<f64>> {
        let mut parameters = self.parameters();
        for (name, copy) in self.copies() {
            let mut gradient = sum(&self.contributions(copy));
            if let Some(error) = error.get(&name) {
                gradient.iter_mut().zip(error).for_each(|(g, e)| *g += e);
            }
            let value = parameters.get_mut(&name).unwrap();
            value.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= learning_rate * g);
        }
        parameters
    }
}

const STEP: f64 = 1e-5;

fn sum(parts: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; parts.first().map_or(0, Vec::len)];
    parts.iter().for_each(|part| sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x));
    sum
}

/// What rounding adds, at a scale.
fn errors(format: Format, scale: f64, x: &[f64]) -> Vec<f64> {
    let rounder = Rounder::new(format, Overflow::Saturate);
    x.iter().map(|&x| f64::from(rounder.round((x * scale) as f32)) / scale - x).collect()
}

/// By how much costs (their roots) may differ because FP32 computes a number that lies next to a tie on its other side.
fn slack(format: Format, scale: f64, x: &[f64], effect: &[f64]) -> f64 {
    let rounder = Rounder::new(format, Overflow::Saturate);
    let round = |x: f64| f64::from(rounder.round((x * scale) as f32)) / scale;
    let jump = |(&x, t): (&f64, &f64)| {
        let (low, high) = (round(x - 1e-6 * x.abs() - 1e-9), round(x + 1e-6 * x.abs() + 1e-9));
        // Numbers between which the format rounds nothing are no jump.
        if high - low > 1e-5 * x.abs() { (high - low) * t.abs() } else { 0.0 }
    };
    2.0 * x.iter().zip(effect).map(jump).sum::<f64>()
}

fn moment(error: &[f64], effect: &[f64]) -> (f64, f64) {
    let products = error.iter().zip(effect).map(|(e, t)| e * t);
    (products.clone().sum(), products.map(|p| p * p).sum())
}

fn check_against_finite_differences(case: &Case) {
    let (rate, scale) = (0.05, 1024.0);
    let profile = case.profile(Case::settings(rate as f32, scale as f32), 2).unwrap();
    let here = case.run(&case.parameters(), case.loss_node(), &[], &[0.0]);
    let moved = case.stepped(rate, &BTreeMap::new());
    let after = case.run(&moved, case.loss_node(), &[], &[0.0]);
    let mut compared = 0;
    for tensor in &profile.tensors {
        let node = NodeId(tensor.node);
        if node == case.loss_node() {
            assert_eq!(tensor.worst(), 0.0);
            continue;
        }
        let contributions = case.contributions(node);
        let gradient = sum(&contributions);
        let trained = case.training.ids().any(|id| {
            matches!(case.training.node(id).role, Role::OutputGradient { of } | Role::ParameterGradient { of } if of == node)
        });
        let tangent = || here[&node].iter().zip(&after[&node]).map(|(a, b)| a - b).collect();
        let (parts, scale, effect): (Vec<Vec<f64>>, f64, Vec<f64>) = match tensor.kind {
            Kind::Parameter | Kind::Output => (vec![here[&node].clone()], 1.0, gradient.clone()),
            _ if !trained => {
                assert_eq!((tensor.min, tensor.max, tensor.worst()), (0.0, 0.0, 0.0), "{}", tensor.name);
                continue;
            }
            Kind::OutputGradient => (contributions, scale, tangent()),
            Kind::ParameterGradient => (contributions, scale, gradient.iter().map(|g| g * rate).collect()),
        };
        let whole = sum(&parts);
        let near = |a: f64, e: f64, what: &str| {
            assert!((a - e).abs() <= 1e-4 * e.abs() + 1e-7, "{} `{}` {what}: {a}, not {e}", tensor.kind, tensor.name);
        };
        near(tensor.min, whole.iter().copied().fold(f64::MAX, f64::min), "min");
        near(tensor.max, whole.iter().copied().fold(f64::MIN, f64::max), "max");
        near(tensor.mean_abs, whole.iter().map(|x| x.abs()).sum::<f64>() / whole.len() as f64, "mean");
        for row in &tensor.formats {
            let format = row.format;
            let error = sum(&parts.iter().map(|part| errors(format, scale, part)).collect::<Vec<_>>());
            let (mean, squares) = moment(&error, &effect);
            let expected = if format == Format::FP32 { 0.0 } else { mean * mean + squares };
            let apart = (row.cost.sqrt() - expected.sqrt()).abs();
            let slack: f64 = parts.iter().map(|part| slack(format, scale, part, &effect)).sum();
            assert!(
                apart <= 0.01 * expected.sqrt() + slack + 1e-9,
                "{} `{}` in {format}: {}, not {expected}",
                tensor.kind,
                tensor.name,
                row.cost
            );
            let share = |wanted: &dyn Fn(f64) -> bool| {
                let count = parts.iter().flatten().filter(|&&x| wanted((x * scale).abs())).count();
                count as f64 / parts.iter().map(Vec::len).sum::<usize>() as f64
            };
            assert_eq!(row.overflow, share(&|x| x >= f64::from(format.overflow_threshold())));
            // Differences leave noise where the gradient is zero.
            let under = |x: f64| x > 1e-6 && x < f64::from(format.underflow_threshold());
            assert!((row.underflow - share(&under)).abs() < 1e-9, "{} {}", tensor.name, row.underflow);
            compared += usize::from(slack < 0.02 * expected.sqrt());
        }
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn costs_are_those_of_finite_differences() {
    check_against_finite_differences(&Case::new(NETWORK, 5));
}

#[test]
fn costs_of_relabelled_tensors_are_those_of_finite_differences() {
    check_against_finite_differences(&Case::new(RELABELLED, 3));
}

/// The change of the loss when one tensor alone is really rounded, in the forward pass or in the step that follows.
#[test]
fn costs_foretell_the_change_of_the_loss() {
    let (rate, scale, format) = (1e-3, 65536.0, Format::PAPER_HIGH);
    for (network, classes) in [(NETWORK, 5), (RELABELLED, 3)] {
        let case = Case::new(network, classes);
        let profile = case.profile(Case::settings(rate as f32, scale as f32), 1).unwrap();
        let here = case.run(&case.parameters(), case.loss_node(), &[], &[0.0]);
        let exact = case.loss(&case.parameters(), case.loss_node(), &[], &[0.0]);
        let copies = case.copies();
        let stepped = case.loss(&case.stepped(rate, &BTreeMap::new()), case.loss_node(), &[], &[0.0]);
        let mut compared = 0;
        for name in ["conv", "front", "pool", "fc", "fc1", "w", "v", "a"] {
            for tensor in profile.tensors.iter().filter(|t| t.name == name) {
                let node = NodeId(tensor.node);
                let [contribution] = &case.contributions(node)[..] else { continue };
                let all: Vec<NodeId> = case.training.readers(node);
                let (change, squares, slack) = match tensor.kind {
                    Kind::Parameter | Kind::Output => {
                        let error = errors(format, 1.0, &here[&node]);
                        let change = case.loss(&case.parameters(), node, &all, &error) - exact;
                        (change, moment(&error, contribution).1, slack(format, 1.0, &here[&node], contribution))
                    }
                    Kind::OutputGradient | Kind::ParameterGradient if tensor.max == 0.0 => continue,
                    Kind::OutputGradient | Kind::ParameterGradient => {
                        let error = errors(format, scale, contribution);
                        // What the error adds to each parameter's gradient: the slope of its product with the tensor.
                        let product = |parameters: &BTreeMap<String, Vec<f64>>| {
                            moment(&error, &case.run(parameters, case.loss_node(), &[], &[0.0])[&node]).0
                        };
                        let mut added = BTreeMap::new();
                        for name in copies.keys() {
                            let slope = |i: usize| {
                                let mut moved = case.parameters();
                                moved.get_mut(name).unwrap()[i] += STEP;
                                let up = product(&moved);
                                moved.get_mut(name).unwrap()[i] -= 2.0 * STEP;
                                (up - product(&moved)) / (2.0 * STEP)
                            };
                            added.insert(name.clone(), (0..case.model.values[name].len()).map(slope).collect());
                        }
                        let moved = case.stepped(rate, &BTreeMap::new());
                        let after = case.run(&moved, case.loss_node(), &[], &[0.0]);
                        let effect: Vec<f64> = here[&node].iter().zip(&after[&node]).map(|(a, b)| a - b).collect();
                        let change = case.loss(&case.stepped(rate, &added), case.loss_node(), &[], &[0.0]) - stepped;
                        (change, moment(&error, &effect).1, slack(format, scale, contribution, &effect))
                    }
                };
                let (cost, expected) = (tensor.cost(format).unwrap(), change * change + squares);
                assert!(
                    (cost.sqrt() - expected.sqrt()).abs() <= 0.03 * expected.sqrt() + slack,
                    "{} `{name}`: {cost}, not {expected} ({change})",
                    tensor.kind
                );
                compared += usize::from(slack < 0.1 * expected.sqrt());
            }
        }
        assert!(compared >= 6, "{compared}");
    }
}

#[test]
fn costs_do_not_depend_on_threads_or_on_repeated_batches() {
    let case = Case::new(NETWORK, 5);
    let one = case.profile(Case::settings(0.05, 65536.0), 1).unwrap();
    let two = case.profile(Case::settings(0.05, 65536.0), 2).unwrap();
    assert_eq!(one.tensors, two.tensors);
    let twice = case.profile(Settings { batches: 2, ..Case::settings(0.05, 65536.0) }, 2).unwrap();
    assert_eq!(one.tensors, twice.tensors);
}

#[test]
fn every_forward_operator_has_its_time() {
    let case = Case::new(NETWORK, 5);
    let profile = case.profile(Case::settings(0.05, 65536.0), 1).unwrap();
    let total: f64 = profile.seconds.forward.iter().map(|n| n.seconds).sum();
    assert!(total > 0.0 && total <= profile.seconds.step);
    let timed: Vec<NodeId> = profile.seconds.forward.iter().map(|n| NodeId(n.node)).collect();
    let computes = |&id: &NodeId| {
        let op = case.training.op(id);
        let name = op.name();
        op.source_name().is_none() && !["cast", "reshape", "running_average", "running_variance"].contains(&name)
    };
    let expected: Vec<NodeId> = case.training.ids().take_while(|&id| id <= case.loss_node()).filter(computes).collect();
    assert_eq!(timed, expected);
    assert!(timed.iter().all(|&id| profile.seconds_of(id) > 0.0));
}

#[test]
fn settings_without_meaning_are_refused() {
    let case = Case::new(NETWORK, 5);
    let good = || Case::settings(0.05, 65536.0);
    let cases = [
        (Settings { batches: 0, ..good() }, "at least 1"),
        (Settings { learning_rate: 0.0, ..good() }, "learning rate is 0"),
        (Settings { learning_rate: f32::NAN, ..good() }, "learning rate is NaN"),
        (Settings { loss_scale: 0.0, ..good() }, "loss scale is 0"),
        (Settings { loss_scale: f32::INFINITY, ..good() }, "loss scale is inf"),
        (Settings { formats: Vec::new(), ..good() }, "at least one"),
        (Settings { formats: vec![Format::BF16; 2], ..good() }, "bf16 is named twice"),
        (Settings { loss_scale: 126f32.exp2(), learning_rate: 1e30, ..good() }, "not finite"),
    ];
    for (settings, words) in cases {
        let error = case.profile(settings, 1).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
