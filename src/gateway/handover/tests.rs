//! Sessions that end in their time, and some that never do.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::config::{Config, Device};
use crate::gateway::change::tests::{config, device};
use crate::gateway::change::{Plan, groups, swaps};
use crate::gateway::roster::tests::ward;
use crate::host::supervisor::Supervisor;
use crate::store::StoreId;

/// What happened, in order: how long after the begin a session ended or one of this name could begin.
type Steps = Vec<(Duration, Vec<String>, Vec<String>)>;

/// The same device as another asset: another entry.
fn other(device: Device) -> Device {
    Device { asset: "other".to_owned(), ..device }
}

/// At the port of another.
fn at(mut device: Device, port: &str) -> Device {
    if let crate::config::Connection::Serial { port: own, .. } = &mut device.connection {
        *own = port.into();
    }
    device
}

/// Carries the change out where the session of each device ends after so long; the others never end by
/// themselves.
#[expect(clippy::disallowed_methods, reason = "the time of the test")]
async fn carried_out(old: &Config, new: &Config, ends: &[(&str, Duration)]) -> Steps {
    let plan = Plan::between(old, new);
    let (_folder, ward) = ward();
    let folder = tempfile::tempdir().unwrap();
    let mut roster = Roster::default();
    roster.seat(&groups(old), &ward).unwrap();
    let mut supervisor = Supervisor::new();
    let stoppers = plan.stops().map(|id| {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let after = ends.iter().find(|(name, _)| *name == id).map(|(_, after)| *after);
        let leash = supervisor.restarting("session", Duration::ZERO, move || {
            let mut stopped = stopped.clone();
            async move {
                stopped.wait_for(|stop| *stop).await.unwrap();
                match after {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            }
        });
        Stopper::new(id, stop, leash)
    });
    let stoppers = stoppers.collect();
    let (intake, mut changes) = mpsc::channel::<Ordered>(1);
    supervisor.task("intake", async move {
        let mut next = None;
        while let Some(Ordered { change: Change { first, listed, .. }, done }) = changes.recv().await {
            if !listed.is_empty() {
                assert!(next.is_none_or(|next| next == first.0), "a place is passed over");
                next = Some(first.0 + u16::try_from(listed.len()).unwrap());
            }
            done.send(Ok(())).unwrap();
        }
        Ok(())
    });
    let (steps, mut came) = mpsc::channel(4);
    let starts = plan.starts();
    let coming =
        groups(new).into_iter().filter_map(|group| Some((*starts.get(group.id())?, group))).collect();
    let notebooks = Shelf::new(folder.path().join("records"), StoreId([1; 16]));
    let handover = Handover { roster, ward: Some(ward), groups: coming, intake, notebooks, steps };
    let begun = Instant::now();
    let run = handover.run(swaps(&plan, (old, new), std::path::Path::to_owned), stoppers);
    let watch = async {
        let mut all = Steps::new();
        while let Some(Step { mut gone, seats }) = came.recv().await {
            let mut seats: Vec<String> = seats.into_iter().map(|seat| seat.device.rule.card.id).collect();
            gone.sort_unstable();
            seats.sort_unstable();
            all.push((begun.elapsed(), gone, seats));
        }
        all
    };
    let (done, all) = tokio::join!(run, watch);
    done.unwrap();
    all
}

fn names(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

const SOON: Duration = Duration::from_millis(50);

/// A session that hangs is cut off after this long.
const CUT: Duration = Duration::from_secs(16);

fn check(steps: &Steps, wanted: &[(Duration, &[&str], &[&str])]) {
    assert_eq!(steps.len(), wanted.len(), "{steps:?}");
    for ((at, gone, begun), (wanted_at, wanted_gone, wanted_begun)) in steps.iter().zip(wanted) {
        assert_eq!((gone, begun), (&names(wanted_gone), &names(wanted_begun)), "{steps:?}");
        // The shelf uses threads, which the clock of the test does not wait for.
        assert!(*at >= *wanted_at && *at < *wanted_at + Duration::from_secs(2), "{steps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_session_that_hangs_keeps_no_other_device_dark() {
    let old = config(vec![device("a", "1", None), device("hung", "2", None), device("c", "3", None)]);
    let new = config(old.devices.iter().cloned().map(other).chain([device("new", "4", None)]).collect());
    let steps = carried_out(&old, &new, &[("a", SOON), ("c", SOON * 60)]).await;
    check(
        &steps,
        &[
            (Duration::ZERO, &[], &["new"]),
            (SOON, &["a"], &["a"]),
            (SOON * 60, &["c"], &["c"]),
            (CUT, &["hung"], &["hung"]),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn all_that_hang_have_one_deadline_and_go_as_one_step() {
    let old = config((0..50).map(|number| device(&format!("d-{number}"), "1", None)).collect());
    let new = config(old.devices.iter().cloned().map(other).collect());
    let steps = carried_out(&old, &new, &[]).await;
    assert!(steps.iter().all(|(at, _, _)| *at >= CUT && *at < CUT + Duration::from_secs(2)), "{steps:?}");
    assert_eq!(steps.iter().map(|(_, _, begun)| begun.len()).sum::<usize>(), 50);
    assert!(steps.len() <= 3, "{} steps", steps.len());
}

#[tokio::test(start_paused = true)]
async fn who_takes_the_port_of_another_waits_for_that_one_and_for_no_more() {
    // b goes to the port of the one that hangs, c to that of b, which is free soon.
    let old = config(vec![device("a", "1", None), device("b", "2", None), device("c", "3", None)]);
    let moved = vec![at(device("b", "2", None), "/dev/a"), at(device("c", "3", None), "/dev/b")];
    let steps = carried_out(&old, &config(moved), &[("b", SOON), ("c", SOON * 2)]).await;
    let [(c_at, c_gone, c_begun), rest @ ..] = &steps[..] else { panic!("{steps:?}") };
    assert!(*c_at >= SOON * 2 && *c_at < Duration::from_secs(2), "{steps:?}");
    assert_eq!((c_gone, c_begun), (&names(&["c"]), &names(&["c"])));
    assert!(rest.iter().all(|(at, _, _)| *at >= CUT), "{steps:?}");
    let mut gone: Vec<&String> = rest.iter().flat_map(|(_, gone, _)| gone).collect();
    gone.sort_unstable();
    assert_eq!(gone, ["a", "b"]);
    assert_eq!(rest.iter().flat_map(|(_, _, begun)| begun).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_goes_to_another_rack_takes_both_with_it() {
    let rack = |behind| {
        config(vec![
            device("one", "1", None),
            device("two", "2", None),
            device("part", "3", Some((behind, 1))),
        ])
    };
    let steps = carried_out(&rack(0), &rack(1), &[("one", SOON), ("two", SOON * 4)]).await;
    check(&steps, &[(SOON * 4, &["one", "two"], &["one", "two"])]);
}
