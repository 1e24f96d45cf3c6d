//! Throughput of the slice functions beside a plain copy, on an array that no cache holds.

use bitbudget_formats::{Format, Overflow, pack_u8, pack_u16, round_slice, unpack_u8, unpack_u16};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// 128 MiB of FP32.
const LENGTH: usize = 32 << 20;

fn codecs(criterion: &mut Criterion) {
    let source: Vec<f32> = (0..LENGTH).map(|i| ((i * 2_654_435_761) as u32 as f32 / 4e9 - 0.5) * 8.0).collect();
    let mut target = source.clone();
    let mut bytes = vec![0u8; LENGTH];
    let mut words = vec![0u16; LENGTH];

    let mut group = criterion.benchmark_group("codecs");
    group.throughput(Throughput::Elements(LENGTH as u64)).sample_size(10);
    group.bench_function("copy", |bencher| bencher.iter(|| target.copy_from_slice(&source)));
    for format in [Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD, Format::BF16, Format::FP16, Format::E4M3] {
        group.bench_function(BenchmarkId::new("round_slice", format), |bencher| {
            bencher.iter(|| round_slice(format, Overflow::Saturate, &mut target));
        });
        group.bench_function(BenchmarkId::new("pack", format), |bencher| {
            bencher.iter(|| match format.bytes() {
                1 => pack_u8(format, Overflow::NotFinite, &source, &mut bytes),
                _ => pack_u16(format, Overflow::NotFinite, &source, &mut words),
            });
        });
        group.bench_function(BenchmarkId::new("unpack", format), |bencher| {
            bencher.iter(|| match format.bytes() {
                1 => unpack_u8(format, &bytes, &mut target),
                _ => unpack_u16(format, &words, &mut target),
            });
        });
    }
    group.bench_function("round_slice/fp32", |bencher| {
        bencher.iter(|| round_slice(Format::FP32, Overflow::Saturate, &mut target));
    });
    group.finish();
}

criterion_group!(benches, codecs);
criterion_main!(benches);
