//! Kernels on the layers of the four networks at batch 128, in FP32 and in the paper's formats.
//!
//! Convolutions state multiply-adds a second (twice that is FLOP/s), the others elements a second. The number of threads is
//! rayon's (`RAYON_NUM_THREADS`).
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that cannot run should say so and stop")]

use std::hint::black_box;
use std::time::Duration;

use bitbudget_formats::{Format, Overflow, pack_u8, pack_u16};
use bitbudget_kernels::*;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const BATCH: usize = 128;
const FORMATS: [Format; 3] = [Format::FP32, Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD];

/// A tensor in one format: FP32, or codes.
struct Tensor {
    format: Format,
    numbers: Vec<f32>,
    words: Vec<u16>,
    bytes: Vec<u8>,
}

impl Tensor {
    /// Numbers of both signs, none of which overflow a format.
    fn new(format: Format, len: usize) -> Tensor {
        let number = |i: usize| (i.wrapping_mul(2_654_435_761) as u32) as f32 / 2e9 - 1.0;
        let numbers: Vec<f32> = (0..len).map(number).collect();
        let mut tensor = Tensor { format, numbers: Vec::new(), words: Vec::new(), bytes: Vec::new() };
        match format.bytes() {
            1 => {
                tensor.bytes = vec![0; len];
                pack_u8(format, Overflow::Saturate, &numbers, &mut tensor.bytes).unwrap();
            }
            2 => {
                tensor.words = vec![0; len];
                pack_u16(format, Overflow::Saturate, &numbers, &mut tensor.words).unwrap();
            }
            _ => tensor.numbers = numbers,
        }
        tensor
    }

    fn elements(&self) -> Elements<'_> {
        match self.format.bytes() {
            1 => Elements::u8(self.format, &self.bytes).unwrap(),
            2 => Elements::u16(self.format, &self.words).unwrap(),
            _ => self.numbers.as_slice().into(),
        }
    }

    fn output(&mut self) -> Output<'_> {
        match self.format.bytes() {
            1 => Output::u8(self.format, Overflow::Saturate, &mut self.bytes).unwrap(),
            2 => Output::u16(self.format, Overflow::Saturate, &mut self.words).unwrap(),
            _ => self.numbers.as_mut_slice().into(),
        }
    }

    /// How results in this format are rounded.
    fn rounding(&self) -> Option<(Format, Overflow)> {
        (self.format != Format::FP32).then_some((self.format, Overflow::Saturate))
    }
}

fn group<'c>(c: &'c mut Criterion, name: &str, work: usize) -> BenchmarkGroup<'c, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    group.throughput(Throughput::Elements(work as u64));
    group
}

fn layer(channels: [usize; 2], size: usize, kernel: usize, stride: usize, groups: usize) -> Conv2d {
    Conv2d {
        batch: BATCH,
        in_channels: channels[0],
        in_height: size,
        in_width: size,
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1; 2],
        pad_begin: [kernel / 2; 2],
        pad_end: [kernel / 2; 2],
        groups,
    }
}

