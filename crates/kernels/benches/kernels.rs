//! Prints GFLOP/s of the compute-bound kernels and GB/s of the memory-bound ones, best of several runs.
//!
//! `cargo bench -p bitbudget-kernels -- [part of a name]`; the number of threads is rayon's (`RAYON_NUM_THREADS`).
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use bitbudget_formats::{Format, Overflow, pack_u8, pack_u16};
use bitbudget_kernels::*;
use rayon::prelude::*;

/// Prints how fast `f` moves `arrays` arrays of `len` numbers.
fn bench_moves(name: &str, arrays: usize, len: usize, f: impl FnMut()) {
    if wanted(name) {
        let time = best(f);
        println!("{name:38}  {:7.2} ms {:6.1} GB/s", time * 1e3, (4 * arrays * len) as f64 / time * 1e-9);
    }
}

/// The kernels that memory bounds, on the largest activations of ResNet-18 (batch 128, 64 channels, 32x32).
fn bench_memory_bound() {
    let (n, c, s) = (128, 64, 1024);
    let len = n * c * s;
    let (x, mut y) = (vec![0.5f32; len], vec![0.0f32; len]);
    let mean = vec![0.5f32; c];
    bench_moves("channel shuffle", 2, len, || {
        transpose(&x, &[n, 2, c / 2, s], &[0, 2, 1, 3], &mut y).unwrap();
    });
    bench_moves("broadcast per channel", 2, len, || {
        binary_broadcast(Binary::Mul, &x, &[n, c, s], &mean, &[c, 1], &mut y, &[n, c, s]).unwrap();
    });
    let pool = |kernel: usize, pad: usize| Pool2d {
        batch: n,
        channels: c,
        in_height: 32,
        in_width: 32,
        out_height: 16,
        out_width: 16,
        kernel: [kernel; 2],
        stride: [2; 2],
        dilation: [1; 2],
        pad_begin: [pad; 2],
        pad_end: [pad; 2],
    };
    let mut idx = vec![0; len / 4];
    for (g, name) in [(pool(2, 0), "2x2"), (pool(3, 1), "3x3")] {
        let mut z = vec![0.0; len / 4];
        bench_moves(&format!("max_pool {name}"), 1, len, || max_pool(&g, &x, &mut z).unwrap());
        bench_moves(&format!("max_pool_indices {name}"), 1, len, || max_pool_indices(&g, &x, &mut idx).unwrap());
        bench_moves(&format!("max_pool_grad {name}"), 1, len, || max_pool_grad(&g, &z, &idx, &mut y).unwrap());
        bench_moves(&format!("avg_pool {name}"), 1, len, || avg_pool(&g, true, &x, &mut z).unwrap());
        bench_moves(&format!("avg_pool_grad {name}"), 1, len, || avg_pool_grad(&g, true, &z, &mut y).unwrap());
    }
}

/// Numbers of both signs, none of which overflow a format.
fn mixed(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// A tensor in one format: FP32, or codes.
struct Tensor {
    format: Format,
    numbers: Vec<f32>,
    words: Vec<u16>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn new(format: Format, x: &[f32]) -> Self {
        let mut tensor = Tensor { format, numbers: vec![], words: vec![], bytes: vec![] };
        match format.bytes() {
            1 => tensor.bytes = vec![0; x.len()],
            2 => tensor.words = vec![0; x.len()],
            _ => tensor.numbers = vec![0.0; x.len()],
        }
        let part = part(Function::Copy, vec![Operand::Elements(x.into())], tensor.rounding(), Some(0));
        chain([1, 1, x.len()], &[part], &mut [tensor.output()]).unwrap();
        tensor
    }

    /// None in FP32.
    fn rounding(&self) -> Option<(Format, Overflow)> {
        (self.format != Format::FP32).then_some((self.format, Overflow::Saturate))
    }

    fn elements(&self) -> Elements<'_> {
        match self.format.bytes() {
            1 => Elements::u8(self.format, &self.bytes).unwrap(),
            2 => Elements::u16(self.format, &self.words).unwrap(),
            _ => Elements::from(self.numbers.as_slice()),
        }
    }

    fn output(&mut self) -> Output<'_> {
        match self.format.bytes() {
            1 => Output::u8(self.format, Overflow::Saturate, &mut self.bytes).unwrap(),
            2 => Output::u16(self.format, Overflow::Saturate, &mut self.words).unwrap(),
            _ => Output::from(self.numbers.as_mut_slice()),
        }
    }
}

