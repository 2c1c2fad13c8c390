//! `keys`: whether the local keys are there, and what their protection is worth.

use super::{Says, Unseen};
use crate::envelope::keys::Protection;

/// One key.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its key in the configuration.
    pub name: &'static str,
    /// Where it is.
    pub place: String,
    /// How it is protected.
    pub protection: Protection,
    /// Why it cannot be used, in words. Unseen: it was not read.
    pub loaded: Result<Result<(), String>, Unseen>,
}

/// Says what is wrong with them.
pub fn judge(keys: &[Facts]) -> Says {
    keys.iter().fold(Says::default(), |says, key| says.and(judge_one(key)))
}

fn judge_one(key: &Facts) -> Says {
    let Facts { name, place, protection, loaded } = key;
    match loaded {
        Ok(Ok(())) => Says::default().ok(format!("{name}: there, {}", worth(*protection))),
        Ok(Err(why)) => Says::default().wrong(format!("{name}: {why}"), "wardline keys show"),
        Err(unseen) => {
            let why = format!("{name} in {place}: {}", unseen.why);
            Says::default().unseen(&Unseen { why, remedy: unseen.remedy.clone() })
        }
    }
}

/// What the protection is worth, in plain words.
const fn worth(protection: Protection) -> &'static str {
    match protection {
        Protection::File => {
            "a file with the right modes: keeps other users of this machine out; who takes the disk has key and data"
        }
        Protection::Credential => {
            "a systemd credential: kept encrypted for this machine (where it has a TPM, for that chip), so that a copied \
             disk without it opens nothing; root on this machine can read it"
        }
        Protection::Pkcs11 => {
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
        let key = |loaded| Facts {
            name: "kek",
            place: "/etc/wardline/kek".into(),
            protection: Protection::File,
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
            let says = judge(&keys);
            assert_eq!(says.verdict(), verdict, "{says:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{says:?}");
        }
    }
}
