//! The state of a run besides values: the number of updates and the loss scale.

/// How far values have been trained: what the next step reads beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// The updates that were made; Adam's bias corrections depend on their number.
    pub updates: u32,
    /// The dynamic loss scale, where the last run had one.
    pub loss_scale: Option<DynamicScale>,
}

/// A dynamic loss scale between two steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DynamicScale {
    /// The factor of the next step's loss.
    pub scale: f32,
    /// The steps since the scale changed last, all with finite gradients.
    pub clean_steps: u64,
}
