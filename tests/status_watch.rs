//! `wardline status --watch` at a real terminal.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "every function of this file is a test or the helper of one"
)]

mod terminal;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};

use wardline::host::status::{Device, Lane, Snapshot, Store, Uplink};

use self::terminal::Terminal;

const BINARY: &str = env!("CARGO_BIN_EXE_wardline");
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A daemon that answers with what it was last told to; nothing: it takes the question and does not answer.
struct Daemon {
    folder: tempfile::TempDir,
    tell: SyncSender<Option<Snapshot>>,
}

impl Daemon {
    fn start(first: Option<Snapshot>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let (tell, told) = sync_channel::<Option<Snapshot>>(4);
        std::thread::spawn(move || {
            let (mut now, mut kept) = (first, Vec::new());
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                now = told.try_iter().last().unwrap_or(now);
                let mut question = [0; 9];
                stream.read_exact(&mut question).unwrap();
                assert_eq!(&question, b"status 1\n");
                match &now {
                    Some(snapshot) => stream.write_all(&serde_json::to_vec(snapshot).unwrap()).unwrap(),
                    // Dropped, it would be an answer.
                    None => kept.push(stream),
                }
            }
        });
        Self { folder, tell }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn watched(&self, size: (u16, u16), change: impl FnOnce(&mut Command)) -> Terminal {
        let socket = self.socket();
        let arguments = ["status", "--watch", "--socket", socket.to_str().unwrap()];
        Terminal::start(Path::new(BINARY), &arguments, size, change)
    }
}

fn well() -> Snapshot {
    let device = |id: &str| Device {
        id: id.to_owned(),
        model: "alaris-asena".to_owned(),
        security: "serial".to_owned(),
        link: "up".to_owned(),
        last_reading_age_ms: Some(1_500),
        ..Device::default()
    };
    Snapshot {
        version: "0.1.0".to_owned(),
        gateway: "gw-1".to_owned(),
        uptime_ms: 61_000,
        time_synced: true,
        devices: vec![device("pump-1"), device("pump-2")],
        lanes: vec![Lane { lane: "alarm".to_owned(), ..Lane::default() }],
        uplink: Uplink { state: "connected".to_owned(), ..Uplink::default() },
        store: Store { bytes: 1, cap: 1_000, ..Store::default() },
        ..Snapshot::default()
    }
}

fn sick() -> Snapshot {
    let mut snapshot = well();
    "down".clone_into(&mut snapshot.devices[1].link);
    snapshot.devices[1].link_reason = Some("the port is gone".to_owned());
    snapshot
}

#[test]
fn a_change_is_drawn_in_its_place_and_ctrl_c_gives_the_terminal_back() {
    let daemon = Daemon::start(Some(well()));
    let mut terminal = daemon.watched((80, 24), |_| {});
    let page = terminal.until("all is well", |page| page[1].contains("its 2 devices are well"));
    assert!(page[0].contains("gw-1  wardline 0.1.0, running for 1 min 1 s"), "{page:#?}");
    assert!(page.iter().any(|line| line.starts_with("   pump-1") && line.contains("cable")), "{page:#?}");
    assert_eq!(page[23].trim(), "q or Ctrl-C ends this");
    terminal.written.clear();
    daemon.tell.send(Some(sick())).unwrap();
    let page = terminal.until("the trouble", |page| page[1].starts_with("!  1 of 2 devices needs a look"));
    let head = page.iter().position(|line| line.starts_with("   DEVICE")).unwrap();
    assert!(page[head + 1].starts_with("!  pump-2") && page[head + 1].contains("down: the port is gone"));
    assert!(page.iter().any(|line| line.contains("pump-2: down: the port is gone")), "{page:#?}");
    assert!(!terminal.text().contains("\x1b[2J"), "it is not drawn anew: {:?}", terminal.text());
    for (columns, rows) in [(40, 12), (20, 5), (200, 60), (80, 24)] {
        terminal.resize(columns, rows);
        let page = terminal.until("it has another size", |page| {
            page[0].contains("gw-1") && page.last().is_some_and(|foot| foot.contains("q or Ctrl-C"))
        });
        assert_eq!(terminal.model.beyond, 0, "a line is longer than the terminal: {page:#?}");
    }
    let (code, text, echoes) = terminal.interrupt();
    assert_eq!((code, echoes), (Some(0), true), "{text:?}");
    assert!(text.ends_with(LEAVE), "{text:?}");
    assert!(!text.contains("^C"), "{text:?}");
}

