//! The sizes of convolutions, as kernels take them.

use crate::chain::Divisor;
use crate::pass::{CHAIN, DEPTH, Lying, Pass, TILE};
use crate::side::Matrix;
use crate::source::Argument;

/// The most blocks that add to a tile, one after the other.
const PARTS: usize = 16;

/// Tiles from which on the device is busy without parts.
const BUSY: usize = 128;

/// The fewest steps of a part.
const PART_STEPS: usize = 32;

/// The sizes of convolutions of `[batch, height, width, channels]`: of one of several groups of channels, or of several ones, whose tensors
/// lie behind each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ConvSizes {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub out_height: usize,
    pub out_width: usize,
    pub out_channels: usize,
    pub kernel: [usize; 2],
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
    /// Rows above and columns to the left of the input.
    pub pads: [usize; 2],
    /// Groups of channels, each of which has the same share of the output's.
    pub groups: usize,
    /// How many convolutions there are; one, if there are groups.
    pub count: usize,
}

impl ConvSizes {
    /// Products of matrices, which are convolutions of one pixel: `[rows, inner]` by `[columns, inner]`, both as they lie. The gradients of
    /// such are products of the same matrices across.
    pub fn matrices(count: usize, rows: usize, columns: usize, inner: usize) -> ConvSizes {
        let one = [1, 1];
        let (height, width, out_height, out_width) = (1, rows, 1, rows);
        let (channels, out_channels) = (inner, columns);
        let (kernel, strides, dilations, pads) = (one, one, one, [0, 0]);
        ConvSizes {
            batch: 1,
            height,
            width,
            channels,
            out_height,
            out_width,
            out_channels,
            kernel,
            strides,
            dilations,
            pads,
            groups: 1,
            count,
        }
    }

    /// How many products of matrices a pass is.
    pub(crate) fn matrix_count(&self) -> usize {
        self.groups.max(self.count)
    }

    /// Channels of the input and of the output that belong to a product.
    fn shares(&self) -> [usize; 2] {
        [self.channels / self.groups, self.out_channels / self.groups]
    }

