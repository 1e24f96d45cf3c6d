//! Who touched each byte last, and whether two accesses have an order between them.

/// How memory is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Read and written at once; two of them are never a race.
    Atomic,
}

/// A moment in a thread's life. Barriers of the block, and of the warp, part its accesses from those of other threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) block: u32,
    pub(crate) thread: u32,
    /// How many barriers the block has passed.
    pub(crate) block_epoch: u32,
    /// How many collective functions the warp has passed.
    pub(crate) warp_epoch: u32,
}

/// In the place of a number: of any lane of the warp, of any warp of the block, of any block.
const ANY: u32 = u32::MAX;

/// The last accesses of a byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Byte {
    written: Option<(Moment, bool)>,
    read: Option<Moment>,
    /// Whether something was written to it.
    is_known: bool,
}

impl Byte {
    /// A byte that holds a value before the kernel begins.
    pub(crate) const KNOWN: Byte = Byte { written: None, read: None, is_known: true };

    /// Whether something was written to it.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Nothing that happened until now matters for what comes.
    pub(crate) fn forget_accesses(&mut self) {
        (self.written, self.read) = (None, None);
    }

    /// A copy that is under way will write it.
    pub(crate) fn expect_copy(&mut self) {
        self.is_known = false;
    }

    /// Takes note of an access. An earlier one that has no order with it is a race: the other thread comes back.
    ///
    /// `ordered` says how many barriers of another block come before this moment.
    pub(crate) fn access(
        &mut self,
        now: Moment,
        access: Access,
        ordered: &dyn Fn(u32) -> u32,
    ) -> Result<(), (Moment, Access)> {
        let is_after = |then: &Moment| comes_before(then, &now, ordered);
        if let Some((then, is_atomic)) = &self.written
            && !is_after(then)
            && !(*is_atomic && access == Access::Atomic)
        {
            return Err((*then, Access::Write));
        }
        if access == Access::Read {
            self.read = Some(match self.read {
                Some(then) if !is_after(&then) => joined(then, now),
                _ => now,
            });
            return Ok(());
        }
        if let Some(then) = &self.read
            && !is_after(then)
        {
            return Err((*then, Access::Read));
        }
        (self.written, self.is_known) = (Some((now, access == Access::Atomic)), true);
        Ok(())
    }
}

/// The moment that stands for two readers.
fn joined(a: Moment, b: Moment) -> Moment {
    if a.block != b.block {
        return Moment { block: ANY, ..b };
    }
    Moment { thread: if a.thread == b.thread { a.thread } else { ANY }, ..b }
}

/// Whether the order of a kernel puts one moment before another.
fn comes_before(then: &Moment, now: &Moment, ordered: &dyn Fn(u32) -> u32) -> bool {
    if then.block == ANY {
        return false;
    }
    if then.block != now.block {
        return then.block_epoch < ordered(then.block);
    }
    then.block_epoch < now.block_epoch
        || then.thread == now.thread
        || then.thread != ANY && then.thread / 32 == now.thread / 32 && then.warp_epoch < now.warp_epoch
}
