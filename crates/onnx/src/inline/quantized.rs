//! Operators on quantised numbers, as optimizers leave them, become those on floating-point ones between DequantizeLinear and QuantizeLinear,
//! which are trained by the straight-through estimator.

use super::node::graphs_mut;
use super::{node_name, notes, subgraphs};
use bitbudget_ir::Names;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{AttributeProto, GraphProto, NodeProto, TensorProto};
use protobuf::Enum;
use std::collections::BTreeMap;

/// Replaces the operators on quantised numbers of a graph, also within its nodes; the tensors that it quantises by their own range, which become ones that are not
/// quantised.
pub(crate) fn replace(graph: &mut GraphProto) -> Vec<String> {
    let mut dynamic: Vec<String> = graph.node.iter_mut().flat_map(graphs_mut).flat_map(replace).collect();
    let of_known = |node: &NodeProto| matches!(node.domain.as_str(), "" | "ai.onnx" | "com.microsoft");
    if !graph.node.iter().any(|node| of_known(node) && form(&node.op_type).is_some()) {
        return dynamic;
    }
    let mut pass = Pass {
        names: subgraphs::names(graph),
        nodes: Vec::new(),
        initializers: Vec::new(),
        dynamic: Vec::new(),
        scales: scales(graph),
    };
    for node in std::mem::take(&mut graph.node) {
        // Images with the channels last are refused by the operator's name.
        match form(&node.op_type).filter(|_| of_known(&node) && int(&node, "channels_last") == 0) {
            Some(form) => pass.node(node, form),
            None => pass.nodes.push(node),
        }
    }
    graph.node = pass.nodes;
    graph.initializer.extend(pass.initializers);
    dynamic.extend(pass.dynamic);
    dynamic
}

/// Where the quantised operands of an operator stand, each with its scale and zero point, and what it computes of them.
struct Form {
    /// The operator on floating-point numbers.
    operator: &'static str,
    /// Positions of a number, its scale and its zero point.
    operands: &'static [[Option<usize>; 3]],
    /// The position of a bias in the whole numbers of the product.
    bias: Option<usize>,
    /// The positions of the result's scale and zero point, if it is quantised.
    result: Option<[usize; 2]>,
}

/// One and two operands with all their parts, and two without a scale.
const ONE: &[[Option<usize>; 3]] = &[at(0, 1, 2)];
const WHOLE: &[[Option<usize>; 3]] = &[[Some(0), None, Some(2)], [Some(1), None, Some(3)]];
const TWO: &[[Option<usize>; 3]] = &[at(0, 1, 2), at(3, 4, 5)];

const fn at(number: usize, scale: usize, zero: usize) -> [Option<usize>; 3] {
    [Some(number), Some(scale), Some(zero)]
}

fn form(operator: &str) -> Option<Form> {
    let of = |operator, operands, bias, result| Some(Form { operator, operands, bias, result });
    match operator {
        "QLinearConv" => of("Conv", TWO, Some(8), Some([6, 7])),
        "QLinearMatMul" => of("MatMul", TWO, None, Some([6, 7])),
        "QGemm" => of("Gemm", TWO, Some(6), Some([7, 8])),
        "QLinearAdd" => of("Add", TWO, None, Some([6, 7])),
        "QLinearMul" => of("Mul", TWO, None, Some([6, 7])),
        "QLinearSigmoid" => of("Sigmoid", ONE, None, Some([3, 4])),
        "QLinearLeakyRelu" => of("LeakyRelu", ONE, None, Some([3, 4])),
        "QLinearSoftmax" => of("Softmax", ONE, None, Some([3, 4])),
        "QLinearAveragePool" => of("AveragePool", ONE, None, Some([3, 4])),
        "QLinearGlobalAveragePool" => of("GlobalAveragePool", ONE, None, Some([3, 4])),
        "QLinearConcat" => of("Concat", &[], None, Some([0, 1])),
        "MatMulInteger" => of("MatMul", WHOLE, None, None),
        "ConvInteger" => of("Conv", WHOLE, None, None),
        "MatMulIntegerToFloat" => of("MatMul", const { &[at(0, 2, 4), at(1, 3, 5)] }, Some(6), None),
        "DynamicQuantizeMatMul" => of("MatMul", const { &[[Some(0), None, None], at(1, 2, 3)] }, Some(4), None),
        "DynamicQuantizeLinear" => of("Identity", &[], None, None),
        _ => None,
    }
}

