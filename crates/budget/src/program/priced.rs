//! The costs of the alternatives.

use super::choices::{Program, pick};
use bitbudget_formats::Format;
use bitbudget_solver::{Choice, Link, Pick, Use};
use std::cmp::Ordering;
use std::collections::BTreeMap;

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
    /// The choices for each of `tensors` tensors (in the order of [`bitbudget_precision::tensors`]) at `prices` per byte of each row, the
    /// best of each kind; nothing for one that takes no memory to speak of. A rectifier's input and output are priced together, each
    /// with the best of the other that goes with it.
    pub fn priced(&self, tensors: usize, picks: &[u32], prices: &[f64]) -> Vec<Vec<Priced>> {
        let mut priced = vec![Vec::new(); tensors];
        let mut is_priced = vec![false; self.classes.len()];
        let mut until = vec![0.0];
        prices.iter().for_each(|price| until.push(until[until.len() - 1] + price));
        let beside = self.beside();
        // The first item of a class chooses its format.
        for (item, meanings) in self.meanings.iter().enumerate() {
            let Some(class) = meanings.iter().find_map(|meaning| Some(meaning.format?.0)) else { continue };
            if !std::mem::replace(&mut is_priced[class], true) {
                let choices = self.priced_item(item, picks, &until, &beside);
                self.classes[class].tensors.iter().for_each(|&tensor| priced[tensor] = choices.clone());
            }
        }
        priced
    }

    /// The choices of one item, where `until` has the sums of the prices before each row.
    fn priced_item(
        &self,
        item: usize,
        picks: &[u32],
        until: &[f64],
        beside: &BTreeMap<Pick, Vec<Pick>>,
    ) -> Vec<Priced> {
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
            let other = beside.get(&this).into_iter().flatten();
            let other = other.map(|other| (chosen && is_chosen(other), price(other)));
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

    /// The choices for a rectifier's other tensor that go with each.
    fn beside(&self) -> BTreeMap<Pick, Vec<Pick>> {
        let mut found: BTreeMap<Pick, Vec<Pick>> = BTreeMap::new();
        for Link { from, to } in &self.problem.links[self.rectifying.clone()] {
            found.entry(*from).or_default().extend(to);
            to.iter().for_each(|to| found.entry(*to).or_default().push(*from));
        }
        found
    }
}
