//! Convolution: candle's where it has one, which is without groups and with equal steps in both dimensions.

use super::operands::along_channels;
use super::own;
use crate::error::Fault;
use bitbudget_ir::Op;
use bitbudget_ir::Shape;
use bitbudget_ir::ops::{Conv, ConvGradInput, ConvGradWeight};
use candle_core::Tensor;

/// The stride and the dilation that candle's convolution would be called with.
fn even(conv: &Conv) -> Option<(usize, usize)> {
    let [stride, dilation] = [conv.strides, conv.dilations];
    (conv.groups == 1 && stride[0] == stride[1] && dilation[0] == dilation[1]).then_some((stride[0], dilation[0]))
}

fn padded(conv: &Conv, x: &Tensor) -> Result<Tensor, Fault> {
    let rows = x.pad_with_zeros(2, conv.pads_begin[0], conv.pads_end[0])?;
    Ok(rows.pad_with_zeros(3, conv.pads_begin[1], conv.pads_end[1])?.contiguous()?)
}

pub(super) fn forward(
    conv: &Conv,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    shape: &[usize],
) -> Result<Tensor, Fault> {
    let y = match even(conv) {
        Some((stride, dilation)) => padded(conv, x)?.conv2d(w, 0, stride, dilation, 1)?,
        None => own::two(&Op::Conv(conv.clone()), x, w, shape)?,
    };
    match bias {
        Some(bias) => Ok(y.broadcast_add(&along_channels(bias, y.dims())?)?),
        None => Ok(y),
    }
}

pub(super) fn grad_input(conv: &Conv, dy: &Tensor, w: &Tensor, shape: &[usize]) -> Result<Tensor, Fault> {
    let Conv { strides, pads_begin, pads_end, dilations, groups } = *conv;
    let Some((stride, dilation)) = even(conv) else {
        let input = Shape::fixed(shape);
        let op = ConvGradInput { strides, pads_begin, pads_end, dilations, groups, input };
        return own::two(&op.into(), dy, w, shape);
    };
    let mut dx = dy.conv_transpose2d(w, 0, 0, stride, dilation)?;
    for d in 0..2 {
        // Rows that no window reaches have no gradient.
        let missing = (pads_begin[d] + shape[2 + d] + pads_end[d]).saturating_sub(dx.dim(2 + d)?);
        dx = dx.pad_with_zeros(2 + d, 0, missing)?.narrow(2 + d, pads_begin[d], shape[2 + d])?;
    }
    Ok(dx)
}

pub(super) fn grad_weight(conv: &Conv, x: &Tensor, dy: &Tensor, shape: &[usize]) -> Result<Tensor, Fault> {
    let Conv { strides, pads_begin, pads_end, dilations, groups } = *conv;
    let Some((stride, dilation)) = even(conv) else {
        let weight = Shape::fixed(shape);
        let op = ConvGradWeight { strides, pads_begin, pads_end, dilations, groups, weight };
        let dw = own::two(&op.into(), x, dy, shape)?;
        return Ok(if dw.rank() > shape.len() { dw.sum(0)? } else { dw });
    };
    // Batch and channels change places, and so do stride and dilation.
    let x = padded(conv, x)?.transpose(0, 1)?.contiguous()?;
    let dw = x.conv2d(&dy.transpose(0, 1)?.contiguous()?, 0, dilation, stride, 1)?;
    Ok(dw.narrow(2, 0, shape[2])?.narrow(3, 0, shape[3])?.transpose(0, 1)?)
}
