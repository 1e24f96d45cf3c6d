//! Kernels, compiled by the host's C compiler.

use crate::hooks::{Hooks, Identity};
use bitbudget_cuda::HEADERS;
use libloading::Library;
use std::ffi::c_void;
use std::io;
use std::path::Path;
use std::process::Command;

/// The name that faults call the file of kernels by.
const SOURCE: &str = "kernels.c";

/// Compiled kernels.
#[derive(Debug)]
pub struct Module {
    library: Library,
    /// The folder of the library, which goes with it.
    _folder: tempfile::TempDir,
}

/// Why kernels cannot be compiled or run.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// A file cannot be written, or the compiler not be started.
    #[error("cannot run the C compiler `{compiler}`: {source}")]
    Compiler {
        /// Its name.
        compiler: String,
        /// Why not.
        source: io::Error,
    },
    /// The compiler refuses the source.
    #[error("the C compiler refuses the kernels:\n{0}")]
    Source(String),
    /// The library lacks a kernel or what belongs to one.
    #[error(transparent)]
    Library(#[from] libloading::Error),
    /// The threads of a block are other ones than the kernel was written for, or the arguments have another size.
    #[error("{0}")]
    Launch(String),
}

/// A kernel's function; it reads its arguments from the address.
pub(crate) type Kernel = unsafe extern "C" fn(*const c_void);

impl Module {
    /// Compiles a file of kernels, which may include the headers of crate `cuda`.
    ///
    /// # Errors
    /// If the compiler cannot be started, or refuses them.
    pub fn compile(source: &str) -> Result<Module, ModuleError> {
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let fault = |source| ModuleError::Compiler { compiler: compiler.clone(), source };
        let folder = tempfile::tempdir().map_err(fault)?;
        for (name, text) in HEADERS.iter().chain(&[(SOURCE, source)]) {
            std::fs::write(folder.path().join(name), text).map_err(fault)?;
        }
        let library = folder.path().join("kernels.so");
        let flags = ["-std=gnu11", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"];
        // The same bits as on the device: nothing is contracted or reordered.
        let exact = [
            "-ffp-contract=off",
            "-fno-fast-math",
            "-Wno-unused-parameter",
            "-Wno-unknown-pragmas",
            "-Wno-misleading-indentation",
        ];
        let output = Command::new(&compiler)
            .current_dir(folder.path())
            .args(flags)
            .args(exact)
            .args(["-x", "c", SOURCE, "-o"])
            .arg(&library)
            .arg("-lm")
            .output()
            .map_err(fault)?;
        match output.status.success() {
            true => Module::load(&library, folder),
            false => Err(ModuleError::Source(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    fn load(library: &Path, folder: tempfile::TempDir) -> Result<Module, ModuleError> {
        // SAFETY: the library was just compiled from kernels, which do nothing when they are loaded.
        let library = unsafe { Library::new(library) }?;
        Ok(Module { library, _folder: folder })
    }

    /// A kernel, if a launch of so many threads and bytes of arguments fits it.
    pub(crate) fn kernel(&self, name: &str, threads: u32, arguments: usize) -> Result<Kernel, ModuleError> {
        let (wanted, bytes) = (self.number(&format!("{name}_threads"))?, self.number(&format!("{name}_arguments"))?);
        if threads != wanted || !threads.is_multiple_of(32) {
            return Err(ModuleError::Launch(format!("{name} takes blocks of {wanted} threads, not of {threads}")));
        }
        if arguments != bytes as usize {
            return Err(ModuleError::Launch(format!("{name} takes {bytes} bytes of arguments, not {arguments}")));
        }
        // SAFETY: `KERNEL` of machine.h defines functions of this type.
        Ok(unsafe { *self.library.get::<Kernel>(name.as_bytes())? })
    }

    fn number(&self, name: &str) -> Result<u32, ModuleError> {
        // SAFETY: `KERNEL` of machine.h defines constants of this type beside each kernel.
        Ok(unsafe { **self.library.get::<*const u32>(name.as_bytes())? })
    }

    /// Connects the kernels with the emulator; what is returned tells them which thread they are.
    pub(crate) fn connect(&mut self, hooks: &'static Hooks) -> Result<*mut Identity, ModuleError> {
        // SAFETY: machine.h defines a pointer to hooks of this name, which nothing reads at the moment.
        unsafe { **self.library.get::<*mut *const Hooks>(b"emulator")? = hooks };
        // SAFETY: machine.h defines an identity of this name.
        Ok(unsafe { *self.library.get::<*mut Identity>(b"self")? })
    }
}
