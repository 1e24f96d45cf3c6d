// What kernels use of the machine. Each function has two bodies: PTX or a builtin for NVRTC and nvcc, and a call of the emulator for the
// host's C compiler. All else is C that both compile. Global memory is reached by pointers, a block's shared memory by byte offsets.
// Collective functions are called by all 32 threads of a warp.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

// 8 and 16 bytes that are read and written at once.
struct pair { u32 word[2]; };
struct quad { u32 word[4]; };

// The block among those of its tensor.
#define BLOCK LAUNCHED_BLOCK

#ifdef __CUDACC__

#define KERNEL(name, threads, arguments) \
    extern "C" __global__ void __launch_bounds__(threads) name(const arguments a)
// A launch on several tensors, with the arguments of each, and where its blocks end.
#define EACH(name, threads, arguments, most)                                                                 \
    struct name##_all { u32 ends[most]; arguments of[most]; };                                               \
    DEVICE void name##_body(const arguments &a, u32 each_block);                                             \
    extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ name##_all all) {     \
        u32 at = 0;                                                                                          \
        while (blockIdx.x >= all.ends[at]) at++;                                                             \
        name##_body(all.of[at], blockIdx.x - (at > 0 ? all.ends[at - 1] : 0));                               \
    }                                                                                                        \
    DEVICE void name##_body(const arguments &a, u32 each_block)
#define DEVICE [[maybe_unused]] static __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define CONSTANT [[maybe_unused]] static __device__ constexpr
#define THREAD threadIdx.x
#define LAUNCHED_BLOCK blockIdx.x
#define BLOCKS gridDim.x

extern "C" __shared__ u8 shared_memory[];

DEVICE u32 bits_of(float x) { return __float_as_uint(x); }
DEVICE float number_of(u32 bits) { return __uint_as_float(bits); }
DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE float root(float x) { return __fsqrt_rn(x); }

// Bytes of a word (0 to 3) or zero (4), by the nibbles of a selector.
DEVICE u32 bytes_of(u32 x, u32 selector) { return __byte_perm(x, 0, selector); }
// a b + c for two BF16 numbers each.
DEVICE u32 fused_bf16(u32 a, u32 b, u32 c) {
    u32 d;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

DEVICE u8 get8(const void *p) { return *(const u8 *)p; }
DEVICE u16 get16(const void *p) { return *(const u16 *)p; }
DEVICE u32 get32(const void *p) { return *(const u32 *)p; }
DEVICE struct pair get64(const void *p) {
    const uint2 x = *(const uint2 *)p;
    struct pair y = {{x.x, x.y}};
    return y;
}
DEVICE struct quad get128(const void *p) {
    const uint4 x = *(const uint4 *)p;
    struct quad y = {{x.x, x.y, x.z, x.w}};
    return y;
}
DEVICE void put8(void *p, u8 x) { *(u8 *)p = x; }
DEVICE void put16(void *p, u16 x) { *(u16 *)p = x; }
DEVICE void put32(void *p, u32 x) { *(u32 *)p = x; }
DEVICE void put64(void *p, struct pair x) { *(uint2 *)p = make_uint2(x.word[0], x.word[1]); }
DEVICE void put128(void *p, struct quad x) { *(uint4 *)p = make_uint4(x.word[0], x.word[1], x.word[2], x.word[3]); }

DEVICE u32 shared_get32(u32 at) { return get32(shared_memory + at); }
DEVICE struct pair shared_get64(u32 at) { return get64(shared_memory + at); }
DEVICE struct quad shared_get128(u32 at) { return get128(shared_memory + at); }
DEVICE void shared_put16(u32 at, u16 x) { put16(shared_memory + at, x); }
DEVICE void shared_put32(u32 at, u32 x) { put32(shared_memory + at, x); }
DEVICE void shared_put64(u32 at, struct pair x) { put64(shared_memory + at, x); }
DEVICE void shared_put128(u32 at, struct quad x) { put128(shared_memory + at, x); }

DEVICE void barrier(void) { __syncthreads(); }
DEVICE void warp_barrier(void) { __syncwarp(); }
DEVICE u32 shuffle(u32 x, u32 lane) { return __shfl_sync(0xffffffffu, x, lane); }
DEVICE u32 shuffle_xor(u32 x, u32 lanes) { return __shfl_xor_sync(0xffffffffu, x, lanes); }
DEVICE u32 votes(u32 x) { return __ballot_sync(0xffffffffu, x); }

// Adds to a counter; which value it had is not told, so that results cannot depend on the order.
DEVICE void count64(void *counter, u64 x) { atomicAdd((u64 *)counter, x); }
DEVICE void or32(void *p, u32 x) { atomicOr((u32 *)p, x); }
// The next number of a counter: 0 for the first block that takes one.
DEVICE u32 take_ticket(void *counter) { return atomicAdd((u32 *)counter, 1u); }

// Waits until the turn is `ticket`; what the one before wrote can be read from then on. For one thread, with a barrier behind it.
DEVICE void wait_turn(const void *turn, u32 ticket) {
    u32 now;
    do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(turn) : "memory");
    } while (now != ticket);
}
// Gives the turn on. For one thread, with a barrier before it.
DEVICE void pass_turn(void *turn, u32 ticket) {
    __threadfence();
    asm volatile("st.release.gpu.global.u32 [%0], %1;" : : "l"(turn), "r"(ticket) : "memory");
}

