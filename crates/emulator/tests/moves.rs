//! Moves of elements against loops over all indices.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_cuda::{Elements, Epilogue, Move, MoveAxis, Moved, Way, file, moved, packed};
use bitbudget_emulator::{Launch, Machine, Memory, Module, TensorCore, launch};
use bitbudget_formats::{Counts, Format, Overflow, Rounder, pack_u8, unpack_u8};
use fastrand::Rng;
use std::collections::BTreeMap;

const FORMAT: Format = Format::PAPER_LOW_FORWARD;
const OTHER: (Format, Overflow) = (Format::E4M3, Overflow::Saturate);

/// Transpositions, slices forwards and backwards, repetitions.
fn axes(rng: &mut Rng) -> (Vec<MoveAxis>, [i64; 2], [usize; 2]) {
    let rank = rng.usize(1..6);
    let sizes: Vec<usize> = (0..rank).map(|_| [1, 2, 3, 4, 5, 7, 8, 12, 33, 40][rng.usize(..10)]).collect();
    let sizes: Vec<usize> = if sizes.iter().product::<usize>() > 60_000 { vec![5; rank] } else { sizes };
    let mut order: Vec<usize> = (0..rank).collect();
    rng.shuffle(&mut order);
    // What is read is larger along some axes, of which each second or third index is taken, or has one index, which is repeated.
    let kinds: Vec<usize> = (0..rank).map(|_| if rng.bool() { 0 } else { rng.usize(..4) }).collect();
    let read: Vec<usize> = (0..rank).map(|d| [sizes[d], 2 * sizes[d] + 1, sizes[d] + 4, 1][kinds[d]]).collect();
    let (mut axes, mut first, mut stride) = (vec![MoveAxis { size: 1, from: 0, to: 0 }; rank], 0, 1);
    for &d in order.iter().rev() {
        let (begin, step) = match kinds[d] {
            0 => (0, 1),
            1 => (2 * sizes[d] as i64, -2),
            2 => (4, 1),
            _ => (0, 0),
        };
        first += begin * stride;
        axes[d] = MoveAxis { size: sizes[d], from: step * stride, to: 0 };
        stride *= read[d] as i64;
    }
    let count = stride as usize;
    let mut stride = 1;
    for d in (0..rank).rev() {
        axes[d].to = stride;
        stride *= sizes[d] as i64;
    }
    (axes, [first, 0], [count, stride as usize])
}

/// The element of what is read that comes to each place of what is written.
fn sources(axes: &[MoveAxis], first: i64, count: usize) -> Vec<usize> {
    let place = |to: usize| {
        let from = axes.iter().map(|axis| (to as i64 / axis.to % axis.size as i64) * axis.from);
        (first + from.sum::<i64>()) as usize
    };
    (0..count).map(place).collect()
}

fn run(
    module: &mut Module,
    name: &str,
    (of, launches): (&Move, &[Moved]),
    read: &[u8],
    count: usize,
) -> (Vec<u8>, Counts) {
    let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed: 4, records_traffic: false };
    let mut memory = Memory::default();
    let addresses = [memory.put(read), memory.reserve(count * of.epilogue.elements.width() as usize / 8)];
    let counters = memory.put(&[0; 24]);
    for moved in launches {
        let arguments = packed(&moved.arguments(addresses, counters));
        let call =
            Launch { kernel: name, blocks: moved.blocks(), threads: 256, shared: of.shared(), arguments: &arguments };
        let outcome = launch(module, &mut memory, &call, &machine).unwrap();
        assert!(outcome.faults.is_empty(), "{name} {moved:?}: {}", outcome.faults[0]);
    }
    let counters = memory.get(counters).unwrap();
    let count = |i: usize| u64::from_ne_bytes(counters[8 * i..8 * i + 8].try_into().unwrap());
    (memory.get(addresses[1]).unwrap(), Counts { overflow: count(0), underflow: count(1), not_finite: count(2) })
}

