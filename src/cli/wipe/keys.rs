//! What becomes of the keys in a wipe.
//!
//! In: the places that the configuration names, and the audit log. Out: whether each key is destroyed, the
//! command for a person where it is not, and whether an earlier wipe had the key in hand. What can go
//! wrong: a file cannot be looked at; then it counts as there. What never happens: a credential or a token's key
//! is called destroyed; a key that merely was not found is.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::envelope::keys::{KeyPlace, TokenKey};
use crate::host::audit::AuditLog;

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
    use crate::envelope::keys::TokenName;

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
        crate::host::atomic_file::write(&path, b"key").unwrap();
        assert!(!is_destroyed(&KeyPlace::File(path)));
    }
}
