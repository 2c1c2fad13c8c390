//! The impure rim: the only clock sampler, the only place that starts tasks and threads, the only
//! writer of files, what keeps the process's memory to itself, and what speaks with the service
//! manager.

pub mod atomic_file;
pub mod audit;
pub mod clock;
pub mod credential;
pub mod heartbeat;
pub mod lock;
pub mod log;
pub mod machine;
pub mod notify;
pub mod process;
pub mod random;
pub mod status;
pub mod supervisor;
