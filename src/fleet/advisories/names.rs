//! Names of makers and products as words that can be compared.

use super::aliases::ALIASES;

/// Forms of companies: they are no part of a name.
const LEGAL: [&str; 12] = [
    "inc",
    "incorporated",
    "corp",
    "corporation",
    "co",
    "company",
    "ltd",
    "limited",
    "llc",
    "gmbh",
    "ag",
    "kgaa",
];
/// Words that so many products have that they tell none from another.
const COMMON: [&str; 15] = [
    "monitor", "pump", "pumps", "infusion", "system", "systems", "unit", "module", "device", "and", "with",
    "of", "the", "for", "series",
];

/// The words of a text: lower case, without marks and accents, at most so many.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut plain = String::with_capacity(text.len());
    let lower = text.to_lowercase().replace("(r)", " ").replace("(tm)", " ");
    for c in lower.chars() {
        match c {
            'à'..='å' => plain.push('a'),
            'è'..='ë' => plain.push('e'),
            'ì'..='ï' => plain.push('i'),
            'ò'..='ö' => plain.push('o'),
            'ù'..='ü' => plain.push('u'),
            '®' | '™' | '©' => {}
            // `A+` is not `A`.
            '+' => plain.push_str(" plus "),
            c if c.is_alphanumeric() => plain.push(c),
            _ => plain.push(' '),
        }
    }
    plain.split_whitespace().take(64).map(str::to_owned).collect()
}

/// How two makers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Makers {
    Same,
    /// One name is part of the other, or its beginning.
    Alike,
    /// One of both is not known.
    Unknown,
    Other,
}

/// A maker's name without its legal form, as words.
fn maker(name: &str) -> Vec<String> {
    let mut all = words(name);
    all.retain(|word| !LEGAL.contains(&word.as_str()) && word != "and");
    all
}

fn group(name: &[String]) -> Option<&'static str> {
    ALIASES.iter().find(|alias| maker(alias.name) == name).map(|alias| alias.group)
}

/// Where it stands that two names that are not the same mean the same maker.
pub(super) fn source(make: &str, vendor: &str) -> Option<&'static str> {
    let (ours, theirs) = (maker(make), maker(vendor));
    let alias = ALIASES.iter().find(|alias| maker(alias.name) == ours)?;
    (ours != theirs && group(&theirs) == Some(alias.group)).then_some(alias.source)
}

/// Compares a device's maker with an advisory's.
pub(super) fn compare_makers(make: &str, vendor: &str) -> Makers {
    let (ours, theirs) = (maker(make), maker(vendor));
    if ours.is_empty() || theirs.is_empty() {
        return Makers::Unknown;
    }
    let (our_group, their_group) = (group(&ours), group(&theirs));
    if ours == theirs || (our_group.is_some() && our_group == their_group) {
        return Makers::Same;
    }
    let mut names: Vec<Vec<String>> = vec![theirs];
    names.extend(
        ALIASES.iter().filter(|alias| Some(alias.group) == their_group).map(|alias| maker(alias.name)),
    );
    let is_part =
        |one: &[String], of: &[String]| one.iter().all(|word| of.iter().any(|two| are_alike(word, two)));
    if names.iter().any(|name| is_part(name, &ours) || is_part(&ours, name)) {
        Makers::Alike
    } else {
        Makers::Other
    }
}

/// How a device's model stands to a product's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Products {
    /// The same words in whatever order.
    Same,
    /// All words of one are among those of the other.
    Within,
    /// Some word is the same, or begins like the other's.
    Alike,
    /// The model stands in what the advisory says about the product.
    Mentioned,
    /// The model is not known.
    Unknown,
    Other,
}

/// The words of a product's name that tell it from others of its maker.
pub(super) fn product(name: &str, vendor: &str) -> Vec<String> {
    let vendor = maker(vendor);
    let known = group(&vendor);
    let aliases =
        ALIASES.iter().filter(|alias| known == Some(alias.group)).flat_map(|alias| maker(alias.name));
    let makers: Vec<String> = vendor.iter().cloned().chain(aliases).collect();
    let mut kept = words(name);
    kept.retain(|word| !makers.contains(word));
    if kept.iter().any(|word| !COMMON.contains(&word.as_str())) {
        kept.retain(|word| !COMMON.contains(&word.as_str()));
    }
    kept.sort();
    kept.dedup();
    kept
}

/// Compares the words of two products.
pub(super) fn compare_products(ours: &[String], theirs: &[String]) -> Products {
    if ours.is_empty() || theirs.is_empty() {
        return Products::Other;
    }
    if ours == theirs || is_run_together(ours, theirs) {
        return Products::Same;
    }
    let is_within = |one: &[String], of: &[String]| {
        one.iter().any(|word| tells(word)) && one.iter().all(|word| of.contains(word))
    };
    if is_within(ours, theirs) || is_within(theirs, ours) {
        return Products::Within;
    }
    let is_alike = |one: &String| tells(one) && theirs.iter().any(|two| tells(two) && are_alike(one, two));
    if ours.iter().any(is_alike) { Products::Alike } else { Products::Other }
}

/// Whether all words of a model stand in a longer text.
pub(super) fn is_named_in(ours: &[String], text: &[String]) -> bool {
    ours.iter().any(|word| tells(word)) && ours.iter().all(|word| text.contains(word))
}

/// A single letter or a short number is in too many names to tell anything.
fn tells(word: &str) -> bool {
    word.len() >= 2
        && !COMMON.contains(&word)
        && !(word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_digit()))
}

fn are_alike(one: &str, two: &str) -> bool {
    one == two || (one.len().min(two.len()) >= 4 && (one.starts_with(two) || two.starts_with(one)))
}

/// `Wi-Fi` and `WiFi`: the words are sorted, so their letters are compared sorted too, and only where one side has
/// fewer words.
fn is_run_together(ours: &[String], theirs: &[String]) -> bool {
    let letters = |words: &[String]| {
        let mut letters: Vec<char> = words.concat().chars().collect();
        letters.sort_unstable();
        letters
    };
    let joins = |few: &[String], many: &[String]| {
        few.iter().filter(|word| !many.contains(word)).all(|word| {
            many.iter().any(|one| word.starts_with(one.as_str()))
                && many.iter().any(|one| word.ends_with(one.as_str()))
        })
    };
    letters(ours) == letters(theirs) && (joins(ours, theirs) || joins(theirs, ours))
}
