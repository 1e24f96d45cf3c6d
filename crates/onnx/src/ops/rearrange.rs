//! Operators that repeat elements, move them between channels and positions, or take part of a matrix.

use super::fold;
use super::linear_map;
use super::row::{Known, Row};
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Value, axis};
use bitbudget_ir::{Dim, NodeId, Real, Shape, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Tile",
        versions: &[6, 13],
        attributes: &[],
        forms: "`broadcast` and `reshape`; repeats known at import, the batch once; a dimension of one also by the batch size",
        build: Some(tile),
        fold: Some(fold_tile),
    },
    Row {
        name: "DepthToSpace",
        versions: &[1, 11, 13],
        attributes: &["blocksize", "mode"],
        forms: "`reshape` and `transpose`; DCR and CRD",
        build: Some(depth_to_space),
        fold: None,
    },
    Row {
        name: "SpaceToDepth",
        versions: &[1, 13],
        attributes: &["blocksize"],
        forms: "`reshape` and `transpose`",
        build: Some(space_to_depth),
        fold: None,
    },
    Row {
        name: "Trilu",
        versions: &[14],
        attributes: &["upper"],
        forms: "`clip` to finite numbers and `mul` by a mask; k known at import, the batch not among the last two dimensions",
        build: Some(trilu),
        fold: Some(fold_trilu),
    },
    Row {
        name: "CumSum",
        versions: &[11, 14],
        attributes: &["exclusive", "reverse"],
        forms: "a product with a triangle of ones, `matmul` or `conv`; an axis known at import, after the batch",
        build: Some(cumulative_sum),
        fold: Some(fold_cumulative_sum),
    },
];

fn tile(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let repeats = importer.constant(node.need(1)?)?;
    let repeats = repeats.as_ints()?;
    if repeats.len() != shape.rank() {
        return Err(format!("{} repeats do not fit {shape}", repeats.len()));
    }
    let (mut apart, mut wide, mut target) = (Vec::new(), Vec::new(), Vec::new());
    for (axis, (&dim, count)) in shape.0.iter().zip(repeats).enumerate() {
        let count = count.as_dim().ok_or_else(|| format!("its repeats along dimension {axis} are {count}"))?;
        let whole = match (dim.is_batch(), count.is_batch()) {
            (true, _) if count != Dim::fixed(1) => {
                return Err(format!("the batch (dimension {axis} of {shape}) cannot be repeated"));
            }
            (_, true) => Dim::batches(count.factor().saturating_mul(dim.factor())),
            (true, _) => dim,
            (false, _) => Dim::fixed(count.factor().saturating_mul(dim.factor())),
        };
        if count != Dim::fixed(1) && dim != Dim::fixed(1) {
            apart.push(Dim::fixed(1));
            wide.push(count);
        }
        apart.push(dim);
        wide.push(if dim == Dim::fixed(1) { count } else { dim });
        target.push(whole);
    }
    if target == shape.0 {
        return Ok(vec![Value::Tensor(x)]);
    }
    let x = importer.reshape(node.name, x, Shape(apart))?;
    let y = importer.emit(node.name, ops::Broadcast { shape: Shape(wide) }, &[x])?;
    Ok(vec![Value::Tensor(importer.reshape(node.name, y, Shape(target))?)])
}

fn fold_tile(_: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let (x, repeats) = (fold::need(inputs, 0)?, fold::need(inputs, 1)?.as_fixed()?);
    let sizes: Option<Vec<usize>> =
        x.shape.iter().zip(&repeats).map(|(&d, &r)| d.checked_mul(usize::try_from(r).ok()?)).collect();
    let sizes =
        sizes.filter(|_| repeats.len() == x.shape.len()).ok_or_else(|| format!("its repeats are {repeats:?}"))?;
    let tiled = fold::gather(x, &sizes, room, |index| {
        Some(index.iter().zip(&x.shape).fold(0, |offset, (&i, &d)| offset * d + i % d.max(1)))
    })?;
    Ok(vec![tiled])
}

