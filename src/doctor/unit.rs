//! `unit`: the systemd unit by its files: enabled, and nothing that weakens it (systemd.exec(5), systemd.unit(5)).

use super::{Says, Unseen};

/// The unit as it is shipped: what a drop-in says is compared with this.
const SHIPPED: &str = include_str!("../../systemd/wardline.service");

/// A file and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path.
    pub path: String,
    /// What it says, lines that go on joined; none: it is there and cannot be read.
    pub text: Option<String>,
}

/// The unit's files.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The one that counts; none: the unit is not installed.
    pub unit: Option<File>,
    /// It is masked: a link to nothing stands in its place.
    pub is_masked: bool,
    /// Whether a target wants it.
    pub is_enabled: bool,
    /// Its drop-ins, in the order in which they count.
    pub drop_ins: Vec<File>,
}

/// What may be added without making the unit weaker than it says of itself.
const ADDITIVE: [&str; 11] = [
    "Environment",
    "SetCredential",
    "IPAddressAllow",
    "IPAddressDeny",
    "RestartSteps",
    "RestartMaxDelaySec",
    "MemoryMax",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "RestartSec",
    "LoadCredentialEncrypted",
];
/// What makes a hole that the unit itself names as a way; worth a word.
const HOLES: [&str; 5] =
    ["ReadWritePaths", "DeviceAllow", "LoadCredential", "SupplementaryGroups", "BindPaths"];

/// A prefix of a command that runs it with more rights than the unit has (systemd.service(5), "COMMAND LINES").
const MORE_RIGHTS: [char; 2] = ['+', '!'];

/// All prefixes of a command.
const PREFIXES: [char; 6] = ['@', '-', ':', '+', '!', '|'];

/// Variables by which a program that is not this one gets into the process (ld.so(8)), or the session keys of TLS get
/// out of it.
const WATCHED: [&str; 2] = ["LD_", "SSLKEYLOGFILE"];

/// Says what is wrong with it.
pub fn judge(facts: &Facts) -> Says {
    if facts.is_masked {
        let text = "the unit is masked: it cannot be started";
        return Says::default().wrong(text, "systemctl unmask wardline");
    }
    let Some(unit) = &facts.unit else {
        return Says::default().note(
            "no unit wardline.service is installed: nothing starts the daemon again, or confines it",
            "install the package, or systemd/wardline.service as /etc/systemd/system/wardline.service",
        );
    };
    let mut says = Says::default();
    if !facts.is_enabled {
        let text = "the unit is not enabled: after a power cut the daemon does not start";
        says = says.wrong(text, "systemctl enable --now wardline");
    }
    says = says.and(judge_missing(unit));
    for file in std::iter::once(unit).chain(&facts.drop_ins) {
        says = says.and(judge_file(file, file == unit));
    }
    if says == Says::default() { says.ok("enabled, and nothing weakens it") } else { says }
}

/// Keys of the shipped unit that the installed one lacks.
fn judge_missing(unit: &File) -> Says {
    let Some(text) = &unit.text else { return Says::default() };
    let found: Vec<(&str, &str)> = assignments(text).collect();
    let has = |key: &str| found.iter().any(|(other, _)| *other == key);
    let mut missing: Vec<&str> =
        assignments(SHIPPED).map(|(key, _)| key).filter(|key| !has(key) && !ADDITIVE.contains(key)).collect();
    missing.dedup();
    if missing.is_empty() {
        return Says::default();
    }
    Says::default().wrong(
        format!("{} lacks {}", unit.path, missing.join(", ")),
        "install the unit of this version again",
    )
}

fn judge_file(file: &File, is_unit: bool) -> Says {
    let mut says = Says::default();
    let Some(text) = &file.text else {
        return says.unseen(&Unseen::with(format!("{} cannot be read", file.path), "as root"));
    };
    for (key, value) in assignments(text) {
        let shipped: Vec<&str> =
            assignments(SHIPPED).filter(|(of, _)| *of == key).map(|(_, value)| value).collect();
        let is_weaker = is_weaker(key, value);
        if shipped.contains(&value)
            || (!is_weaker && (shipped.is_empty() || key == "ExecStart" || ADDITIVE.contains(&key)))
        {
            continue;
        }
        let line = format!("{key}={value}");
        if HOLES.contains(&key) && !is_all(value) {
            let text = format!("{} allows more: {line}", file.path);
            says = says.note(text, "keep it only as long as the ward needs it");
            continue;
        }
        let remedy = if is_unit {
            "install the unit of this version again"
        } else {
            "systemctl revert wardline, or edit it"
        };
        says = says.wrong(format!("{} weakens the unit: {line}", file.path), remedy);
    }
    says
}

/// What takes something away from the unit, of keys that it does not set and of those that may be added to.
fn is_weaker(key: &str, value: &str) -> bool {
    match key {
        "ExecStart" => has_more_rights(value) || !is_ours(value),
        _ if key.starts_with("Exec") => has_more_rights(value),
        "Environment" => value
            .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\''))
            .any(|variable| WATCHED.iter().any(|name| variable.starts_with(name))),
        // A call outside the filter would go on with an error in the place of the end.
        "SystemCallErrorNumber" => !matches!(value, "" | "kill"),
        "ReadWritePaths"
        | "DeviceAllow"
        | "LoadCredential"
        | "SupplementaryGroups"
        | "BindPaths"
        | "InaccessiblePaths"
        | "RootDirectory"
        | "PassEnvironment"
        | "EnvironmentFile" => true,
        "PermissionsStartOnly" | "DynamicUser" => value != "no",
        _ => false,
    }
}

