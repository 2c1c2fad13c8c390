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
        // Another test may have taken its ports in the meantime.
        (0..5).find_map(|_| Self::start()).unwrap()
    }

    fn start() -> Option<Self> {
        let tpm = Self { place: tempfile::tempdir().unwrap(), port: two_ports() };
        let listen = |port: u16| format!("type=tcp,bindaddr=127.0.0.1,port={port}");
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"]);
        command.arg(format!("dir={}", tpm.place.path().display()));
        command.args(["--server", &listen(tpm.port), "--ctrl", &listen(tpm.port + 1)]);
        // It goes to the background once it listens.
        command.args(["--daemon", "--pid"]).arg(format!("file={}", tpm.place.path().join("pid").display()));
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(_) => return None,
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
        Some(tpm)
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
    // The card in another board, whose TPM works as well.
    let (other, of_other) = (Tpm::new(), Machine::new());
    let made = finish(other.of(of_other.command_with_all(&["--keys", "sealed"]).stdin(Stdio::null())));
    assert!(made.exit == 0 && other.open(&of_other, "kek").stdout.len() == 32, "{}{}", made.out, made.err);
    for name in ["kek", "ward", "tls-key"] {
        let opened = other.open(&machine, name);
        assert!(!opened.status.success() && opened.stdout.is_empty(), "{name}: {opened:?}");
    }
}

#[test]
fn what_is_said_of_the_protection_holds_for_the_keys_that_are_there() {
    if !seals() {
        return;
    }
    // No TPM answers: what is said is no more than what holds.
    let machine = Machine::new();
    let mut without = machine.command_with_all(&["--keys", "sealed", "--json"]);
    let done = finish(without.env("SYSTEMD_TPM2_DEVICE", "swtpm:host=127.0.0.1,port=1").stdin(Stdio::null()));
    let protection = |done: &Done| {
        let report: Value =
            serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}{}", done.out, done.err));
        report["protection"].as_str().unwrap().to_owned()
    };
    assert_eq!(protection(&done), "credential-host");
    // One that came later makes none of them better, but keys that are made now.
    let tpm = Tpm::new();
    let with =
        || finish(tpm.of(machine.command_with_all(&["--keys", "sealed", "--json"]).stdin(Stdio::null())));
    assert_eq!(protection(&with()), "credential-host");
    fs::remove_file(machine.at("etc/credstore.encrypted/wardline.ward")).unwrap();
    assert_eq!(protection(&with()), "credential-host", "the others are as they were");
    assert_eq!(tpm.open(&machine, "ward").stdout.len(), 32);
    for name in ["kek", "tls-key"] {
        fs::remove_file(machine.at(&format!("etc/credstore.encrypted/wardline.{name}"))).unwrap();
    }
    fs::remove_file(machine.at("etc/wardline/pki/gateway.csr")).unwrap();
    assert_eq!(protection(&with()), "credential-tpm2");
}
