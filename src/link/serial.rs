//! A serial port as a [`Link`]: the only file that names tokio-serial.
//!
//! In: a path, the line's settings, the model's allow set. Out: bytes, and the end of the line with
//! its reason. The path is looked up again at every open, so a `/dev/serial/by-path` name leads to
//! wherever the kernel has put the adapter this time.
//!
//! What can go wrong: the port is absent, may not be opened, is in use, goes away. Each is told with
//! the way out. Two names may lead to one port (two adapters without a serial number have one `by-id` name,
//! and the link points at whichever came last): the lock refuses the second, which then names the first. What never happens: a byte outside the allow set is written; a port that hung up
//! keeps its descriptor (the kernel would give a returning adapter another number); what was
//! received before `open` is passed on; a write that nobody takes blocks for ever.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio_serial::{ClearBuffer, DataBits, FlowControl, SerialPort, SerialStream, StopBits};

use super::{AllowSet, Line, Link, LinkCommand, LinkError, LinkEvent, Parity, RequestId};

/// The most bytes that one event carries. At 115,200 baud the kernel collects this much in 90 ms.
const READ_AT_ONCE: usize = 1024;

/// How long a request may take to leave. The longest request of any model, at the slowest rate in
/// use (1,200 baud), takes a quarter of a second; after this the adapter is stuck.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

/// One serial port.
#[derive(Debug)]
pub struct SerialLink {
    port: PathBuf,
    line: Line,
    allow: AllowSet,
    /// Every port of this gateway.
    ports: watch::Receiver<Arc<[PathBuf]>>,
    stream: Option<SerialStream>,
    ended: LinkError,
}

impl SerialLink {
    /// A closed link to a port; nothing is touched until `open`.
    pub fn new(port: PathBuf, line: Line, allow: AllowSet) -> Self {
        Self {
            port,
            line,
            allow,
            ports: watch::channel(Arc::default()).1,
            stream: None,
            ended: LinkError::HungUp,
        }
    }

    /// Among all ports of the gateway as they are when it is opened, so that a port which another of them
    /// leads to is named.
    #[must_use]
    pub fn among(mut self, ports: watch::Receiver<Arc<[PathBuf]>>) -> Self {
        self.ports = ports;
        self
    }

    /// Whether the port is open at the moment.
    pub const fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    async fn send(&mut self, id: RequestId, command: LinkCommand) -> Result<(), LinkError> {
        let Some(frame) = self.allow.frame(command) else {
            return Err(LinkError::NotAllowed(id));
        };
        let Some(stream) = &mut self.stream else {
            return Err(self.ended.clone());
        };
        let reason = match tokio::time::timeout(WRITE_LIMIT, stream.write_all(&frame)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took no bytes for {} s", WRITE_LIMIT.as_secs()),
        };
        Err(self.lose(reason))
    }

    /// Closes the descriptor, if it is open.
    fn release(&mut self) {
        if let Some(stream) = self.stream.take() {
            // Without this the kernel may hold `close` for 30 s to send what an adapter will not take.
            // On a port that is gone it fails, and there is nothing left to throw away.
            drop(stream.clear(ClearBuffer::Output));
        }
    }

    /// Closes the descriptor and remembers why.
    fn lose(&mut self, reason: String) -> LinkError {
        self.release();
        self.ended = LinkError::Lost { what: shown(&self.port), reason };
        self.ended.clone()
    }
}

impl Link for SerialLink {
    async fn open(&mut self) -> Result<(), LinkError> {
        self.release();
        let ports = Arc::clone(&self.ports.borrow());
        let opened = open_port(&self.port, self.line, &ports);
        match opened {
            Ok(stream) => {
                self.stream = Some(stream);
                Ok(())
            }
            Err(error) => {
                self.ended = error.clone();
                Err(error)
            }
        }
    }