#[test]
fn q_and_the_signals_that_end_a_program_give_the_terminal_back() {
    let daemon = Daemon::start(Some(well()));
    for end in ["q", "-TERM", "-HUP", "-INT"] {
        let mut terminal = daemon.watched((80, 24), |_| {});
        terminal.until("it is drawn", |page| page[1].contains("are well"));
        let terminal = if end == "q" {
            terminal.typed(b"q")
        } else {
            let id = terminal.id().to_string();
            assert!(Command::new("kill").args([end, &id]).status().unwrap().success());
            terminal
        };
        let (code, text, echoes) = terminal.ended();
        assert_eq!((code, echoes), (Some(0), true), "{end}: {text:?}");
        assert!(text.ends_with(LEAVE), "{end}: {text:?}");
    }
}

#[test]
fn figures_of_a_daemon_that_hangs_have_their_age_and_q_waits_for_nothing() {
    let daemon = Daemon::start(Some(well()));
    let mut terminal = daemon.watched((80, 24), |_| {});
    terminal.until("all is well", |page| page[1].contains("its 2 devices are well"));
    daemon.tell.send(None).unwrap();
    let page = terminal.until("it says so", |page| page[2].contains("These figures are "));
    assert!(page[1].contains("The daemon: has not answered since"), "{page:#?}");
    assert!(page.iter().any(|line| line.contains("pump-1")), "{page:#?}");
    let (code, text, _) = terminal.typed(b"q").ended();
    assert_eq!(code, Some(0));
    assert!(text.ends_with(LEAVE), "{text:?}");
}

#[test]
fn a_daemon_that_is_not_there_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let arguments = ["status", "--watch", "--socket", socket.to_str().unwrap()];
    let mut terminal = Terminal::start(Path::new(BINARY), &arguments, (60, 24), |_| {});
    let page = terminal.until("nobody answers", |page| page[1].starts_with("!! The daemon: no daemon"));
    assert!(page.iter().any(|line| line.trim() == "There are no figures yet."), "{page:#?}");
    let (code, ..) = terminal.typed(b"q").ended();
    assert_eq!(code, Some(0));
}

#[test]
fn who_wants_no_colours_sees_the_trouble_too() {
    let daemon = Daemon::start(Some(sick()));
    let mut coloured = daemon.watched((80, 24), |_| {});
    coloured.until("the trouble", |page| page[1].starts_with("!  1 of 2"));
    let (_, text, _) = coloured.typed(b"q").ended();
    assert!(text.contains("\x1b[33m"), "{text:?}");
    let mut plain = daemon.watched((80, 24), |command| {
        command.env("NO_COLOR", "1");
    });
    plain.until("the trouble", |page| page[1].starts_with("!  1 of 2"));
    let (_, text, _) = plain.typed(b"q").ended();
    assert!(!text.contains("m!") && !text.contains("\x1b[0m"), "{text:?}");
}

#[test]
fn what_cannot_be_drawn_on_is_refused_with_the_way_out() {
    let daemon = Daemon::start(Some(well()));
    let dumb = daemon.watched((80, 24), |command| {
        command.env("TERM", "dumb");
    });
    let (code, text, echoes) = dumb.ended();
    assert_eq!((code, echoes), (Some(2), true), "{text}");
    assert!(text.contains("leave --watch out, or add --json") && !text.contains('\x1b'), "{text:?}");
}

#[test]
fn as_json_each_look_is_a_line_until_nobody_reads() {
    let daemon = Daemon::start(Some(well()));
    let mut command = Command::new(BINARY);
    command.args(["status", "--watch", "--json", "--socket"]).arg(daemon.socket());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&line).unwrap(), well());
    }
    drop(lines);
    assert!(child.wait().unwrap().success());
}
