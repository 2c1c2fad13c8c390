//! Devices behind one port: every rack of the catalogue, simulated, through the whole daemon.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use wardline::device::Part;
use wardline::device::catalogue::{Parts, SerialModel, serial_model};
use wardline::device::nomenclature::{EVT_COMM_LOST, metric_by_reference};
use wardline::host::status::Snapshot;
use wardline::lab::ledger::Ledger;
use wardline::lab::numerics::minutes;
use wardline::lab::sim::{Remote, SIMS, Shown, Start};

use crate::support::{Bench, PATIENCE, within};

/// A rack that is being read.
struct Rack {
    place: usize,
    model: &'static SerialModel,
    names: &'static [&'static str],
    remote: Arc<dyn Remote>,
}

impl Rack {
    /// The id of the device that is listed at a place.
    /// Which part shows it.
    fn part(&self, shown: &Shown) -> Part {
        self.model.parts.find(&shown.at).unwrap_or(Part::WHOLE)
    }

    fn id(&self, part: Part) -> String {
        if part == Part::WHOLE {
            format!("rack-{}", self.place)
        } else {
            format!("r{}-{}", self.place, part.0)
        }
    }

    /// Lists the rack with a device at each of its places. Nobody proves anything: each place vouches.
    fn entry(&self) -> String {
        let (id, driver) = (self.id(Part::WHOLE), self.model.name);
        let port = self.remote.path().display().to_string();
        let mut text = format!(
            "[[device]]\nid = {id:?}\nasset = {id:?}\ndriver = {driver:?}\nport = {port:?}\n\
             allow_unstable_port = true\ntrust = \"link-only\"\nelements = \"all\"\n"
        );
        for (part, name) in (1..).map(Part).zip(self.names) {
            let id = self.id(part);
            let _ = writeln!(
                text,
                "[[device.part]]\nat = {name:?}\nid = {id:?}\nasset = {id:?}\ntrust = \"link-only\"\nelements = \"all\""
            );
        }
        text
    }

    /// What it shows and what did not arrive under the name of the right place.
    fn missing(&self, ledger: &Ledger) -> Vec<String> {
        let is_there = |id: &str, code: u32, value: &str| {
            ledger.kept.iter().any(|(of, reading)| {
                of == id
                    && reading.code == code
                    && (reading.value == value || is_equal(&reading.value, value))
            })
        };
        self.remote
            .shown()
            .iter()
            .filter(|shown| {
                let code = metric_by_reference(shown.reference).map_or(0, |metric| metric.code);
                !is_there(&self.id(self.part(shown)), code, &shown.value)
            })
            .map(|shown| format!("{} {shown:?}", self.id(self.part(shown))))
            .collect()
    }
}

fn is_equal(one: &str, other: &str) -> bool {
    matches!((one.parse::<f64>(), other.parse::<f64>()), (Ok(one), Ok(other)) if (one - other).abs() < 1e-9)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_a_rack_arrives_under_the_name_of_its_place_and_of_no_other() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let mut racks = Vec::new();
    for (place, sim) in SIMS.iter().enumerate() {
        let Some(model) = serial_model(sim.name) else { continue };
        let Parts::Many { names, .. } = model.parts else { continue };
        let link = Some(bench.path().join(format!("port-{place}")));
        let running = (sim.start)(&Start { link, ..Start::default() }).unwrap();
        bench.beside(running.device);
        running.remote.play(&minutes()[0]);
        racks.push(Rack { place, model, names, remote: running.remote });
    }
    bench.configure(&racks.iter().map(Rack::entry).collect::<String>());
    if racks.is_empty() {
        return;
    }
    let mut daemon = bench.start();
    for rack in &racks {
        let all = bench.consumer.wait_for(|ledger| rack.missing(ledger).is_empty());
        let in_time = tokio::time::timeout(PATIENCE, all).await;
        let missing = bench.consumer.with(|ledger| rack.missing(ledger));
        assert!(in_time.is_ok(), "{}: {missing:#?}", rack.model.name);
    }
    // Not every simulator says what it shows: somebody has to be there, and to be heard.
    let is_heard = |status: &Snapshot, rack: &Rack| {
        let parts =
            status.devices.iter().filter(|device| device.id.starts_with(&format!("r{}-", rack.place)));
        parts.filter(|part| part.link == "up" && part.stated.is_some() && part.admitted > 1).count() > 0
    };
    bench.status("all racks to be read", |status| racks.iter().all(|rack| is_heard(status, rack))).await;
    // Whoever was heard up to here must be there by now.
    let of_devices = |ledger: &Ledger| {
        let said = ledger.kept.iter().filter(|(_, reading)| reading.code != EVT_COMM_LOST.code);
        said.map(|(id, _)| id.clone()).collect::<BTreeSet<String>>()
    };
    within("readings", bench.consumer.wait_for(|ledger| !of_devices(ledger).is_empty())).await;
    let heard = bench.consumer.with(|ledger| of_devices(ledger));
    let status = bench.status("an answer", |_| true).await;
    bench.end(&mut daemon).await;
    bench
        .consumer
        .with(|ledger| assert_eq!((ledger.lost(), ledger.complaints.as_slice()), (0, [].as_slice())));
    for id in heard {
        let device = status.devices.iter().find(|device| device.id == id).unwrap();
        assert_eq!(device.link, "up", "{device:?}");
    }
}
