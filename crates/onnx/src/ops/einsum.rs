//! Einsum, as reductions and products of two operands at a time.

use super::contract::{Label, Labelled, contract, transposed};
use super::row::Row;
use crate::importer::{Importer, Node, Value};
use bitbudget_ir::{Dim, NodeId, Shape, ops};
use std::collections::BTreeMap;

pub(super) const ROWS: &[Row] = &[Row {
    name: "Einsum",
    versions: &[12],
    attributes: &["equation"],
    forms: "`reduce_sum`, `transpose`, `reshape`, then `matmul` where a dimension of two operands is summed and `mul` elsewhere, from \
            left to right; a letter at most once in a term",
    build: Some(einsum),
    fold: None,
}];

/// The terms of an equation, and its result.
struct Equation {
    terms: Vec<Vec<Label>>,
    out: Vec<Label>,
}

fn einsum(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let text = node.text("equation")?.ok_or("its equation is missing")?;
    let mut operands = Vec::new();
    for position in 0..node.inputs.len() {
        operands.push(importer.tensor(node, position)?);
    }
    let ranks: Vec<usize> = operands.iter().map(|&x| importer.shape(x).rank()).collect();
    let Equation { terms, out } = parse(&text, &ranks)?;
    let sizes = sizes(importer, &operands, &terms)?;
    if let Some(&label) = out.iter().find(|l| !sizes.contains_key(l)) {
        return Err(format!("`{}` of the result is in no term", name_of(label)));
    }
    let mut squeezed = Vec::new();
    for (&x, labels) in operands.iter().zip(terms) {
        squeezed.push(without_ones(importer, node, Labelled { x, labels }, &sizes)?);
    }
    let mut rest = Vec::new();
    for (at, operand) in squeezed.iter().enumerate() {
        let others = squeezed.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, other)| &other.labels);
        let needed: Vec<Label> = others.chain(&out).copied().collect();
        rest.push(reduced(importer, node, operand.clone(), &needed)?);
    }
    let mut rest = rest.into_iter();
    let mut product = rest.next().ok_or("it has no operand")?;
    while let Some(next) = rest.next() {
        let later: Vec<Label> = rest.as_slice().iter().flat_map(|operand| operand.labels.clone()).collect();
        let labels = match later.is_empty() && rest.len() == 0 {
            true => out.clone(),
            false => {
                let new = next.labels.iter().filter(|l| !product.labels.contains(l));
                let kept = |l: &&Label| later.contains(l) || out.contains(l);
                product.labels.iter().chain(new).filter(kept).copied().collect()
            }
        };
        let both = [product, next];
        let summed = both[0].labels.iter().any(|l| !labels.contains(l));
        let x = match summed {
            true => contract(importer, node.name, both, &labels, None)?,
            false => multiplied(importer, node, both, &labels)?,
        };
        product = Labelled { x, labels };
    }
    Ok(vec![Value::Tensor(transposed(importer, node.name, product, &out)?)])
}

/// The labels of an ellipsis, by their distance from its end, come after those of letters.
const ELLIPSIS: Label = 128;

fn name_of(label: Label) -> String {
    match u8::try_from(label) {
        Ok(letter) if label < ELLIPSIS => char::from(letter).to_string(),
        _ => "...".to_string(),
    }
}

/// An equation for operands of these ranks.
fn parse(text: &str, ranks: &[usize]) -> Result<Equation, String> {
    let fault = |why: String| format!("the equation `{text}` {why}");
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match compact.split_once("->") {
        Some((left, right)) => (left.to_string(), Some(right.to_string())),
        None => (compact, None),
    };
    let found: Vec<&str> = left.split(',').collect();
    if found.len() != ranks.len() {
        return Err(fault(format!("has {} terms for {} inputs", found.len(), ranks.len())));
    }
    let mut terms = Vec::new();
    for (term, &rank) in found.iter().zip(ranks) {
        let letters = term.replace("...", "").len();
        let more = rank.checked_sub(letters).filter(|&more| more == 0 || term.contains("..."));
        let more = more.ok_or_else(|| fault(format!("has the term `{term}` for an input of {rank} dimensions")))?;
        terms.push(labels(term, more).map_err(fault)?);
    }
    let mut out = match &right {
        Some(right) => {
            let most = terms.iter().flatten().filter(|&&l| l >= ELLIPSIS).map(|l| l - ELLIPSIS + 1).max().unwrap_or(0);
            if most > 0 && !right.contains("...") {
                return Err(fault("leaves the `...` out of its result, which is not supported".into()));
            }
            return Ok(Equation { out: labels(right, most).map_err(fault)?, terms });
        }
        None => Vec::new(),
    };
    let occurrences = |label: Label| terms.iter().flatten().filter(|&&l| l == label).count();
    let mut all: Vec<Label> = terms.iter().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    out.extend(all.iter().rev().filter(|&&l| l >= ELLIPSIS));
    out.extend(all.iter().filter(|&&l| l < ELLIPSIS && occurrences(l) == 1));
    Ok(Equation { out, terms })
}

