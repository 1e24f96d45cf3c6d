//! The same as `import_bytes` on files that are nearly sound: nodes of known operators with typed inputs, initializers, attributes, sequences,
//! branches, loops, functions and quantised pairs, all chosen by the bytes.
//!
//! `cargo +nightly fuzz run import_nodes -- -rss_limit_mb=6000` from `crates/onnx`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::type_proto::{self, Value};
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_shape_proto,
};
use protobuf::{EnumOrUnknown, Message};

const MICROSOFT: &str = "com.microsoft";

/// Attributes of whole numbers, of lists of them, of fractions and of text.
const INTS: [&str; 24] = [
    "axis", "keepdims", "to", "batch_dims", "largest", "k", "num_heads", "q_num_heads", "kv_num_heads", "is_causal",
    "qk_matmul_output_mode", "block_size", "group", "ceil_mode", "interleaved", "rotary_embedding_dim", "unidirectional",
    "select_last_index", "exclusive", "reverse", "do_rotary", "antialias", "blocksize", "num_outputs",
];
const LISTS: [&str; 9] =
    ["axes", "perm", "pads", "strides", "kernel_shape", "dilations", "split", "starts", "ends"];
const FRACTIONS: [&str; 5] = ["alpha", "epsilon", "scale", "softcap", "extrapolation_value"];
const TEXTS: [(&str, &[&str]); 4] = [
    ("reduction", &["none", "add", "mul", "min", "max"]),
    ("mode", &["nearest", "linear", "cubic", "constant", "reflect", "edge"]),
    ("coordinate_transformation_mode", &["half_pixel", "align_corners", "tf_crop_and_resize", "asymmetric"]),
    ("equation", &["ij,jk->ik", "...ij->...ji", "bij,bjk", "i,i->"]),
];

/// The choices that bytes make; zeros where they end.
struct Choices<'b> {
    bytes: &'b [u8],
    tensors: Vec<String>,
    operators: Vec<(&'static str, &'static str)>,
    made: usize,
}

impl Choices<'_> {
    fn below(&mut self, count: usize) -> usize {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        usize::from(first) % count.max(1)
    }

    fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("v{}", self.made)
    }

    fn sizes(&mut self, most: usize) -> Vec<i64> {
        (0..self.below(most + 1)).map(|_| *self.pick(&[1, 2, 3, 4, 2, 3, 6, 0])).collect()
    }

    fn tensor(&mut self, name: String) -> TensorProto {
        let kind = *self.pick(&[1, 1, 7, 7, 7, 9, 3, 2, 6, 22]);
        let dims = self.sizes(if kind == 7 { 2 } else { 4 });
        let count = dims.iter().product::<i64>() as usize;
        let start = self.below(7) as i32 - 3;
        let mut tensor = TensorProto { name, data_type: kind, dims, ..TensorProto::default() };
        let numbers = (0..count).map(|i| (start + i as i32) % 7);
        match kind {
            1 => tensor.float_data = numbers.map(|i| i as f32 / 2.0).collect(),
            7 => tensor.int64_data = numbers.map(i64::from).collect(),
            9 => tensor.int32_data = numbers.map(|i| i & 1).collect(),
            22 => tensor.int32_data = (0..count.div_ceil(2)).map(|i| i as i32 & 0xff).collect(),
            2 => tensor.int32_data = numbers.map(i32::abs).collect(),
            _ => tensor.int32_data = numbers.collect(),
        }
        tensor
    }

    fn value(&mut self, name: String) -> ValueInfoProto {
        let mut shape = TensorShapeProto::default();
        for (axis, size) in self.sizes(4).into_iter().enumerate() {
            let value = match axis {
                0 if size % 2 == 0 => tensor_shape_proto::dimension::Value::DimParam("N".into()),
                _ => tensor_shape_proto::dimension::Value::DimValue(size.max(1)),
            };
            shape.dim.push(tensor_shape_proto::Dimension { value: Some(value), ..Default::default() });
        }
        let elem_type = *self.pick(&[1, 1, 1, 7, 6, 9]);
        let tensor = type_proto::Tensor { elem_type, shape: Some(shape).into(), ..Default::default() };
        let of = TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() };
        ValueInfoProto { name, type_: Some(of).into(), ..ValueInfoProto::default() }
    }

    fn name(&mut self) -> String {
        // The latest ones most often.
        let back = self.below(6).min(self.tensors.len() - 1);
        match self.below(3) {
            0 => self.pick(&self.tensors.clone()).clone(),
            _ => self.tensors[self.tensors.len() - 1 - back].clone(),
        }
    }

    fn attributes(&mut self) -> Vec<AttributeProto> {
        let mut all = Vec::new();
        for _ in 0..self.below(4) {
            let mut found = AttributeProto::default();
            let kind = match self.below(6) {
                0..3 => {
                    (found.name, found.i) = ((*self.pick(&INTS)).into(), self.below(12) as i64 - 3);
                    AttributeType::INT
                }
                3 => {
                    (found.name, found.ints) = ((*self.pick(&LISTS)).into(), self.sizes(4));
                    AttributeType::INTS
                }
                4 => {
                    (found.name, found.f) = ((*self.pick(&FRACTIONS)).into(), self.below(9) as f32 / 4.0 - 0.5);
                    AttributeType::FLOAT
                }
                _ => {
                    let (name, texts) = *self.pick(&TEXTS);
                    (found.name, found.s) = (name.into(), self.pick(texts).as_bytes().to_vec());
                    AttributeType::STRING
                }
            };
            found.type_ = EnumOrUnknown::new(kind);
            all.push(found);
        }
        all
    }

    fn graph(&mut self, deep: usize) -> GraphProto {
        let mut graph = GraphProto::default();
        let outer = self.tensors.len();
        for _ in 0..=self.below(2) {
            let node = self.node(deep + 1);
            graph.node.push(node);
        }
        let last = graph.node.last().and_then(|node| node.output.first()).cloned().unwrap_or_default();
        graph.output.push(ValueInfoProto { name: last, ..ValueInfoProto::default() });
        self.tensors.truncate(outer);
        graph
    }

    fn node(&mut self, deep: usize) -> NodeProto {
        let (domain, operator) = *self.pick(&self.operators.clone());
        let mut node = NodeProto { op_type: operator.into(), domain: domain.into(), ..NodeProto::default() };
        for _ in 0..self.below(5) {
            let left_out = self.below(9) == 8;
            let name = if left_out { String::new() } else { self.name() };
            node.input.push(name);
        }
        node.attribute = self.attributes();
        let bodies: &[&str] = match operator {
            "If" => &["then_branch", "else_branch"],
            "Loop" | "Scan" => &["body"],
            _ => &[],
        };
        for name in bodies.iter().filter(|_| deep < 2) {
            let mut body = self.graph(deep);
            if operator == "Loop" {
                let names = [self.fresh(), self.fresh()];
                body.input.extend(names.map(|name| ValueInfoProto { name, ..ValueInfoProto::default() }));
            }
            let type_ = EnumOrUnknown::new(AttributeType::GRAPH);
            node.attribute.push(AttributeProto { name: (*name).into(), g: Some(body).into(), type_, ..Default::default() });
        }
        if operator == "Constant" {
            let tensor = self.tensor(String::new());
            let type_ = EnumOrUnknown::new(AttributeType::TENSOR);
            node.attribute = vec![AttributeProto { name: "value".into(), t: Some(tensor).into(), type_, ..Default::default() }];
        }
        for _ in 0..=self.below(3) {
            let name = self.fresh();
            node.output.push(name.clone());
            self.tensors.push(name);
        }
        node
    }
}

