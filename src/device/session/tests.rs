//! A scripted link and a scripted driver tell the session's story.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::backoff::{Bounds, Random};
use crate::device::memo::{Blank, Doing, Memo};
use crate::device::nomenclature::{DIMENSIONLESS, SPO2};
use crate::device::observation::{Kind, Observation, Quality, Status, Value};
use crate::time::{Clock, Mono};

/// Time goes on by a millisecond with each look.
#[derive(Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Now {
        let millis = self.0.fetch_add(1, Ordering::Relaxed);
        Now { mono: Mono::from_nanos(millis * 1_000_000), ..Now::default() }
    }
}

struct Zero;

impl Random for Zero {
    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// A link that plays one list of events for each connection.
struct Scripted {
    connections: VecDeque<Result<VecDeque<LinkEvent>, LinkError>>,
    current: VecDeque<LinkEvent>,
    /// What has come by the time that the link has hung up.
    late: VecDeque<LinkEvent>,
    performed: mpsc::Sender<String>,
}

impl Link for Scripted {
    async fn open(&mut self) -> Result<(), LinkError> {
        match self.connections.pop_front() {
            Some(Ok(events)) => {
                self.current = events;
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => std::future::pending().await,
        }
    }

    async fn next(&mut self) -> LinkEvent {
        match self.current.pop_front() {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    async fn perform(&mut self, command: LinkCommand) -> Result<(), LinkError> {
        if matches!(command, LinkCommand::HangUp) {
            self.current = std::mem::take(&mut self.late);
            self.current.push_back(LinkEvent::Down(LinkError::HungUp));
        }
        self.performed.try_send(format!("{command:?}")).unwrap();
        Ok(())
    }

    async fn close(&mut self) {
        self.performed.try_send("close".to_owned()).unwrap();
    }

    async fn abandon(&mut self) {
        self.performed.try_send("abandon".to_owned()).unwrap();
    }
}

/// Identifies itself when up, turns words between commas into faults (the simplest report), acknowledges what is
/// durable by sending request 1, and hangs up when told `!`.
#[derive(Default)]
struct Echo(VecDeque<Action>);

impl Driver for Echo {
    fn handle_event(&mut self, event: &LinkEvent, _: Now) {
        match event {
            LinkEvent::Up => self.0.push_back(Action::identify(Identity::default())),
            LinkEvent::Bytes(bytes) if bytes.as_ref() == b"!" => {
                self.0.push_back(Action::Command(LinkCommand::HangUp));
            }
            LinkEvent::Bytes(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                self.0.extend(text.split(',').map(|word| match word {
                    "reading" => Action::Observe(Part::WHOLE, reading()),
                    word => Action::Report(Fault::new(FaultKind::Framing, word)),
                }));
            }
            LinkEvent::Value(..)
            | LinkEvent::ReadDone(..)
            | LinkEvent::Subscribed(..)
            | LinkEvent::Written(..)
            | LinkEvent::Down(_) => {}
        }
    }

    fn handle_timeout(&mut self, _: Now) {}

    /// A refusal is shown as the ticket and a hundred.
    fn handle_refused(&mut self, ticket: Ticket, now: Now) {
        self.handle_durable(Ticket(100 + ticket.0), now);
    }

    fn handle_durable(&mut self, through: Ticket, _: Now) {
        let id = u8::try_from(through.0).unwrap();
        self.0.push_back(Action::Command(LinkCommand::Send(crate::link::RequestId(id))));
    }

    fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.0.pop_front()
    }
}

struct Bench {
    reports: mpsc::Receiver<Report>,
    performed: mpsc::Receiver<String>,
    settled: watch::Sender<Settled>,
    stop: watch::Sender<bool>,
    session: Session<Scripted>,
}

fn bench(connections: Vec<Result<Vec<LinkEvent>, LinkError>>) -> Bench {
    let (reports_in, reports) = mpsc::channel(64);
    let (performed_in, performed) = mpsc::channel(64);
    let (settled, settled_out) = watch::channel(Settled::default());
    let (stop, stop_out) = watch::channel(false);
    let link = Scripted {
        connections: connections.into_iter().map(|c| c.map(VecDeque::from)).collect(),
        current: VecDeque::new(),
        late: VecDeque::new(),
        performed: performed_in,
    };
    let context = Context {
        device: DeviceIndex(3),
        parts: BTreeMap::new(),
        clock: Arc::new(Ticking::default()),
        random: Box::new(Zero),
        backoff: Bounds {
            first: Duration::from_millis(1),
            most: Duration::from_millis(1),
            healthy_after: Duration::from_secs(1),
        },
        patience: Duration::from_millis(20),
        quiet: None,
        reports: reports_in,
        tickets: Arc::default(),
        settled: settled_out,
        notebook: Box::new(Blank),
        stop: stop_out,
        lost: Box::new(|| {}),
        told: Inheritance::default(),
    };
    Bench { reports, performed, settled, stop, session: Session::new(link, Box::<Echo>::default(), context) }
}

/// A rack: `i2` has part 2 say who it is, `o2` gives a reading of it, `g2` takes it away.
#[derive(Default)]
struct Rack(VecDeque<Action>);

impl Driver for Rack {
    fn handle_event(&mut self, event: &LinkEvent, _: Now) {
        let LinkEvent::Bytes(bytes) = event else { return };
        for word in bytes.chunks(2) {
            let part = Part(word[1] - b'0');
            self.0.push_back(match word[0] {
                b'i' => Action::Identify(part, Identity::default()),
                b'o' => Action::Observe(part, reading()),
                _ => Action::Gone(part, "taken out".to_owned()),
            });
        }
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.0.pop_front()
    }
}

fn reading() -> Observation {
    Observation {
        metric: &SPO2,
        channel: 0,
        value: Value::Bits(0),
        unit: &DIMENSIONLESS,
        modality: 0,
        kind: Kind::State,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

#[tokio::test]
async fn each_part_of_a_rack_is_reported_as_the_device_that_stands_at_its_place() {
    let first = Ok(vec![bytes("i0o0i2o2o1i3o3g2o2"), LinkEvent::Down(lost())]);
    let mut bench = bench(vec![first, Ok(vec![bytes("o2i2")])]);
    bench.session.driver = Box::<Rack>::default();
    bench.session.context.parts = BTreeMap::from([(Part(1), DeviceIndex(7)), (Part(2), DeviceIndex(9))]);
    let story = async {
        let mut said = Vec::new();
        for _ in 0..16 {
            let Report { device, body, .. } = bench.reports.recv().await.unwrap();
            said.push((device.0, told(body)));
        }
        bench.stop.send(true).unwrap();
        said
    };
    let ((), said) = tokio::join!(bench.session.run(), story);
    let said: Vec<(u16, &str)> = said.iter().map(|(device, said)| (*device, said.as_str())).collect();
    assert_eq!(
        said,
        [
            (3, "up"),
            (3, "identity"),
            (3, "Ticket(1)"),
            // It is there from the moment at which it says who it is.
            (9, "up"),
            (9, "identity"),
            (9, "Ticket(2)"),
            // Listed, and has not said who it is.
            (3, "a reading of part 1 before it said who it is"),
            (3, "unlisted: 3"),
            (3, "unlisted: 3"),
            (9, "down: taken out"),
            (3, "a reading of part 2 before it said who it is"),
            // What was taken out before the line went down is not told again.
            (3, "down: ttyX was lost: cable"),
            (3, "up"),
            (3, "a reading of part 2 before it said who it is"),
            (9, "up"),
            (9, "identity"),
        ]
    );
}

fn bytes(text: &'static str) -> LinkEvent {
    LinkEvent::Bytes(Bytes::from_static(text.as_bytes()))
}

fn lost() -> LinkError {
    LinkError::Lost { what: "ttyX".to_owned(), reason: "cable".to_owned() }
}

async fn said(reports: &mut mpsc::Receiver<Report>, count: usize) -> Vec<String> {
    let mut said = Vec::new();
    for _ in 0..count {
        let report = reports.recv().await.unwrap();
        assert_eq!(report.device, DeviceIndex(3));
        said.push(told(report.body));
    }
    said
}

fn told(body: ReportBody) -> String {
    match body {
        ReportBody::Up => "up".to_owned(),
        ReportBody::Insecure => "insecure".to_owned(),
        ReportBody::Commit => "commit".to_owned(),
        ReportBody::Down(why) => format!("down: {why}"),
        ReportBody::Identity(_) => "identity".to_owned(),
        ReportBody::Fault(fault) => fault.detail,
        ReportBody::Unlisted(part) => format!("unlisted: {}", part.0),
        ReportBody::Observation(ticket, _) | ReportBody::Pin(ticket, _) => format!("{ticket:?}"),
    }
}

#[tokio::test]
async fn a_link_without_the_keys_that_its_rule_demands_is_told_before_it_is_down() {
    let insecure = LinkError::Insecure { what: "F1:00".to_owned(), reason: "not bonded".to_owned() };
    let mut bench = bench(vec![Err(insecure), Ok(vec![])]);
    let story = async {
        for expected in ["insecure", "down: F1:00 is not bonded as its rule demands: not bonded", "up"] {
            assert_eq!(told(bench.reports.recv().await.unwrap().body), expected);
        }
        bench.stop.send(true).unwrap();
    };
    tokio::join!(bench.session.run(), story);
}

#[tokio::test]
async fn a_lost_link_is_reported_closed_and_opened_again() {
    let absent = LinkError::Absent { what: "ttyX".to_owned() };
    let mut bench = bench(vec![
        Err(absent),
        Ok(vec![bytes("a"), LinkEvent::Down(lost())]),
        Ok(vec![bytes("b"), bytes("!"), bytes("never seen")]),
        Ok(vec![bytes("c")]),
    ]);
    let story = async {
        let said = said(&mut bench.reports, 11).await;
        bench.stop.send(true).unwrap();
        said
    };
    let ((), said) = tokio::join!(bench.session.run(), story);
    assert_eq!(
        said,
        [
            "down: ttyX is not there",
            "up",
            "identity",
            "a",
            "down: ttyX was lost: cable",
            "up",
            "identity",
            "b",
            "down: closed by this side",
            "up",
            "identity",
        ]
    );
    let mut performed = Vec::new();
    while let Ok(what) = bench.performed.try_recv() {
        performed.push(what);
    }
    assert_eq!(performed, ["close"; 4]);
}

#[tokio::test]
async fn the_source_is_told_what_is_durable_and_only_then() {
    let mut bench = bench(vec![Ok(vec![bytes("a")])]);
    let story = async {
        said(&mut bench.reports, 3).await;
        assert!(bench.performed.try_recv().is_err(), "nothing was durable yet");
        bench.settled.send(Settled { through: Ticket(1), ..Settled::default() }).unwrap();
        let first = bench.performed.recv().await;
        bench.stop.send(true).unwrap();
        first
    };
    let ((), first) = tokio::join!(bench.session.run(), story);
    assert_eq!(first.as_deref(), Some("Send(RequestId(1))"));
}

#[tokio::test]
async fn a_driver_hears_of_a_refusal_once_and_before_the_durable_ticket_behind_it() {
    let mut bench = bench(vec![Ok(vec![bytes("a")])]);
    let story = async {
        said(&mut bench.reports, 3).await;
        let mut heard = Vec::new();
        for (through, refused) in [(2, 2), (3, 2), (3, 3), (4, 3)] {
            bench
                .settled
                .send(Settled { through: Ticket(through), refused: Ticket(refused), ..Settled::default() })
                .unwrap();
            // The last thing that this word leads to.
            let last = if heard.len() == 3 { 103 } else { through };
            while heard.last() != Some(&format!("Send(RequestId({last}))")) {
                heard.push(bench.performed.recv().await.unwrap());
            }
        }
        bench.stop.send(true).unwrap();
        heard
    };
    let ((), heard) = tokio::join!(bench.session.run(), story);
    let shown: Vec<String> = [102, 2, 3, 103, 4].map(|id| format!("Send(RequestId({id}))")).into();
    assert_eq!(heard, shown);
}

/// Tells one observation for each byte that comes in, and the ticket of each as the name of a fault.
#[derive(Default)]
struct Counting(VecDeque<Action>);

impl Driver for Counting {
    fn handle_event(&mut self, event: &LinkEvent, _: Now) {
        if let LinkEvent::Bytes(bytes) = event {
            let said = Observation {
                metric: &SPO2,
                channel: 0,
                value: Value::Bits(0),
                unit: &DIMENSIONLESS,
                modality: 0,
                kind: Kind::State,
                record: None,
                device_time: None,
                status: Status::Final,
                quality: Quality::GOOD,
            };
            self.0.extend(bytes.iter().map(|_| Action::observe(said.clone())));
        }
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn handle_ticket(&mut self, ticket: Ticket) {
        self.0.push_back(Action::Report(Fault::new(FaultKind::Framing, ticket.0.to_string())));
    }

    fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.0.pop_front()
    }
}

#[tokio::test]
async fn a_driver_is_told_the_ticket_of_each_of_its_readings_over_connections_and_drivers() {
    let lost = || LinkEvent::Down(LinkError::HungUp);
    let mut bench = bench(vec![Ok(vec![bytes("ab"), lost()]), Ok(vec![bytes("c"), lost()])]);
    // Another driver gave 40 before it panicked.
    bench.session.context.tickets.store(40, Ordering::Relaxed);
    bench.session.driver = Box::<Counting>::default();
    let story = async {
        let (mut given, mut heard) = (Vec::new(), Vec::new());
        while heard.len() < 3 {
            match bench.reports.recv().await.unwrap().body {
                ReportBody::Observation(ticket, _) => given.push(ticket.0.to_string()),
                ReportBody::Fault(fault) => heard.push(fault.detail),
                ReportBody::Up
                | ReportBody::Insecure
                | ReportBody::Commit
                | ReportBody::Pin(..)
                | ReportBody::Down(_)
                | ReportBody::Identity(_)
                | ReportBody::Unlisted(_) => {}
            }
        }
        bench.stop.send(true).unwrap();
        (given, heard)
    };
    let ((), (given, heard)) = tokio::join!(bench.session.run(), story);
    assert_eq!(
        (given, heard),
        (vec!["41".into(), "42".into(), "43".into()], vec!["41".into(), "42".into(), "43".into()])
    );
}

#[tokio::test]
async fn a_session_ends_when_nobody_takes_its_reports() {
    let bench = bench(vec![Ok(vec![bytes("a")])]);
    drop(bench.reports);
    tokio::time::timeout(Duration::from_secs(5), bench.session.run()).await.unwrap();
}

#[tokio::test]
async fn a_session_whose_reports_are_not_taken_closes_its_link_and_keeps_the_report() {
    let mut bench = bench(vec![Ok(vec![bytes("old")]), Ok(vec![bytes("new")])]);
    // One place only: `Up` takes it, everything else waits.
    let (reports_in, mut reports) = mpsc::channel(1);
    bench.session.context.reports = reports_in;
    let story = async {
        let first = bench.performed.recv().await;
        assert_eq!(first.as_deref(), Some("abandon"), "the link was left open");
        let said = said(&mut reports, 6).await;
        bench.stop.send(true).unwrap();
        said
    };
    let ((), said) = tokio::join!(bench.session.run(), story);
    assert_eq!(said[..2], ["up", "identity"]);
    assert!(said[2].starts_with("down: the link was lost: its readings were not taken for"), "{said:?}");
    assert_eq!(said[3..], ["up", "identity", "new"], "what the link held meanwhile was told");
}

#[tokio::test]
async fn a_device_that_says_nothing_of_itself_for_too_long_has_its_link_opened_again() {
    let mut bench = bench(vec![Ok(vec![bytes("a"), bytes("b")]), Ok(vec![])]);
    bench.session.context.quiet = Some(Duration::from_millis(60));
    let story = async {
        let said = said(&mut bench.reports, 8).await;
        bench.stop.send(true).unwrap();
        said
    };
    let ((), said) = tokio::join!(bench.session.run(), story);
    // Faults are no word of the device: only who it is and its readings are.
    assert_eq!(said[..4], ["up", "identity", "a", "b"]);
    assert!(said[4].starts_with("no reading in 0 s, the link is opened again"), "{said:?}");
    assert_eq!(said[5], "down: the device was lost: it gave no reading for 0 s");
    assert_eq!(said[6..], ["up", "identity"]);
    assert_eq!(bench.performed.recv().await.as_deref(), Some("close"));
}

/// Finds something wrong every five milliseconds, and never a word of its device in it.
#[derive(Default)]
struct Grumbler(VecDeque<Action>, Mono);

impl Driver for Grumbler {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        if *event == LinkEvent::Up {
            self.1 = now.mono + Duration::from_millis(5);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.1 = now.mono + Duration::from_millis(5);
        self.0.push_back(Action::Report(Fault::new(FaultKind::Framing, "noise")));
    }

    fn poll_timeout(&self) -> Option<Mono> {
        Some(self.1)
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.0.pop_front()
    }
}

#[tokio::test]
async fn noise_is_no_word_of_the_device() {
    let mut bench = bench(vec![Ok(vec![]), Ok(vec![])]);
    bench.session.driver = Box::<Grumbler>::default();
    bench.session.context.quiet = Some(Duration::from_millis(60));
    let story = async {
        let mut all = Vec::new();
        while !all.last().is_some_and(|last: &String| last.starts_with("down: ")) {
            all.extend(said(&mut bench.reports, 1).await);
            assert!(all.len() < 1_000, "noise keeps the link open");
        }
        bench.stop.send(true).unwrap();
        all
    };
    let ((), all) = tokio::join!(bench.session.run(), story);
    assert!(all.iter().filter(|said| *said == "noise").count() > 2, "{all:?}");
    assert_eq!(all.last().map(String::as_str), Some("down: the device was lost: it gave no reading for 0 s"));
}

/// Waits for a word since long ago, and says when it waited in vain.
struct Waiting {
    actions: VecDeque<Action>,
    due: Option<Mono>,
    /// Whether any word will do.
    is_content: bool,
}

impl Driver for Waiting {
    fn handle_event(&mut self, event: &LinkEvent, _: Now) {
        if let LinkEvent::Bytes(_) = event {
            self.actions.push_back(Action::Report(Fault::new(FaultKind::Framing, "a word")));
            self.due = self.due.filter(|_| !self.is_content);
        }
    }

    fn handle_timeout(&mut self, _: Now) {
        self.actions.push_back(Action::Report(Fault::new(FaultKind::Timeout, "in vain")));
        self.due = None;
    }

    fn poll_timeout(&self) -> Option<Mono> {
        self.due
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

/// The gateway stood still: a word is overdue, and so many have come.
async fn stood_still(is_content: bool, words: usize) -> Vec<String> {
    let mut bench = bench(vec![Ok(vec![bytes("x"); words])]);
    let due = Some(Mono::default());
    bench.session.driver = Box::new(Waiting { actions: VecDeque::new(), due, is_content });
    let story = async {
        let all = said(&mut bench.reports, words + 1 + usize::from(!is_content)).await;
        bench.stop.send(true).unwrap();
        all
    };
    tokio::join!(bench.session.run(), story).1
}

#[tokio::test]
async fn what_has_come_is_heard_before_what_is_due() {
    assert_eq!(stood_still(true, 1).await, ["up", "a word"]);
}

#[tokio::test]
async fn noise_without_an_end_does_not_keep_a_driver_from_what_is_due() {
    let all = stood_still(false, 40).await;
    assert_eq!(all.iter().position(|said| said == "in vain"), Some(1 + 16), "{all:?}");
    assert_eq!(all.iter().filter(|said| *said == "a word").count(), 40, "and nothing of it is lost");
}

#[tokio::test]
async fn a_session_that_waits_for_its_report_to_be_taken_can_be_stopped() {
    let mut bench = bench(vec![Ok(vec![bytes("old")])]);
    let (reports_in, _reports) = mpsc::channel(1);
    bench.session.context.reports = reports_in;
    let story = async {
        let first = bench.performed.recv().await;
        assert_eq!(first.as_deref(), Some("abandon"));
        bench.stop.send(true).unwrap();
    };
    tokio::join!(bench.session.run(), story);
}

#[tokio::test]
async fn what_waits_when_a_session_is_stopped_is_taken_and_what_its_driver_holds_behind_it() {
    let mut bench = bench(vec![Ok(vec![bytes("a,b,c")])]);
    let (reports_in, mut reports) = mpsc::channel(2);
    bench.session.context.reports = reports_in;
    bench.session.context.lost = Box::new(|| panic!("all of it was taken"));
    let story = async {
        // `Up` and the identity fill the channel, `a` waits.
        assert_eq!(bench.performed.recv().await.as_deref(), Some("abandon"));
        bench.stop.send(true).unwrap();
        tokio::task::yield_now().await;
        said(&mut reports, 5).await
    };
    let ((), said) = tokio::join!(bench.session.run(), story);
    assert_eq!(said, ["up", "identity", "a", "b", "c"]);
}

/// The intake is at the disk while the gateway is stopped.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_stopped_waits_for_an_intake_that_is_slow() {
    let mut bench = bench(vec![Ok(vec![bytes("a,b,c")])]);
    let (reports_in, mut reports) = mpsc::channel(2);
    bench.session.context.reports = reports_in;
    bench.session.context.lost = Box::new(|| panic!("it would have been taken a moment later"));
    let story = async {
        assert_eq!(bench.performed.recv().await.as_deref(), Some("abandon"));
        bench.stop.send(true).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        said(&mut reports, 5).await
    };
    let ((), said) = tokio::join!(bench.session.run(), story);
    assert_eq!(said, ["up", "identity", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the time of the test")]
async fn what_nobody_takes_from_a_session_that_is_stopped_is_counted_and_does_not_hold_it_up() {
    let mut bench = bench(vec![Ok(vec![bytes("reading,word,reading,reading")])]);
    let (reports_in, _reports) = mpsc::channel(2);
    bench.session.context.reports = reports_in;
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    bench.session.context.lost = Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let story = async {
        assert_eq!(bench.performed.recv().await.as_deref(), Some("abandon"));
        bench.stop.send(true).unwrap();
        tokio::time::Instant::now()
    };
    let ((), stopped) = tokio::join!(bench.session.run(), story);
    assert!(stopped.elapsed() < DRAIN_LIMIT * 2, "{:?}", stopped.elapsed());
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

/// Leaves the lengths of what it heard to the next one, behind those that were left to it.
#[derive(Default)]
struct Leaving(Echo, Vec<u64>);

impl Driver for Leaving {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        if let LinkEvent::Bytes(bytes) = event {
            self.1.push(u64::try_from(bytes.len()).unwrap());
        }
        self.0.handle_event(event, now);
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn told(&self) -> Option<Vec<u64>> {
        Some(self.1.clone())
    }

    fn handle_told(&mut self, keys: Vec<u64>) {
        self.1 = keys;
    }

    fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.0.poll_action()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_told_is_left_to_the_next_session_when_all_of_it_is_durable() {
    for (is_durable, left) in [(true, Some(vec![9, 7])), (false, None)] {
        let mut bench = bench(vec![Ok(vec![bytes("reading")])]);
        bench.session.driver = Box::<Leaving>::default();
        let told = Inheritance::default();
        told.put(vec![9]);
        bench.session.context.told = told.clone();
        let story = async {
            said(&mut bench.reports, 3).await;
            bench.stop.send(true).unwrap();
            said(&mut bench.reports, 1).await;
            if is_durable {
                bench
                    .settled
                    .send(Settled { through: Ticket(1), refused: Ticket(0), ..Settled::default() })
                    .unwrap();
            }
        };
        tokio::join!(bench.session.run(), story);
        assert_eq!(told.take(), left);
    }
}

#[tokio::test]
async fn what_a_driver_has_to_say_of_a_connection_is_said_before_its_end() {
    let mut bench = bench(vec![Ok(vec![bytes("a,b,c")]), Ok(vec![bytes("new")])]);
    let (reports_in, mut reports) = mpsc::channel(2);
    bench.session.context.reports = reports_in;
    let story = async {
        // `Up` and the identity fill the channel; `a` waits longer than the session has patience.
        assert_eq!(bench.performed.recv().await.as_deref(), Some("abandon"));
        let said = said(&mut reports, 9).await;
        bench.stop.send(true).unwrap();
        said
    };
    let ((), said) = tokio::join!(bench.session.run(), story);
    assert_eq!(said[..5], ["up", "identity", "a", "b", "c"]);
    assert!(said[5].starts_with("down: "), "{said:?}");
    assert_eq!(said[6..], ["up", "identity", "new"]);
}

/// Keeps what it is given where the test sees it.
struct Shown(mpsc::Sender<Vec<u8>>, Option<Memo>);

impl Notebook for Shown {
    fn read(&mut self) -> Doing<'_, Option<Memo>> {
        let memo = self.1.clone();
        Box::pin(async move { memo })
    }

    fn write(&mut self, memo: Memo) -> Doing<'_, ()> {
        self.0.try_send(memo.bytes().to_vec()).unwrap();
        Box::pin(async {})
    }
}

/// Has everything that becomes durable remembered, behind what it recalls.
#[derive(Default)]
struct Recorder(Vec<u8>, VecDeque<Action>);

impl Driver for Recorder {
    fn handle_event(&mut self, _: &LinkEvent, _: Now) {}

    fn handle_timeout(&mut self, _: Now) {}

    fn handle_durable(&mut self, through: Ticket, _: Now) {
        self.0.push(u8::try_from(through.0).unwrap());
        self.1.push_back(Action::Command(LinkCommand::Send(crate::link::RequestId(1))));
        self.1.push_back(Action::Remember(Memo::new(&self.0).unwrap()));
    }

    fn recall(&mut self, memo: &[u8]) {
        self.0 = memo.to_vec();
    }

    fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.1.pop_front()
    }
}

/// Nothing here takes this long, unless it never happens.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what).await.unwrap()
}

#[tokio::test]
async fn what_is_durable_is_remembered_while_the_device_is_there_and_while_it_is_away() {
    let mut first = bench(vec![Ok(vec![])]);
    let (kept_in, mut kept) = mpsc::channel(8);
    first.session.driver = Box::<Recorder>::default();
    first.session.context.notebook = Box::new(Shown(kept_in, Memo::new(&[9])));
    let story = async {
        first.settled.send_modify(|settled| settled.through = Ticket(1));
        assert_eq!(soon(kept.recv()).await.unwrap(), [9, 1], "behind what was recalled");
        first.stop.send(true).unwrap();
    };
    tokio::join!(first.session.run(), story);
    assert_eq!(
        std::iter::from_fn(|| first.performed.try_recv().ok()).count(),
        3,
        "the request, the hang-up, and the end"
    );

    // A link that never opens again.
    let mut bench = bench(vec![Err(lost())]);
    let (kept_in, mut kept) = mpsc::channel(8);
    bench.session.driver = Box::<Recorder>::default();
    bench.session.context.notebook = Box::new(Shown(kept_in, None));
    let story = async {
        while !matches!(bench.reports.recv().await.unwrap().body, ReportBody::Down(_)) {}
        for through in 1..=3 {
            bench.settled.send_modify(|settled| settled.through = Ticket(through));
            assert_eq!(soon(kept.recv()).await.unwrap().len(), usize::try_from(through).unwrap());
        }
        bench.stop.send(true).unwrap();
    };
    tokio::join!(bench.session.run(), story);
    let performed: Vec<String> = std::iter::from_fn(|| bench.performed.try_recv().ok()).collect();
    assert!(
        performed.iter().all(|performed| performed == "close"),
        "nothing is asked of nobody: {performed:?}"
    );
}

/// Holds a reading until its connection ends, and has what became durable remembered.
#[derive(Default)]
struct Holding(VecDeque<Action>);

impl Driver for Holding {
    fn handle_event(&mut self, event: &LinkEvent, _: Now) {
        if matches!(event, LinkEvent::Down(_)) {
            self.0.push_back(Action::observe(reading()));
        }
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn handle_durable(&mut self, through: Ticket, _: Now) {
        self.0.push_back(Action::Remember(Memo::new(&[u8::try_from(through.0).unwrap()]).unwrap()));
    }

    fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.0.pop_front()
    }
}

#[tokio::test]
async fn what_is_said_last_is_durable_and_remembered_before_a_stopped_session_ends() {
    let mut bench = bench(vec![Ok(vec![])]);
    let (kept_in, mut kept) = mpsc::channel(8);
    bench.session.driver = Box::<Holding>::default();
    bench.session.context.notebook = Box::new(Shown(kept_in, None));
    let story = async {
        assert!(matches!(soon(bench.reports.recv()).await.unwrap().body, ReportBody::Up));
        bench.stop.send(true).unwrap();
        let last = soon(bench.reports.recv()).await.unwrap().body;
        assert!(matches!(last, ReportBody::Observation(Ticket(1), _)), "{last:?}");
        assert!(matches!(soon(bench.reports.recv()).await.unwrap().body, ReportBody::Commit));
        assert!(kept.try_recv().is_err(), "it is not durable yet");
        bench.settled.send_modify(|settled| settled.through = Ticket(1));
        assert_eq!(soon(kept.recv()).await.unwrap(), [1]);
    };
    tokio::join!(bench.session.run(), story);
}

/// An indication is confirmed by BlueZ before anybody hears of it: the device does not say it again.
#[tokio::test]
async fn what_had_come_when_a_recorder_is_stopped_is_said_before_the_end() {
    let mut bench = bench(vec![Ok(vec![])]);
    let (kept_in, _kept) = mpsc::channel(8);
    bench.session.context.notebook = Box::new(Shown(kept_in, None));
    bench.session.link.late = VecDeque::from([bytes("late")]);
    let story = async {
        let mut words = said(&mut bench.reports, 2).await;
        bench.stop.send(true).unwrap();
        words.extend(said(&mut bench.reports, 1).await);
        // Whoever ends waits for what was said last.
        bench.settled.send_modify(|settled| settled.through = Ticket(9));
        words
    };
    let (words, ()) = tokio::join!(story, bench.session.run());
    assert_eq!(words.last().map(String::as_str), Some("late"), "{words:?}");
}

#[tokio::test]
async fn a_stopped_session_does_not_wait_for_ever_for_what_does_not_become_durable() {
    let mut bench = bench(vec![Ok(vec![])]);
    let (kept_in, mut kept) = mpsc::channel(8);
    bench.session.driver = Box::<Holding>::default();
    bench.session.context.notebook = Box::new(Shown(kept_in, None));
    bench.stop.send(true).unwrap();
    soon(bench.session.run()).await;
    assert!(kept.try_recv().is_err());
}