struct Pass {
    names: Names,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    dynamic: Vec<String>,
    /// By result of an integer product, the scale of its weight.
    scales: BTreeMap<String, TensorProto>,
}

impl Pass {
    fn node(&mut self, node: NodeProto, form: Form) {
        let input = |at: usize| node.input.get(at).filter(|name| !name.is_empty()).cloned();
        if node.op_type == "DynamicQuantizeLinear" {
            return self.unquantised(&node);
        }
        let mut operands: Vec<String> = Vec::new();
        let mut added = None;
        for (place, parts) in form.operands.iter().enumerate() {
            let [Some(number), scale, zero] = parts.map(|part| part.and_then(input)) else { continue };
            if scale.is_none() && zero.is_none() && node.op_type == "DynamicQuantizeMatMul" {
                self.dynamic.push(node.output.first().cloned().unwrap_or_default());
                operands.push(number);
                continue;
            }
            let of_weight = node.output.first().filter(|_| place == 1).and_then(|output| self.scales.remove(output));
            let scale = match of_weight {
                Some(of_weight) => {
                    let name = self.names.fresh(&of_weight.name);
                    self.initializers.push(TensorProto { name: name.clone(), ..of_weight });
                    Some(name)
                }
                None => scale,
            };
            // Scales per channel are those of a weight's outputs.
            let axis = i64::from(form.operator != "Conv" && int(&node, "transB") == 0);
            operands.push(self.dequantised(&node, number, scale, zero, if place == 0 { 1 } else { axis }));
        }
        if node.op_type == "QLinearConcat" {
            for part in node.input.get(2..).unwrap_or_default().chunks(3) {
                let [number, scale, zero] = [0, 1, 2].map(|at| part.get(at).filter(|name| !name.is_empty()).cloned());
                operands.push(self.dequantised(&node, number.unwrap_or_default(), scale, zero, 1));
            }
        }
        if let Some(bias) = form.bias.and_then(input) {
            match form.operator {
                "MatMul" => added = Some(bias),
                _ => {
                    // Its scale is that of the product.
                    operands.push(self.dequantised(&node, bias, input(4), None, 0));
                    if let (Some(last), Some(scale)) = (self.nodes.last_mut(), input(1)) {
                        notes::set(last, notes::FACTOR, &scale);
                    }
                }
            }
        }
        let last = node.output.first().cloned().unwrap_or_default();
        let is_last = form.result.is_none() && added.is_none();
        let y = if is_last { last.clone() } else { self.names.fresh(&format!("{last}.result")) };
        let mut attributes = node.attribute.clone();
        attributes.retain(|attribute| !matches!(attribute.name.as_str(), "channels_last" | "opset"));
        if let Some(alpha) = attributes.iter().find(|attribute| attribute.name == "alpha" && form.operator == "Gemm") {
            // The bias is in the whole numbers of the product, which alpha scales too.
            attributes.push(AttributeProto { name: "beta".into(), ..alpha.clone() });
        }
        let computing = NodeProto {
            op_type: form.operator.into(),
            name: node.name.clone(),
            input: operands,
            output: vec![y.clone()],
            attribute: attributes,
            metadata_props: node.metadata_props.clone(),
            ..NodeProto::default()
        };
        self.nodes.push(computing);
        let y = match added {
            Some(bias) => {
                self.push(&node, "Add", vec![y, bias], last.clone());
                last.clone()
            }
            None => y,
        };
        if let Some([scale, zero]) = form.result {
            let parts = [Some(y), input(scale), input(zero)].into_iter().flatten().collect();
            self.push(&node, "QuantizeLinear", parts, last);
        }
    }

    /// Passes a tensor as it is, with the scale one and the zero point zero.
    fn unquantised(&mut self, node: &NodeProto) {
        let output = |at: usize| node.output.get(at).filter(|name| !name.is_empty()).cloned();
        if let Some(y) = output(0) {
            self.dynamic.push(y.clone());
            self.push(node, "Identity", node.input.clone(), y);
        }
        if let Some(scale) = output(1) {
            self.number(scale, DataType::FLOAT, 1.0);
        }
        if let Some(zero) = output(2) {
            self.number(zero, DataType::UINT8, 0.0);
        }
    }