    async fn next(&mut self) -> LinkEvent {
        let Some(stream) = &mut self.stream else {
            return LinkEvent::Down(self.ended.clone());
        };
        let mut buffer = [0; READ_AT_ONCE];
        // Cancel-safe: `read` takes bytes out of the kernel only when it is ready to return them.
        let reason = match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                return LinkEvent::Bytes(Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default()));
            }
            // Raw mode returns at least one byte; none at all is the kernel's word for a hang-up.
            Ok(_) => "the port hung up: unplugged, or its other end closed".to_owned(),
            Err(error) => error.to_string(),
        };
        LinkEvent::Down(self.lose(reason))
    }

    async fn perform(&mut self, command: LinkCommand) -> Result<(), LinkError> {
        match command {
            LinkCommand::Send(id) | LinkCommand::Fill(id, _) => self.send(id, command).await,
            LinkCommand::HangUp => {
                self.close().await;
                Ok(())
            }
            LinkCommand::Write(write) => Err(LinkError::Denied {
                what: format!("characteristic {:?}", write.to()),
                reason: format!("{} is a serial line: it has none", self.port.display()),
            }),
            LinkCommand::Read(what) | LinkCommand::Subscribe(what) => Err(LinkError::Denied {
                what: format!("characteristic {what:?}"),
                reason: format!("{} is a serial line: it has none", self.port.display()),
            }),
        }
    }

    async fn close(&mut self) {
        self.release();
        self.ended = LinkError::HungUp;
    }
}

fn open_port(port: &Path, line: Line, ports: &[PathBuf]) -> Result<SerialStream, LinkError> {
    let data_bits = match line.data_bits {
        7 => DataBits::Seven,
        8 => DataBits::Eight,
        other => return Err(denied(port, format!("{other} data bits cannot be set: use 7 or 8"))),
    };
    let stop_bits = match line.stop_bits {
        1 => StopBits::One,
        2 => StopBits::Two,
        other => return Err(denied(port, format!("{other} stop bits cannot be set: use 1 or 2"))),
    };
    let parity = match line.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let builder = tokio_serial::new(port.to_string_lossy(), line.baud)
        .data_bits(data_bits)
        .stop_bits(stop_bits)
        .parity(parity)
        .flow_control(FlowControl::None);
    // Exclusive: TIOCEXCL and flock(2). The one alone does not stop root, the other not a program without it.
    let stream = SerialStream::open(&builder).map_err(|error| explain(port, ports, &error))?;
    // What was received before is of another conversation: a reply to it would be taken for one to us.
    stream.clear(ClearBuffer::Input).map_err(|error| explain(port, ports, &error))?;
    Ok(stream)
}

/// Says what an error of opening means and what to do about it.
fn explain(port: &Path, ports: &[PathBuf], error: &tokio_serial::Error) -> LinkError {
    use std::io::ErrorKind as Io;
    let absent = LinkError::Absent { what: shown(port) };
    match error.kind() {
        tokio_serial::ErrorKind::Io(Io::NotFound) => absent,
        tokio_serial::ErrorKind::Io(Io::PermissionDenied) => denied(port, way_in(port)),
        // The crate's word for EBUSY and for a lock that another process holds.
        tokio_serial::ErrorKind::NoDevice | tokio_serial::ErrorKind::Io(Io::WouldBlock) => {
            denied(port, in_use(port, ports))
        }
        tokio_serial::ErrorKind::InvalidInput
        | tokio_serial::ErrorKind::Unknown
        | tokio_serial::ErrorKind::Io(_) => {
            let text = error.to_string();
            // ENXIO and ENODEV come without a kind: a node whose hardware is gone.
            if text.starts_with("No such device") {
                absent
            } else if text.starts_with("Not a typewriter") || text.starts_with("Inappropriate ioctl") {
                denied(port, "it is not a serial port: check `port`".to_owned())
            } else {
                LinkError::Lost { what: shown(port), reason: text }
            }
        }
    }
}

/// Who has the port open: this gateway by another name of it, or another program.
fn in_use(port: &Path, ports: &[PathBuf]) -> String {
    match ports.iter().find(|other| other.as_path() != port && is_same(port, other)) {
        Some(other) => format!(
            "it leads to the same port as {}, which is open: names below by-id are not unique where adapters \
             have no serial number; name both ports below /dev/serial/by-path",
            other.display()
        ),
        None => "another program has it open: `fuser` names it; ModemManager is told by a udev rule with \
                 ENV{ID_MM_DEVICE_IGNORE}=\"1\""
            .to_owned(),
    }
}

