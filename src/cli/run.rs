//! `wardline run`: the daemon.

use std::sync::Arc;

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Folder, out};
use crate::config::{Loaded, Membership, Problems};
use crate::fleet::member::boot::{self, Boot, boot};
use crate::fleet::member::{Effective, Load};
use crate::fleet::trust::Recipient;
use crate::gateway::{self, Fleet, GatewayError};
use crate::host::clock::SystemClock;
use crate::host::{log, process};

/// Run the daemon until it is told to stop.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    folder: Folder,
    /// The lab's: the machine counts as started so many seconds earlier than it was.
    #[cfg(feature = "lab")]
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 0)]
    lab_started_earlier: u32,
}

impl Run {
    /// Loads the configuration and runs the gateway with it until it is told to stop.
    pub(super) fn run(&self) -> Result<(), Failure> {
        run(&self.folder, self.clock())
    }

    #[cfg(feature = "lab")]
    fn clock(&self) -> SystemClock {
        SystemClock::started_earlier(std::time::Duration::from_secs(self.lab_started_earlier.into()))
    }

    #[cfg(not(feature = "lab"))]
    #[expect(clippy::unused_self, reason = "it has no more to say than its folder")]
    fn clock(&self) -> SystemClock {
        SystemClock::default()
    }
}

fn run(folder: &Folder, clock: SystemClock) -> Result<(), Failure> {
    let Begun { loaded, fleet, effective, remarks } =
        begin(folder).map_err(|problems| Failure::new(Exit::Config, problems))?;
    for note in &loaded.notes {
        out::remark(format_args!("note: {note}"));
    }
    log::start(loaded.config.log.filter());
    if let Some(warning) = process::swap_warning() {
        tracing::warn!("{warning}");
    }
    for remark in remarks {
        tracing::error!(fleet = remark, "found at the start");
    }
    let again = folder.clone();
    let reread = Arc::new(move || again.load_with(effective.pushed()?.as_ref()).map(|loaded| loaded.config));
    gateway::run(loaded.config, reread, fleet, Arc::new(clock))
        .map_err(|error| Failure::new(exit(&error), error))
}

/// What the daemon begins with.
struct Begun {
    loaded: Loaded,
    fleet: Option<Fleet>,
    /// What the fleet pushes, for whoever reads the files again.
    effective: Effective,
    remarks: Vec<String>,
}

/// The files, and what the fleet pushed where the gateway is in one.
fn begin(folder: &Folder) -> Result<Begun, Problems> {
    let Some(membership) = folder.membership() else {
        let (loaded, effective) = (folder.load()?, Effective::default());
        return Ok(Begun { loaded, fleet: None, effective, remarks: Vec::new() });
    };
    let Membership { folder: kept, organisation, gateway } = membership;
    let recipient = Recipient { organisation, gateway };
    let Boot { loaded, membership, remarks } = boot(&kept, recipient, |pushed| folder.load_with(pushed))?;
    let effective = match &membership {
        boot::Membership::Member(enrolled) => enrolled.effective(),
        boot::Membership::Locked(_) => Effective::default(),
    };
    let again = folder.clone();
    let load: Load = Arc::new(move |pushed| again.load_with(pushed));
    Ok(Begun { loaded, fleet: Some(Fleet { membership, load }), effective, remarks })
}

const fn exit(error: &GatewayError) -> Exit {
    match error {
        GatewayError::Key(error) if error.must_not_be_tried_again() => Exit::Pin,
        GatewayError::Key(_) => Exit::Keys,
        GatewayError::Store(_) => Exit::Store,
        GatewayError::Topic(_) => Exit::Config,
        GatewayError::Status(_)
        | GatewayError::Place(_)
        | GatewayError::System { .. }
        | GatewayError::Part { .. }
        | GatewayError::HalfWay(_)
        | GatewayError::Grace { .. } => Exit::Failed,
    }
}
