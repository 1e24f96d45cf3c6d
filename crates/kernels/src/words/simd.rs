//! One body, compiled for several instruction sets and chosen at run time.

/// Defines a function whose body is compiled for AVX-512, for AVX2 and portably. Inside the body, `FMA` says whether
/// fused multiply-adds are machine instructions; [`mul_add`] takes it.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::extra_unused_type_parameters)]
            fn body<const FMA: bool>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    body::<true>($($arg),*)
                }
                if $crate::words::simd::has_avx512() {
                    // SAFETY: the processor has every feature that the function was compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if $crate::words::simd::has_avx2() {
                    // SAFETY: the processor has every feature that the function was compiled for.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}
pub(crate) use multiversion;

/// The environment variable that limits the vector instructions of kernels, to `avx512`, `avx2` or `portable`, so that the results
/// of a processor that has no more can be had on one that has; `avx512bf16` has those used that would be slow.
#[cfg(target_arch = "x86_64")]
const CHOICE: &str = "BITBUDGET_INSTRUCTIONS";

/// The instruction sets that are used.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Used {
    avx2: bool,
    avx512: bool,
    fast_bf16: bool,
}

/// Kernels ask for every short run of elements, so the processor is asked once.
#[cfg(target_arch = "x86_64")]
fn used() -> Used {
    static USED: std::sync::OnceLock<Used> = std::sync::OnceLock::new();
    *USED.get_or_init(|| {
        let asked = std::env::var(CHOICE).ok();
        let asked = asked.as_deref();
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && asked != Some("portable");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && asked != Some("avx2");
        let fast_bf16 = match asked {
            Some("avx512bf16") => true,
            Some("avx512") => false,
            _ => !is_intel(),
        };
        Used { avx2, avx512, fast_bf16: fast_bf16 && avx512 && is_x86_feature_detected!("avx512bf16") }
    })
}

/// Whether BF16 dot products are there and taken to be faster than FP32 multiply-adds. On Intel's they are not: 175 GFLOP/s were
/// measured where multiply-adds reach 340. It goes by the maker and not by a clock, so that a machine's results stay the same.
pub(crate) fn has_fast_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return used().fast_bf16;
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether the processor says that it is one of Intel's.
#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    let name = std::arch::x86_64::__cpuid(0);
    [name.ebx, name.edx, name.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    used().avx512
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2() -> bool {
    used().avx2
}

/// `a * b + c`, fused where that is one instruction and not a library call.
#[inline(always)]
pub(crate) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Independent sums that a reduction keeps, so that it runs in vector registers.
pub(crate) const LANES: usize = 64;

/// The sum of the lanes, in double precision and in a fixed order.
#[inline(always)]
pub(crate) fn sum_lanes(lanes: &[f32; LANES]) -> f64 {
    let mut halves = [0.0f64; LANES / 2];
    for i in 0..LANES / 2 {
        halves[i] = f64::from(lanes[i]) + f64::from(lanes[i + LANES / 2]);
    }
    halves.iter().sum()
}

/// The sum of `f` over the elements of `a` and `b` (of one length), in [`LANES`] single-precision sums per block of
/// 4,096 elements and double precision above.
#[inline(always)]
pub(crate) fn reduce2(a: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f64 {
    const BLOCK: usize = 4096;
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [0.0f32; LANES];
        let (a_whole, a_rest) = a.as_chunks::<LANES>();
        let (b_whole, b_rest) = b.as_chunks::<LANES>();
        for (a, b) in a_whole.iter().zip(b_whole) {
            for i in 0..LANES {
                lanes[i] = f(lanes[i], a[i], b[i]);
            }
        }
        for (i, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            lanes[i] = f(lanes[i], a, b);
        }
        total += sum_lanes(&lanes);
    }
    total
}

/// Copies `x` to `y`, of one length, without a library call where they are short.
#[inline(always)]
pub(crate) fn copy_short<T: Copy>(x: &[T], y: &mut [T]) {
    match y.len() {
        0 => {}
        1 => y[0] = x[0],
        2..4 => copy_ends::<2, T>(x, y),
        4..8 => copy_ends::<4, T>(x, y),
        8..16 => copy_ends::<8, T>(x, y),
        16..32 => copy_ends::<16, T>(x, y),
        32..=64 => copy_ends::<32, T>(x, y),
        _ => y.copy_from_slice(x),
    }
}

/// Copies the first `N` and the last `N` elements, which may overlap.
#[inline(always)]
fn copy_ends<const N: usize, T: Copy>(x: &[T], y: &mut [T]) {
    let last = y.len() - N;
    y[..N].copy_from_slice(&x[..N]);
    y[last..][..N].copy_from_slice(&x[last..][..N]);
}