// Whether the block is the last of `count` that come here: what the others wrote before can be read then, and the counter is zero again. For
// one thread, with a barrier before and behind it.
DEVICE u32 is_last(void *counter, u32 count) {
    u32 before;
    __threadfence();
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;" : "=r"(before) : "l"(counter), "r"(count - 1) : "memory");
    return before == count - 1;
}

// Copies 16 bytes to shared memory while the thread goes on: the first `valid` from global memory, zeros behind them.
DEVICE void copy_async(u32 at, const void *from, u32 valid) {
    const u32 to = (u32)__cvta_generic_to_shared(shared_memory + at);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(to), "l"(from), "r"(valid) : "memory");
}
DEVICE void copies_commit(void) { asm volatile("cp.async.commit_group;" : : : "memory"); }
// Waits until at most `left` of the thread's groups of copies are under way.
#define copies_wait(left) asm volatile("cp.async.wait_group %0;" : : "n"(left) : "memory")

// Four 8x8 matrices of 16-bit elements; thread 8m + r gives the place of row r of matrix m.
DEVICE void load_matrices(u32 r[4], u32 at) {
    const u32 from = (u32)__cvta_generic_to_shared(shared_memory + at);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}
// The same, each matrix transposed.
DEVICE void load_matrices_transposed(u32 r[4], u32 at) {
    const u32 from = (u32)__cvta_generic_to_shared(shared_memory + at);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}