/// The block size, and the sizes of `[N, C, H, W]`.
fn blocks(importer: &Importer, node: &Node, x: NodeId) -> Result<(usize, Dim, [usize; 3]), String> {
    let shape = importer.shape(x);
    let block = node.int("blocksize")?.ok_or("attribute `blocksize` is missing")?;
    let block = usize::try_from(block).ok().filter(|block| (1..1 << 16).contains(block));
    let block = block.ok_or("attribute `blocksize` must be positive")?;
    let fixed: Option<Vec<usize>> = shape.0.iter().skip(1).map(|dim| dim.as_fixed()).collect();
    match fixed.as_deref() {
        Some(&[channels, height, width]) => Ok((block, shape.0[0], [channels, height, width])),
        _ => Err(format!("an input [N, C, H, W] is needed, but it is {shape}")),
    }
}

/// Splits dimensions, reorders them, and joins them again.
fn regrouped(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    batch: Dim,
    apart: &[usize],
    perm: &[usize],
    together: [usize; 3],
) -> Result<Vec<Value>, String> {
    let shape = |sizes: &[usize]| Shape([batch].into_iter().chain(sizes.iter().map(|&s| Dim::fixed(s))).collect());
    let x = importer.reshape(node.name, x, shape(apart))?;
    let y = importer.emit(node.name, ops::Transpose { perm: perm.to_vec() }, &[x])?;
    Ok(vec![Value::Tensor(importer.reshape(node.name, y, shape(&together))?)])
}

fn depth_to_space(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let (b, batch, [channels, height, width]) = blocks(importer, node, x)?;
    if channels % (b * b) != 0 {
        return Err(format!("{channels} channels do not make blocks of {b} x {b}"));
    }
    let depth = channels / (b * b);
    let together = [depth, height * b, width * b];
    match node.text("mode")?.unwrap_or_else(|| "DCR".into()).as_str() {
        "DCR" => regrouped(importer, node, x, batch, &[b, b, depth, height, width], &[0, 3, 4, 1, 5, 2], together),
        "CRD" => regrouped(importer, node, x, batch, &[depth, b, b, height, width], &[0, 1, 4, 2, 5, 3], together),
        other => Err(format!("mode `{other}` is not known (DCR, CRD)")),
    }
}

fn space_to_depth(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let (b, batch, [channels, height, width]) = blocks(importer, node, x)?;
    if height % b != 0 || width % b != 0 {
        return Err(format!("blocks of {b} x {b} do not fit {height} x {width} elements"));
    }
    let (rows, columns) = (height / b, width / b);
    let together = [channels * b * b, rows, columns];
    regrouped(importer, node, x, batch, &[channels, rows, b, columns, b], &[0, 3, 5, 1, 2, 4], together)
}

/// Whether the element in a row and a column of a matrix stays.
fn stays(node: &Node, k: Option<i64>) -> Result<impl Fn(usize, usize) -> bool, String> {
    let (upper, k) = (node.int("upper")?.unwrap_or(1) != 0, k.unwrap_or(0));
    Ok(move |row: usize, column: usize| {
        let above = column as i64 - row as i64;
        if upper { above >= k } else { above <= k }
    })
}

fn trilu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let sizes: Vec<usize> = shape.0.iter().rev().take(2).filter_map(|dim| dim.as_fixed()).collect();
    let [columns, rows] = sizes[..] else { return Err(format!("the last two dimensions of {shape} must be a matrix")) };
    let stays = stays(node, importer.ints(node, 1)?.and_then(|k| k.first().copied()))?;
    let mask = (0..rows * columns).map(|at| f32::from(stays(at / columns, at % columns))).collect();
    let mask = Constant { shape: vec![rows, columns], elements: Elements::Floats(mask) };
    let name = importer.fresh_name(&format!("{}.mask", node.name));
    let mask = importer.constant_source(&name, &mask)?;
    // Zero times infinity is not a number.
    let bound = 3e38;
    let finite = ops::Clip { min: Real(-bound), max: Real(bound) };
    let finite = importer.emit_internal(&format!("{}.finite", node.name), finite, &[x])?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Mul {}, &[finite, mask])?)])
}

