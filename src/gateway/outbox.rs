//! Events on their way to the intake, which may be slow: kept in their order, never waited for, never lost.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::policy::event::Event;

/// Events for which there was no room yet.
pub(super) struct Outbox {
    events: mpsc::Sender<Event>,
    waiting: VecDeque<Event>,
}

impl Outbox {
    pub(super) const fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events, waiting: VecDeque::new() }
    }

    /// Puts them behind the others.
    pub(super) fn extend(&mut self, events: impl IntoIterator<Item = Event>) {
        self.waiting.extend(events);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands over those for which there is room.
    pub(super) fn send(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            // Where nobody takes it any more it was not told: the next run tells it.
            if let Err(TrySendError::Full(event) | TrySendError::Closed(event)) = self.events.try_send(event)
            {
                self.waiting.push_front(event);
                return;
            }
        }
    }

    /// Waits until there is room for one, and hands that over. Never, where none waits or nobody takes it any more.
    /// Cancel-safe.
    pub(super) async fn make_room(&mut self) {
        if !self.waiting.is_empty()
            && let Ok(room) = self.events.reserve().await
        {
            if let Some(event) = self.waiting.pop_front() {
                room.send(event);
            }
            return;
        }
        std::future::pending::<()>().await;
    }
}
