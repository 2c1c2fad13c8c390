//! stub

pub mod status;
