//! The costs of the alternatives.

use super::choices::{Meaning, Program, pick};
use bitbudget_formats::Format;
use bitbudget_solver::{Choice, Link, Pick, Use};
use std::cmp::Ordering;

/// The cost of one choice for a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Priced {
    /// The format, which all tensors of its class get.
    pub format: Format,
    /// Whether the tensor, or one of its class, is computed again in the backward pass.
    pub again: bool,
    /// Whether the gradient of a rectifier reads its input, since this input or output of it has another format than the other one.
    pub from_input: bool,
    /// The harm of rounding and what computing again takes.
    pub cost: f64,
    /// The cost of its memory at the prices that the search ended with.
    pub memory: f64,
    /// Whether it was chosen.
    pub chosen: bool,
}

impl Program {
    /// The choices for a tensor (by its place in the order of [`bitbudget_precision::tensors`]) at `prices` per byte of each row, the best of each
    /// kind; nothing for one that takes no memory to speak of. A rectifier's input and output are priced together, each with the best
    /// of the other that goes with it.
    pub fn priced(&self, tensor: usize, picks: &[u32], prices: &[f64]) -> Vec<Priced> {
        let class = self.classes.iter().position(|class| class.tensors.contains(&tensor));
        let chooses = |meanings: &Vec<Meaning>| {
            meanings.iter().any(|meaning| meaning.format.is_some_and(|(of, _)| Some(of) == class))
        };
        let Some(item) = self.meanings.iter().position(chooses) else { return Vec::new() };
        let mut until = vec![0.0];
        prices.iter().for_each(|price| until.push(until[until.len() - 1] + price));
        let memory = |u: &Use| (until[u.last as usize + 1] - until[u.first as usize]) * u.amount as f64;
        let is_chosen = |of: &Pick| picks.get(of.item as usize) == Some(&of.option);
        let price = |of: &Pick| {
            let Choice { cost, uses } = &self.problem.items[of.item as usize].options[of.option as usize];
            (*cost, uses.iter().map(memory).sum::<f64>())
        };
        let mut found: Vec<Priced> = Vec::new();
        for (option, meaning) in self.meanings[item].iter().enumerate() {
            let Some((_, format)) = meaning.format else { continue };
            let variant = meaning.variant.as_ref().map(|(_, variant)| variant);
            let again = variant.is_some_and(|variant| variant.again.is_some());
            let from_input = variant.is_some_and(|variant| variant.apart);
            let this = pick(item, option);
            let chosen = is_chosen(&this);
            let other = self.beside(this).into_iter().map(|other| (chosen && is_chosen(&other), price(&other)));
            let order = |(chosen, (cost, memory)): &(bool, (f64, f64))| (!chosen, cost + memory);
            let other = other.min_by(|a, b| order(a).partial_cmp(&order(b)).unwrap_or(Ordering::Equal));
            let (of_other, (cost, memory)) = (other.map_or((0.0, 0.0), |(_, price)| price), price(&this));
            let (cost, memory) = (cost + of_other.0, memory + of_other.1);
            let priced = Priced { format, again, from_input, cost, memory, chosen };
            let kind = |priced: &Priced| (priced.format, priced.again, priced.from_input);
            match found.iter_mut().find(|other| kind(other) == kind(&priced)) {
                Some(other) if chosen || !other.chosen && cost + memory < other.cost + other.memory => *other = priced,
                Some(_) => {}
                None => found.push(priced),
            }
        }
        found
    }

    /// The choices for a rectifier's other tensor that go with one.
    fn beside(&self, this: Pick) -> Vec<Pick> {
        let links = &self.problem.links[self.rectifying.clone()];
        let mut found = Vec::new();
        for Link { from, to } in links {
            if *from == this {
                found.extend(to.iter().copied());
            } else if to.contains(&this) {
                found.push(*from);
            }
        }
        found
    }
}
