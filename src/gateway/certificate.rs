//! The gateway's certificate while the daemon runs: it is renewed beside the uplink, and people hear of it.
//!
//! In: the identity's folder, which `uplink.certificate` and `uplink.key` name by its one file `current.pem`; the
//! uplink, which shows a new certificate to the broker; and what the uplink finds of revocation lists. Out: the
//! standing for status and heartbeat, and security events of the gateway. What never happens: a trouble here stops
//! the collecting of readings, or the connection that there is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::outbox::Outbox;
use crate::device::observation::Phase;
use crate::host::random::SystemRandomness;
use crate::host::supervisor::Supervisor;
use crate::identity::folder::Folder;
use crate::identity::keeper::{Broker, Keeper, News, Status};
use crate::identity::name::Name;
use crate::identity::renewal::{Alarm, Trial};
use crate::policy::event::{Detection, Event, MAX_DETAIL};
use crate::time::Clock;
use crate::uplink::{self, NotTaken, Stop};

/// How much news may wait; the rest is in the log.
const NEWS_WAITING: usize = 32;
/// How long a keeper that panicked is left alone.
const AFTER_A_PANIC: Duration = Duration::from_secs(60);

/// The identity's folder, where the configuration names one.
pub(super) fn folder(config: &uplink::Config) -> Option<Folder> {
    Folder::named_by(&config.certificate, &config.key)
}

/// Puts right what a power cut left in the folder. To be called before the uplink reads its pair.
pub(super) fn recover(config: &uplink::Config) {
    match folder(config).map(|folder| folder.recover()) {
        None | Some(Ok(false)) => {}
        Some(Ok(true)) => tracing::info!("the first certificate was issued before a power cut: it is taken"),
        // The uplink says what it means for the connection.
        Some(Err(error)) => tracing::error!(%error, "the identity's folder cannot be used"),
    }
}

/// What surrounds the certificate.
pub(super) struct Around {
    pub(super) clock: Arc<dyn Clock>,
    /// Shows a certificate to the broker.
    pub(super) uplink: uplink::Handle,
    /// How the uplink is.
    pub(super) shown: watch::Receiver<uplink::Status>,
    /// Where the standing goes.
    pub(super) standing: watch::Sender<Status>,
    /// Where events go.
    pub(super) events: mpsc::Sender<Event>,
    pub(super) stop: watch::Receiver<Stop>,
}

/// Starts the keeper where there is a folder, and what tells of it.
pub(super) fn start(supervisor: &mut Supervisor, config: &uplink::Config, around: Around) {
    let Around { clock, uplink, shown, standing, events, stop } = around;
    let (news, heard) = mpsc::channel(NEWS_WAITING);
    let teller = Teller { clock: Arc::clone(&clock), outbox: Outbox::new(events), told: Told::default() };
    let sources = (heard, standing.subscribe(), shown);
    supervisor.task("certificate events", teller.run(sources, stop.clone()));
    let Some(folder) = folder(config) else { return };
    let name = Name { organisation: config.organisation.clone(), gateway: config.gateway.clone() };
    let place = config.certificate.clone();
    supervisor.restarting("certificate", AFTER_A_PANIC, move || {
        let keeper = Keeper {
            folder: folder.clone(),
            name: name.clone(),
            clock: Arc::clone(&clock),
            random: Box::new(SystemRandomness::new()),
            broker: Shown { uplink: uplink.clone(), place: place.clone() },
            status: standing.clone(),
            news: news.clone(),
        };
        let mut stop = stop.clone();
        async move {
            // It may end between any two steps, as the power may.
            let (_runs, never) = watch::channel(false);
            tokio::select! {
                () = keeper.run(never) => {}
                _ = stop.wait_for(|stop| *stop != Stop::Run) => {}
            }
        }
    });
}

/// The uplink's broker.
struct Shown {
    uplink: uplink::Handle,
    /// The pair in use.
    place: PathBuf,
}

