//! Every tensor is there, alone in its place, from its computation to its last reader, and the stated peak holds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Op, Role};
use bitbudget_schedule::{Life, Memory, Place, Schedule, Setting, Storage, group, place};
use bitbudget_testkit::NETWORK;
use bitbudget_zoo::{Network, Spec, build};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const BATCH: usize = 6;
const ALIGNMENT: usize = 64;

struct Case<'a> {
    graph: &'a Graph,
    /// The same with its tensors in their formats.
    stored: Graph,
    formats: &'a [Format],
    storage: Storage,
    /// By step; 0 for the steps that it leaves out.
    workspace: Vec<usize>,
}

impl Case<'_> {
    fn bytes(&self, id: NodeId) -> usize {
        let width = match (self.graph.ty(id).dtype, self.storage) {
            (DType::Index8, _) => 1,
            (DType::F32, Storage::Packed) => self.formats[id.index()].bytes(),
            _ => 4,
        };
        self.graph.ty(id).shape.elements(BATCH) * width
    }

    fn plan(&self) -> Schedule {
        let (graph, setting) = (&self.stored, Setting { batch: BATCH, storage: self.storage, alignment: ALIGNMENT });
        place(graph, group(graph, BATCH), &self.workspace, &setting)
    }

    fn root(&self, id: NodeId) -> NodeId {
        self.stored.storage(id)
    }

    /// Plays the schedule, byte ranges and all.
    fn check(&self) {
        let (graph, schedule) = (self.graph, self.plan());
        let mut computed: BTreeSet<NodeId> = graph.ids().filter(|&id| graph.op(id).source_name().is_some()).collect();
        let rounded = |id: NodeId| matches!(graph.op(id), Op::Input(_)) && self.formats[id.index()] != Format::FP32;
        computed.retain(|&id| !rounded(id));
        // What lies where: first byte, end, tensor.
        let mut there: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
        let mut replaced: BTreeSet<NodeId> = BTreeSet::new();
        let mut most = 0;
        for (at, step) in schedule.steps.iter().enumerate() {
            let inside = |id: &NodeId| schedule.places[id.index()] == Some(Place::Inside);
            let mut reads = BTreeSet::new();
            for &id in &step.nodes {
                for &operand in graph.operands(id) {
                    let root = self.root(operand);
                    assert!(computed.contains(&operand), "{operand} is read by {id} before it is computed");
                    assert!(!replaced.contains(&root), "{root} is read by {id} after it was replaced");
                    if inside(&root) {
                        assert!(step.nodes.contains(&root), "{root} is read outside its step");
                    } else if let Some(Place::Arena(_)) = schedule.places[root.index()] {
                        assert!(there.contains_key(&root) || step.nodes.contains(&root), "{root} is gone before {id}");
                    }
                    reads.insert(root);
                }
                assert!(computed.insert(id), "{id} is computed twice");
                assert_eq!(schedule.places[id.index()] == Some(Place::Alias), self.stored.is_alias(id));
            }
            for &id in &step.nodes {
                match schedule.places[id.index()] {
                    Some(Place::Arena(offset)) => {
                        let range = (offset, offset + self.bytes(id));
                        assert!(offset % ALIGNMENT == 0 && range.1 <= schedule.arena, "{id} leaves the arena");
                        let overlapping: Vec<NodeId> =
                            there.iter().filter(|(_, r)| r.0 < range.1 && range.0 < r.1).map(|(&t, _)| t).collect();
                        for other in overlapping {
                            // In place: the same range, of an operand that ends here.
                            assert!(there.remove(&other) == Some(range) && reads.contains(&other), "{id} on {other}");
                            assert!(step.ends.contains(&other), "{id} takes the place of {other}, which goes on");
                        }
                        there.insert(id, range);
                    }
                    Some(Place::Kept(target)) => {
                        assert!(replaced.insert(target) && graph.updates().contains(&(target, id)));
                    }
                    Some(Place::Inside | Place::Alias) => {}
                    None => panic!("{id} has no place"),
                }
            }
            let workspace = self.workspace.get(at).copied().unwrap_or(0);
            assert_eq!(step.workspace.is_some(), workspace > 0);
            if let Some(offset) = step.workspace {
                assert!(offset + workspace <= schedule.arena);
                assert!(there.values().all(|r| offset + workspace <= r.0 || r.1 <= offset), "a workspace overlaps");
            }
            let alive = schedule.lives.iter().filter(|life| life.first <= at && at <= life.last);
            let (tensors, own): (Vec<&Life>, Vec<&Life>) = alive.partition(|life| life.tensor.is_some());
            let tensors: BTreeMap<_, _> = tensors.iter().map(|life| (life.tensor.unwrap(), life.bytes)).collect();
            assert_eq!(tensors, there.iter().map(|(&id, r)| (id, r.1 - r.0)).collect(), "what is alive at {at}");
            assert_eq!(own.iter().map(|life| life.bytes).sum::<usize>(), workspace);
            most = most.max(there.values().map(|r| r.1 - r.0).sum::<usize>() + workspace);
            for end in &step.ends {
                there.remove(end);
            }
        }
        assert!(most <= schedule.arena);
        self.outputs_are_there(&schedule, &there);
        self.the_peak_is_whole(schedule.peak, &schedule);
    }

    fn outputs_are_there(&self, schedule: &Schedule, there: &BTreeMap<NodeId, (usize, usize)>) {
        let graph = self.graph;
        let updates = graph.updates().iter().map(|&(_, value)| value);
        let mut lasting = BTreeSet::new();
        for id in graph.outputs().iter().map(|&(_, id)| id).chain(updates) {
            let root = self.root(id);
            if let Some(Place::Arena(_)) = schedule.places[root.index()] {
                lasting.insert(root);
            }
        }
        assert_eq!(there.keys().copied().collect::<BTreeSet<_>>(), lasting, "what is there at the end");
        let live = graph.live();
        let steps: Vec<NodeId> = schedule.steps.iter().flat_map(|step| step.nodes.clone()).collect();
        let computed = graph.ids().filter(|&id| live[id.index()] && graph.op(id).source_name().is_none()).count();
        assert!(steps.len() >= computed, "{} of {computed} are computed", steps.len());
    }

    fn the_peak_is_whole(&self, peak: Memory, schedule: &Schedule) {
        let sum = |pick: fn(&Op) -> bool| -> usize {
            self.graph.ids().filter(|&id| pick(self.graph.op(id))).map(|id| self.bytes(id)).sum()
        };
        assert_eq!(peak.masters, sum(|op| matches!(op, Op::Parameter(_))));
        assert_eq!(peak.state, sum(|op| matches!(op, Op::State(_) | Op::Constant(_))));
        assert_eq!(peak.without_masters_and_state(), schedule.arena);
        assert_eq!(peak.total(), schedule.arena + peak.masters + peak.state);
        assert!(peak.step < schedule.steps.len());
    }
}

