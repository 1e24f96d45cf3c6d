//! The instruction sets that loops are compiled for.

use std::sync::OnceLock;

/// An instruction set that the loops are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// The instructions that every processor of the target has.
    Portable,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, VL and DQ, and POPCNT.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same and AVX-512 VBMI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vbmi,
}

impl Path {
    /// Every path of the target, the fastest first.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const ALL: [Path; 4] = [Path::Avx512Vbmi, Path::Avx512, Path::Avx2, Path::Portable];
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) const ALL: [Path; 1] = [Path::Portable];

    /// Whether this processor has the instructions.
    pub(crate) fn available(self) -> bool {
        // Short slices are many, and asking for the processor's flags one by one takes as long as they do.
        static FOUND: OnceLock<[bool; Path::ALL.len()]> = OnceLock::new();
        let find = || {
            let mut found = [false; Path::ALL.len()];
            Path::ALL.iter().for_each(|&path| found[path as usize] = path.is_there());
            found
        };
        FOUND.get_or_init(find)[self as usize]
    }

    fn is_there(self) -> bool {
        match self {
            Path::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Vbmi => Path::Avx512.is_there() && is_x86_feature_detected!("avx512vbmi"),
        }
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn is_avx512(self) -> bool {
        matches!(self, Path::Avx512 | Path::Avx512Vbmi)
    }

    /// The fastest path of this processor.
    pub(crate) fn best() -> Path {
        Path::ALL.into_iter().find(|path| path.available()).unwrap_or(Path::Portable)
    }
}
