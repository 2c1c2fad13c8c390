//! A serial line in memory, for wards that live in simulated time: a pseudo-terminal moves its bytes in
//! the kernel's own time, which no paused clock waits for.
//!
//! A line is known by its path below [`FOLDER`]; a simulator started there makes the device's end, a
//! [`MemoryLink`] opens the host's. As on a wire, what is sent while nobody listens is lost.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::link::{AllowSet, Link, LinkCommand, LinkError, LinkEvent};

/// Lines below this path are in memory.
pub const FOLDER: &str = "/memory/";

/// The most pieces that one side has not taken yet; more is lost, as with a UART that nobody reads.
const HELD: usize = 4_096;

/// The lines whose device is there.
static LINES: Mutex<BTreeMap<PathBuf, HostEnd>> = Mutex::new(BTreeMap::new());

fn lines() -> MutexGuard<'static, BTreeMap<PathBuf, HostEnd>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the host finds at a path.
#[derive(Clone, Debug)]
struct HostEnd {
    to_device: mpsc::Sender<Bytes>,
    from_device: Arc<tokio::sync::Mutex<mpsc::Receiver<Bytes>>>,
    is_open: Arc<AtomicBool>,
}

/// The device's end; when it is dropped the host's hangs up and the path is gone.
#[derive(Debug)]
pub(super) struct DeviceEnd {
    path: PathBuf,
    to_host: mpsc::Sender<Bytes>,
    from_host: tokio::sync::Mutex<(mpsc::Receiver<Bytes>, Bytes)>,
    is_open: Arc<AtomicBool>,
}

impl DeviceEnd {
    pub(super) fn new(path: &Path) -> Self {
        let (to_host, from_device) = mpsc::channel(HELD);
        let (to_device, from_host) = mpsc::channel(HELD);
        let is_open = Arc::new(AtomicBool::new(false));
        let from_device = Arc::new(tokio::sync::Mutex::new(from_device));
        lines().insert(path.to_owned(), HostEnd { to_device, from_device, is_open: Arc::clone(&is_open) });
        let from_host = tokio::sync::Mutex::new((from_host, Bytes::new()));
        Self { path: path.to_owned(), to_host, from_host, is_open }
    }

    /// Waits for bytes from the host. Cancel-safe.
    pub(super) async fn get(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut from_host = self.from_host.lock().await;
        let (receiver, held) = &mut *from_host;
        while held.is_empty() {
            match receiver.recv().await {
                Some(bytes) => *held = bytes,
                // Another device has taken the path; this one hears nothing any more.
                None => std::future::pending().await,
            }
        }
        let count = held.len().min(buffer.len());
        let taken = held.split_to(count);
        buffer.iter_mut().zip(taken.iter()).for_each(|(place, byte)| *place = *byte);
        Ok(count)
    }

    /// Puts bytes on the line; false when nobody listens.
    pub(super) fn put(&self, bytes: &[u8]) -> bool {
        self.is_open.load(Ordering::Relaxed) && self.to_host.try_send(Bytes::copy_from_slice(bytes)).is_ok()
    }
}

impl Drop for DeviceEnd {
    fn drop(&mut self) {
        let mut lines = lines();
        if lines.get(&self.path).is_some_and(|end| Arc::ptr_eq(&end.is_open, &self.is_open)) {
            lines.remove(&self.path);
        }
    }
}

/// The host's side of a line in memory.
#[derive(Debug)]
pub struct MemoryLink {
    path: PathBuf,
    allow: AllowSet,
    end: Option<HostEnd>,
    ended: LinkError,
}

impl MemoryLink {
    /// A closed link to a line.
    pub const fn new(path: PathBuf, allow: AllowSet) -> Self {
        Self { path, allow, end: None, ended: LinkError::HungUp }
    }

    fn lose(&mut self) -> LinkError {
        self.release();
        let what = self.path.display().to_string();
        self.ended = LinkError::Lost { what, reason: "the line hung up".to_owned() };
        self.ended.clone()
    }

    fn release(&mut self) {
        if let Some(end) = self.end.take() {
            end.is_open.store(false, Ordering::Relaxed);
        }
    }
}

impl Link for MemoryLink {
    async fn open(&mut self) -> Result<(), LinkError> {
        self.release();
        let found = lines().get(&self.path).cloned();
        let Some(end) = found else {
            return Err(LinkError::Absent { what: self.path.display().to_string() });
        };
        let mut waiting = end.from_device.lock().await;
        // What was sent before is of another conversation.
        while waiting.try_recv().is_ok() {}
        end.is_open.store(true, Ordering::Relaxed);
        drop(waiting);
        self.end = Some(end);
        Ok(())
    }

    async fn next(&mut self) -> LinkEvent {
        let Some(end) = &self.end else { return LinkEvent::Down(self.ended.clone()) };
        let bytes = end.from_device.lock().await.recv().await;
        match bytes {
            Some(bytes) => LinkEvent::Bytes(bytes),
            None => LinkEvent::Down(self.lose()),
        }
    }

    async fn perform(&mut self, command: LinkCommand) -> Result<(), LinkError> {
        if command == LinkCommand::HangUp {
            self.close().await;
            return Ok(());
        }
        let (LinkCommand::Send(id) | LinkCommand::Fill(id, _)) = command else {
            let what = format!("{command:?}");
            return Err(LinkError::Denied { what, reason: "this is a serial line".to_owned() });
        };
        let Some(frame) = self.allow.frame(command) else { return Err(LinkError::NotAllowed(id)) };
        let Some(end) = &self.end else { return Err(self.ended.clone()) };
        let sent = end.to_device.try_send(Bytes::copy_from_slice(&frame));
        sent.map_err(|_| self.lose())
    }

    async fn close(&mut self) {
        self.release();
        self.ended = LinkError::HungUp;
    }
}