    /// The floating-point numbers for which quantised ones stand.
    fn dequantised(
        &mut self,
        node: &NodeProto,
        number: String,
        scale: Option<String>,
        zero: Option<String>,
        axis: i64,
    ) -> String {
        let scale = scale.unwrap_or_else(|| {
            let one = self.names.fresh("one");
            self.number(one.clone(), DataType::FLOAT, 1.0);
            one
        });
        let output = self.names.fresh(&format!("{number}.number"));
        let input = [Some(number), Some(scale), zero].into_iter().flatten().collect();
        self.push(node, "DequantizeLinear", input, output.clone());
        if let Some(last) = self.nodes.last_mut() {
            let (name, type_) = ("axis".into(), AttributeType::INT.into());
            last.attribute.push(AttributeProto { name, type_, i: axis, ..AttributeProto::default() });
        }
        output
    }

    fn number(&mut self, name: String, kind: DataType, number: f32) {
        let mut tensor = TensorProto { name, data_type: kind.value(), ..TensorProto::default() };
        match kind {
            DataType::FLOAT => tensor.float_data.push(number),
            _ => tensor.int32_data.push(number as i32),
        }
        self.initializers.push(tensor);
    }

    fn push(&mut self, of: &NodeProto, operator: &str, input: Vec<String>, output: String) {
        let name = format!("{}.{operator}", node_name(of));
        let node = NodeProto { op_type: operator.into(), name, input, output: vec![output], ..NodeProto::default() };
        self.nodes.push(node);
    }
}

/// The scales of the weights of integer products, by the product's name: where the result is multiplied by the product of the scales of both
/// operands, the weight is dequantised by its own, and the result by that of the other operand alone. Else the weight would be trained in
/// whole numbers.
fn scales(graph: &mut GraphProto) -> BTreeMap<String, TensorProto> {
    let mut found = BTreeMap::new();
    for at in 0..graph.node.len() {
        let node = &graph.node[at];
        if !matches!(node.op_type.as_str(), "MatMulInteger" | "ConvInteger") {
            continue;
        }
        let (Some(product), Some(weight)) = (node.output.first(), node.input.get(1)) else { continue };
        let is_stored = |name: &String| graph.initializer.iter().find(|tensor| tensor.name == *name);
        let mut result = product;
        while let [only] = readers(graph, result).as_slice()
            && graph.node[*only].op_type == "Cast"
            && let Some(cast) = graph.node[*only].output.first()
        {
            result = cast;
        }
        let [scaled] = readers(graph, result)[..] else { continue };
        let factor = graph.node[scaled].input.iter().find(|name| *name != result);
        let factor = factor.filter(|_| graph.node[scaled].op_type == "Mul");
        let of_scales = graph.node.iter().position(|node| node.op_type == "Mul" && node.output.first() == factor);
        let (Some(factor), Some(of_scales), Some(_)) = (factor, of_scales, is_stored(weight)) else { continue };
        let Some(scale) = graph.node[of_scales].input.iter().find_map(is_stored) else { continue };
        let other = graph.node[of_scales].input.iter().find(|name| **name != scale.name);
        let (Some(other), true) = (other.cloned(), readers(graph, factor).len() == 1) else { continue };
        let mut scale = scale.clone();
        if scale.dims == [1] {
            scale.dims.clear();
        }
        found.insert(product.clone(), scale);
        let node = &mut graph.node[of_scales];
        (node.op_type, node.input) = ("Identity".into(), vec![other]);
    }
    found
}

/// The nodes that read a tensor.
fn readers(graph: &GraphProto, name: &str) -> Vec<usize> {
    let reads = |node: &NodeProto| node.input.iter().any(|input| input == name);
    (0..graph.node.len()).filter(|&at| reads(&graph.node[at])).collect()
}

/// An attribute that is a number, 0 where it is missing.
fn int(node: &NodeProto, name: &str) -> i64 {
    node.attribute.iter().find(|attribute| attribute.name == name).map_or(0, |attribute| attribute.i)
}
