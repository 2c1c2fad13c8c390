//! `wardline-fleet inventory`: what stands on the wards, as the gateways publish it.
//!
//! With `--json`, an array with one object a gateway: `{"gateway", "group", "registered", "proven": bool or null,
//! "unproven": why or null, "document": documents::inventory or null}`. Fields are added, never renamed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::broker::{self, Broker, Connection};
use super::folder::Fleet;
use super::proof::Authorities;
use super::{at, now, refused, walk};
use crate::cli::exit::Failure;
use crate::cli::out::{self, Colour};
use crate::fleet::advisories::cyclonedx;
use crate::fleet::advisories::inventory::{Entry, PublishedDevice, to_csv};
use crate::fleet::documents::inventory::Inventoried;
use crate::fleet::documents::{Document as _, Stamp, is_name};
use crate::fleet::topics::{self, Topic, What};
use crate::time::Wall;

/// The most gateways that are kept: whoever may write there could name any number.
const MOST: usize = 8_192;

/// Show what stands on the wards: the gateways, their devices, and what the advisories say of them.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:\n  \
    wardline-fleet inventory --group icu-3 /srv/fleet\n  \
    wardline-fleet inventory --csv /srv/fleet > inventory.csv\n  \
    wardline-fleet inventory --group icu-3 --cyclonedx /srv/fleet > icu-3.cdx.json\n  \
    wardline-fleet inventory --from /media/stick /srv/fleet\n\n\
    An inventory counts as proven when its certificate comes from the gateways' authorities, names the gateway, and \
    its key has signed it. What is not proven is shown and marked. Serial numbers are in it where the gateway's own \
    configuration says so: [fleet] inventory = \"full\". Our certificate needs read access to \
    c/v1/ORGANISATION/gw/#.\n\n{}",
    broker::HELP))]
pub(super) struct Inventory {
    /// Only this group.
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// From a folder with gw/GATEWAY/inventory.json instead of the broker.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Print a table (RFC 4180).
    #[arg(long, conflicts_with_all = ["cyclonedx", "json"])]
    csv: bool,
    /// Print a `CycloneDX` 1.6 document.
    #[arg(long, conflicts_with = "json")]
    cyclonedx: bool,
    /// Print JSON: an array with one object a gateway.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
    /// The fleet's folder.
    folder: PathBuf,
}

/// One gateway.
#[derive(Debug, Serialize)]
struct Row {
    gateway: String,
    group: Option<String>,
    registered: bool,
    /// Whether it is signed by the gateway's own key; none: there is nothing.
    proven: Option<bool>,
    unproven: Option<String>,
    document: Option<Inventoried>,
}

impl Inventory {
    pub(super) fn run(self) -> Result<(), Failure> {
        let fleet = Fleet::open(&self.folder)?;
        let settings = self.connection.settings(fleet.path())?;
        let authorities = Authorities::read(settings.of_gateways())?;
        let organisation = fleet.register().organisation.clone();
        let retained = match &self.from {
            Some(folder) => from_folder(folder)?,
            None => from_broker(&mut Broker::connect(&settings)?, &organisation)?,
        };
        let moment = now(None)?.wall;
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for (gateway, bytes) in retained.iter().take(MOST) {
            let judge = |document: &Inventoried| authorities.prove(bytes, document, moment);
            let mut row = read((gateway, &organisation), bytes, &judge);
            row.group = fleet.register().group_of(gateway).map(str::to_owned).or(row.group);
            row.registered = fleet.register().group_of(gateway).is_some();
            rows.insert(gateway.clone(), row);
        }
        for known in &fleet.register().gateway {
            rows.entry(known.id.clone()).or_insert_with(|| Row {
                group: Some(known.group.clone()),
                registered: true,
                ..Row::nothing(&known.id)
            });
        }
        let of_group = |row: &Row| self.group.is_none() || row.group == self.group;
        let rows: Vec<Row> = rows.into_values().filter(of_group).collect();
        if let (Some(group), true) = (&self.group, rows.is_empty()) {
            return Err(refused(format!("no gateway is in group {group:?}")));
        }
        self.tell(&rows, &organisation, moment)
    }

    fn tell(&self, rows: &[Row], organisation: &str, now: Wall) -> Result<(), Failure> {
        let entries: Vec<Entry<'_>> = rows.iter().filter_map(Row::entry).collect();
        let mut out = out::stdout();
        if self.json {
            out.json(&rows)?;
        } else if self.csv {
            // The last line is ended by what writes it.
            let table = to_csv(&entries);
            out.line(format_args!("{}", table.trim_end_matches('\n')))?;
        } else if self.cyclonedx {
            let of = self.group.as_deref().unwrap_or(organisation);
            let text = cyclonedx::to_json(of, Stamp(now), &entries).map_err(std::io::Error::other)?;
            out.line(format_args!("{text}"))?;
        } else {
            for row in rows {
                for (colour, line) in lines(row) {
                    let line = colour.map_or(line.clone(), |colour| out.paint(colour, &line));
                    out.line(format_args!("{line}"))?;
                }
            }
        }
        out.finish()?;
        let is_machine = self.csv || self.cyclonedx;
        for row in rows.iter().filter(|row| is_machine && row.document.is_none()) {
            let why = row.unproven.as_deref().unwrap_or("it has published nothing");
            out::remark_of(super::PROGRAM, format_args!("{} is not in it: {why}", row.gateway));
        }
        Ok(())
    }
}

