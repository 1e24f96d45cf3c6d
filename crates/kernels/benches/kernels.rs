//! Prints GFLOP/s of the compute-bound kernels and GB/s of the memory-bound ones, best of several runs.
//!
//! `cargo bench -p bitbudget-kernels -- [part of a name]`; the number of threads is rayon's (`RAYON_NUM_THREADS`).
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use bitbudget_formats::{Format, Overflow};
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
    let (x, dy, mut y) = (vec![0.5f32; len], vec![0.25f32; len], vec![0.0f32; len]);
    let (mean, var, mut out) = (vec![0.5f32; c], vec![1.0f32; c], vec![0.0f32; c]);
    bench_moves("relu", 2, len, || unary(Unary::Relu, &x, &mut y).unwrap());
    bench_moves("relu_grad", 3, len, || relu_grad(&dy, &x, &mut y).unwrap());
    bench_moves("binary add", 3, len, || binary(Binary::Add, &x, &dy, &mut y).unwrap());
    bench_moves("sum of three", 4, len, || sum(&[&x, &dy, &x], &mut y).unwrap());
    bench_moves("batch_mean", 1, len, || batch_mean(n, c, s, &x, &mut out).unwrap());
    bench_moves("batch_variance", 1, len, || batch_variance(n, c, s, &x, &mean, &mut out).unwrap());
    bench_moves("batch_normalize", 2, len, || {
        batch_normalize(n, c, s, &x, &mean, &var, &var, &mean, 1e-5, &mut y).unwrap();
    });
    bench_moves("batch_norm_grad_scale", 2, len, || {
        batch_norm_grad_scale(n, c, s, &dy, &x, &mean, &var, 1e-5, &mut out).unwrap();
    });
    bench_moves("batch_norm_grad_input", 3, len, || {
        batch_norm_grad_input(n, c, s, &dy, &x, &mean, &var, &var, &mean, &mean, 1e-5, &mut y).unwrap();
    });
    bench_moves("all_finite", 1, len, || assert!(all_finite(&x)));
    bench_moves("sgd_velocity", 4, len, || sgd_velocity(&x, &dy, &x, 0.5, 0.9, 0.1, &mut y).unwrap());
    bench_moves("adamw_parameter", 4, len, || adamw_parameter(&x, &dy, &x, 0.5, 0.9, 0.1, 0.5, 0.5, &mut y).unwrap());
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

fn bench_conv(name: &str, channels: [usize; 2], size: usize, kernel: usize, stride: usize, groups: usize) {
    if !wanted(name) {
        return;
    }
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
    let x = vec![0.5f32; 128 * channels[0] * size * size];
    let w = vec![0.25f32; channels[1] * channels[0] / groups * kernel * kernel];
    let mut y = vec![0.125f32; 128 * channels[1] * g.out_height() * g.out_width()];
    let dy = y.clone();
    let (mut dx, mut dw) = (x.clone(), w.clone());
    let times = [
        best(|| conv2d(&g, &x, &w, None, &mut y).unwrap()),
        best(|| conv2d_grad_input(&g, &dy, &w, &mut dx).unwrap()),
        best(|| conv2d_grad_weight(&g, &x, &dy, &mut dw).unwrap()),
    ];
    print!("{name:38}");
    for (pass, time) in ["forward", "input", "weight"].into_iter().zip(times) {
        let bytes = 4 * (x.len() + dy.len());
        print!("  {pass} {:7.2} ms {:6.1} GFLOP/s", time * 1e3, g.flops() as f64 / time * 1e-9);
        if groups > 1 {
            print!(" {:5.1} GB/s", bytes as f64 / time * 1e-9);
        }
    }
    println!();
}

