//! A bundle names advisories: the gateway fetches them, judges its devices by them, publishes what it found, tells it
//! as a security event, and keeps out what a rule of the bundle keeps out. With the documents as they were published.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use wardline::fleet::advisories::told::{Done, Word};
use wardline::fleet::documents::inventory::{Inventoried, OwnKey};

use super::*;

const INVENTORY: &str = "c/v1/lab/gw/gw-lab/inventory";
const EVENTS: &str = "e/v1/#";
const DOCUMENTS: [&str; 2] = ["icsma-17-017-02.json", "icsma-19-164-01.json"];

/// What the broker was given: inventories, proven, and findings of the security topic.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<(Vec<Inventoried>, Vec<Value>)>>);

impl Heard {
    async fn listen(self, mut options: MqttOptions) {
        options.set_max_packet_size(Some(1 << 20));
        let (client, mut events) = AsyncClient::builder(options).capacity(8).build();
        loop {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::ConnAck(_)) => {
                    client.try_subscribe(INVENTORY, QoS::AtLeastOnce).unwrap();
                    client.try_subscribe(EVENTS, QoS::AtLeastOnce).unwrap();
                }
                Event::Incoming(Packet::Publish(publish)) if publish.topic == INVENTORY.as_bytes() => {
                    let chain = Inventoried::unproven(&publish.payload).unwrap().chain().unwrap();
                    let key = OwnKey::of_certificate(&chain[0]).unwrap();
                    let document = Inventoried::verify(&publish.payload, &key).unwrap();
                    self.0.lock().unwrap().0.push(document);
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    let findings: Vec<Value> = serde_json::from_slice(&publish.payload).unwrap();
                    self.0.lock().unwrap().1.extend(findings);
                }
                _ => {}
            }
        }
    }

    /// Rule, activity and device of all findings.
    fn findings(&self) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = |one: &Value| {
            let rule = text(&one["finding_info"]["analytic"]["uid"]);
            (rule, text(&one["activity_name"]), text(&one["resources"][1]["uid"]))
        };
        self.0.lock().unwrap().1.iter().map(of).collect()
    }

    async fn wait(&self, site: &Site, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waited = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waited).await.is_ok();
        assert!(
            in_time,
            "waited in vain for {what}: {:?}; the daemon said:\n{}",
            self.findings(),
            site.log()
        );
    }

    async fn told(&self, site: &Site, rule: &str, activity: &str, device: &str) {
        let wanted = (rule.to_owned(), activity.to_owned(), device.to_owned());
        self.wait(site, &format!("{wanted:?}"), |heard| heard.findings().contains(&wanted)).await;
    }
}

/// One that is not there: who it is, is what its entry says.
fn absent(site: &Site) -> String {
    format!(
        "[[device]]\nid = \"pc-unit\"\nasset = \"PC-1\"\ndriver = \"masimo-ascii1\"\nport = {:?}\n\
         allow_unstable_port = true\nelements = \"all\"\nend_of_support = \"2099-01-31\"\n\
         expects = {{ maker = \"BD\", model = \"Alaris 8015 PC unit\", serial = \"PC-0815\", firmware = \"9.7\" }}\n",
        site.path("nobody").display().to_string()
    )
}

fn is_held(status: &Snapshot) -> bool {
    let pump = status.devices.iter().find(|device| device.id == "pc-unit");
    pump.is_some_and(|pump| pump.quarantine.as_ref().is_some_and(|why| why.contains("ICSMA-17-017-02")))
}

#[tokio::test(flavor = "multi_thread")]
async fn advisories_are_fetched_judged_published_told_and_enforced() {
    let site = Site::new(true).await;
    let mut tasks = JoinSet::new();
    let heard = Heard::default();
    tasks.spawn(heard.clone().listen(site.reader("listener")));
    let mut daemon = site.start();
    site.operator("push --group ward-7 fleet");
    site.status("bundle 1", |status| runs(status, 1)).await;

    let devices = site.entry(0, None) + &absent(&site);
    for document in DOCUMENTS {
        let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/csaf").join(document);
        fs::copy(from, site.path("fleet/g/ward-7").join(document)).unwrap();
    }
    let policy = format!(
        "advisories = {DOCUMENTS:?}\n[[advisory_policy.quarantine]]\nadvisory = \"ICSMA-17-017-02\"\n\
         for = {{ device = \"pc-unit\" }}\nreason = \"not to be used\"\nby = \"M. Weber\"\n"
    );
    site.push(&devices, &policy);
    let tried = site.status("the trial of bundle 2", |status| is_tried(status, 2)).await;
    assert!(!is_held(&tried), "on trial it may still go back");
    site.status("bundle 2", |status| runs(status, 2)).await;

    heard
        .wait(&site, "the judged inventory", |heard| {
            let inventories = &heard.0.lock().unwrap().0;
            inventories
                .last()
                .is_some_and(|last| last.advisories.read.len() == 2 && !last.findings.is_empty())
        })
        .await;
    let document = heard.0.lock().unwrap().0.last().unwrap().clone();
    let found = |device: &str, advisory: &str| {
        let found = document.findings.iter().find(|one| one.device == device && one.advisory == advisory);
        found.map(|one| (one.verdict, one.action))
    };
    assert_eq!(found("pc-unit", "ICSMA-17-017-02"), Some((Word::Affected, Done::Quarantined)));
    assert_eq!(document.findings.len(), 1, "nothing is said of the oximeter: {:?}", document.findings);
    let supported = document.inventory.devices.iter().find(|device| device.id == "pc-unit").unwrap();
    assert_eq!(supported.end_of_support.unwrap().to_string(), "2099-01-31");
    heard.told(&site, "advisory-affects", "Create", "pc-unit").await;
    heard.told(&site, "advisory-quarantine", "Create", "pc-unit").await;
    site.status("the quarantine", |status| is_held(status) && speaks(status, "steady")).await;

    // In the next run too, from its first word on.
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    let mut daemon = site.start();
    let status = site.status("an answer", |status| !status.devices.is_empty()).await;
    assert!(is_held(&status), "{:?}", status.devices);
    let told = heard.findings().iter().filter(|(rule, ..)| rule == "advisory-affects").count();
    assert_eq!(told, 1, "a restart tells it no second time: {:?}", heard.findings());

    site.push(&devices, "");
    site.status("bundle 3", |status| runs(status, 3) && !is_held(status)).await;
    heard.told(&site, "advisory-affects", "Close", "pc-unit").await;
    heard.told(&site, "advisory-quarantine", "Close", "pc-unit").await;
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}