fn part<'a>(
    function: Function,
    operands: Vec<Operand<'a>>,
    rounding: Option<(Format, Overflow)>,
    output: Option<usize>,
) -> Part<'a> {
    Part { function, operands, rounding, output }
}

/// Prints how fast `f` goes through `len` elements with `arrays` arrays of `bytes` an element.
fn bench_elements(name: &str, [len, arrays, bytes]: [usize; 3], f: impl FnMut()) {
    if wanted(name) {
        let time = best(f);
        let (speed, moved) = (1e-9 * len as f64 / time, (len * arrays * bytes) as f64 / time * 1e-9);
        println!("{name:48}  {:7.2} ms {speed:6.2} G elements/s {moved:6.1} GB/s", time * 1e3);
    }
}

/// Chains and statistics in FP32, 1-6-9 and 1-4-3, over activations of ResNet-18 at batch 128.
fn bench_chains() {
    for [n, c, s] in [[128, 64, 1024], [128, 128, 256], [128, 512, 16], [128, 2048, 4], [1024, 512, 1]] {
        let (len, shape) = (n * c * s, [n, c, s]);
        let (x, dy) = (mixed(len, 1), mixed(len, 2));
        let mut copy = vec![0.0; len];
        bench_elements(&format!("copy {shape:?}"), [len, 2, 4], || {
            copy.par_chunks_mut(1 << 16).zip(x.par_chunks(1 << 16)).for_each(|(y, x)| y.copy_from_slice(x));
        });
        drop(copy);
        for format in [Format::FP32, Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD] {
            bench_chains_in(format, shape, &x, &dy);
        }
    }
}

fn bench_chains_in(format: Format, shape: [usize; 3], x: &[f32], dy: &[f32]) {
    let [n, c, s] = shape;
    let (x, dy, mut y) = (Tensor::new(format, x), Tensor::new(format, dy), Tensor::new(format, x));
    let vectors = [(); 5].map(|()| Tensor::new(Format::FP32, &vec![0.5; c]));
    let channels = |count: usize| vectors[..count].iter().map(|v| Operand::Channel(v.elements())).collect::<Vec<_>>();
    let (each_x, each_dy) = (Operand::Elements(x.elements()), Operand::Elements(dy.elements()));
    let rounding = x.rounding();
    let mut bench = |name: &str, arrays: usize, parts: &[Part<'_>]| {
        bench_elements(&format!("{name} {format} {shape:?}"), [n * c * s, arrays, format.bytes()], || {
            chain(shape, parts, &mut [y.output()]).unwrap();
        });
    };
    let normalize = |rounding, output| {
        let operands = [vec![each_x], channels(4)].concat();
        part(Function::Normalize { epsilon: 1e-5 }, operands, rounding, output)
    };
    bench("relu", 2, &[part(Function::Relu, vec![each_x], rounding, Some(0))]);
    bench("relu_grad", 3, &[part(Function::ReluGrad, vec![each_dy, each_x], rounding, Some(0))]);
    bench("normalize", 2, &[normalize(rounding, Some(0))]);
    let relu = part(Function::Relu, vec![Operand::Part(0)], rounding, Some(0));
    bench("normalize+relu", 2, &[normalize(rounding, None), relu]);
    let sum = part(Function::Sum, vec![each_dy, each_x], None, None);
    let gradient = part(Function::ReluGrad, vec![Operand::Part(0), each_x], rounding, Some(0));
    bench("sum+relu_grad", 3, &[sum, gradient]);
    let operands = [vec![each_dy, each_x], channels(5)].concat();
    let gradient = Function::NormalizeGradInput { epsilon: 1e-5 };
    bench("normalize_grad_input", 3, &[part(gradient, operands, rounding, Some(0))]);
    if s == 1024 {
        bench("tanh", 2, &[part(Function::Tanh, vec![each_x], rounding, Some(0))]);
    }

    let [mut mean, mut var] = [(); 2].map(|()| vec![0.5; c]);
    let sizes = |arrays| [n * c * s, arrays, format.bytes()];
    let named = |name: &str| format!("{name} {format} {shape:?}");
    bench_elements(&named("batch_moments"), sizes(1), || {
        batch_moments(n, c, s, x.elements(), &mut mean, &mut var).unwrap();
    });
    bench_elements(&named("batch_mean"), sizes(1), || batch_mean(n, c, s, x.elements(), &mut mean).unwrap());
    let [ref mean, ref var] = [(); 2].map(|()| vec![0.5; c]);
    let [mut dscale, mut dbias] = [(); 2].map(|()| vec![0.5; c]);
    bench_elements(&named("batch_norm_grad_sums"), sizes(2), || {
        batch_norm_grad_sums(n, c, s, dy.elements(), x.elements(), mean, var, 1e-5, &mut dscale, &mut dbias).unwrap();
    });
    if s == 1024 {
        bench_elements(&named("all_finite"), sizes(1), || assert!(all_finite(x.elements())));
        bench_sgd(format, &dy);
    }
}

