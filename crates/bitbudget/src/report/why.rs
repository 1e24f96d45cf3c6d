//! Why a tensor is stored as it is, in sentences for people who do not know the compiler.

use crate::{Compiled, Solved};
use bitbudget_formats::Format;
use bitbudget_precision::{Kind, Level, Method, Tensor, stays_exact};
use bitbudget_report::{Choice, Promotion, Storage, bytes, counted};

/// How a tensor is stored.
pub(super) struct Stored<'a> {
    pub(super) bytes: usize,
    pub(super) storage: Storage,
    /// The instructions that compute it in passing.
    pub(super) by: &'a [String],
    /// The alternatives, the chosen one first, then the others by cost.
    pub(super) choices: &'a [Choice],
    pub(super) promotions: Vec<&'a Promotion>,
}

/// Why the tensor at a position of the assignment is stored as it is.
pub(super) fn why(compiled: &Compiled, at: usize, stored: &Stored<'_>) -> String {
    let tensor = &compiled.assignment.tensors[at];
    let mut sentences = vec![place(tensor, compiled.assignment.chosen[at], stored)];
    sentences.extend(stored.promotions.iter().map(|promotion| promoted(promotion)));
    let rose = stored.promotions.iter().any(|promotion| promotion.from != promotion.to);
    if stored.storage != Storage::NotComputed && !rose {
        sentences.push(format(compiled, at, stored));
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

/// Why something is stored that is not assigned.
pub(super) fn why_not_assigned(kind: &str) -> &'static str {
    match kind {
        "master" => "The parameter as the optimizer updates it, always in fp32; it stays from step to step.",
        "optimizer state" => {
            "What the optimizer remembers of the parameter, always in fp32; it stays from step to step."
        }
        "running statistic" => "A running statistic for the evaluation, always in fp32; it stays from step to step.",
        "constant" => "A constant of the network.",
        "indices" => "Which element of each window was the largest, for the backward pass; one byte each.",
        "intermediate gradient" => "Part of computing a gradient or an update, always in fp32.",
        _ => "Part of computing an operator, such as a batch's statistics, always in fp32.",
    }
}

/// Where it lies, unless that is plainly in memory.
fn place(tensor: &Tensor, format: Format, stored: &Stored<'_>) -> String {
    match (stored.storage, tensor.kind) {
        (Storage::Kept, _) => String::new(),
        (Storage::Recomputed, _) => {
            "It is dropped after the forward pass and recomputed in the backward pass, which takes time instead of memory."
                .into()
        }
        (Storage::InPassing, _) if stored.by.is_empty() => {
            format!("Not stored: only one instruction uses it, which keeps it in a core's cache, rounded to {format}.")
        }
        (Storage::InPassing, _) => format!(
            "Not stored: it is a cheap function of tensors that are in memory anyway, so {} computes it in passing.",
            listed(stored.by)
        ),
        (Storage::Shared, Kind::Parameter) => "In fp32 it is the master itself, so that no copy is stored.".into(),
        (Storage::Shared, Kind::Output) => {
            "It is another tensor under its own name, or the batch as the data give it, so that nothing more is stored.".into()
        }
        (Storage::Shared, _) => "It is another gradient under its own name, so that nothing more is stored.".into(),
        (Storage::NotComputed, _) => "Nothing needs it, so it is not computed; its format is what it would have.".into(),
    }
}

/// At most three of several things.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
    }
}

fn promoted(promotion: &Promotion) -> String {
    let Promotion { step, overflow, from, to, .. } = promotion;
    let over = format!("After training step {step} {:.2}% of it had overflowed in {from}", 100.0 * overflow);
    match from == to {
        true => format!("{over}; nothing wider fits the budget, so it stays as it is."),
        false => format!("{over}, so it was promoted to {to} for the rest of the training."),
    }
}