fn convolutions(c: &mut Criterion) {
    let layers = [
        ("3x3 64@32", layer([64, 64], 32, 3, 1, 1)),
        ("3x3 128@16", layer([128, 128], 16, 3, 1, 1)),
        ("3x3 256@8", layer([256, 256], 8, 3, 1, 1)),
        ("3x3 512@4", layer([512, 512], 4, 3, 1, 1)),
        ("3x3/2 128@32", layer([128, 256], 32, 3, 2, 1)),
        ("3x3 16@32", layer([16, 16], 32, 3, 1, 1)),
        ("1x1 16-96@32", layer([16, 96], 32, 1, 1, 1)),
        ("1x1 232@8", layer([232, 232], 8, 1, 1, 1)),
        ("1x1 320-1280@4", layer([320, 1280], 4, 1, 1, 1)),
        ("depthwise 96@32", layer([96, 96], 32, 3, 1, 96)),
        ("depthwise/2 144@32", layer([144, 144], 32, 3, 2, 144)),
        ("depthwise 232@4", layer([232, 232], 4, 3, 1, 232)),
    ];
    for (name, g) in layers {
        let (input, output) =
            (g.in_channels * g.in_height * g.in_width, g.out_channels * g.out_height() * g.out_width());
        let mut group = group(c, &format!("conv {name}"), g.flops() / 2);
        for format in FORMATS {
            let [mut x, mut y] = [input, output].map(|plane| Tensor::new(format, BATCH * plane));
            let mut w = Tensor::new(format, g.out_channels * g.in_channels / g.groups * g.kernel[0] * g.kernel[1]);
            let shared = |pass| vec![0.0; g.workspace(pass, format, format)];
            let mut beside = shared(Pass::Forward);
            group.bench_function(BenchmarkId::new("forward", format), |b| {
                b.iter(|| conv2d(&g, x.elements(), w.elements(), None, &mut y.output(), &mut beside).unwrap());
            });
            let mut beside = shared(Pass::GradInput);
            group.bench_function(BenchmarkId::new("input", format), |b| {
                b.iter(|| conv2d_grad_input(&g, y.elements(), w.elements(), &mut x.output(), &mut beside).unwrap());
            });
            let mut beside = shared(Pass::GradWeight);
            group.bench_function(BenchmarkId::new("weight", format), |b| {
                b.iter(|| conv2d_grad_weight(&g, x.elements(), y.elements(), &mut w.output(), &mut beside).unwrap());
            });
        }
    }
}

/// Convolutions of a rectified normalisation: of the stored one, with the chain that stores it, and of the derived one.
fn prologues(c: &mut Criterion) {
    let layers = [
        ("3x3 64@32", layer([64, 64], 32, 3, 1, 1)),
        ("3x3 256@8", layer([256, 256], 8, 3, 1, 1)),
        ("1x1 64@32", layer([64, 64], 32, 1, 1, 1)),
        ("1x1 232@8", layer([232, 232], 8, 1, 1, 1)),
        ("depthwise 96@32", layer([96, 96], 32, 3, 1, 96)),
        ("depthwise/2 232@8", layer([232, 232], 8, 3, 2, 232)),
    ];
    for (name, g) in layers {
        let g = Conv2d { batch: 32, ..g };
        let shape = [g.batch, g.in_channels, g.in_height * g.in_width];
        let len = shape.iter().product();
        let mut group = group(c, &format!("prologue {name}"), g.flops() / 2 / BATCH * g.batch);
        for format in [Format::FP32, Format::PAPER_LOW_FORWARD] {
            let (z, mut x) = (Tensor::new(format, len), Tensor::new(format, len));
            let mut w = Tensor::new(format, g.out_channels * g.in_channels / g.groups * g.kernel[0] * g.kernel[1]);
            let mut y = Tensor::new(format, g.batch * g.out_channels * g.out_height() * g.out_width());
            let vector = vec![0.5f32; g.in_channels];
            let channel = || Operand::Channel(vector.as_slice().into());
            let operands = vec![Operand::Elements(z.elements()), channel(), channel(), channel(), channel()];
            let rounding = x.rounding();
            let parts = |output| {
                let function = Function::Normalize { epsilon: 1e-5 };
                let relu = vec![Operand::Part(0)];
                [
                    Part { function, operands: operands.clone(), rounding, output: None },
                    Part { function: Function::Relu, operands: relu, rounding, output },
                ]
            };
            let mut beside = vec![0.0; g.workspace(Pass::Forward, format, format)];
            group.bench_function(BenchmarkId::new("forward", format), |b| {
                b.iter(|| conv2d(&g, x.elements(), w.elements(), None, &mut y.output(), &mut beside).unwrap());
            });
            group.bench_function(BenchmarkId::new("chain, forward", format), |b| {
                b.iter(|| {
                    chain(shape, &parts(Some(0)), &mut [x.output()]).unwrap();
                    conv2d(&g, x.elements(), w.elements(), None, &mut y.output(), &mut beside).unwrap()
                });
            });
            group.bench_function(BenchmarkId::new("derived forward", format), |b| {
                b.iter(|| {
                    let x = Derived::chain(shape, &parts(None)).unwrap();
                    conv2d(&g, Elements::derived(&x), w.elements(), None, &mut y.output(), &mut beside).unwrap()
                });
            });
            let mut beside = vec![0.0; g.workspace(Pass::GradWeight, format, format)];
            group.bench_function(BenchmarkId::new("weight", format), |b| {
                b.iter(|| conv2d_grad_weight(&g, x.elements(), y.elements(), &mut w.output(), &mut beside).unwrap());
            });
            group.bench_function(BenchmarkId::new("derived weight", format), |b| {
                b.iter(|| {
                    let x = Derived::chain(shape, &parts(None)).unwrap();
                    let (x, dw) = (Elements::derived(&x), &mut w.output());
                    conv2d_grad_weight(&g, x, y.elements(), dw, &mut beside).unwrap()
                });
            });
        }
    }
}

