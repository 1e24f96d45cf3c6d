//! NVIDIA's compiler: from kernels to the code of one architecture, which is kept in files.

use bitbudget_cuda::{DriverError, HEADERS, Kernel, file};
use candle_core::cuda_backend::cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};
use std::ffi::{CString, c_char};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Nothing is contracted or flushed to zero, so that results are those of the CPU.
const OPTIONS: [&str; 4] = ["--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true"];

/// Kernels that are compiled together.
const TOGETHER: usize = 8;

/// More threads take memory, and gain little.
const THREADS: usize = 8;

/// The folder of compiled kernels, if it is not the user's cache folder; empty for none.
const FOLDER: &str = "BITBUDGET_KERNEL_CACHE";

/// Kernels with their code.
pub(super) type Compiled<'k> = (Vec<&'k Kernel>, Vec<u8>);

#[derive(Debug)]
pub(super) struct Compiler {
    options: Vec<String>,
    /// The compiler's version, which decides the code too.
    version: String,
    folder: Option<PathBuf>,
}

impl Compiler {
    pub(super) fn new((major, minor): (i32, i32)) -> Result<Compiler, DriverError> {
        let options = OPTIONS.iter().map(ToString::to_string).chain([format!("--gpu-architecture=sm_{major}{minor}")]);
        let (mut first, mut second) = (0, 0);
        // SAFETY: both are numbers that the function writes.
        unsafe { sys::nvrtcVersion(&raw mut first, &raw mut second) }.result().map_err(failed)?;
        Ok(Compiler { options: options.collect(), version: format!("{first}.{second}"), folder: folder() })
    }

    /// The code of kernels, some at a time.
    pub(super) fn compile<'k>(&self, kernels: &[&'k Kernel]) -> Result<Vec<Compiled<'k>>, DriverError> {
        let batches: Vec<&[&Kernel]> = kernels.chunks(TOGETHER).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let mut codes = Vec::with_capacity(batches.len());
        for some in batches.chunks(threads) {
            let compiled: Vec<Result<Vec<u8>, DriverError>> = std::thread::scope(|scope| {
                let started: Vec<_> = some.iter().map(|batch| scope.spawn(|| self.code(batch))).collect();
                let ended = started.into_iter().map(|thread| thread.join());
                ended
                    .map(|code| code.unwrap_or_else(|_| Err(DriverError::Compiler("a thread panicked".into()))))
                    .collect()
            });
            for (batch, code) in some.iter().zip(compiled) {
                codes.push((batch.to_vec(), code?));
            }
        }
        Ok(codes)
    }

    /// The code of kernels, from its file if there is one.
    fn code(&self, kernels: &[&Kernel]) -> Result<Vec<u8>, DriverError> {
        let kernels: Vec<Kernel> = kernels.iter().map(|&kernel| kernel.clone()).collect();
        let source = file(&kernels);
        let path = self.folder.as_ref().map(|folder| folder.join(format!("{}.cubin", self.key(&source))));
        if let Some(code) = path.as_ref().and_then(|path| read(path)) {
            return Ok(code);
        }
        let code = self.compiled(&source)?;
        if let Some(path) = path {
            // Without a file the next run compiles again.
            let _ = written(&path, &code);
        }
        Ok(code)
    }

    /// What decides the code.
    fn key(&self, source: &str) -> String {
        let mut hasher = Sha256::new();
        let texts = self.options.iter().map(String::as_str).chain([self.version.as_str(), source]);
        for text in texts.chain(HEADERS.iter().map(|(_, text)| *text)) {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        hex(&hasher.finalize())
    }

    fn compiled(&self, source: &str) -> Result<Vec<u8>, DriverError> {
        let source = text(source)?;
        let names = HEADERS.iter().map(|(name, _)| text(name)).collect::<Result<Vec<CString>, _>>()?;
        let texts = HEADERS.iter().map(|(_, header)| text(header)).collect::<Result<Vec<CString>, _>>()?;
        let [names, texts] = [&names, &texts].map(|all| all.iter().map(|text| text.as_ptr()).collect::<Vec<_>>());
        let mut program = Program(std::ptr::null_mut());
        let count = i32::try_from(names.len()).unwrap_or(i32::MAX);
        // SAFETY: all texts end with a zero and live until the program is destroyed, at the end of this function.
        unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program.0,
                source.as_ptr(),
                c"kernels.cu".as_ptr(),
                count,
                texts.as_ptr(),
                names.as_ptr(),
            )
        }
        .result()
        .map_err(failed)?;
        // SAFETY: the program was created above.
        if let Err(error) = unsafe { result::compile_program(program.0, &self.options) } {
            // SAFETY: as above.
            let log = unsafe { result::get_program_log(program.0) }.unwrap_or_default();
            let log: String =
                log.into_iter().map(|c: c_char| char::from(c.cast_unsigned())).filter(|&c| c != '\0').collect();
            return Err(DriverError::Compiler(format!("{error:?}\n{log}")));
        }
        let mut bytes = 0;
        // SAFETY: the program is compiled; the function writes a number.
        unsafe { sys::nvrtcGetCUBINSize(program.0, &raw mut bytes) }.result().map_err(failed)?;
        let mut code = vec![0u8; bytes];
        // SAFETY: so many bytes are written.
        unsafe { sys::nvrtcGetCUBIN(program.0, code.as_mut_ptr().cast()) }.result().map_err(failed)?;
        Ok(code)
    }
}

/// A program of the compiler's, which is destroyed with it.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it was created and is used by nobody else. What cannot be destroyed stays in memory.
            let _ = unsafe { result::destroy_program(self.0) };
        }
    }
}

fn text(text: &str) -> Result<CString, DriverError> {
    CString::new(text).map_err(|e| DriverError::Compiler(e.to_string()))
}

fn failed(error: result::NvrtcError) -> DriverError {
    DriverError::Compiler(format!("{error:?}"))
}

/// The folder of compiled kernels.
fn folder() -> Option<PathBuf> {
    match std::env::var_os(FOLDER) {
        Some(folder) => Some(PathBuf::from(folder)).filter(|folder| !folder.as_os_str().is_empty()),
        None => {
            let of_home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(of_home)?;
            Some(cache.join("bitbudget").join("kernels"))
        }
    }
}

/// The code in a file; nothing if it is not whole.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(path).ok()?;
    let begin = bytes.len().checked_sub(32)?;
    let code = bytes.get(..begin)?;
    let is_whole = Sha256::digest(code).as_slice() == bytes.get(begin..)?;
    bytes.truncate(begin);
    is_whole.then_some(bytes)
}

/// Writes code and its hash to a file, which is there as a whole or not at all.
fn written(path: &Path, code: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(code)?;
    file.write_all(&Sha256::digest(code))?;
    file.persist(path).map(drop).map_err(|e| e.error)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