fn fold_trilu(node: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let x = fold::need(inputs, 0)?;
    let count = fold::elements(&x.shape, room)?;
    let [.., rows, columns] = x.shape[..] else { return Err("a matrix is needed".into()) };
    let k = inputs.get(1).and_then(Option::as_ref).map(|k| k.as_fixed()).transpose()?;
    let stays = stays(node, k.and_then(|k| k.first().copied()))?;
    let is_kept = |at: usize| stays(at / columns % rows, at % columns);
    let elements = match &x.elements {
        Elements::Floats(all) => Elements::Floats((0..count).map(|i| if is_kept(i) { all[i] } else { 0.0 }).collect()),
        Elements::Ints(all) => {
            Elements::Ints((0..count).map(|i| if is_kept(i) { all[i] } else { Int::fixed(0) }).collect())
        }
    };
    Ok(vec![Constant { shape: x.shape.clone(), elements }])
}

/// The matrix whose product with elements is their sums up to each of them.
fn triangle(node: &Node, size: usize) -> Result<Vec<f32>, String> {
    let (exclusive, reverse) = (node.flag("exclusive")?, node.flag("reverse")?);
    let counts = |o: usize, i: usize| match (reverse, exclusive) {
        (false, false) => i <= o,
        (false, true) => i < o,
        (true, false) => i >= o,
        (true, true) => i > o,
    };
    Ok((0..size * size).map(|at| f32::from(counts(at / size, at % size))).collect())
}

fn only(axes: &[i64]) -> Result<i64, String> {
    axes.first().copied().filter(|_| axes.len() == 1).ok_or_else(|| "its axis must be one number".into())
}

fn cumulative_sum(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let given = importer.ints(node, 1)?.ok_or("its axis is missing")?;
    let axis = axis(only(&given)?, shape.rank())?;
    let size = shape.0[axis].as_fixed().ok_or_else(|| crate::batch::mixing("it sums over the batch"))?;
    if size > 1 << 14 {
        return Err(format!("{size} elements along dimension {axis} are more than the {} that are summed up", 1 << 14));
    }
    let matrix = triangle(node, size)?;
    Ok(vec![Value::Tensor(linear_map::product(importer, node.name, x, axis, matrix, false)?)])
}

fn fold_cumulative_sum(node: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let x = fold::need(inputs, 0)?;
    let axis = axis(only(&fold::need(inputs, 1)?.as_fixed()?)?, x.shape.len())?;
    fold::elements(&x.shape, room)?;
    let (size, inner): (usize, usize) = (x.shape[axis], x.shape[axis + 1..].iter().product());
    let (exclusive, reverse) = (node.flag("exclusive")?, node.flag("reverse")?);
    let line = |at: usize| {
        let (outer, i, after) = (at / (size * inner), at / inner % size, at % inner);
        let own = if exclusive { 0 } else { 1 };
        let range = if reverse { i + 1 - own..size } else { 0..i + own };
        range.map(move |i| (outer * size + i) * inner + after)
    };
    let elements = match &x.elements {
        Elements::Floats(all) => Elements::Floats((0..all.len()).map(|at| line(at).map(|i| all[i]).sum()).collect()),
        Elements::Ints(all) => {
            let sum = |at: usize| line(at).try_fold(Int::fixed(0), |sum, i| sum.add(all[i]));
            let sums: Option<Vec<Int>> = (0..all.len()).map(sum).collect();
            Elements::Ints(sums.ok_or("a sum is too large")?)
        }
    };
    Ok(vec![Constant { shape: x.shape.clone(), elements }])
}
