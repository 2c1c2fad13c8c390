//! The whole daemon from outside: processes, ports, sockets, disk.

mod support;

mod outage;
mod refusals;
mod shutdown;