/// Velocity and master in place, and the parameter rounded again.
fn bench_sgd(format: Format, gradient: &Tensor) {
    let len = gradient.elements().len();
    let (mut velocity, mut master, mut y) = (vec![0.5; len], vec![0.5; len], Tensor::new(format, &vec![0.5; len]));
    let operands =
        vec![Operand::Output(0), Operand::Output(1), Operand::Elements(gradient.elements()), Operand::Scalar(0.25)];
    let step = vec![Operand::Output(1), Operand::Part(0), Operand::Scalar(0.1)];
    let parts = [
        part(Function::SgdVelocity { momentum: 0.9, weight_decay: 5e-4 }, operands, None, Some(0)),
        part(Function::SgdParameter, step, None, Some(1)),
        part(Function::Copy, vec![Operand::Part(1)], y.rounding(), Some(2)),
    ];
    bench_elements(&format!("sgd {format}"), [len, 1, 16 + 2 * format.bytes()], || {
        let mut outputs = [velocity.as_mut_slice().into(), master.as_mut_slice().into(), y.output()];
        chain([1, 1, len], &parts, &mut outputs).unwrap();
    });
}

/// The best time of `f` in seconds.
fn best(mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    for run in 0.. {
        let begin = Instant::now();
        f();
        best = best.min(begin.elapsed().as_secs_f64());
        if run >= 3 && start.elapsed().as_secs_f64() > 0.3 {
            break;
        }
    }
    best
}

fn wanted(name: &str) -> bool {
    std::env::args().skip(1).filter(|a| !a.starts_with("--")).all(|a| name.contains(&a))
}

/// A tensor in FP32, or in a packed format.
struct Tensor {
    format: Format,
    codes: Vec<u8>,
    wide: Vec<u16>,
    numbers: Vec<f32>,
}

impl Tensor {
    fn new(format: Format, len: usize) -> Self {
        let lens = [1, 2, 4].map(|bytes| if format.bytes() == bytes { len } else { 0 });
        let numbers: Vec<f32> = (0..len).map(|i| (i * 7919 % 257) as f32 / 128.0 - 1.0).collect();
        let mut tensor = Tensor { format, codes: vec![0; lens[0]], wide: vec![0; lens[1]], numbers: Vec::new() };
        match format.bytes() {
            1 => drop(pack_u8(format, Overflow::Saturate, &numbers, &mut tensor.codes).unwrap()),
            2 => drop(pack_u16(format, Overflow::Saturate, &numbers, &mut tensor.wide).unwrap()),
            _ => tensor.numbers = numbers,
        }
        tensor
    }

    fn elements(&self) -> Elements<'_> {
        match self.format.bytes() {
            1 => Elements::u8(self.format, &self.codes).unwrap(),
            2 => Elements::u16(self.format, &self.wide).unwrap(),
            _ => self.numbers[..].into(),
        }
    }

    fn output(&mut self) -> Output<'_> {
        match self.format.bytes() {
            1 => Output::u8(self.format, Overflow::Saturate, &mut self.codes).unwrap(),
            2 => Output::u16(self.format, Overflow::Saturate, &mut self.wide).unwrap(),
            _ => self.numbers.as_mut_slice().into(),
        }
    }
}

/// Formats of x and w, and of dy.
const FORMATS: [(&str, Format, Format); 3] = [
    ("fp32", Format::FP32, Format::FP32),
    ("1-6-9", Format::PAPER_HIGH, Format::PAPER_HIGH),
    ("fp8", Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD),
];

