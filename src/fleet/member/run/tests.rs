//! What of the task is not the member's: who is told, when there is no room.

use tokio::sync::mpsc;

use super::*;
use crate::fleet::trust::Recipient;
use crate::host::clock::SystemClock;
use crate::uplink::post::post;

/// A gateway without room at first.
struct Full {
    refuses: u32,
    raised: mpsc::Sender<(u32, Event)>,
}

impl Gateway for Full {
    async fn apply(&mut self, _: Config, _: bool) -> Result<(), Fault> {
        Ok(())
    }

    fn signs(&mut self, _: &Now) -> Signs {
        Signs::default()
    }

    async fn about(&mut self, _: &Now) -> About {
        About::default()
    }

    async fn sign(&mut self, _: Vec<u8>) -> Option<Signed> {
        None
    }

    fn tell(&mut self, _: &Told) {}

    fn raise(&mut self, event: &Event) -> bool {
        let has_room = self.refuses == 0;
        self.raised.try_send((self.refuses, event.clone())).unwrap();
        self.refuses = self.refuses.saturating_sub(1);
        has_room
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_is_broken_is_an_event_and_is_offered_until_there_is_room() {
    let (raised, mut told) = mpsc::channel(8);
    let ((office, _post), view) = (post(), watch::Sender::new(View::default()));
    let gateway = Full { refuses: 2, raised };
    let task = Task { gateway, office, clock: Arc::new(SystemClock::default()), view };
    let recipient = Recipient { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() };
    let locked = Locked { recipient, reason: "no copy of the state is whole".to_owned() };
    let reading = async {
        let mut offered = Vec::new();
        for _ in 0..3 {
            let patience = Duration::from_secs(60);
            let (refuses, event) = tokio::time::timeout(patience, told.recv()).await.unwrap().unwrap();
            assert!(event.detail.contains("no copy of the state"), "{event:?}");
            offered.push((refuses, event.detection.as_str()));
        }
        assert_eq!(offered, [2, 1, 0].map(|refuses| (refuses, "fleet-locked")));
        // It is passed on now, and nothing follows.
        assert!(tokio::time::timeout(Duration::from_secs(600), told.recv()).await.is_err());
    };
    tokio::select! {
        () = task.run(Who::Locked(locked)) => panic!("it ended"),
        () = reading => {}
    }
}
