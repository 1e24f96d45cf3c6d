//! The operators: one file each, one result each, and the one list of them all.
//!
//! Adding one: its file, its line in the list below; `docs/add-an-operator.md` has the rest.

use crate::array::{Array, Float};
use crate::attribute::{Attribute, Attributes};
use crate::error::{GraphError, Reason};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Shape, TensorType};

mod check;
mod elementwise;
mod one_pass;
mod recurrent_gradients;
mod recurrent_steps;

pub use crate::window::Window;
pub use one_pass::one_pass;

/// Which formats make sense for an operator's tensors; the baselines of the paper go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// A matrix product or convolution: starts a tensor group, runs low under torch.amp.
    Gemm,
    /// The network's input: starts a tensor group.
    Input,
    /// Follows its inputs under torch.amp: normalisation, activation, pooling, addition, concatenation.
    Follow,
    /// Kept high under torch.amp: softmax, losses, reductions, powers.
    High,
    /// Only relabels its operand: has no tensor of its own and takes the operand's format.
    Relabel,
    /// Always FP32: sources, statistics, optimizer updates.
    Full,
}

/// The cost of an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Floating-point operations, a multiply-add counting as two.
    pub flops: u64,
}

/// A small legal use of an operator, which all generic tests share.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Sources and the operator; its result is the output `y`.
    pub graph: Graph,
    /// Values that suit the operator's parameters, all distinct: lowest and highest.
    pub range: (f64, f64),
}

impl Sample {
    /// The operator on parameters of the given fixed shapes, with values from -1 to 1.
    pub(crate) fn of(op: impl Into<Op>, shapes: &[&[usize]]) -> Option<Sample> {
        let types: Vec<TensorType> = shapes.iter().map(|s| TensorType::f32(Shape::fixed(s))).collect();
        Sample::typed(op, &types)
    }

    /// The operator on sources of the given types: parameters for floating-point numbers, inputs for others.
    pub(crate) fn typed(op: impl Into<Op>, types: &[TensorType]) -> Option<Sample> {
        let mut graph = Graph::new("sample");
        let mut operands = Vec::new();
        for (i, ty) in types.iter().enumerate() {
            operands.push(match ty.dtype {
                DType::F32 => graph.source(Parameter { name: format!("p{i}") }, ty.clone()),
                DType::I32 | DType::Bool | DType::Index8 => {
                    graph.source(Input { name: format!("x{i}"), target: false }, ty.clone())
                }
            });
        }
        let y = graph.add(op, &operands).ok()?;
        graph.set_output("y", y);
        Some(Sample { graph, range: (-1.0, 1.0) })
    }

    /// The same with values of another range.
    pub(crate) fn within(mut self, low: f64, high: f64) -> Sample {
        self.range = (low, high);
        self
    }
}

/// The declaration of an operator. It has no default methods, so that nothing is forgotten silently.
pub trait Operator: Attributes {
    /// The operator's name in the text form.
    const NAME: &'static str;

    /// The type of the result on operands of the given types.
    ///
    /// # Errors
    /// Why the operands do not fit, with what would.
    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason>;

    /// Emits the gradients with respect to the operands, given the gradient `dy` of the result of `node`.
    ///
    /// A gradient has its operand's shape, or the result's shape where broadcasting has to be undone (the caller does).
    /// `None` where an operand has no gradient.
    ///
    /// # Errors
    /// If the operator has no derivative.
    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason>;

    /// The operator's facts, for operands of these shapes.
    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts;

    /// Which formats make sense for the result.
    fn precision(&self) -> Precision;

    /// The cost at a batch of `batch` examples.
    fn work(&self, operands: &[&TensorType], result: &TensorType, batch: usize) -> Work;

    /// The result in the reference interpreter; `shape` is the result's.
    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F>;

    /// Small legal uses, for the generic tests.
    fn samples() -> Vec<Sample>;
}

/// Work of one operation per element of the result.
pub(crate) fn elementwise_work(result: &TensorType, batch: usize) -> Work {
    Work { flops: result.shape.elements(batch) as u64 }
}

/// How two operands are read, the second of which may be a scalar.
pub(crate) fn same_or_scalar_reads(operands: &[&Shape], result: &Shape) -> &'static [Read] {
    match operands.get(1).is_some_and(|shape| shape.rank() == 0 && result.rank() > 0) {
        true => &[Read::Each, Read::Scalar],
        false => &[Read::Each; 2],
    }
}

