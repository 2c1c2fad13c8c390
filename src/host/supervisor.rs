//! The only place that starts tasks and threads. Everything started here is joined, but for foreign code that hangs
//! ([`Foreign`]), and the end of something essential is the end of the process: systemd restarts it, the spool has the
//! data.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

/// What became of a task or thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It came to its end.
    Finished,
    /// It failed, in words.
    Failed(String),
    /// It panicked, in words.
    Panicked(String),
    /// It ended in whatever way after [`Leash::let_go`]: nobody waits for it.
    LetGo,
}

/// Holds one task, so that it can be ended while the others run.
#[derive(Clone, Debug)]
pub struct Leash {
    is_let_go: Arc<AtomicBool>,
    ended: watch::Receiver<bool>,
    abort: AbortHandle,
}

impl Leash {
    /// From now on its end is no news: whoever calls this is about to tell it to end.
    pub fn let_go(&self) {
        self.is_let_go.store(true, Ordering::Release);
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        // Its sender gone is an end, too.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// Ends it where it waits, without a chance to finish anything.
    pub fn abort(&self) {
        self.abort.abort();
    }
}

/// Does something that waits for the disk, on a thread that may; whoever asked waits for it. `None`: it
/// panicked.
#[expect(clippy::disallowed_methods, reason = "the one place that starts threads")]
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Foreign code that may hang: a library that waits for its hardware, where nothing can interrupt it.
#[derive(Debug, Default)]
pub struct Foreign {
    /// How many threads are in it that nobody waits for any more.
    late: AtomicUsize,
}

/// Why foreign code gave no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It did not come back in time, or what was asked earlier has not come back yet.
    Late,
    /// It panicked.
    Panicked,
    /// The system gave no thread for it, in words.
    NoThread(String),
}

/// Where a thread puts its answer.
enum Answer<T> {
    Awaited,
    /// `None`: a panic.
    Given(Option<T>),
    GivenUp,
}

impl Foreign {
    /// Nothing asked yet.
    pub const fn new() -> Self {
        Self { late: AtomicUsize::new(0) }
    }

    /// Asks on a thread of its own, and waits no longer than this. A thread that is late cannot be ended, and is
    /// not joined: its answer is dropped when it comes. Until then nothing more is asked, so that a library that
    /// hangs holds no more threads than had asked when it began to.
    pub fn ask<T: Send + 'static>(
        &'static self,
        within: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        if self.late.load(Ordering::Acquire) > 0 {
            return Err(Unanswered::Late);
        }
        let ours = Arc::new((Mutex::new(Answer::Awaited), Condvar::new()));
        let theirs = Arc::clone(&ours);
        let started = std::thread::Builder::new().name("foreign".to_owned()).spawn(move || {
            let given = catch_unwind(AssertUnwindSafe(work)).ok();
            let mut answer = theirs.0.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*answer, Answer::GivenUp) {
                self.late.fetch_sub(1, Ordering::Release);
                return;
            }
            *answer = Answer::Given(given);
            theirs.1.notify_one();
        });
        started.map_err(|error| Unanswered::NoThread(error.to_string()))?;
        let answer = ours.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |answer: &mut Answer<T>| matches!(answer, Answer::Awaited);
        let waited = ours.1.wait_timeout_while(answer, within, waits);
        let (mut answer, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *answer, Answer::GivenUp) {
            Answer::Given(Some(given)) => Ok(given),
            Answer::Given(None) => Err(Unanswered::Panicked),
            Answer::Awaited | Answer::GivenUp => {
                self.late.fetch_add(1, Ordering::Release);
                Err(Unanswered::Late)
            }
        }
    }
}

/// All tasks and threads of the daemon.
#[derive(Default)]
pub struct Supervisor {
    ends: JoinSet<(&'static str, End)>,
    running: Vec<&'static str>,
}

impl Supervisor {
    /// Nothing started yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts tasks")]
    pub fn task<F>(&mut self, name: &'static str, future: F) -> Leash
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.running.push(name);
        let handle = tokio::task::spawn(AssertUnwindSafe(future).catch_unwind());
        let (done, ended) = watch::channel(false);
        let leash = Leash { is_let_go: Arc::default(), ended, abort: handle.abort_handle() };
        let is_let_go = Arc::clone(&leash.is_let_go);
        self.ends.spawn(async move {
            let end = handle.await;
            done.send_replace(true);
            if is_let_go.load(Ordering::Acquire) {
                return (name, End::LetGo);
            }
            let end = match end {
                Ok(Ok(Ok(()))) => End::Finished,
                Ok(Ok(Err(error))) => End::Failed(error),
                Ok(Err(panic)) => End::Panicked(words(panic.as_ref())),
                Err(error) => End::Failed(error.to_string()),
            };
            (name, end)
        });
        leash
    }

