//! Faults that are put into the kernels of products are found.

use super::cases::{Case, case, in_parts};
use bitbudget_cuda::{HEADERS, Pass, Precision, file};
use bitbudget_emulator::{Machine, Module, TensorCore};
use fastrand::Rng;

/// The source of a case's kernel with its headers, so that texts of these can be changed too.
fn source(case: &Case) -> String {
    let header = |name: &str| HEADERS.iter().find(|(other, _)| *other == name).unwrap().1.replace("#pragma once", "");
    file(&[case.product.kernel("seeded")]).replace("#include \"product.h\"", &header("product.h"))
}

/// Whether a source is seen to be wrong: by a fault, other results, or turns that are left. With traffic, also its requests and units.
fn found(case: &Case, source: &str, expected: &[u8]) -> (bool, [u64; 2]) {
    let mut module = Module::compile(source).unwrap();
    let kernel = case.product.kernel("seeded");
    let (mut is_wrong, mut traffic) = (false, [0, 0]);
    // One order is enough for most faults; the second one is for those that only some orders show.
    for seed in 0..2 {
        if is_wrong {
            break;
        }
        let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed, records_traffic: seed == 0 };
        let tried = case.tried(&mut module, &case.product, &kernel, &machine);
        is_wrong |= !tried.outcome.faults.is_empty() || tried.result != expected || tried.turns_are_left;
        for at in tried.outcome.traffic.values() {
            traffic = [traffic[0] + at.requests, traffic[1] + at.units];
        }
    }
    (is_wrong, traffic)
}

fn right(case: &Case) -> Vec<u8> {
    let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 1, seed: 9, records_traffic: false };
    let kernel = case.product.kernel("seeded");
    let mut module = Module::compile(&source(case)).unwrap();
    case.run(&mut module, &case.product, &kernel, &machine).0
}

/// A case of a pass with several steps and tiles that are not full.
fn small(pass: Pass, precision: Precision) -> Case {
    let mut rng = Rng::with_seed(1);
    loop {
        let case = case(&mut rng, pass, 40);
        let [rows, columns, inner] = case.sizes.product(pass);
        let is_aligned = case.product.sides.iter().all(|side| side.is_aligned);
        if case.product.precision == precision
            && is_aligned
            && inner > 100
            && rows > 40
            && columns > 20
            && rows * columns < 20_000
        {
            return case;
        }
    }
}

#[test]
fn each_barrier_that_is_left_out_is_found() {
    for case in [small(Pass::Forward, Precision::Bf16), in_parts()] {
        let (source, expected) = (source(&case), right(&case));
        assert!(!found(&case, &source, &expected).0);
        let barriers: Vec<usize> = source.match_indices("barrier();").map(|(at, _)| at).collect();
        for at in barriers {
            let without = format!("{}{}", &source[..at], &source[at + "barrier();".len()..]);
            assert!(found(&case, &without, &expected).0, "line {}", source[..at].lines().count());
        }
    }
}

#[test]
fn wrong_turns_are_found() {
    let case = in_parts();
    let (source, expected) = (source(&case), right(&case));
    for (text, other) in [
        ("if (t == 0) wait_turn(a.turns + 1 + tile, part);", ""),
        ("wait_turn(a.turns + 1 + tile, part)", "wait_turn(a.turns + 1 + tile, 0)"),
        ("a.window.parts ? part + 1 : 0", "a.window.parts ? part + 1 : 1"),
        ("if (drawn + 1 == BLOCKS) pass_turn(a.turns, 0);", ""),
        ("const u32 drawn = take_ticket(a.turns);", "const u32 drawn = (BLOCK + 1) % BLOCKS;"),
        ("if (part > 0) *sum", "if (part > 1) *sum"),
    ] {
        assert!(source.contains(text), "{text}");
        assert!(found(&case, &source.replace(text, other), &expected).0, "{text}");
    }
}

#[test]
fn wrong_places_and_numbers_are_found() {
    for pass in [Pass::Forward, Pass::GradInput, Pass::GradWeight] {
        let case = small(pass, Precision::Bf16);
        let (source, expected) = (source(&case), right(&case));
        for (text, other) in [
            // A kernel that writes zeros, sums of one step only, an operand of the wrong buffer, the wrong half.
            ("multiply(sums->of[i][j], left[i], right[j / 2] + 2 * (j % 2))", "(void)j"),
            ("k < end; k += DEPTH, step++", "k < begin + DEPTH; k += DEPTH, step++"),
            ("right = 2 * 8192 + left", "right = 2 * 8192"),
            ("right[j / 2] + 2 * (j % 2)", "right[j / 2] + 2 * (1 - j % 2)"),
            ("% tiles * TILE;", "% tiles * TILE + 8;"),
            ("if (row + of >= a.window.rows || column + first >= a.window.columns) continue;", ""),
        ] {
            assert!(source.contains(text), "{text}");
            assert!(found(&case, &source.replace(text, other), &expected).0, "{pass:?}: {text}");
        }
    }
}

#[test]
fn wrong_groups_are_found() {
    for pass in [Pass::Forward, Pass::GradInput, Pass::GradWeight] {
        let mut rng = Rng::with_seed(2);
        let case = loop {
            let case = case(&mut rng, pass, 24);
            let is_scaled =
                pass == Pass::GradInput || case.product.sides.iter().any(|side| side.chain.inputs.len() > 1);
            if case.sizes.groups > 2 && is_scaled {
                break case;
            }
        };
        let (source, expected) = (source(&case), right(&case));
        let scaled = [("channel += matrix * a.window.channel_step;", "")];
        let scaled = if pass == Pass::GradInput { &[][..] } else { &scaled };
        for (text, other) in [
            ("matrix * a.left_step", "(matrix + 1) * a.left_step"),
            ("matrix * a.right_step", "0"),
            ("matrix * a.out_step", "0"),
            ("matrix = tile / of_matrix", "matrix = (tile + 1) / of_matrix"),
        ]
        .iter()
        .chain(scaled)
        {
            assert!(source.contains(text), "{text}");
            assert!(found(&case, &source.replace(text, other), &expected).0, "{pass:?}: {text}");
        }
    }
}

/// Chunks that are not permuted give the same results, but meet banks several times.
#[test]
fn banks_are_met_once() {
    for (pass, precision, permuted) in [
        (Pass::Forward, Precision::Bf16, "(chunk ^ (row >> 1 & 3))"),
        (Pass::GradWeight, Precision::Bf16, "(chunk ^ (row & 7)) * 16; }\nDEVICE u32 wide_along"),
        (Pass::Forward, Precision::Tf32, "row * 128 + (chunk ^ (row & 7))"),
        (Pass::GradWeight, Precision::Tf32, "(chunk ^ 2 * (row & 3))"),
    ] {
        let case = small(pass, precision);
        let (source, expected) = (source(&case), right(&case));
        assert!(source.contains(permuted), "{permuted}");
        let plain =
            permuted.replace(" ^ (row >> 1 & 3)", "").replace(" ^ (row & 7)", "").replace(" ^ 2 * (row & 3)", "");
        let (_, [requests, units]) = found(&case, &source, &expected);
        let (is_wrong, other) = found(&case, &source.replace(permuted, &plain), &expected);
        assert!(!is_wrong && other[0] == requests);
        assert!(other[1] > units + units / 4, "{pass:?} {precision:?}: {units} and {}", other[1]);
    }
}
