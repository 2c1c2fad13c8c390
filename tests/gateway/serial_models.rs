//! Every serial driver at once: each simulated device on a port of its own at its real speed, and the whole
//! daemon between them and the consumer.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use wardline::device::catalogue::{IdentityProof, Parts, serial_model, serial_models};
use wardline::device::nomenclature::{EVT_COMM_LOST, metric_by_reference};
use wardline::lab::ledger::Ledger;
use wardline::lab::numerics::minutes;
use wardline::lab::sim::{Remote, SIMS, Sim, Start};

use crate::support::{Bench, PATIENCE};

/// The description that ships as an example: the simulator of this name is read by it.
const DESCRIBED: (&str, &str) = ("site-line", "site:acme-warmer");

/// Models that state who they are, but no serial number: the port vouches for the rest.
const WITHOUT_SERIAL: [&str; 1] = ["draeger-medibus"];

/// A device that is being read.
struct Bedside {
    id: String,
    driver: &'static str,
    /// The serial number that it must state; `None`: its port vouches.
    serial: Option<String>,
    /// The places behind its port at which something stands.
    places: Vec<String>,
    remote: Arc<dyn Remote>,
}

impl Bedside {
    /// Starts the device, showing a minute of the recording. `None` for a simulator without a driver.
    fn start(bench: &mut Bench, place: usize, sim: &Sim) -> Option<Self> {
        let [identity, _] = sim.identities;
        let model = serial_model(sim.name);
        let driver = model.map(|model| model.name).or((sim.name == DESCRIBED.0).then_some(DESCRIBED.1))?;
        let is_rack = model.is_some_and(|model| model.parts != Parts::One);
        let states_serial = model.is_none_or(|model| model.identity == IdentityProof::Reported)
            && !WITHOUT_SERIAL.contains(&sim.name)
            && !is_rack;
        let link = Some(bench.path().join(format!("port-{place}")));
        let start = Start { link, identity: Some(identity.to_owned()), ..Start::default() };
        let running = (sim.start)(&start).unwrap();
        bench.beside(running.device);
        running.remote.play(minutes().first().unwrap());
        let places: BTreeSet<String> = running.remote.shown().into_iter().map(|shown| shown.at).collect();
        let places: Vec<String> = places.into_iter().filter(|at| !at.is_empty()).collect();
        assert_eq!(is_rack, !places.is_empty(), "{}: {places:?}", sim.name);
        // Behind a model number, where the device says both in one.
        let serial = states_serial.then(|| identity.split(' ').next_back().unwrap().to_owned());
        Some(Self { id: format!("d{place}"), driver, serial, places, remote: running.remote })
    }

    /// The id of what stands at a place; of the device itself when that is empty.
    fn id(&self, at: &str) -> String {
        match self.places.iter().position(|place| place == at) {
            Some(place) => format!("{}-{place}", self.id),
            None => self.id.clone(),
        }
    }

    fn entry(&self) -> String {
        let Self { id, driver, serial, places, remote } = self;
        let port = remote.path().display().to_string();
        let proof = match serial {
            Some(serial) => format!("expects = {{ serial = {serial:?} }}"),
            None => "trust = \"link-only\"".to_owned(),
        };
        let mut text = format!(
            "[[device]]\nid = {id:?}\nasset = {id:?}\ndriver = {driver:?}\nport = {port:?}\n\
             allow_unstable_port = true\n{proof}\nelements = \"all\"\n"
        );
        for at in places {
            let id = self.id(at);
            let _ = writeln!(
                text,
                "[[device.part]]\nat = {at:?}\nid = {id:?}\nasset = {id:?}\ntrust = \"link-only\"\nelements = \"all\""
            );
        }
        text
    }

    /// What of it has not arrived yet: a reading of each part, and every value that it shows.
    fn missing(&self, ledger: &Ledger) -> Vec<String> {
        let of = |id: String| {
            let readings = ledger.kept.iter().filter(move |(from, _)| *from == id);
            readings.map(|(_, reading)| reading).filter(|reading| reading.code != EVT_COMM_LOST.code)
        };
        let whole = self.places.is_empty().then_some(String::new());
        let silent = self.places.iter().cloned().chain(whole).filter(|at| of(self.id(at)).next().is_none());
        let shown = self.remote.shown();
        let unseen = shown.iter().filter(|shown| {
            let code = metric_by_reference(shown.reference).unwrap().code;
            !of(self.id(&shown.at))
                .any(|reading| reading.code == code && is_equal(&reading.value, &shown.value))
        });
        silent
            .map(|at| format!("{} at {at:?}", self.driver))
            .chain(unseen.map(|s| format!("{s:?}")))
            .collect()
    }
}

fn is_equal(one: &str, other: &str) -> bool {
    one == other
        || matches!((one.parse::<f64>(), other.parse::<f64>()), (Ok(one), Ok(other)) if (one - other).abs() < 1e-9)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_serial_driver_brings_its_device_to_the_consumer_whole_and_once() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let all: Vec<Bedside> =
        SIMS.iter().enumerate().filter_map(|(place, sim)| Bedside::start(&mut bench, place, sim)).collect();
    let drivers: BTreeSet<&str> = all.iter().map(|device| device.driver).collect();
    let expected: BTreeSet<&str> =
        serial_models().iter().map(|model| model.name).chain([DESCRIBED.1]).collect();
    assert_eq!(drivers, expected, "each driver has its simulator");
    let example = include_str!("../../configs/devices.d/site-line.toml");
    let (description, _) = example.split_once("[[device]]").unwrap();
    bench.configure(&format!("{description}{}", all.iter().map(Bedside::entry).collect::<String>()));
    let mut daemon = bench.start();

    let missing = |ledger: &Ledger| all.iter().flat_map(|device| device.missing(ledger)).collect::<Vec<_>>();
    let arrived = bench.consumer.wait_for(|ledger| missing(ledger).is_empty());
    let in_time = tokio::time::timeout(PATIENCE * 4, arrived).await;
    let status = bench.status("an answer", |_| true).await;
    let missing = bench.consumer.with(|ledger| missing(ledger));
    assert!(in_time.is_ok(), "{missing:#?}\n{:#?}", status.devices);

    for device in &all {
        assert_eq!(device.remote.refused(), 0, "{} was asked what it does not know", device.driver);
        let live = status.devices.iter().find(|live| live.id == device.id).unwrap();
        assert_eq!((live.link.as_str(), live.refused.len()), ("up", 0), "{}: {live:?}", device.driver);
    }
    bench.end(&mut daemon).await;
    bench.consumer.with(|ledger| {
        assert_eq!((ledger.lost(), ledger.gaps, ledger.sum(|tally| tally.doubled)), (0, 0, 0));
        assert_eq!(ledger.complaints, [""; 0]);
    });
}
