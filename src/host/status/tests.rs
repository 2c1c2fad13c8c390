use std::os::unix::fs::symlink;

use super::*;

fn snapshot() -> Snapshot {
    Snapshot { gateway: "gw-1".into(), ..Snapshot::default() }
}

/// Asks on a thread of the runtime's pool while the daemon's side runs here.
#[expect(clippy::disallowed_methods, reason = "the client blocks, so it needs a thread beside the server's")]
async fn asked(socket: &StatusSocket) -> Result<Snapshot, StatusError> {
    let path = socket.path.clone();
    let client = tokio::task::spawn_blocking(move || ask(&path));
    tokio::select! {
        () = socket.serve(snapshot) => unreachable!("it serves for ever"),
        answer = client => answer.unwrap(),
    }
}

#[tokio::test]
async fn a_question_is_answered_and_the_next_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let socket = StatusSocket::bind(&folder.path().join("s"), None).await.unwrap();
    for _ in 0..3 {
        assert_eq!(asked(&socket).await.unwrap(), snapshot());
    }
    assert_eq!(socket.refused(), 0);
}

#[test]
fn a_daemon_that_hangs_is_told_from_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let within = Duration::from_millis(1_500);
    let told = |error: StatusError| {
        assert!(matches!(error, StatusError::Hangs { .. }), "{error}");
        let words = error.to_string();
        assert!(words.contains("did not answer within 1 s") && words.contains("journalctl"), "{words}");
    };
    told(ask_within(&path, within).unwrap_err());
    // Half an answer, and then nothing.
    let half = std::thread::scope(|scope| {
        let daemon = scope.spawn(|| {
            let (_first, (mut second, _)) = (listener.accept().unwrap(), listener.accept().unwrap());
            second.write_all(b"{\"gateway\":").unwrap();
            // Until the other end is gone.
            second.read_to_end(&mut Vec::new()).unwrap();
        });
        let half = ask_within(&path, within).unwrap_err();
        daemon.join().unwrap();
        half
    });
    told(half);
    drop(listener);
    assert!(matches!(ask_within(&path, within), Err(StatusError::NotRunning { .. })));
}

#[tokio::test]
async fn whoever_is_not_allowed_is_refused_with_a_reason_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut socket = StatusSocket::bind(&path, None).await.unwrap();
    if rustix::process::geteuid().is_root() {
        // Root is always answered, so the one who asks must be somebody else.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let answer = asked_as_nobody(&socket).await;
        assert!(answer.contains("user 65534 may not ask"), "{answer}");
    } else {
        socket.access.user = None;
        let refused = asked(&socket).await.unwrap_err();
        assert!(
            matches!(&refused, StatusError::Refused { reason } if reason.contains("may not ask")),
            "{refused}"
        );
    }
    assert_eq!(socket.refused(), 1);
}

#[expect(clippy::disallowed_methods, reason = "the client blocks, so it needs a thread beside the server's")]
async fn asked_as_nobody(socket: &StatusSocket) -> String {
    use std::os::unix::process::CommandExt;
    let program = format!(
        "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => '{}') or die $!; print $s \"status 1\\n\"; \
         $s->flush; print <$s>;",
        socket.path.display()
    );
    let mut command = std::process::Command::new("perl");
    command.args(["-e", &program]).uid(65_534).gid(65_534);
    let client = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::select! {
        () = socket.serve(snapshot) => unreachable!("it serves for ever"),
        output = client => {
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
    }
}

#[test]
fn the_own_user_root_and_members_of_the_group_are_allowed_and_nobody_else() {
    let access = Access { user: Some(990), group: Some(50) };
    let nowhere = |_, _| false;
    assert!(access.allows(990, 1, nowhere));
    assert!(access.allows(0, 1, nowhere));
    assert!(access.allows(1_000, 50, nowhere));
    assert!(access.allows(1_000, 1_000, |user, group| (user, group) == (1_000, 50)));
    assert!(!access.allows(1_000, 1_000, nowhere));
    let closed = Access { user: Some(990), group: None };
    assert!(!closed.allows(1_000, 0, |_, _| true));
}

#[test]
fn membership_is_read_from_the_systems_files() {
    let users = "root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:\nanna:x:1001:1001::/:\n:x:1002:\nbroken\n";
    let groups = "ann:x:1000:\nward:x:50:bob,ann\nempty:x:51:\nshort:x:52\n";
    assert!(is_member(users, groups, (1_000, 50)));
    for stranger in [(1_001, 50), (1_002, 51), (1_000, 51), (1_000, 52), (1_000, 99), (7, 50)] {
        assert!(!is_member(users, groups, stranger), "{stranger:?}");
    }
}

#[tokio::test]
async fn the_socket_has_its_permissions_and_goes_when_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let socket = StatusSocket::bind(&path, None).await.unwrap();
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, MODE);
    drop(socket);
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let live = StatusSocket::bind(&path, None).await.unwrap();
    let second = StatusSocket::bind(&path, None).await.unwrap_err();
    assert!(matches!(second, StatusError::Taken { .. }), "{second}");
    assert_eq!(asked(&live).await.unwrap(), snapshot());
}

