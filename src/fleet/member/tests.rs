//! A member with a real folder and real files, by simulated time.

mod advisories;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::boot::{Membership, boot};
use super::*;
use crate::config::{Catalogue, Environment, load_with};
use crate::fleet::agent::Standing;
use crate::fleet::documents::Document as _;
use crate::fleet::documents::reported::{self, Word};
use crate::fleet::health::DeviceVitals;
use crate::fleet::workshop::*;
use crate::host::atomic_file;
use crate::time::Wall;

const GATEWAY: &str = "devices = \"none\"\n[gateway]\norganisation = \"st-anna\"\ngroup = \"icu-3\"\nid = \"gw-1\"\n\
    [uplink]\nhost = \"mqtt.st-anna.example\"\nauthorities = \"ca.pem\"\ncertificate = \"own.pem\"";
/// A gateway with a certificate: without one it reports nothing.
fn certified() -> About {
    let certificate = reported::Certificate {
        not_after: at("2027-01-01"),
        key_protection: "file".to_owned(),
        chain: Vec::new(),
    };
    About { boot: "0".repeat(32), certificate: Some(certificate), ..About::default() }
}

const TS: &str = "c/v1/st-anna/g/icu-3/ts";

fn pump(id: &str) -> Value {
    json!({
        "id": id, "asset": id, "driver": "alaris-asena", "elements": "all", "expects": { "serial": id },
        "port": format!("/dev/serial/by-path/{id}"), "gateways": ["gw-1"], "quiet": "30s",
    })
}

/// What a broker retains.
#[derive(Clone)]
struct Published {
    timestamp: Vec<u8>,
    bundle: (u64, Vec<u8>),
}

fn published(version: u64, devices: &Value, change: impl FnOnce(&mut Value)) -> Published {
    let bundle = bundle_of(
        |bundle| {
            (bundle["version"], bundle["devices"]) = (json!(version), devices.clone());
            change(bundle);
        },
        &[11, 12],
    );
    let timestamp = timestamp_of(
        &bundle,
        |t| {
            (t["version"], t["head"]["version"]) = (json!(70 + version), json!(version));
            t["rollout"]["canaries"] = json!(["gw-1"]);
        },
        ONLINE,
    );
    Published { timestamp, bundle: (version, bundle) }
}

/// A gateway: its files, its member, and what it is like.
struct Bench {
    place: tempfile::TempDir,
    member: Option<Member>,
    now: Now,
    /// The devices that run, and those that speak.
    devices: BTreeSet<String>,
    mute: BTreeSet<String>,
    alarm: Option<bool>,
    is_up: bool,
    /// Whether the broker takes nothing although it is there.
    is_stuck: bool,
    /// What the broker had taken when it last did.
    took: u64,
    /// Since when the daemon counts.
    started: Mono,
    /// What the next configurations meet.
    faults: Vec<Fault>,
    told: Vec<String>,
    wanted: Vec<(String, u64)>,
    /// The configurations that were to run: their devices, and whether it was the way back.
    applied: Vec<(Vec<String>, bool)>,
    desk: Desk,
}

