//! Each fault that a kernel can have is found, and what is right is not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_emulator::{FaultKind, Launch, Machine, Memory, Module, Outcome, TensorCore, launch};

const SEEDS: u64 = 4;
const THREADS: u32 = 64;
const BLOCKS: u32 = 3;
const WORDS: usize = (THREADS * BLOCKS) as usize;

/// Runs a kernel's body on two arrays of 32-bit words, one for each thread, the second to be written, and some counters.
fn run(body: &str, seed: u64) -> (Outcome, Vec<u32>) {
    let source = format!(
        "#include \"machine.h\"\nstruct arguments {{ u32 *x, *y, *counters; }};\n\
         KERNEL(tried, {THREADS}, struct arguments) {{ const u32 t = THREAD, i = BLOCK * {THREADS} + t; (void)i; {body} }}"
    );
    let mut module = Module::compile(&source).unwrap();
    let mut memory = Memory::default();
    let words = |count: usize| -> Vec<u8> { (0..count as u32).flat_map(u32::to_ne_bytes).collect() };
    let (x, y, counters) = (memory.put(&words(WORDS)), memory.reserve(4 * WORDS), memory.put(&[0; 64]));
    let arguments: Vec<u8> = [x, y, counters].iter().flat_map(|p| p.to_ne_bytes()).collect();
    let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed, records_traffic: true };
    let call = Launch { kernel: "tried", blocks: BLOCKS, threads: THREADS, shared: 2048, arguments: &arguments };
    let outcome = launch(&mut module, &mut memory, &call, &machine).unwrap();
    let y = memory.get(y).unwrap();
    (outcome, y.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect())
}

/// Checks that a body is right whatever the order, and gives these words.
fn is_right(body: &str, expected: impl Fn(u32) -> u32) {
    for seed in 0..SEEDS {
        let (outcome, y) = run(body, seed);
        assert!(outcome.faults.is_empty(), "{body}: {}", outcome.faults[0]);
        assert_eq!(y, (0..WORDS as u32).map(&expected).collect::<Vec<u32>>(), "{body}");
    }
}

/// Checks that a body has a fault of a kind, whatever the order.
fn has(kind: FaultKind, body: &str) {
    for seed in 0..SEEDS {
        let (outcome, _) = run(body, seed);
        assert!(outcome.faults.iter().any(|fault| fault.kind == kind), "{body}: {:?}", outcome.faults);
    }
}

const TURNED: &str = "put32(a.y + i, shared_get32(4 * (63 - t)));";

#[test]
fn a_barrier_orders_what_a_block_does() {
    let write = "shared_put32(4 * t, get32(a.x + i));";
    is_right(&format!("{write} barrier(); {TURNED}"), |i| i / 64 * 64 + 63 - i % 64);
    has(FaultKind::Race, &format!("{write} {TURNED}"));
    // A second round overwrites what some still read.
    has(FaultKind::Race, &format!("{write} barrier(); {TURNED} shared_put32(4 * t, t);"));
    is_right(&format!("{write} barrier(); {TURNED} barrier(); shared_put32(4 * t, t);"), |i| i / 64 * 64 + 63 - i % 64);
}

#[test]
fn a_barrier_of_the_warp_orders_a_warp_only() {
    let write = "shared_put32(4 * t, get32(a.x + i)); warp_barrier();";
    is_right(&format!("{write} put32(a.y + i, shared_get32(4 * (t ^ 31)));"), |i| i ^ 31);
    has(FaultKind::Race, &format!("{write} put32(a.y + i, shared_get32(4 * (t ^ 32)));"));
    has(FaultKind::Race, "shared_put32(4 * t, i); put32(a.y + i, shared_get32(4 * (t ^ 31)));");
}

#[test]
fn blocks_have_no_order() {
    has(FaultKind::Race, "put32(a.y + t, i);");
    has(FaultKind::Race, "put32(a.y + i, t); barrier(); if (BLOCK > 0) put32(a.x + i, get32(a.y + t));");
    // Atomic additions need none.
    is_right("count64(a.counters, 1); put32(a.y + i, i);", |i| i);
    has(FaultKind::Race, "count64(a.counters, 1); put32(a.y + i, get32(a.counters));");
}

