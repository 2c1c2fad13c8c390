use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::backoff::Bounds;
use crate::time::{Mono, Now};
use crate::uplink::session::Limits;
use crate::uplink::topic::Topics;
use crate::uplink::{Payload, Subscriber};

/// Longer than any turn.
const PATIENCE: Duration = Duration::from_secs(10);

struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now::default()
    }
}

/// A store with nothing in it, of which a read waits while the test holds the lock.
struct Empty {
    hangs: Arc<Mutex<()>>,
    commits: watch::Sender<u64>,
}

impl Source for Empty {
    fn store_id(&self) -> StoreId {
        StoreId([0; 16])
    }

    fn read_next(&mut self, _: Lane) -> Result<Option<Read>, SourceError> {
        drop(self.hangs.lock().unwrap());
        Ok(None)
    }

    fn acknowledge(&mut self, _: Seq) -> Result<(), SourceError> {
        Ok(())
    }

    fn rewind(&mut self) {}

    fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }
}

fn shared() -> Arc<Shared> {
    let retry = Bounds { first: Duration::ZERO, most: Duration::ZERO, healthy_after: Duration::ZERO };
    let stalled_after = PATIENCE;
    Shared::new(Session::new(Limits {
        window: 1,
        subscriber: Subscriber::Required,
        stalled_after,
        retry,
        heartbeat: None,
    }))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the feeder wants a thread of its own")]
fn the_feeder_shows_that_it_is_alive_when_there_is_nothing_to_do_and_not_while_the_store_hangs() {
    let (beats, beating) = mpsc::channel::<Mono>();
    let alive: Alive = Box::new(move |now| beats.send(now).unwrap_or_default());
    let hangs = Arc::new(Mutex::new(()));
    let source = Empty { hangs: Arc::clone(&hangs), commits: watch::channel(0).0 };
    let encoder = Encoder::new(Payload::Cbor, Topics::new("o", "g", "gw").unwrap(), "gw", source.store_id());
    let shared = shared();
    shared.restart(true);
    let feeder = Feeder::new(source, encoder, (Arc::new(Still), alive), Arc::clone(&shared));
    let running = std::thread::spawn(move || feeder.run());
    let quiet = Duration::from_millis(300);
    while beating.recv_timeout(quiet).is_ok() {}
    // Nothing to do from here on.
    for _ in 0..2 {
        beating.recv_timeout(PATIENCE).expect("it beats while it waits");
    }
    let hold = hangs.lock().unwrap();
    shared.lock().news = true;
    shared.wake_feeder();
    while beating.recv_timeout(quiet).is_ok() {}
    assert!(beating.recv_timeout(2 * TURN).is_err(), "the store does not answer");
    drop(hold);
    beating.recv_timeout(PATIENCE).expect("it beats again");
    shared.end();
    running.join().unwrap();
}
