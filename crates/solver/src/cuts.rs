//! Cover inequalities: options that exceed a limit together are not all chosen.
//!
//! In a row each item takes at least its smallest amount, and what is left of the limit is shared by what options take
//! beyond that. A cover is a set of items with an amount for each, of a sum above what is left: at least one of these items
//! has to take less. With factors for other options, as large as stays valid, such an inequality cuts off mixtures that the
//! linear relaxation likes (Balas, 1975; Wolsey, 1990, for items of several options).

use crate::compact::{Compact, Cut};

/// Violations below this are not worth a cut.
const LEAST: f64 = 1e-3;

/// An option of an item in a row: what it takes beyond the least of the item.
#[derive(Clone, Copy)]
struct Beyond {
    option: usize,
    amount: f64,
}

/// An item of a cover: it takes at least that amount beyond its least.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Position among the row's items.
    item: usize,
    amount: f64,
    /// The share that is missing to one.
    missing: f64,
}

/// The inequalities that shares violate most, at most some; `rows` are the allowed options of each row with their amounts.
pub(crate) fn separate(
    compact: &Compact,
    rows: &[Vec<(usize, f64)>],
    allowed: &[bool],
    shares: &[f64],
    most: usize,
) -> Vec<Cut> {
    let open: Vec<usize> =
        compact.items.iter().map(|item| item.clone().filter(|&option| allowed[option]).count()).collect();
    let mut found: Vec<(f64, Cut)> = Vec::new();
    for (row, taken) in rows.iter().enumerate() {
        let (items, left) = beyond(compact, taken, &open, compact.limits[row]);
        if left < 0.0 {
            continue;
        }
        for rule in [by_ratio, by_share, by_amount] {
            let Some(cover) = cover(&items, left, shares, rule) else { continue };
            let cut = lifted(&items, &cover);
            let sum: f64 = cut.terms.iter().map(|&(option, factor)| factor * shares[option]).sum();
            let norm: f64 = cut.terms.iter().map(|(_, factor)| factor * factor).sum::<f64>().sqrt();
            if sum - cut.limit > LEAST && found.iter().all(|(_, other)| *other != cut) {
                found.push(((sum - cut.limit) / norm, cut));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    found.into_iter().take(most).map(|(_, cut)| cut).collect()
}

/// What the options of each item take beyond the item's least, the largest first, and what the limit leaves for that.
fn beyond(compact: &Compact, taken: &[(usize, f64)], open: &[usize], limit: f64) -> (Vec<Vec<Beyond>>, f64) {
    let mut left = limit;
    let mut items = Vec::new();
    for part in taken.chunk_by(|(a, _), (b, _)| compact.item_of[*a] == compact.item_of[*b]) {
        let all = part.len() == open[compact.item_of[part[0].0]];
        let least = part.iter().map(|(_, amount)| *amount).fold(if all { f64::INFINITY } else { 0.0 }, f64::min);
        left -= least;
        let beyond = part.iter().map(|&(option, amount)| Beyond { option, amount: amount - least });
        let mut item: Vec<Beyond> = beyond.filter(|beyond| beyond.amount > 0.0).collect();
        item.sort_by(|a, b| b.amount.total_cmp(&a.amount));
        if !item.is_empty() {
            items.push(item);
        }
    }
    (items, left)
}

/// Which amount of an item serves a cover best: the one of the smallest value.
fn by_ratio(member: &Member) -> f64 {
    (member.missing + 1e-6) / member.amount
}
fn by_share(member: &Member) -> f64 {
    (member.missing * 1e3).round() - 1e-15 * member.amount
}
fn by_amount(member: &Member) -> f64 {
    if member.missing < 0.5 { -member.amount } else { by_ratio(member) }
}

/// A set of items of which not all can take so much, with little missing to shares of one; none of them can be left out.
fn cover(items: &[Vec<Beyond>], left: f64, shares: &[f64], rule: fn(&Member) -> f64) -> Option<Vec<Member>> {
    let best = |(item, options): (usize, &Vec<Beyond>)| {
        let mut share = 0.0;
        let members = options.iter().map(|&Beyond { option, amount }| {
            share += shares[option];
            Member { item, amount, missing: (1.0 - share).max(0.0) }
        });
        members.filter(|member| member.missing < 0.999).min_by(|a, b| rule(a).total_cmp(&rule(b)))
    };
    let mut candidates: Vec<Member> = items.iter().enumerate().filter_map(best).collect();
    candidates.sort_by(|a, b| by_ratio(a).total_cmp(&by_ratio(b)));
    let mut cover = Vec::new();
    let mut sum = 0.0;
    for member in candidates {
        if sum > left {
            break;
        }
        sum += member.amount;
        cover.push(member);
    }
    if sum <= left {
        return None;
    }
    cover.sort_by(|a, b| b.missing.total_cmp(&a.missing).then(a.amount.total_cmp(&b.amount)));
    cover.retain(|member| {
        let spare = sum - member.amount > left;
        sum -= if spare { member.amount } else { 0.0 };
        !spare
    });
    let missing: f64 = cover.iter().map(|member| member.missing).sum();
    (missing < 1.5).then_some(cover)
}

/// The inequality of a cover, with the factors that other options can have too.
///
/// An option that takes as much as the `h` largest members together stands for `h` of them: a choice of options with
/// factors of `n` in sum, for a cover of `n` members, takes at least as much as the cover.
fn lifted(items: &[Vec<Beyond>], cover: &[Member]) -> Cut {
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
    let stands_for = |amount: f64| sums.partition_point(|sum| *sum <= amount) as f64;
    let mut member_of = vec![None; items.len()];
    cover.iter().for_each(|member| member_of[member.item] = Some(member.amount));
    let mut terms = Vec::new();
    for (options, member) in items.iter().zip(&member_of) {
        for &Beyond { option, amount } in options {
            let beside = match member {
                Some(own) if amount >= *own => 1.0 + stands_for(amount - own),
                _ => 0.0,
            };
            let factor = beside.max(stands_for(amount));
            if factor > 0.0 {
                terms.push((option, factor));
            }
        }
    }
    terms.sort_by_key(|(option, _)| *option);
    Cut { terms, limit: cover.len() as f64 - 1.0 }
}
