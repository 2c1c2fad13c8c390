//! The composition root: the only file that names every stage and creates every channel.

pub mod intake;
pub mod pump;
pub mod sessions;