/// `[channels, elements of a plane]` of tensors that the elementwise kernels see.
const PLANES: [[usize; 2]; 3] = [[64, 1024], [232, 64], [512, 16]];

fn chains(c: &mut Criterion) {
    for [channels, plane] in PLANES {
        let shape = [BATCH, channels, plane];
        let mut group = group(c, &format!("chain {channels}x{plane}"), BATCH * channels * plane);
        for format in FORMATS {
            let tensor = || Tensor::new(format, BATCH * channels * plane);
            let (x, z, mut y) = (tensor(), tensor(), tensor());
            let rounding = y.rounding();
            let vector = vec![0.5f32; channels];
            let channel = || Operand::Channel(vector.as_slice().into());
            let (x, z) = (|| Operand::Elements(x.elements()), || Operand::Elements(z.elements()));
            let part = |function, operands, output| Part { function, operands, rounding, output };
            let normalize = |output| {
                part(
                    Function::Normalize { epsilon: 1e-5 },
                    vec![x(), channel(), channel(), channel(), channel()],
                    output,
                )
            };
            let grad_input = vec![x(), z(), channel(), channel(), channel(), channel(), channel()];
            let sum = Part { function: Function::Sum, operands: vec![x(), z()], rounding: None, output: None };
            let cases = [
                ("relu", vec![part(Function::Relu, vec![x()], Some(0))]),
                ("relu_grad", vec![part(Function::ReluGrad, vec![x(), z()], Some(0))]),
                ("normalize+relu", vec![normalize(None), part(Function::Relu, vec![Operand::Part(0)], Some(0))]),
                ("sum+relu_grad", vec![sum, part(Function::ReluGrad, vec![Operand::Part(0), z()], Some(0))]),
                ("grad_input", vec![part(Function::NormalizeGradInput { epsilon: 1e-5 }, grad_input, Some(0))]),
            ];
            for (name, parts) in cases {
                group.bench_function(BenchmarkId::new(name, format), |b| {
                    b.iter(|| chain(shape, &parts, &mut [y.output()]).unwrap());
                });
            }
        }
    }
}

fn statistics(c: &mut Criterion) {
    for [channels, plane] in PLANES {
        let mut group = group(c, &format!("statistics {channels}x{plane}"), BATCH * channels * plane);
        for format in FORMATS {
            let tensor = || Tensor::new(format, BATCH * channels * plane);
            let (x, dy) = (tensor(), tensor());
            let (mut mean, mut var) = (vec![0.0; channels], vec![1.0; channels]);
            group.bench_function(BenchmarkId::new("moments", format), |b| {
                b.iter(|| batch_moments(BATCH, channels, plane, x.elements(), &mut mean, &mut var).unwrap());
            });
            let (mut dscale, mut dbias) = (vec![0.0; channels], vec![0.0; channels]);
            group.bench_function(BenchmarkId::new("grad_sums", format), |b| {
                b.iter(|| {
                    let (x, dy) = (x.elements(), dy.elements());
                    batch_norm_grad_sums(
                        &NormGradient { shape: [BATCH, channels, plane], dy, x, mean: &mean, var: &var, epsilon: 1e-5 },
                        &mut dscale,
                        &mut dbias,
                    )
                });
            });
            black_box((&dscale, &dbias));
        }
    }
}

