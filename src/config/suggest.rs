//! "Did you mean": the known word nearest to the one that was written.

/// How alike two words must be, of 1: a slip of the finger, not another word.
const ALIKE: f64 = 0.8;

/// `: did you mean "x"?` when a known word is near, and the list of known words when none is and
/// there are few.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match near(word, known.iter().copied()) {
        Some(candidate) => format!(": did you mean {candidate:?}?"),
        None if known.is_empty() => String::new(),
        None => format!(": known are {}", known.join(", ")),
    }
}

/// The known word that the one that was written is a slip of the finger for.
pub(super) fn near<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .map(|candidate| (strsim::jaro_winkler(&word, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_named_and_another_word_is_not() {
        let known = ["alaris-asena", "masimo-ascii1"];
        assert_eq!(nearest("alaris-asna", known.into_iter()), ": did you mean \"alaris-asena\"?");
        assert_eq!(nearest("ALARIS-ASENA", known.into_iter()), ": did you mean \"alaris-asena\"?");
        assert_eq!(nearest("zzz", known.into_iter()), ": known are alaris-asena, masimo-ascii1");
        assert_eq!(nearest("zzz", std::iter::empty()), "");
    }
}
