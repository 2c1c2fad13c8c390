//! What comes in from the broker, sorted: what it retained, and what was published just now.
//!
//! In: what the connection tells. Out: the one or the other kind, each in the order in which it came. Both have a bound:
//! whoever may write at the broker could send without end. What nobody asked for is dropped as it comes.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::uplink::trouble::LinkError;

/// The most documents that one question may bring.
const MOST: usize = 32_768;
/// Their bytes.
const MOST_BYTES: usize = 128 * 1_024 * 1_024;
/// The most messages that wait to be looked at; the oldest goes first. What is missed comes again.
const MOST_LIVE: usize = 1_024;
/// The longest of them: reports and heartbeats are far shorter.
const LONGEST_LIVE: usize = 64 * 1_024;

/// Something that was published.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    /// It was there before we asked.
    pub(super) retained: bool,
}

/// What the connection tells.
pub(super) enum Told {
    Up,
    Heard(Heard),
    Down(LinkError),
}

/// Why nothing more comes.
#[derive(Debug)]
pub(super) enum Over {
    Down(LinkError),
    /// The connection ended without a word.
    Ended,
    /// The broker retains more than is ever looked at.
    TooMuch,
}

/// What came and was not looked at yet.
pub(super) struct Inbox {
    told: mpsc::Receiver<Told>,
    filters: Vec<String>,
    retained: VecDeque<Heard>,
    live: VecDeque<Heard>,
    /// What the broker has sent of what it retains, since somebody asked last.
    count: usize,
    bytes: usize,
}

impl Inbox {
    pub(super) const fn new(told: mpsc::Receiver<Told>) -> Self {
        Self {
            told,
            filters: Vec::new(),
            retained: VecDeque::new(),
            live: VecDeque::new(),
            count: 0,
            bytes: 0,
        }
    }

    /// From now on this is asked for.
    pub(super) fn ask(&mut self, filter: &str) {
        if !self.filters.iter().any(|known| known == filter) {
            self.filters.push(filter.to_owned());
        }
    }

    /// A new question: what it brings is counted from the start.
    pub(super) fn begin(&mut self) {
        self.retained.clear();
        (self.count, self.bytes) = (0, 0);
    }

    /// Takes in the next thing that is told. Dropping the future loses nothing.
    pub(super) async fn pull(&mut self) -> Result<(), Over> {
        match self.told.recv().await {
            None => Err(Over::Ended),
            Some(Told::Down(error)) => Err(Over::Down(error)),
            Some(Told::Up) => Ok(()),
            Some(Told::Heard(heard)) => self.sort(heard),
        }
    }

    fn sort(&mut self, heard: Heard) -> Result<(), Over> {
        if !self.filters.iter().any(|filter| matches(filter, &heard.topic)) {
            return Ok(());
        }
        if !heard.retained {
            if heard.payload.len() <= LONGEST_LIVE {
                if self.live.len() >= MOST_LIVE {
                    self.live.pop_front();
                }
                self.live.push_back(heard);
            }
            return Ok(());
        }
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(heard.payload.len());
        if self.count > MOST || self.bytes > MOST_BYTES {
            return Err(Over::TooMuch);
        }
        self.retained.push_back(heard);
        Ok(())
    }

    /// The next document that the broker retained, however much else comes in between.
    pub(super) async fn retained(&mut self) -> Result<Heard, Over> {
        loop {
            if let Some(heard) = self.retained.pop_front() {
                return Ok(heard);
            }
            self.pull().await?;
        }
    }

    /// Whatever comes next.
    pub(super) async fn any(&mut self) -> Result<Heard, Over> {
        loop {
            if let Some(heard) = self.retained.pop_front().or_else(|| self.live.pop_front()) {
                return Ok(heard);
            }
            self.pull().await?;
        }
    }

    /// Waits for an answer, and takes in meanwhile what comes: an answer may stand behind it.
    pub(super) async fn answered<T>(&mut self, answer: impl Future<Output = T>) -> Result<T, Over> {
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                biased;
                said = &mut answer => return Ok(said),
                pulled = self.pull() => pulled?,
            }
        }
    }
}

/// Whether a topic is under a filter (MQTT 5 section 4.7).
fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            (Some(_) | None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(topic: &str, size: usize, retained: bool) -> Heard {
        Heard { topic: topic.to_owned(), payload: vec![0; size], retained }
    }

    fn inbox() -> Inbox {
        let mut inbox = Inbox::new(mpsc::channel(1).1);
        inbox.ask("c/v1/+/ts");
        inbox
    }

    #[test]
    fn a_filter_is_matched_level_by_level() {
        for (filter, topic, fits) in [
            ("c/v1/+/ts", "c/v1/a/ts", true),
            ("c/v1/+/ts", "c/v1/a/ts/b", false),
            ("c/v1/+/ts", "c/v1/a", false),
            ("c/#", "c/v1/a", true),
            ("c/#", "c", true),
            ("c/v1/a", "c/v1/a", true),
            ("c/v1/a", "c/v1/b", false),
        ] {
            assert_eq!(matches(filter, topic), fits, "{filter} {topic}");
        }
    }

    #[test]
    fn what_nobody_asked_for_is_dropped_and_nothing_grows_without_end() {
        let mut inbox = inbox();
        inbox.sort(heard("c/v1/a/other", 1, true)).unwrap();
        inbox.sort(heard("c/v1/a/ts", LONGEST_LIVE + 1, false)).unwrap();
        assert!(inbox.retained.is_empty() && inbox.live.is_empty() && inbox.count == 0);
        for number in 0..=MOST_LIVE {
            inbox.sort(heard(&format!("c/v1/a-{number}/ts"), 1, false)).unwrap();
        }
        assert_eq!((inbox.live.len(), inbox.live[0].topic.as_str()), (MOST_LIVE, "c/v1/a-1/ts"));
        let most = (0..1_000_000).find(|_| inbox.sort(heard("c/v1/a/ts", 1, true)).is_err()).unwrap();
        assert_eq!(most, MOST);
        inbox.begin();
        assert!(inbox.sort(heard("c/v1/a/ts", MOST_BYTES, true)).is_ok());
        assert!(matches!(inbox.sort(heard("c/v1/a/ts", 1, true)), Err(Over::TooMuch)));
    }

    /// There is little room on the way: what is told must be taken, or the answer behind it never comes.
    #[tokio::test]
    async fn an_answer_behind_documents_is_heard_and_they_are_kept() {
        let (tell, told) = mpsc::channel(1);
        let mut inbox = Inbox::new(told);
        inbox.ask("c/v1/+/ts");
        let answer = async {
            for number in 0..3 {
                tell.send(Told::Heard(heard(&format!("c/v1/a-{number}/ts"), 1, true))).await.ok()?;
            }
            Some(7)
        };
        let patience = std::time::Duration::from_secs(10);
        let said = tokio::time::timeout(patience, inbox.answered(answer)).await.unwrap();
        assert_eq!(said.unwrap(), Some(7));
        for number in 0..3 {
            assert_eq!(inbox.retained().await.unwrap().topic, format!("c/v1/a-{number}/ts"));
        }
        // Whoever waits hears that nothing more comes.
        drop(tell);
        assert!(matches!(inbox.answered(std::future::pending::<()>()).await, Err(Over::Ended)));
    }
}