    /// How many numbers of input, weights and output lie before those of the next product.
    fn steps(&self) -> [usize; 3] {
        let ([share, out_share], taps) = (self.shares(), self.taps());
        let weights = out_share * taps * share;
        let pixels = [self.batch * self.height * self.width, self.batch * self.out_height * self.out_width];
        match (self.count > 1, self.groups > 1) {
            (true, _) => [pixels[0] * self.channels, weights, pixels[1] * self.out_channels],
            (_, true) => [share, weights, out_share],
            (false, false) => [0, 0, 0],
        }
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Rows and columns of a product of a pass, and what is summed over.
    pub fn product(&self, pass: Pass) -> [usize; 3] {
        let (pixels, [share, out_share]) = (self.batch * self.out_height * self.out_width, self.shares());
        match pass {
            Pass::Forward => [pixels, out_share, self.taps() * share],
            Pass::GradInput => [self.batch * self.height * self.width, share, self.taps() * out_share],
            Pass::GradWeight => [out_share, self.taps() * share, pixels],
        }
    }

    /// Tiles of a pass's result.
    pub fn tiles(&self, pass: Pass) -> usize {
        let [rows, columns, _] = self.product(pass);
        rows.div_ceil(TILE) * columns.div_ceil(TILE) * self.matrix_count()
    }

    /// How many blocks add to a tile, of which there are few: so many that the device is busy, each with enough to do.
    pub fn parts(&self, pass: Pass) -> usize {
        let steps = self.product(pass)[2].div_ceil(DEPTH);
        let wanted = BUSY.div_ceil(self.tiles(pass)).min(PARTS).min(steps.div_ceil(PART_STEPS));
        // As many as have something to do when all but the last have the same number of steps.
        if wanted > 1 { steps.div_ceil(steps.div_ceil(wanted)) } else { 1 }
    }

    /// How many blocks compute a pass.
    pub fn blocks(&self, pass: Pass) -> u32 {
        (self.tiles(pass) * self.parts(pass)) as u32
    }

    /// Bytes that a pass needs beside its operands and result: FP32 sums of its tiles.
    pub fn workspace(&self, pass: Pass) -> usize {
        if self.parts(pass) == 1 { 0 } else { self.tiles(pass) * TILE * TILE * 4 }
    }

    /// Words by which the blocks of a pass take turns: the first is a ticket, and each tile has one.
    pub fn turns(&self, pass: Pass) -> usize {
        if self.parts(pass) == 1 { 0 } else { 1 + self.tiles(pass) }
    }

    /// Whether eight numbers of a matrix that lie side by side begin at multiples of eight and belong to one tap.
    pub(crate) fn is_aligned(&self, pass: Pass, matrix: Matrix) -> bool {
        let [share, out_share] = self.shares();
        let is_of_output = match matrix {
            Matrix::Pixels | Matrix::Filters | Matrix::Channels | Matrix::Windows => false,
            Matrix::PointChannels | Matrix::PointWindows => false,
            Matrix::Sources | Matrix::Dense | Matrix::Gradients => true,
            Matrix::Points => pass == Pass::GradInput,
        };
        if is_of_output { out_share.is_multiple_of(8) } else { share.is_multiple_of(8) }
    }

    /// Where windows lie.
    pub(crate) fn lying(&self) -> Lying {
        let (is_dense, is_padded) = (self.strides == [1, 1], self.pads != [0, 0]);
        let is_same = [self.height, self.width] == [self.out_height, self.out_width];
        match is_dense {
            true if self.taps() == 1 && !is_padded && is_same => Lying::Points,
            true => Lying::Dense,
            false => Lying::Any,
        }
    }

    /// Whether sums are long.
    pub(crate) fn is_long(&self, pass: Pass) -> bool {
        self.product(pass)[2].div_ceil(self.parts(pass)) > CHAIN
    }

    /// The arguments of a pass's kernel; addresses are those of the operands' tensors, of the bias if there is one, and of the result, then of
    /// counters, of FP32 sums and of turns.
    pub fn arguments(&self, pass: Pass, addresses: &[u64], counters: u64, [sums, turns]: [u64; 2]) -> Vec<Argument> {
        let [rows, columns, inner] = self.product(pass);
        let ([share, out_share], [input, weights, output]) = (self.shares(), self.steps());
        let (image, out) = ([self.height, self.width], [self.out_height, self.out_width]);
        // The image that windows lie on with its channels, and the pixels that are counted.
        let ([height, width], channels, counted) = match pass {
            Pass::Forward | Pass::GradWeight => (image, share, out),
            Pass::GradInput => (out, out_share, image),
        };
        let (pitch, result_pitch, steps) = match pass {
            Pass::Forward => (self.channels, self.out_channels, [input, weights, output]),
            Pass::GradInput => (self.out_channels, self.channels, [output, weights, input]),
            Pass::GradWeight => (self.channels, columns, [output, input, weights]),
        };
        // The channels of the input, which may be normalised as they are read, and those of the output.
        let [channel_step, bias_step] = if self.groups > 1 { [share, out_share] } else { [0, 0] };
        let mut words = vec![rows, columns, inner, pitch, self.out_channels, result_pitch, channel_step, bias_step];
        words.extend([height, width, channels]);
        let divisor = |words: &mut Vec<usize>, d: usize| {
            let Divisor { magic, shift } = Divisor::new(d as u32);
            words.extend([magic as usize, shift as usize]);
        };
        words.push(counted[0] * counted[1]);
        divisor(&mut words, counted[0] * counted[1]);
        words.push(counted[1]);
        divisor(&mut words, counted[1]);
        divisor(&mut words, channels);
        words.push(self.kernel[1]);
        divisor(&mut words, self.kernel[1]);
        words.push(self.taps());
        words.extend([self.strides, self.dilations, self.pads].concat());
        let parts = self.parts(pass);
        words.extend([parts, inner.div_ceil(DEPTH).div_ceil(parts)]);
        let mut arguments: Vec<Argument> = addresses.iter().map(|&address| Argument::U64(address)).collect();
        arguments.extend([counters, sums, turns].map(Argument::U64));
        arguments.extend(steps.map(|step| Argument::U64(step as u64)));
        arguments.extend(words.into_iter().map(|word| Argument::U32(word as u32)));
        arguments
    }
}
