//! What a person sees of the fleet at a terminal.

use super::terminal::Terminal;
use super::*;

fn watch(site: &Site, cells: (u16, u16), no_colour: bool) -> Terminal {
    Terminal::start(Path::new(BINARY), &["watch", "fleet"], cells, |command| {
        command.current_dir(site.certificates.path());
        if no_colour {
            command.env("NO_COLOR", "1");
        }
    })
}

/// A ward of so many gateways, each with a certificate of its own and a report that it has signed; some have trouble.
struct Ward<'a> {
    site: &'a Site,
    gateways: Vec<(String, Pair)>,
    running: Value,
}

impl<'a> Ward<'a> {
    fn new(site: &'a Site, count: usize) -> Self {
        site.signed(2);
        site.publish("rollout start --canary gw-1 --push");
        let running =
            json!({ "version": 1, "sha256": stamp(&site.file("g/icu-3/ts.json"))["head"]["sha256"] });
        let register = site.path("fleet/fleet.toml");
        let mut text = fs::read_to_string(&register).unwrap();
        let mut gateways = Vec::new();
        for number in 0..count {
            let id = format!("bed-{number:03}");
            text.push_str(&format!("\n[[gateway]]\nid = \"{id}\"\ngroup = \"icu-3\"\n"));
            let pair = site.certificates.pki.client(&id, Validity::Now).unwrap();
            gateways.push((id, pair));
        }
        fs::write(&register, text).unwrap();
        let ward = Self { site, gateways, running };
        let reports: Vec<(String, Vec<u8>)> = (0..count).map(|number| ward.report(number, |_| {})).collect();
        let put: Vec<(&str, Vec<u8>)> =
            reports.iter().map(|(topic, bytes)| (topic.as_str(), bytes.clone())).collect();
        site.retained(&put);
        ward
    }

    fn report(&self, number: usize, change: impl FnOnce(&mut Value)) -> (String, Vec<u8>) {
        let (id, pair) = &self.gateways[number];
        let mut report: Value =
            serde_json::from_str(include_str!("../../src/fleet/documents/testdata/reported.json")).unwrap();
        let pem = fs::read_to_string(&pair.certificate).unwrap();
        let chain: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        report["gateway"] = json!(id);
        report["at"] = json!(moment());
        report["certificate"]["chain"] = json!([chain]);
        report["running"] = self.running.clone();
        report["standing"] = json!({ "word": "current" });
        report["health"] = json!([]);
        report["devices"] = json!({ "listed": 12 });
        report["spool"] = json!({ "records": number });
        report.as_object_mut().unwrap().remove("bad");
        change(&mut report);
        let payload = serde_json::to_vec(&report).unwrap();
        let (key, signature) = sign(pair, &payload);
        (format!("c/v1/st-anna/gw/{id}/reported"), sealed(payload, &key, signature))
    }

    fn says(&self, number: usize, change: impl FnOnce(&mut Value)) {
        let (topic, bytes) = self.report(number, change);
        self.site.retained(&[(&topic, bytes)]);
    }
}

/// This moment, as a document writes it.
fn moment() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_fleet_on_a_terminal() {
    let site = Site::new(None);
    let ward = Ward::new(&site, 300);
    let failed = "2 of 5 devices are gone";
    ward.says(217, |report| {
        report["standing"] =
            json!({ "word": "failed", "detail": format!("bundle 2 was taken back: {failed}") });
    });
    ward.says(42, |report| {
        report["devices"]["silent"] = json!(["pump-bed-3", "monitor-bed-3"]);
        report["health"] = json!([format!("the disk is nearly full {}", "x".repeat(100))]);
    });
    let mut terminal = watch(&site, (80, 24), false);
    let page = terminal.until("all are there", |page| {
        page[0].contains("302 gateways: 4 in trouble") && page[23].contains("more gateways below")
    });
    assert!(page[1].starts_with("  GATEWAY") && page[1].ends_with("HEARD"), "{page:#?}");
    assert!(page[2].starts_with("! bed-217") && page[2].contains("failed"), "{page:#?}");
    assert!(page[3].contains(failed), "{page:#?}");
    // Of the register, and never heard of.
    assert!(page[4].starts_with("! gw-1") && page[4].ends_with("never"), "{page:#?}");
    assert!(page[6].starts_with("! bed-042") && page[6].contains("degraded"), "{page:#?}");
    assert!(
        page[6].contains(" 2 of 12 ") && page[7].contains("silent: pump-bed-3, monitor-bed-3"),
        "{page:#?}"
    );
    assert!(page[8].ends_with('~') && page[9].starts_with("  bed-000"), "{page:#?}");
    assert!(terminal.text().starts_with("wardline-fleet: no gateway_authorities"), "{}", terminal.text());
    assert!(terminal.text().contains("\x1b[31m"));
    assert_eq!(terminal.model.beyond, 0, "a line is longer than the terminal");
    // One word comes in: its line moves up, and the page is not drawn anew.
    terminal.written.clear();
    ward.says(9, |report| report["standing"] = json!({ "word": "locked" }));
    let page = terminal.until("the trouble is on top", |page| page[2].starts_with("! bed-009"));
    assert!(page[3].starts_with("! bed-217"), "{page:#?}");
    assert!(!terminal.text().contains("\x1b[2J"));
    // Only ages and the clock move then.
    terminal.written.clear();
    let clock = page[0].clone();
    terminal.until("the clock", |page| page[0] != clock);
    let calm = terminal.text();
    terminal.resize(200, 50);
    let page = terminal.until("it has another size", |page| page[49].contains("more gateways below"));
    assert!(page[1].ends_with("REMARKS"), "{page:#?}");
    let trouble = page.iter().find(|line| line.starts_with("! bed-217")).unwrap();
    assert!(trouble.ends_with(failed), "{page:#?}");
    assert_eq!(page.iter().filter(|line| line.contains("bed-")).count(), 45);
    assert_eq!(terminal.model.beyond, 0, "a line is longer than the terminal");
    assert!(!calm.contains("\x1b[2J"), "{calm:?}");
    let (code, text, echoes) = terminal.interrupt();
    assert_eq!((code, echoes), (Some(0), true), "{text:?}");
    assert!(text.ends_with("\x1b[?7h\x1b[?25h\x1b[?1049l"), "{text:?}");
    assert!(!text.contains("^C"), "{text:?}");
}

#[test]
fn who_wants_no_colours_sees_the_trouble_too() {
    let site = Site::new(None);
    let ward = Ward::new(&site, 3);
    ward.says(1, |report| {
        report["standing"] = json!({ "word": "failed", "detail": "bundle 2 was taken back" });
    });
    let mut terminal = watch(&site, (80, 24), true);
    let page = terminal.until("all are there", |page| page[0].contains("5 gateways: 3 in trouble"));
    assert!(page[2].starts_with("! bed-001"), "{page:#?}");
    // A window of a few cells, and a large one again.
    terminal.resize(10, 2);
    terminal.until("it is small", |page| page[0].starts_with("st-anna"));
    terminal.resize(80, 24);
    terminal.until("it is large", |page| page[2].starts_with("! bed-001"));
    let (code, text, _) = terminal.interrupt();
    assert_eq!(code, Some(0));
    assert!(!text.contains("\x1b[31m") && !text.contains("\x1b[0m"), "{text:?}");
}
