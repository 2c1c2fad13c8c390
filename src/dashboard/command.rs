//! `wardline-dashboard`: the command line, and what looks at the daemon again and again.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::server::{Site, bind, serve};
use crate::cli::exit::{Exit, Failure};
use crate::cli::lookout::{Look, Lookout};
use crate::cli::view::Watcher;
use crate::cli::{Asked, out, start};
use crate::host::clock::SystemClock;
use crate::host::process;
use crate::time::Clock as _;

/// What this program calls itself.
const PROGRAM: &str = "wardline-dashboard";

/// Show in a browser how this gateway is doing: on the loopback only, to look at and nothing else.
#[derive(Debug, Parser)]
#[command(
    name = "wardline dashboard",
    version,
    after_help = "Examples:\n  \
        wardline dashboard                                                        then open the address that it prints\n  \
        ssh -t -L 8470:127.0.0.1:8470 gw-1 wardline dashboard --port 8470         from another machine\n\n\
        Anyone on this machine can reach the port, so the address has a key in it that is new at each start. The \
        browser keeps the key to itself: it is in no cookie, and no other program is sent it.\n\
        Ends with Ctrl-C, and by itself when nobody has looked for half an hour. A page whose program has ended is \
        closed, not opened again: another user's program may have the port by then."
)]
struct Dashboard {
    #[command(flatten)]
    asked: Asked,
    /// The port on 127.0.0.1; 0: any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// End when nobody has looked for so many minutes; 0: never.
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    idle: u64,
}

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    start(PROGRAM, run)
}

fn run(asked: Dashboard) -> Result<(), Failure> {
    process::seal_off()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(show(asked));
    // A question to the daemon that is still under way is not waited for.
    runtime.shutdown_background();
    ended
}

async fn show(asked: Dashboard) -> Result<(), Failure> {
    let key = key()?;
    let (listener, at) = bind(asked.port).await.map_err(|error| {
        let what = format!("127.0.0.1:{} cannot be listened on: name another with --port", asked.port);
        Failure::new(Exit::Failed, anyhow::Error::new(error).context(what))
    })?;
    let (tell, view) = watch::channel(Arc::from("{}"));
    let site = Site::new(Arc::clone(&key), view);
    let mut out = out::stdout();
    out.line(format_args!("http://{at}/#{key}"))?;
    out.finish()?;
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let most = (asked.idle > 0).then(|| Duration::from_secs(asked.idle.saturating_mul(60)));
    tokio::select! {
        served = serve(listener, site.clone()) => served?,
        () = watch_daemon(&asked.asked, &tell, &site, most) => out::remark_of(PROGRAM, format_args!("nobody has looked for {} minutes", asked.idle)),
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}

/// 128 random bits, hex.
fn key() -> Result<Arc<str>, Failure> {
    let mut bytes = [0u8; 16];
    let missing = |_| Failure::new(Exit::Failed, anyhow::anyhow!("the system gives no random numbers"));
    SystemRandom::new().fill(&mut bytes).map_err(missing)?;
    let mut text = String::with_capacity(32);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text.into())
}

/// Looks at the daemon until nobody has looked at the page for too long.
async fn watch_daemon(asked: &Asked, tell: &watch::Sender<Arc<str>>, site: &Site, most: Option<Duration>) {
    let (clock, mut watcher) = (SystemClock::default(), Watcher::default());
    let mut lookout = Lookout::new(asked.clone());
    let mut seen = clock.now().mono;
    loop {
        let look = lookout.next().await;
        let now = clock.now().mono;
        let view = match look {
            Look::Answered(Ok(snapshot)) => watcher.handle_answer(Ok(&snapshot), now),
            Look::Answered(Err(why)) => watcher.handle_answer(Err(&why), now),
            Look::Waits => watcher.handle_silence(now),
        };
        if let Ok(text) = serde_json::to_string(&view) {
            tell.send_replace(Arc::from(text));
        }
        if !site.is_idle() {
            seen = now;
        }
        if most.is_some_and(|most| now.since(seen) >= most) {
            return;
        }
    }
}
