//! stub

pub mod atomic_file;