fn ids(config: &Config) -> Vec<String> {
    config.devices.iter().map(|device| device.rule.card.id.clone()).collect()
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        atomic_file::write(&place.path().join("gateway.toml"), GATEWAY.as_bytes()).unwrap();
        let root = root(1, &CONFIG, ONLINE, &[1, 2]);
        Folder::enrol(&place.path().join("fleet"), recipient(), "icu-3".to_owned(), &root).unwrap();
        let mut bench = Self {
            place,
            member: None,
            now: noon(),
            devices: BTreeSet::new(),
            mute: BTreeSet::new(),
            alarm: Some(false),
            is_up: true,
            is_stuck: false,
            took: 0,
            started: noon().mono,
            faults: Vec::new(),
            told: Vec::new(),
            wanted: Vec::new(),
            applied: Vec::new(),
            desk: Desk::default(),
        };
        bench.restart_desk();
        bench.start();
        bench
    }

    /// What it says after a start, of what its folder keeps.
    fn restart_desk(&mut self) {
        self.desk = Desk::in_folder(self.place.path().join("fleet"));
    }

    fn load(&self) -> Load {
        let path = self.place.path().to_owned();
        Arc::new(move |pushed| load_with(&path, &Environment::default(), &Catalogue::shipped(), pushed))
    }

    fn boot(&mut self) -> (Vec<String>, Membership) {
        let load = self.load();
        let boot = boot(&self.place.path().join("fleet"), recipient(), |pushed| load(pushed)).unwrap();
        self.told.extend(boot.remarks);
        (ids(&boot.loaded.config), boot.membership)
    }

    /// The daemon starts, or starts again after the power was cut.
    fn start(&mut self) {
        self.member = None;
        (self.started, self.took) = (self.now.mono, 0);
        let (devices, membership) = self.boot();
        self.devices = devices.into_iter().collect();
        let Membership::Member(enrolled) = membership else { panic!("locked: {:?}", self.told) };
        let import = Some(self.place.path().join("stick"));
        self.member = Some(enrolled.into_member(self.load(), import, self.desk.clone(), &self.now));
        self.turn(Member::handle_time);
    }

    const fn takes(&self) -> bool {
        self.is_up && !self.is_stuck
    }

    /// Everything that is counted grows with the time.
    fn counted(&self) -> u64 {
        u64::try_from(self.now.mono.since(self.started).as_millis()).unwrap()
    }

    fn signs(&self) -> Signs {
        let device = |id: &String| DeviceVitals {
            id: id.clone(),
            since_reading: (!self.mute.contains(id)).then_some(Duration::ZERO),
            quiet: Duration::from_secs(30),
        };
        let vitals = Vitals {
            is_uplink_up: self.is_up,
            is_authorised: true,
            taken: if self.takes() { self.counted() } else { self.took },
            kept: self.counted(),
            read: self.counted(),
            is_store_sound: true,
            devices: self.devices.iter().map(device).collect(),
            is_alive: true,
            is_certificate_good: true,
            ..Vitals::default()
        };
        Signs { vitals, is_alarm_active: self.alarm }
    }

    fn turn(&mut self, input: impl FnOnce(&mut Member, &Signs, &Now)) {
        let mut member = self.member.take().unwrap();
        input(&mut member, &self.signs(), &self.now);
        while let Some(order) = member.poll_order() {
            match order {
                Order::Want(wanted) => self.wanted = wanted,
                Order::Tell(told) => self.told.push(told.to_string()),
                Order::Apply(config, is_way_back) => {
                    self.applied.push((ids(&config), is_way_back));
                    let result = if self.faults.is_empty() {
                        self.devices = ids(&config).into_iter().collect();
                        Ok(())
                    } else {
                        Err(self.faults.remove(0))
                    };
                    member.handle_applied(result, &self.signs(), &self.now);
                }
            }
        }
        self.member = Some(member);
    }

    /// All that is wanted comes, until nothing new is asked for.
    fn deliver(&mut self, published: &Published) {
        for _ in 0..4 {
            let wanted = self.wanted.clone();
            for (topic, _) in &wanted {
                let bundle = format!("c/v1/st-anna/g/icu-3/bundle/{}", published.bundle.0);
                let bytes = match topic.as_str() {
                    TS => &published.timestamp,
                    name if name == bundle => &published.bundle.1,
                    _ => continue,
                };
                self.turn(|member, signs, now| member.handle_letter(topic, bytes, signs, now));
            }
            if self.wanted == wanted {
                return;
            }
        }
        panic!("asks for ever: {:?}", self.wanted);
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            if self.takes() {
                self.took = self.counted();
            }
            self.now.mono = self.now.mono + Duration::from_secs(1);
            self.now.wall = Wall::from_millis(self.now.wall.as_millis() + 1_000);
            self.turn(Member::handle_time);
        }
    }

    fn member(&self) -> &Member {
        self.member.as_ref().unwrap()
    }

    fn running(&self) -> Option<u64> {
        self.member().folder.change().running().map(|slot| slot.version)
    }

    fn standing(&self) -> Standing {
        self.member().agent.standing(self.member().folder.change(), &self.now)
    }

    fn said(&self, words: &str) -> usize {
        self.told.iter().filter(|told| told.contains(words)).count()
    }

    /// A bundle that has stood its trial.
    fn settle(&mut self, version: u64, devices: &Value) {
        self.deliver(&published(version, devices, |_| {}));
        self.pass(301);
        assert_eq!(self.running(), Some(version), "{:?}", self.told);
    }
}

