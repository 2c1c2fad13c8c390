//! Values that are longer than a packet, put together again of their segments.
//!
//! In: one segment at a time, its first octet the segmentation header: bit 0 first segment, bit 1 last
//! segment, bits 2-7 a rolling counter that goes on by one with every segment of the connection and begins
//! again at 0 after 63 (the layout of the health observations 2B8B and 2BDD; from the sources of ST's,
//! Realtek's and Philips' sensors, which agree; the specifications were not at hand).
//! Out: the whole value when its last segment is there, and what was wrong.
//!
//! What can go wrong, each told: a gap in the counter (the unfinished value is dropped, and so is the rest
//! of it that still comes), a value that begins before the one before it has ended (the older one is
//! dropped), a segment twice (the second is left out), a value that begins in its middle, more segments or
//! octets than there may be. A value that came in one segment is always given, even when its counter did not
//! go on: nothing of it is missing.
//!
//! What cannot be noticed: the loss of 64 segments in a row, of whole values before the first one of a
//! connection, and of whole values after the last one.

use super::octets::MAX_VALUE;
use crate::device::{Fault, FaultKind};

/// The most segments of one value: the counter's range, so that a value has no two segments that look alike.
pub(super) const MAX_SEGMENTS: usize = 64;

/// The most octets of one value: a waveform of 1,024 samples of four octets and twice as much besides.
pub(super) const MAX_OCTETS: usize = 12_288;

const COUNTER_RANGE: u8 = 64;

/// The segments of one characteristic of one connection.
#[derive(Debug)]
pub(super) struct Segments {
    /// What a person calls the value.
    what: &'static str,
    /// The segment that came last, with its header.
    before: Option<Vec<u8>>,
    partial: Option<Partial>,
    /// Whether the value that comes in has been given up: the rest of it is dropped without another word.
    is_given_up: bool,
}

#[derive(Debug, Default)]
struct Partial {
    octets: Vec<u8>,
    segments: usize,
}

/// What one segment came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Joined {
    /// The value that it completed.
    pub(super) whole: Option<Vec<u8>>,
    /// What was wrong.
    pub(super) fault: Option<Fault>,
}

/// How a segment stands to the one before it.
enum Order {
    Next,
    /// The same again.
    Again,
    /// So many are missing between them.
    Lost(u8),
}

/// The segmentation header.
#[derive(Clone, Copy)]
struct Header(u8);

impl Header {
    const fn is_first(self) -> bool {
        self.0 & 1 != 0
    }

