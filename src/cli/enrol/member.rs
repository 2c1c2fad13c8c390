//! Makes the gateway a member of its fleet: with the root that a person brought, and, where no clock tells what is
//! old, with a timestamp that came with it.

use std::path::Path;

use anyhow::anyhow;

use super::{Exit, Failure, out, own};
use crate::config::Config;
use crate::fleet::documents::{Document as _, Root, Timestamp};
use crate::fleet::folder::{Folder, FolderError};
use crate::fleet::trust::{Recipient, Trust};
use crate::host::atomic_file;
use crate::time::{ClockSync, Now};

/// The version of the root that the gateway trusts from now on, or has trusted before.
pub(super) fn enrol(
    config: &Config,
    root: &Path,
    timestamp: Option<&Path>,
    now: Now,
) -> Result<u64, Failure> {
    let path = config.fleet.as_ref().ok_or_else(|| {
        let error = anyhow!("fleet.folder is not set: it says where what the fleet signs is kept");
        Failure::new(Exit::Config, error)
    })?;
    own(path)?;
    let refused = |error: FolderError| Failure::new(Exit::Refused, error);
    let uplink = &config.uplink;
    let recipient =
        || Recipient { organisation: uplink.organisation.clone(), gateway: uplink.gateway.clone() };
    let bytes = atomic_file::read(root, Root::CAP)?;
    let stamp = timestamp.map(|file| atomic_file::read(file, Timestamp::CAP)).transpose()?;
    // Looked at before there is a folder: whoever brought the wrong file brings the right one and says it again.
    if let (Some(file), Some(stamp)) = (timestamp, &stamp)
        && let Ok(mut trust) = Trust::enrol(recipient(), uplink.group.clone(), &bytes)
    {
        vouched(&mut trust, file, stamp, now)?;
    }
    match Folder::enrol(path, recipient(), uplink.group.clone(), &bytes) {
        Ok((mut folder, mut trust)) => {
            if let (Some(file), Some(stamp)) = (timestamp, &stamp) {
                vouched(&mut trust, file, stamp, now)?;
                folder.see(trust.marks()).map_err(refused)?;
            }
            Ok(trust.root().version)
        }
        Err(FolderError::Enrolled(_)) => {
            let (_, trust) = Folder::open(path, recipient()).map_err(refused)?;
            let version = trust.root().version;
            let same = Trust::enrol(recipient(), uplink.group.clone(), &bytes)
                .is_ok_and(|other| other.root() == trust.root());
            if !same {
                out::remark(format_args!(
                    "{} was not taken: {} trusts root version {version} already",
                    root.display(),
                    path.display()
                ));
            }
            // Not put beside what a running daemon holds in memory. Who has heard nothing loses nothing with the folder.
            if let Some(file) = timestamp.filter(|_| trust.marks().timestamp() == 0) {
                out::remark(format_args!(
                    "{} was not taken: this gateway was enrolled without it; stop the daemon, remove {} and enrol it again",
                    file.display(),
                    path.display()
                ));
            }
            Ok(version)
        }
        Err(error) => Err(refused(error)),
    }
}

/// Takes a timestamp by the clock as it is, as the person who brought it has looked at that.
fn vouched(trust: &mut Trust, file: &Path, bytes: &[u8], now: Now) -> Result<(), Failure> {
    let now = Now { sync: ClockSync::Synced, ..now };
    match trust.timestamp_offered(bytes, &now) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(Failure::new(Exit::Refused, anyhow!("{}: {refusal}", file.display()))),
    }
}