/// Why it has its format.
fn format(compiled: &Compiled, at: usize, stored: &Stored<'_>) -> String {
    let (tensor, format) = (&compiled.assignment.tensors[at], compiled.assignment.chosen[at]);
    let method = compiled.assignment.method;
    if compiled.pinned.contains_key(&at) {
        return format!("It is pinned to {format}, by an option or by the assignment file.");
    }
    match (method, &compiled.solved) {
        (Method::Ilp, _) if stays_exact(&compiled.training, tensor) => {
            "The network's input and the loss stay in fp32 wherever anything fits the budget so.".into()
        }
        (Method::Ilp, Some(solved)) if solved.solver.is_some() => match stored.choices {
            [] => format!(
                "It stays in {format}: other formats have no price, since it takes no memory to speak of or since only the formats of \
                 another method fit."
            ),
            [first, rest @ ..] if first.chosen && first.format == format.to_string() => {
                chosen(solved, first, rest, stored)
            }
            _ => format!("It became {format} when other tensors overflowed in training and had to be promoted."),
        },
        (Method::Ilp, Some(solved)) if solved.peak >= solved.fp32 => {
            format!(
                "Everything fits the budget of {} in the widest formats, so nothing narrower was needed.",
                size(solved.budget)
            )
        }
        (Method::Ilp, _) => format!(
            "It is {format} by an assignment file or a trainer file, or because everything fits the budget in the widest formats; \
             these come without the prices that would tell the cost of another format."
        ),
        (Method::Demote | Method::DemoteSmallest | Method::Random, _) => demoted(compiled, at),
        (Method::Fp32, _) => "Method fp32 rounds nothing.".into(),
        (Method::UniformHigh | Method::UniformLow, _) => {
            format!("Method {method} gives every tensor of its kind {format}.")
        }
        (Method::Operator | Method::Amp, _) => {
            let level = level(compiled.assignment.levels[at]);
            format!(
                "Method {method} decides by operator, here {}: {level} precision, {format}.",
                compiled.training.op(tensor.operator).name()
            )
        }
    }
}

/// The reason for the solver's choice.
fn chosen(solved: &Solved, chosen: &Choice, rest: &[Choice], stored: &Stored<'_>) -> String {
    let binds = solved.solver.iter().flat_map(|solver| solver.binds.first()).next();
    let binds =
        binds.map_or(String::new(), |step| format!("The budget of {} binds most at {step}. ", size(solved.budget)));
    let total = |choice: &Choice| choice.cost + choice.memory;
    let costs = format!(
        "rounding (and recomputation) costs {}, memory {} at the budget's prices, together {}.",
        short(chosen.cost),
        short(chosen.memory),
        short(total(chosen))
    );
    let mut text = match (stored.bytes, chosen.memory > 0.0) {
        (0, true) => format!("It shares the format of stored tensors. For these: {binds}In {}, {costs}", name(chosen)),
        (0, false) => format!("As {} it takes no memory, and rounding costs {}.", chosen.format, short(chosen.cost)),
        (bytes, true) => format!("{binds}In {} this tensor takes {}; {costs}", name(chosen), size(bytes)),
        (bytes, false) => format!(
            "In {} it takes {}, but not where the budget binds, so that its memory costs nothing; rounding costs {}.",
            name(chosen),
            size(bytes),
            short(chosen.cost)
        ),
    };
    let Some(other) = rest.first() else { return text + " There was no other choice." };
    text += &format!(
        " The runner-up, {}, would cost {} + {} = {}.",
        name(other),
        short(other.cost),
        short(other.memory),
        short(total(other))
    );
    if total(other) < total(chosen) {
        text += " That is less at these prices, but the choices for all tensors have to fit together.";
    }
    text
}

fn name(choice: &Choice) -> String {
    format!("{}{}", choice.format, if choice.recomputed { " and recomputed" } else { "" })
}

/// Why a method that decides by groups gave a tensor its level.
fn demoted(compiled: &Compiled, at: usize) -> String {
    let assignment = &compiled.assignment;
    let (tensor, format) = (&assignment.tensors[at], assignment.chosen[at]);
    let (method, of) = (assignment.method, assignment.demoted.len());
    let goal = match &compiled.solved {
        Some(solved) => format!("the budget of {} is met", size(solved.budget)),
        None => "the low ratio is reached".to_string(),
    };
    match assignment.demoted.iter().position(|&group| group == tensor.group) {
        Some(place) => format!(
            "Method {method} demotes whole groups until {goal}: this tensor's group {} was number {} of {of}, and low tensors of its \
             kind are {format}.",
            tensor.group,
            place + 1
        ),
        None => format!(
            "Method {method} demotes whole groups until {goal}: {} enough, this tensor's group {} was not among them, so it stays in \
             high precision, {format}.",
            counted(of as u64, "group was", "groups were"),
            tensor.group
        ),
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::High => "high",
        Level::Low => "low",
    }
}

fn size(n: usize) -> String {
    bytes(n as f64)
}

/// A number of few digits.
fn short(x: f64) -> String {
    if x == 0.0 || (1e-3..1e6).contains(&x.abs()) { format!("{x:.4}") } else { format!("{x:.1e}") }
}
