//! The radio in memory: the link of one device, whose peripheral lives on the clock of the runtime.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::gatt::Attempt;
use super::peripheral::{Millis, Peripheral};
use crate::link::{Link, LinkCommand, LinkError, LinkEvent};

/// A peripheral that its link and the ward hold.
#[derive(Clone)]
pub(super) struct Air {
    peripheral: Arc<Mutex<Peripheral>>,
    began: Instant,
}

impl Air {
    pub(super) fn new(peripheral: Peripheral, began: Instant) -> Self {
        Self { peripheral: Arc::new(Mutex::new(peripheral)), began }
    }

    /// The peripheral as it is now.
    pub(super) fn at_now(&self) -> MutexGuard<'_, Peripheral> {
        let mut peripheral = self.peripheral.lock().unwrap_or_else(PoisonError::into_inner);
        peripheral.advance(Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX));
        peripheral
    }

    /// Waits until then; a millisecond at least, so that a wait always ends in another moment.
    async fn until(&self, at: Millis) {
        let now = Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX);
        tokio::time::sleep(Duration::from_millis(at.saturating_sub(now).clamp(1, 60_000))).await;
    }
}

/// The gateway's side.
pub(super) struct AirLink(pub(super) Air);

impl Link for AirLink {
    async fn open(&mut self) -> Result<(), LinkError> {
        loop {
            let attempt = self.0.at_now().attempt();
            match attempt {
                Attempt::Wait(at) => self.0.until(at).await,
                Attempt::Until(at, false) => {
                    self.0.until(at).await;
                    let what = self.0.at_now().kind.name.to_owned();
                    let reason = "le-connection-abort-by-local".to_owned();
                    return Err(LinkError::Lost { what, reason });
                }
                Attempt::Until(at, true) => {
                    self.0.until(at).await;
                    return self.0.at_now().connect();
                }
            }
        }
    }

    async fn next(&mut self) -> LinkEvent {
        loop {
            let due = {
                let mut peripheral = self.0.at_now();
                if let Some(event) = peripheral.next() {
                    return event;
                }
                if peripheral.link.is_none() {
                    return LinkEvent::Down(LinkError::HungUp);
                }
                peripheral.due()
            };
            self.0.until(due).await;
        }
    }

    async fn perform(&mut self, command: LinkCommand) -> Result<(), LinkError> {
        let mut peripheral = self.0.at_now();
        if peripheral.link.is_none() && !matches!(command, LinkCommand::HangUp) {
            // What was still on its way is told by `next`, and the end of it.
            return Ok(());
        }
        match command {
            LinkCommand::Read(of) => peripheral.read(of),
            LinkCommand::Subscribe(to) => peripheral.subscribe(to),
            LinkCommand::Write(write) => peripheral.write(write.to(), write.octets()),
            LinkCommand::HangUp => peripheral.disconnect(),
            LinkCommand::Send(id) | LinkCommand::Fill(id, _) => return Err(LinkError::NotAllowed(id)),
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.0.at_now().disconnect();
    }
}

/// A session that is cut off lets go.
impl Drop for AirLink {
    fn drop(&mut self) {
        self.0.at_now().disconnect();
    }
}
