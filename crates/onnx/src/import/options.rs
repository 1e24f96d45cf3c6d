//! What a user says about a file that is read.

use crate::dropout::Dropout;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The options of reading a file.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Folders into which links to external data may lead beside the model's own.
    pub folders: Vec<PathBuf>,
    /// The output that is trained; needed where a file has several.
    pub output: Option<String>,
    /// The output that is the network's loss, which may be a mean over the batch; the others stay outputs of the graph behind it.
    pub loss: Option<String>,
    /// The sizes of variable dimensions other than the batch, by name.
    pub sizes: BTreeMap<String, usize>,
    /// The shapes of arrays of data, by input (`x` for an only one): they bind the sizes that are left.
    pub arrays: BTreeMap<String, Vec<usize>>,
    /// The examples of a batch, for networks that cannot take any number of them.
    pub batch: Option<usize>,
    /// Which dropout the network trains with.
    pub dropout: Dropout,
}
