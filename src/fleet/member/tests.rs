//! A member with a real folder, by simulated time.
