//! Compiles the CUDA kernels: with feature `cuda` to PTX, with feature `host-kernels` (for tests) as C for this machine.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=cuda");
    #[cfg(feature = "cuda")]
    ptx()?;
    #[cfg(feature = "host-kernels")]
    host();
    Ok(())
}

#[cfg(any(feature = "cuda", feature = "host-kernels"))]
const FILES: [&str; 3] = ["round", "conv", "pool"];

/// PTX runs on every GPU of its generation and of later ones: the driver compiles it for the one at hand.
#[cfg(feature = "cuda")]
fn ptx() -> Result<(), Box<dyn Error>> {
    use std::path::Path;
    use std::process::Command;

    for variable in ["CUDA_HOME", "CUDA_COMPUTE_CAP", "PATH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let in_home = std::env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin").join("nvcc"));
    let nvcc = in_home.filter(|nvcc| nvcc.exists()).unwrap_or_else(|| "nvcc".into());
    let capability = std::env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "75".into()).replace('.', "");
    let out = std::env::var("OUT_DIR")?;
    for name in FILES {
        let status = Command::new(&nvcc)
            .args(["-ptx", "-O3", &format!("-arch=compute_{capability}"), &format!("cuda/{name}.cu")])
            .args(["-o", &format!("{out}/{name}.ptx")])
            .status()
            .map_err(|e| {
                format!(
                    "cannot run the CUDA compiler `{}`: {e}; feature `cuda` needs the CUDA toolkit: put its nvcc on \
                     the PATH or set CUDA_HOME to its folder, or build without that feature",
                    nvcc.display()
                )
            })?;
        if !status.success() {
            return Err(format!("{} could not compile cuda/{name}.cu: {status}", nvcc.display()).into());
        }
    }
    Ok(())
}

#[cfg(feature = "host-kernels")]
fn host() {
    let mut build = cc::Build::new();
    for name in FILES {
        build.file(format!("cuda/{name}.cu"));
    }
    // Contraction would give other bits than the definition of rounding does.
    build.flag("-xc").flag("-ffp-contract=off").std("c11").extra_warnings(true).compile("bitbudget_host_kernels");
}