fn bench_conv(name: &str, channels: [usize; 2], size: usize, kernel: usize, stride: usize, groups: usize) {
    let g = Conv2d {
        batch: 128,
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
    };
    for (format_name, low, gradient) in FORMATS {
        let name = format!("{name} {format_name}");
        if !wanted(&name) {
            continue;
        }
        let mut x = Tensor::new(low, 128 * channels[0] * size * size);
        let mut w = Tensor::new(low, channels[1] * channels[0] / groups * kernel * kernel);
        let mut y = Tensor::new(low, 128 * channels[1] * g.out_height() * g.out_width());
        let dy = Tensor::new(gradient, 128 * channels[1] * g.out_height() * g.out_width());
        let passes = [Pass::Forward, Pass::GradInput, Pass::GradWeight];
        let operands = [[low, low], [gradient, low], [low, gradient]];
        let len = (0..3).map(|i| g.workspace(passes[i], operands[i][0], operands[i][1])).max().unwrap();
        let mut shared = vec![0.0; len];
        let times = [
            best(|| drop(conv2d(&g, x.elements(), w.elements(), None, &mut y.output(), &mut shared))),
            best(|| {
                let mut dx = Tensor::new(gradient, 0);
                std::mem::swap(&mut dx, &mut x);
                drop(conv2d_grad_input(&g, dy.elements(), w.elements(), &mut dx.output(), &mut shared));
                x = dx;
            }),
            best(|| {
                let mut dw = Tensor::new(low, 0);
                std::mem::swap(&mut dw, &mut w);
                drop(conv2d_grad_weight(&g, x.elements(), dy.elements(), &mut dw.output(), &mut shared));
                w = dw;
            }),
        ];
        print!("{name:42}");
        for (pass, time) in ["forward", "input", "weight"].into_iter().zip(times) {
            print!("  {pass} {:7.2} ms {:6.1}", time * 1e3, g.flops() as f64 / time * 1e-9);
            if groups == channels[0] {
                let elements = 128 * (channels[0] * size * size + channels[1] * g.out_height() * g.out_width());
                print!(" ({:4.1} GB/s)", (elements * low.bytes()) as f64 / time * 1e-9);
            }
        }
        println!(" GFLOP/s  shared {:.2} MB", len as f64 * 4e-6);
    }
}

fn main() {
    bench_memory_bound();
    bench_chains();
    for (c, o, size, stride) in [
        (3, 64, 32, 1),
        (64, 64, 32, 1),
        (64, 128, 32, 2),
        (128, 128, 16, 1),
        (128, 256, 16, 2),
        (256, 256, 8, 1),
        (256, 512, 8, 2),
        (512, 512, 4, 1),
    ] {
        bench_conv(&format!("resnet 3x3 {c}->{o} @{size} /{stride}"), [c, o], size, 3, stride, 1);
        if stride == 2 {
            bench_conv(&format!("resnet 1x1 {c}->{o} @{size} /{stride}"), [c, o], size, 1, stride, 1);
        }
    }
    for (c, size, stride) in [
        (32, 32, 1),
        (96, 32, 2),
        (144, 16, 1),
        (192, 16, 2),
        (384, 8, 1),
        (960, 4, 1),
        (464, 4, 1),
        (464, 4, 2),
        (464, 2, 1),
    ] {
        bench_conv(&format!("mobilenet depthwise {c} @{size} /{stride}"), [c, c], size, 3, stride, c);
    }
    for (c, size) in [(16, 32), (32, 16), (64, 8), (128, 4)] {
        bench_conv(&format!("resnet 0.25 3x3 {c}->{c} @{size}"), [c, c], size, 3, 1, 1);
    }
    for (c, o, size) in [(32, 16, 32), (16, 96, 32), (144, 24, 16), (64, 384, 8), (160, 960, 4), (320, 1280, 4)] {
        bench_conv(&format!("mobilenet 1x1 {c}->{o} @{size}"), [c, o], size, 1, 1, 1);
    }
    bench_conv("shufflenet grouped 1x1 240->240 @16 g3", [240, 240], 16, 1, 1, 3);
    for (name, low, gradient) in FORMATS {
        let (m, n, k) = (128, 1000, 512);
        let (a, b, mut c) = (Tensor::new(low, m * k), Tensor::new(gradient, k * n), Tensor::new(Format::FP32, m * n));
        for (trans_a, trans_b) in [(false, false), (false, true), (true, false)] {
            if !wanted("matmul") {
                continue;
            }
            let (a, b) = (a.elements(), b.elements());
            let time = best(|| {
                matmul(trans_a, trans_b, m, n, k, a, b, None, &mut c.output()).unwrap();
            });
            let speed = 2e-9 * (m * n * k) as f64 / time;
            println!("matmul {name} {m}x{n}x{k} {trans_a} {trans_b}: {:.2} ms {speed:.1} GFLOP/s", time * 1e3);
        }
    }
}