impl Broker for Shown {
    async fn show(&mut self, pair: &Path) -> Trial {
        match self.uplink.show(pair, &self.place).await {
            Ok(()) => Trial::Won,
            Err(NotTaken::Refused(why)) => Trial::Refused(why),
            Err(NotTaken::Untried(why)) => Trial::Unreachable(why),
        }
    }
}

/// Tells of the certificate, and of revocation lists.
struct Teller {
    clock: Arc<dyn Clock>,
    outbox: Outbox,
    told: Told,
}

type Sources = (mpsc::Receiver<News>, watch::Receiver<Status>, watch::Receiver<uplink::Status>);

impl Teller {
    async fn run(
        mut self,
        (mut heard, mut standing, mut shown): Sources,
        mut stop: watch::Receiver<Stop>,
    ) -> Result<(), String> {
        loop {
            let edges = tokio::select! {
                Some(news) = heard.recv() => Told::of_news(&news).into_iter().collect(),
                Ok(()) = standing.changed() => self.told.handle_standing(&standing.borrow_and_update()),
                Ok(()) = shown.changed() => {
                    let lists = &shown.borrow_and_update().outdated_lists;
                    self.told.handle_lists(lists).into_iter().collect::<Vec<_>>()
                }
                () = self.outbox.make_room() => Vec::new(),
                _ = stop.wait_for(|stop| *stop != Stop::Run) => return Ok(()),
            };
            let events: Vec<Event> = edges.into_iter().map(|edge| self.event(edge)).collect();
            self.outbox.extend(events);
            self.outbox.send();
        }
    }

    fn event(&self, Edge { detection, phase, words }: Edge) -> Event {
        Event { detection, phase, device: String::new(), detail: shortened(&words), at: self.clock.now() }
    }
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
    detection: Detection,
    phase: Phase,
    words: String,
}

impl Edge {
    fn new(detection: Detection, phase: Phase, words: impl Into<String>) -> Self {
        Self { detection, phase, words: words.into() }
    }
}

/// What was told last: pure.
#[derive(Debug, Default)]
struct Told {
    alarm: Alarm,
    trouble: Option<String>,
    lists: Vec<String>,
}

impl Told {
    /// What is told once. The rest is in the standing, and told as it changes there.
    fn of_news(news: &News) -> Option<Edge> {
        match news {
            News::Renewed { .. } => {
                Some(Edge::new(Detection::CertificateRenewed, Phase::Start, news.to_string()))
            }
            News::DueAtOnce { .. }
            | News::Waits
            | News::Failed { .. }
            | News::FellBack { .. }
            | News::GaveUp
            | News::Aged { .. }
            | News::Folder { .. } => None,
        }
    }

    fn handle_standing(&mut self, standing: &Status) -> Vec<Edge> {
        let mut edges = Vec::new();
        let trouble = standing.trouble.clone();
        if trouble != self.trouble {
            let (phase, words) = match (&self.trouble, &trouble) {
                (None, Some(words)) => (Phase::Start, words.as_str()),
                (Some(_), Some(words)) => (Phase::Update, words.as_str()),
                (_, None) => (Phase::End, "the certificate is renewed again"),
            };
            edges.push(Edge::new(Detection::CertificateRenewal, phase, words));
            self.trouble = trouble;
        }
        if let Some(until) = standing.until {
            edges.extend(self.handle_age(standing.alarm, &until.to_string(), || {
                News::Aged { alarm: standing.alarm, until }.to_string()
            }));
        }
        edges
    }

