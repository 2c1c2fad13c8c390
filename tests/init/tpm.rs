//! `wardline init` on a machine with a TPM: Debian's `swtpm`, which systemd-creds reaches as it would reach a chip.
//!
//! Between a chip and its users stands the kernel, which frees what each of them left open. Here a script in place of
//! `systemd-creds` does that, behind the real one.

use std::net::TcpListener;

use super::*;

/// A TPM in software, listening on two ports that follow each other, as its driver wants them.
struct Tpm {
    place: tempfile::TempDir,
    port: u16,
}

fn two_ports() -> u16 {
    (0..100)
        .find_map(|_| {
            let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            TcpListener::bind(("127.0.0.1", first.checked_add(1)?)).ok().map(|_| first)
        })
        .unwrap()
}

impl Tpm {
    fn new() -> Self {
        let tpm = Self { place: tempfile::tempdir().unwrap(), port: two_ports() };
        let listen = |port: u16| format!("type=tcp,bindaddr=127.0.0.1,port={port}");
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"]);
        command.arg(format!("dir={}", tpm.place.path().display()));
        command.args(["--server", &listen(tpm.port), "--ctrl", &listen(tpm.port + 1)]);
        // It goes to the background once it listens.
        command.args(["--daemon", "--pid"]).arg(format!("file={}", tpm.place.path().join("pid").display()));
        match command.status() {
            Ok(status) => assert!(status.success(), "swtpm: {status}"),
            Err(error) => {
                panic!("swtpm: {error}; on Debian: apt-get install swtpm libtss2-tcti-swtpm0 tpm2-tools")
            }
        }
        let script = tpm.place.path().join("systemd-creds");
        let real = "PATH=${PATH#*:} systemd-creds \"$@\"";
        let text =
            format!("#!/bin/sh\n{real}\nended=$?\ntpm2_flushcontext --loaded-session || exit\nexit $ended\n");
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        tpm
    }

    /// The program finds its TPM there.
    fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap();
        let there = format!("swtpm:host=127.0.0.1,port={}", self.port);
        command.env("SYSTEMD_TPM2_DEVICE", &there).env("TPM2TOOLS_TCTI", &there);
        command.env("PATH", format!("{}:{path}", self.place.path().display()))
    }

    fn open(&self, machine: &Machine, name: &str) -> std::process::Output {
        let file = machine.at(&format!("etc/credstore.encrypted/wardline.{name}"));
        let mut command = Command::new(self.place.path().join("systemd-creds"));
        self.of(command.arg("decrypt").arg(format!("--name={name}")).arg(file).arg("-")).output().unwrap()
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.place.path().join("pid")).unwrap_or_default();
        let _ = Command::new("kill").arg(pid.trim()).status();
    }
}

#[test]
fn keys_are_under_the_tpm_and_another_tpm_opens_none_of_them() {
    if !seals() {
        return;
    }
    let (machine, tpm) = (Machine::new(), Tpm::new());
    let run =
        || finish(tpm.of(machine.command_with_all(&["--keys", "sealed", "--json"]).stdin(Stdio::null())));
    let done = run();
    assert_eq!(done.exit, 0, "{}{}", done.out, done.err);
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(report["protection"], "credential-tpm2", "{}{}", done.out, done.err);
    assert!(report["worth"].as_str().unwrap().contains("opens nothing without this board"));
    for name in ["kek", "ward"] {
        assert_eq!(tpm.open(&machine, name).stdout.len(), 32, "{name}");
    }
    let before = machine.all();
    let again = run();
    assert!(again.exit == 0 && machine.all() == before, "{}{}", again.out, again.err);
    // The card in another board.
    let other = Tpm::new();
    for name in ["kek", "ward", "tls-key"] {
        let opened = other.open(&machine, name);
        assert!(!opened.status.success() && opened.stdout.is_empty(), "{name}: {opened:?}");
    }
    // And without one, what is said is no more than what holds.
    let without = Machine::new();
    let done = without.unattended(&["--keys", "sealed", "--json"]);
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(report["protection"], "credential-host");
}
