//! Rotary embeddings: pairs of numbers of each head turned by an angle of their position.

use super::attend::Heads;
use super::part::part;
use super::row::Row;
use crate::importer::{Importer, Node, Operand, Value};
use bitbudget_ir::{DType, Dim, NodeId, Shape, ops};

pub(super) const ROWS: &[Row] = &[Row {
    name: "RotaryEmbedding",
    versions: &[23],
    attributes: &["interleaved", "num_heads", "rotary_embedding_dim"],
    forms: "by `slice`, `mul`, `sub`, `add` and `concat`; `gather` of the caches by position; caches that are initializers are constants",
    build: Some(|importer, node| {
        let x = importer.tensor(node, 0)?;
        let given = node.int("num_heads")?.and_then(|heads| usize::try_from(heads).ok()).filter(|&heads| heads > 0);
        let heads = Heads::new(importer, x, given)?;
        let tables = tables(importer, node, [1, 2], node.input(3))?;
        Ok(vec![Value::Tensor(rotated(
            importer,
            node,
            &heads,
            tables,
            &turn(node, "interleaved", "rotary_embedding_dim")?,
        )?)])
    }),
    fold: None,
}];

/// How the numbers of a head are turned.
pub(super) struct Turn {
    /// Whether pairs are neighbours, rather than a number of each half.
    pub(super) is_interleaved: bool,
    /// The numbers of each head that are turned; all if 0.
    pub(super) dims: usize,
}

pub(super) fn turn(node: &Node, interleaved: &str, dims: &str) -> Result<Turn, String> {
    let dims = usize::try_from(node.int(dims)?.unwrap_or(0)).unwrap_or(0);
    Ok(Turn { is_interleaved: node.flag(interleaved)?, dims })
}

/// The cosines and sines at two positions, `[batch, rows, pairs]` or `[rows, pairs]`, by the positions of the rows where they are given.
pub(super) fn tables(
    importer: &mut Importer,
    node: &Node,
    at: [usize; 2],
    positions: Option<&Operand>,
) -> Result<[NodeId; 2], String> {
    let mut tables = [0, 1].map(|_| None);
    for (table, position) in tables.iter_mut().zip(at) {
        let operand = node.need(position)?;
        let whole = match importer.constant(operand) {
            // A table is not a parameter.
            Ok(known) => importer.operand(&Operand { name: operand.name.clone(), value: Value::Constant(known) })?,
            Err(_) => importer.operand(operand)?,
        };
        *table = Some(match positions {
            None => whole,
            Some(positions) => {
                let positions = importer.typed(positions, DType::I32)?;
                importer.inner(node, "turns", ops::Gather { axis: 0, batch_dims: 0 }, &[whole, positions])?
            }
        });
    }
    match tables {
        [Some(cosines), Some(sines)] => Ok([cosines, sines]),
        _ => Err("its tables are missing".into()),
    }
}

/// A tensor of heads with its numbers turned, in its own shape.
pub(super) fn rotated(
    importer: &mut Importer,
    node: &Node,
    of: &Heads,
    tables: [NodeId; 2],
    turn: &Turn,
) -> Result<NodeId, String> {
    let own = importer.shape(of.x);
    let width = of.width.as_fixed().ok_or("the width of a head varies")?;
    let dims = if turn.dims == 0 { width } else { turn.dims };
    let pairs = dims / 2;
    if dims > width || dims % 2 != 0 {
        return Err(format!("{dims} numbers of heads of {width} cannot be turned in pairs"));
    }
    let apart = match of.is_heads_first {
        true => [of.batch, Dim::fixed(of.heads), of.rows],
        false => [of.batch, of.rows, Dim::fixed(of.heads)],
    };
    let with = |last: &[usize]| Shape(apart.iter().copied().chain(last.iter().map(|&d| Dim::fixed(d))).collect());
    let x = importer.reshape(node.name, of.x, with(&[width]))?;
    let heads_at = if of.is_heads_first { 1 } else { 2 };
    let mut turns = Vec::new();
    for table in tables {
        let mut shape = importer.shape(table);
        if shape.rank() == 2 {
            shape.0.insert(0, Dim::fixed(1));
        }
        let fits = shape.rank() == 3 && shape.0[1..] == [of.rows, Dim::fixed(pairs)];
        if !fits || (shape.0[0] != Dim::fixed(1) && shape.0[0] != of.batch) {
            return Err(format!("the table {} does not fit rows of {} pairs of {own}", importer.shape(table), pairs));
        }
        shape.0.insert(heads_at, Dim::fixed(1));
        turns.push(importer.reshape(node.name, table, shape)?);
    }
    let piece = |importer: &mut Importer, x: NodeId, axis: usize, from: usize, count: usize| {
        let taken = part(importer, &format!("{}.part", node.name), x, axis, (from, count, 1))?;
        importer.make_internal(taken);
        Ok::<NodeId, String>(taken)
    };
    let turned = if dims < width { piece(importer, x, 3, 0, dims)? } else { x };
    let halves = match turn.is_interleaved {
        false => [piece(importer, turned, 3, 0, pairs)?, piece(importer, turned, 3, pairs, pairs)?],
        true => {
            let paired = importer.reshape(node.name, turned, with(&[pairs, 2]))?;
            let halves = [piece(importer, paired, 4, 0, 1)?, piece(importer, paired, 4, 1, 1)?];
            [
                importer.reshape(node.name, halves[0], with(&[pairs]))?,
                importer.reshape(node.name, halves[1], with(&[pairs]))?,
            ]
        }
    };
    let product = |importer: &mut Importer, half: usize, table: usize| {
        importer.inner(node, "product", ops::Mul {}, &[halves[half], turns[table]])
    };
    let (a, b) = (product(importer, 0, 0)?, product(importer, 1, 1)?);
    let real = importer.inner(node, "real", ops::Sub {}, &[a, b])?;
    let (a, b) = (product(importer, 0, 1)?, product(importer, 1, 0)?);
    let imaginary = importer.inner(node, "imaginary", ops::Add {}, &[a, b])?;
    let mut joined = match turn.is_interleaved {
        false => vec![real, imaginary],
        true => {
            let real = importer.reshape(node.name, real, with(&[pairs, 1]))?;
            let imaginary = importer.reshape(node.name, imaginary, with(&[pairs, 1]))?;
            let both = importer.emit(node.name, ops::Concat { axis: 4 }, &[real, imaginary])?;
            vec![importer.reshape(node.name, both, with(&[dims]))?]
        }
    };
    if dims < width {
        joined.push(piece(importer, x, 3, dims, width - dims)?);
    }
    let y = match joined.as_slice() {
        &[only] => only,
        several => importer.emit(node.name, ops::Concat { axis: 3 }, several)?,
    };
    importer.reshape(node.name, y, own)
}
