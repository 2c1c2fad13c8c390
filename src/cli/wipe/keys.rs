//! What becomes of the keys in a wipe.
//!
//! In: the places that the configuration names, and the audit log. Out: whether each key is destroyed, the
//! command for a person where it is not, and whether an earlier wipe had the key in hand. What can go
//! wrong: a file cannot be looked at; then it counts as there. What never happens: a credential or a token's key
//! is called destroyed; a key that merely was not found is.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::config::{Config, Keys};
use crate::envelope::keys::{KeyPlace, TokenKey};
use crate::host::audit::AuditLog;
use crate::identity::folder::{CURRENT, Folder};

/// What became of a key. Only a file is ever destroyed from here: a credential is a copy of what systemd
/// keeps, and a token keeps its own.
pub(super) fn fate(place: &KeyPlace) -> Value {
    if is_destroyed(place) {
        return json!({"place": place.to_string(), "destroyed": true});
    }
    json!({"place": place.to_string(), "destroyed": false, "left_to_do": left_to_do(place)})
}

/// Whether a key is verifiably gone.
pub(super) fn is_destroyed(place: &KeyPlace) -> bool {
    matches!(place, KeyPlace::File(path) if is_absent(path))
}

/// Every key that the configuration points at and that is not verifiably gone: whoever gives the box away has to know
/// of each.
pub(super) fn left_alone(config: &Config) -> Vec<String> {
    let Keys { kek, kek_previous, ward } = &config.keys;
    let uplink = &config.uplink;
    let named = [Some(kek), kek_previous.as_ref(), Some(ward), Some(&uplink.key)];
    let named = named.into_iter().flatten().filter(|place| !is_destroyed(place)).map(KeyPlace::to_string);
    let mut left: Vec<String> = Vec::new();
    let enrolled = Folder::named_by(&uplink.certificate, &uplink.key);
    for key in named.chain(enrolled.iter().flat_map(enrolled_keys)) {
        if !left.contains(&key) {
            left.push(key);
        }
    }
    left
}

/// The keys of the folder that `wardline enrol` fills: of the pair in use, of the next, and of a request. One that
/// cannot be looked at counts as there.
fn enrolled_keys(folder: &Folder) -> Vec<String> {
    let (current, next) = (folder.path().join(CURRENT), folder.next_path());
    let pending = || format!("a request that waits in {}", folder.path().display());
    let in_token =
        |key: &TokenKey| folder.token().map_or_else(|| key.clone(), |own| key.reached_as(own)).to_string();
    let in_file = |file: &Path| KeyPlace::File(file.to_owned()).to_string();
    let unknown = |what: String, why: &dyn Display| format!("{what}, which cannot be read: {why}");
    let pairs = [(current, folder.current()), (next, folder.next())];
    let pairs = pairs.into_iter().filter_map(|(file, pair)| match pair {
        Ok(pair) => Some(pair?.token().map_or_else(|| in_file(&file), in_token)),
        Err(why) => Some(unknown(in_file(&file), &why)),
    });
    let request = match folder.pending() {
        Ok(request) => request.map(|request| request.token().map_or_else(pending, in_token)),
        Err(why) => Some(unknown(pending(), &why)),
    };
    pairs.chain(request).collect()
}

/// A file that this process may not look at is not one that is gone.
fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The command that destroys a key, for a person, where it is not destroyed here.
fn left_to_do(place: &KeyPlace) -> String {
    match place {
        KeyPlace::File(path) => format!("shred -u {}", quoted(&path.display().to_string())),
        KeyPlace::Credential(path) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let sources = ["/etc/credstore.encrypted", "/etc/credstore"];
            let known: Vec<String> = sources
                .iter()
                .map(|folder| format!("{folder}/wardline.{name}"))
                .filter(|source| Path::new(source).exists())
                .collect();
            if known.is_empty() {
                format!("shred -u what `systemctl cat wardline` names as the source of the credential {name}")
            } else {
                format!("shred -u {}", known.join(" "))
            }
        }
        // By the whole name: of two tokens with one label only the serial number tells which is meant.
        KeyPlace::Token(key) => format!(
            "p11tool --provider {} --login --delete {}",
            quoted(&key.module.display().to_string()),
            quoted(&uri(key))
        ),
    }
}

/// The key's name in its token (RFC 7512), with every part that tells it apart.
fn uri(key: &TokenKey) -> String {
    format!("{};type=secret-key", key.name())
}

/// As a shell takes one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A wipe that had the store's key in hand and did not come to its end: this one goes on with it.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// The files of the keys that it was to destroy.
    pub(super) keys: Vec<PathBuf>,
}

/// The last wipe of this folder, when it is to be gone on with: it noted the key's id, which only the key
/// itself tells, before it touched anything.
pub(super) fn earlier(log: &AuditLog, folder: &Path) -> Option<Earlier> {
    let mut last = None;
    let read = log.read(&mut |entry| {
        let Some(says) = entry.says else { return Ok(()) };
        let action = says.get("action").and_then(Value::as_str);
        if matches!(action, Some("wipe" | "wipe-end")) {
            let about = says.get("about").and_then(Value::as_object).cloned().unwrap_or_default();
            if about.get("folder") == Some(&json!(folder)) {
                last = Some((action == Some("wipe-end"), about));
            }
        }
        Ok(())
    });
    read.ok()?;
    let (has_ended, about) = last?;
    let is_whole = has_ended && about.get("erased") == Some(&Value::Bool(true));
    (!is_whole && about.contains_key("kek")).then(|| Earlier { keys: files(&about) })
}

