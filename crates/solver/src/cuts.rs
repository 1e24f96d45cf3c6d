//! Lifted cover inequalities (Balas, 1975; for generalised upper bounds: Wolsey, 1990).
//!
//! In a row each item takes at least its least amount; what is left of the limit is a knapsack for the options' larger amounts.
//! A cover is a set of items with an amount each whose sum exceeds the knapsack: at least one of the items takes less. Lifting
//! gives other options the largest coefficients for which the inequality stays valid.

use crate::compact::{Compact, Cut};

/// The least violation of a cut.
const VIOLATION: f64 = 1e-3;

/// An option in a knapsack: its amount beyond the least of its item.
#[derive(Clone, Copy)]
struct Extra {
    option: usize,
    amount: f64,
}

/// A member of a cover: an item that takes at least an amount beyond its least.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// The item's position among the row's items.
    item: usize,
    amount: f64,
    /// One minus the LP value of the options that take as much.
    complement: f64,
}

/// Separates cover inequalities: returns the most violated ones, at most `most`. `rows` holds the amounts of allowed options by
/// row.
pub(crate) fn separate_covers(
    compact: &Compact,
    rows: &[Vec<(usize, f64)>],
    allowed: &[bool],
    lp_values: &[f64],
    most: usize,
) -> Vec<Cut> {
    let open: Vec<usize> =
        compact.items.iter().map(|item| item.clone().filter(|&option| allowed[option]).count()).collect();
    let mut found: Vec<(f64, Cut)> = Vec::new();
    for (row, amounts) in rows.iter().enumerate() {
        let (items, left) = knapsack(compact, amounts, &open, compact.limits[row]);
        if left < 0.0 {
            continue;
        }
        for rule in [by_ratio, by_lp_value, by_amount] {
            let Some(cover) = cover(&items, left, lp_values, rule) else { continue };
            let cut = lifted(&items, &cover);
            let violation = cut.activity(lp_values) - cut.limit;
            let norm: f64 = cut.terms.iter().map(|(_, coefficient)| coefficient * coefficient).sum::<f64>().sqrt();
            if violation > VIOLATION && found.iter().all(|(_, other)| *other != cut) {
                found.push((violation / norm, cut));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    found.into_iter().take(most).map(|(_, cut)| cut).collect()
}

/// Returns the knapsack of a row: per item its options' extra amounts, the largest first, and the capacity.
fn knapsack(compact: &Compact, amounts: &[(usize, f64)], open: &[usize], limit: f64) -> (Vec<Vec<Extra>>, f64) {
    let mut capacity = limit;
    let mut items = Vec::new();
    for of_item in amounts.chunk_by(|(a, _), (b, _)| compact.item_of[*a] == compact.item_of[*b]) {
        let all = of_item.len() == open[compact.item_of[of_item[0].0]];
        let least = of_item.iter().map(|(_, amount)| *amount).fold(if all { f64::INFINITY } else { 0.0 }, f64::min);
        capacity -= least;
        let extras = of_item.iter().map(|&(option, amount)| Extra { option, amount: amount - least });
        let mut item: Vec<Extra> = extras.filter(|extra| extra.amount > 0.0).collect();
        item.sort_by(|a, b| b.amount.total_cmp(&a.amount));
        if !item.is_empty() {
            items.push(item);
        }
    }
    (items, capacity)
}

/// Prefers members with a small complement per amount.
fn by_ratio(member: &Member) -> f64 {
    (member.complement + 1e-6) / member.amount
}

/// Prefers members with a small complement.
fn by_lp_value(member: &Member) -> f64 {
    (member.complement * 1e3).round() - 1e-15 * member.amount
}

/// Prefers members with a large amount among those of a small complement.
fn by_amount(member: &Member) -> f64 {
    if member.complement < 0.5 { -member.amount } else { by_ratio(member) }
}

/// Finds a minimal cover greedily; `rule` gives the member of each item: that of the least value.
fn cover(items: &[Vec<Extra>], capacity: f64, lp_values: &[f64], rule: fn(&Member) -> f64) -> Option<Vec<Member>> {
    let best = |(item, options): (usize, &Vec<Extra>)| {
        let mut lp_value = 0.0;
        let members = options.iter().map(|&Extra { option, amount }| {
            lp_value += lp_values[option];
            Member { item, amount, complement: (1.0 - lp_value).max(0.0) }
        });
        members.filter(|member| member.complement < 0.999).min_by(|a, b| rule(a).total_cmp(&rule(b)))
    };
    let mut candidates: Vec<Member> = items.iter().enumerate().filter_map(best).collect();
    candidates.sort_by(|a, b| by_ratio(a).total_cmp(&by_ratio(b)));
    let mut cover = Vec::new();
    let mut sum = 0.0;
    for member in candidates {
        if sum > capacity {
            break;
        }
        sum += member.amount;
        cover.push(member);
    }
    if sum <= capacity {
        return None;
    }
    cover.sort_by(|a, b| b.complement.total_cmp(&a.complement).then(a.amount.total_cmp(&b.amount)));
    cover.retain(|member| {
        let spare = sum - member.amount > capacity;
        sum -= if spare { member.amount } else { 0.0 };
        !spare
    });
    let complement: f64 = cover.iter().map(|member| member.complement).sum();
    (complement < 1.5).then_some(cover)
}

/// Lifts the inequality of a cover.
///
/// An option that takes as much as the `h` largest members together has the coefficient `h`: options whose coefficients sum up
/// to `n`, for a cover of `n` members, take at least as much as the cover.
fn lifted(items: &[Vec<Extra>], cover: &[Member]) -> Cut {
    let mut amounts: Vec<f64> = cover.iter().map(|member| member.amount).collect();
    amounts.sort_by(|a, b| b.total_cmp(a));
    let mut sum = 0.0;
    let sums: Vec<f64> = amounts
        .iter()
        .map(|amount| {
            sum += amount;
            sum
        })
        .collect();
    let members_within = |amount: f64| sums.partition_point(|sum| *sum <= amount) as f64;
    let mut member_of = vec![None; items.len()];
    cover.iter().for_each(|member| member_of[member.item] = Some(member.amount));
    let mut terms = Vec::new();
    for (options, member) in items.iter().zip(&member_of) {
        for &Extra { option, amount } in options {
            let as_member = match member {
                Some(own) if amount >= *own => 1.0 + members_within(amount - own),
                _ => 0.0,
            };
            let coefficient = as_member.max(members_within(amount));
            if coefficient > 0.0 {
                terms.push((option, coefficient));
            }
        }
    }
    terms.sort_by_key(|(option, _)| *option);
    Cut { terms, limit: cover.len() as f64 - 1.0 }
}