#[test]
fn a_push_is_tried_and_stays_and_the_same_push_again_is_nothing() {
    let mut bench = Bench::new();
    let first = published(7, &json!([pump("pump-1")]), |_| {});
    bench.deliver(&first);
    assert_eq!(bench.applied, [(vec!["pump-1".to_owned()], false)]);
    let trial = bench.member().view(&bench.now).trial.unwrap();
    assert_eq!((trial.bundle, trial.left_ms), (7, 300_000));
    bench.pass(299);
    assert_eq!((bench.running(), bench.standing()), (None, Standing::UnderWay(7)));
    bench.pass(2);
    assert_eq!((bench.running(), bench.standing()), (Some(7), Standing::Current), "{:?}", bench.told);
    let told = bench.told.clone();
    bench.turn(|member, _, _| member.handle_lost());
    bench.deliver(&first);
    bench.pass(600);
    assert_eq!((bench.applied.len(), &bench.told), (1, &told));
    assert_eq!(
        bench.member().effective.pushed().unwrap().map(|pushed| pushed.name),
        Some("bundle 7".to_owned())
    );
}

#[test]
fn a_push_that_silences_a_device_goes_back_by_itself_and_says_why() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1"), pump("pump-2")]));
    bench.mute.insert("pump-2".to_owned());
    // Both spoke when it began: the second is silenced by what begins.
    let second = published(8, &json!([pump("pump-1"), pump("pump-2"), pump("pump-3")]), |_| {});
    bench.mute.clear();
    bench.deliver(&second);
    bench.mute.insert("pump-2".to_owned());
    bench.pass(70);
    let (devices, is_way_back) = bench.applied.last().unwrap().clone();
    assert_eq!((devices.len(), is_way_back), (2, true), "{:?}", bench.told);
    assert!(
        matches!(bench.standing(), Standing::Failed(8, reason) if reason.contains("pump-2 has given nothing"))
    );
    assert_eq!((bench.running(), bench.said("bundle 8 is not run")), (Some(7), 1));
    let report = bench.member().reported(&certified(), &bench.now).unwrap();
    let again = reported::Reported::read(&report.to_payload()).unwrap();
    let bad = again.bad.unwrap();
    assert_eq!((again.standing.word.as_str(), bad.version, again.running.unwrap().version), ("failed", 8, 7));
    assert_eq!(bad.sha256, Some(Digest::of(&second.bundle.1)), "another bundle 8 would be another matter");
    assert!(bad.reason.contains("pump-2 has given nothing"), "{}", bad.reason);
    // It is never tried again.
    bench.deliver(&second);
    bench.pass(4_000);
    assert_eq!(bench.applied.len(), 3);
    // The next one is.
    bench.mute.clear();
    bench.settle(9, &json!([pump("pump-1"), pump("pump-2"), pump("pump-3")]));
}

#[test]
fn what_the_daemon_refuses_is_taken_back_without_a_trace_in_what_is_read_again() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    bench.faults.push(Fault::Bundle("the new broker does not answer".to_owned()));
    bench.deliver(&published(8, &json!([pump("pump-1"), pump("pump-2")]), |_| {}));
    assert!(matches!(bench.standing(), Standing::Failed(8, reason) if reason.contains("does not answer")));
    assert_eq!(
        bench.member().effective.pushed().unwrap().map(|pushed| pushed.name),
        Some("bundle 7".to_owned())
    );
    // Nothing was changed, so nothing is changed back.
    assert_eq!((bench.applied.len(), bench.applied[1].1), (2, false));
}

