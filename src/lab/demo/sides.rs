//! The two sides of the demo: the cloud behind the daemon, the bedside before it.

use std::path::Path;

use anyhow::Context as _;
use tokio::sync::watch;

use super::scene::{BELT, CLIP, OXIMETER, PUMPS, STRANGER, SWAPPED};
use super::{PATIENCE, Tasks};
use crate::lab::bluez::{Bluez, BluezError, Bus, Emulated};
use crate::lab::broker::{Behaviour, Broker};
use crate::lab::pki::{Pki, Validity};
use crate::lab::sim::{Control, alaris, masimo};
use crate::lab::{consumer, stage};

/// The far side: broker and consumer.
pub(super) struct Cloud {
    pub(super) pki: Pki,
    pub(super) port: u16,
    pub(super) behaviour: watch::Sender<Behaviour>,
    pub(super) consumer: consumer::Shared,
}

impl Cloud {
    pub(super) async fn open(folder: &Path, tasks: &mut Tasks) -> anyhow::Result<Self> {
        let pki = Pki::create(&folder.join("pki"))?;
        let server = pki.server("broker", &["localhost", "127.0.0.1"], Validity::Now)?;
        let (behaviour, behaves) = watch::channel(Behaviour::default());
        let broker = Broker::bind(pki.authorities(), server, behaves).await?;
        let port = broker.port()?;
        tasks.spawn(broker.run());
        let consumer = consumer::Shared::default();
        consumer.with(|ledger| ledger.keep = true);
        let pair = pki.client("consumer", Validity::Now)?;
        let settings = consumer::Settings {
            host: "localhost".to_owned(),
            port,
            id: "consumer".to_owned(),
            authorities: pki.authorities(),
            certificate: pair.certificate,
            key: pair.key,
        };
        tasks.spawn(consumer::run(settings, consumer.clone()));
        let subscribed = tokio::time::timeout(PATIENCE, consumer.subscribed());
        subscribed.await.context("the consumer cannot subscribe")?;
        Ok(Self { pki, port, behaviour, consumer })
    }
}

/// The near side: the devices on their ports and on the radio.
pub(super) struct Bedside {
    pub(super) pumps: Vec<Control<alaris::Values>>,
    pub(super) oximeter: Control<masimo::Values>,
    pub(super) swapped: Control<alaris::Values>,
    pub(super) radio: Option<(Bluez, Bus)>,
}

impl Bedside {
    pub(super) fn open(folder: &Path, no_dbus: bool, tasks: &mut Tasks) -> anyhow::Result<Self> {
        let mut pumps = Vec::new();
        for (id, serial) in PUMPS {
            pumps.push(pump(folder, id, serial, tasks)?);
        }
        let swapped = pump(folder, SWAPPED.0, SWAPPED.2, tasks)?;
        let setup = masimo::Setup {
            link: Some(folder.join(OXIMETER.0)),
            serial: OXIMETER.1.to_owned(),
            cadence: masimo::Cadence::AtEachSet,
            ..masimo::Setup::default()
        };
        let (future, oximeter) = masimo::oximeter(setup, masimo::Values::default())?;
        tasks.spawn(async { Ok(future.await?) });
        Ok(Self { pumps, oximeter, swapped, radio: radio(no_dbus)? })
    }

    /// The allowlist: all of them but the stranger, and another pump than the one that was swapped in.
    pub(super) fn allowlist(&self) -> String {
        let mut devices = String::new();
        for (pump, (id, serial)) in self.pumps.iter().zip(PUMPS) {
            devices += &stage::serial_device(id, "alaris-asena", &pump.path(), serial);
        }
        devices += &stage::serial_device(OXIMETER.0, "masimo-ascii1", &self.oximeter.path(), OXIMETER.1);
        devices += &stage::serial_device(SWAPPED.0, "alaris-asena", &self.swapped.path(), SWAPPED.1);
        for ((id, address, serial), profile) in [(BELT, "heart-rate"), (CLIP, "pulse-oximeter")] {
            devices += &stage::ble_device(id, profile, address, serial);
        }
        devices
    }
}

pub(super) fn pump(
    folder: &Path,
    id: &str,
    serial: &str,
    tasks: &mut Tasks,
) -> anyhow::Result<Control<alaris::Values>> {
    let link = Some(folder.join(id));
    let setup = alaris::Setup { link, serial: serial.to_owned(), ..alaris::Setup::default() };
    let (future, control) = alaris::pump(setup, alaris::Values::default())?;
    tasks.spawn(async { Ok(future.await?) });
    Ok(control)
}

/// The double of BlueZ with its devices, where the machine can have one.
pub(super) fn radio(unwanted: bool) -> anyhow::Result<Option<(Bluez, Bus)>> {
    if unwanted {
        return Ok(None);
    }
    let bus = match Bus::start() {
        Ok(bus) => bus,
        Err(BluezError::NoDaemon) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let bluez = Bluez::start(&bus.address())?;
    bluez.add(Emulated::heart_rate(BELT.1, BELT.2));
    bluez.add(Emulated::pulse_oximeter(CLIP.1, CLIP.2));
    bluez.add(Emulated::heart_rate(STRANGER.0, STRANGER.1));
    Ok(Some((bluez, bus)))
}