    const fn is_last(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    const fn counter(self) -> u8 {
        self.0 >> 2
    }
}

impl Segments {
    /// Of a characteristic whose value a person calls `what`.
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, before: None, partial: None, is_given_up: false }
    }

    /// Takes one segment.
    pub(super) fn handle(&mut self, segment: &[u8]) -> Joined {
        let what = self.what;
        let Some((header, payload)) = segment.split_first() else {
            return told(
                FaultKind::Malformed,
                format!("{what} ends in its segmentation header: 0 of 1 octets"),
            );
        };
        let header = Header(*header);
        if segment.len() > MAX_VALUE {
            let length = segment.len();
            self.give_up(header);
            let limit = format!("more than the {MAX_VALUE} an attribute can have");
            return told(FaultKind::Malformed, format!("a segment of {what} has {length} octets, {limit}"));
        }
        let mut fault = match self.order(header, segment) {
            Order::Next => None,
            Order::Again => {
                return told(
                    FaultKind::Unexpected,
                    format!("a segment of {what} came twice: the second is left out"),
                );
            }
            Order::Lost(count) => Some(self.lose(count, header)),
        };
        if header.is_first() {
            if self.partial.replace(Partial::default()).is_some() {
                fault = Some(Fault::new(
                    FaultKind::Framing,
                    format!("{what} begins before the one before it has ended, which is dropped"),
                ));
            }
            self.is_given_up = false;
        }
        let (whole, wrong) = self.append(header, payload);
        Joined { whole, fault: fault.or(wrong) }
    }

    /// Takes word that no more segments come: what is unfinished is dropped, and told.
    pub(super) fn finish(&mut self) -> Option<Fault> {
        let partial = self.partial.take()?;
        let (what, segments) = (self.what, partial.segments);
        Some(Fault::new(
            FaultKind::Framing,
            format!("{what} did not end: its first {segments} segments are dropped"),
        ))
    }

    fn order(&mut self, header: Header, segment: &[u8]) -> Order {
        let Some(before) = self.before.replace(segment.to_vec()) else { return Order::Next };
        let counter = before.first().map_or(0, |header| Header(*header).counter());
        let is_one_of_several = !(header.is_first() && header.is_last());
        if is_one_of_several && before == segment {
            return Order::Again;
        }
        match header.counter().wrapping_sub(counter) % COUNTER_RANGE {
            1 => Order::Next,
            0 => Order::Lost(COUNTER_RANGE - 1),
            step => Order::Lost(step - 1),
        }
    }

    /// A gap: what it leaves unfinished is of no use.
    fn lose(&mut self, count: u8, header: Header) -> Fault {
        let what = self.what;
        let is_cut = self.partial.take().is_some() || !header.is_first();
        let dropped = if is_cut { ": what they leave unfinished is dropped" } else { "" };
        Fault::new(FaultKind::Framing, format!("{count} segments of {what} are missing{dropped}"))
    }

    fn append(&mut self, header: Header, payload: &[u8]) -> (Option<Vec<u8>>, Option<Fault>) {
        let what = self.what;
        let Some(mut partial) = self.partial.take() else {
            let detail = format!("{what} begins in its middle: it is dropped");
            let wrong = (!self.is_given_up).then(|| Fault::new(FaultKind::Framing, detail));
            self.give_up(header);
            return (None, wrong);
        };
        partial.segments += 1;
        partial.octets.extend_from_slice(payload);
        if partial.segments > MAX_SEGMENTS || partial.octets.len() > MAX_OCTETS {
            self.give_up(header);
            let limit = format!("more than {MAX_SEGMENTS} segments or {MAX_OCTETS} octets");
            return (
                None,
                Some(Fault::new(FaultKind::Malformed, format!("{what} has {limit}: it is dropped"))),
            );
        }
        if header.is_last() {
            return (Some(partial.octets), None);
        }
        self.partial = Some(partial);
        (None, None)
    }

    /// Drops what is unfinished, and the rest of it that may still come.
    fn give_up(&mut self, header: Header) {
        self.partial = None;
        self.is_given_up = !header.is_last();
    }
}