fn network() -> Graph {
    training(&NETWORK.parse().unwrap(), &Optimizer::sgd()).unwrap()
}

fn zoo(network: Network) -> Graph {
    let spec = Spec { network, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
    training(&build(&spec).unwrap().graph, &Optimizer::adamw()).unwrap()
}

fn check(graph: &Graph, formats: &[Format]) {
    for storage in [Storage::Packed, Storage::Simulated] {
        let workspace = (0..graph.len()).map(|at| if at % 3 == 0 { 1000 * (at % 5) } else { 0 }).collect();
        Case { graph, stored: graph.stored_in(formats), formats, storage, workspace }.check();
    }
}

#[test]
fn tensors_of_all_networks_lie_apart() {
    for network in Network::OF_PAPER {
        let graph = zoo(network);
        check(&graph, &vec![Format::FP32; graph.len()]);
        let rounded = |id| if graph.node(id).role == Role::Internal { Format::FP32 } else { Format::PAPER_HIGH };
        check(&graph, &graph.ids().map(rounded).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tensors_of_any_formats_lie_apart(choice in proptest::collection::vec(0usize..4, 90), which in 0usize..3) {
        let graph = match which {
            0 => network(),
            1 => zoo(Network::ShuffleNetV2),
            _ => zoo(Network::SqueezeNet),
        };
        let table = [Format::FP32, Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::E5M2];
        let format = |id: NodeId| match graph.node(id).role {
            Role::Internal if !matches!(graph.op(id), Op::Input(_)) => Format::FP32,
            _ => table[choice[id.index() * 7 % choice.len()]],
        };
        let formats: Vec<Format> = graph.ids().map(format).collect();
        check(&graph, &formats);
    }
}

#[test]
fn copies_of_parameters_are_made_when_they_are_first_read() {
    let graph = network();
    let formats = vec![Format::PAPER_HIGH; graph.len()];
    let workspace = Vec::new();
    let schedule = Case {
        graph: &graph,
        stored: graph.stored_in(&formats),
        formats: &formats,
        storage: Storage::Packed,
        workspace,
    }
    .plan();
    let order: Vec<NodeId> = schedule.steps.iter().flat_map(|step| step.nodes.clone()).collect();
    let copy = |id: NodeId| graph.node(id).role == Role::Parameter;
    let mut copies = 0;
    for (position, id) in order.iter().enumerate().filter(|(_, id)| copy(**id)) {
        // Other copies that the same reader needs may stand between.
        let reader = order[position..].iter().find(|id| !copy(**id)).unwrap();
        let unit = &schedule.steps.iter().find(|step| step.nodes.contains(reader)).unwrap().nodes;
        assert!(unit.iter().any(|&node| graph.operands(node).contains(id)), "{id}");
        copies += 1;
    }
    assert_eq!(copies, 5);
}

#[test]
fn packing_divides_the_peak() {
    let graph = zoo(Network::ResNet18);
    let peak = |format: Format, storage| {
        let choose = |id| if graph.node(id).role == Role::Internal { Format::FP32 } else { format };
        let formats: Vec<Format> = graph.ids().map(choose).collect();
        let workspace = Vec::new();
        Case { graph: &graph, stored: graph.stored_in(&formats), formats: &formats, storage, workspace }.plan().arena
    };
    let whole = peak(Format::FP32, Storage::Packed);
    let simulated = peak(Format::PAPER_LOW_FORWARD, Storage::Simulated);
    let (half, quarter) = (peak(Format::PAPER_HIGH, Storage::Packed), peak(Format::E4M3, Storage::Packed));
    // A simulation also holds the rounded copies of parameters.
    assert!(simulated >= whole, "{simulated} {whole}");
    assert!(half as f64 <= 0.56 * whole as f64 && quarter as f64 <= 0.32 * whole as f64, "{whole} {half} {quarter}");
}
