//! The table of supported operators as documentation.

use crate::import::OPSETS;
use crate::ops::{by_functions, operator_table};
use std::fmt::Write;

/// `docs/onnx.md`: what is read and written, in Markdown.
pub fn operator_markdown() -> String {
    let mut text = format!(
        "# ONNX\n\n\
        Generated from the tables in `crates/onnx/src/ops`; `BITBUDGET_BLESS=1 cargo test -p bitbudget-onnx` rewrites it.\n\n\
        Read are files of operator sets {} to {}. Sets before 7 are converted to its forms: \
        broadcasting by `axis`, `is_test`, a Reshape's shape as an attribute. Floating-point initializers with dimensions are \
        parameters, except the running statistics of batch normalisation, also where arithmetic uses them, and what \
        PyTorch's newer exporter (`dynamo=True`) lists as buffers or computed of none of the program's parameters. Those without \
        dimensions are parameters where the file lists them as such (`dynamo=True`) or, in files without a list, where they have \
        a name as `scale` or `block.0.scale`; other scalars are numbers, with a note where the name leaves it open. Not trained is what optimizers \
        made initializers of PyTorch's Constant nodes (`/attention/Constant_8_output_0`, `val_50` of one element). What the program does not \
        train is not in the file: layers with `requires_grad=False` and the row of `padding_idx` are trained like others. Written is operator set 19, \
         or 20 for networks with Gelu.\n\n\
        **The batch.** The batch is the size of the inputs that is open, or else their first dimension, whatever number the file has there; nodes \
        that hold this number are noted. Where that is not possible, the second dimension is tried, since files of recurrent layers have the steps \
        first. Else the file is read for one batch size, that of the file or of `--batch`, with a warning: such a network may mix examples, and \
        its batches have all the same size. Inputs without a dimension of examples are one example, a batch of 1. Open sizes that the weights of \
        the first nodes fix need not be given, with a note.\n\n\
        **Weights elsewhere.** Constant nodes are read as initializers where the file has hardly any; sparse initializers as dense ones. \
        Operators on quantised numbers (QLinearConv, QLinearMatMul, MatMulInteger, ConvInteger; of ONNX Runtime QGemm, QLinearAdd, QLinearMul, \
        QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax, QLinearAveragePool, QLinearGlobalAveragePool, QLinearConcat, MatMulIntegerToFloat and \
        DynamicQuantizeMatMul) become those on floating-point ones between DequantizeLinear and QuantizeLinear, so that their weights are \
        parameters. What the file quantises by its own range (DynamicQuantizeLinear) is not quantised.\n\n\
        **Batch normalisation.** Every BatchNormalization is trained with the statistics of the batch, and its running \
        statistics are updated. `training_mode` makes no difference: exports in evaluation mode write 0 for every layer, \
        so 0 does not say that a layer is frozen. Only where one file holds both modes, a warning names the layers with 0. \
        To keep a layer frozen, export it as torchvision's `FrozenBatchNorm2d`: statistics in plain arithmetic are constants, \
        and so are, in files of the newer exporter, scale and bias of a frozen layer without parameters. If the exporter \
        or an optimizer folded batch normalisation into the weights of other operators, it is lost, and a warning names these. If it \
        folded frozen statistics into a scale and a shift that may be parameters, both are trained, with a warning.\n\n\
        A parameter that several operators read is trained as one, unless its elements are all equal: exporters merge \
        such parameters, and they are separated again. They stay one where the file shows that they are: where the operators \
        read another parameter together, or belong to one layer of PyTorch. Apart from batch normalisation no operator \
        may mix the examples of a batch whose size varies, but for a mean in the network's own loss (`--loss output:NAME`). A network that ends in Softmax or \
        LogSoftmax (with the loss `bce`, in Sigmoid) is trained on the scores before it and saved with it; reshapes, transpositions, Clip and Log \
        may follow.\n\n\
        **Functions and control flow.** Calls of functions that the file defines are replaced by their nodes, which are named after the \
        call: `layer1/conv`. A function may use another operator set than the file; it must not call itself. An If is replaced by one of its \
        branches where its condition is known at import, a Loop or a Scan by its steps where their number is: up to 64 steps, and \
        20,000 nodes in all. Others are refused with the reason.\n\n\
        External data has to lie in the model's folder. Links from there are followed within that folder and, where the model \
        itself is a link, as in a cache of downloads, to the folder that it leads to; `--allow-external DIR` allows others. \
        Warnings and notes on a file are one line per kind with three names; `--verbose` gives all names.\n\n\
        Versions are the operator sets that introduced them; older sets are converted to the first one. An operator marked \
        *known* is computed at import, where its inputs are known: shapes, indices, constants.\n",
        OPSETS.0, OPSETS.1
    );
    let mut family = "";
    for row in operator_table() {
        if row.family != family {
            family = row.family;
            let _ = write!(text, "\n## {family}\n\n| operator | versions | becomes |\n|---|---|---|\n");
        }
        let known = if row.on_tensors { "" } else { " *known*" };
        let _ = writeln!(text, "| {}{known} | {} | {} |", row.name, listed(row.versions), row.forms);
    }
    text += "\n## By the standard's functions\n\nRead by the functions with which the standard defines them, as calls of functions are.\n\n\
             | operator | versions |\n|---|---|\n";
    for (name, versions) in by_functions() {
        let _ = writeln!(text, "| {name} | {} |", listed(&versions));
    }
    text
}

fn listed(versions: &[i64]) -> String {
    versions.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}
