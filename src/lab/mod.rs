//! The lab: simulators of the bedside, an embedded broker, a verifying consumer, the demo and the
//! benchmark. Behind the feature `lab`, never in a release package.

pub mod bluez;
pub mod numerics;
pub mod sim;