/// A path that is everything.
fn is_all(value: &str) -> bool {
    value
        .split_whitespace()
        .any(|path| path.trim_start_matches(['-', '+']).split(':').any(|part| part == "/"))
}

/// Whether a command is this daemon, wherever it is installed; nothing resets the list.
fn is_ours(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    command.is_empty()
        || program.rsplit('/').next().is_some_and(|name| name.trim_start_matches(PREFIXES) == "wardline")
}

/// Whether a command runs with more rights than its unit.
fn has_more_rights(command: &str) -> bool {
    command
        .chars()
        .take_while(|c| !matches!(c, '/' | ' ') && !c.is_alphanumeric())
        .any(|c| MORE_RIGHTS.contains(&c))
}

/// The assignments of the section `[Service]`.
fn assignments(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut is_in = false;
    text.lines().map(str::trim).filter_map(move |line| {
        if line.starts_with('[') {
            is_in = line == "[Service]";
        }
        let is_said = is_in && !line.starts_with(['#', ';', '[']);
        let (key, value) = line.split_once('=').filter(|_| is_said)?;
        Some((key.trim(), value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn with(drop_in: &str) -> Facts {
        let file = |path: &str, text: &str| File { path: path.into(), text: Some(text.into()) };
        Facts {
            unit: Some(file("/etc/systemd/system/wardline.service", SHIPPED)),
            is_masked: false,
            is_enabled: true,
            drop_ins: vec![file("/etc/systemd/system/wardline.service.d/a.conf", drop_in)],
        }
    }

    #[test]
    fn what_is_shipped_is_well_and_each_weakening_is_named() {
        for (drop_in, verdict, words) in [
            ("", Verdict::Ok, "nothing weakens"),
            (include_str!("../../systemd/backoff.conf"), Verdict::Ok, "nothing weakens"),
            ("[Service]\nIPAddressDeny=any\nMemoryMax=128M", Verdict::Ok, "nothing weakens"),
            ("[Service]\nNoNewPrivileges=no", Verdict::Wrong, "a.conf weakens the unit: NoNewPrivileges=no"),
            ("[Service]\nUser=root", Verdict::Wrong, "User=root"),
            ("[Service]\n# User=root\n[Unit]\nUser=root", Verdict::Ok, "nothing weakens"),
            ("[Service]\nLimitCORE=infinity", Verdict::Wrong, "LimitCORE"),
            ("[Service]\nWatchdogSec=0", Verdict::Wrong, "WatchdogSec"),
            ("[Service]\nCapabilityBoundingSet=CAP_SYS_ADMIN", Verdict::Wrong, "CAP_SYS_ADMIN"),
            ("[Service]\nReadWritePaths=/var/lib/softhsm/tokens", Verdict::Note, "softhsm"),
            ("[Service]\nDeviceAllow=char-mem rw", Verdict::Note, "char-mem"),
            ("[Service]\nExecStart=\nExecStart=/opt/wardline run", Verdict::Ok, "nothing weakens"),
            ("[Service]\nExecStart=-/opt/wardline run", Verdict::Ok, "nothing weakens"),
            ("[Service]\nExecStart=\nExecStart=+/opt/wardline run", Verdict::Wrong, "ExecStart=+/opt"),
            ("[Service]\nExecStart=-!!/opt/wardline run", Verdict::Wrong, "ExecStart=-!!"),
            ("[Service]\nExecStartPre=@+/bin/sh sh -c x", Verdict::Wrong, "ExecStartPre=@+"),
            ("[Service]\nExecStartPost=/bin/echo + !", Verdict::Ok, "nothing weakens"),
            ("[Service]\nExecStart=\nExecStart=/usr/local/bin/other run", Verdict::Wrong, "bin/other"),
            ("[Service]\nSystemCallErrorNumber=EPERM", Verdict::Wrong, "SystemCallErrorNumber=EPERM"),
            ("[Service]\nSystemCallErrorNumber=kill", Verdict::Ok, "nothing weakens"),
            ("[Service]\nEnvironment=LD_PRELOAD=/tmp/x.so", Verdict::Wrong, "LD_PRELOAD"),
            ("[Service]\nEnvironment=\"A=b\" \"SSLKEYLOGFILE=/tmp/k\"", Verdict::Wrong, "SSLKEYLOGFILE"),
            ("[Service]\nEnvironment=WARDLINE_DAEMON__LOG=debug OLD_NAME=x", Verdict::Ok, "nothing weakens"),
            ("[Service]\nReadWritePaths=/", Verdict::Wrong, "ReadWritePaths=/"),
            ("[Service]\nBindPaths=/:/host", Verdict::Wrong, "BindPaths=/:/host"),
        ] {
            let says = judge(&with(drop_in));
            assert_eq!(says.verdict(), verdict, "{drop_in}: {says:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{words}: {says:?}");
        }
    }

    #[test]
    fn a_unit_that_is_not_there_not_enabled_masked_or_older() {
        let verdict = |facts: &Facts| judge(facts).verdict();
        assert_eq!(verdict(&Facts::default()), Verdict::Note);
        assert_eq!(verdict(&Facts { is_enabled: false, ..with("") }), Verdict::Wrong);
        assert_eq!(verdict(&Facts { is_masked: true, ..with("") }), Verdict::Wrong);
        let mut unread = with("");
        unread.drop_ins.iter_mut().for_each(|file| file.text = None);
        assert_eq!(verdict(&unread), Verdict::Unchecked);
        let mut older = with("");
        let unit = older.unit.as_mut().unwrap();
        unit.text = unit.text.as_ref().map(|text| text.replace("NoNewPrivileges=yes\n", ""));
        let says = judge(&older);
        assert!(says.iter().any(|said| said.text.contains("lacks NoNewPrivileges")), "{says:?}");
    }
}
