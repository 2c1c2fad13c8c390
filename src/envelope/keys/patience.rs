//! How long a token is waited for: its library may hang for as long as it likes, and nothing can interrupt it.
//!
//! In: what is to be asked. Out: the answer, or [`TokenTrouble::Silent`] when the time is over. What never happens:
//! who asks waits without end; a token that hangs is asked more and more.

use std::time::Duration;

use super::{KeyError, TokenKey, TokenTrouble};
use crate::host::supervisor::{Foreign, Unanswered};

/// For a signature, the library's own start and login included: a smart card takes a second or two for all of it, and
/// a broker gives up on a handshake after some ten.
pub(super) const TO_SIGN: Duration = Duration::from_secs(10);
/// To make, find or destroy a key. Within the time that the unit gives the daemon for its start.
pub(super) const TO_HANDLE: Duration = Duration::from_secs(30);

/// One for all tokens: the library of each is asked by one thread at a time.
static TOKENS: Foreign = Foreign::new();

/// Asks the token of this key.
pub(super) fn ask<T: Send + 'static>(
    key: &TokenKey,
    within: Duration,
    work: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, KeyError> {
    answered(key, TOKENS.ask(within, work))
}

fn answered<T>(key: &TokenKey, answer: Result<Result<T, KeyError>, Unanswered>) -> Result<T, KeyError> {
    let failed = |reason: String| TokenTrouble::Failed { step: "asking the token", reason };
    let trouble = match answer {
        Ok(said) => return said,
        Err(Unanswered::Late) => TokenTrouble::Silent,
        Err(Unanswered::Panicked) => failed("a panic, which is a defect of this program".to_owned()),
        Err(Unanswered::NoThread(why)) => failed(why),
    };
    Err(KeyError::Token { key: key.to_string(), trouble })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_answered_is_said_of_the_key_with_the_way_out() {
        let key = TokenKey { object: Some("gw".to_owned()), ..TokenKey::default() };
        let said = |why| answered::<()>(&key, Err(why)).unwrap_err();
        let late = said(Unanswered::Late);
        assert!(late.to_string().contains("gw") && late.to_string().contains("does not answer"), "{late}");
        assert!(!late.must_not_be_tried_again(), "no PIN was refused");
        assert!(said(Unanswered::NoThread("no room".to_owned())).to_string().contains("failed: no room"));
        assert!(said(Unanswered::Panicked).to_string().contains("defect"));
        assert_eq!(answered(&key, Ok(Ok(1))).unwrap(), 1);
    }
}