fn main() {
    bench_memory_bound();
    for format in [Format::FP32, Format::PAPER_LOW_FORWARD, Format::PAPER_HIGH] {
        bench_pools(format);
        bench_movements(format);
    }
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
    for (c, size, stride) in [(32, 32, 1), (96, 32, 2), (144, 16, 1), (192, 16, 2), (384, 8, 1), (960, 4, 1)] {
        bench_conv(&format!("mobilenet depthwise {c} @{size} /{stride}"), [c, c], size, 3, stride, c);
    }
    for (c, o, size) in [(32, 16, 32), (16, 96, 32), (144, 24, 16), (64, 384, 8), (160, 960, 4), (320, 1280, 4)] {
        bench_conv(&format!("mobilenet 1x1 {c}->{o} @{size}"), [c, o], size, 1, 1, 1);
    }
    bench_conv("shufflenet grouped 1x1 240->240 @16 g3", [240, 240], 16, 1, 1, 3);
    if wanted("matmul") {
        let (m, n, k) = (128, 1000, 512);
        let (a, b, mut c) = (vec![0.5; m * k], vec![0.5; k * n], vec![0.0; m * n]);
        for (trans_a, trans_b) in [(false, false), (false, true), (true, false)] {
            let time = best(|| matmul(trans_a, trans_b, m, n, k, &a, &b, None, &mut c).unwrap());
            let speed = 2e-9 * (m * n * k) as f64 / time;
            println!("matmul {m}x{n}x{k} {trans_a} {trans_b}: {:.2} ms {speed:.1} GFLOP/s", time * 1e3);
        }
    }
}

/// Elements of any format.
enum Stored {
    F32(Vec<f32>),
    U16(Format, Vec<u16>),
    U8(Format, Vec<u8>),
}

impl Stored {
    /// Small codes, or numbers that repeat.
    fn new(format: Format, len: usize) -> Stored {
        match format.bytes() {
            1 => Stored::U8(format, (0..len).map(|i| (i * 7 % 100) as u8).collect()),
            2 => Stored::U16(format, (0..len).map(|i| (i * 7 % 10_000) as u16).collect()),
            _ => Stored::F32((0..len).map(|i| (i * 7 % 100) as f32).collect()),
        }
    }

    fn x(&self) -> Elements<'_> {
        match self {
            Stored::F32(x) => Elements::from(&x[..]),
            Stored::U16(format, x) => Elements::u16(*format, x).unwrap(),
            Stored::U8(format, x) => Elements::u8(*format, x).unwrap(),
        }
    }

    fn y(&mut self) -> Output<'_> {
        match self {
            Stored::F32(y) => Output::from(&mut y[..]),
            Stored::U16(format, y) => Output::u16(*format, Overflow::Saturate, y).unwrap(),
            Stored::U8(format, y) => Output::u8(*format, Overflow::Saturate, y).unwrap(),
        }
    }
}

/// Prints how fast `f` reads and writes `elements` elements of a format in all, and as what part of the speed of a plain
/// copy of FP32 numbers.
fn bench_elements(name: &str, format: Format, elements: usize, f: impl FnMut()) {
    let name = format!("{name} {format}");
    if !wanted(&name) {
        return;
    }
    let (x, mut y) = (vec![0.5f32; 1 << 23], vec![0.0f32; 1 << 23]);
    let mut copy =
        || best(|| y.par_chunks_mut(1 << 14).zip(x.par_chunks(1 << 14)).for_each(|(y, x)| y.copy_from_slice(x)));
    let (before, time, after) = (copy(), best(f), copy());
    let (rate, copy_rate) = (elements as f64 / time * 1e-9, 2.0 * x.len() as f64 / before.min(after) * 1e-9);
    println!(
        "{name:46}  {:7.2} ms {:6.1} GB/s {rate:6.2} G elements/s, {:4.2} of a copy's",
        time * 1e3,
        rate * format.bytes() as f64,
        rate / copy_rate,
    );
}

