//! Kernel arguments that are passed by value, laid out as in `cuda/kernel.h` and `cuda/round.cu`.

use crate::error::Fault;
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::ops::{self, Conv};

/// A sliding window over `[batch, channels, height, width]`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    batch: u32,
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
    kernel: [u32; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    pad_begin: [u32; 2],
    pad_end: [u32; 2],
    groups: u32,
    count_include_pad: u32,
}

impl Window {
    /// The window of a convolution of `x` with `w` that gives `y`.
    pub(crate) fn convolution(conv: &Conv, x: &[usize], w: &[usize], y: &[usize]) -> Result<Window, Fault> {
        let kernel = match w {
            &[_, _, height, width] => [height, width],
            _ => return Err(Fault::Operands(format!("{w:?} is not the weight of a convolution"))),
        };
        let window = Window::new(&conv.window(kernel), x, y)?;
        Ok(Window { groups: fit(conv.groups)?, ..window })
    }

    /// The window of a pooling of `x` that gives `y`.
    pub(crate) fn pooling(
        window: &ops::Window,
        count_include_pad: bool,
        x: &[usize],
        y: &[usize],
    ) -> Result<Window, Fault> {
        Ok(Window { count_include_pad: u32::from(count_include_pad), ..Window::new(window, x, y)? })
    }

    fn new(window: &ops::Window, x: &[usize], y: &[usize]) -> Result<Window, Fault> {
        let (&[batch, in_channels, in_height, in_width], &[_, out_channels, out_height, out_width]) = (x, y) else {
            return Err(Fault::Operands(format!("{x:?} and {y:?} are not [N, C, H, W]")));
        };
        let pair = |[a, b]: [usize; 2]| Ok::<_, Fault>([fit(a)?, fit(b)?]);
        Ok(Window {
            batch: fit(batch)?,
            in_channels: fit(in_channels)?,
            in_height: fit(in_height)?,
            in_width: fit(in_width)?,
            out_channels: fit(out_channels)?,
            out_height: fit(out_height)?,
            out_width: fit(out_width)?,
            kernel: pair(window.kernel)?,
            stride: pair(window.strides)?,
            dilation: pair(window.dilations)?,
            pad_begin: pair(window.pads_begin)?,
            pad_end: pair(window.pads_end)?,
            groups: 1,
            count_include_pad: 0,
        })
    }
}

/// Kernels compute positions in 32 bits, and a position before the input wraps around to one behind it.
fn fit(n: usize) -> Result<u32, Fault> {
    i32::try_from(n)
        .map(|n| n as u32)
        .map_err(|_| Fault::Operands(format!("{n} is too large for the device's kernels")))
}

/// A format and an overflow mode as numbers; floating-point ones are held as their bits.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounding {
    shift: u32,
    min_normal: u32,
    subnormal_unit: u32,
    overflow_threshold: u32,
    underflow_threshold: u32,
    overflow: u32,
    ties_to_even: u32,
}

impl Rounding {
    /// The numbers of `format`, which is not FP32.
    pub(crate) fn new(format: Format, overflow: Overflow) -> Rounding {
        let shift = 23 - format.mantissa_bits();
        let min_normal = format.min_normal().to_bits();
        Rounding {
            shift,
            min_normal,
            // Adding a power of two whose last place is the smallest subnormal rounds to subnormals.
            subnormal_unit: min_normal + (shift << 23),
            overflow_threshold: format.overflow_threshold().to_bits(),
            underflow_threshold: format.underflow_threshold().to_bits(),
            overflow: match overflow {
                Overflow::Saturate => format.max_finite().to_bits(),
                Overflow::NotFinite => f32::INFINITY.to_bits(),
            },
            ties_to_even: u32::from(format.ties_to_even()),
        }
    }
}
