//! The compiler's stages as commands on text: the only file here that calls them.

#[path = "../../../crates/rewrite/tests/common/mod.rs"]
mod bits;

use bitbudget_autodiff::{Optimizer, evaluation, training};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Role, TensorType, TrainingId, verify};
use bitbudget_program::{Kernel, Machine};
use bitbudget_rewrite::Alternatives;
use bitbudget_schedule::{Place, Schedule, Setting, Storage, derivable, group, inside, place};
use bitbudget_select::{Cpu, Target, select};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// Why a stage refuses a graph, with the line of the file if one is to blame.
pub(crate) struct Failure {
    pub(crate) line: Option<usize>,
    pub(crate) text: String,
}

type Result<T> = std::result::Result<T, Vec<Failure>>;

fn failure(text: impl Display) -> Vec<Failure> {
    vec![Failure { line: None, text: text.to_string() }]
}

/// Runs a command on a text and gives its output.
pub(crate) fn run(command: &str, text: &str, options: &[(String, String)]) -> Result<String> {
    let mut options = Options(options.iter().cloned().collect());
    let output = match command {
        "parse" => round_trip(text),
        "verify" => checked(text).map(|_| "ok".to_string()),
        "infer" => infer(text),
        _ => {
            let subject = Subject::new(text, &mut options)?;
            match command {
                "train" => Ok(subject.graph.to_string()),
                "evaluate" => evaluation(&subject.graph).map(|graph| graph.to_string()).map_err(failure),
                "rewrite" => match options.take("reassociate") {
                    Some(node) => reassociate(&subject, &node),
                    None => Ok(rewrite(&subject)),
                },
                "derive" => derive(&subject),
                "recompute" => recompute(&subject, &options.need("nodes")?),
                "plan" => Ok(shown_plan(&subject)),
                "lower" => lower(&subject),
                _ => Err(failure(format!("`{command}` is not a command"))),
            }
        }
    };
    match options.0.keys().next() {
        Some(unknown) => Err(failure(format!("`{command}` has no option `{unknown}`"))),
        None => output,
    }
}

struct Options(BTreeMap<String, String>);

impl Options {
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn need(&mut self, name: &str) -> Result<String> {
        self.take(name).ok_or_else(|| failure(format!("the option `{name}` is missing")))
    }
}

fn is_node(line: &str) -> bool {
    line.trim_start().starts_with('%')
}

fn parsed(text: &str) -> Result<Graph> {
    text.parse().map_err(|error: bitbudget_ir::ParseError| {
        let text = error.to_string();
        let place = text.strip_prefix("line ").and_then(|text| text.split_once(": "));
        match place.and_then(|(line, reason)| Some((line.parse().ok()?, reason))) {
            Some((line, reason)) => vec![Failure { line: Some(line), text: reason.to_string() }],
            None => failure(text),
        }
    })
}

fn round_trip(text: &str) -> Result<String> {
    let written = parsed(text)?.to_string();
    let again = parsed(&written)?.to_string();
    if again == written { Ok(written) } else { Err(failure(format!("read again it is\n{again}"))) }
}

/// The graph, if the verifier is content.
fn checked(text: &str) -> Result<Graph> {
    let graph = parsed(text)?;
    let lines: Vec<usize> = text.lines().enumerate().filter(|(_, line)| is_node(line)).map(|(at, _)| at + 1).collect();
    let of_node = |id: NodeId| {
        let name = &graph.node(id).name;
        let name = if name.is_empty() { id.to_string() } else { name.clone() };
        format!("{} `{name}`", graph.op(id).name())
    };
    let located = |text: String| {
        let id = graph.ids().rfind(|&id| text.starts_with(&of_node(id)));
        Failure { line: id.map(|id| lines[id.index()]), text }
    };
    match verify(&graph) {
        Ok(()) => Ok(graph),
        Err(faults) => Err(faults.iter().map(|fault| located(fault.to_string())).collect()),
    }
}

