//! Who this gateway is towards the broker: a certificate that it asks for and renews by itself.
//!
//! ```text
//!  token ─▶ enrol ─┐
//!                  ├▶ pending key ─▶ certificate server (EST) ─▶ next ─▶ CONNACK? ─▶ current
//!  2/3 of life ────┘                                              └── no: current stays, event
//! ```
//!
//! A key is used for one certificate only. It is in the folder, or in a token, where it is destroyed when another is in
//! use. The new certificate must win a CONNACK before the old one goes.
//! An expired certificate is not the end: readings are collected as before, the certificate server is still
//! asked, and a person can enrol the gateway again with a new token.

pub mod ask;
pub mod est;
pub mod folder;
pub mod gate;
pub mod keeper;
pub mod name;
pub mod renewal;