fn from_broker(broker: &mut Broker, organisation: &str) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let retained = broker.retained(&[topics::every_inventory(organisation)])?;
    let named = retained.into_iter().filter_map(|(topic, bytes)| match Topic::read(&topic)?.what() {
        What::Inventory { gateway } if !bytes.is_empty() => Some((gateway.clone(), bytes)),
        What::Inventory { .. }
        | What::Root(_)
        | What::Bundle { .. }
        | What::Timestamp { .. }
        | What::Reported { .. }
        | What::Advisory(_) => None,
    });
    Ok(named.collect())
}

fn from_folder(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder.join("gw")).map_err(at)? {
        let gateway = entry?.file_name().to_string_lossy().into_owned();
        let file = format!("gw/{gateway}/inventory.json");
        if is_name(&gateway)
            && let Some(bytes) = walk::folder(folder)(&file, Inventoried::CAP)?
        {
            found.insert(gateway, bytes);
        }
    }
    Ok(found)
}

fn fits(document: &Inventoried, gateway: &str, organisation: &str) -> Result<(), String> {
    let own = &document.inventory.gateway.id;
    if own == gateway && document.organisation == organisation {
        return Ok(());
    }
    Err(format!("it is of gateway {own:?} of {:?}", document.organisation))
}

/// Judges whether an inventory is the gateway's own.
type Prove<'a> = &'a dyn Fn(&Inventoried) -> Result<(), String>;

/// What is published in the place of one gateway. Under the name of another it is nothing: the other's own is shown.
fn read((gateway, organisation): (&str, &str), bytes: &[u8], prove: Prove<'_>) -> Row {
    let read = Inventoried::unproven(bytes).map_err(|fault| format!("its inventory cannot be read: {fault}"));
    match read.and_then(|document| fits(&document, gateway, organisation).map(|()| document)) {
        Ok(mut document) => {
            let unproven = prove(&document).err();
            // It has done its work, and is long.
            document.chain = Vec::new();
            Row {
                // Who nobody knows is in no group by his own word alone.
                group: unproven.is_none().then(|| document.group.clone()),
                proven: Some(unproven.is_none()),
                unproven: unproven.map(|why| shown(&why)),
                document: Some(document),
                ..Row::nothing(gateway)
            }
        }
        Err(why) => Row { proven: Some(false), unproven: Some(shown(&why)), ..Row::nothing(gateway) },
    }
}

/// What nobody has judged, as a terminal may be given it.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

impl Row {
    fn nothing(gateway: &str) -> Self {
        Self {
            gateway: gateway.to_owned(),
            group: None,
            registered: false,
            proven: None,
            unproven: None,
            document: None,
        }
    }

    fn entry(&self) -> Option<Entry<'_>> {
        let document = self.document.as_ref()?;
        let is_proven = self.proven == Some(true);
        Some(Entry { published: &document.inventory, is_proven, findings: &document.findings })
    }
}

type Line = (Option<Colour>, String);

fn lines(row: &Row) -> Vec<Line> {
    let group = row.group.as_deref().unwrap_or("?");
    let Some(document) = &row.document else {
        let why = row.unproven.as_deref().unwrap_or("has published no inventory");
        return vec![(Some(Colour::Bad), format!("{} ({group}): {why}", row.gateway))];
    };
    let gateway = &document.inventory.gateway;
    let proof = if row.proven == Some(true) { "" } else { " UNPROVEN" };
    let head = format!(
        "{} ({group}){proof} {} on {}, kernel {}, key {}, {}",
        row.gateway,
        gateway.version,
        gateway.hardware,
        gateway.kernel,
        gateway.key_protection.name(),
        document.inventory.at.0
    );
    let colour = if row.proven == Some(true) { Colour::Strong } else { Colour::Bad };
    let mut lines = vec![(Some(colour), head)];
    lines.extend(row.unproven.iter().map(|why| (Some(Colour::Bad), format!("  unproven: {why}"))));
    if !row.registered {
        lines.push((Some(Colour::Bad), "  is not in the register".to_owned()));
    }
    lines
        .extend(document.inventory.devices.iter().map(|device| (None, format!("  {}", device_line(device)))));
    if document.more > 0 {
        lines.push((None, format!("  and {} more devices, for which there was no room", document.more)));
    }
    lines.extend(document.findings.iter().map(|told| (Some(Colour::Bad), format!("  ! {}", told.line()))));
    if document.more_findings > 0 {
        lines.push((Some(Colour::Bad), format!("  ! and {} more findings", document.more_findings)));
    }
    for (digests, what) in [
        (&document.advisories.missing, "has not come yet"),
        (&document.advisories.unreadable, "cannot be read"),
    ] {
        lines.extend(digests.iter().map(|one| (None, format!("  advisory {one} {what}"))));
    }
    lines
}

fn device_line(device: &PublishedDevice) -> String {
    let PublishedDevice { id, make, model, serial, firmware, driver, last_seen, .. } = device;
    let serial = serial.as_ref().map(|serial| format!("serial {serial}"));
    let firmware = firmware.as_ref().map(|firmware| format!("firmware {firmware}"));
    let driver = driver.as_ref().map(|driver| format!("[{driver}]"));
    let seen = last_seen.map_or("never seen".to_owned(), |seen| format!("last seen {}", seen.0));
    let parts = [make.clone(), model.clone(), serial, firmware, driver, Some(seen)];
    format!("{id}: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
}