// d += a b: 16x16 by 16x8, or 16x8 by 8x8 in TF32.
#define MULTIPLY(name, instruction)                                                                      \
    DEVICE void name(float d[4], const u32 a[4], const u32 b[2]) {                                       \
        asm volatile(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"      \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                    \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                \
    }
MULTIPLY(multiply_bf16, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
MULTIPLY(multiply_fp16, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
MULTIPLY(multiply_tf32, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")

#else // The host's bodies, which call the emulator.

#include <math.h>
#include <string.h>

#define KERNEL(name, threads, arguments)                                          \
    const u32 name##_threads = threads;                                           \
    const u32 name##_arguments = sizeof(arguments);                               \
    static void name##_body(const arguments a);                                   \
    void name(const void *a) { name##_body(*(const arguments *)a); }              \
    static void name##_body(const arguments a)
#define EACH(name, threads, arguments, most)                                      \
    struct name##_all { u32 ends[most]; arguments of[most]; };                    \
    const u32 name##_threads = threads;                                           \
    const u32 name##_arguments = sizeof(struct name##_all);                       \
    static void name##_body(const arguments a, u32 each_block);                   \
    void name(const void *p) {                                                    \
        const struct name##_all *all = p;                                         \
        u32 at = 0;                                                               \
        while (self.block >= all->ends[at]) at++;                                 \
        name##_body(all->of[at], self.block - (at > 0 ? all->ends[at - 1] : 0));  \
    }                                                                             \
    static void name##_body(const arguments a, u32 each_block)
#define DEVICE static inline __attribute__((unused))
#define UNROLL
#define CONSTANT static const __attribute__((unused))
#define THREAD (self.thread)
#define LAUNCHED_BLOCK (self.block)
#define BLOCKS (self.blocks)
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define PLACE (__FILE__ ":" TEXT(__LINE__))

// As `Hooks` and `Identity` of the emulator.
struct hooks {
    void *(*global)(const void *p, u32 bytes, u32 access, const char *place);
    void *(*shared)(u32 at, u32 bytes, u32 access, const char *place);
    void (*barrier)(const char *place);
    void (*collective)(u32 operation, const u32 *in, u32 *out, const char *place);
    u32 (*take_ticket)(void *counter, const char *place);
    void (*turn)(void *turn, u32 ticket, u32 passes, const char *place);
    u32 (*is_last)(void *counter, u32 count, const char *place);
    void (*copy)(u32 at, const void *from, u32 valid, const char *place);
    void (*copies_commit)(void);
    void (*copies_wait)(u32 left);
};
struct identity { u32 thread, block, blocks; };
const struct hooks *emulator;
struct identity self;

enum { READ, WRITE, ATOMIC };
enum { WARP_BARRIER, SHUFFLE, SHUFFLE_XOR, VOTES, LOAD, LOAD_TRANSPOSED, MULTIPLY_BF16, MULTIPLY_FP16, MULTIPLY_TF32 };

DEVICE u32 bits_of(float x) { u32 bits; memcpy(&bits, &x, 4); return bits; }
DEVICE float number_of(u32 bits) { float x; memcpy(&x, &bits, 4); return x; }
DEVICE float fused(float a, float b, float c) { return fmaf(a, b, c); }
DEVICE float root(float x) { return sqrtf(x); }

DEVICE u32 bytes_of(u32 x, u32 selector) {
    u32 y = 0;
    for (u32 i = 0; i < 4; i++) {
        const u32 from = selector >> 4 * i & 7;
        y |= (from < 4 ? x >> 8 * from & 0xff : 0) << 8 * i;
    }
    return y;
}
DEVICE u32 fused_bf16(u32 a, u32 b, u32 c) {
    u32 d = 0;
    for (u32 i = 0; i < 32; i += 16) {
        const u32 bits = bits_of(fmaf(number_of(a >> i << 16), number_of(b >> i << 16), number_of(c >> i << 16)));
        const int nan = (bits & 0x7fffffffu) > 0x7f800000u;
        d |= (nan ? 0x7fffu : (bits + 0x7fff + (bits >> 16 & 1)) >> 16) << i;
    }
    return d;
}

#define ACCESS(suffix, type)                                                                                                   \
    DEVICE type get##suffix##_at(const void *p, const char *place) {                                                           \
        type x; memcpy(&x, emulator->global(p, sizeof x, READ, place), sizeof x); return x;                                    \
    }                                                                                                                          \
    DEVICE void put##suffix##_at(void *p, type x, const char *place) {                                                         \
        memcpy(emulator->global(p, sizeof x, WRITE, place), &x, sizeof x);                                                     \
    }                                                                                                                          \
    DEVICE type shared_get##suffix##_at(u32 at, const char *place) {                                                           \
        type x; memcpy(&x, emulator->shared(at, sizeof x, READ, place), sizeof x); return x;                                   \
    }                                                                                                                          \
    DEVICE void shared_put##suffix##_at(u32 at, type x, const char *place) {                                                   \
        memcpy(emulator->shared(at, sizeof x, WRITE, place), &x, sizeof x);                                                    \
    }
ACCESS(8, u8)
ACCESS(16, u16)
ACCESS(32, u32)
ACCESS(64, struct pair)
ACCESS(128, struct quad)
#define get8(p) get8_at(p, PLACE)
#define get16(p) get16_at(p, PLACE)
#define get32(p) get32_at(p, PLACE)
#define get64(p) get64_at(p, PLACE)
#define get128(p) get128_at(p, PLACE)
#define put8(p, x) put8_at(p, x, PLACE)
#define put16(p, x) put16_at(p, x, PLACE)
#define put32(p, x) put32_at(p, x, PLACE)
#define put64(p, x) put64_at(p, x, PLACE)
#define put128(p, x) put128_at(p, x, PLACE)
#define shared_get32(at) shared_get32_at(at, PLACE)
#define shared_get64(at) shared_get64_at(at, PLACE)
#define shared_get128(at) shared_get128_at(at, PLACE)
#define shared_put16(at, x) shared_put16_at(at, x, PLACE)
#define shared_put32(at, x) shared_put32_at(at, x, PLACE)
#define shared_put64(at, x) shared_put64_at(at, x, PLACE)
#define shared_put128(at, x) shared_put128_at(at, x, PLACE)

#define barrier() emulator->barrier(PLACE)
#define warp_barrier() emulator->collective(WARP_BARRIER, 0, 0, PLACE)
DEVICE u32 exchanged(u32 operation, u32 x, u32 lanes, const char *place) {
    const u32 in[2] = {x, lanes};
    u32 out;
    emulator->collective(operation, in, &out, place);
    return out;
}
#define shuffle(x, lane) exchanged(SHUFFLE, x, lane, PLACE)
#define shuffle_xor(x, lanes) exchanged(SHUFFLE_XOR, x, lanes, PLACE)
#define votes(x) exchanged(VOTES, x, 0, PLACE)

DEVICE void count64_at(void *counter, u64 x, const char *place) {
    u64 sum; void *p = emulator->global(counter, 8, ATOMIC, place);
    memcpy(&sum, p, 8); sum += x; memcpy(p, &sum, 8);
}
DEVICE void or32_at(void *p, u32 x, const char *place) {
    u32 bits; void *to = emulator->global(p, 4, ATOMIC, place);
    memcpy(&bits, to, 4); bits |= x; memcpy(to, &bits, 4);
}
#define count64(counter, x) count64_at(counter, x, PLACE)
#define or32(p, x) or32_at(p, x, PLACE)
#define take_ticket(counter) emulator->take_ticket(counter, PLACE)
#define wait_turn(now, ticket) emulator->turn((void *)(now), ticket, 0, PLACE)
#define pass_turn(now, ticket) emulator->turn(now, ticket, 1, PLACE)
#define is_last(counter, count) emulator->is_last(counter, count, PLACE)

#define copy_async(at, from, valid) emulator->copy(at, from, valid, PLACE)
#define copies_commit() emulator->copies_commit()
#define copies_wait(left) emulator->copies_wait(left)

#define load_matrices(r, at) load_matrices_at(LOAD, r, at, PLACE)
#define load_matrices_transposed(r, at) load_matrices_at(LOAD_TRANSPOSED, r, at, PLACE)
DEVICE void load_matrices_at(u32 operation, u32 r[4], u32 at, const char *place) { emulator->collective(operation, &at, r, place); }

DEVICE void multiply_at(u32 operation, float d[4], const u32 a[4], const u32 b[2], const char *place) {
    u32 in[10], out[4];
    memcpy(in, a, 16); memcpy(in + 4, b, 8); memcpy(in + 6, d, 16);
    emulator->collective(operation, in, out, place);
    memcpy(d, out, 16);
}
#define multiply_bf16(d, a, b) multiply_at(MULTIPLY_BF16, d, a, b, PLACE)
#define multiply_fp16(d, a, b) multiply_at(MULTIPLY_FP16, d, a, b, PLACE)
#define multiply_tf32(d, a, b) multiply_at(MULTIPLY_TF32, d, a, b, PLACE)

#endif
