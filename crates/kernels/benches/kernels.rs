//! Prints GFLOP/s of the compute-bound kernels and GB/s of the memory-bound ones, best of several runs.
//!
//! `cargo bench -p bitbudget-kernels -- [part of a name]`; the number of threads is rayon's (`RAYON_NUM_THREADS`).

use std::time::Instant;

use bitbudget_kernels::*;

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
