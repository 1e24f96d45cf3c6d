//! Gemm and MatMul.

use super::contract::{Label, Labelled, contract, takes_bias};
use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Operand, Value};
use bitbudget_ir::{Dim, NodeId, Real, Shape, ops};

const ROWS_OF_A: Label = 0;
const DEPTH: Label = 1;
const COLUMNS_OF_B: Label = 2;
/// The last leading dimension; those before it follow.
const LEADING: Label = 3;

/// Elements of the zeros that a product over nothing may have.
const MOST_ZEROS: usize = 1 << 26;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Gemm",
        versions: &[7, 9, 11, 13],
        attributes: &["alpha", "beta", "transA", "transB"],
        forms: "`matmul`, with a C of shape [N] or [1, N] as its bias, another by `add`; alpha and beta by `scale`; transposed \
                operands are read transposed; A may have leading dimensions",
        build: Some(gemm),
        fold: None,
    },
    Row {
        name: "MatMul",
        versions: &[1, 9, 13],
        attributes: &[],
        forms: "`matmul`, of any number of dimensions: leading dimensions of both operands make pairs of matrices, those of one \
                operand alone are rows or columns, by way of `reshape` and `transpose`; an Add of a vector that alone reads the \
                product becomes its bias; operands whose last two dimensions are swapped are read transposed",
        build: Some(matmul),
        fold: None,
    },
];

pub(super) fn gemm(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let (trans_a, trans_b) = (node.flag("transA")?, node.flag("transB")?);
    let number = |name| node.float(name).map(|x| x.unwrap_or(1.0));
    let (alpha, beta) = (number("alpha")?, number("beta")?);
    let (a, b) = (importer.tensor(node, 0)?, importer.tensor(node, 1)?);
    let c = if node.input(2).is_some() { Some(importer.tensor(node, 2)?) } else { None };
    let scaled = |importer: &mut Importer, x: NodeId, by: f64| match by == 1.0 {
        true => Ok(x),
        false => importer.emit(node.name, ops::Scale { by: Real(by) }, &[x]),
    };
    let (a_shape, b_shape) = (importer.shape(a), importer.shape(b));
    // Optimizers make such nodes of MatMul, whose rows may have several dimensions.
    let is_one = |dims: &[Dim]| dims.iter().all(|&dim| dim == Dim::fixed(1));
    let ([rows @ .., a_first, a_second], [ones @ .., b_first, b_second]) = (a_shape.0.as_slice(), b_shape.0.as_slice())
    else {
        return Err(format!("A and B must be matrices, but are {a_shape} and {b_shape}"));
    };
    if trans_a && !rows.is_empty() || !is_one(ones) || ones.len() > rows.len() {
        return Err(format!("A and B must be matrices, but are {a_shape} and {b_shape}"));
    }
    let b = importer.reshape(node.name, b, Shape(vec![*b_first, *b_second]))?;
    let depths = (if trans_a { a_first } else { a_second }, if trans_b { b_second } else { b_first });
    if depths.0 != depths.1 {
        return Err(format!("{a_shape} and {b_shape} do not multiply: {} against {}", depths.0, depths.1));
    }
    let columns = Some(if trans_b { *b_first } else { *b_second });
    let product = |importer: &mut Importer, bias: Option<NodeId>| {
        let leading: Vec<Label> = (0..rows.len()).map(|i| LEADING + i).collect();
        let matrix = if trans_a { [DEPTH, ROWS_OF_A] } else { [ROWS_OF_A, DEPTH] };
        let a = Labelled { x: a, labels: [leading.as_slice(), &matrix].concat() };
        let b = Labelled { x: b, labels: if trans_b { vec![COLUMNS_OF_B, DEPTH] } else { vec![DEPTH, COLUMNS_OF_B] } };
        contract(importer, node.name, [a, b], &[leading.as_slice(), &[ROWS_OF_A, COLUMNS_OF_B]].concat(), bias)
    };
    let Some(c) = c else {
        let y = product(importer, None)?;
        return Ok(vec![Value::Tensor(scaled(importer, y, alpha)?)]);
    };
    let c_shape = importer.shape(c);
    let row = match c_shape.0.as_slice() {
        [n] => Some(*n) == columns,
        [one, n] => *one == Dim::fixed(1) && Some(*n) == columns,
        _ => false,
    };
    if row && alpha == 1.0 {
        let bias = importer.reshape(node.name, c, Shape(c_shape.0[c_shape.rank() - 1..].to_vec()))?;
        let bias = scaled(importer, bias, beta)?;
        return Ok(vec![Value::Tensor(product(importer, Some(bias))?)]);
    }
    let product = product(importer, None)?;
    let product = scaled(importer, product, alpha)?;
    let c = scaled(importer, c, beta)?;
    let y = importer.emit(node.name, ops::Add {}, &[product, c])?;
    if importer.shape(y) != importer.shape(product) {
        return Err(format!("C of shape {c_shape} does not broadcast to the product's {}", importer.shape(product)));
    }
    Ok(vec![Value::Tensor(y)])
}

