//! The pump around a store that takes nothing.

use super::super::intake::tests::{Memory, intake_on, intake_watching, reading_report};
use super::*;
use crate::host::clock::SystemClock;

fn pump(reports: mpsc::Receiver<Report>) -> Pump {
    let clock = Arc::new(SystemClock::default());
    let heart = Heartbeat::new("intake", clock.now().mono);
    let shown = watch::channel(Shown::default()).0;
    let (changes, events) = (mpsc::channel(1).1, mpsc::channel(1).1);
    let holds = watch::channel(Holds::new()).1;
    Pump { holds, in_force: None, reports, changes, events, clock, runtime: Handle::current(), heart, shown }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_store_that_takes_nothing_is_bounded_and_says_what_is_lost() {
    let (sender, reports) = mpsc::channel(64);
    let pump = pump(reports);
    let intake = intake_on(Memory::broken());
    for ticket in 1..=10 {
        sender.send(reading_report(ticket, pump.clock.now())).await.unwrap();
    }
    drop(sender);
    let begun = pump.clock.now().mono;
    let clock = Arc::clone(&pump.clock);
    #[expect(clippy::disallowed_methods, reason = "the test takes the supervisor's place")]
    let ended = tokio::task::spawn_blocking(move || pump.run(intake).err()).await.unwrap();
    assert!(ended.is_some_and(|words| words.starts_with("10 admitted readings and 0 reports")), "no count");
    assert!(clock.now().mono.since(begun) < END_WITHIN * 2);
}

/// What a session said before it ended is taken, however late the change comes to the channel's end.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_carried_out_behind_every_report_that_was_there_before_it() {
    let (sender, reports) = mpsc::channel(64);
    let mut pump = pump(reports);
    let (orders, changes) = mpsc::channel(1);
    pump.changes = changes;
    let mut shown = pump.shown.subscribe();
    let intake = intake_on(Memory::default());
    let now = pump.clock.now();
    for ticket in 1..=40 {
        sender.send(reading_report(ticket, now)).await.unwrap();
    }
    let change = Change { retired: vec![DeviceIndex(0)], first: DeviceIndex(1), listed: Vec::new() };
    let (done, is_done) = oneshot::channel();
    orders.send(Ordered { change, done }).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "the test takes the supervisor's place")]
    let running = tokio::task::spawn_blocking(move || pump.run(intake).map(drop));
    tokio::time::timeout(Duration::from_secs(10), is_done).await.unwrap().unwrap().unwrap();
    assert!(shown.borrow_and_update().devices.is_empty(), "it is off the list");
    // The session hangs and speaks on.
    sender.send(reading_report(41, now)).await.unwrap();
    drop(sender);
    running.await.unwrap().unwrap();
    assert_eq!(shown.borrow().durable, [0, 40, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_never_says_a_word_is_told_to_be_silent() {
    let (sender, reports) = mpsc::channel(64);
    let pump = pump(reports);
    let mut shown = pump.shown.subscribe();
    let (intake, _told) = intake_watching(Duration::from_secs(3));
    #[expect(clippy::disallowed_methods, reason = "the test takes the supervisor's place")]
    let running = tokio::task::spawn_blocking(move || pump.run(intake).map(drop));
    let told = shown.wait_for(|shown| shown.durable[0] == 1);
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
    let is_silent = |shown: &Shown| shown.devices.iter().all(|(_, device)| device.silent_since().is_some());
    assert!(is_silent(&shown.borrow()));
    sender.send(reading_report(1, SystemClock::default().now())).await.unwrap();
    let over = shown.wait_for(|shown| shown.durable[0] == 2 && !is_silent(shown));
    tokio::time::timeout(Duration::from_secs(10), over).await.unwrap().unwrap();
    drop(sender);
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pump_that_must_wait_still_ends_when_nobody_reports_any_more() {
    let (sender, reports) = mpsc::channel(64);
    let pump = pump(reports);
    let clock = Arc::clone(&pump.clock);
    let intake = intake_on(Memory::broken());
    #[expect(clippy::disallowed_methods, reason = "the test takes the supervisor's place")]
    let running = tokio::task::spawn_blocking(move || pump.run(intake).err());
    // More than a full parked block and a full builder: the pump stops taking.
    for ticket in 1.. {
        let report = reading_report(ticket, clock.now());
        let sent = tokio::time::timeout(Duration::from_secs(2), sender.send(report)).await;
        if sent.is_err() {
            break;
        }
    }
    drop(sender);
    let ended = tokio::time::timeout(END_WITHIN * 2, running).await.unwrap().unwrap();
    assert!(ended.is_some_and(|words| words.contains("are lost")), "it must say so");
}