/// Neither with the refused bundle nor without the ward's: what a reload would make of it is known to nobody.
#[test]
fn where_the_bundle_of_before_cannot_be_read_nothing_is_read_again_until_it_can() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    let folder = bench.place.path().join("fleet");
    let kept: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("bundle"))
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let away = bench.place.path().join("away");
    std::fs::rename(&kept[0], &away).unwrap();
    bench.member().restore(bench.member().folder.change().running());
    let problems = bench.member().effective.pushed().unwrap_err().to_string();
    assert!(problems.contains("cannot be read"), "{problems}");
    // As soon as it can be read it is what is read again.
    std::fs::rename(&away, &kept[0]).unwrap();
    bench.pass(1);
    let pushed = bench.member().effective.pushed().unwrap();
    assert_eq!(pushed.map(|pushed| pushed.name), Some("bundle 7".to_owned()));
}

#[test]
fn what_the_gateway_could_not_is_asked_for_again_later() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    bench.faults.push(Fault::Gateway("no broker was reached before either".to_owned()));
    let next = published(8, &json!([pump("pump-1"), pump("pump-2")]), |_| {});
    bench.deliver(&next);
    bench.pass(50);
    bench.deliver(&next);
    assert_eq!((bench.applied.len(), bench.said("is asked for again")), (2, 1), "{:?}", bench.told);
    bench.pass(11);
    bench.deliver(&next);
    assert_eq!(bench.applied.len(), 3);
    bench.pass(301);
    assert_eq!(bench.running(), Some(8));
}

#[test]
fn nothing_begins_while_an_alarm_is_active_or_may_be() {
    let mut bench = Bench::new();
    bench.alarm = None;
    bench.deliver(&published(7, &json!([pump("pump-1")]), |_| {}));
    bench.pass(5);
    assert_eq!(bench.applied.len(), 0, "nobody knows of alarms yet");
    bench.alarm = Some(true);
    bench.pass(4 * 3_600 + 5);
    assert_eq!((bench.applied.len(), bench.said("more than four hours")), (0, 1), "{:?}", bench.told);
    let view = bench.member().view(&bench.now);
    assert!(view.detail.contains("until no alarm is active"), "{}", view.detail);
    bench.alarm = Some(false);
    bench.pass(59);
    assert_eq!(bench.applied.len(), 0);
    bench.pass(3);
    assert_eq!(bench.applied.len(), 1);
}

#[test]
fn a_trial_goes_on_after_one_start_and_ends_at_the_second() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    let next = published(8, &json!([pump("pump-1"), pump("pump-2")]), |_| {});
    bench.deliver(&next);
    bench.pass(100);
    bench.start();
    assert_eq!(bench.devices.len(), 2);
    let left = bench.member().view(&bench.now).trial.map(|trial| trial.left_ms);
    assert_eq!(left, Some(300_000), "its time begins anew");
    // What it is judged by is what held before the first start.
    bench.start();
    assert_eq!((bench.devices.len(), bench.said("started again, twice")), (1, 1), "{:?}", bench.told);
    bench.deliver(&next);
    assert!(matches!(bench.standing(), Standing::Failed(8, _)), "{:?}", bench.standing());
    bench.pass(400);
    assert_eq!(bench.running(), Some(7));

    let third = published(9, &json!([pump("pump-1"), pump("pump-3")]), |_| {});
    bench.deliver(&third);
    bench.start();
    bench.mute.insert("pump-1".to_owned());
    bench.pass(61);
    assert_eq!((bench.running(), bench.said("bundle 9 is not run")), (Some(7), 1), "{:?}", bench.told);
}