    fn handle_age(&mut self, alarm: Alarm, until: &str, words: impl Fn() -> String) -> Vec<Edge> {
        let before = std::mem::replace(&mut self.alarm, alarm);
        let good = || format!("the certificate is valid until {until}");
        let mut edges = Vec::new();
        let age = Detection::CertificateAge;
        match (before, alarm) {
            (before, alarm) if before == alarm => {}
            (Alarm::None, _) => edges.push(Edge::new(age, Phase::Start, words())),
            (_, Alarm::None) => edges.push(Edge::new(age, Phase::End, good())),
            _ => edges.push(Edge::new(age, Phase::Update, words())),
        }
        match (before == Alarm::Expired, alarm == Alarm::Expired) {
            (false, true) => edges.push(Edge::new(Detection::CertificateExpired, Phase::Start, words())),
            (true, false) => edges.push(Edge::new(Detection::CertificateExpired, Phase::End, good())),
            (true, true) | (false, false) => {}
        }
        edges
    }

    fn handle_lists(&mut self, lists: &[String]) -> Option<Edge> {
        if lists == self.lists {
            return None;
        }
        let phase = match (self.lists.is_empty(), lists.is_empty()) {
            (true, _) => Phase::Start,
            (false, false) => Phase::Update,
            (false, true) => Phase::End,
        };
        self.lists = lists.to_vec();
        let words =
            if lists.is_empty() { "no revocation list has run out".to_owned() } else { lists.join("; ") };
        Some(Edge::new(Detection::RevocationList, phase, words))
    }
}

