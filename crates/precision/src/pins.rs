//! Pins: formats that the user sets by operator type or tensor name.

use crate::kind::Kind;
use crate::method::Method;
use crate::tensors::{Formats, Level, Tensor, node_names, stays_exact};
use bitbudget_formats::{Format, ParseFormatError};
use bitbudget_ir::Graph;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// The formats of pinned tensors, by position in the list of [`crate::tensors()`].
pub type Pinned = BTreeMap<usize, Format>;

/// The number of names that an error suggests.
const SUGGESTED: usize = 3;

/// The formats of a pin: `bf16` for all tensors, or `1-4-3/1-5-2` for forward tensors and gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinFormats {
    /// The format of parameters and outputs.
    pub forward: Format,
    /// The format of their gradients.
    pub backward: Format,
}

impl PinFormats {
    /// Returns the format of a kind.
    fn of(self, kind: Kind) -> Format {
        match kind {
            Kind::Parameter | Kind::Output => self.forward,
            Kind::OutputGradient | Kind::ParameterGradient => self.backward,
        }
    }
}

impl FromStr for PinFormats {
    type Err = ParseFormatError;

    fn from_str(text: &str) -> Result<PinFormats, ParseFormatError> {
        let (forward, backward) = text.split_once('/').unwrap_or((text, text));
        Ok(PinFormats { forward: forward.parse()?, backward: backward.parse()? })
    }
}

impl fmt::Display for PinFormats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.forward == self.backward {
            true => write!(f, "{}", self.forward),
            false => write!(f, "{}/{}", self.forward, self.backward),
        }
    }
}

/// A pin: a pattern, and the formats of the tensors it matches.
///
/// `*` matches any characters, `?` one character. If a pattern matches operator types of the network (`conv`, or `Conv` as in
/// ONNX, ignoring case), it pins all tensors of these operators, including parameters and gradients. Otherwise it pins the
/// tensors whose names it matches. If several pins match a tensor, names take precedence over types, then patterns without `*`
/// and `?` over those with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The pattern of types or names.
    pub pattern: String,
    /// The formats, or `None` for high precision.
    pub formats: Option<PinFormats>,
}

/// Why a pin is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// No operator type and no tensor matches the pattern.
    Nothing {
        /// The pattern.
        pattern: String,
        /// Similar types and names.
        near: Vec<String>,
    },
    /// Two pins contradict each other.
    Conflict {
        /// The patterns.
        patterns: [String; 2],
        /// The tensor's name.
        name: String,
        /// Their formats.
        formats: [Format; 2],
    },
    /// All tensors that match are the input or parts of the loss, which may not have the format.
    Exact {
        /// The pattern.
        pattern: String,
        /// A tensor's name.
        name: String,
        /// The format that it was pinned to.
        format: Format,
        /// The formats that it may have.
        allowed: Vec<Format>,
    },
}

impl PinError {
    /// Where: the pattern, or both that contradict each other.
    pub fn place(&self) -> String {
        match self {
            PinError::Nothing { pattern, .. } | PinError::Exact { pattern, .. } => format!("`{pattern}`"),
            PinError::Conflict { patterns: [one, other], .. } => format!("`{one}` and `{other}`"),
        }
    }

    /// The fault.
    pub fn reason(&self) -> String {
        match self {
            PinError::Nothing { pattern, .. } => {
                format!("`{pattern}` matches no operator type and no tensor of the network")
            }
            PinError::Conflict { patterns: [one, other], name, formats: [format, also] } => {
                format!("`{one}` and `{other}` both match `{name}`, for {format} and {also}")
            }
            PinError::Exact { pattern, name, format, allowed } => {
                let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                format!(
                    "`{pattern}` pins `{name}`, the network's input or a part of the loss, to {format}, but it can only be {}",
                    allowed.join(" or ")
                )
            }
        }
    }