pub(super) fn matmul(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    if let Some(zeros) = empty_product(importer, node) {
        return Ok(vec![zeros]);
    }
    let (a, b) = (importer.tensor(node, 0)?, importer.tensor(node, 1)?);
    let (a_shape, b_shape) = (importer.shape(a), importer.shape(b));
    let fault = |why: String| format!("{a_shape} and {b_shape} do not multiply: {why}");
    let (depth_a, depth_b) = (a_shape.0.last().copied(), b_shape.get(b_shape.rank().saturating_sub(2)));
    let (Some(depth_a), Some(depth_b)) = (depth_a, depth_b) else {
        return Err(fault("a scalar has no rows and columns; use Mul".into()));
    };
    if depth_a != depth_b {
        return Err(fault(format!("{depth_a} against {depth_b}")));
    }
    // Leading dimensions are counted from the last one.
    let leading = |shape: &Shape| shape.rank().saturating_sub(2);
    let size = |shape: &Shape, i: usize| (i < leading(shape)).then(|| shape.0[leading(shape) - 1 - i]);
    let (mut repeated_a, mut repeated_b) = (Vec::new(), Vec::new());
    for i in 0..leading(&a_shape).min(leading(&b_shape)) {
        match (size(&a_shape, i), size(&b_shape, i)) {
            (a, b) if a == b => {}
            (Some(a), _) if a == Dim::fixed(1) => repeated_a.push(i),
            (_, Some(b)) if b == Dim::fixed(1) => repeated_b.push(i),
            _ => return Err(fault("leading dimensions must be equal or 1".into())),
        }
    }
    let labels = |shape: &Shape, repeated: &[usize], matrix: [Label; 2], vector: Label| {
        let leading = (0..leading(shape)).rev().filter(|i| !repeated.contains(i)).map(|i| LEADING + i);
        let last = if shape.rank() == 1 { vec![vector] } else { matrix.to_vec() };
        leading.chain(last).collect::<Vec<Label>>()
    };
    let labels_a = labels(&a_shape, &repeated_a, [ROWS_OF_A, DEPTH], DEPTH);
    let labels_b = labels(&b_shape, &repeated_b, [DEPTH, COLUMNS_OF_B], DEPTH);
    let longest = leading(&a_shape).max(leading(&b_shape));
    let mut out: Vec<Label> = (0..longest).rev().map(|i| LEADING + i).collect();
    out.extend([ROWS_OF_A, COLUMNS_OF_B].into_iter().filter(|l| labels_a.contains(l) || labels_b.contains(l)));

    let bias = match b_shape.0.last() {
        Some(&columns) if takes_bias(&labels_a, &labels_b, &out) => bias_of(importer, node, columns)?,
        _ => None,
    };
    let a = without(importer, node, a, &repeated_a)?;
    let b = without(importer, node, b, &repeated_b)?;
    let operands = [Labelled { x: a, labels: labels_a }, Labelled { x: b, labels: labels_b }];
    let y = contract(importer, node.name, operands, &out, bias.as_ref().map(|(bias, _)| *bias))?;
    if let Some((_, sum)) = bias {
        importer.merged.insert(sum, y);
    }
    Ok(vec![Value::Tensor(y)])
}

/// The zeros that a product of stored matrices over no elements is, such as that of a low-rank adapter of rank 0.
fn empty_product(importer: &Importer, node: &Node) -> Option<Value> {
    let shape = |position: usize| importer.constant(node.input(position)?).ok().map(|constant| constant.shape.clone());
    match (shape(0)?.as_slice(), shape(1)?.as_slice()) {
        (&[rows, 0], &[0, columns]) if rows > 0 && columns > 0 && rows.checked_mul(columns)? <= MOST_ZEROS => {
            let elements = Elements::Floats(vec![0.0; rows * columns]);
            Some(Value::known(Constant { shape: vec![rows, columns], elements }))
        }
        _ => None,
    }
}

/// The tensor without some leading dimensions of size 1, which are counted from the last one.
fn without(importer: &mut Importer, node: &Node, x: NodeId, gone: &[usize]) -> Result<NodeId, String> {
    let mut shape = importer.shape(x);
    let leading = shape.rank().saturating_sub(2);
    for i in gone {
        shape.0.remove(leading - 1 - i);
    }
    importer.reshape(node.name, x, shape)
}

/// The vector that an Add, the only reader of the product, adds to it, and the name of the Add's result.
fn bias_of(importer: &mut Importer, node: &Node, columns: Dim) -> Result<Option<(NodeId, String)>, String> {
    let Some(product) = node.proto.output.first() else { return Ok(None) };
    let Some(add) = importer.only_reader(product) else { return Ok(None) };
    let (Some(sum), [a, b]) = (add.output.first().cloned(), add.input.as_slice()) else { return Ok(None) };
    let name = if a == product { b.clone() } else { a.clone() };
    let Some(value) = importer.known.get(&name).cloned() else { return Ok(None) };
    let shape = match &value {
        Value::Initializer(i) => importer.initializers[*i].constant.shape.clone(),
        Value::Constant(constant) => constant.shape.clone(),
        _ => return Ok(None),
    };
    if shape.len() != 1 || columns.as_fixed() != Some(shape[0]) {
        return Ok(None);
    }
    Ok(Some((importer.operand(&Operand { name, value })?, sum)))
}