/// Each block adds its numbers to the first words of `y` in turn.
fn in_turn(wait: &str, barrier_before: &str, pass: &str) -> String {
    format!(
        "const u32 ticket = BLOCK; if (t == 0) {{ {wait} }} barrier();
         const u32 sum = ticket == 0 ? 0 : get32(a.y + t); put32(a.y + t, sum + i);
         {barrier_before} if (t == 0) {{ {pass} }}
         if (ticket > 0) put32(a.y + i, i);"
    )
}

#[test]
fn turns_order_blocks() {
    let (wait, pass) = ("wait_turn(a.counters, ticket);", "pass_turn(a.counters, ticket + 1);");
    // The blocks that run at a time are not those whose turn is first: tickets are drawn when a block begins.
    let drawn = |body: String| {
        body.replace(
            "const u32 ticket = BLOCK;",
            "if (t == 0) shared_put32(0, take_ticket(a.counters + 1)); barrier(); const u32 ticket = shared_get32(0);",
        )
    };
    let body = drawn(in_turn(wait, "barrier();", pass)).replace("if (ticket > 0) put32(a.y + i, i);", "");
    for seed in 0..SEEDS {
        let (outcome, y) = run(&body, seed);
        assert!(outcome.faults.is_empty(), "{}", outcome.faults[0]);
        assert_eq!(y[..64], (0..64).map(|t| 3 * t + 3 * 64).collect::<Vec<u32>>());
    }
    has(FaultKind::Race, &drawn(in_turn("", "barrier();", pass)));
    has(FaultKind::Race, &drawn(in_turn(wait, "", pass)));
    has(FaultKind::NoTurn, &drawn(in_turn("wait_turn(a.counters, ticket + 1);", "barrier();", pass)));
    has(FaultKind::NoTurn, &drawn(in_turn(wait, "barrier();", "")));
}

#[test]
fn the_last_block_sees_what_the_others_wrote() {
    let body = |before: &str, asked: &str, behind: &str, condition: &str| {
        format!(
            "put32(a.x + i, i); {before} if (t == 0) shared_put32(0, {asked}); {behind}
             if ({condition}) for (u32 b = 0; b < BLOCKS; b++) put32(a.y + 64 * b + t, get32(a.x + 64 * b + (t ^ 32)));"
        )
    };
    let (barrier, asked, is_last) = ("barrier();", "is_last(a.counters, BLOCKS)", "shared_get32(0)");
    is_right(&body(barrier, asked, barrier, is_last), |i| i ^ 32);
    has(FaultKind::Race, &body("", asked, barrier, is_last));
    has(FaultKind::Race, &body(barrier, asked, "", is_last));
    has(FaultKind::Race, &body(barrier, "is_last(a.counters, 2)", barrier, is_last));
    has(FaultKind::Race, &body(barrier, "BLOCK + 1 == BLOCKS", barrier, is_last));
}

#[test]
fn accesses_stay_inside_and_are_aligned() {
    has(FaultKind::Outside, "put32(a.y + i + 1, i);");
    has(FaultKind::Outside, "put32(a.y + i, get32(a.x - 1));");
    has(FaultKind::Outside, "put32(a.y + i, i); shared_put32(2048, 1);");
    has(FaultKind::Misaligned, "put32(a.y + i, i); get32((const u8 *)a.x + 2);");
    has(FaultKind::Misaligned, "put32(a.y + i, i); get128(a.x + 2);");
    has(FaultKind::Misaligned, "put32(a.y + i, get64(a.x + 1).word[0]);");
    has(FaultKind::Misaligned, "put32(a.y + i, i); shared_put32(2 * t, i);");
    is_right("if (t % 4 == 0) put128(a.y + i, get128(a.x + i));", |i| i);
}

#[test]
fn what_was_never_written_is_not_read() {
    has(FaultKind::NotWritten, "put32(a.y + i, shared_get32(4 * t));");
    has(FaultKind::NotWritten, "put32(a.x + i, get32(a.y + i));");
}

