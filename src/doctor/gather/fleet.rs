//! What is known of the fleet.

use crate::doctor::Unseen;
use crate::doctor::fleet::{Facts, Trusted};
use crate::fleet::member::boot::Kept;
use crate::fleet::topics::{Topic, What};
use crate::fleet::trust::Trust;
use crate::host::status::Snapshot;
use crate::time::{Now, Wall};
use crate::uplink::mqtt::Letters;

pub(super) fn facts(
    kept: Option<Result<Result<Kept, String>, Unseen>>,
    snapshot: Option<&Snapshot>,
    letters: &Letters,
    now: Now,
) -> Option<Facts> {
    let kept = kept?;
    let timestamp = match &kept {
        Ok(Ok(kept)) => timestamp(&kept.trust, letters, &now),
        Ok(Err(_)) | Err(_) => Err(Unseen::new("without a root no timestamp can be judged")),
    };
    let is_time_known =
        kept.as_ref().is_ok_and(|kept| kept.as_ref().is_ok_and(|kept| kept.trust.is_time_known(&now)));
    let trusted = kept.map(|kept| {
        kept.map(|Kept { trust, .. }| Trusted {
            group: trust.marks().group().to_owned(),
            root: trust.root().version,
            root_expires: trust.root().expires.0,
        })
    });
    Some(Facts {
        trusted,
        view: snapshot.and_then(|snapshot| snapshot.fleet.clone()),
        timestamp,
        is_time_known,
        now: now.wall,
    })
}

/// Judged by what is trusted; what is learned of it is forgotten again.
fn timestamp(trust: &Trust, letters: &Letters, now: &Now) -> Result<Result<Wall, String>, Unseen> {
    let is_timestamp =
        |topic: &str| Topic::read(topic).is_some_and(|topic| matches!(topic.what(), What::Timestamp { .. }));
    let (_, bytes) = letters.iter().find(|(topic, _)| is_timestamp(topic)).ok_or_else(|| {
        Unseen::with(
            "the broker gave no timestamp: it keeps none for this group, or lets this gateway not read it",
            "the operator: wardline-fleet publish; and the broker's access rules for topic c/v1/...",
        )
    })?;
    let judged = trust.clone().timestamp_offered(bytes, now);
    Ok(judged.map(|current| current.expires()).map_err(|refusal| refusal.to_string()))
}
