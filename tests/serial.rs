//! Serial devices from the wire to the normal form: simulated devices on real pseudo-terminals at
//! their real baud rate, the real link, the real drivers, and a session no cleverer than it must be.

#![cfg(feature = "lab")]

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a session in real time needs a clock and a task")]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use tokio::sync::Notify;
    use tokio::task::JoinHandle;
    use wardline::device::catalogue::{SerialModel, serial_model, serial_models};
    use wardline::device::observation::{Absent, Kind, Observation, Value};
    use wardline::device::serial::decode_capture;
    use wardline::device::{Action, Driver, Fault, FaultKind, Identity};
    use wardline::lab::sim::{Control, Sent, Trouble, alaris, masimo};
    use wardline::link::serial::SerialLink;
    use wardline::link::{Link, LinkCommand, LinkError, LinkEvent};
    use wardline::time::{Mono, Now};

    /// What a session tells, with the time since its start.
    #[derive(Clone, Debug)]
    enum Told {
        Up,
        Down(String),
        Identity(Identity),
        Observation(Box<Observation>),
        Fault(Fault),
    }

    #[derive(Clone, Default)]
    struct Record {
        log: Arc<Mutex<Vec<(Duration, Told)>>>,
        grown: Arc<Notify>,
    }

    impl Record {
        fn tell(&self, at: Duration, told: Told) {
            self.log.lock().unwrap().push((at, told));
            self.grown.notify_one();
        }

        fn all(&self) -> Vec<(Duration, Told)> {
            self.log.lock().unwrap().clone()
        }

        fn observations(&self) -> Vec<Observation> {
            self.all()
                .into_iter()
                .filter_map(|(_, told)| if let Told::Observation(said) = told { Some(*said) } else { None })
                .collect()
        }

        /// The values of one element, as text.
        fn values(&self, reference: &str) -> Vec<String> {
            let said = self.observations();
            said.iter()
                .filter(|said| said.metric.reference == reference)
                .map(|said| shown(&said.value))
                .collect()
        }

        fn faults(&self) -> Vec<Fault> {
            self.all()
                .into_iter()
                .filter_map(|(_, told)| if let Told::Fault(fault) = told { Some(fault) } else { None })
                .collect()
        }

        fn identities(&self) -> Vec<Option<String>> {
            self.all()
                .into_iter()
                .filter_map(
                    |(_, told)| {
                        if let Told::Identity(identity) = told { Some(identity.serial) } else { None }
                    },
                )
                .collect()
        }

        /// Waits until the record satisfies a condition; fails with what it holds after 30 s.
        async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
            let wait = async {
                while !condition(self) {
                    self.grown.notified().await;
                }
            };
            let is_met = tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok();
            let last: Vec<_> = self.all().into_iter().rev().take(6).collect();
            assert!(is_met, "waited in vain for {what}; the record ends with {last:?}");
        }
    }

    fn shown(value: &Value) -> String {
        match value {
            Value::Decimal(value) => value.to_string(),
            Value::Text(words) => words.clone(),
            Value::Absent(why) => why.code().to_owned(),
            Value::Bits(bits) => format!("{bits:#x}"),
            Value::Alarm(alarm) => {
                format!("{} {} {}", alarm.code, alarm.phase.as_str(), alarm.priority.as_str())
            }
        }
    }

    /// One driver on one link, for ever: what the daemon's session does, without its care.
    async fn session(mut link: SerialLink, mut driver: Box<dyn Driver>, record: Record) {
        let began = Instant::now();
        let now = || Now {
            mono: Mono::from_nanos(u64::try_from(began.elapsed().as_nanos()).unwrap()),
            ..Now::default()
        };
        let tell = |told| record.tell(began.elapsed(), told);
        loop {
            if link.open().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            tell(Told::Up);
            driver.handle_event(&LinkEvent::Up, now());
            let reason = converse(&mut link, driver.as_mut(), &now, &tell).await;
            tell(Told::Down(reason.to_string()));
            driver.handle_event(&LinkEvent::Down(reason), now());
            while driver.poll_action().is_some() {}
            link.close().await;
        }
    }

    async fn converse(
        link: &mut SerialLink,
        driver: &mut dyn Driver,
        now: &impl Fn() -> Now,
        tell: &impl Fn(Told),
    ) -> LinkError {
        loop {
            while let Some(action) = driver.poll_action() {
                match action {
                    Action::Command(LinkCommand::HangUp) => return LinkError::HungUp,
                    Action::Command(command) => {
                        if let Err(error) = link.perform(command).await {
                            return error;
                        }
                    }
                    Action::Identify(identity) => tell(Told::Identity(identity)),
                    Action::Observe(said) => tell(Told::Observation(Box::new(said))),
                    Action::Report(fault) => tell(Told::Fault(fault)),
                }
            }
            let due = driver.poll_timeout();
            let wait = due.map_or(Duration::from_secs(3_600), |due| due.since(now().mono));
            tokio::select! {
                event = link.next() => {
                    if let LinkEvent::Down(reason) = event {
                        return reason;
                    }
                    driver.handle_event(&event, now());
                }
                () = tokio::time::sleep(wait) => driver.handle_timeout(now()),
            }
        }
    }

    /// A simulated device with a session on it; both end with this value.
    struct Bench<V> {
        control: Control<V>,
        record: Record,
        tasks: Vec<JoinHandle<()>>,
        _folder: tempfile::TempDir,
    }

    impl<V> Drop for Bench<V> {
        fn drop(&mut self) {
            self.tasks.iter().for_each(JoinHandle::abort);
        }
    }

    fn model(name: &str) -> &'static SerialModel {
        serial_model(name).unwrap()
    }

    fn bench<V: Clone, F: Future<Output = std::io::Result<()>> + Send + 'static>(
        name: &str,
        folder: tempfile::TempDir,
        (device, control): (F, Control<V>),
    ) -> Bench<V> {
        let model = model(name);
        let record = Record::default();
        let link = SerialLink::new(control.path(), model.line, model.requests);
        let tasks = vec![
            tokio::spawn(async move { device.await.unwrap() }),
            tokio::spawn(session(link, (model.driver)(), record.clone())),
        ];
        Bench { control, record, tasks, _folder: folder }
    }

    fn pump() -> Bench<alaris::Values> {
        let folder = tempfile::tempdir().unwrap();
        let setup = alaris::Setup { link: Some(folder.path().join("pump")), ..alaris::Setup::default() };
        bench("alaris-asena", folder, alaris::pump(setup, alaris::Values::default()).unwrap())
    }

    fn oximeter(cadence: masimo::Cadence) -> Bench<masimo::Values> {
        let folder = tempfile::tempdir().unwrap();
        let link = Some(folder.path().join("oximeter"));
        let setup = masimo::Setup { link, cadence, ..masimo::Setup::default() };
        bench("masimo-ascii1", folder, masimo::oximeter(setup, well()).unwrap())
    }

    fn well() -> masimo::Values {
        masimo::Values { spo2: Some(98), bpm: Some(72), pi: Some(360), alarm: 0, exceptions: 0x800 }
    }

    /// A message's fields, split as the protocol says.
    fn field(message: &str, at: usize) -> String {
        message.split('^').nth(at).unwrap_or_default().to_owned()
    }

    fn whole(journal: &[Sent], keyword: &str) -> Vec<String> {
        let is_of = |sent: &&Sent| sent.is_whole && field(&sent.message, 0) == keyword;
        journal.iter().filter(is_of).map(|sent| sent.message.clone()).collect()
    }

    /// Fails unless the bytes are requests of the model, one behind the other.
    fn assert_only_requests(model: &SerialModel, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let request = model.requests.requests().iter().find(|request| bytes.starts_with(request.bytes));
            let Some(request) = request else {
                // The last one may be under way.
                let is_begun =
                    model.requests.requests().iter().any(|request| request.bytes.starts_with(bytes));
                assert!(is_begun, "{}: {:?}", model.name, String::from_utf8_lossy(bytes));
                return;
            };
            bytes = &bytes[request.bytes.len()..];
        }
    }

    #[tokio::test]
    async fn a_pump_is_read_whole_and_in_order() {
        let bench = pump();
        for step in 0..4 {
            let volume = format!("0.{step:03}");
            bench.control.set(alaris::Values { volume: volume.clone(), ..alaris::Values::default() });
            bench
                .record
                .until("the volume", |record| record.values("MDC_VOL_FLUID_DELIV").contains(&volume))
                .await;
        }
        bench.record.until("the syringe", |record| !record.values("MDC_VOL_SYRINGE").is_empty()).await;
        let journal = bench.control.journal();
        let volumes = bench.record.values("MDC_VOL_FLUID_DELIV");
        let sent: Vec<String> = whole(&journal, "INF").iter().map(|message| field(message, 7)).collect();
        assert_eq!(volumes[..], sent[..volumes.len()], "every status that was sent was read, once, in order");
        assert!(sent.len() - volumes.len() <= 1, "at most one is still under way");
        assert_eq!(bench.record.faults(), []);
        assert_eq!(bench.record.identities(), [Some("8002-51733".to_owned())]);
        assert_eq!(bench.control.refused(), 0);
        assert_only_requests(model("alaris-asena"), &bench.control.received());
    }

    #[tokio::test]
    async fn a_pump_without_a_known_revision_is_read_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let setup = alaris::Setup { protocol: None, ..alaris::Setup::default() };
        let bench = bench("alaris-asena", folder, alaris::pump(setup, alaris::Values::default()).unwrap());
        bench.record.until("a rate", |record| !record.values("MDC_FLOW_FLUID_PUMP").is_empty()).await;
        assert_eq!(bench.record.identities(), [Some("8002-51733".to_owned())]);
    }

    #[tokio::test]
    async fn a_pump_alarm_is_known_within_two_seconds_and_ends() {
        let bench = pump();
        bench.record.until("a first round", |record| !record.values("MDC_VOL_FLUID_TBI").is_empty()).await;
        for (alarm, expected) in [("AL_OCCLU", "AL_OCCLU start high"), ("AL_NOALM", "AL_OCCLU end high")] {
            // One answer in the way is lost, as on a noisy line.
            bench.control.trouble(Trouble::Corrupted);
            bench.control.set(alaris::Values { alarm: alarm.to_owned(), ..alaris::Values::default() });
            let began = Instant::now();
            bench
                .record
                .until(expected, |record| record.values("MDC_EVT_OCCL").contains(&expected.to_owned()))
                .await;
            assert!(began.elapsed() < Duration::from_secs(2), "{expected} took {:?}", began.elapsed());
        }
        assert_eq!(bench.record.values("MDC_EVT_OCCL").len(), 2);
        let kinds: BTreeSet<&str> = bench
            .record
            .observations()
            .iter()
            .filter(|said| said.metric.reference == "MDC_EVT_OCCL")
            .map(|said| said.kind.as_str())
            .collect();
        assert_eq!(kinds, BTreeSet::from([Kind::Alarm.as_str()]));
    }

    #[tokio::test]
    async fn every_trouble_on_the_pump_line_costs_only_itself() {
        let noise: Vec<u8> = (0..=255).cycle().take(3_000).collect();
        let stale = "!INF^8002-51733^-^INF^99.9^ml/h^^9.9^ml^1^mmHg^24+^EVENT^1|0000\r".to_owned();
        let troubles = [
            Trouble::Noise(noise),
            Trouble::Noise(b"!!!\x1B!INF^8002-51733^-".to_vec()),
            Trouble::Noise([b'!'; 10_000].to_vec()),
            Trouble::Torn,
            Trouble::Corrupted,
            Trouble::Late(Duration::from_millis(700)),
            Trouble::Silent,
            Trouble::Escaped,
            Trouble::Stale(stale),
            // Whole, and an answer to a query of an earlier conversation.
            Trouble::Stale("!INF_RATE^0.10^ml/h|D407\r".to_owned()),
            Trouble::WrongBaud(3),
        ];
        futures_util::future::join_all(troubles.map(survive)).await;
    }

    /// A pump whose line has one trouble: it is told, and nothing wrong is ever read.
    async fn survive(trouble: Trouble) {
        let bench = pump();
        bench.record.until("a first round", |record| !record.values("MDC_VOL_FLUID_TBI").is_empty()).await;
        let shown_before = bench.record.values("MDC_VOL_FLUID_DELIV").len();
        bench.control.trouble(trouble.clone());
        let what = format!("readings and a fault after {trouble:?}").chars().take(80).collect::<String>();
        let recovered = |record: &Record| {
            record.values("MDC_VOL_FLUID_DELIV").len() > shown_before + 1 && !record.faults().is_empty()
        };
        bench.record.until(&what, recovered).await;
        let only = |reference: &str| bench.record.values(reference).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(only("MDC_FLOW_FLUID_PUMP"), BTreeSet::from(["3.50".to_owned()]), "{what}");
        assert_eq!(only("MDC_VOL_FLUID_DELIV"), BTreeSet::from(["0.969".to_owned()]), "{what}");
        assert_eq!(bench.record.identities(), [Some("8002-51733".to_owned())], "{what}");
        assert_only_requests(model("alaris-asena"), &bench.control.received());
    }

    #[tokio::test]
    async fn a_pump_that_loses_power_within_a_reply_comes_back_under_its_stable_path() {
        let bench = pump();
        let link = bench.control.path();
        bench.record.until("a first round", |record| !record.values("MDC_VOL_FLUID_TBI").is_empty()).await;
        for round in 1..=3 {
            let port_before = std::fs::read_link(&link).unwrap();
            bench.control.trouble(Trouble::Torn);
            bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(300)));
            // Something else takes the number that the port had: it must come back elsewhere.
            let _squatters = if round == 2 { squat(&link, &port_before).await } else { Vec::new() };
            let ups =
                |record: &Record| record.all().iter().filter(|(_, told)| matches!(told, Told::Up)).count();
            bench.record.until("the way back", |record| ups(record) > round).await;
            let read = bench.record.values("MDC_VOL_FLUID_DELIV").len();
            bench
                .record
                .until("readings again", |record| record.values("MDC_VOL_FLUID_DELIV").len() > read)
                .await;
            let has_moved = std::fs::read_link(&link).unwrap() != port_before;
            assert!(has_moved || round != 2, "it came back under the same number");
        }
        let identities = bench.record.identities();
        assert_eq!(identities, vec![Some("8002-51733".to_owned()); 4], "said again on each connection");
        assert!(
            bench
                .record
                .all()
                .iter()
                .any(|(_, told)| matches!(told, Told::Down(why) if why.contains("hung up")))
        );
        // Nothing of a connection is told before its identity.
        let mut is_known = false;
        for (_, told) in bench.record.all() {
            match told {
                Told::Up => is_known = false,
                Told::Identity(_) => is_known = true,
                Told::Observation(said) => assert!(is_known, "{said:?}"),
                Told::Down(_) | Told::Fault(_) => {}
            }
        }
        let open = descriptors();
        let current = std::fs::read_link(&link).unwrap();
        let ports = open.iter().filter(|path| **path == current).count();
        assert_eq!(ports, 2, "the host's descriptor and the simulator's, none of an earlier connection");
        assert_only_requests(model("alaris-asena"), &bench.control.received());
    }

    /// Waits until a port is gone and takes its number, and all free ones below.
    async fn squat(link: &Path, port: &Path) -> Vec<std::os::fd::OwnedFd> {
        while link.symlink_metadata().is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut held = Vec::new();
        for _ in 0..200 {
            let (end, path) = raw_pty();
            held.push(end);
            if path == port {
                break;
            }
        }
        held
    }

    fn descriptors() -> Vec<PathBuf> {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap();
        entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect()
    }

    #[tokio::test]
    async fn another_pump_on_the_port_is_told_and_never_mixed_with_the_first() {
        let bench = pump();
        bench.record.until("a first round", |record| !record.values("MDC_VOL_FLUID_TBI").is_empty()).await;
        // The other pump shows other values from its first frame on.
        bench.control.trouble(Trouble::Identity("8002-51740".to_owned()));
        let values = alaris::Values {
            rate: "9.99".to_owned(),
            vtbi: Some("99.000".to_owned()),
            alarm: "AL_OCCLU".to_owned(),
            ..alaris::Values::default()
        };
        bench.control.set(values);
        let all_of_it = ["9.99", "99.000", "AL_OCCLU start high"].map(str::to_owned);
        let references = ["MDC_FLOW_FLUID_PUMP", "MDC_VOL_FLUID_TBI", "MDC_EVT_OCCL"];
        let has_told = |record: &Record| {
            references
                .iter()
                .zip(&all_of_it)
                .all(|(reference, value)| record.values(reference).contains(value))
        };
        bench.record.until("all that the other shows", has_told).await;
        let mut serial = None;
        for (_, told) in bench.record.all() {
            match told {
                Told::Identity(identity) => serial = identity.serial,
                Told::Observation(said) if references.contains(&said.metric.reference) => {
                    let is_others = all_of_it.contains(&shown(&said.value));
                    let expected = if is_others { "8002-51740" } else { "8002-51733" };
                    assert_eq!(serial.as_deref(), Some(expected), "{said:?}");
                }
                Told::Up | Told::Down(_) | Told::Observation(_) | Told::Fault(_) => {}
            }
        }
        assert!(bench.record.faults().iter().any(|fault| fault.kind == FaultKind::Unexpected));
    }

    #[tokio::test]
    async fn a_flood_of_pump_alarms_is_told_edge_by_edge() {
        let bench = pump();
        bench.control.trouble(Trouble::AlarmFlood(6));
        let ended = "AL_LWBAT end medium".to_owned();
        bench
            .record
            .until("the end", |record| {
                record.values("MDC_EVT_BATT_LO").iter().filter(|edge| **edge == ended).count() == 3
            })
            .await;
        let edges: Vec<String> = bench
            .record
            .observations()
            .iter()
            .filter(|said| said.kind == Kind::Alarm)
            .map(|said| shown(&said.value))
            .collect();
        assert_eq!(edges.iter().filter(|edge| edge.contains("start")).count(), 6);
        assert_eq!(edges.len(), 12, "{edges:?}");
    }

    /// The rows of the recorded intensive-care numerics: pulse and SpO2; 0 is a probe that is off.
    fn recorded(rows: usize) -> Vec<masimo::Values> {
        let text = include_str!("data/icu-numerics-excerpt.csv");
        let number = |field: &str| match field.parse::<f64>() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 300 by the recording"
            )]
            Ok(value) if value > 0.0 => Some(value.round() as u16),
            _ => None,
        };
        let row = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            let (bpm, spo2) = (number(fields[5]), number(fields[7]));
            let exceptions = if spo2.is_none() { 0x820 } else { 0x800 };
            masimo::Values { spo2, bpm, pi: Some(360), alarm: 0, exceptions }
        };
        text.lines().skip(1).take(rows).map(row).collect()
    }

    #[tokio::test]
    async fn the_recorded_numerics_arrive_row_by_row() {
        let mut bench = oximeter(masimo::Cadence::AtEachSet);
        bench.record.until("the line", |record| !record.all().is_empty()).await;
        let rows = recorded(40);
        assert_eq!(rows.len(), 40);
        for row in &rows {
            bench.control.set(row.clone());
        }
        bench
            .record
            .until("all rows", |record| record.values("MDC_PULS_OXIM_SAT_O2").len() >= rows.len())
            .await;
        let text =
            |value: Option<u16>| value.map_or(Absent::Unknown.code().to_owned(), |value| value.to_string());
        let expected: Vec<String> = rows.iter().map(|row| text(row.spo2)).collect();
        assert_eq!(bench.record.values("MDC_PULS_OXIM_SAT_O2"), expected);
        let expected: Vec<String> = rows.iter().map(|row| text(row.bpm)).collect();
        assert_eq!(bench.record.values("MDC_PULS_OXIM_PULS_RATE"), expected);
        bench.control.stop();
        (&mut bench.tasks[0]).await.unwrap();
        assert_eq!(bench.control.sent(), 40);
        assert_eq!(bench.record.faults(), []);
        assert_eq!(bench.control.received(), b"", "nothing is ever sent to an oximeter");
        // The device's own time orders the lines.
        let times: Vec<String> = bench
            .record
            .observations()
            .iter()
            .filter(|said| said.metric.reference == "MDC_PULS_OXIM_SAT_O2")
            .map(|said| said.device_time.unwrap().to_string())
            .collect();
        assert!(times.is_sorted());
        assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), 40);
        // 40 lines of more than 120 characters at 960 characters a second.
        let all = bench.record.all();
        let took = all.last().unwrap().0.saturating_sub(all[0].0);
        assert!(took > Duration::from_secs(5), "the pace was that of another line: {took:?}");
    }

    #[tokio::test]
    async fn every_trouble_on_the_oximeter_line_costs_only_itself() {
        let bench = oximeter(masimo::Cadence::Every(Duration::from_millis(200)));
        bench.record.until("a line", |record| !record.values("MDC_PULS_OXIM_SAT_O2").is_empty()).await;
        for trouble in [
            Trouble::Noise((0..=255).cycle().take(1_500).collect()),
            Trouble::Noise(b"02/22/16 22:47:45 SN=0000056661 SPO2=055% BPM=0".to_vec()),
            Trouble::Torn,
            Trouble::Corrupted,
            Trouble::WrongBaud(2),
            Trouble::ClockRestart,
            Trouble::Silent,
        ] {
            let is_silent = [Trouble::Silent, Trouble::ClockRestart].contains(&trouble);
            let faults_before = bench.record.faults().len();
            let shown_before = bench.record.values("MDC_PULS_OXIM_SAT_O2").len();
            bench.control.trouble(trouble.clone());
            let what = format!("readings and a fault after {trouble:?}").chars().take(80).collect::<String>();
            let recovered = |record: &Record| {
                record.values("MDC_PULS_OXIM_SAT_O2").len() > shown_before + 4
                    && (is_silent || record.faults().len() > faults_before)
            };
            bench.record.until(&what, recovered).await;
        }
        let values: BTreeSet<String> = bench.record.values("MDC_PULS_OXIM_SAT_O2").into_iter().collect();
        assert_eq!(values, BTreeSet::from(["98".to_owned()]));
        assert_eq!(bench.record.identities(), [Some("0000056661".to_owned())]);
    }

    #[tokio::test]
    async fn an_oximeter_comes_back_and_another_one_is_told() {
        let bench = oximeter(masimo::Cadence::Every(Duration::from_millis(200)));
        bench.record.until("a line", |record| !record.values("MDC_PULS_OXIM_SAT_O2").is_empty()).await;
        bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(200)));
        bench.record.until("the same one", |record| record.identities().len() == 2).await;
        bench.control.trouble(Trouble::Identity("0000093112".to_owned()));
        bench.control.set(masimo::Values { spo2: Some(55), ..well() });
        let other = "55".to_owned();
        bench
            .record
            .until("its reading", |record| record.values("MDC_PULS_OXIM_SAT_O2").contains(&other))
            .await;
        let mut serial = None;
        for (_, told) in bench.record.all() {
            match told {
                Told::Identity(identity) => serial = identity.serial,
                Told::Observation(said) if shown(&said.value) == other => {
                    assert_eq!(serial.as_deref(), Some("0000093112"));
                }
                Told::Up | Told::Down(_) | Told::Observation(_) | Told::Fault(_) => {}
            }
        }
    }

    #[tokio::test]
    async fn a_flood_of_oximeter_alarms_is_told_edge_by_edge() {
        let bench = oximeter(masimo::Cadence::Every(Duration::from_millis(200)));
        bench.record.until("a line", |record| !record.values("MDC_PULS_OXIM_SAT_O2").is_empty()).await;
        bench.control.trouble(Trouble::AlarmFlood(8));
        let ends = |record: &Record| {
            record.values("MDC_EVT_ALARM").iter().filter(|edge| edge.contains("end")).count()
        };
        bench.record.until("the ends", |record| ends(record) == 8).await;
        assert_eq!(bench.record.values("MDC_EVT_ALARM").len(), 16);
    }

    #[tokio::test]
    async fn an_oximeter_with_another_output_is_told_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let cadence = masimo::Cadence::Every(Duration::from_millis(100));
        let setup = masimo::Setup { output: masimo::Output::Other, cadence, ..masimo::Setup::default() };
        let bench = bench("masimo-ascii1", folder, masimo::oximeter(setup, well()).unwrap());
        let says_how = |fault: &Fault| fault.detail.contains("set the oximeter's serial output to ASCII 1");
        bench.record.until("the way out", |record| record.faults().iter().any(says_how)).await;
        assert_eq!(bench.record.observations().len(), 0);
    }

    /// A generator of numbers that is the same on every run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, below: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % below
        }
    }

    /// What a stranger on the other end says next: noise, torn vectors, whole vectors.
    fn babble(dice: &mut Dice, captures: &[Vec<u8>]) -> Vec<u8> {
        let count = usize::try_from(dice.roll(200)).unwrap();
        match dice.roll(4) {
            0 => (0..count).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect(),
            1 => (0..count)
                .map(|_| b"!|^\r\n\x1BINFALM0123456789 SN=/:"[usize::try_from(dice.roll(28)).unwrap()])
                .collect(),
            other => {
                let capture = &captures[usize::try_from(dice.roll(captures.len() as u64)).unwrap()];
                let from = if other == 2 {
                    0
                } else {
                    usize::try_from(dice.roll(capture.len() as u64 + 1)).unwrap()
                };
                capture[from..].to_vec()
            }
        }
    }

    #[tokio::test]
    async fn whatever_the_other_end_says_it_hears_nothing_but_requests() {
        for model in serial_models() {
            let mut dice = Dice(20_161_122);
            let captures: Vec<Vec<u8>> =
                vectors(model.name).into_iter().map(|(_, vector)| vector.capture.into_bytes()).collect();
            let (stranger, path) = raw_pty();
            let mut link = SerialLink::new(path, model.line, model.requests);
            let mut driver = (model.driver)();
            let mut now = Now::default();
            let mut heard = Vec::new();
            let mut is_open = false;
            let mut requests = 0;
            for _ in 0..4_000 {
                if !is_open {
                    link.open().await.unwrap();
                    driver.handle_event(&LinkEvent::Up, now);
                    is_open = true;
                }
                let words = babble(&mut dice, &captures);
                let mut rest = words.as_slice();
                while !rest.is_empty() {
                    let (piece, later) =
                        rest.split_at(usize::try_from(dice.roll(rest.len() as u64)).unwrap() + 1);
                    rustix::io::write(&stranger, piece).unwrap();
                    rest = later;
                    let event = tokio::time::timeout(Duration::from_secs(5), link.next()).await.unwrap();
                    driver.handle_event(&event, now);
                }
                now.mono = now.mono + Duration::from_millis(dice.roll(3_000));
                if driver.poll_timeout().is_some_and(|due| due <= now.mono) {
                    driver.handle_timeout(now);
                }
                while let Some(action) = driver.poll_action() {
                    if let Action::Command(LinkCommand::HangUp) = action {
                        is_open = false;
                    } else if let Action::Command(command) = action {
                        link.perform(command).await.unwrap();
                        requests += 1;
                    }
                }
                if !is_open || dice.roll(200) == 0 {
                    driver.handle_event(&LinkEvent::Down(LinkError::HungUp), now);
                    while driver.poll_action().is_some() {}
                    link.close().await;
                    is_open = false;
                }
                hear(&stranger, &mut heard);
            }
            assert_only_requests(model, &heard);
            let expects_requests = !model.requests.requests().is_empty();
            assert_eq!(requests > 300, expects_requests, "{}: {requests} requests", model.name);
            assert_eq!(heard.is_empty(), !expects_requests, "{}", model.name);
        }
    }

    /// A pty of which this side is the other end, raw and without any pace.
    fn raw_pty() -> (std::os::fd::OwnedFd, PathBuf) {
        use rustix::pty::OpenptFlags;
        let stranger = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&stranger).unwrap();
        rustix::pty::unlockpt(&stranger).unwrap();
        let name = rustix::pty::ptsname(&stranger, Vec::new()).unwrap();
        rustix::io::ioctl_fionbio(&stranger, true).unwrap();
        (stranger, PathBuf::from(name.into_string().unwrap()))
    }

    fn hear(stranger: &std::os::fd::OwnedFd, heard: &mut Vec<u8>) {
        let mut buffer = [0; 4096];
        while let Ok(count) = rustix::io::read(stranger, &mut buffer) {
            if count == 0 {
                return;
            }
            heard.extend_from_slice(&buffer[..count]);
        }
    }

    /// A vector: a capture and what it must give.
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Vector {
        what: String,
        capture: String,
        identity: Option<Who>,
        observations: Vec<Expected>,
        faults: Vec<String>,
        device_time: Option<String>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Who {
        serial: Option<String>,
        firmware: Option<String>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Expected {
        #[serde(rename = "ref")]
        reference: String,
        value: Option<String>,
        absent: Option<String>,
        unit: String,
        kind: String,
    }

    /// Every vector of a driver. A file that is not one fails.
    fn vectors(driver: &str) -> Vec<(String, Vector)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(driver);
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{driver} has no vectors: {error}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let read = |path: PathBuf| {
            assert!(
                path.extension().is_some_and(|ending| ending == "json"),
                "{} is no vector",
                path.display()
            );
            let text = std::fs::read_to_string(&path).unwrap();
            let vector =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_string_lossy().into_owned(), vector)
        };
        paths.into_iter().map(read).collect()
    }

    fn expected(said: &Observation) -> Expected {
        let absent = if let Value::Absent(why) = said.value { Some(why.code().to_owned()) } else { None };
        Expected {
            reference: said.metric.reference.to_owned(),
            value: absent.is_none().then(|| shown(&said.value)),
            absent,
            unit: said.unit.ucum.to_owned(),
            kind: said.kind.as_str().to_owned(),
        }
    }

    #[test]
    fn every_vector_of_every_driver_gives_what_it_must() {
        for model in serial_models() {
            let vectors = vectors(model.name);
            for (name, vector) in &vectors {
                let name = format!("{}/{name}: {}", model.name, vector.what);
                let (said, faults, identity) = decode_capture(model, vector.capture.as_bytes());
                let said_so: Vec<Expected> = said.iter().map(expected).collect();
                assert_eq!(said_so, vector.observations, "{name}");
                let kinds: Vec<String> = faults.iter().map(|fault| fault.kind.to_string()).collect();
                assert_eq!(kinds, vector.faults, "{name}: {faults:?}");
                let who = identity.map(|said| Who { serial: said.serial, firmware: said.firmware });
                assert_eq!(who, vector.identity, "{name}");
                if let Some(time) = &vector.device_time {
                    assert!(said.iter().all(|said| said.device_time.unwrap().to_string() == *time), "{name}");
                }
                assert!(said.iter().all(|said| model.reads.contains(&said.metric)), "{name}: not in `reads`");
            }
            let (bad, good): (Vec<_>, Vec<_>) =
                vectors.iter().partition(|(name, _)| name.starts_with("bad-"));
            assert!(bad.len() >= 5 && good.len() >= 5, "{} has too few vectors", model.name);
            assert!(bad.iter().all(|(_, vector)| !vector.faults.is_empty()), "a bad capture has a fault");
        }
    }

    #[test]
    fn every_published_frame_of_the_pump_is_among_the_vectors() {
        const PUBLISHED: [&str; 18] = [
            "!INF|4961",
            "!INF_VTBI|8456",
            "!ALARM|50B2",
            "!INST_SERIALNO|457D",
            "!COMMS_PROTOCOL|E8DA",
            "!COMMS_RESPONSE_MAX|7E29",
            "!SYRINGE_STATUS|4102",
            "!INF_RATE_MAX_SYRINGE|8F30",
            "!INF_RATE|8E6D",
            "!INF_VI|B42C",
            "!INST_SERIALNO^8002-51740|050B",
            "!INST_SERIALNO^8002-51733|ACFF",
            "!COMMS_PROTOCOL^Asena Rev 2.1.5|661A",
            "!COMMS_RESPONSE_MAX^4000^ms|DFDF",
            "!INF_RATE^0.10^ml/h|D407",
            "!INF_RATE^3.50^ml/h|3885",
            "!ALARM^AL_NOALM^ ^ |C73B",
            "!REMOTE_CTRL^ENABLED^****^PERMIT^0^ms|7BB0",
        ];
        let vectors = vectors("alaris-asena");
        for frame in PUBLISHED {
            let holds_it =
                |(_, vector): &(String, Vector)| vector.capture.contains(frame) && vector.faults.is_empty();
            assert!(vectors.iter().any(holds_it), "{frame} is in no good vector");
        }
    }
}
