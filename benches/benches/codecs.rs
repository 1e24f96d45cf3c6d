//! Throughput of the slice functions on a tile that the cache holds, and their bandwidth relative to a plain copy of the
//! same FP32 array on arrays that no cache holds.

use std::hint::black_box;
use std::time::Instant;

use bitbudget_formats::{
    Format, Overflow, pack_u8, pack_u16, round_slice, unpack_u8, unpack_u8_bf16, unpack_u16, unpack_u16_bf16,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// As many as kernels unpack and pack at a time.
const TILE: usize = 4096;
/// 256 MiB of FP32, split among the threads.
const ARRAY: usize = 64 << 20;
const FORMATS: [Format; 7] = [
    Format::PAPER_LOW_FORWARD,
    Format::PAPER_LOW_BACKWARD,
    Format::PAPER_HIGH,
    Format::BF16,
    Format::FP16,
    Format::E4M3,
    Format::E5M2,
];

/// One array in FP32, as codes and as BF16.
struct Arrays {
    source: Vec<f32>,
    target: Vec<f32>,
    bytes: Vec<u8>,
    words: Vec<u16>,
    bf16: Vec<u16>,
}

impl Arrays {
    /// Numbers that no format here overflows at, a quarter of them zero as after a ReLU.
    fn new(length: usize) -> Arrays {
        let number = |i: usize| ((i.wrapping_mul(2_654_435_761) as u32) as f32 / 4e9 - 0.5) * 8.0;
        let source: Vec<f32> = (0..length).map(|i| if i % 4 == 0 { 0.0 } else { number(i) }).collect();
        Arrays { target: source.clone(), source, bytes: vec![0; length], words: vec![0; length], bf16: vec![0; length] }
    }

    fn copy(&mut self) {
        self.target.copy_from_slice(black_box(&self.source));
        black_box(&mut self.target);
    }

    fn pack(&mut self, format: Format) {
        let counts = match format.bytes() {
            1 => pack_u8(format, Overflow::NotFinite, &self.source, &mut self.bytes),
            _ => pack_u16(format, Overflow::NotFinite, &self.source, &mut self.words),
        };
        black_box(counts).ok();
    }

    fn unpack(&mut self, format: Format) {
        let unpacked = match format.bytes() {
            1 => unpack_u8(format, &self.bytes, &mut self.target),
            _ => unpack_u16(format, &self.words, &mut self.target),
        };
        black_box(unpacked).ok();
    }

    fn unpack_bf16(&mut self, format: Format) {
        let unpacked = match format.bytes() {
            1 => unpack_u8_bf16(format, &self.bytes, &mut self.bf16),
            _ => unpack_u16_bf16(format, &self.words, &mut self.bf16),
        };
        black_box(unpacked).ok();
    }

    fn round(&mut self, format: Format) {
        black_box(round_slice(format, Overflow::Saturate, &mut self.target));
    }
}

fn in_cache(criterion: &mut Criterion) {
    let mut arrays = Arrays::new(TILE);
    let mut group = criterion.benchmark_group("cache");
    group.throughput(Throughput::Elements(TILE as u64));
    group.bench_function("copy", |bencher| bencher.iter(|| arrays.copy()));
    for format in FORMATS {
        group.bench_function(BenchmarkId::new("round", format), |bencher| bencher.iter(|| arrays.round(format)));
        group.bench_function(BenchmarkId::new("pack", format), |bencher| bencher.iter(|| arrays.pack(format)));
        group.bench_function(BenchmarkId::new("unpack", format), |bencher| bencher.iter(|| arrays.unpack(format)));
        if format.exact_in_bf16() {
            let id = BenchmarkId::new("unpack_bf16", format);
            group.bench_function(id, |bencher| bencher.iter(|| arrays.unpack_bf16(format)));
        }
    }
    group.bench_function("round/fp32", |bencher| bencher.iter(|| arrays.round(Format::FP32)));
    group.finish();
}

/// Bytes per second of the fastest of five runs over all threads' arrays at once, when each element takes `bytes`.
fn bandwidth(arrays: &mut [Arrays], bytes: usize, run: impl Fn(&mut Arrays) + Sync) -> f64 {
    let seconds = (0..5).map(|_| {
        let start = Instant::now();
        std::thread::scope(|scope| arrays.iter_mut().for_each(|arrays| drop(scope.spawn(|| run(arrays)))));
        start.elapsed().as_secs_f64()
    });
    (ARRAY * bytes) as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// Prints the bandwidths, bytes read and written, in parts of that of a copy.
fn in_memory(_: &mut Criterion) {
    for threads in [1, 2] {
        let mut arrays: Vec<Arrays> = (0..threads).map(|_| Arrays::new(ARRAY / threads)).collect();
        let copy = bandwidth(&mut arrays, 8, Arrays::copy);
        println!("memory, {threads} thread(s): a copy moves {:.1} GB/s; in parts of it", copy / 1e9);
        for format in FORMATS {
            let round = bandwidth(&mut arrays, 8, |arrays| arrays.round(format));
            let pack = bandwidth(&mut arrays, 4 + format.bytes(), |arrays| arrays.pack(format));
            let unpack = bandwidth(&mut arrays, 4 + format.bytes(), |arrays| arrays.unpack(format));
            let [round, pack, unpack] = [round, pack, unpack].map(|bandwidth| bandwidth / copy);
            println!("{format:>8}  round {round:.2}  pack {pack:.2}  unpack {unpack:.2}");
        }
    }
}

criterion_group!(benches, in_cache, in_memory);
criterion_main!(benches);