/// Normalisation of rows, as transformers have it.
fn rows(c: &mut Criterion) {
    for [rows, columns] in [[BATCH * 64, 768], [BATCH * 196, 64]] {
        let (shape, len) = ([rows, columns], rows * columns);
        let mut group = group(c, &format!("rows {rows}x{columns}"), len);
        let mut sums = vec![0.0; columns];
        let mut shared = vec![0.0; layer_norm_workspace(rows, columns)];
        for format in FORMATS {
            let [x, dy, mut y] = [(); 3].map(|()| Tensor::new(format, len));
            let [scale, bias] = [(); 2].map(|()| Tensor::new(format, columns));
            let vectors = (scale.elements(), Some(bias.elements()));
            group.bench_function(BenchmarkId::new("normalise", format), |b| {
                b.iter(|| layer_norm(shape, 1e-5, x.elements(), vectors.0, vectors.1, &mut y.output()).unwrap());
            });
            group.bench_function(BenchmarkId::new("input gradient", format), |b| {
                let dx = &mut y;
                b.iter(|| {
                    let (dy, x) = (dy.elements(), x.elements());
                    layer_norm_grad_input(shape, 1e-5, dy, x, vectors.0, &mut dx.output()).unwrap()
                });
            });
            group.bench_function(BenchmarkId::new("scale gradient", format), |b| {
                let (dy, x) = (dy.elements(), x.elements());
                b.iter(|| layer_norm_grad_scale(shape, 1e-5, dy, x, &mut sums, &mut shared).unwrap());
            });
            group.bench_function(BenchmarkId::new("bias gradient", format), |b| {
                let three = [BATCH, rows / BATCH, columns];
                b.iter(|| reduce_sum(dy.elements(), &three, &[0, 1], &mut sums.as_mut_slice().into()).unwrap());
            });
        }
    }
}

fn pooling(c: &mut Criterion) {
    for (channels, size, kernel) in [(96, 32, 3), (256, 16, 3), (64, 32, 2)] {
        let out = if kernel == 3 { (size - 3) / 2 + 1 } else { size / 2 };
        let g = Pool2d {
            batch: BATCH,
            channels,
            in_height: size,
            in_width: size,
            out_height: out,
            out_width: out,
            kernel: [kernel; 2],
            stride: [2; 2],
            dilation: [1; 2],
            pad_begin: [0; 2],
            pad_end: [0; 2],
        };
        let (input, output) = (BATCH * channels * size * size, BATCH * channels * out * out);
        let mut group = group(c, &format!("pool {kernel}x{kernel}/2 {channels}@{size}"), input);
        for format in FORMATS {
            let (mut x, mut y) = (Tensor::new(format, input), Tensor::new(format, output));
            let mut indices = vec![0; output];
            group.bench_function(BenchmarkId::new("max with indices", format), |b| {
                b.iter(|| max_pool_with_indices(&g, x.elements(), &mut y.output(), &mut indices).unwrap());
            });
            group.bench_function(BenchmarkId::new("max gradient", format), |b| {
                b.iter(|| max_pool_grad(&g, y.elements(), &indices, &mut x.output()).unwrap());
            });
        }
    }
}

fn movement(c: &mut Criterion) {
    for [channels, plane] in [[116, 256], [232, 64], [464, 16]] {
        let shape = [BATCH, 2, channels / 2, plane];
        let len = BATCH * channels * plane;
        let mut group = group(c, &format!("move {channels}x{plane}"), len);
        for format in FORMATS {
            let (x, mut y) = (Tensor::new(format, len), Tensor::new(format, len));
            group.bench_function(BenchmarkId::new("shuffle", format), |b| {
                b.iter(|| transpose(x.elements(), &shape, &[0, 2, 1, 3], &mut y.output()).unwrap());
            });
            let mut half = Tensor::new(format, len / 2);
            let (whole, part) = ([BATCH, channels, plane], [BATCH, channels / 2, plane]);
            group.bench_function(BenchmarkId::new("slice", format), |b| {
                let begin = [0, channels / 2, 0];
                b.iter(|| slice(x.elements(), &whole, &begin, &[1; 3], &part, &mut half.output()).unwrap());
            });
            group.bench_function(BenchmarkId::new("concat", format), |b| {
                let parts = [(half.elements(), channels / 2), (half.elements(), channels / 2)];
                b.iter(|| concat(&parts, BATCH, plane, &mut y.output()).unwrap());
            });
        }
    }
}

criterion_group!(benches, convolutions, prologues, chains, statistics, rows, pooling, movement);
criterion_main!(benches);
