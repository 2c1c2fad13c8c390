//! Octets as devices make them, written from the GATT Specification Supplement (section 2) alone: nothing here
//! uses a decoder or its checksum, so a mistake in one does not hide in the other.

use time::OffsetDateTime;

/// A medfloat16: four bits of exponent, twelve of mantissa.
pub(super) fn sfloat(mantissa: i16, exponent: i8) -> [u8; 2] {
    let exponent = u16::from(exponent.to_le_bytes()[0] & 0x0F) << 12;
    (exponent | u16::from_le_bytes(mantissa.to_le_bytes()) & 0x0FFF).to_le_bytes()
}

/// A medfloat32: eight bits of exponent, 24 of mantissa.
pub(super) fn float(mantissa: i32, exponent: i8) -> [u8; 4] {
    let [low, middle, high, _] = mantissa.to_le_bytes();
    [low, middle, high, exponent.to_le_bytes()[0]]
}

/// The value with the checksum of the Continuous Glucose Monitoring Service 1.0.2 (3.11: D16 + D12 + D5 + 1, the
/// least significant bit first, beginning with 0xFFFF) behind it.
pub(super) fn protected(mut octets: Vec<u8>) -> Vec<u8> {
    let mut register: u32 = 0xFFFF;
    for octet in &octets {
        for place in 0..8 {
            let bit = u32::from(octet >> place & 1);
            let feedback = (register ^ bit) & 1;
            register >>= 1;
            if feedback == 1 {
                // D15, D10 and D3 of a register that is shifted to the right.
                register ^= 1 << 15 | 1 << 10 | 1 << 3;
            }
        }
    }
    octets.extend(register.to_le_bytes().iter().take(2));
    octets
}

/// What a device's clock shows, to the second; year 0 when it was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Date Time (2A08).
    pub(super) octets: [u8; 7],
    /// As a person writes it; empty when the clock was lost.
    pub(super) text: String,
    /// Monday is 1; 0 when unknown.
    weekday: u8,
}

impl Stamp {
    /// Of a clock that was lost.
    pub(super) const fn lost() -> Self {
        Self { octets: [0; 7], text: String::new(), weekday: 0 }
    }

    /// So many seconds after 1970 by the device's own calendar.
    pub(super) fn of_seconds(seconds: i64) -> Self {
        let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds) else { return Self::lost() };
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second) = at.to_hms();
        let [low, high] = u16::try_from(year).unwrap_or_default().to_le_bytes();
        Self {
            octets: [low, high, month, day, hour, minute, second],
            text: format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
            weekday: at.weekday().number_from_monday(),
        }
    }

    /// Current Time (2A2B): the whole second, never adjusted.
    pub(super) fn current_time(&self) -> Vec<u8> {
        [&self.octets[..], &[self.weekday, 0, 0]].concat()
    }
}

/// A number of steps with so many decimals as a person writes it.
pub(super) fn decimal(steps: i64, decimals: u32) -> String {
    let unit = 10i64.pow(decimals);
    let places = usize::try_from(decimals).unwrap_or_default();
    let text = format!("{}.{:0places$}", steps / unit, (steps % unit).abs());
    plain(&text)
}

/// Without the zeros that say how exact a number is.
pub(super) fn plain(text: &str) -> String {
    if !text.contains('.') {
        return text.to_owned();
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_the_published_ones() {
        // CRC catalogue, CRC-16/MCRF4XX, check value; floats of the HL7 PHD guide (FLOATS).
        assert_eq!(protected(b"123456789".to_vec())[9..], [0x91, 0x6F]);
        assert_eq!(float(20, -1), [0x14, 0, 0, 0xFF]);
        assert_eq!(sfloat(1_200, -1), [0xB0, 0xF4]);
        assert_eq!(Stamp::of_seconds(951_827_696).text, "2000-02-29T12:34:56");
        assert_eq!(Stamp::of_seconds(951_827_696).octets, [0xD0, 7, 2, 29, 12, 34, 56]);
        assert_eq!(
            (decimal(14_001 * 5, 3), decimal(366, 1), decimal(360, 1)),
            ("70.005".to_owned(), "36.6".to_owned(), "36".to_owned())
        );
    }
}