#[test]
fn elements_come_to_their_places() {
    let mut rng = Rng::with_seed(7);
    let plain = |elements| Epilogue { rounding: None, elements };
    let forms: [(Elements, Epilogue); 4] = [
        (Elements::Fp32, plain(Elements::Fp32)),
        (Elements::Codes(FORMAT), plain(Elements::Codes(FORMAT))),
        (Elements::Codes(FORMAT), Epilogue::counted(OTHER.0, OTHER.1)),
        (Elements::Bytes, plain(Elements::I32)),
    ];
    let mut cases = Vec::new();
    let mut kernels = BTreeMap::new();
    for _ in 0..250 {
        let (axes, offsets, counts) = axes(&mut rng);
        let launches = moved(&axes, offsets).unwrap();
        let form = rng.usize(..4);
        let (from, epilogue) = forms[form];
        let of = launches[0].kernel(from, epilogue);
        let name = format!("move_{form}_{:?}_{}", of.way, of.axes);
        kernels.insert(name.clone(), of.kernel(&name));
        cases.push((axes, offsets, counts, launches, form, of, name));
    }
    let mut module = Module::compile(&file(&kernels.values().cloned().collect::<Vec<_>>())).unwrap();
    let mut ways = BTreeMap::new();
    for (axes, offsets, [read, written], launches, form, of, name) in &cases {
        *ways.entry(format!("{:?}", of.way)).or_insert(0) += 1;
        let places = sources(axes, offsets[0], *written);
        let bytes: Vec<u8> = (0..*read * of.from.width() as usize / 8).map(|_| rng.u8(..) & 0x7f).collect();
        let (found, counts) = run(&mut module, name, (of, launches), &bytes, *written);
        let (expected, expected_counts): (Vec<u8>, Counts) = match form {
            0 => (places.iter().flat_map(|&at| bytes[4 * at..4 * at + 4].to_vec()).collect(), Counts::default()),
            1 => (places.iter().map(|&at| bytes[at]).collect(), Counts::default()),
            2 => {
                let codes: Vec<u8> = places.iter().map(|&at| bytes[at]).collect();
                let mut numbers = vec![0.0; codes.len()];
                unpack_u8(FORMAT, &codes, &mut numbers).unwrap();
                let mut packed = vec![0; codes.len()];
                pack_u8(OTHER.0, OTHER.1, &numbers, &mut packed).unwrap();
                (packed, Rounder::new(OTHER.0, OTHER.1).round_slice(&mut numbers))
            }
            _ => (places.iter().flat_map(|&at| i32::from(bytes[at]).to_ne_bytes()).collect(), Counts::default()),
        };
        assert_eq!(found, expected, "{name}: {axes:?} {offsets:?}");
        assert_eq!(counts, expected_counts, "{name}: {axes:?} {offsets:?}");
    }
    assert!(ways.len() == 3 && ways.values().all(|&count| count > 10), "{ways:?}");
}

/// Tiles read and write whole sectors, where single elements would touch one each.
#[test]
fn a_transposition_touches_each_sector_once() {
    let (rows, columns) = (96, 64);
    let axes =
        [MoveAxis { size: columns, from: 1, to: rows as i64 }, MoveAxis { size: rows, from: columns as i64, to: 1 }];
    let launches = moved(&axes, [0, 0]).unwrap();
    let of = launches[0].kernel(Elements::Fp32, Epilogue::FP32);
    assert_eq!(of.way, Way::Tiles);
    let mut module = Module::compile(&file(&[of.kernel("turned")])).unwrap();
    let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 1, seed: 1, records_traffic: true };
    let mut memory = Memory::default();
    let bytes = vec![1; rows * columns * 4];
    let addresses = [memory.put(&bytes), memory.reserve(bytes.len())];
    let arguments = packed(&launches[0].arguments(addresses, 0));
    let call = Launch {
        kernel: "turned",
        blocks: launches[0].blocks(),
        threads: 256,
        shared: of.shared(),
        arguments: &arguments,
    };
    let outcome = launch(&mut module, &mut memory, &call, &machine).unwrap();
    assert!(outcome.faults.is_empty(), "{}", outcome.faults[0]);
    // Four sectors hold what a warp reads or writes at once; a pass through the banks does for one.
    for (place, traffic) in &outcome.traffic {
        let is_shared = place.contains("shared") || traffic.units == traffic.requests;
        assert!(is_shared || traffic.units == 4 * traffic.requests, "{place}: {traffic:?}");
    }
    let units: u64 = outcome.traffic.values().map(|traffic| traffic.units).sum();
    let warps = rows * columns / 32;
    assert_eq!(units, 2 * 4 * warps as u64 + 2 * warps as u64);
}
