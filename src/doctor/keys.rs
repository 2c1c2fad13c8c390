//! `keys`: whether the local keys are there, and what their protection is worth.

use super::{Says, Unseen};
use crate::envelope::keys::Protection;
use crate::host::credential::SealedBy;

/// What keeps the file of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is encrypted, by this.
    Sealed(SealedBy),
    /// It is not: its modes keep it.
    InTheClear,
}

/// What is known of the keys.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Each of them.
    pub keys: Vec<Key>,
    /// Whether the machine has a TPM that the kernel knows.
    pub has_tpm: bool,
}

/// One key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its key in the configuration.
    pub name: &'static str,
    /// Where it is.
    pub place: String,
    /// How it is protected.
    pub protection: Protection,
    /// Of a credential, what keeps its file. None: it is not where `wardline init` puts it, or not to be looked at.
    pub kept: Option<Kept>,
    /// Why it cannot be used, in words. Unseen: it was not read.
    pub loaded: Result<Result<(), String>, Unseen>,
}

/// Says what is wrong with them.
pub fn judge(Facts { keys, has_tpm }: &Facts) -> Says {
    let says = keys.iter().fold(Says::default(), |says, key| says.and(judge_one(key)));
    let besides = |key: &&Key| matches!(key.kept, Some(Kept::Sealed(SealedBy::Host) | Kept::InTheClear));
    let besides: Vec<&str> = keys.iter().filter(besides).map(|key| key.name).collect();
    if !*has_tpm || besides.is_empty() {
        return says;
    }
    says.note(
        format!("this machine has a TPM, and {} would open without it", besides.join(" and ")),
        "to move a key under the TPM: docs/install.md, What protects the keys",
    )
}

fn judge_one(key: &Key) -> Says {
    let Key { name, place, protection, kept, loaded } = key;
    if *kept == Some(Kept::Sealed(SealedBy::Nothing)) {
        return Says::default().wrong(
            format!(
                "{name}: its credential is encrypted by nothing (made where there was neither a TPM nor a key of the \
                 machine): whoever has the file has the key"
            ),
            "encrypt it again with systemd-creds encrypt --with-key=host, or host+tpm2",
        );
    }
    match loaded {
        Ok(Ok(())) => Says::default().ok(format!("{name}: there, {}", worth(*protection, *kept))),
        Ok(Err(why)) => Says::default().wrong(format!("{name}: {why}"), "wardline keys show"),
        Err(unseen) => {
            let why = format!("{name} in {place}: {}", unseen.why);
            Says::default().unseen(&Unseen { why, remedy: unseen.remedy.clone() })
        }
    }
}

/// What the protection is worth, in plain words.
const fn worth(protection: Protection, kept: Option<Kept>) -> &'static str {
    match (protection, kept) {
        (Protection::File, _) => {
            "a file with the right modes: keeps other users of this machine out; who takes the disk has key and data"
        }
        (Protection::Credential, Some(Kept::Sealed(SealedBy::Tpm))) => {
            "a systemd credential that this machine's TPM encrypts: who takes the disk without the board has nothing; root \
             on this machine can read it"
        }
        (Protection::Credential, Some(Kept::Sealed(SealedBy::Host))) => {
            "a systemd credential, encrypted by a file on this machine's own disk: a copy of /etc alone opens nothing; who \
             takes the disk has key and data"
        }
        (Protection::Credential, Some(Kept::InTheClear)) => {
            "a systemd credential whose file is in the clear, for root alone: who takes the disk has key and data"
        }
        (Protection::Credential, Some(Kept::Sealed(SealedBy::Nothing | SealedBy::Unknown)) | None) => {
            "a systemd credential; what encrypts it could not be told (root can look), so count on no more than a file"
        }
        (Protection::Pkcs11, _) => {
            "in a token that never gives it away: who takes the disk without the token has nothing; who takes both needs \
             the PIN"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_key_is_well_missing_or_unseen_and_its_worth_is_said() {
        let key = |loaded| Key {
            name: "kek",
            place: "/etc/wardline/kek".into(),
            protection: Protection::File,
            kept: None,
            loaded,
        };
        let bad = Ok(Err("key file has mode 0644".to_owned()));
        for (keys, verdict, words) in [
            (vec![key(Ok(Ok(())))], Verdict::Ok, "who takes the disk has key and data"),
            (vec![key(Ok(Ok(()))), key(bad)], Verdict::Wrong, "mode 0644"),
            (
                vec![key(Err(Unseen::new("not asked")))],
                Verdict::Unchecked,
                "kek in /etc/wardline/kek: not asked",
            ),
        ] {
            let says = judge(&Facts { keys, has_tpm: true });
            assert_eq!(says.verdict(), verdict, "{says:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{says:?}");
        }
    }

    #[test]
    fn what_keeps_a_credential_is_said_and_what_is_kept_by_nothing_is_wrong() {
        let says = |kept, has_tpm| {
            let key = Key {
                name: "keys.kek",
                place: "credential kek".into(),
                protection: Protection::Credential,
                kept,
                loaded: Ok(Ok(())),
            };
            judge(&Facts { keys: vec![key], has_tpm })
        };
        let sealed = |by| Some(Kept::Sealed(by));
        for (kept, has_tpm, verdict, words) in [
            (sealed(SealedBy::Tpm), true, Verdict::Ok, "TPM encrypts"),
            (sealed(SealedBy::Host), false, Verdict::Ok, "who takes the disk has key and data"),
            (sealed(SealedBy::Host), true, Verdict::Note, "keys.kek would open without it"),
            (sealed(SealedBy::Nothing), false, Verdict::Wrong, "encrypted by nothing"),
            (sealed(SealedBy::Unknown), true, Verdict::Ok, "no more than a file"),
            (Some(Kept::InTheClear), false, Verdict::Ok, "in the clear"),
            (Some(Kept::InTheClear), true, Verdict::Note, "keys.kek would open without it"),
            (None, true, Verdict::Ok, "could not be told"),
        ] {
            let says = says(kept, has_tpm);
            assert_eq!(says.verdict(), verdict, "{says:?}");
            let text: String = says.iter().map(|said| said.text.as_str()).collect();
            assert!(text.contains(words), "{text}");
        }
    }
}