#[test]
fn the_way_back_is_tried_until_it_is_open_and_nothing_begins_meanwhile() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    bench.deliver(&published(8, &json!([pump("pump-1"), pump("pump-2")]), |_| {}));
    bench.is_up = false;
    bench.faults = vec![Fault::Gateway("no broker".to_owned()); 2];
    bench.pass(121);
    assert_eq!((bench.running(), bench.said("not in force yet")), (Some(7), 1), "{:?}", bench.told);
    assert_eq!(bench.member().view(&bench.now).trouble.as_deref(), Some("no broker"));
    bench.is_up = true;
    bench.deliver(&published(9, &json!([pump("pump-1"), pump("pump-2"), pump("pump-3")]), |_| {}));
    assert_eq!(bench.applied.iter().filter(|(_, is_way_back)| !is_way_back).count(), 2);
    bench.pass(20);
    assert_eq!(bench.said("is in force again"), 1, "{:?}", bench.told);
    assert_eq!(bench.member().view(&bench.now).trouble, None);
    let begun = |bench: &Bench| bench.applied.iter().filter(|(_, is_way_back)| !is_way_back).count();
    bench.pass(2);
    assert_eq!(begun(&bench), 3, "then the next one begins");
}

#[test]
fn a_bundle_takes_no_more_devices_away_than_the_floor_lets_it() {
    let mut bench = Bench::new();
    let all = json!([pump("pump-1"), pump("pump-2"), pump("pump-3"), pump("pump-4")]);
    bench.settle(7, &all);
    bench.deliver(&published(8, &json!([pump("pump-1")]), |_| {}));
    assert!(
        matches!(bench.standing(), Standing::Failed(8, reason) if reason.contains("takes 3 of 4 devices off")),
        "{:?}",
        bench.standing()
    );
    assert_eq!(bench.applied.len(), 1);
    bench.settle(9, &json!([pump("pump-1"), pump("pump-2")]));
}

#[test]
fn a_stick_does_what_a_broker_does() {
    let mut bench = Bench::new();
    let brought = published(7, &json!([pump("pump-1")]), |_| {});
    let stick = bench.place.path().join("stick/g/icu-3/bundle");
    // A stick that is not there is nothing to tell.
    bench.turn(Member::handle_import);
    std::fs::create_dir_all(&stick).unwrap();
    atomic_file::write(&stick.join("7.json"), &brought.bundle.1).unwrap();
    atomic_file::write(&stick.with_file_name("ts.json"), &brought.timestamp).unwrap();
    bench.turn(Member::handle_import);
    assert_eq!(bench.applied, [(vec!["pump-1".to_owned()], false)], "{:?}", bench.told);
    bench.pass(301);
    bench.turn(Member::handle_import);
    assert_eq!((bench.running(), bench.applied.len()), (Some(7), 1));
}

#[test]
fn a_stick_leads_nowhere_else_and_is_read_to_no_end() {
    let mut bench = Bench::new();
    let brought = published(7, &json!([pump("pump-1")]), |_| {});
    let (stick, other) = (bench.place.path().join("stick"), bench.place.path().join("other"));
    std::fs::create_dir_all(stick.join("g")).unwrap();
    std::fs::create_dir_all(other.join("bundle")).unwrap();
    atomic_file::write(&other.join("ts.json"), &brought.timestamp).unwrap();
    std::os::unix::fs::symlink(&other, stick.join("g/icu-3")).unwrap();
    bench.turn(Member::handle_import);
    assert_eq!((bench.standing(), bench.said("it is a link")), (Standing::Unheard, 1), "{:?}", bench.told);
    bench.turn(Member::handle_import);
    assert_eq!(bench.told.len(), 1, "told once: {:?}", bench.told);
    std::fs::remove_file(stick.join("g/icu-3")).unwrap();
    std::fs::create_dir(stick.join("g/icu-3")).unwrap();
    atomic_file::write(&stick.join("g/icu-3/ts.json"), &vec![b' '; 1 << 20]).unwrap();
    bench.turn(Member::handle_import);
    assert_eq!(bench.said("endless data"), 1, "{:?}", bench.told);
    bench.turn(Member::handle_import);
    assert_eq!(bench.said("endless data"), 1, "judged once: {:?}", bench.told);
}

