//! Durations and sizes as people write them: a whole number and a unit, nothing in between.

use std::time::Duration;

/// Reads `250ms`, `5s`, `2m`, `1h`, `1d`. The error is the reason, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (count, unit) = split(text);
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{text:?} is not a duration: write for instance \"250ms\", \"5s\", \"2m\"")),
    };
    product(count, millis_per_unit).map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a duration: write a whole number and a unit, for instance \"250ms\"")
    })
}

/// Reads `4GiB`, `512MiB`, `64KiB`, `1048576B`. The error is the reason, in words.
pub fn size(text: &str) -> Result<u64, String> {
    let (count, unit) = split(text);
    let bytes_per_unit: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" | "MB" | "GB" | "TB" => {
            return Err(format!("{text:?} is ambiguous: write powers of 1,024, for instance \"4GiB\""));
        }
        _ => return Err(format!("{text:?} is not a size: write for instance \"64MiB\", \"4GiB\"")),
    };
    product(count, bytes_per_unit).ok_or_else(|| {
        format!("{text:?} is not a size: write a whole number and a unit, for instance \"4GiB\"")
    })
}

/// A size as people read it.
pub fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        let whole = bytes >> shift;
        if whole > 0 {
            let tenths = ((bytes >> (shift - 10)) & 1_023) * 10 / 1_024;
            return if tenths == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenths} {unit}") };
        }
    }
    format!("{bytes} B")
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// `None` when there are no digits or the product does not fit.
fn product(count: &str, factor: u64) -> Option<u64> {
    count.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in [("250ms", 250), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "1.5s",
            "5 s",
            "5S",
            "5sec",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(size("4GiB"), Ok(4 << 30));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert!(size("4GB").unwrap_err().contains("ambiguous"));
        for text in ["", "4", "GiB", "4gib", "-1B", "17179869184GiB"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_shown_with_one_digit() {
        assert_eq!(show_size(1_023), "1023 B");
        assert_eq!(show_size(1_536), "1.5 KiB");
        assert_eq!(show_size(4 << 30), "4 GiB");
        assert_eq!(show_size(u64::MAX), "16777215.9 TiB");
    }
}
