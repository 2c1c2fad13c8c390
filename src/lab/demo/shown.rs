//! What the devices of the demo showed, by the protocols' facts alone.

use super::scene::{belt, clip};
use super::verdict::Shown;
use crate::lab::numerics::Minute;
use crate::lab::sim::Sent;

/// What the BLE devices will show.
pub(super) fn ble_shown(script: &[Minute]) -> (Vec<Shown>, Vec<Shown>) {
    let number = |value: Option<u16>| value.map_or("not-a-number".to_owned(), |value| value.to_string());
    let belt = script.iter().filter_map(belt);
    let belt = belt.map(|(rate, _)| Shown { code: 147_842, value: rate.to_string() }).collect();
    let clip = script.iter().flat_map(|minute| {
        let (spo2, pulse, _) = clip(minute);
        [Shown { code: 150_456, value: number(spo2) }, Shown { code: 149_530, value: number(pulse) }]
    });
    (belt, clip.collect())
}

/// What a pump showed in its answers: rate and volume of each INF reply, by the protocol's facts.
pub(super) fn pump_shown(journal: &[Sent]) -> Vec<Shown> {
    let replies = journal.iter().filter(|sent| sent.is_whole && sent.message.starts_with("INF^"));
    replies
        .flat_map(|sent| {
            let fields: Vec<&str> = sent.message.split('^').collect();
            let field =
                |at: usize, code| fields.get(at).map(|value| Shown { code, value: (*value).to_owned() });
            [field(4, 157_784), field(7, 157_864)].map(|shown| shown.map(Shown::plain))
        })
        .flatten()
        .collect()
}

/// What the oximeter showed on its lines.
pub(super) fn oximeter_shown(journal: &[Sent]) -> Vec<Shown> {
    let mut shown = Vec::new();
    for sent in journal.iter().filter(|sent| sent.is_whole) {
        for (name, code) in [("SPO2=", 150_456), ("BPM=", 149_530)] {
            let word = sent.message.split_whitespace().find_map(|word| word.strip_prefix(name));
            let digits = word.unwrap_or_default().trim_end_matches('%');
            let value = digits.parse::<u16>().map_or("unknown".to_owned(), |value| value.to_string());
            shown.push(Shown { code, value });
        }
    }
    shown
}
