//! The broker comes back to a backlog while readings go on: live readings do not wait behind it, and
//! it does not wait behind them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use wardline::host::status::Snapshot;
use wardline::lab::broker::{Behaviour, Links};
use wardline::lab::ledger::{Ledger, Tally};
use wardline::lab::sim::{Control, masimo};
use wardline::lab::stage::{self, Daemon};

use crate::support::{Bench, PATIENCE, within};

/// Oximeters, faster than any real line.
const DEVICES: usize = 3;

/// What arrived in one of the two streams: first and last place in the order of arrival, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stream {
    first: usize,
    last: usize,
    count: usize,
}

fn stream(ledger: &Ledger, historical: bool) -> Stream {
    let places = ledger.arrivals.iter().enumerate().filter(|(_, arrival)| arrival.historical == historical);
    places.fold(Stream::default(), |stream, (place, _)| Stream {
        first: if stream.count == 0 { place } else { stream.first },
        last: place,
        count: stream.count + 1,
    })
}

fn waiting(status: &Snapshot) -> u64 {
    status.lanes.iter().map(|lane| lane.records).sum()
}

fn durable(status: &Snapshot) -> u64 {
    status.lanes.iter().map(|lane| lane.durable_total).sum()
}

/// Some oximeters that show something all the time, and a daemon that cannot reach its broker until so
/// many records wait.
struct Outage {
    bench: Bench,
    daemon: Daemon,
    oximeters: Vec<Control<masimo::Values>>,
    feeding: JoinHandle<()>,
}

impl Outage {
    async fn of(backlog: u64, each: Duration) -> Self {
        let mut bench = Bench::new().await;
        // The consumer is known to the broker, then nobody reaches it any more.
        bench.serve().await;
        bench.behaviour.send_modify(|behaviour| behaviour.links = Links::Cut);
        let mut devices = String::new();
        let mut oximeters = Vec::new();
        for number in 0..DEVICES {
            let (id, serial) = (format!("spo2-{number}"), format!("000005666{number}"));
            let oximeter = bench.oximeter(&id, &serial, 1_000_000);
            devices += &stage::serial_device(&id, "masimo-ascii1", &oximeter.path(), &serial);
            oximeters.push(oximeter);
        }
        bench.configure(&devices);
        let feeding = tokio::spawn(feed(oximeters.clone(), each));
        // Many small commits, not one for each quarter of a second.
        let daemon = bench.start_with(&[("WARDLINE_STORE__LINGER", "20ms")]);
        bench.status("a backlog", |status| waiting(status) >= backlog).await;
        Self { bench, daemon, oximeters, feeding }
    }

    /// The broker is there again at the end of a long line, and takes little at a time.
    fn end(&self, receive_maximum: u16, delay: Duration) {
        self.bench.behaviour.send_replace(Behaviour {
            receive_maximum,
            max_packet: 16 * 1024,
            delay,
            ..Behaviour::default()
        });
    }

    /// The devices fall silent, and the broker takes what it can. All arrived, each once, and each
    /// stream of a device in its order.
    async fn check_all_arrived(mut self) {
        self.feeding.abort();
        let promised = durable(&self.bench.status("how much is durable", |_| true).await);
        for oximeter in &self.oximeters {
            oximeter.stop();
        }
        assert_eq!(self.daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", self.daemon.last_words());
        // Another start sends what the first could not any more.
        self.bench.behaviour.send_replace(Behaviour::default());
        let mut daemon = self.bench.start();
        let is_drained = |status: &Snapshot| status.uplink.state == "connected" && waiting(status) == 0;
        self.bench.status("the store runs empty", is_drained).await;
        self.bench.end(&mut daemon).await;
        self.bench.consumer.with(|ledger| {
            assert!(ledger.records >= promised, "{} of {promised} arrived", ledger.records);
            assert_eq!(ledger.complaints, Vec::<String>::new());
            assert_eq!((ledger.gaps, ledger.lost()), (0, 0));
            let of = |number: fn(&Tally) -> u64| ledger.sum(number);
            assert_eq!((of(|tally| tally.doubled), of(|tally| tally.out_of_order)), (0, 0));
            let mut runs: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
            for (device, reading) in &ledger.kept {
                runs.entry((device, &reading.run)).or_default().push(reading.seq.unwrap());
            }
            assert!(runs.len() >= DEVICES);
            for (run, mut seqs) in runs {
                seqs.sort_unstable();
                assert!((1u64..).zip(&seqs).all(|(wanted, seq)| wanted == *seq), "{run:?} has a hole");
            }
        });
    }
}

async fn feed(oximeters: Vec<Control<masimo::Values>>, each: Duration) {
    let mut ticks = tokio::time::interval(each);
    for n in 0u64.. {
        ticks.tick().await;
        let bpm = u16::try_from(40 + n % 150).unwrap();
        for oximeter in &oximeters {
            oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_readings_arrive_all_the_while_a_backlog_drains() {
    let outage = Outage::of(4_000, Duration::from_millis(5)).await;
    outage.end(8, Duration::from_millis(4));
    // Readings go on until live ones arrived long after the last of the backlog.
    let is_over = |ledger: &Ledger| {
        let (live, backlog) = (stream(ledger, false), stream(ledger, true));
        backlog.count >= 4_000 && live.last > backlog.last + 1_000
    };
    let consumer = &outage.bench.consumer;
    within("live readings behind the backlog", consumer.wait_for(is_over)).await;
    consumer.with(|ledger| {
        let (live, backlog) = (stream(ledger, false), stream(ledger, true));
        println!("live {live:?}, backlog {backlog:?}");
        let meanwhile = &ledger.arrivals[backlog.first..=backlog.last];
        let quarters: Vec<usize> = meanwhile
            .chunks(meanwhile.len().div_ceil(4))
            .map(|quarter| quarter.iter().filter(|arrival| !arrival.historical).count())
            .collect();
        assert!(quarters.iter().all(|live| *live > 0), "live in each quarter of the backlog: {quarters:?}");
    });
    outage.check_all_arrived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_too_slow_for_what_is_live_carries_the_backlog_beside_it() {
    let outage = Outage::of(1_500, Duration::from_millis(2)).await;
    let before = durable(&outage.bench.status("the backlog", |_| true).await);
    // A few readings at a time, and the next only when these are answered: less than what is read, whatever the
    // machine can do.
    outage.end(1, Duration::from_millis(8));
    let is_over = |ledger: &Ledger| {
        let (live, backlog) = (stream(ledger, false), stream(ledger, true));
        u64::try_from(backlog.count).unwrap() >= before && live.last > backlog.last + 100
    };
    let consumer = &outage.bench.consumer;
    within("all of the backlog", consumer.wait_for(is_over)).await;
    let status = outage.bench.status("what waits", |_| true).await;
    consumer.with(|ledger| {
        let (live, backlog) = (stream(ledger, false), stream(ledger, true));
        println!("live {live:?}, backlog {backlog:?}, waiting {}", waiting(&status));
        let meanwhile = &ledger.arrivals[live.first.min(backlog.last)..backlog.last];
        let live_meanwhile = meanwhile.iter().filter(|arrival| !arrival.historical).count();
        // The link was never free of live readings: there were always more than it could carry.
        assert!(waiting(&status) > 500, "the link kept up: {} wait", waiting(&status));
        // Three of four were live, but for what was on its way in the first moment.
        assert!(live_meanwhile * 3 > meanwhile.len() * 2, "{live_meanwhile} live of {}", meanwhile.len());
    });
    outage.check_all_arrived().await;
}
