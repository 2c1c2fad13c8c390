//! A line whose other end stands in for a serial port: a pseudo-terminal, or one in memory.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use tokio::io::unix::AsyncFd;

use super::wire::{self, DeviceEnd};

/// The device's end of a line.
#[derive(Debug)]
pub(super) enum Pty {
    /// A pseudo-terminal.
    Real(RealPty),
    /// A line in memory.
    Memory(DeviceEnd, PathBuf),
}

impl Pty {
    /// Makes the line, and points the stable path at it, if one is given.
    pub(super) fn open(link: Option<&Path>) -> io::Result<Self> {
        match link {
            Some(link) if link.starts_with(wire::FOLDER) => {
                Ok(Self::Memory(DeviceEnd::new(link), link.to_owned()))
            }
            _ => Ok(Self::Real(RealPty::open(link)?)),
        }
    }

    /// Whether its bytes move in real time.
    pub(super) const fn is_real(&self) -> bool {
        matches!(self, Self::Real(_))
    }

    /// Where the host finds it.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Real(pty) => &pty.path,
            Self::Memory(_, path) => path,
        }
    }

    /// Waits for bytes from the host. Cancel-safe.
    pub(super) async fn get(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Real(pty) => pty.get(buffer).await,
            Self::Memory(end, _) => end.get(buffer).await,
        }
    }

    /// Puts bytes on the line. What the line does not take is lost, as with a UART that nobody
    /// reads; then it is false.
    pub(super) fn put(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Real(pty) => pty.put(bytes),
            Self::Memory(end, _) => bytes.is_empty() || end.put(bytes),
        }
    }
}

/// A pseudo-terminal's other end. When it is dropped the host's end hangs up, and the stable path is gone.
#[derive(Debug)]
pub(super) struct RealPty {
    device: AsyncFd<OwnedFd>,
    /// Held open so that the device's end does not see an error whenever no host is there.
    _host: OwnedFd,
    path: PathBuf,
    link: Option<PathBuf>,
    target: PathBuf,
}

impl RealPty {
    /// Makes a pty, raw, and points the stable path at it, if one is given.
    fn open(link: Option<&Path>) -> io::Result<Self> {
        let device = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&device)?;
        rustix::pty::unlockpt(&device)?;
        rustix::io::ioctl_fionbio(&device, true)?;
        let name = rustix::pty::ptsname(&device, Vec::new())?;
        let target = PathBuf::from(name.to_string_lossy().into_owned());
        let host = rustix::fs::open(&target, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let mut settings = rustix::termios::tcgetattr(&host)?;
        settings.make_raw();
        rustix::termios::tcsetattr(&host, OptionalActions::Now, &settings)?;
        let path = match link {
            None => target.clone(),
            Some(link) => {
                repoint(link, &target)?;
                link.to_owned()
            }
        };
        let link = link.map(Path::to_owned);
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd keeps the promise that it asks for"
        )]
        let device = AsyncFd::new(device)?;
        Ok(Self { device, _host: host, path, link, target })
    }

    async fn get(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.device.readable().await?;
            match ready.try_io(|device| Ok(rustix::io::read(device, &mut *buffer)?)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    fn put(&self, bytes: &[u8]) -> bool {
        bytes.is_empty() || rustix::io::write(self.device.get_ref(), bytes) == Ok(bytes.len())
    }
}

impl Drop for RealPty {
    fn drop(&mut self) {
        if let Some(link) = &self.link
            && std::fs::read_link(link).is_ok_and(|target| target == self.target)
        {
            // A path that is gone already is what was wanted.
            drop(std::fs::remove_file(link));
        }
    }
}

/// Points a symbolic link somewhere else in one step, as udev does. What is no such link is not replaced: it may be a
/// real port.
fn repoint(link: &Path, target: &Path) -> io::Result<()> {
    if link.symlink_metadata().is_ok_and(|at| !at.is_symlink()) {
        let words =
            format!("{} is there and is no symbolic link: give the path of one to be made", link.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, words));
    }
    let fresh = link.with_extension("new");
    if fresh.symlink_metadata().is_ok() {
        std::fs::remove_file(&fresh)?;
    }
    std::os::unix::fs::symlink(target, &fresh)?;
    std::fs::rename(&fresh, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_link_is_not_replaced_and_a_link_is() {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("ttyUSB0");
        crate::host::atomic_file::write(&port, b"a real port").unwrap();
        let refused = repoint(&port, Path::new("/dev/pts/0")).unwrap_err().to_string();
        assert!(refused.contains("ttyUSB0") && refused.contains("no symbolic link"), "{refused}");
        assert_eq!(std::fs::read_to_string(&port).unwrap(), "a real port");
        let link = folder.path().join("pump");
        for target in ["/dev/pts/0", "/dev/pts/1"] {
            repoint(&link, Path::new(target)).unwrap();
            assert_eq!(std::fs::read_link(&link).unwrap(), Path::new(target));
        }
    }
}
