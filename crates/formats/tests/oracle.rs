//! The paper's formats round bit for bit as the authors' code does (`../shared/oracle/rounding.npz`).

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bitbudget_formats::{Format, Overflow, Rounder, pack_u8, pack_u16, round_slice, unpack_u8, unpack_u16};

const NAMES: [&str; 6] = ["FP_4_3_4", "FP_5_2_0", "FP_6_9_0", "FP_8_7_0", "FP_5_10_0", "FP_4_3_0"];

fn array(archive: &mut zip::ZipArchive<File>, name: &str) -> Vec<f32> {
    let mut bytes = Vec::new();
    archive.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
    npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap()
}

#[test]
fn the_papers_formats_round_as_the_authors_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/rounding.npz");
    let Ok(file) = File::open(&path) else {
        eprintln!("skipped: {} is absent", path.display());
        return;
    };
    let mut archive = zip::ZipArchive::new(file).unwrap();
    for name in NAMES {
        let fields: Vec<i32> = name[3..].split('_').map(|field| field.parse().unwrap()).collect();
        let format = Format::custom(fields[0] as u32, fields[1] as u32, fields[2]).unwrap();
        let inputs = array(&mut archive, &format!("{name}_in"));
        assert!(inputs.len() > 1000);
        for (overflow, suffix) in [(Overflow::Saturate, "saturate"), (Overflow::NotFinite, "inf")] {
            // Two accidents of the authors' code are not followed: NaN becomes a number, and 8 exponent bits never
            // saturate.
            let outputs = array(&mut archive, &format!("{name}_{suffix}"));
            let expected: Vec<u32> = std::iter::zip(&inputs, outputs)
                .map(|(x, y)| match overflow {
                    _ if x.is_nan() => f32::NAN,
                    Overflow::Saturate if y.is_infinite() => format.max_finite().copysign(*x),
                    _ => y,
                })
                .map(f32::to_bits)
                .collect();
            let rounder = Rounder::new(format, overflow);
            for (x, y) in std::iter::zip(&inputs, &expected) {
                let rounded = rounder.round(*x);
                assert_eq!(rounded.to_bits(), *y, "{format} {overflow:?}: {x:e} gave {rounded:e}");
            }
            let mut rounded = inputs.clone();
            round_slice(format, overflow, &mut rounded);
            assert!(std::iter::zip(&rounded, &expected).all(|(x, y)| x.to_bits() == *y));

            let mut unpacked = vec![0.0; inputs.len()];
            if format.bytes() == 1 {
                let mut codes = vec![0; inputs.len()];
                pack_u8(format, overflow, &inputs, &mut codes).unwrap();
                unpack_u8(format, &codes, &mut unpacked).unwrap();
            } else {
                let mut codes = vec![0; inputs.len()];
                pack_u16(format, overflow, &inputs, &mut codes).unwrap();
                unpack_u16(format, &codes, &mut unpacked).unwrap();
            }
            for (x, y) in std::iter::zip(unpacked, expected) {
                let y = f32::from_bits(y);
                assert!(x.to_bits() == y.to_bits() || x.is_nan() && y.is_infinite(), "{format}: {x:e}, {y:e}");
            }
        }
    }
}