/// The refusal of operators that occur in backward graphs only.
pub(crate) fn no_derivative(name: &str) -> Reason {
    Reason::new(format!("`{name}` has no derivative"))
}

macro_rules! operators {
    ($($module:ident: $($op:ident),+);* $(;)?) => {
        $(mod $module; pub use $module::{$($op),+};)*

        /// Every operator.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Op {
            $($(
                #[doc = concat!("See [`", stringify!($op), "`].")]
                $op($op)
            ),+),*
        }

        $($(impl From<$op> for Op {
            fn from(op: $op) -> Op {
                Op::$op(op)
            }
        })+)*

        impl Op {
            /// The names of all operators, in the order of the list.
            pub const NAMES: &'static [&'static str] = &[$($($op::NAME),+),*];

            /// The operator's name in the text form.
            pub fn name(&self) -> &'static str {
                match self { $($(Op::$op(_) => $op::NAME),+),* }
            }

            /// The attributes in declaration order.
            pub fn attributes(&self) -> Vec<(&'static str, Attribute)> {
                match self { $($(Op::$op(op) => op.attributes()),+),* }
            }

            /// The attributes that differ from their default.
            fn shown_attributes(&self) -> Vec<(&'static str, Attribute)> {
                match self { $($(Op::$op(op) => op.shown_attributes()),+),* }
            }

            /// The operator of a name with the given attributes; one that is left out has its default.
            ///
            /// # Errors
            /// If there is no such operator, or an attribute without a default is missing, or one is unknown or of the wrong type.
            pub fn from_name(name: &str, attributes: &[(String, Attribute)]) -> Result<Op, String> {
                $($(if name == $op::NAME {
                    return $op::from_attributes(attributes).map(Op::$op);
                })+)*
                Err(format!("there is no operator `{name}`"))
            }

            /// See [`Operator::infer`].
            ///
            /// # Errors
            /// Why the operands do not fit.
            pub fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
                match self { $($(Op::$op(op) => op.infer(operands)),+),* }
            }

            /// See [`Operator::facts`].
            pub fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
                match self { $($(Op::$op(op) => op.facts(operands, result)),+),* }
            }

            /// See [`Operator::precision`].
            pub fn precision(&self) -> Precision {
                match self { $($(Op::$op(op) => op.precision()),+),* }
            }

            /// See [`Operator::work`].
            pub fn work(&self, operands: &[&TensorType], result: &TensorType, batch: usize) -> Work {
                match self { $($(Op::$op(op) => op.work(operands, result, batch)),+),* }
            }

            /// See [`Operator::evaluate`].
            pub fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
                match self { $($(Op::$op(op) => op.evaluate(operands, shape)),+),* }
            }

            /// See [`Operator::samples`]: those of all operators, by name.
            pub fn all_samples() -> Vec<(&'static str, Vec<Sample>)> {
                vec![$($(($op::NAME, $op::samples())),+),*]
            }

            fn emit_gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
                match self { $($(Op::$op(op) => op.gradient(graph, node, dy)),+),* }
            }
        }
    };
}

