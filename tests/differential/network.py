"""A random network in the making: what the forms of operators are built with."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import peer

# Beyond these a network says little: numbers that blow up, tensors that take long.
LARGEST_NUMBER, MOST_ELEMENTS, MOST_DIMENSIONS = 30.0, 1200, 5
# Operators whose results may hold any number.
UNTAMED = ("Pad", "Constant", "Where", "QuantizeLinear")
MOST_INPUTS = 3
# Whole numbers of inputs are below this, but for labels.
TOKENS = 5
# The newest operator set that is read.
NEWEST = min(28, onnx.defs.onnx_opset_version())


class Unfit(Exception):
    """A form that does not fit the tensor that it was tried on."""


class Network:
    """Nodes, initializers, and the value of every tensor for one batch, so that shapes and sizes of numbers are known."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.seed = seed
        self.opset = self.integer(7, NEWEST)
        self.batch = self.integer(4, 6)
        self.classes = self.integer(2, 6)
        # The first dimension as a name, or as the size that the file was exported with.
        self.fixed_batch = self.chance(0.3)
        # Wider layers, whose loops are longer than vectors.
        self.wide = self.chance(0.12)
        self.odd_names, self.nameless_nodes = self.chance(0.15), self.chance(0.15)
        self.nodes, self.initializers, self.values, self.used = [], {}, {}, set()
        # Inputs by name, with their element types; whether there may be more than one, and other ones than floating-point numbers.
        self.inputs, self.has_inputs = {}, self.chance(0.2)
        self.run = peer.Run(self.opset, torch.float64, True)
        self.tensors = []

    # --- chance

    def integer(self, least, most):
        return int(self.random.integers(least, most + 1))

    def chance(self, probability):
        return bool(self.random.random() < probability)

    def pick(self, choices):
        return choices[self.integer(0, len(choices) - 1)]

    def normal(self, shape, scale=1.0, center=0.0):
        return (center + scale * self.random.standard_normal(shape)).astype(np.float32)

    # --- parts

    def name(self, base):
        return f"{base}_{len(self.nodes)}_{len(self.initializers)}"

    def shape(self, x):
        return list(self.values[x].shape)

    def rank(self, x):
        return self.values[x].dim()

    def odd_name(self, name):
        """A name as exporters and users give them, or one that something else might have."""
        others = [other for other in self.initializers if other.startswith("p")] or [name]
        odd = f"{self.pick(others)}.{self.pick(['velocity', 'first_moment', 'second_moment', 'mean'])}"
        odd = self.pick([odd, odd, f"{name}/layer:0", f"{name} \u00e9"])
        return name if odd in self.values else odd

    def initializer(self, array, base):
        name = self.name(base)
        if base == "p" and self.odd_names:
            name = self.odd_name(name)
        if array.dtype == np.float32 and self.chance(0.2):
            proto = helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.reshape(-1).tolist())
        else:
            proto = numpy_helper.from_array(array, name)
        self.initializers[name] = proto
        self.values[name] = peer.tensor(self.initializers[name], torch.float64)
        return name

    def parameter(self, shape, scale=None, center=0.0):
        """A trained tensor: a floating-point initializer with dimensions."""
        if scale is None:
            scale = 1.2 / np.sqrt(max(np.prod(shape[1:]), 1))
        return self.initializer(self.normal(shape, scale, center), "p")

    def constant(self, array):
        """A tensor that is known and not trained: a Constant, or an initializer where it is not a trained one."""
        array = np.asarray(array)
        trained = array.dtype.kind == "f" and array.ndim > 0
        if not trained and (self.chance(0.5) or (array.dtype.kind != "f" and self.opset < 9)):
            return self.initializer(array, "c")
        if self.opset >= 12 and array.ndim < 2 and array.dtype in (np.float32, np.int64) and self.chance(0.4):
            kind = ("value_floats" if array.ndim else "value_float") if array.dtype.kind == "f" else (
                "value_ints" if array.ndim else "value_int")
            return self.emit("Constant", [], **{kind: array.tolist()})
        return self.emit("Constant", [], value=numpy_helper.from_array(array))

    def number(self, value, rank=None):
        """A known floating-point number, of any form that does not add dimensions."""
        shape = [1] * (self.integer(0, 1) if rank is None else rank)
        return self.constant(np.full(shape, value, np.float32))

    def ints(self, values):
        return self.constant(np.array(values, np.int64))

    def proto(self, array):
        return numpy_helper.from_array(array)

    def emit(self, op, inputs, outputs=1, named=None, **attributes):
        if op not in peer.TABLE:
            raise KeyError(op)
        names = [named or self.name("t") if i == 0 else f"{self.name('t')}.{i}" for i in range(outputs)]
        title = "" if self.nameless_nodes else f"{op}_{len(self.nodes)}"
        node = helper.make_node(op, inputs, names, name=title, **attributes)
        try:
            peer.compute(node, self.values, self.run)
        except (RuntimeError, ValueError, IndexError, AssertionError) as error:
            raise Unfit(f"{op}: {error}") from error
        self.nodes.append(node)
        self.used.add(op)
        for name in names:
            value = self.values[name]
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                small = 0 < value.numel() <= (4 if self.wide else 1) * MOST_ELEMENTS * self.batch and value.dim() <= MOST_DIMENSIONS
                if not small:
                    raise Unfit(f"{op}: too large")
                # The least number around a tensor, or in place of a score, is the business of what is behind it.
                finite = op in UNTAMED or torch.isfinite(value).all()
                tame = op in UNTAMED or value.numel() == 1 or value.abs().max() < LARGEST_NUMBER
                if not (finite and tame):
                    raise Unfit(f"{op}: too large")
        return names[0] if outputs == 1 else names

    def attempt(self, form, x):
        """The result of a form on `x`, or nothing, with no trace, where it does not fit."""
        before = len(self.nodes), dict(self.initializers), dict(self.values), set(self.used), dict(self.run.statistics), dict(self.inputs)
        try:
            return form(self, x)
        except Unfit:
            del self.nodes[before[0]:]
            self.initializers, self.values, self.used = before[1:4]
            self.run.statistics, self.inputs = before[4:]
            return None

    # --- inputs

    def input(self, name, shape, kind=TensorProto.FLOAT, below=TOKENS):
        """An input, with numbers to try it on."""
        if kind == TensorProto.FLOAT:
            value = torch.from_numpy(self.normal(shape)).double()
        elif kind == TensorProto.BOOL:
            value = torch.from_numpy(self.random.random(shape) < 0.6)
        else:
            value = torch.from_numpy(self.random.integers(0, below, shape))
            value = value.int() if kind == TensorProto.INT32 else value
        self.inputs[name], self.values[name] = kind, value
        return name

    def another_input(self, base, shape, kinds):
        """One more input of some kind, or one that there is already."""
        found = [n for n, kind in self.inputs.items() if kind in kinds and self.shape(n) == list(shape)]
        if found and self.chance(0.5):
            return self.pick(found)
        if len(self.inputs) == MOST_INPUTS:
            raise Unfit("there are inputs enough")
        return self.input(f"{base}_{len(self.inputs)}", shape, self.pick(kinds))

    def tokens(self, dims):
        """Whole numbers for each example."""
        return self.another_input("tokens", [self.batch, *dims], [TensorProto.INT64, TensorProto.INT32])

    def mask(self, x):
        """Truth values that broadcast against a tensor."""
        dims = [1 if self.chance(0.3) else d for d in self.shape(x)[1:]]
        return self.another_input("mask", [self.batch, *dims], [TensorProto.BOOL])

    # --- the whole

    def model(self, output):
        """The model with the given output."""
        numbers = lambda tensors: sum(size for size in map(lambda t: int(np.prod(t.dims)), tensors) if size > 1)
        real = lambda tensors: [t for t in tensors if t.data_type == TensorProto.FLOAT]
        constants = [a.t for node in self.nodes if node.op_type == "Constant" for a in node.attribute if a.name == "value"]
        if numbers(real(constants)) > 10 * numbers(real(self.initializers.values())):
            raise Unfit("its constants would be taken for its weights")
        first = self.batch if self.fixed_batch else "N"
        sizes = lambda name: [first, *self.shape(name)[1:]] if self.rank(name) else []
        info = lambda name, kind: helper.make_tensor_value_info(name, kind, sizes(name))
        inputs = [info(name, kind) for name, kind in self.inputs.items()]
        # Up to IR version 3, initializers are inputs as well.
        old = self.opset <= 8 and self.chance(0.3)
        if old:
            inputs += [
                helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
                for name, tensor in self.initializers.items()
            ]
        graph = helper.make_graph(self.nodes, f"random_{self.seed}", inputs, [info(output, TensorProto.FLOAT)], list(self.initializers.values()))
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=3 if old else self.pick([8, 10]))
        try:
            onnx.checker.check_model(model, full_check=True)
        except onnx.shape_inference.InferenceError as error:
            # Older definitions of a ceil_mode count windows that start in the padding at the end.
            raise Unfit(f"ONNX's checker: {str(error)[:80]}") from error
        return model