fn model(bytes: &[u8]) -> ModelProto {
    let table = bitbudget_onnx::operator_table();
    let mut operators: Vec<(&str, &str)> = table.iter().map(|row| (row.domain, row.name)).collect();
    operators.extend([("", "If"), ("", "Loop"), ("", "Scan"), ("local", "Pair"), ("", "QuantizeLinear"), ("", "DequantizeLinear")]);
    let mut choices = Choices { bytes, tensors: Vec::new(), operators, made: 0 };
    let mut graph = GraphProto::default();
    for at in 0..=choices.below(3) {
        graph.input.push(choices.value(format!("x{at}")));
        choices.tensors.push(format!("x{at}"));
    }
    for at in 0..choices.below(7) {
        graph.initializer.push(choices.tensor(format!("w{at}")));
        choices.tensors.push(format!("w{at}"));
    }
    for _ in 0..=choices.below(8) {
        let node = choices.node(0);
        graph.node.push(node);
    }
    let last = choices.tensors.last().cloned().unwrap_or_default();
    graph.output.push(ValueInfoProto { name: last, ..ValueInfoProto::default() });
    let set = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version, ..Default::default() };
    let version = *choices.pick(&[13, 17, 18, 21, 23, 24, 11, 9]);
    let sets = vec![set("", version), set(MICROSOFT, 1), set("local", 1)];
    let inner = NodeProto { op_type: choices.pick(&["Relu", "QuantizeLinear", "Add"]).to_string(), ..NodeProto::default() };
    let inner = NodeProto { input: vec!["a".into(), "b".into()], output: vec!["c".into()], ..inner };
    let function = FunctionProto {
        name: "Pair".into(),
        domain: "local".into(),
        input: inner.input.clone(),
        output: inner.output.clone(),
        node: vec![inner],
        opset_import: sets.clone(),
        ..FunctionProto::default()
    };
    let functions = vec![function];
    ModelProto { ir_version: 9, opset_import: sets, graph: Some(graph).into(), functions, ..ModelProto::default() }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = model(bytes).write_to_bytes() else { return };
    let stated = bitbudget_onnx::import_stated(&file);
    let Ok(imported) = bitbudget_onnx::import_bytes(&file, None).or(stated) else { return };
    let graph = &imported.model.graph;
    assert_eq!(bitbudget_ir::verify(graph), Ok(()));
    assert_eq!(graph.to_string().parse::<bitbudget_ir::Graph>().map(|g| g.to_string()), Ok(graph.to_string()));
    if let Ok(written) = bitbudget_onnx::export_bytes(&imported.model) {
        let again = bitbudget_onnx::import_bytes(&written, None);
        let stated = bitbudget_onnx::import_stated(&written);
        assert!(again.is_ok() || stated.is_ok(), "an exported graph is read again: {again:?}\n{stated:?}\n{graph}");
    }
});