/// At most [`MAX_DETAIL`] bytes, on one line.
fn shortened(words: &str) -> String {
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=MAX_DETAIL.min(words.len())).rev().find(|end| words.is_char_boundary(*end));
    words.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    fn standing(alarm: Alarm, trouble: Option<&str>) -> Status {
        Status {
            alarm,
            trouble: trouble.map(str::to_owned),
            until: Some(Wall::default()),
            ..Status::default()
        }
    }

    fn edges(told: &mut Told, alarm: Alarm, trouble: Option<&str>) -> Vec<(&'static str, Phase)> {
        let edges = told.handle_standing(&standing(alarm, trouble));
        edges.iter().map(|edge| (edge.detection.as_str(), edge.phase)).collect()
    }

    #[test]
    fn an_age_begins_grows_and_ends_and_an_expiry_is_an_event_of_its_own() {
        let (age, expired) = ("certificate-age", "certificate-expired");
        let mut told = Told::default();
        assert_eq!(edges(&mut told, Alarm::None, None), []);
        assert_eq!(edges(&mut told, Alarm::Soon, None), [(age, Phase::Start)]);
        assert_eq!(edges(&mut told, Alarm::Soon, None), []);
        assert_eq!(edges(&mut told, Alarm::Urgent, None), [(age, Phase::Update)]);
        assert_eq!(edges(&mut told, Alarm::Expired, None), [(age, Phase::Update), (expired, Phase::Start)]);
        assert_eq!(edges(&mut told, Alarm::None, None), [(age, Phase::End), (expired, Phase::End)]);
        let words = Told::default().handle_standing(&standing(Alarm::Expired, None)).pop().unwrap().words;
        assert!(words.contains("wardline enrol") && words.contains("collected and kept"), "{words}");
    }

    #[test]
    fn a_trouble_is_told_when_it_is_another_one_and_when_it_is_over() {
        let renewal = "certificate-not-renewed";
        let mut told = Told::default();
        assert_eq!(edges(&mut told, Alarm::None, Some("down")), [(renewal, Phase::Start)]);
        assert_eq!(edges(&mut told, Alarm::None, Some("down")), []);
        assert_eq!(edges(&mut told, Alarm::None, Some("no")), [(renewal, Phase::Update)]);
        assert_eq!(edges(&mut told, Alarm::None, None), [(renewal, Phase::End)]);
    }

    #[test]
    fn lists_that_run_out_begin_change_and_end() {
        let mut told = Told::default();
        let mut phase = |lists: &[&str]| {
            let lists: Vec<String> = lists.iter().map(ToString::to_string).collect();
            told.handle_lists(&lists).map(|edge| (edge.phase, edge.words))
        };
        assert_eq!(phase(&[]), None);
        assert_eq!(phase(&["a"]), Some((Phase::Start, "a".to_owned())));
        assert_eq!(phase(&["a", "b"]), Some((Phase::Update, "a; b".to_owned())));
        assert_eq!(phase(&["a", "b"]), None);
        assert_eq!(phase(&[]).unwrap().0, Phase::End);
    }

    /// A teller, and all that it hears and says.
    struct Bench<F> {
        news: mpsc::Sender<News>,
        standing_of: watch::Sender<Status>,
        shown: watch::Sender<uplink::Status>,
        stop: watch::Sender<Stop>,
        told: mpsc::Receiver<Event>,
        running: F,
    }

    fn bench(room: usize) -> Bench<impl Future<Output = Result<(), String>>> {
        let (events, told) = mpsc::channel(room);
        let (news, heard) = mpsc::channel(8);
        let standing_of = watch::Sender::new(Status::default());
        let shown = watch::Sender::new(uplink::Status::default());
        let stop = watch::Sender::new(Stop::Run);
        let clock = Arc::new(crate::host::clock::SystemClock::default());
        let teller = Teller { clock, outbox: Outbox::new(events), told: Told::default() };
        let sources = (heard, standing_of.subscribe(), shown.subscribe());
        let running = teller.run(sources, stop.subscribe());
        Bench { news, standing_of, shown, stop, told, running }
    }

    #[tokio::test]
    async fn what_the_keeper_and_the_uplink_say_becomes_events_of_the_gateway() {
        let Bench { news, standing_of, shown, stop, told: mut taken, running } = bench(8);
        let asking = async {
            let mut next = async || {
                let Event { detection, phase, device, detail, .. } = taken.recv().await.unwrap();
                assert_eq!(device, "");
                (detection, phase, detail)
            };
            news.send(News::Renewed { until: Wall::default() }).await.unwrap();
            assert_eq!(next().await.0, Detection::CertificateRenewed);
            standing_of.send_replace(standing(Alarm::Soon, None));
            assert_eq!(next().await.0, Detection::CertificateAge);
            shown.send_modify(|status| status.outdated_lists.push("it ran out".to_owned()));
            let wanted = (Detection::RevocationList, Phase::Start, "it ran out".to_owned());
            assert_eq!(next().await, wanted);
            stop.send_replace(Stop::Finish { grace: Duration::ZERO });
        };
        let (ended, ()) = tokio::join!(running, asking);
        assert_eq!(ended, Ok(()));
    }

    /// The intake waits for the disk while a certificate runs out: its events come when there is room, each once.
    #[tokio::test]
    async fn an_event_without_room_comes_later_and_in_its_order() {
        let Bench { news, standing_of, shown, stop, told: mut taken, running } = bench(1);
        let asking = async {
            // Four events at once where there is room for one.
            standing_of.send_replace(standing(Alarm::Expired, Some("down")));
            shown.send_modify(|status| status.outdated_lists.push("it ran out".to_owned()));
            let mut told = Vec::new();
            for _ in 0..4 {
                told.push(taken.recv().await.unwrap().detection);
            }
            let (renewal, age) = (Detection::CertificateRenewal, Detection::CertificateAge);
            told.sort_by_key(|detection| *detection == Detection::RevocationList);
            assert_eq!(told, [renewal, age, Detection::CertificateExpired, Detection::RevocationList]);
            news.send(News::Renewed { until: Wall::default() }).await.unwrap();
            assert_eq!(taken.recv().await.unwrap().detection, Detection::CertificateRenewed);
            stop.send_replace(Stop::Finish { grace: Duration::ZERO });
        };
        let limit = tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(running, asking) });
        assert_eq!(limit.await.unwrap().0, Ok(()));
    }

    #[test]
    fn words_are_cut_between_characters_and_have_one_line() {
        let text = shortened(&format!("a\n{}", "ä".repeat(MAX_DETAIL)));
        assert!(
            text.len() <= MAX_DETAIL && text.len() >= MAX_DETAIL - 1 && text.starts_with("a ä"),
            "{text}"
        );
    }
}
