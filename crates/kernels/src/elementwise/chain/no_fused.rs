//! No chain runs in registers on these processors.

use std::convert::Infallible;
use std::marker::PhantomData;

use bitbudget_formats::Counts;

use super::part::PlannedPart;
use super::plan::{Plan, Values};
use crate::tensors::elements::{ResultStorage, SharedOutput, Storage};
use crate::tensors::tile::{Tile, Tiles};

/// There is none.
#[derive(Clone)]
pub(super) struct Fused(Infallible);

/// There is none.
pub(super) struct BoundFused<'a>(Infallible, PhantomData<&'a ()>);

/// How the tensors of a chain are stored.
pub(super) struct Storages<'s> {
    pub(super) tensors: &'s [Storage],
    pub(super) outputs: &'s [ResultStorage],
}

impl Fused {
    pub(super) fn new(_: &Tiles, _: &[PlannedPart], storages: Storages<'_>) -> Option<Self> {
        let Storages { tensors: _, outputs: _ } = storages;
        None
    }

    pub(super) fn read(_: &Tiles, _: &[PlannedPart], _: &[Storage]) -> Option<Self> {
        None
    }

    pub(super) fn bind<'a>(&self, _: &Values<'a>, _: &[SharedOutput]) -> Option<BoundFused<'a>> {
        match self.0 {}
    }
}

impl BoundFused<'_> {
    pub(super) fn run(&self, _: &Plan, _: &Values<'_>, _: &[SharedOutput], _: Tile, _: &mut [Counts]) -> usize {
        match self.0 {}
    }

    pub(super) fn unpack(&self, _: &Plan, _: &Values<'_>, _: Tile, _: &mut [f32]) {
        match self.0 {}
    }
}
