//! Where data comes from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Dataset, Network, cifar, digits, mnist, npz, synthetic};
use crate::{Error, ErrorKind, Result};

/// Which data to load: `digits`, `mnist:DIR`, `cifar10:DIR`, `cifar100:DIR`, `npz:FILE`, `synthetic` or `synthetic:N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSpec {
    /// The embedded 8x8 digits.
    Digits,
    /// A folder of IDX files.
    Mnist(PathBuf),
    /// A folder of CIFAR-10 binary files, or the one that holds `cifar-10-batches-bin`.
    Cifar10(PathBuf),
    /// A folder of CIFAR-100 binary files, or the one that holds `cifar-100-binary`.
    Cifar100(PathBuf),
    /// A NumPy archive with `x` and `y`.
    Npz(PathBuf),
    /// Generated data with so many training examples.
    Synthetic(usize),
}

/// Training examples of `synthetic` without a number.
const SYNTHETIC_EXAMPLES: usize = 2048;

impl FromStr for DataSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let path = |what: &str| match rest {
            Some(rest) if !rest.is_empty() => Ok(PathBuf::from(rest)),
            _ => Err(invalid(format!("data `{text}` does not say where it is: write {name}:{what}"))),
        };
        match name {
            "digits" if rest.is_none() => Ok(DataSpec::Digits),
            "digits" => Err(invalid(format!("data `{text}`: digits are built in: write digits, without a place"))),
            "mnist" => Ok(DataSpec::Mnist(path("DIR")?)),
            "cifar10" => Ok(DataSpec::Cifar10(path("DIR")?)),
            "cifar100" => Ok(DataSpec::Cifar100(path("DIR")?)),
            "npz" => Ok(DataSpec::Npz(path("FILE")?)),
            "synthetic" => match rest.map(str::parse::<usize>) {
                None => Ok(DataSpec::Synthetic(SYNTHETIC_EXAMPLES)),
                Some(Ok(examples)) if examples > 0 => Ok(DataSpec::Synthetic(examples)),
                Some(_) => Err(invalid(format!(
                    "data `{text}`: N of synthetic:N must be a number of examples, from 1 to {}",
                    usize::MAX
                ))),
            },
            _ => Err(invalid(format!(
                "unknown data `{text}`: write digits, mnist:DIR, cifar10:DIR, cifar100:DIR, npz:FILE or synthetic[:N]"
            ))),
        }
    }
}

impl DataSpec {
    /// The files that are read for this; none for what is built in or generated.
    ///
    /// # Errors
    /// `NotFound` if they are not there.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        match self {
            DataSpec::Digits | DataSpec::Synthetic(_) => Ok(Vec::new()),
            DataSpec::Mnist(folder) => Ok(mnist::files(folder)),
            DataSpec::Cifar10(folder) => cifar::files10(folder),
            DataSpec::Cifar100(folder) => cifar::files100(folder),
            DataSpec::Npz(file) => Ok(vec![file.clone()]),
        }
    }

    /// Bytes that generated data for a network take; nothing for data that are read.
    pub fn generated_bytes(&self, network: &Network) -> Option<usize> {
        match self {
            DataSpec::Synthetic(examples) => Some(synthetic::bytes(*examples, &network.shape, network.classes)),
            DataSpec::Digits | DataSpec::Mnist(_) | DataSpec::Cifar10(_) | DataSpec::Cifar100(_) | DataSpec::Npz(_) => {
                None
            }
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataSpec::Digits => f.write_str("digits"),
            DataSpec::Mnist(path) => write!(f, "mnist:{}", path.display()),
            DataSpec::Cifar10(path) => write!(f, "cifar10:{}", path.display()),
            DataSpec::Cifar100(path) => write!(f, "cifar100:{}", path.display()),
            DataSpec::Npz(path) => write!(f, "npz:{}", path.display()),
            DataSpec::Synthetic(examples) => write!(f, "synthetic:{examples}"),
        }
    }
}

/// Loads data in its own shape; [`fit`](super::fit) then makes it fit a network.
///
/// The network says what synthetic data is generated for, and which labels of an npz file there can be; `seed` is that of
/// synthetic data. Examples with the label `ignored` are left out, with a note. Images are normalised by the mean and standard deviation per channel of the training images, except
/// those of an npz file.
///
/// # Errors
/// `NotFound` for missing files, `Corrupt` for files that are damaged or of another format, `Mismatch` where images and
/// labels disagree, `Unsupported` for number types and compressions that are not handled.
pub fn load(spec: &DataSpec, network: &Network, seed: u64, ignored: Option<i32>) -> Result<Dataset> {
    let mut dataset = match spec {
        DataSpec::Digits => digits::load(),
        DataSpec::Mnist(folder) => mnist::load(folder),
        DataSpec::Cifar10(folder) => cifar::load10(folder),
        DataSpec::Cifar100(folder) => cifar::load100(folder),
        DataSpec::Npz(file) => npz::load(file, network, ignored),
        DataSpec::Synthetic(examples) => synthetic::generate(*examples, &network.shape, network.classes, seed),
    }?;
    if let Some(class) = ignored.filter(|_| !matches!(spec, DataSpec::Npz(_))) {
        u32::try_from(class).into_iter().for_each(|class| dataset.leave_out(class, &class.to_string()));
    }
    dataset.check()?;
    Ok(dataset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_round_trip() {
        for text in ["digits", "mnist:a/b", "cifar10:d", "cifar100:d:e", "npz:f.npz", "synthetic:7"] {
            assert_eq!(text.parse::<DataSpec>().unwrap().to_string(), text);
        }
        assert_eq!("synthetic".parse(), Ok(DataSpec::Synthetic(SYNTHETIC_EXAMPLES)));
    }

    #[test]
    fn files_are_those_that_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for name in ["train-images-idx3-ubyte.gz", "train-labels.idx1-ubyte", "readme.txt", "train.bin"] {
            std::fs::write(place(name), "").unwrap();
        }
        let path = folder.path().to_path_buf();
        let mnist = DataSpec::Mnist(path.clone()).files().unwrap();
        assert_eq!(mnist, [place("train-images-idx3-ubyte.gz"), place("train-labels.idx1-ubyte")]);
        assert_eq!(DataSpec::Cifar100(path.clone()).files().unwrap(), [place("train.bin")]);
        assert_eq!(DataSpec::Cifar10(path).files().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(DataSpec::Npz("a.npz".into()).files(), Ok(vec!["a.npz".into()]));
        assert_eq!(DataSpec::Digits.files(), Ok(Vec::new()));
    }

    #[test]
    fn wrong_specifications_say_what_to_write() {
        for (text, expected) in [
            ("mnist", "write mnist:DIR"),
            ("npz:", "write npz:FILE"),
            ("digits:x", "write digits"),
            ("synthetic:0", "from 1 to 18446744073709551615"),
            ("synthetic:many", "from 1 to"),
            ("synthetic:18446744073709551616", "from 1 to"),
            ("imagenet", "unknown data `imagenet`"),
        ] {
            let error = text.parse::<DataSpec>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
