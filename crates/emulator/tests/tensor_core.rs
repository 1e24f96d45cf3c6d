//! Products on tensor cores: fragments, and sums that are cut off.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_emulator::{Launch, Machine, Memory, Module, Operand, TensorCore, launch};
use bitbudget_testkit::numbers;
use half::{bf16, f16};

const SOURCE: &str = r#"
#include "machine.h"
struct arguments { const u32 *a, *b; float *d; };

// A 16x16 and B 16x8, each row of A and each row of B as 16-bit elements in shared memory.
#define PRODUCT(name, multiply)                                                                        \
    KERNEL(name, 32, struct arguments) {                                                               \
        const u32 t = THREAD;                                                                          \
        shared_put128(16 * t, get128(a.a + 4 * t));                                                    \
        if (t < 16) shared_put128(512 + 16 * t, get128(a.b + 4 * t));                                  \
        barrier();                                                                                     \
        u32 left[4], right[4];                                                                         \
        load_matrices(left, (t % 16) * 32 + (t / 16) * 16);                                            \
        load_matrices_transposed(right, 512 + 16 * (t % 16));                                          \
        float d[4] = {0, 0, 0, 0};                                                                     \
        multiply(d, left, right);                                                                      \
        UNROLL for (u32 e = 0; e < 4; e++)                                                             \
            put32(a.d + (t / 4 + 8 * (e / 2)) * 8 + 2 * (t % 4) + e % 2, bits_of(d[e]));               \
    }
PRODUCT(bf16, multiply_bf16)
PRODUCT(fp16, multiply_fp16)

// A 16x8 and B 8x8 in FP32.
KERNEL(tf32, 32, struct arguments) {
    const u32 g = THREAD / 4, t = THREAD % 4;
    u32 left[4], right[2];
    UNROLL for (u32 w = 0; w < 4; w++) left[w] = get32(a.a + (g + 8 * (w % 2)) * 8 + t + 4 * (w / 2));
    UNROLL for (u32 w = 0; w < 2; w++) right[w] = get32(a.b + (t + 4 * w) * 8 + g);
    float d[4] = {0, 0, 0, 0};
    multiply_tf32(d, left, right);
    UNROLL for (u32 e = 0; e < 4; e++) put32(a.d + (g + 8 * (e / 2)) * 8 + 2 * t + e % 2, bits_of(d[e]));
}
"#;

fn product(kernel: &str, a: &[u8], b: &[u8]) -> Vec<f32> {
    let mut module = Module::compile(SOURCE).unwrap();
    let mut memory = Memory::default();
    let (a, b, d) = (memory.put(a), memory.put(b), memory.reserve(4 * 16 * 8));
    let arguments: Vec<u8> = [a, b, d].iter().flat_map(|p| p.to_ne_bytes()).collect();
    let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 1, seed: 1, records_traffic: false };
    let call = Launch { kernel, blocks: 1, threads: 32, shared: 768, arguments: &arguments };
    let outcome = launch(&mut module, &mut memory, &call, &machine).unwrap();
    assert!(outcome.faults.is_empty(), "{}", outcome.faults[0]);
    memory.get(d).unwrap().chunks_exact(4).map(|word| f32::from_ne_bytes(word.try_into().unwrap())).collect()
}

/// The product of 16xK and Kx8 in FP64.
fn exact(a: &[f64], b: &[f64], k: usize) -> Vec<f64> {
    let element = |i: usize| (0..k).map(|k_| a[i / 8 * k + k_] * b[k_ * 8 + i % 8]).sum();
    (0..16 * 8).map(element).collect()
}

fn close(found: &[f32], expected: &[f64]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn fragments_are_those_of_matrices() {
    let (a, b) = (numbers(256, 1), numbers(128, 2));
    let bits = |x: &[f32]| x.iter().flat_map(|&x| bf16::from_f32(x).to_ne_bytes()).collect::<Vec<u8>>();
    let values = |x: &[f32]| x.iter().map(|&x| bf16::from_f32(x).to_f64()).collect::<Vec<f64>>();
    close(&product("bf16", &bits(&a), &bits(&b)), &exact(&values(&a), &values(&b), 16));
    let bits = |x: &[f32]| x.iter().flat_map(|&x| f16::from_f32(x).to_ne_bytes()).collect::<Vec<u8>>();
    let values = |x: &[f32]| x.iter().map(|&x| f16::from_f32(x).to_f64()).collect::<Vec<f64>>();
    close(&product("fp16", &bits(&a), &bits(&b)), &exact(&values(&a), &values(&b), 16));
    let cut = |x: &f32| f32::from_bits(x.to_bits() & 0xffff_e000);
    let bytes = |x: &[f32]| x.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<u8>>();
    let values = |x: &[f32]| x.iter().map(|x| f64::from(cut(x))).collect::<Vec<f64>>();
    close(&product("tf32", &bytes(&a[..128]), &bytes(&b[..64])), &exact(&values(&a[..128]), &values(&b[..64]), 8));
}

fn fp16(x: f32) -> u32 {
    u32::from(f16::from_f32(x).to_bits())
}

/// What Fasi, Higham, Mikaitis and Pranesh ("Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021) show.
#[test]
fn sums_have_the_properties_of_the_hardware() {
    let dot = |core: TensorCore, a: &[f32], b: &[f32], c: f32| {
        let bits = |x: &[f32]| x.iter().map(|&x| fp16(x)).collect::<Vec<u32>>();
        core.dot(Operand::Fp16, &bits(a), &bits(b), c)
    };
    let small = 2f32.powi(-12);
    for core in [TensorCore::AMPERE, TensorCore::HOPPER] {
        // Products are exact, and subnormal operands count.
        assert_eq!(dot(core, &[1.0009766], &[1.0009766], 0.0), 1.0009766 * 1.0009766);
        assert_eq!(dot(core, &[2f32.powi(-24)], &[4.0], 0.0), 2f32.powi(-22));
        // Sums are cut off, towards zero for both signs: 1 + 3 * 2^-25 is below the next number, 1 + 2^-23.
        let third = 3.0 * 2f32.powi(-13);
        assert_eq!(dot(core, &[third], &[small], 1.0), 1.0);
        assert_eq!(dot(core, &[third], &[-small], -1.0), -1.0);
        // One that lies below the last bit does nothing, though several would come to one.
        let tiny = 2f32.powi(-14);
        assert_eq!(dot(core, &[tiny; 8], &[tiny; 8], 1.0), 1.0);
        // Infinities and NaN pass.
        assert_eq!(dot(core, &[f32::INFINITY], &[1.0], 1.0), f32::INFINITY);
        assert!(dot(core, &[f32::INFINITY], &[0.0], 1.0).is_nan());
        // What is too large overflows, though sums are cut off.
        let large = u32::from(bf16::from_f32(3e38).to_bits());
        assert_eq!(core.dot(Operand::Bf16, &[large], &[large], 0.0), f32::INFINITY);
        assert_eq!(dot(core, &[60000.0; 8], &[60000.0; 8], f32::MAX), f32::MAX);
    }
    // 2^-24 is kept while a block is added by an additional bit, so that two of them come to a bit of the result.
    assert_eq!(dot(TensorCore::AMPERE, &[small, small], &[small, small], 1.0), 1.0 + 2f32.powi(-23));
    // 2^-25 by two, which only Hopper has.
    let quarters = [small; 4];
    assert_eq!(dot(TensorCore::HOPPER, &quarters, &[small / 2.0; 4], 1.0), 1.0 + 2f32.powi(-23));
    assert_eq!(dot(TensorCore::AMPERE, &quarters, &[small / 2.0; 4], 1.0), 1.0);
}