/// The graph with the types of the nodes whose line says `: ?`.
fn infer(text: &str) -> Result<String> {
    let nodes: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, line)| is_node(line)).collect();
    let graph = parsed(&text.replace(" : ?", " : f32[]"))?;
    let mut types: Vec<TensorType> = Vec::new();
    let (mut whole, mut failures) = (text.to_string(), Vec::new());
    for (id, (at, line)) in graph.ids().zip(nodes) {
        types.push(graph.ty(id).clone());
        if line.contains(" : ?") {
            let operands: Vec<&TensorType> = graph.operands(id).iter().map(|o| &types[o.index()]).collect();
            match graph.op(id).infer(&operands) {
                Ok(ty) => {
                    whole = whole.replacen(" : ?", &format!(" : {ty}"), 1);
                    types[id.index()] = ty;
                }
                Err(reason) => failures.push(Failure { line: Some(at + 1), text: reason.to_string() }),
            }
        }
    }
    if failures.is_empty() { checked(&whole).map(|graph| graph.to_string()) } else { Err(failures) }
}

/// A graph in formats, with the setting in which it is compiled.
struct Subject {
    graph: Graph,
    batch: usize,
    storage: Storage,
}

impl Subject {
    fn new(text: &str, options: &mut Options) -> Result<Subject> {
        let mut graph = checked(text)?;
        if let Some(name) = options.take("optimizer") {
            let optimizer = match name.as_str() {
                "sgd" => Optimizer::sgd(),
                "adamw" => Optimizer::adamw(),
                _ => return Err(failure(format!("`{name}` is not an optimizer"))),
            };
            graph = training(&graph, &optimizer).map_err(failure)?;
        }
        for (name, is_meant) in ROLES {
            let Some(format) = options.take(name) else { continue };
            let format: Format = format.parse().map_err(failure)?;
            let meant: Vec<NodeId> = graph.ids().filter(|&id| is_meant(graph.node(id).role)).collect();
            meant.into_iter().for_each(|id| graph.set_format(id, format));
        }
        let batch = options.take("batch").unwrap_or("2".to_string()).parse().map_err(failure)?;
        let storage = match options.take("storage").as_deref() {
            Some("simulated") => Storage::Simulated,
            None => Storage::Packed,
            Some(other) => return Err(failure(format!("`{other}` is not a storage"))),
        };
        Ok(Subject { graph, batch, storage })
    }

    fn setting(&self) -> Setting {
        Setting { batch: self.batch, storage: self.storage, alignment: Cpu.alignment() }
    }

    /// The schedule, with the kernels of its steps.
    fn schedule(&self) -> (Schedule, Vec<Kernel>) {
        let (graph, batch) = (&self.graph, self.batch);
        let steps = group(graph, batch);
        let kernels = select(&Cpu, graph, &steps, &inside(graph, &steps, batch), batch);
        let workspace: Vec<usize> = kernels.iter().map(|kernel| kernel.workspace).collect();
        (place(graph, steps, &workspace, &self.setting()), kernels)
    }
}

type IsMeant = fn(Role) -> bool;

/// Options that give all nodes of a role a format.
const ROLES: [(&str, IsMeant); 4] = [
    ("output", |role| role == Role::Output),
    ("parameter", |role| role == Role::Parameter),
    ("gradient", |role| matches!(role, Role::OutputGradient { .. })),
    ("parameter_gradient", |role| matches!(role, Role::ParameterGradient { .. })),
];

/// The rules that merge something, how often, and the graph that is extracted. All alternatives are computed on ordinary
/// and on special numbers: they must have the same bits.
fn rewrite(subject: &Subject) -> String {
    let check = |(seed, special)| bits::check(&subject.graph, seed, special);
    let [(found, rewritten), ..] = [(1, false), (2, true), (9, true)].map(check);
    shown_rewritten(&found, &rewritten)
}

/// The same with rules of real numbers. Results may differ by a unit in the last place of each element of a node.
fn reassociate(subject: &Subject, node: &str) -> Result<String> {
    let graph = &subject.graph;
    let summed: usize = node.parse().map_err(failure)?;
    let check = |seed| {
        let results = bits::run(graph, &bits::values(graph, seed, false));
        let total: f32 = results[summed].data.iter().map(|x| x.abs()).sum();
        let unit = 0.5f32.powi(graph.format(NodeId(summed as u32)).mantissa_bits() as i32);
        bits::check_within(graph, seed, total * unit)
    };
    let [(found, rewritten), ..] = [1, 2, 9].map(check);
    Ok(shown_rewritten(&found, &rewritten))
}