#[test]
fn a_disk_that_fails_delays_and_forgets_nothing() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    let (fleet, away) = (bench.place.path().join("fleet"), bench.place.path().join("away"));
    std::fs::rename(&fleet, &away).unwrap();
    let next = published(8, &json!([pump("pump-1"), pump("pump-2")]), |_| {});
    bench.deliver(&next);
    bench.pass(5);
    assert_eq!((bench.applied.len(), bench.said("cannot be kept")), (1, 1), "{:?}", bench.told);
    std::fs::rename(&away, &fleet).unwrap();
    bench.pass(61);
    bench.deliver(&next);
    assert_eq!(bench.applied.len(), 2, "{:?}", bench.told);
    // A verdict that could not be kept is kept later.
    bench.pass(299);
    std::fs::rename(&fleet, &away).unwrap();
    bench.pass(10);
    assert_eq!(bench.running(), Some(7));
    std::fs::rename(&away, &fleet).unwrap();
    bench.pass(1);
    assert_eq!(bench.running(), Some(8));
}

#[test]
fn a_folder_that_is_not_to_be_believed_leaves_the_files() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    for state in ["state.a", "state.b"] {
        atomic_file::write(&bench.place.path().join("fleet").join(state), b"{}").unwrap();
    }
    let (devices, membership) = bench.boot();
    let Membership::Locked(locked) = membership else { panic!("it was believed") };
    assert!(devices.is_empty() && locked.reason.contains("no copy"), "{}", locked.reason);
    assert_eq!(locked.view().standing, "locked");
}

#[test]
fn a_bundle_that_was_lost_comes_again_and_the_files_run_until_then() {
    let mut bench = Bench::new();
    let devices = json!([pump("pump-1")]);
    bench.settle(7, &devices);
    let bundle = std::fs::read_dir(bench.place.path().join("fleet")).unwrap();
    let bundle =
        bundle.map(|entry| entry.unwrap().path()).find(|path| path.to_string_lossy().contains("bundle-7"));
    atomic_file::write(&bundle.unwrap(), b"{}").unwrap();
    bench.start();
    assert_eq!((bench.devices.len(), bench.said("cannot be read")), (0, 1), "{:?}", bench.told);
    bench.settle(7, &devices);
    assert_eq!(bench.devices.len(), 1);
}

#[test]
fn a_bundle_that_no_longer_loads_leaves_the_files_and_says_so() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    // The administrator has lowered what is let from afar: the bundle goes beyond it now.
    bench.deliver(&published(8, &json!([pump("pump-1")]), |bundle| {
        bundle["settings"] = json!({ "uplink": { "heartbeat": "10m" } });
    }));
    bench.pass(301);
    assert_eq!(bench.running(), Some(8));
    atomic_file::write(&bench.place.path().join("floor.toml"), b"heartbeat = \"1m\"").unwrap();
    bench.start();
    let trouble = bench.member().view(&bench.now).trouble.unwrap();
    assert!(bench.devices.is_empty() && trouble.contains("bundle 8 does not load"), "{trouble}");
    assert_eq!(bench.said("the files run, and not what stood its trial: bundle 8"), 1, "{:?}", bench.told);
    // Nobody is told that it runs.
    let report = bench.member().reported(&certified(), &bench.now).unwrap();
    assert_eq!((report.running, report.standing.word), (None, Word::Unheard));
    bench.deliver(&published(8, &json!([pump("pump-1")]), |bundle| {
        bundle["settings"] = json!({ "uplink": { "heartbeat": "10m" } });
    }));
    let report = bench.member().reported(&certified(), &bench.now).unwrap();
    assert_eq!((report.running, report.standing.word), (None, Word::Failed));
    assert!(report.standing.detail.unwrap().contains("bundle 8 does not load"));

    // One that is no better goes back to the files, and not again and again to what does not load.
    bench.mute.insert("pump-2".to_owned());
    bench.faults.push(Fault::Bundle("no such port".to_owned()));
    bench.deliver(&published(9, &json!([pump("pump-2")]), |_| {}));
    bench.pass(60);
    assert!(bench.devices.is_empty() && bench.said("bundle 9 is not run") == 1, "{:?}", bench.told);
    // The next one mends it.
    bench.settle(10, &json!([pump("pump-1")]));
    assert_eq!((bench.devices.len(), bench.running()), (1, Some(10)));
    let view = bench.member().view(&bench.now);
    assert_eq!((view.trouble, view.bundle), (None, Some(10)));
}

