//! Looking into the store, taking data out of it and wiping it: the real binary on real stores.

#[cfg(test)]
#[path = "spool/export.rs"]
mod export;
#[cfg(test)]
mod left_out;
#[cfg(test)]
#[path = "spool/list.rs"]
mod list;
#[cfg(test)]
#[path = "spool/support.rs"]
mod support;
#[cfg(test)]
#[path = "spool/verify.rs"]
mod verify;
#[cfg(test)]
#[path = "spool/wipe.rs"]
mod wipe;
#[cfg(test)]
#[path = "spool/wipe_doubts.rs"]
mod wipe_doubts;