fn files(about: &Map<String, Value>) -> Vec<PathBuf> {
    let list = about.get("key_files").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Catalogue, Environment, GATEWAY_FILE, load_with};
    use crate::envelope::keys::TokenName;
    use crate::host::atomic_file;

    #[test]
    fn the_command_that_destroys_a_key_can_be_pasted_into_a_shell() {
        let file = KeyPlace::File(PathBuf::from("/etc/wardline/the key's"));
        assert_eq!(left_to_do(&file), r"shred -u '/etc/wardline/the key'\''s'");
        let key = TokenKey {
            module: PathBuf::from("/usr/lib/p11.so"),
            token: TokenName {
                label: Some("ward 7".to_owned()),
                serial: Some("0a;1".to_owned()),
                manufacturer: Some("Acme".to_owned()),
                model: Some("M'1".to_owned()),
            },
            object: Some("wardline-kek".to_owned()),
            id: Some(vec![1, 0xff]),
            pin: None,
        };
        let command = left_to_do(&KeyPlace::Token(key.clone()));
        assert_eq!(
            command,
            "p11tool --provider /usr/lib/p11.so --login --delete 'pkcs11:token=ward%207;serial=0a%3B1;\
             manufacturer=Acme;model=M%271;object=wardline-kek;id=%01%FF;type=secret-key'"
        );
        // It is the same key, by every part of its name.
        let again = TokenKey::parse(&format!("{}?module-path=/usr/lib/p11.so", uri(&key)), |_| None).unwrap();
        assert_eq!(again, key);
    }

    #[test]
    fn only_a_file_that_is_not_there_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        assert!(is_destroyed(&KeyPlace::File(path.clone())));
        assert!(!is_destroyed(&KeyPlace::Credential(path.clone())));
        // A name that cannot be looked up says nothing of the key.
        let odd = folder.path().join("x".repeat(300));
        assert!(!is_destroyed(&KeyPlace::File(odd)));
        atomic_file::write(&path, b"key").unwrap();
        assert!(!is_destroyed(&KeyPlace::File(path)));
    }
    /// What is left by a wipe of a gateway whose configuration names these keys, below its folder.
    fn left(keys: &str, certificate: &str, key: &str, files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().display().to_string();
        let text = format!(
            "devices = \"none\"\n[gateway]\norganisation = \"st-anna\"\ngroup = \"icu-3\"\nid = \"gw-1\"\n[uplink]\nhost = \"b.example.org\"\n\
             authorities = \"HOME/ca.pem\"\ncertificate = \"HOME/{certificate}\"\nkey = \"{key}\"\n[keys]\n{keys}\n"
        );
        std::fs::create_dir(folder.path().join("identity")).unwrap();
        let write = |name: &str, text: &str| {
            atomic_file::write(&folder.path().join(name), text.replace("HOME", &home).as_bytes()).unwrap();
        };
        write(GATEWAY_FILE, &text);
        for (name, text) in files {
            write(name, text);
        }
        let loaded = load_with(folder.path(), &Environment::default(), &Catalogue::shipped(), None);
        left_alone(&loaded.unwrap().config).into_iter().map(|key| key.replace(&home, "HOME")).collect()
    }

    #[test]
    fn every_key_that_the_configuration_points_at_and_that_is_there_is_left_alone_by_name() {
        let keys = "kek = \"HOME/kek\"\nkek_previous = \"HOME/kek.old\"\nward = \"HOME/ward\"";
        let own = ("own.key", "");
        assert_eq!(
            left(keys, "own.pem", "HOME/own.key", &[("ward", ""), own]),
            ["file HOME/ward", "file HOME/own.key"],
            "the keys that were destroyed are not named"
        );
        assert_eq!(
            left(keys, "own.pem", "HOME/own.key", &[("kek", ""), ("kek.old", ""), own]),
            ["file HOME/kek", "file HOME/kek.old", "file HOME/own.key"],
            "keys that were kept are"
        );
    }

    #[test]
    fn what_is_in_a_token_or_in_the_folder_of_an_enrolment_is_named_too() {
        let keys = "kek = \"pkcs11:token=t;object=kek?module-path=/m.so\"\nward = \"HOME/ward\"";
        let uri = "pkcs11:token=t;object=gw?module-path=/m.so";
        let left = left(
            keys,
            "identity/current.pem",
            uri,
            &[("identity/current.pem", "no pair"), ("identity/next.pem", "")],
        );
        assert!(
            left.len() == 4 && left[0].contains("kek in token t") && left[1].contains("gw in token t"),
            "{left:?}"
        );
        assert!(left[2].starts_with("file HOME/identity/current.pem, which cannot be read"), "{left:?}");
        assert!(left[3].starts_with("file HOME/identity/next.pem, which cannot be read"), "{left:?}");
        assert!(!left.iter().any(|key| key.contains("HOME/ward")), "{left:?}");
    }
}
