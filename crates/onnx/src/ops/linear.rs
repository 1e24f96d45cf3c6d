//! Gemm and MatMul.

use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Operand, Value};
use bitbudget_ir::{Dim, NodeId, Op, Real, Shape, ops};

/// Elements of the zeros that a product over nothing may have.
const MOST_ZEROS: usize = 1 << 26;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Gemm",
        versions: &[7, 9, 11, 13],
        attributes: &["alpha", "beta", "transA", "transB"],
        forms: "`matmul`, with a C of shape [N] or [1, N] as its bias, another by `add`; alpha and beta by `scale`",
        build: Some(gemm),
        fold: None,
    },
    Row {
        name: "MatMul",
        versions: &[1, 9, 13],
        attributes: &[],
        forms: "`matmul`; a matrix, or a tensor of more dimensions by way of `reshape`, times a matrix; an Add of a \
                vector that alone reads the product becomes its bias, and a transposed weight is read transposed",
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
    let op = ops::Matmul { trans_a, trans_b };
    let columns = importer.shape(b).0.get(usize::from(!trans_b)).copied();
    let Some(c) = c else {
        let y = importer.emit(node.name, op, &[a, b])?;
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
        return Ok(vec![Value::Tensor(importer.emit(node.name, op, &[a, b, bias])?)]);
    }
    let product = importer.emit(node.name, op, &[a, b])?;
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
    let a = importer.tensor(node, 0)?;
    let (a_shape, b_shape) = (importer.shape(a), importer.shape_of(node.need(1)?)?);
    if a_shape.rank() < 2 || b_shape.rank() != 2 {
        return Err(
            "a tensor of at least two dimensions times a matrix is supported; the batch cannot be in both".into()
        );
    }
    let columns = b_shape.0[1];
    let (rows, depth) = a_shape.0.split_at(a_shape.rank() - 1);
    let (factor, batches) = Shape(rows.to_vec()).symbolic_elements();
    let height = match batches {
        0 => Dim::fixed(factor),
        1 => Dim::batches(factor),
        _ => return Err(format!("the batch occurs twice in {a_shape}")),
    };
    let a = importer.reshape(node.name, a, Shape(vec![height, depth[0]]))?;
    let mut b = importer.tensor(node, 1)?;
    // A linear layer's weight is stored [out, in]; exporters put a Transpose before the product.
    let mut trans_b = false;
    if matches!(importer.graph.op(b), Op::Transpose(_)) {
        b = importer.graph.operand(b, 0).map_err(|e| e.to_string())?;
        trans_b = true;
    }
    let bias = bias_of(importer, node, columns)?;
    let operands: Vec<NodeId> = [a, b].into_iter().chain(bias.as_ref().map(|(bias, _)| *bias)).collect();
    let y = importer.emit(node.name, ops::Matmul { trans_a: false, trans_b }, &operands)?;
    let mut shape = rows.to_vec();
    shape.push(columns);
    let y = importer.reshape(node.name, y, Shape(shape))?;
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