fn told(kind: FaultKind, detail: String) -> Joined {
    Joined { whole: None, fault: Some(Fault::new(kind, detail)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts messages into segments as the layout says: `cuts` are the lengths of the pieces.
    fn segmented(messages: &[Vec<u8>], cuts: &[usize], first_counter: u8) -> Vec<Vec<u8>> {
        let mut counter = u32::from(first_counter);
        let mut cuts = cuts.iter().cycle();
        let mut out = Vec::new();
        for message in messages {
            let mut rest = message.as_slice();
            let mut is_first = true;
            loop {
                let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                let flags = u32::from(is_first) + 2 * u32::from(after.is_empty());
                let mut segment = vec![u8::try_from(flags + 4 * (counter % 64)).unwrap()];
                segment.extend_from_slice(piece);
                out.push(segment);
                counter += 1;
                is_first = false;
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
        }
        out
    }

    fn join(segments: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Fault>) {
        let mut joiner = Segments::new("record");
        let mut all = (Vec::new(), Vec::new());
        for segment in segments {
            let Joined { whole, fault } = joiner.handle(segment);
            all.0.extend(whole);
            all.1.extend(fault);
        }
        all.1.extend(joiner.finish());
        all
    }

    fn says(faults: &[Fault], words: &[&str]) {
        assert_eq!(faults.len(), words.len(), "{faults:?}");
        for (fault, words) in faults.iter().zip(words) {
            assert!(fault.detail.contains(words), "{fault} does not say {words}");
        }
    }

    #[test]
    fn a_gap_drops_the_unfinished_value_and_its_rest_and_is_told_once() {
        let (whole, faults) = join(&[vec![1, 10], vec![8, 12], vec![12, 13], vec![18, 14], vec![23, 20]]);
        assert_eq!(whole, [vec![20]]);
        says(&faults, &["1 segments of record are missing: what they leave unfinished is dropped"]);
    }

    #[test]
    fn a_gap_between_values_is_told_and_costs_none_that_came() {
        let (whole, faults) = join(&[vec![3, 10], vec![3 + 4 * 5, 11]]);
        assert_eq!(whole, [vec![10], vec![11]]);
        says(&faults, &["4 segments of record are missing"]);
    }

    #[test]
    fn a_new_value_replaces_an_unfinished_one() {
        let (whole, faults) = join(&[vec![1, 10], vec![7, 20]]);
        assert_eq!(whole, [vec![20]]);
        says(&faults, &["begins before the one before it has ended"]);
    }

    #[test]
    fn a_segment_that_comes_twice_is_left_out() {
        let (whole, faults) =
            join(&[vec![1, 10], vec![1, 10], vec![4, 11], vec![4, 11], vec![10, 12], vec![10, 12]]);
        assert_eq!(whole, [vec![10, 11, 12]]);
        says(&faults, &["came twice"; 3]);
    }

    #[test]
    fn a_value_in_one_segment_is_given_though_its_counter_stands_still() {
        let (whole, faults) = join(&[vec![3, 10], vec![3, 10]]);
        assert_eq!(whole, [vec![10], vec![10]]);
        says(&faults, &["63 segments of record are missing"]);
    }

    #[test]
    fn what_begins_in_its_middle_or_never_ends_is_told_once() {
        let (whole, faults) = join(&[vec![4, 10], vec![8, 10], vec![14, 11], vec![16, 1], vec![21, 12]]);
        assert!(whole.is_empty());
        says(&faults, &["begins in its middle", "begins in its middle", "did not end: its first 1 segments"]);
        let mut joiner = Segments::new("record");
        assert_eq!(joiner.handle(&[]).fault.unwrap().kind, FaultKind::Malformed);
        assert_eq!(joiner.finish(), None);
    }

    #[test]
    fn a_value_has_a_bounded_number_of_segments_and_octets() {
        let message = vec![7; 64];
        assert_eq!(join(&segmented(&[message], &[1], 9)).0.len(), 1);
        let (whole, faults) = join(&segmented(&[vec![7; 70], vec![8]], &[1], 9));
        assert_eq!(whole, [vec![8]]);
        says(&faults, &["more than 64 segments"]);
        assert_eq!(join(&segmented(&[vec![7; MAX_OCTETS]], &[500], 0)).0.len(), 1);
        let (whole, faults) = join(&segmented(&[vec![7; MAX_OCTETS + 1], vec![8]], &[500], 0));
        assert_eq!(whole, [vec![8]]);
        says(&faults, &["octets: it is dropped"]);
        let (whole, faults) = join(&[vec![1, 1], vec![4; MAX_VALUE + 1], vec![2 + 8, 2]]);
        assert!(whole.is_empty());
        assert!(faults[0].detail.contains("513 octets"), "{faults:?}");
    }

    fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..60), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn any_split_of_any_message_comes_back(
            messages in messages(),
            cuts in proptest::collection::vec(1usize..40, 1..8),
            counter in 0u8..64,
        ) {
            let (whole, faults) = join(&segmented(&messages, &cuts, counter));
            prop_assert_eq!(whole, messages);
            prop_assert_eq!(faults, []);
        }

        /// Fewer than 64 in a row, and something after them: then it is noticed, and no value is made of
        /// parts of several.
        #[test]
        fn any_lost_segment_is_noticed(
            messages in messages(),
            cuts in proptest::collection::vec(1usize..6, 1..8),
            counter in 0u8..64,
            at in any::<proptest::sample::Index>(),
            count in 1usize..63,
        ) {
            let mut segments = segmented(&messages, &cuts, counter);
            prop_assume!(segments.len() > 2);
            // The first is the one by which the counter is known.
            let from = 1 + at.index(segments.len() - 2);
            let to = (from + count).min(segments.len() - 1);
            segments.drain(from..to);
            let (whole, faults) = join(&segments);
            prop_assert!(!faults.is_empty());
            prop_assert!(whole.len() <= messages.len());
            // What came out went in, in the same order.
            let mut sent = messages.iter();
            for value in &whole {
                prop_assert!(sent.any(|message| message == value));
            }
        }

        #[test]
        fn arbitrary_segments_never_panic_and_stay_bounded(
            segments in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..80),
        ) {
            let sent: usize = segments.iter().map(Vec::len).sum();
            let (whole, _) = join(&segments);
            prop_assert!(whole.iter().map(Vec::len).sum::<usize>() <= sent);
        }
    }
}