operators! {
    source: Input, Parameter, State, Constant, Scalar;
    conv: Conv;
    conv_grad_input: ConvGradInput;
    conv_grad_weight: ConvGradWeight;
    matmul: Matmul;
    recurrent: Recurrent;
    recurrent_grad: RecurrentGrad;
    batch_mean: BatchMean;
    batch_variance: BatchVariance;
    batch_normalize: BatchNormalize;
    batch_norm_grad_scale: BatchNormGradScale;
    batch_norm_grad_input: BatchNormGradInput;
    layer_normalization: LayerNormalization;
    layer_norm_grad_scale: LayerNormGradScale;
    layer_norm_grad_input: LayerNormGradInput;
    running_average: RunningAverage;
    running_variance: RunningVariance;
    max_pool: MaxPool;
    max_pool_indices: MaxPoolIndices;
    max_pool_grad: MaxPoolGrad;
    average_pool: AveragePool;
    average_pool_grad: AveragePoolGrad;
    relu: Relu;
    relu_grad: ReluGrad;
    clip: Clip;
    clip_grad: ClipGrad;
    leaky_relu: LeakyRelu;
    leaky_relu_grad: LeakyReluGrad;
    gelu: Gelu;
    gelu_grad: GeluGrad;
    prelu: Prelu;
    prelu_grad: PreluGrad;
    unary: Unary;
    unary_grad: UnaryGrad;
    sigmoid: Sigmoid;
    tanh: Tanh;
    exp: Exp;
    log: Log;
    sqrt: Sqrt;
    scale: Scale;
    add: Add;
    sub: Sub;
    mul: Mul;
    div: Div;
    dropout: Dropout;
    pow: Pow;
    pow_grad_base: PowGradBase;
    pow_grad_exponent: PowGradExponent;
    extremum: Extremum;
    extremum_grad: ExtremumGrad;
    sum: Sum;
    reshape: Reshape;
    transpose: Transpose;
    slice: Slice;
    slice_scatter: SliceScatter;
    concat: Concat;
    broadcast: Broadcast;
    reduce_sum: ReduceSum;
    reduce_mean: ReduceMean;
    reduce_extremum: ReduceExtremum;
    reduce_extremum_grad: ReduceExtremumGrad;
    softmax: Softmax;
    softmax_grad: SoftmaxGrad;
    log_softmax: LogSoftmax;
    log_softmax_grad: LogSoftmaxGrad;
    convert: Convert;
    compare: Compare;
    logical: Logical;
    choice: Where;
    masked: Masked;
    gather: Gather;
    gather_grad: GatherGrad;
    arg_max: ArgMax;
    top_k: TopK;
    nll_loss: NllLoss;
    nll_loss_grad: NllLossGrad;
    cast: Cast;
    all_finite: AllFinite;
    sgd_velocity: SgdVelocity;
    sgd_parameter: SgdParameter;
    adam_first_moment: AdamFirstMoment;
    adam_second_moment: AdamSecondMoment;
    adamw_parameter: AdamwParameter;
}

pub use logical::LogicalFunction;
pub use recurrent::RecurrentOperands;
pub use recurrent_grad::RecurrentGradient;
pub use source::ScalarKind;

fn in_braces(attributes: &[(&'static str, Attribute)]) -> String {
    let texts: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if texts.is_empty() { String::new() } else { format!(" {{{}}}", texts.join(", ")) }
}

impl Op {
    /// The name that binds a source to its value; `None` for operators that compute.
    pub fn source_name(&self) -> Option<&str> {
        match self {
            Op::Input(op) => Some(&op.name),
            Op::Parameter(op) => Some(&op.name),
            Op::State(op) => Some(&op.name),
            Op::Constant(op) => Some(&op.name),
            Op::Scalar(op) => Some(op.kind.name()),
            _ => None,
        }
    }

    /// The attributes in the text form, ` {alpha=0.1}`: empty where all have their default.
    pub fn attribute_text(&self) -> String {
        in_braces(&self.shown_attributes())
    }

    /// All attributes in the text form.
    pub(crate) fn whole_attribute_text(&self) -> String {
        in_braces(&self.attributes())
    }

    /// Emits the gradients of `node` with respect to its operands; see [`Operator::gradient`].
    ///
    /// # Errors
    /// With the node's place, if its operator has no derivative.
    pub fn gradient(graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, GraphError> {
        let op = graph.op(node).clone();
        op.emit_gradient(graph, node, dy).map_err(|reason| {
            let types: Vec<String> = graph.operands(node).iter().map(|&o| graph.ty(o).to_string()).collect();
            GraphError::new(op.name(), &graph.node(node).name, &types, reason)
        })
    }
}

impl Op {
    /// The operator with the shapes among its attributes fixed at a batch of `batch` examples.
    pub fn at(&self, batch: usize) -> Op {
        let fix = |(name, value): (&'static str, Attribute)| match value {
            Attribute::Shape(shape) => (name.to_string(), Attribute::Shape(Shape::fixed(&shape.at(batch)))),
            value => (name.to_string(), value),
        };
        let attributes: Vec<(String, Attribute)> = self.attributes().into_iter().map(fix).collect();
        Op::from_name(self.name(), &attributes).unwrap_or_else(|_| self.clone())
    }
}
