//! `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date.

use std::time::Duration;

use super::Response;
use crate::time::{Wall, civil_millis};

/// No server is asked more often, or less often, whatever it says.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3_600));

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How long to wait, between a second and a day. A date is compared with the server's own time (`Date`), as
/// the gateway's clock may be wrong; with ours where the server has none. `None`: it does not say, or not in a
/// way that can be read.
pub fn retry_after(response: &Response, now: Wall) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // So many digits that they are no number: as long as can be.
        value.parse().map_or(BOUNDS.1, Duration::from_secs)
    } else {
        let until = http_date(value)?.as_millis();
        let from = response.header("date").and_then(http_date).unwrap_or(now).as_millis();
        Duration::from_millis(u64::try_from(until.saturating_sub(from)).unwrap_or(0))
    };
    Some(wait.clamp(BOUNDS.0, BOUNDS.1))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7), the only form that may be sent.
fn http_date(text: &str) -> Option<Wall> {
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, clock, "GMT"] = parts.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    let clock: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = clock.as_slice() else { return None };
    let date = (year.parse().ok()?, u8::try_from(month).ok()?, day.parse().ok()?);
    // A leap second is the one before it.
    let second: u8 = second.parse().ok()?;
    let clock = (hour.parse().ok()?, minute.parse().ok()?, second.min(59), 0);
    civil_millis(date, clock).map(Wall::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let response = Response { status: 202, headers, body: Vec::new() };
        // 1994-11-06T08:49:37Z, the specification's own example.
        retry_after(&response, Wall::read("1994-11-06T08:49:37Z").unwrap()).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read_and_bounded() {
        assert_eq!(of(&[("retry-after", "120")]), Some(120));
        assert_eq!(of(&[("retry-after", " 0 ")]), Some(1));
        assert_eq!(of(&[("retry-after", "99999999999999999999999")]), Some(86_400));
        assert_eq!(of(&[("retry-after", "Sun, 06 Nov 1994 08:59:37 GMT")]), Some(600));
        // The past, by our clock: at once. By the server's clock: not the past.
        assert_eq!(of(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(1));
        let servers = ("date", "Sun, 06 Nov 1994 07:00:00 GMT");
        assert_eq!(of(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), servers]), Some(3_600));
    }

    #[test]
    fn what_cannot_be_read_is_no_answer() {
        for value in
            ["", "soon", "-5", "1.5", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 8 GMT", "\u{0}"]
        {
            assert_eq!(of(&[("retry-after", value)]), None, "{value:?}");
        }
        assert_eq!(of(&[]), None);
    }
}
