//! The places of the results of steps.

use crate::group::group;
use crate::schedule::{Place, Schedule, Step};
use crate::setting::Setting;
use crate::tensors::Tensors;
use crate::{lifetimes, offsets, usage};
use bitbudget_ir::{Graph, NodeId};

/// [`group`], then [`place`], where no kernel needs workspace.
pub fn plan(graph: &Graph, setting: &Setting) -> Schedule {
    place(graph, group(graph, setting.batch), &[], setting)
}

/// The results, by node id, that are used inside their step only, so that they need no place.
pub fn inside(graph: &Graph, steps: &[Vec<NodeId>], batch: usize) -> Vec<bool> {
    lifetimes::inside(&Tensors::packed(graph, batch), steps)
}

/// Bytes of the arena that no places of the results of steps undercut: the most that is alive at one time.
pub fn alive(graph: &Graph, steps: &[Vec<NodeId>], workspace: &[usize], setting: &Setting) -> usize {
    let tensors = Tensors::stored(graph, setting.batch, setting.storage);
    let lives = lifetimes::lives(&tensors, steps, workspace, setting.alignment);
    offsets::live(&lives.items).into_iter().max().unwrap_or(0)
}

/// The places of the results of steps, which hold every node that something needs; `workspace` is the bytes that each step's kernel
/// needs beside operands and results.
pub fn place(graph: &Graph, steps: Vec<Vec<NodeId>>, workspace: &[usize], setting: &Setting) -> Schedule {
    let (tensors, units) = (&Tensors::stored(graph, setting.batch, setting.storage), steps);
    let lives = lifetimes::lives(tensors, &units, workspace, setting.alignment);
    let placed = offsets::place(&lives.items);
    let arena = placed.size;
    let in_arena = usage::in_arena(tensors, &lives);
    let peak = usage::peak(tensors, &lives, &in_arena, arena);
    let mut places = lives.places.clone();
    for (item, &offset) in lives.items.iter().zip(&placed.offsets) {
        for &id in &item.tensors {
            places[id.index()] = Some(Place::Arena(offset));
        }
    }
    let workspaces = lives.items.iter().zip(&placed.offsets).filter(|(item, _)| item.tensors.is_empty());
    let mut offsets = vec![None; units.len()];
    workspaces.for_each(|(item, &offset)| offsets[item.first] = Some(offset));
    let steps = units.into_iter().zip(lives.ends).zip(offsets);
    let steps = steps.map(|((nodes, ends), workspace)| Step { nodes, ends, workspace }).collect();
    Schedule { steps, places, arena, lives: in_arena, peak }
}