    /// Advice, where it is known.
    pub fn help(&self) -> Option<String> {
        match self {
            PinError::Nothing { near, .. } if near.is_empty() => None,
            PinError::Nothing { near, .. } => Some(format!("do you mean `{}`?", near.join("`, `"))),
            PinError::Conflict { name, .. } => Some(format!("drop one of them, or pin `{name}` itself")),
            PinError::Exact { .. } => Some("pin it to that, or drop the pin".to_string()),
        }
    }
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        self.help().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

/// Returns the formats of the tensors that `pins` match. Pins without formats take those of `high`.
///
/// A pin skips tensors that [may not have](may_have) its format, as long as it matches others.
///
/// # Errors
/// One per pin that matches nothing, contradicts another, or matches only tensors that [may not have](may_have) its format.
pub fn pins_of(
    pins: &[Pin],
    graph: &Graph,
    tensors: &[Tensor],
    method: Method,
    formats: &Formats,
    high: PinFormats,
) -> Result<Pinned, Vec<PinError>> {
    let names = node_names(graph);
    let name = |at: usize| {
        let node = tensors[at].node;
        names[node.index()].clone().unwrap_or_else(|| node.to_string())
    };
    // An operator's type is our name of it, and its type in an ONNX file.
    let of_operator = |at: usize| {
        let node = graph.node(tensors[at].operator);
        let of_file = Some(node.onnx_type.as_str()).filter(|name| plain(name) != plain(node.op.name()));
        [node.op.name()].into_iter().chain(of_file.filter(|name| !name.is_empty()))
    };
    let types: BTreeSet<&str> = (0..tensors.len()).flat_map(of_operator).collect();
    let mut errors = Vec::new();
    // Per tensor, the pins that match it, with their precedence and formats.
    let mut asked: BTreeMap<usize, Vec<(u8, &Pin, Format)>> = BTreeMap::new();
    for pin in pins {
        let pattern = pin.pattern.as_str();
        let by_type = types.iter().any(|operator| matches_type(pattern, operator));
        let rank = 2 * u8::from(!by_type) + u8::from(!pattern.contains(['*', '?']));
        let is_meant = |at: usize| match by_type {
            true => of_operator(at).any(|name| matches_type(pattern, name)),
            false => matches(pattern, &name(at)),
        };
        let meant: Vec<usize> = (0..tensors.len()).filter(|&at| is_meant(at)).collect();
        let mut is_free = false;
        for &at in &meant {
            let format = pin.formats.unwrap_or(high).of(tensors[at].kind);
            if may_have(graph, &tensors[at], format, method, formats) {
                is_free = true;
                asked.entry(at).or_default().push((rank, pin, format));
            }
        }
        let pattern = pattern.to_string();
        match meant.first() {
            None => {
                let candidates = types.iter().map(ToString::to_string).chain((0..tensors.len()).map(name));
                errors.push(PinError::Nothing { near: near(&pattern, candidates), pattern });
            }
            Some(&at) if !is_free => {
                let format = pin.formats.unwrap_or(high).of(tensors[at].kind);
                let allowed = exact_formats(tensors[at].kind, method, formats);
                errors.push(PinError::Exact { pattern, name: name(at), format, allowed });
            }
            Some(_) => {}
        }
    }
    let mut pinned = Pinned::new();
    for (at, mut asked) in asked {
        let strongest = asked.iter().map(|&(rank, ..)| rank).max();
        asked.retain(|&(rank, ..)| Some(rank) == strongest);
        let [(_, first, format), ref others @ ..] = asked[..] else { continue };
        match others.iter().find(|&&(_, _, other)| other != format) {
            None => drop(pinned.insert(at, format)),
            Some(&(_, other, also)) => {
                let patterns = [first.pattern.clone(), other.pattern.clone()];
                let known =
                    |e: &PinError| matches!(e, PinError::Conflict { patterns: known, .. } if *known == patterns);
                if !errors.iter().any(known) {
                    errors.push(PinError::Conflict { patterns, name: name(at), formats: [format, also] });
                }
            }
        }
    }
    if errors.is_empty() { Ok(pinned) } else { Err(errors) }
}

/// Returns whether a tensor may have a format. The loss and the input stay in FP32, except that methods by level may give them
/// the formats of their levels.
pub fn may_have(graph: &Graph, tensor: &Tensor, format: Format, method: Method, formats: &Formats) -> bool {
    !stays_exact(graph, tensor) || exact_formats(tensor.kind, method, formats).contains(&format)
}

/// Returns the formats that a tensor of the input or the loss may have.
fn exact_formats(kind: Kind, method: Method, formats: &Formats) -> Vec<Format> {
    let by_level = [Level::High, Level::Low].map(|level| formats.of(kind, level));
    let mut allowed = vec![Format::FP32];
    for format in by_level.into_iter().filter(|_| method != Method::Ilp) {
        if !allowed.contains(&format) {
            allowed.push(format);
        }
    }
    allowed
}

/// Returns whether a pattern matches a type of operators, whatever the case and with or without underscores.
fn matches_type(pattern: &str, operator: &str) -> bool {
    matches(&plain(pattern), &plain(operator))
}

/// A type without underscores, in lower case.
fn plain(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}

/// Returns whether a pattern with the wildcards `*` and `?` matches a whole text.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The positions of the last star and of the end of the text it matches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Returns the candidates most similar to a pattern, if they are similar enough.
fn near(pattern: &str, candidates: impl Iterator<Item = String>) -> Vec<String> {
    let plain = |text: &str| text.replace(['*', '?', '_'], "").to_ascii_lowercase();
    let wanted = plain(pattern);
    let most = wanted.chars().count() / 3;
    let candidates: BTreeSet<String> = candidates.collect();
    let mut found: Vec<(usize, String)> =
        candidates.into_iter().map(|name| (distance(&wanted, &plain(&name)), name)).collect();
    found.retain(|(distance, _)| *distance <= most);
    found.sort();
    found.into_iter().take(SUGGESTED).map(|(_, name)| name).collect()
}

/// Returns the edit distance of two texts (Levenshtein, 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            let least = replaced.min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], least);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let yes = [
            ("conv1", "conv1"),
            ("*", ""),
            ("*", "conv"),
            ("conv*", "conv"),
            ("c*v?", "conv1"),
            ("*.weight", "fire2.conv1.weight"),
            ("fire?.*.weight", "fire2.conv1.weight"),
            ("**a*a", "aba"),
            ("a*b*c", "a-b-b-c"),
        ];
        let no = [
            ("", "a"),
            ("conv", "conv1"),
            ("conv?", "conv"),
            ("?", ""),
            ("*.weight", "conv.weights"),
            ("a*b*c", "a-c-b"),
            ("Conv1", "conv1"),
        ];
        yes.iter().for_each(|(pattern, text)| assert!(matches(pattern, text), "{pattern} {text}"));
        no.iter().for_each(|(pattern, text)| assert!(!matches(pattern, text), "{pattern} {text}"));
        for (pattern, operator) in
            [("Conv*", "conv"), ("MaxPool", "max_pool"), ("BatchNormalization*", "BatchNormalization")]
        {
            assert!(matches_type(pattern, operator), "{pattern} {operator}");
        }
        assert!(!matches_type("Conv", "conv_grad_input"));
    }

    #[test]
    fn distances_are_those_of_single_edits() {
        for (a, b, expected) in
            [("", "", 0), ("conv", "conv", 0), ("cnv", "conv", 1), ("relu", "rule", 2), ("", "ab", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
        let names = ["conv1", "conv2", "relu"].map(str::to_string);
        assert_eq!(near("Cnv1", names.into_iter()), ["conv1"]);
    }

    #[test]
    fn formats_of_pins_read_back() {
        for text in ["bf16", "1-4-3/1-5-2"] {
            assert_eq!(text.parse::<PinFormats>().unwrap().to_string(), text);
        }
        assert!("bf16/".parse::<PinFormats>().is_err());
    }
}
