//! Ports of the loopback for programs that cannot choose one themselves.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that Linux gives to connections by itself (`net.ipv4.ip_local_port_range`, from 32768), so that none takes
/// it before it is listened at.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that nobody listens at, and that this process is not given again soon. Processes begin at different ones.
pub fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(u64::from(std::process::id()) * 97 % u64::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (own + next) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port on the loopback"))
}

#[cfg(test)]
mod tests {
    use super::free_port;

    #[test]
    fn a_port_is_given_once_and_can_be_listened_at() {
        let first = free_port().unwrap();
        let second = free_port().unwrap();
        assert_ne!(first, second);
        let listener = std::net::TcpListener::bind(("127.0.0.1", first)).unwrap();
        assert_eq!(listener.local_addr().unwrap().port(), first);
    }
}
