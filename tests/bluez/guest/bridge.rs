//! Carries HCI between a virtio-serial port of the guest and `/dev/vhci`.
//!
//! usage: bridge PORT. At the other end of the port is the virtual controller on the host. The port
//! is a stream of octets; `/dev/vhci` takes and gives one whole packet at a time, so what comes from
//! the host is cut into packets by their own headers (Bluetooth Core, Vol 4, Part A, 2: H4 packet
//! types; Part E, 5.4: headers). The controller is made when the host's end is connected and taken
//! away when it is not, as a stick that is plugged in and pulled out.
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::Duration;

/// `struct pollfd` of Linux.
#[repr(C)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

unsafe extern "C" {
    fn poll(fds: *mut PollFd, count: u64, timeout_ms: i32) -> i32;
}

const POLLIN: i16 = 0x0001;
const POLLHUP: i16 = 0x0010;

/// Vendor packet of vhci: make a primary controller (Linux, drivers/bluetooth/hci_vhci.c).
const MAKE_CONTROLLER: [u8; 2] = [0xFF, 0x00];

fn main() -> io::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| io::Error::other("usage: bridge PORT"))?;
    let mut port = OpenOptions::new().read(true).write(true).open(path)?;
    loop {
        while poll_for(&[&port], POLLIN, 0)?[0] & POLLHUP != 0 {
            // A port without a host end is always ready to say so: there is nothing to wait on.
            sleep(Duration::from_millis(20));
        }
        let mut controller = OpenOptions::new().read(true).write(true).open("/dev/vhci")?;
        controller.write_all(&MAKE_CONTROLLER)?;
        println!("bridge: controller made");
        let end = carry(&mut port, &mut controller);
        println!("bridge: controller taken away: {end:?}");
    }
}

/// Carries packets both ways until either end is gone.
fn carry(port: &mut File, controller: &mut File) -> io::Result<()> {
    let mut packet = vec![0; 1 + 4 + usize::from(u16::MAX)];
    loop {
        let ready = poll_for(&[port, controller], POLLIN, -1)?;
        if ready[1] & POLLIN != 0 {
            let length = controller.read(&mut packet)?;
            // The driver's own answer to MAKE_CONTROLLER is not HCI.
            if packet[0] != MAKE_CONTROLLER[0] {
                port.write_all(&packet[..length])?;
            }
        }
        if ready[0] & POLLIN != 0 {
            let length = read_packet(port, &mut packet)?;
            controller.write_all(&packet[..length])?;
        } else if ready[0] & POLLHUP != 0 {
            return Ok(());
        }
    }
}

/// Reads one H4 packet and gives its length: type, header, and as much as the header says.
fn read_packet(port: &mut File, packet: &mut [u8]) -> io::Result<usize> {
    port.read_exact(&mut packet[..1])?;
    let header = match packet[0] {
        // Command and synchronous data: two octets of opcode or handle, one of length.
        1 | 3 => 3,
        // Asynchronous and isochronous data: two octets of handle, two of length.
        2 | 5 => 4,
        // Event: code and length.
        4 => 2,
        other => return Err(io::Error::new(ErrorKind::InvalidData, format!("no H4 type {other:#04x}"))),
    };
    port.read_exact(&mut packet[1..1 + header])?;
    let length = match packet[0] {
        1 | 3 => usize::from(packet[3]),
        2 => usize::from(u16::from_le_bytes([packet[3], packet[4]])),
        5 => usize::from(u16::from_le_bytes([packet[3], packet[4]]) & 0x3FFF),
        _ => usize::from(packet[2]),
    };
    let end = 1 + header + length;
    port.read_exact(&mut packet[1 + header..end])?;
    Ok(end)
}

/// What is ready of each file.
fn poll_for(files: &[&File], events: i16, timeout_ms: i32) -> io::Result<Vec<i16>> {
    let mut fds: Vec<PollFd> =
        files.iter().map(|file| PollFd { fd: file.as_raw_fd(), events, revents: 0 }).collect();
    // SAFETY: `fds` outlives the call, which writes to `revents` of each of its elements only.
    if unsafe { poll(fds.as_mut_ptr(), fds.len() as u64, timeout_ms) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fds.iter().map(|fd| fd.revents).collect())
}