#[tokio::test]
async fn a_link_or_a_file_in_its_place_is_neither_followed_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    std::fs::File::create(&target).unwrap();
    let path = folder.path().join("s");
    symlink(&target, &path).unwrap();
    for place in [&path, &target] {
        let refused = StatusSocket::bind(place, None).await.unwrap_err();
        assert!(matches!(refused, StatusError::InTheWay { .. }), "{refused}");
        assert!(std::fs::symlink_metadata(place).is_ok(), "still there");
    }
}

#[tokio::test]
async fn what_is_not_a_request_gets_an_error_and_endless_ones_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let socket = StatusSocket::bind(&folder.path().join("s"), None).await.unwrap();
    for request in [
        "GET / HTTP/1.1\r\n".to_owned(),
        "GET /metrics?x HTTP/1.1\r\n\r\n".to_owned(),
        "POST /metrics HTTP/1.1\r\n\r\n".to_owned(),
        "status 2\n".to_owned(),
        "x".repeat(60_000),
        format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(60_000)),
    ] {
        let client = async {
            let mut stream = UnixStream::connect(&socket.path).await.unwrap();
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        };
        tokio::select! {
            () = socket.serve(snapshot) => unreachable!("it serves for ever"),
            answer = client => {
                // Bytes that were never read make the kernel reset the connection: then there is none.
                let answer = String::from_utf8(answer).unwrap();
                assert!(answer.is_empty() || answer.contains("not one that this daemon knows"), "{answer}");
            }
        }
    }
    assert_eq!(asked(&socket).await.unwrap(), snapshot());
}

#[tokio::test]
async fn a_collector_gets_the_metrics_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let socket = StatusSocket::bind(&folder.path().join("s"), None).await.unwrap();
    for request in
        ["GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", "GET /metrics HTTP/1.0\r\n\r\n"]
    {
        let client = async {
            let mut stream = UnixStream::connect(&socket.path).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::select! {
            () = socket.serve(snapshot) => unreachable!("it serves for ever"),
            answer = client => answer,
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.contains("gateway=\"gw-1\"") && body.ends_with("# EOF\n"), "{body}");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut socket = StatusSocket::bind(&folder.path().join("s"), None).await.unwrap();
    socket.patience = Duration::from_millis(20);
    let client = async {
        let mut silent = UnixStream::connect(&socket.path).await.unwrap();
        let mut answer = Vec::new();
        silent.read_to_end(&mut answer).await.unwrap();
        answer
    };
    tokio::select! {
        () = socket.serve(snapshot) => unreachable!("it serves for ever"),
        answer = client => assert!(answer.is_empty()),
    }
}

#[test]
fn nobody_there_is_said_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    assert!(matches!(ask(&path), Err(StatusError::NotRunning { .. })));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(ask(&path), Err(StatusError::NotRunning { .. })));
}

#[test]
fn a_group_is_a_number_or_a_name_that_exists() {
    assert_eq!(group_id("4711").unwrap(), 4_711);
    assert_eq!(group_id("root").unwrap(), 0);
    assert!(matches!(group_id("no-such-group-here"), Err(StatusError::NoGroup { .. })));
}

#[tokio::test]
async fn a_group_that_cannot_be_had_costs_nobody_else_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let socket = StatusSocket::bind(&path, Some("no-such-group-here")).await.unwrap();
    let why = socket.groupless().unwrap();
    assert!(why.contains("there is no group \"no-such-group-here\""), "{why}");
    assert_eq!(socket.access.group, None);
    assert_eq!(asked(&socket).await.unwrap(), snapshot());
    drop(socket);
    let own = rustix::process::getegid().as_raw();
    let socket = StatusSocket::bind(&path, Some(&own.to_string())).await.unwrap();
    assert_eq!((socket.groupless(), socket.access.group), (None, Some(own)));
}