    /// Starts a task that is made anew when it panics, after a wait: one device's driver must not
    /// take the other devices with it. It ends when the task comes to its end by itself.
    pub fn restarting<M, F>(&mut self, name: &'static str, wait: Duration, mut make: M) -> Leash
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.task(name, async move {
            while let Err(panic) = AssertUnwindSafe(make()).catch_unwind().await {
                let panic = words(panic.as_ref());
                tracing::error!(
                    task = name,
                    panic,
                    "a task panicked: a defect of this program; it starts again"
                );
                tokio::time::sleep(wait).await;
            }
            Ok(())
        })
    }

    /// Starts a thread of its own, for work that blocks.
    pub fn thread<F>(&mut self, name: &'static str, work: F) -> std::io::Result<()>
    where
        F: FnOnce() -> Result<(), String> + Send + 'static,
    {
        let (done, end) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let end = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => End::Finished,
                Ok(Err(error)) => End::Failed(error),
                Err(panic) => End::Panicked(words(panic.as_ref())),
            };
            // Nobody listens any more only when the whole daemon is going down.
            let _ = done.send(end);
        })?;
        self.running.push(name);
        self.ends.spawn(async move {
            let end = end.await.unwrap_or_else(|_| End::Panicked("the thread vanished".to_owned()));
            (name, end)
        });
        Ok(())
    }

    /// Waits for the next task or thread to end; `None` when all have.
    pub async fn next_end(&mut self) -> Option<(&'static str, End)> {
        match self.ends.join_next().await? {
            Ok(end) => {
                if let Some(place) = self.running.iter().position(|name| *name == end.0) {
                    self.running.swap_remove(place);
                }
                Some(end)
            }
            Err(error) => Some(("supervisor", End::Failed(error.to_string()))),
        }
    }

    /// What has not ended yet.
    pub fn running(&self) -> &[&'static str] {
        &self.running
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_end_is_seen_and_named() {
        let mut supervisor = Supervisor::new();
        supervisor.task("good", async { Ok(()) });
        supervisor.task("bad", async { Err("broken".to_owned()) });
        supervisor.task("worse", async { panic!("at the disco") });
        supervisor.thread("thread", || panic!("on a thread {}", 1)).unwrap();
        let mut ends = Vec::new();
        while let Some(end) = supervisor.next_end().await {
            ends.push(end);
            assert_eq!(supervisor.running().len(), 4 - ends.len());
        }
        ends.sort_by_key(|(name, _)| *name);
        assert_eq!(
            ends,
            [
                ("bad", End::Failed("broken".to_owned())),
                ("good", End::Finished),
                ("thread", End::Panicked("on a thread 1".to_owned())),
                ("worse", End::Panicked("at the disco".to_owned())),
            ]
        );
    }

    #[test]
    fn foreign_code_that_hangs_is_left_and_asked_again_only_once_it_has_come_back() {
        static LIBRARY: Foreign = Foreign::new();
        const SOON: Duration = Duration::from_millis(20);
        const LONG: Duration = Duration::from_secs(60);
        assert_eq!(LIBRARY.ask(LONG, || 1), Ok(1));
        let (go_on, told) = std::sync::mpsc::sync_channel(1);
        assert_eq!(LIBRARY.ask(SOON, move || told.recv().is_ok()), Err(Unanswered::Late));
        let asked = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&asked);
        assert_eq!(LIBRARY.ask(LONG, move || mark.store(true, Ordering::Release)), Err(Unanswered::Late));
        assert!(!asked.load(Ordering::Acquire), "nothing is asked while it hangs");
        go_on.send(()).unwrap();
        while LIBRARY.late.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
        assert_eq!(LIBRARY.ask(LONG, || 2), Ok(2));
        assert_eq!(LIBRARY.ask::<()>(LONG, || panic!("a defect")), Err(Unanswered::Panicked));
        assert_eq!(LIBRARY.ask(LONG, || 3), Ok(3), "a panic is an end");
    }

    #[tokio::test]
    async fn a_task_that_was_let_go_ends_without_a_word_also_when_it_hangs() {
        let mut supervisor = Supervisor::new();
        let (stop, mut stopped) = watch::channel(false);
        let mut tame = supervisor.task("tame", async move {
            let _ = stopped.wait_for(|stop| *stop).await;
            Err("of no interest".to_owned())
        });
        let mut wild = supervisor.task("wild", std::future::pending());
        tame.let_go();
        stop.send_replace(true);
        tame.ended().await;
        wild.let_go();
        wild.abort();
        wild.ended().await;
        let mut ends = [supervisor.next_end().await.unwrap(), supervisor.next_end().await.unwrap()];
        ends.sort_by_key(|(name, _)| *name);
        assert_eq!(ends, [("tame", End::LetGo), ("wild", End::LetGo)]);
        assert_eq!(supervisor.next_end().await, None);
    }

    #[tokio::test]
    async fn a_panic_starts_a_restarting_task_again_and_an_end_does_not() {
        let mut supervisor = Supervisor::new();
        let mut turn = 0;
        supervisor.restarting("session", Duration::ZERO, move || {
            turn += 1;
            let panics = turn < 3;
            async move { assert!(!panics, "not yet") }
        });
        assert_eq!(supervisor.next_end().await, Some(("session", End::Finished)));
        assert_eq!(supervisor.next_end().await, None);
    }
}
