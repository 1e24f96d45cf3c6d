//! What limits and needs rule out by themselves.

use crate::compact::Compact;
use crate::lp::rows;

/// What propagation looks up.
pub(crate) struct Propagation<'a> {
    pub(crate) compact: &'a Compact,
    /// By row, the options that take something in it.
    rows: Vec<Vec<(usize, f64)>>,
    /// By row, at most what an option takes beyond the least of its item.
    beyond: Vec<f64>,
    /// By item, the needs in which it asks.
    asking: Vec<Vec<usize>>,
}

/// The options that are left, and what their items take at least.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) allowed: Vec<bool>,
    /// By item, how many options are left.
    open: Vec<usize>,
    /// By item, what it takes at least in the rows that it reaches.
    own: Vec<Vec<f64>>,
    /// By row, the sum of that.
    least: Vec<f64>,
    /// What has to be looked at again.
    items: Vec<usize>,
    needs: Vec<usize>,
    dirty: Vec<bool>,
}

impl Propagation<'_> {
    pub(crate) fn new(compact: &Compact) -> Propagation<'_> {
        let all = vec![true; compact.cost.len()];
        let mut beyond = vec![0.0; compact.limits.len()];
        for (item, reach) in compact.items.iter().zip(&compact.reach) {
            let mut most = vec![0.0; beyond.len()];
            let own = least(compact, item, reach, &all);
            for option in item.clone() {
                let mut taken = vec![0.0; beyond.len()];
                compact.add(option, &mut taken);
                most.iter_mut().zip(&taken).for_each(|(most, taken)| *most = f64::max(*most, *taken));
            }
            for (row, own) in reach.clone().zip(own) {
                beyond[row] = f64::max(beyond[row], most[row] - own);
            }
        }
        let mut asking = vec![Vec::new(); compact.items.len()];
        for (at, need) in compact.needs.iter().enumerate() {
            need.from.first().into_iter().for_each(|&option| asking[compact.item_of[option]].push(at));
        }
        Propagation { compact, rows: rows(compact, &all), beyond, asking }
    }

    /// Everything that follows from limits, needs and the options allowed; nothing if that leaves no solution.
    pub(crate) fn all(&self, limits: &[f64], allowed: &[bool]) -> Option<State> {
        let compact = self.compact;
        let mut least_of = vec![0.0; limits.len()];
        let mut own = Vec::with_capacity(compact.items.len());
        let mut open = Vec::with_capacity(compact.items.len());
        for (item, reach) in compact.items.iter().zip(&compact.reach) {
            open.push(item.clone().filter(|&option| allowed[option]).count());
            if open.last() == Some(&0) {
                return None;
            }
            let lowest = least(compact, item, reach, allowed);
            least_of[reach.clone()].iter_mut().zip(&lowest).for_each(|(sum, lowest)| *sum += lowest);
            own.push(lowest);
        }
        let needs = (0..compact.needs.len()).collect();
        let dirty = vec![true; limits.len()];
        let mut state =
            State { allowed: allowed.to_vec(), open, own, least: least_of, items: Vec::new(), needs, dirty };
        self.go_on(limits, &mut state).then_some(state)
    }

    /// What follows if an item has to have this option.
    pub(crate) fn chosen(&self, limits: &[f64], state: &State, option: usize) -> Option<State> {
        let mut state = state.clone();
        let item = self.compact.items[self.compact.item_of[option]].clone();
        let mut others = item.filter(|&other| other != option);
        let fine = others.all(|other| self.forbid(&mut state, other)) && self.go_on(limits, &mut state);
        fine.then_some(state)
    }

    /// Takes an option away; whether its item has others.
    fn forbid(&self, state: &mut State, option: usize) -> bool {
        if !std::mem::replace(&mut state.allowed[option], false) {
            return true;
        }
        let item = self.compact.item_of[option];
        state.open[item] -= 1;
        state.items.push(item);
        state.needs.extend(self.compact.served_by[option].iter().chain(&self.asking[item]));
        state.open[item] > 0
    }

    fn go_on(&self, limits: &[f64], state: &mut State) -> bool {
        loop {
            while let Some(need) = state.needs.pop() {
                if !self.by_need(state, need) {
                    return false;
                }
            }
            state.items.sort_unstable();
            state.items.dedup();
            while let Some(item) = state.items.pop() {
                let reach = &self.compact.reach[item];
                let own = least(self.compact, &self.compact.items[item], reach, &state.allowed);
                for ((row, old), new) in reach.clone().zip(&state.own[item]).zip(&own) {
                    if new > old {
                        state.least[row] += new - old;
                        state.dirty[row] = true;
                    }
                }
                state.own[item] = own;
            }
            for row in 0..limits.len() {
                if std::mem::replace(&mut state.dirty[row], false) && !self.by_limit(state, row, limits[row]) {
                    return false;
                }
            }
            if state.needs.is_empty() && state.items.is_empty() {
                return true;
            }
        }
    }

    /// Forbids options that exceed a limit even if all other items take as little as they can.
    fn by_limit(&self, state: &mut State, row: usize, limit: f64) -> bool {
        let left = limit - state.least[row];
        // Sums of integers are exact.
        if left < 0.0 {
            return false;
        }
        if left >= self.beyond[row] {
            return true;
        }
        for &(option, amount) in &self.rows[row] {
            let item = self.compact.item_of[option];
            let own = state.own[item][row - self.compact.reach[item].start];
            if state.allowed[option] && amount - own > left && !self.forbid(state, option) {
                return false;
            }
        }
        true
    }

    /// Forbids options that ask for what is not left, and what is left beside it in the one item that can give it.
    fn by_need(&self, state: &mut State, need: usize) -> bool {
        let need = &self.compact.needs[need];
        let mut serving = need.to.iter().copied().filter(|&option| state.allowed[option]);
        let Some(first) = serving.next() else {
            return need.from.iter().all(|&option| self.forbid(state, option));
        };
        let item = self.compact.item_of[first];
        if serving.any(|option| self.compact.item_of[option] != item) {
            return true;
        }
        let Some(&asks) = need.from.first() else { return true };
        let asking = self.compact.items[self.compact.item_of[asks]].clone();
        if asking.clone().any(|option| state.allowed[option] && need.from.binary_search(&option).is_err()) {
            return true;
        }
        let mut others = self.compact.items[item].clone().filter(|option| need.to.binary_search(option).is_err());
        others.all(|option| self.forbid(state, option))
    }
}

/// What an item takes at least in the rows that it reaches.
fn least(
    compact: &Compact,
    item: &std::ops::Range<usize>,
    reach: &std::ops::Range<usize>,
    allowed: &[bool],
) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; reach.len()];
    let mut taken = vec![0.0; reach.len()];
    for option in item.clone().filter(|&option| allowed[option]) {
        taken.fill(0.0);
        for span in &compact.spans[option] {
            let rows = span.first - reach.start..span.end - reach.start;
            taken[rows].iter_mut().for_each(|taken| *taken += span.amount);
        }
        least.iter_mut().zip(&taken).for_each(|(least, taken)| *least = least.min(*taken));
    }
    least
}
