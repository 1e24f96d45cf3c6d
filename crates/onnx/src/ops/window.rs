//! Sliding windows of convolution and pooling, over one or two spatial dimensions.

use crate::importer::{Importer, Node};
use bitbudget_ir::{Dim, NodeId};

/// A sliding window over any number of spatial dimensions.
pub(super) struct WindowAttributes {
    pub(super) strides: Vec<usize>,
    pub(super) pads_begin: Vec<usize>,
    pub(super) pads_end: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    /// Whether the padding was chosen by the size of the result.
    pub(super) same: bool,
}

/// The way of a transposed convolution along one spatial dimension.
pub(super) struct Line {
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) begin: usize,
    pub(super) end: usize,
    /// The size of the result.
    pub(super) output: usize,
    /// Zeros behind it, where no window ends.
    pub(super) zeros: usize,
}

/// More than any window needs, and little enough that sums of a few cannot overflow.
const MOST: i64 = 1 << 30;

/// A list attribute of as many numbers, each of at least `least`.
pub(super) fn list(node: &Node, name: &str, count: usize, least: i64) -> Result<Option<Vec<usize>>, String> {
    let Some(given) = node.ints(name)? else { return Ok(None) };
    let fits = |n: &i64| usize::try_from(*n).ok().filter(|_| (least..=MOST).contains(n));
    match given.iter().map(fits).collect::<Option<Vec<_>>>() {
        Some(list) if list.len() == count => Ok(Some(list)),
        _ => Err(format!("attribute `{name}` is {given:?}; {count} numbers of at least {least} are needed")),
    }
}

/// Strides, pads and dilations of a window of the given size over an input of the given size.
pub(super) fn window_attributes(node: &Node, kernel: &[usize], input: &[usize]) -> Result<WindowAttributes, String> {
    let rank = kernel.len();
    if let Some(k) = kernel.iter().find(|&&k| k == 0 || k > MOST as usize) {
        return Err(format!("a window of size {k} is not possible"));
    }
    let strides = list(node, "strides", rank, 1)?.unwrap_or_else(|| vec![1; rank]);
    let dilations = list(node, "dilations", rank, 1)?.unwrap_or_else(|| vec![1; rank]);
    let pads = list(node, "pads", 2 * rank, 0)?;
    let auto_pad = node.text("auto_pad")?.unwrap_or_else(|| "NOTSET".into());
    let zeros = vec![0; rank];
    let (pads_begin, pads_end, same) = match auto_pad.as_str() {
        "NOTSET" | "" => match pads {
            Some(pads) => (pads[..rank].to_vec(), pads[rank..].to_vec(), false),
            None => (zeros.clone(), zeros, false),
        },
        "VALID" => (zeros.clone(), zeros, false),
        upper @ ("SAME_UPPER" | "SAME_LOWER") => {
            let total = |d: usize| {
                let extent = (kernel[d] - 1) * dilations[d] + 1;
                ((input[d].div_ceil(strides[d]) - 1) * strides[d] + extent).saturating_sub(input[d])
            };
            let totals: Vec<usize> = (0..rank).map(total).collect();
            let (half, rest): (Vec<_>, Vec<_>) = totals.iter().map(|&t| (t / 2, t - t / 2)).unzip();
            if upper == "SAME_UPPER" { (half, rest, true) } else { (rest, half, true) }
        }
        other => return Err(format!("auto_pad `{other}` is not known (NOTSET, VALID, SAME_UPPER, SAME_LOWER)")),
    };
    Ok(WindowAttributes { strides, pads_begin, pads_end, dilations, same })
}

/// One or two numbers as those of two dimensions, the first filled in.
pub(super) fn pair(list: &[usize], fill: usize) -> [usize; 2] {
    match *list {
        [w] => [fill, w],
        [h, w, ..] => [h, w],
        [] => [fill; 2],
    }
}

/// The sizes of one or two spatial dimensions.
pub(super) fn spatial(importer: &Importer, x: NodeId) -> Result<Vec<usize>, String> {
    let shape = importer.shape(x);
    let sizes: Option<Vec<usize>> = shape.0.iter().skip(2).map(|d| d.as_fixed()).collect();
    sizes.filter(|s| (1..=2).contains(&s.len())).ok_or_else(|| {
        format!("one and two spatial dimensions are supported, [N, C, L] or [N, C, H, W]; the input is {shape}")
    })
}

/// `[N, C, L]` as `[N, C, 1, L]`; four dimensions as they are.
pub(super) fn planes(importer: &mut Importer, node: &Node, x: NodeId) -> Result<NodeId, String> {
    let mut shape = importer.shape(x);
    if shape.rank() == 3 {
        shape.0.insert(2, Dim::fixed(1));
    }
    importer.reshape(node.name, x, shape)
}

/// `[N, C, 1, L]` as `[N, C, L]`.
pub(super) fn lines(importer: &mut Importer, node: &Node, y: NodeId) -> Result<NodeId, String> {
    let mut shape = importer.shape(y);
    shape.0.remove(2);
    importer.reshape(node.name, y, shape)
}
