//! What the daemon listens on, as the kernel tells it.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use wardline::lab::sim::alaris;
use wardline::lab::stage;

use crate::support::{Bench, PATIENCE, within};

/// TCP in the state LISTEN, UDP that is bound and not connected (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";
/// `__SO_ACCEPTCON`: the flag of a Unix socket that listens (`include/uapi/linux/net.h`).
const ACCEPTS: u32 = 0x1_0000;

/// The sockets of a process.
#[derive(Debug, Default)]
struct Sockets {
    /// Those that anybody could reach over a network, as the kernel writes them.
    network: Vec<String>,
    /// The names of Unix sockets that listen.
    unix: Vec<String>,
    /// TCP connections.
    connections: usize,
    /// Sockets of another kind: raw, packet, Bluetooth.
    strange: BTreeSet<String>,
}

fn table(process: u32, name: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/net/{name}")).unwrap_or_default();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    text.lines().skip(1).map(words).collect()
}

fn sockets(process: u32) -> Sockets {
    let mut mine: BTreeSet<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|leads| Some(leads.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Sockets::default();
    // Its own lines begin with its place, its state is the fourth word and its inode the tenth.
    for (name, waits) in [("tcp", LISTEN), ("tcp6", LISTEN), ("udp", UNCONNECTED), ("udp6", UNCONNECTED)] {
        for line in table(process, name) {
            let [_, local, _, state, _, _, _, _, _, inode, ..] = &line[..] else {
                panic!("{name}: {line:?}")
            };
            if !mine.remove(inode) {
                continue;
            }
            if state == waits {
                found.network.push(format!("{name} {local}"));
            } else {
                found.connections += 1;
            }
        }
    }
    // Number, references, protocol, flags, type, state, inode, and a name where it has one.
    for line in table(process, "unix") {
        let [_, _, _, flags, _, _, inode, name @ ..] = &line[..] else { panic!("unix: {line:?}") };
        if mine.remove(inode) && u32::from_str_radix(flags, 16).unwrap() & ACCEPTS != 0 {
            found.unix.push(name.join(" "));
        }
    }
    found.strange = mine;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_at_work_listens_on_its_status_socket_and_on_nothing_else() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let pump = bench.pump("pump-1", "8002-51733", alaris::Values::default());
    bench.configure(&stage::serial_device("pump-1", "alaris-asena", &pump.path(), "8002-51733"));
    let mut daemon = bench.start();
    within("its readings", bench.consumer.wait_for(|ledger| ledger.records > 10)).await;
    let found = sockets(daemon.id());
    assert_eq!(found.network, [""; 0], "anybody may connect: {found:?}");
    assert_eq!(found.strange, BTreeSet::new(), "{found:?}");
    assert!(found.connections > 0, "the one to the broker: {found:?}");
    // The kernel knows it by the name that it was made under, before it was moved into place.
    let made = bench.path().join(format!(".status.sock.{}", daemon.id()));
    assert_eq!(found.unix.iter().map(Path::new).collect::<Vec<_>>(), [made], "{found:?}");
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

#[test]
fn a_listener_would_be_found() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.0.0.1:0")).unwrap();
    let found = sockets(std::process::id());
    for port in [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()] {
        let port = format!(":{port:04X}");
        assert!(found.network.iter().any(|one| one.ends_with(&port)), "{port}: {found:?}");
    }
}