#[test]
fn all_threads_reach_barriers_and_collective_functions() {
    has(FaultKind::Divergent, "if (t < 32) barrier(); put32(a.y + i, i);");
    has(FaultKind::Divergent, "if (t < 32) { barrier();\n } else { barrier();\n } put32(a.y + i, i);");
    has(FaultKind::Divergent, "if (t == 5) return; put32(a.y + i, shuffle_xor(i, 1));");
    has(FaultKind::Divergent, "put32(a.y + i, t % 2 ? shuffle_xor(i, 1) :\n shuffle_xor(i, 2));");
    is_right("put32(a.y + i, shuffle_xor(get32(a.x + i), 5));", |i| i ^ 5);
    is_right("put32(a.y + i, shuffle(i, t + 33));", |i| i / 32 * 32 + (i + 1) % 32);
    is_right("put32(a.y + i, votes(t % 3 == 0));", |i| {
        (0..32).map(|lane| u32::from((i / 32 * 32 % 64 + lane) % 3 == 0) << lane).sum()
    });
    // Whole warps may stay away from what only a warp does.
    is_right("if (t < 32) put32(a.y + i, shuffle(i, 0)); else put32(a.y + i, 7);", |i| {
        if i % 64 < 32 { i / 64 * 64 } else { 7 }
    });
}

/// Two groups of copies; the words come back in their order.
fn copied(first_wait: &str, second_wait: &str, between: &str) -> String {
    format!(
        "if (t < 8) copy_async(16 * t, a.x + BLOCK * 64 + 4 * t, 16); copies_commit();
         if (t < 8) copy_async(128 + 16 * t, a.x + BLOCK * 64 + 32 + 4 * t, 16); copies_commit();
         {first_wait} {between} const u32 first = shared_get32(4 * (t / 2));
         {second_wait} {between} const u32 second = shared_get32(128 + 4 * (t / 2));
         put32(a.y + i, t % 2 ? second : first);"
    )
}

#[test]
fn copies_are_there_when_they_were_waited_for() {
    let halves = |i: u32| i / 64 * 64 + i % 64 / 2 + if i % 2 == 1 { 32 } else { 0 };
    is_right(&copied("copies_wait(1);", "copies_wait(0);", "barrier();"), halves);
    has(FaultKind::NotWritten, &copied("copies_wait(2);", "copies_wait(0);", "barrier();"));
    has(FaultKind::NotWritten, &copied("copies_wait(1);", "", "barrier();"));
    has(FaultKind::Race, &copied("copies_wait(1);", "copies_wait(0);", ""));
    // Behind what is valid are zeros, and nothing is read.
    is_right(
        "copy_async(16 * t, a.x + 4 * (t < 48 ? t : 0), t < 48 ? 8 : 0); copies_commit(); copies_wait(0); \
         put32(a.y + i, shared_get32(16 * t + 4) + shared_get32(16 * t + 8));",
        |i| {
            if i % 64 < 48 { 4 * (i % 64) + 1 } else { 0 }
        },
    );
    // The next copy must not begin while others still read.
    has(
        FaultKind::Race,
        "shared_put32(4 * t, t); barrier(); put32(a.y + i, shared_get32(4 * (63 - t))); \
         if (t < 16) copy_async(16 * t, a.x, 16); copies_commit(); copies_wait(0);",
    );
}

#[test]
fn traffic_is_counted() {
    let units = |body: &str| {
        let (outcome, _) = run(body, 1);
        assert!(outcome.faults.is_empty(), "{}", outcome.faults[0]);
        let of = |traffic: &bitbudget_emulator::Traffic| (traffic.requests, traffic.bytes, traffic.units);
        outcome.traffic.values().map(of).collect::<Vec<_>>()
    };
    let warps = u64::from(BLOCKS * THREADS / 32);
    // 128 bytes of a warp are 4 sectors; every eighth word takes one each.
    assert_eq!(units("put32(a.y + i, i);"), [(warps, 128 * warps, 4 * warps)]);
    assert_eq!(units("put32(a.y + 64 * BLOCK + t % 8 * 8 + t / 8, i);"), [(warps, 128 * warps, 8 * warps)]);
    // A column of a matrix of 32 words a row lies in one bank; with a word between rows in 32.
    assert_eq!(units("if (t < 4) shared_put32(128 * t, i);"), [(3, 48, 12)]);
    assert_eq!(units("if (t < 4) shared_put32(132 * t, i);"), [(3, 48, 3)]);
    assert_eq!(units("shared_put128(16 * t, (struct quad){{0}});"), [(warps, 512 * warps, 4 * warps)]);
}
