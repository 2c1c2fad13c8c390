//! Text that somebody else wrote, as a terminal may be given it. The one place.

/// The most characters of one text.
const MOST: usize = 400;

/// Without what a terminal would obey, and without what turns the order of reading about (Unicode Standard Annex 9,
/// section 2: the explicit directional characters).
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !is_directional(*c)).take(MOST).collect()
}

/// The explicit directional characters, and line ends that are no control characters.
const fn is_directional(c: char) -> bool {
    matches!(
        c,
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_turns_a_line_about_is_left_out() {
        assert_eq!(plain("gw-1\u{1b}[2J\n\u{202e}fine\u{2066} \u{9b}Wörter"), "gw-1[2Jfine Wörter");
        assert_eq!(plain(&"x".repeat(MOST + 1)).len(), MOST);
    }
}
