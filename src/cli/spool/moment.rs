//! A moment as a person writes it on the command line.
//!
//! In: `2026-11-21T23:40:00Z`, `2026-11-21 23:40`, `2026-11-21`, all UTC, or `2h`: so long ago. Out: a
//! [`Wall`].

use crate::config::duration;
use crate::time::Wall;

/// A moment, or a time before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    At(Wall),
    Before(i64),
}

impl Moment {
    /// Reads it. The error is the reason, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(at) = Wall::read(text) {
            return Ok(Self::At(at));
        }
        let ago = duration(text).ok().and_then(|ago| i64::try_from(ago.as_millis()).ok());
        ago.map(Self::Before).ok_or_else(|| {
            format!("{text:?} is not a moment: write 2026-11-21T23:40:00Z (UTC), or 2h for two hours ago")
        })
    }

    pub(super) fn wall(self, now: Wall) -> Wall {
        match self {
            Self::At(at) => at,
            Self::Before(millis) => Wall::from_millis(now.as_millis().saturating_sub(millis)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_back_as_it_is_shown() {
        for text in ["2026-11-21T23:40:00.250Z", "1970-01-01T00:00:00.000Z", "2028-02-29T23:59:59.999Z"] {
            let Moment::At(at) = Moment::parse(text).unwrap() else { panic!("{text}") };
            assert_eq!(at.to_string(), text);
        }
    }

    #[test]
    fn it_may_be_written_shorter() {
        for (short, long) in [
            ("2026-11-21", "2026-11-21T00:00:00.000Z"),
            ("2026-11-21 23:40", "2026-11-21T23:40:00.000Z"),
            ("2026-11-21T23:40:05Z", "2026-11-21T23:40:05.000Z"),
            ("2026-11-21T23:40Z", "2026-11-21T23:40:00.000Z"),
        ] {
            assert_eq!(Moment::parse(short), Moment::parse(long), "{short}");
        }
        let now = Wall::from_millis(10_000_000);
        assert_eq!(Moment::parse("2h").unwrap().wall(now), Wall::from_millis(2_800_000));
    }

    #[test]
    fn what_is_none_is_refused_with_the_way_to_write_it() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-30",
            "2026-1-1",
            "2026-11-21T25:00",
            "21.11.2026",
            "-1-1",
        ] {
            assert!(Moment::parse(text).unwrap_err().contains("2h"), "{text}");
        }
    }
}