/// Whether two paths lead to one character device.
fn is_same(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        found.file_type().is_char_device().then(|| found.rdev())
    };
    device(one).is_some_and(|one| device(other) == Some(one))
}

/// Who may open the port, and how to become one of them.
fn way_in(port: &Path) -> String {
    let group = std::fs::metadata(port).ok().map(|meta| {
        let gid = meta.gid();
        group_name(&std::fs::read_to_string("/etc/group").unwrap_or_default(), gid)
            .unwrap_or_else(|| gid.to_string())
    });
    let group = group.as_deref().unwrap_or("dialout");
    format!(
        "permission denied: run wardline in the group `{group}` (`SupplementaryGroups={group}` in its \
         unit), or give the port to wardline by a udev rule with GROUP=\"wardline\", MODE=\"0660\""
    )
}

/// The name of a group in the text of `/etc/group`.
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

fn denied(port: &Path, reason: String) -> LinkError {
    LinkError::Denied { what: shown(port), reason }
}

fn shown(port: &Path) -> String {
    port.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::link::{Characteristic, Request};
    use tokio_serial::SerialPortBuilderExt;

    const LINE: Line = Line { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 };
    const ALLOW: AllowSet = AllowSet::new(&[Request::fixed("HELLO", b"hello\r")]);

    fn link(path: &str, line: Line) -> SerialLink {
        SerialLink::new(PathBuf::from(path), line, ALLOW)
    }

    #[tokio::test]
    async fn an_absent_port_says_so() {
        let error = link("/dev/serial/by-path/none", LINE).open().await.unwrap_err();
        assert_eq!(error.to_string(), "/dev/serial/by-path/none is not there");
    }

    #[tokio::test]
    async fn a_file_that_is_no_port_says_so() {
        let error = link("/dev/null", LINE).open().await.unwrap_err();
        assert!(error.to_string().contains("is not a serial port"), "{error}");
    }

    #[tokio::test]
    async fn settings_that_no_port_has_say_so() {
        let nine = Line { data_bits: 9, ..LINE };
        let error = link("/dev/null", nine).open().await.unwrap_err();
        assert!(error.to_string().contains("use 7 or 8"), "{error}");
        let three = Line { stop_bits: 3, ..LINE };
        let error = link("/dev/null", three).open().await.unwrap_err();
        assert!(error.to_string().contains("use 1 or 2"), "{error}");
    }

    #[test]
    fn a_refused_port_names_the_group_and_the_rule() {
        let refused = tokio_serial::Error::new(
            tokio_serial::ErrorKind::Io(std::io::ErrorKind::PermissionDenied),
            "Permission denied",
        );
        let text = explain(Path::new("/dev/null"), &[], &refused).to_string();
        assert!(text.contains("SupplementaryGroups=root") && text.contains("udev rule"), "{text}");
        assert_eq!(group_name("root:x:0:\ndialout:x:20:anna\n", 20).as_deref(), Some("dialout"));
        assert_eq!(group_name("root:x:0:\nbroken\n", 20), None);
    }

    #[tokio::test]
    async fn a_port_in_use_says_so() {
        let (_master, slave) = SerialStream::pair().unwrap();
        let path = slave.name().unwrap();
        drop(slave);
        let _other = tokio_serial::new(&path, 9_600).open_native_async().unwrap();
        let error = link(&path, LINE).open().await.unwrap_err();
        assert!(error.to_string().contains("another program has it open"), "{error}");
    }

    #[tokio::test]
    async fn two_names_of_one_port_are_both_named() {
        let (_master, slave) = SerialStream::pair().unwrap();
        let tty = slave.name().unwrap();
        drop(slave);
        let folder = tempfile::tempdir().unwrap();
        let [first, second, third] = ["by-path", "by-id", "other"].map(|name| folder.path().join(name));
        symlink(&tty, &first).unwrap();
        symlink(&tty, &second).unwrap();
        symlink("/dev/null", &third).unwrap();
        let ports: Arc<[PathBuf]> = vec![third, first.clone(), second.clone(), "/dev/absent".into()].into();
        let (_keep, ports) = watch::channel(ports);
        let among = |port: &Path| SerialLink::new(port.to_owned(), LINE, ALLOW).among(ports.clone());
        let (mut one, mut other) = (among(&first), among(&second));
        one.open().await.unwrap();
        let error = other.open().await.unwrap_err().to_string();
        let both = format!(
            "{} may not be opened: it leads to the same port as {}",
            second.display(),
            first.display()
        );
        assert!(error.starts_with(&both), "{error}");
        assert!(one.is_open() && !other.is_open());
        // The first is not harmed by the try, and the port is free when it is closed.
        one.perform(LinkCommand::Send(RequestId(0))).await.unwrap();
        one.close().await;
        other.open().await.unwrap();
        let error = one.open().await.unwrap_err().to_string();
        assert!(error.contains(&format!("the same port as {}", second.display())), "{error}");
    }

    #[tokio::test]
    async fn an_adapter_that_comes_back_under_another_number_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let stable = folder.path().join("by-path");
        let (mut before, slave) = SerialStream::pair().unwrap();
        let old = slave.name().unwrap();
        drop(slave);
        symlink(&old, &stable).unwrap();
        let mut link = SerialLink::new(stable.clone(), LINE, ALLOW);
        link.open().await.unwrap();
        before.write_all(b"before").await.unwrap();
        assert_eq!(link.next().await, LinkEvent::Bytes(Bytes::from_static(b"before")));
        // Pulled out: udev takes the name away, the kernel hangs the port up.
        std::fs::remove_file(&stable).unwrap();
        drop(before);
        assert!(matches!(link.next().await, LinkEvent::Down(LinkError::Lost { .. })));
        assert!(!link.is_open(), "or the kernel could not give the number to the next one");
        assert_eq!(link.open().await, Err(LinkError::Absent { what: stable.display().to_string() }));
        // Back, under another number: the old one is taken.
        let (_hold, holder) = SerialStream::pair().unwrap();
        let (mut after, slave) = SerialStream::pair().unwrap();
        let new = slave.name().unwrap();
        drop((slave, holder));
        assert_ne!(new, old);
        symlink(&new, &stable).unwrap();
        link.open().await.unwrap();
        after.write_all(b"after").await.unwrap();
        assert_eq!(link.next().await, LinkEvent::Bytes(Bytes::from_static(b"after")));
        assert_eq!(descriptors_of(&new), 1);
    }

    #[tokio::test]
    async fn a_name_that_now_leads_elsewhere_is_followed_at_the_next_open_only() {
        let folder = tempfile::tempdir().unwrap();
        let stable = folder.path().join("by-id");
        let (mut first, one) = SerialStream::pair().unwrap();
        let (mut second, two) = SerialStream::pair().unwrap();
        let [first_tty, second_tty] = [one, two].map(|slave| slave.name().unwrap());
        symlink(&first_tty, &stable).unwrap();
        let mut link = SerialLink::new(stable.clone(), LINE, ALLOW);
        link.open().await.unwrap();
        // A second adapter of the same name comes: udev moves the link.
        std::fs::remove_file(&stable).unwrap();
        symlink(&second_tty, &stable).unwrap();
        first.write_all(b"first").await.unwrap();
        assert_eq!(link.next().await, LinkEvent::Bytes(Bytes::from_static(b"first")));
        link.close().await;
        link.open().await.unwrap();
        second.write_all(b"second").await.unwrap();
        assert_eq!(link.next().await, LinkEvent::Bytes(Bytes::from_static(b"second")));
        assert_eq!(descriptors_of(&first_tty), 0);
    }

    #[tokio::test]
    async fn every_setting_in_use_opens_on_a_pty_again_and_again() {
        let (_master, slave) = SerialStream::pair().unwrap();
        let path = slave.name().unwrap();
        drop(slave);
        for (data_bits, parity, stop_bits) in
            [(8, Parity::None, 1), (7, Parity::Even, 1), (8, Parity::Even, 2), (8, Parity::Odd, 1)]
        {
            let mut link = link(&path, Line { baud: 38_400, data_bits, parity, stop_bits });
            link.open().await.unwrap();
            assert!(link.is_open());
            link.close().await;
        }
    }

    #[tokio::test]
    async fn only_the_allow_set_is_written_and_ble_commands_are_errors() {
        let (mut master, slave) = SerialStream::pair().unwrap();
        let path = slave.name().unwrap();
        drop(slave);
        let mut link = link(&path, LINE);
        link.open().await.unwrap();
        let other = RequestId(1);
        assert_eq!(link.perform(LinkCommand::Send(other)).await, Err(LinkError::NotAllowed(other)));
        let characteristic = Characteristic { service: 0x180D, uuid: 0x2A37 };
        assert!(link.perform(LinkCommand::Read(characteristic)).await.is_err());
        assert!(link.perform(LinkCommand::Subscribe(characteristic)).await.is_err());
        link.perform(LinkCommand::Send(RequestId(0))).await.unwrap();
        let mut seen = [0; 64];
        let count = master.read(&mut seen).await.unwrap();
        assert_eq!(&seen[..count], b"hello\r");
    }

    #[tokio::test]
    async fn what_came_before_the_port_was_opened_is_not_passed_on() {
        let (mut master, slave) = SerialStream::pair().unwrap();
        let path = slave.name().unwrap();
        drop(slave);
        let mut link = link(&path, LINE);
        link.open().await.unwrap();
        link.close().await;
        master.write_all(b"stale").await.unwrap();
        link.open().await.unwrap();
        master.write_all(b"fresh").await.unwrap();
        assert_eq!(link.next().await, LinkEvent::Bytes(Bytes::from_static(b"fresh")));
    }

    #[tokio::test]
    async fn a_wait_that_is_called_off_loses_nothing() {
        let (mut master, slave) = SerialStream::pair().unwrap();
        let path = slave.name().unwrap();
        drop(slave);
        let mut link = link(&path, LINE);
        link.open().await.unwrap();
        let mut heard = Vec::new();
        for number in 0..200_u8 {
            master.write_all(&[number]).await.unwrap();
            // Ready at once or not at all: most of these waits are called off.
            let hurried = tokio::time::timeout(Duration::ZERO, link.next()).await;
            if let Ok(LinkEvent::Bytes(bytes)) = hurried {
                heard.extend_from_slice(&bytes);
            }
        }
        while heard.len() < 200 {
            let LinkEvent::Bytes(bytes) = link.next().await else { panic!("the line went down") };
            heard.extend_from_slice(&bytes);
        }
        assert_eq!(heard, (0..200).collect::<Vec<u8>>());
    }

    #[tokio::test]
    async fn the_end_of_the_line_is_told_and_closes_the_descriptor() {
        let (master, slave) = SerialStream::pair().unwrap();
        let path = slave.name().unwrap();
        drop(slave);
        let mut link = link(&path, LINE);
        link.open().await.unwrap();
        let open_before = descriptors_of(&path);
        assert_eq!(open_before, 1);
        drop(master);
        let event = link.next().await;
        assert!(matches!(&event, LinkEvent::Down(LinkError::Lost { .. })), "{event:?}");
        assert!(!link.is_open());
        assert_eq!(descriptors_of(&path), 0);
        assert_eq!(link.next().await, event, "a closed link tells its end again, it does not hang");
        assert!(link.perform(LinkCommand::Send(RequestId(0))).await.is_err());
    }

    #[tokio::test]
    async fn a_write_that_nobody_takes_ends() {
        static LONG: [u8; 1 << 20] = [0; 1 << 20];
        static FLOOD: [Request; 1] = [Request::fixed("FLOOD", &LONG)];
        let (_master, slave) = SerialStream::pair().unwrap();
        let path = slave.name().unwrap();
        drop(slave);
        let mut link = SerialLink::new(PathBuf::from(path), LINE, AllowSet::new(&FLOOD));
        link.open().await.unwrap();
        let error = link.perform(LinkCommand::Send(RequestId(0))).await.unwrap_err();
        assert!(error.to_string().contains("took no bytes for 2 s"), "{error}");
        assert!(!link.is_open());
    }

    /// How many descriptors of this process lead to a path.
    fn descriptors_of(path: &str) -> usize {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| {
                target == Path::new(path) || target.to_string_lossy().starts_with(&format!("{path} "))
            })
            .count()
    }
}