fn shown_rewritten(found: &Alternatives, rewritten: &Graph) -> String {
    let fired: BTreeMap<_, _> = found.fired.iter().copied().filter(|(_, times)| *times > 0).collect();
    let fired: String = fired.iter().map(|(rule, times)| format!("fired {rule} {times}\n")).collect();
    format!("{fired}{rewritten}\n")
}

fn steps(schedule: &Schedule) -> Vec<Vec<NodeId>> {
    schedule.steps.iter().map(|step| step.nodes.clone()).collect()
}

/// What is derived, where that is counted, and the graph with its copies.
fn derive(subject: &Subject) -> Result<String> {
    let graph = &subject.graph;
    let exact = graph.exact();
    let steps = group(&exact, subject.batch);
    let takes = |reader, position| Cpu.takes(&exact, reader, position);
    let derived = derivable(&exact, &steps, &subject.setting(), &takes);
    let mut text = String::new();
    for (id, step) in &derived {
        let counted: Vec<&str> = steps[*step].iter().map(|&id| graph.op(id).name()).collect();
        let _ = writeln!(text, "derived {id} {}, counted with {}", graph.op(*id).name(), counted.join(" "));
    }
    let copied = bitbudget_rewrite::derive(graph, &steps, &derived).map_err(failure)?;
    Ok(format!("{text}{copied}\n"))
}

/// The graph with copies of the nodes, `3,7`.
fn recompute(subject: &Subject, nodes: &str) -> Result<String> {
    let (schedule, _) = subject.schedule();
    let again: std::result::Result<Vec<u32>, _> = nodes.split(',').map(str::parse).collect();
    let again: Vec<TrainingId> = again.map_err(failure)?.into_iter().map(TrainingId).collect();
    let copied = bitbudget_rewrite::recompute(&subject.graph, &steps(&schedule), &again);
    copied.map(|copied| format!("{copied}\n")).map_err(failure)
}

/// The peak, then each step with its results' places and what ends.
fn shown_plan(subject: &Subject) -> String {
    let (schedule, _) = subject.schedule();
    let peak = schedule.peak;
    let mut text = format!("arena {}, peak {} in step {}:", schedule.arena, peak.total(), peak.step);
    for (name, bytes) in [
        ("masters", peak.masters),
        ("state", peak.state),
        ("parameters", peak.packed_parameters),
        ("activations", peak.activations),
        ("gradients", peak.gradients),
        ("workspace", peak.workspace),
    ] {
        if bytes > 0 {
            let _ = write!(text, " {name} {bytes}");
        }
    }
    let bytes: BTreeMap<NodeId, usize> =
        schedule.lives.iter().filter_map(|life| Some((life.tensor?, life.bytes))).collect();
    for (at, step) in schedule.steps.iter().enumerate() {
        let _ = write!(text, "\nstep {at}:");
        for (i, &id) in step.nodes.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(text, "{comma} {id} {}", subject.graph.op(id).name());
            let _ = match schedule.places[id.index()] {
                Some(Place::Inside) => write!(text, " inside"),
                Some(Place::Arena(offset)) => write!(text, " at {offset}+{}", bytes[&id]),
                Some(Place::Kept(target)) => write!(text, " in place of {target}"),
                Some(Place::Alias) => write!(text, " alias"),
                None => write!(text, " nowhere"),
            };
        }
        if let Some(offset) = step.workspace {
            let _ = write!(text, "; workspace at {offset}");
        }
        if !step.ends.is_empty() {
            let ends: Vec<String> = step.ends.iter().map(NodeId::to_string).collect();
            let _ = write!(text, "; ends {}", ends.join(" "));
        }
    }
    text
}

fn lower(subject: &Subject) -> Result<String> {
    let (schedule, kernels) = subject.schedule();
    let program = bitbudget_lower::lower(&subject.graph, &schedule, &kernels, &subject.setting(), Machine::Cpu)
        .map_err(failure)?;
    Ok(program.to_string())
}
