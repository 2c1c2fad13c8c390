//! Looks at the daemon again and again, for whoever goes on looking. A daemon that does not answer holds nothing up: each
//! question waits on a thread of its own.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::exit::Failure;
use super::status::Asked;
use crate::host::status::Snapshot;
use crate::host::supervisor::blocking;

/// How often the daemon is looked at: a person sees a change soon, and the daemon does nothing else for a moment.
pub(crate) const EVERY: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug)]
pub(crate) enum Look {
    /// The daemon's answer, or why there is none.
    Answered(Result<Box<Snapshot>, String>),
    /// It has been asked and has not answered yet.
    Waits,
}

type Asking = Pin<Box<dyn Future<Output = Option<Result<Snapshot, Failure>>> + Send>>;

/// One who looks.
pub(crate) struct Lookout {
    asked: Asked,
    tick: Interval,
    asking: Option<Asking>,
}

impl Lookout {
    /// Within a runtime.
    pub(crate) fn new(asked: Asked) -> Self {
        let mut tick = interval(EVERY);
        // After a suspended machine or a slow daemon there is one look, not one for each that was missed.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { asked, tick, asking: None }
    }

    /// The next look, after [`EVERY`] at the latest. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Look {
        let asking = if let Some(asking) = &mut self.asking {
            asking
        } else {
            self.tick.tick().await;
            let asked = self.asked.clone();
            self.asking.insert(Box::pin(blocking(move || asked.ask())))
        };
        let answer = tokio::select! {
            biased;
            answer = asking => answer,
            _ = self.tick.tick() => return Look::Waits,
        };
        self.asking = None;
        Look::Answered(match answer {
            Some(Ok(snapshot)) => Ok(Box::new(snapshot)),
            Some(Err(Failure { error: Some(error), .. })) => Err(format!("{error:#}")),
            Some(Err(Failure { error: None, .. })) => Err("it does not answer".to_owned()),
            None => Err("asking it failed: a defect of this program".to_owned()),
        })
    }
}