/// The labels of a term whose ellipsis stands for so many dimensions.
fn labels(term: &str, ellipsis: usize) -> Result<Vec<Label>, String> {
    let letters = |part: &str| {
        let one = |c: char| match c.is_ascii_alphabetic() {
            true => Ok(c as Label),
            false => Err(format!("holds `{c}`, where letters, `,`, `...` and `->` are known")),
        };
        part.chars().map(one).collect::<Result<Vec<Label>, String>>()
    };
    let found = match term.split_once("...") {
        Some((before, after)) => {
            let middle: Vec<Label> = (0..ellipsis).rev().map(|i| ELLIPSIS + i).collect();
            [letters(before)?, middle, letters(after)?].concat()
        }
        None => letters(term)?,
    };
    match (0..found.len()).find(|&i| found[..i].contains(&found[i])) {
        Some(i) => Err(format!("has `{}` twice in the term `{term}`: diagonals are not supported", name_of(found[i]))),
        None => Ok(found),
    }
}

/// The size of each label: an operand's 1 goes with any.
fn sizes(importer: &Importer, operands: &[NodeId], terms: &[Vec<Label>]) -> Result<BTreeMap<Label, Dim>, String> {
    let mut sizes = BTreeMap::new();
    for (&x, labels) in operands.iter().zip(terms) {
        for (&label, dim) in labels.iter().zip(importer.shape(x).0) {
            let size = sizes.entry(label).or_insert(dim);
            if *size == Dim::fixed(1) {
                *size = dim;
            } else if dim != *size && dim != Dim::fixed(1) {
                return Err(format!("`{}` is {size} and {dim}", name_of(label)));
            }
        }
    }
    Ok(sizes)
}

/// The operand without the dimensions of size 1 that go with others.
fn without_ones(
    importer: &mut Importer,
    node: &Node,
    operand: Labelled,
    sizes: &BTreeMap<Label, Dim>,
) -> Result<Labelled, String> {
    let dims = operand.labels.into_iter().zip(importer.shape(operand.x).0);
    let (labels, dims) = dims.filter(|(label, dim)| sizes.get(label) == Some(dim)).unzip();
    Ok(Labelled { x: importer.reshape(node.name, operand.x, Shape(dims))?, labels })
}

/// The operand summed over the dimensions that nothing else needs.
fn reduced(importer: &mut Importer, node: &Node, operand: Labelled, needed: &[Label]) -> Result<Labelled, String> {
    let (labels, gone): (Vec<Label>, Vec<Label>) = operand.labels.iter().copied().partition(|l| needed.contains(l));
    if gone.is_empty() {
        return Ok(operand);
    }
    let axes = (0..operand.labels.len()).filter(|&axis| gone.contains(&operand.labels[axis])).collect();
    Ok(Labelled { x: importer.emit(node.name, ops::ReduceSum { axes, keep: false }, &[operand.x])?, labels })
}

/// The product, element by element, of operands whose labels are all among those of the result.
fn multiplied(importer: &mut Importer, node: &Node, operands: [Labelled; 2], out: &[Label]) -> Result<NodeId, String> {
    let mut factors = Vec::new();
    for operand in operands {
        let order: Vec<Label> = out.iter().copied().filter(|l| operand.labels.contains(l)).collect();
        let x = transposed(importer, node.name, operand, &order)?;
        let own = importer.shape(x).0;
        let size = |label| order.iter().position(|l| l == label).map_or(Dim::fixed(1), |axis| own[axis]);
        let shape = Shape(out.iter().map(size).collect());
        factors.push(importer.reshape(node.name, x, shape)?);
    }
    importer.emit(node.name, ops::Mul {}, &factors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: &str, ranks: &[usize]) -> String {
        let name = |label: &Label| match label.checked_sub(ELLIPSIS) {
            Some(i) => format!("<{i}>"),
            None => name_of(*label),
        };
        match parse(text, ranks) {
            Ok(equation) => equation.out.iter().map(name).collect(),
            Err(why) => why,
        }
    }

    #[test]
    fn results_are_written_or_implied() {
        assert_eq!(result("b i j , b j k -> k b i", &[3, 3]), "kbi");
        assert_eq!(result("kj,ji", &[2, 2]), "ik");
        assert_eq!(result("...kj,ji", &[4, 2]), "<1><0>ik");
        assert_eq!(result("a...b,...b->...a", &[4, 2]), "<1><0>a");
        assert_eq!(result("ij->", &[2]), "");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(result("ii->i", &[2]).contains("`i` twice in the term `ii`: diagonals are not supported"));
        assert!(result("ij,jk", &[2]).contains("has 2 terms for 1 inputs"));
        assert!(result("ij->ij", &[3]).contains("has the term `ij` for an input of 3 dimensions"));
        assert!(result("ijk->ij", &[2]).contains("has the term `ijk` for an input of 2 dimensions"));
        assert!(result("...i->i", &[3]).contains("leaves the `...` out"));
        assert!(result("i2->i", &[2]).contains("holds `2`"));
    }
}
