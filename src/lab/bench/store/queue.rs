//! A mosquitto that keeps messages for a session that is not connected: QoS 1 publishes, of which the
//! PUBACK is the acknowledgement. It answers first and writes its whole database afterwards, so
//! nothing that it acknowledged is durable at that moment.

use std::time::Duration;

use anyhow::Context as _;
use rumqttc::{
    AsyncClient, BrokerSessionResumePolicy, Event, EventLoop, MqttOptions, Packet, PublishOptions, QoS,
};
use tokio::runtime::Runtime;

use super::super::machine::{Memory, bytes_written_by};
use super::content::{Content, Records};
use super::{Keeper, Watch};

/// Where the messages go.
const TOPIC: &str = "readings";
/// Whose they are.
const SESSION: &str = "absent";
/// Publishes in flight at most: what the broker's configuration allows.
const IN_FLIGHT: u16 = 1_000;
/// Longer than an answer ever takes that is worth a figure.
const PATIENCE: Duration = Duration::from_secs(60);
/// When so long nothing more comes of a session, it held no more: nobody knows how many messages
/// survived.
const SILENCE: Duration = Duration::from_millis(300);

/// A connection as publisher, and what it publishes next.
pub(super) struct Queue {
    runtime: Runtime,
    client: AsyncClient,
    events: EventLoop,
    records: Records,
    next: Vec<Vec<u8>>,
    /// The broker's process.
    process: String,
}

impl Queue {
    /// With a session that is there and whose owner is not.
    pub(super) fn create(port: u16, process: String, content: Content) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(leave_a_session(port))?;
        let (client, events) = connect("publisher", port, true);
        let records = Records::of(content);
        Ok(Self { runtime, client, events, records, next: Vec::new(), process })
    }

    /// The session's owner comes back: the first message is there, one more is taken.
    pub(super) fn reopen(port: u16, content: Content, watch: &mut Watch) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let one = Records::of(content).take(1);
        watch.begin();
        let (_keep, mut session) = connect(SESSION, port, false);
        let (publisher, mut events) = connect("publisher", port, true);
        let first = runtime.block_on(arrival(&mut session, PATIENCE))?;
        anyhow::ensure!(first, "the broker kept nothing");
        runtime.block_on(publish(&publisher, &mut events, &one))?;
        watch.opened();
        watch.read(1);
        while runtime.block_on(arrival(&mut session, SILENCE))? {
            watch.read(1);
        }
        Ok(())
    }
}

impl Keeper for Queue {
    fn prepare(&mut self, count: usize) -> anyhow::Result<()> {
        self.next = self.records.take(count);
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        self.runtime.block_on(publish(&self.client, &mut self.events, &self.next))
    }

    fn written(&self) -> u64 {
        bytes_written_by(&self.process)
    }

    fn memory(&self) -> Memory {
        Memory::of(&self.process)
    }
}

fn connect(id: &str, port: u16, clean: bool) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, ("localhost", port));
    options
        .set_keep_alive(60)
        .set_clean_start(clean)
        .set_broker_session_resume_policy(BrokerSessionResumePolicy::AllowBrokerOnly)
        .set_session_expiry_interval((!clean).then_some(u32::MAX))
        .set_receive_maximum(Some(IN_FLIGHT))
        .set_outgoing_inflight_upper_limit(IN_FLIGHT);
    AsyncClient::builder(options).capacity(usize::from(IN_FLIGHT)).build()
}

async fn leave_a_session(port: u16) -> anyhow::Result<()> {
    let (client, mut events) = connect(SESSION, port, false);
    client.subscribe(TOPIC, QoS::AtLeastOnce).await?;
    let subscribed = async {
        while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, subscribed).await.context("the broker takes no subscription")?
}

/// Publishes, and waits for every PUBACK.
async fn publish(client: &AsyncClient, events: &mut EventLoop, records: &[Vec<u8>]) -> anyhow::Result<()> {
    let feed = async {
        for record in records {
            client.publish(TOPIC, record.clone(), PublishOptions::new(QoS::AtLeastOnce)).await?;
        }
        anyhow::Ok(())
    };
    let drive = async {
        let mut taken = 0;
        while taken < records.len() {
            if matches!(events.poll().await?, Event::Incoming(Packet::PubAck(_))) {
                taken += 1;
            }
        }
        anyhow::Ok(())
    };
    let both = async { tokio::try_join!(feed, drive) };
    tokio::time::timeout(PATIENCE, both).await.context("the broker does not take the records")??;
    Ok(())
}

/// Whether a message arrives within a time.
async fn arrival(events: &mut EventLoop, within: Duration) -> anyhow::Result<bool> {
    let next = async {
        loop {
            if matches!(events.poll().await?, Event::Incoming(Packet::Publish(_))) {
                return anyhow::Ok(true);
            }
        }
    };
    tokio::time::timeout(within, next).await.unwrap_or(Ok(false))
}
