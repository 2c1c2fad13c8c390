//! Operations that fail.

use rustix::io::Errno;

use super::record::Kind;

/// What a failing operation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// `ENOSPC`: the disk is full.
    NoSpace,
    /// `EIO`: the disk failed.
    Broken,
}

impl Trouble {
    /// Both.
    pub const ALL: [Self; 2] = [Self::NoSpace, Self::Broken];

    /// The system's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSpace => "ENOSPC",
            Self::Broken => "EIO",
        }
    }

    pub(super) const fn errno(self) -> Errno {
        match self {
            Self::NoSpace => Errno::NOSPC,
            Self::Broken => Errno::IO,
        }
    }
}

/// Which operations fail. Opening what is there never fails for want of space; everything else may, as
/// a file system that writes copies needs space even to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How many operations are let through first.
    pub after: u64,
    /// How many fail then.
    pub times: u64,
    /// With what.
    pub trouble: Trouble,
    /// The first write that fails does half of its work before.
    pub short: bool,
}

/// What is to be done with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Pass,
    Fail(Errno),
    /// The first half of a write is done, and the next one fails.
    Half,
}

/// Counts operations and lets those fail whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Faults {
    fault: Option<Fault>,
    /// Operations since the fault was set, of those that it can hit.
    pub(super) seen: u64,
    /// How many failed.
    pub(super) fired: u64,
    /// Everything fails.
    pub(super) is_frozen: bool,
    /// After so many operations everything fails.
    pub(super) freezes_in: Option<u64>,
}

impl Faults {
    pub(super) fn set(&mut self, fault: Option<Fault>) {
        let Self { is_frozen, freezes_in, .. } = *self;
        *self = Self { fault, is_frozen, freezes_in, ..Self::default() };
    }

    pub(super) fn turn(&mut self, kind: Kind) -> Turn {
        match &mut self.freezes_in {
            Some(0) => self.is_frozen = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if self.is_frozen {
            return Turn::Fail(Errno::IO);
        }
        let place = self.seen;
        let is_for_space = self.fault.is_some_and(|fault| fault.trouble == Trouble::NoSpace);
        if is_for_space && kind == Kind::Open {
            return Turn::Pass;
        }
        self.seen += 1;
        let Some(fault) = &mut self.fault else { return Turn::Pass };
        if place < fault.after || place >= fault.after.saturating_add(fault.times) {
            return Turn::Pass;
        }
        if fault.short && kind == Kind::Write {
            fault.short = false;
            // The rest of the write comes as a call of its own, and that one fails.
            fault.times = fault.times.saturating_add(1);
            return Turn::Half;
        }
        self.fired += 1;
        Turn::Fail(fault.trouble.errno())
    }
}