#[test]
fn a_trial_that_fails_goes_back_to_the_files_where_the_one_before_does_not_load_any_more() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    bench.deliver(&published(8, &json!([pump("pump-1")]), |bundle| {
        bundle["settings"] = json!({ "uplink": { "heartbeat": "10m" } });
    }));
    bench.pass(301);
    bench.deliver(&published(9, &json!([pump("pump-1"), pump("pump-2")]), |_| {}));
    bench.pass(60);
    assert_eq!(bench.devices.len(), 2);
    // While it is on trial, somebody makes the floor stricter; then the broker takes nothing.
    atomic_file::write(&bench.place.path().join("floor.toml"), b"heartbeat = \"1m\"").unwrap();
    bench.is_up = false;
    bench.pass(400);
    assert!(bench.devices.is_empty(), "{:?}", bench.devices);
    assert_eq!(bench.said("the files run, and not what stood its trial: bundle 8"), 1, "{:?}", bench.told);
    let applied = bench.applied.len();
    bench.pass(60);
    assert_eq!(bench.applied.len(), applied, "it is not tried again and again");
}

#[test]
fn a_transfer_is_listened_to_where_it_leads() {
    let mut bench = Bench::new();
    bench.deliver(&published(7, &json!([]), |bundle| {
        bundle["members"] = json!(["gw-2"]);
        bundle["transfers"] = json!([{ "gateway": "gw-1", "to": "icu-4" }]);
    }));
    assert!(
        bench.wanted.iter().any(|(topic, _)| topic == "c/v1/st-anna/g/icu-4/ts")
            && !bench.wanted.iter().any(|(topic, _)| topic.contains("icu-3")),
        "{:?}",
        bench.wanted
    );
    assert_eq!(bench.member().view(&bench.now).group, "icu-4");
    // And after a start.
    bench.start();
    assert_eq!(bench.member().view(&bench.now).group, "icu-4");
}

#[test]
fn the_trial_is_never_shorter_than_the_floor() {
    let mut bench = Bench::new();
    let load = bench.load();
    let gateway = bench.place.path().join("gateway.toml");
    let of = |setting: &str, floor: &str| {
        atomic_file::write(&gateway, format!("{GATEWAY}\n{setting}").as_bytes()).unwrap();
        atomic_file::write(&bench.place.path().join("floor.toml"), floor.as_bytes()).unwrap();
        limits(&load(None).unwrap().config).trial.as_secs()
    };
    assert_eq!(of("", ""), 300);
    assert_eq!(of("[fleet]\ntrial = \"20s\"", ""), 300);
    assert_eq!(of("[fleet]\ntrial = \"20s\"", "trial = \"15s\""), 20);
    assert_eq!(of("[fleet]\ntrial = \"10s\"", "trial = \"15s\""), 15);
    assert_eq!(of("[fleet]\ntrial = \"10m\"", ""), 600);
    bench.told.clear();
}

/// The power is cut between the beginning and the new configuration, and no broker was there before: at the next
/// start a wrong one looks no worse.
#[test]
fn a_trial_without_a_broker_commits_none_that_was_never_reached() {
    for (host, is_up, runs) in [
        ("other.st-anna.example", false, 7),
        ("other.st-anna.example", true, 8),
        // It leads to where the gateway went before: nobody blames it.
        ("mqtt.st-anna.example", false, 8),
    ] {
        let mut bench = Bench::new();
        let floor = b"host_suffix = \"st-anna.example\"";
        atomic_file::write(&bench.place.path().join("floor.toml"), floor).unwrap();
        bench.settle(7, &json!([pump("pump-1")]));
        bench.is_up = false;
        bench.deliver(&published(8, &json!([pump("pump-1")]), |bundle| {
            bundle["settings"] = json!({ "uplink": { "host": host } });
        }));
        assert!(bench.member().folder.change().on_trial().is_some(), "{:?}", bench.told);
        bench.start();
        bench.is_up = is_up;
        bench.pass(301);
        assert_eq!(bench.running(), Some(runs), "{host} {is_up}: {:?}", bench.told);
        assert_eq!(bench.said("uplink: no connection"), usize::from(runs == 7), "{:?}", bench.told);
    }
}