/// Pooling as SqueezeNet, ResNet-18 and ShuffleNet-v2 do it (batch 128).
fn bench_pools(format: Format) {
    for (name, channels, size, kernel, stride, pad) in [
        ("2x2 /2 @32", 64, 32, 2, 2, 0),
        ("3x3 /2 @32", 96, 32, 3, 2, 1),
        ("3x3 /2 @16", 256, 16, 3, 2, 1),
        ("3x3 /2 @8", 512, 8, 3, 2, 1),
        ("3x3 /1 @16", 128, 16, 3, 1, 1),
        ("global @4", 1024, 4, 4, 4, 0),
        ("global @8", 512, 8, 8, 8, 0),
    ] {
        let out = (size + 2 * pad - kernel) / stride + 1;
        let g = Pool2d {
            batch: 128,
            channels,
            in_height: size,
            in_width: size,
            out_height: out,
            out_width: out,
            kernel: [kernel; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            pad_begin: [pad; 2],
            pad_end: [pad; 2],
        };
        let (input, output) = (128 * channels * size * size, 128 * channels * out * out);
        let (x, dy, mut indices) = (Stored::new(format, input), Stored::new(format, output), vec![0; output]);
        let (mut y, mut dx) = (Stored::new(format, output), Stored::new(format, input));
        let (x, dy, mut y, mut dx) = (x.x(), dy.x(), y.y(), dx.y());
        let bench = |kernel: &str, f: &mut dyn FnMut()| {
            bench_elements(&format!("{kernel} {name}"), format, input + output, f);
        };
        if kernel < 4 {
            bench("max_pool", &mut || _ = max_pool(&g, x, &mut y).unwrap());
            bench("max_pool_indices", &mut || max_pool_indices(&g, x, &mut indices).unwrap());
            bench("max_pool_with_indices", &mut || {
                max_pool_with_indices(&g, x, &mut y, &mut indices).unwrap();
            });
            bench("max_pool_grad", &mut || _ = max_pool_grad(&g, dy, &indices, &mut dx).unwrap());
        }
        bench("avg_pool", &mut || _ = avg_pool(&g, true, x, &mut y).unwrap());
        bench("avg_pool_grad", &mut || _ = avg_pool_grad(&g, true, dy, &mut dx).unwrap());
    }
}

/// Channel shuffles, splits and concatenations as ShuffleNet-v2 and SqueezeNet do them (batch 128), and reductions.
fn bench_movements(format: Format) {
    for (c, s) in [(116, 256), (232, 64), (464, 16)] {
        let n = 128;
        let len = n * c * s;
        let (x, mut y, mut half) = (Stored::new(format, len), Stored::new(format, len), Stored::new(format, len / 2));
        let bench = |kernel: &str, elements: usize, f: &mut dyn FnMut()| {
            bench_elements(&format!("{kernel} [{n}, {c}, {s}]"), format, elements, f);
        };
        bench("channel shuffle", 2 * len, &mut || {
            transpose(x.x(), &[n, 2, c / 2, s], &[0, 2, 1, 3], &mut y.y()).unwrap();
        });
        bench("slice", len, &mut || {
            slice(x.x(), &[n, c, s], &[0, c / 2, 0], &[1; 3], &[n, c / 2, s], &mut half.y()).unwrap();
        });
        bench("slice_scatter", len * 3 / 2, &mut || {
            slice_scatter(half.x(), &[n, c / 2, s], &[0, c / 2, 0], &[1; 3], &[n, c, s], &mut y.y()).unwrap();
        });
        bench("concat", 2 * len, &mut || {
            concat(&[(half.x(), c / 2), (half.x(), c / 2)], n, s, &mut y.y()).unwrap();
        });
    }
    let (n, c, s) = (128, 64, 1024);
    let (x, mut y, mut one) = (Stored::new(format, n * c * s), Stored::new(format, n * c * s), [0.0]);
    let (per_channel, mut channels) = (Stored::new(format, c), vec![0.0; c]);
    bench_elements("broadcast per channel", format, 2 * n * c * s, || {
        binary_broadcast(Binary::Mul, x.x(), &[n, c, s], per_channel.x(), &[c, 1], &mut y.y(), &[n, c, s]).unwrap();
    });
    bench_elements("reduce_sum to one", format, n * c * s, || {
        reduce_sum(x.x(), &[n, c, s], &[0, 1, 2], &mut Output::from(&mut one[..])).unwrap();
    });
    bench_elements("reduce_sum per channel", format, n * c * s, || {
        reduce_sum(x.x(), &[n, c, s], &[0, 2], &mut Output::from(&mut channels[..])).unwrap();
    });
}