/// What the old broker took until the moment of the change is no word of the new one.
#[test]
fn what_was_taken_before_a_trial_proves_nothing() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    bench.deliver(&published(8, &json!([pump("pump-1"), pump("pump-2")]), |_| {}));
    (bench.is_stuck, bench.took) = (true, bench.counted());
    bench.pass(121);
    assert_eq!(
        (bench.running(), bench.said("nothing of this trial was taken")),
        (Some(7), 1),
        "{:?}",
        bench.told
    );
}

/// The record that a trial is proven by is written again after a start.
#[test]
fn a_trial_that_goes_on_after_a_start_says_so_again() {
    let mut bench = Bench::new();
    bench.deliver(&published(7, &json!([pump("pump-1")]), |_| {}));
    assert_eq!(bench.said("runs on trial"), 1);
    bench.start();
    assert_eq!(bench.said("runs on trial"), 2, "{:?}", bench.told);
    bench.pass(301);
    bench.start();
    assert_eq!((bench.running(), bench.said("runs on trial")), (Some(7), 2), "{:?}", bench.told);
}

#[test]
fn a_freeze_is_told_and_its_end_too() {
    let mut bench = Bench::new();
    let first = published(7, &json!([pump("pump-1")]), |_| {});
    bench.deliver(&first);
    bench.pass(301);
    bench.now.wall = at("2026-11-25").0;
    bench.pass(2);
    assert_eq!((bench.said("the last word of the fleet expired"), bench.said("heard again")), (1, 0));
    let timestamp = timestamp_of(
        &first.bundle.1,
        |t| {
            (t["version"], t["issued_at"]) = (json!(78), json!("2026-11-25T00:00:00Z"));
            t["expires"] = json!("2026-11-27T00:00:00Z");
        },
        ONLINE,
    );
    bench.turn(|member, signs, now| member.handle_letter(TS, &timestamp, signs, now));
    bench.pass(2);
    assert_eq!((bench.standing(), bench.said("heard again")), (Standing::Current, 1), "{:?}", bench.told);
}

/// A transfer alone changes nothing of what runs: the readings go to the old group until a bundle of the new one runs.
#[test]
fn the_topics_follow_the_group_of_the_bundle_that_runs() {
    let mut bench = Bench::new();
    bench.settle(7, &json!([pump("pump-1")]));
    bench.deliver(&published(8, &json!([]), |bundle| {
        bundle["members"] = json!(["gw-2"]);
        bundle["transfers"] = json!([{ "gateway": "gw-1", "to": "icu-4" }]);
    }));
    let group = |bench: &Bench| {
        let pushed = bench.member().effective.pushed().unwrap();
        bench.load()(pushed.as_ref()).unwrap().config.uplink.group
    };
    assert_eq!(
        (bench.member().view(&bench.now).group.as_str(), group(&bench)),
        ("icu-4", "icu-3".to_owned())
    );
    let bundle = bundle_of(
        |bundle| (bundle["group"], bundle["devices"]) = (json!("icu-4"), json!([pump("pump-1")])),
        &[11, 12],
    );
    let timestamp = timestamp_of(
        &bundle,
        |t| {
            (t["group"], t["rollout"]["canaries"]) = (json!("icu-4"), json!(["gw-1"]));
        },
        ONLINE,
    );
    for (topic, bytes) in [("c/v1/st-anna/g/icu-4/ts", timestamp), ("c/v1/st-anna/g/icu-4/bundle/7", bundle)]
    {
        bench.turn(|member, signs, now| member.handle_letter(topic, &bytes, signs, now));
    }
    assert_eq!(group(&bench), "icu-4", "on trial: {:?}", bench.told);
    bench.is_up = false;
    bench.pass(121);
    assert_eq!(group(&bench), "icu-3", "taken back: {:?}", bench.told);
}
