//! Which versions an advisory means.
//!
//! Read: `vers:all/*` and `All versions`; `vers:` lists; one version; lists of versions; `<= 9.33`, `>= 1 | < 2`;
//! `9.33 and earlier`, `prior to 12.1.2`, `1.0 through 1.4`; `9.x`; and these with a model number or a condition in
//! brackets behind them. Everything else is [`Expression::Unknown`].

use std::cmp::Ordering;

use super::Version;

/// The longest text that is looked at, in bytes.
const MAX_EXPRESSION: usize = 256;
/// The most versions and ranges of a list.
const MAX_RULES: usize = 64;
/// Words that make a text in brackets say more versions, where otherwise it says fewer.
const WIDENING: [&str; 20] = [
    "and",
    "or",
    "all",
    "any",
    "earlier",
    "prior",
    "below",
    "lower",
    "older",
    "previous",
    "before",
    "later",
    "newer",
    "higher",
    "above",
    "after",
    "through",
    "to",
    "up",
    "including",
];
const EARLIER: [&str; 6] = ["earlier", "prior", "below", "lower", "older", "previous"];
const LATER: [&str; 5] = ["later", "newer", "higher", "above", "greater"];

/// Which versions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Every one.
    All,
    /// Those of one of the rules, as far as what is given besides is so.
    Some(Vec<Rule>, Given),
    /// Not understood.
    Unknown,
}

/// A set of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Between two bounds; the flag says whether the bound itself is meant.
    Between(Option<(Version, bool)>, Option<(Version, bool)>),
    /// Those that begin so: `9.x`.
    Family(Version),
}

/// What else must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Nothing,
    /// The device has this model number.
    Model(String),
    /// Words about something that an inventory does not know.
    Words(String),
}

/// How a version stands to an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It is meant.
    Inside,
    /// It is not.
    Outside,
    /// Nobody knows, and why.
    Unclear(String),
}

impl Expression {
    /// Reads the text of a branch. A lone version in a branch for ranges is not understood: something of it may
    /// have been lost.
    pub(crate) fn read(text: &str, is_range: bool) -> Self {
        if text.len() > MAX_EXPRESSION {
            return Self::Unknown;
        }
        let text = text.to_lowercase().replace('≤', "<=").replace('≥', ">=");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if ["*", "all", "all versions", "any version", "vers:all/*"].contains(&text.as_str()) {
            return Self::All;
        }
        let (rules, given) = if let Some(rest) = text.strip_prefix("vers:") {
            (versions_of_list(rest), Given::Nothing)
        } else if let Some((head, words)) = text.split_once('(') {
            let widens = words
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| WIDENING.contains(&word) || word == "versions");
            (
                if widens { None } else { plain(head.trim()) },
                Given::Words(words.trim_end_matches(')').to_owned()),
            )
        } else if let Some((head, model)) = text.split_once(" model ") {
            let is_one = !model.is_empty() && model.bytes().all(|byte| byte.is_ascii_alphanumeric());
            (if is_one { plain(head) } else { None }, Given::Model(model.to_owned()))
        } else {
            (plain(&text), Given::Nothing)
        };
        let has_operator = text.contains(['<', '>', '=', '|']) || text.starts_with("vers:");
        match rules {
            Some(rules) if rules.iter().any(Rule::is_one_version) && is_range && !has_operator => {
                Self::Unknown
            }
            Some(rules) if (1..=MAX_RULES).contains(&rules.len()) => Self::Some(rules, given),
            _ => Self::Unknown,
        }
    }

    /// Whether nothing but single versions is named.
    pub(crate) fn names_versions_only(&self) -> bool {
        matches!(self, Self::Some(rules, _) if rules.iter().all(Rule::is_one_version))
    }

    /// The model number that it asks for.
    pub(crate) fn model(&self) -> Option<&str> {
        match self {
            Self::Some(_, Given::Model(model)) => Some(model),
            Self::Some(_, Given::Nothing | Given::Words(_)) | Self::All | Self::Unknown => None,
        }
    }

    /// On which side of the one version that is named a device's is. None: not one is named, or nobody knows.
    pub(crate) fn side(&self, version: Option<&Version>) -> Option<Ordering> {
        match self {
            Self::Some(rules, Given::Nothing) => match rules.as_slice() {
                [Rule::Between(Some((low, _)), Some((high, _)))] if low == high => version?.compare(low),
                _ => None,
            },
            Self::Some(_, Given::Model(_) | Given::Words(_)) | Self::All | Self::Unknown => None,
        }
    }

    /// How a device's version stands to it. `has_model`: whether the device's model shows the model number.
    pub(crate) fn fit(&self, version: Option<&Version>, has_model: bool) -> Fit {
        let (rules, given) = match self {
            Self::All => return Fit::Inside,
            Self::Unknown => return Fit::Unclear("the version text is not understood".to_owned()),
            Self::Some(rules, given) => (rules, given),
        };
        let Some(version) = version else {
            return Fit::Unclear("the device's version is not known or not understood".to_owned());
        };
        let held: Vec<Option<bool>> = rules.iter().map(|rule| rule.holds(version)).collect();
        if held.iter().all(|held| *held == Some(false)) {
            return Fit::Outside;
        }
        if !held.contains(&Some(true)) {
            return Fit::Unclear("the device's version cannot be ordered against it".to_owned());
        }
        match given {
            Given::Nothing => Fit::Inside,
            Given::Model(_) if has_model => Fit::Inside,
            Given::Model(model) => Fit::Unclear(format!("whether the device is model {model} is not known")),
            Given::Words(words) => {
                Fit::Unclear(format!("whether it has what is asked for is not known: {words}"))
            }
        }
    }
}

impl Rule {
    fn is_one_version(&self) -> bool {
        matches!(self, Self::Between(low, high) if low.is_some() && low == high)
    }

    fn holds(&self, version: &Version) -> Option<bool> {
        let (low, high) = match self {
            Self::Family(family) => return version.begins_with(family),
            Self::Between(low, high) => (low, high),
        };
        let side = |bound: &Option<(Version, bool)>, beyond: Ordering| match bound {
            None => Some(true),
            Some((bound, is_meant)) => {
                version.compare(bound).map(|order| if order.is_eq() { *is_meant } else { order == beyond })
            }
        };
        match (side(low, Ordering::Greater), side(high, Ordering::Less)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            (None | Some(true), None) | (None, Some(true)) => None,
        }
    }

    /// Both bounds are meant. None: they are not in order, so the text means something else.
    fn range(low: (Version, bool), high: (Version, bool)) -> Option<Self> {
        matches!(low.0.compare(&high.0), Some(Ordering::Less)).then_some(Self::Between(Some(low), Some(high)))
    }

    fn at(version: Version) -> Self {
        Self::Between(Some((version.clone(), true)), Some((version, true)))
    }
}

/// What stands behind `vers:`: a scheme, then constraints.
fn versions_of_list(text: &str) -> Option<Vec<Rule>> {
    let (_, list) = text.split_once('/')?;
    // An encoded character or an exception from the list is nothing that is read here.
    if list.contains(['%', '!', '*']) { None } else { constraints(list) }
}

fn plain(text: &str) -> Option<Vec<Rule>> {
    let mut text = text.trim().trim_end_matches('.');
    for prefix in ["all running ", "all ", "running ", "software ", "firmware ", "versions ", "version "] {
        if prefix == "all " && text.contains(|c: char| c.is_ascii_digit()) && !text.contains("version") {
            // "All 9.33" may be more than 9.33.
            continue;
        }
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    text = text.strip_suffix(" versions").unwrap_or(text);
    let bound = |text: &str, is_meant| Version::read(text).map(|version| (version, is_meant));
    if let Some((head, tail)) = text.rsplit_once(" and ").or_else(|| text.rsplit_once(" or ")) {
        if EARLIER.contains(&tail) {
            return Some(vec![Rule::Between(None, Some(bound(head, true)?))]);
        }
        if LATER.contains(&tail) {
            return Some(vec![Rule::Between(Some(bound(head, true)?), None)]);
        }
    }
    for prefix in
        ["prior to ", "before ", "earlier than ", "less than ", "lower than ", "older than ", "below "]
    {
        if let Some(rest) = text.strip_prefix(prefix) {
            return Some(vec![Rule::Between(None, Some(bound(rest, false)?))]);
        }
    }
    // Whether the bound itself is meant is not always said: then it is.
    for prefix in ["up to and including ", "up to ", "through "] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return Some(vec![Rule::Between(None, Some(bound(rest, true)?))]);
        }
    }
    for joint in [" through ", " to ", " - "] {
        if let Some((low, high)) = text.split_once(joint) {
            let low = low.strip_prefix("from ").unwrap_or(low);
            return Rule::range(bound(low, true)?, bound(high, true)?).map(|rule| vec![rule]);
        }
    }
    if let Some(family) = text.strip_suffix(".x").or_else(|| text.strip_suffix(".*")) {
        return Some(vec![Rule::Family(Version::read(family)?)]);
    }
    constraints(&text.replace(", and ", ",").replace(" and ", ",").replace(" or ", ","))
}

/// `1.0 | >= 1.2 | < 1.4`: single versions, a first bound from above, pairs of bounds, a last bound from below.
fn constraints(text: &str) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    let mut low: Option<(Version, bool)> = None;
    for (at, piece) in pieces(text).into_iter().enumerate() {
        let operator = piece.len() - piece.trim_start_matches(['<', '>', '=']).len();
        let (operator, rest) = piece.split_at_checked(operator)?;
        let version = Version::read(rest)?;
        match (operator, low.take()) {
            ("" | "=" | "==", None) => rules.push(Rule::at(version)),
            (">" | ">=", None) => low = Some((version, operator == ">=")),
            ("<" | "<=", Some(low)) => rules.push(Rule::range(low, (version, operator == "<="))?),
            ("<" | "<=", None) if at == 0 => {
                rules.push(Rule::Between(None, Some((version, operator == "<="))));
            }
            _ => return None,
        }
    }
    rules.extend(low.map(|low| Rule::Between(Some(low), None)));
    Some(rules)
}

/// Cut at `|`, at `,`, and before each operator.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut was_operator = false;
    for c in text.chars() {
        let is_operator = ['<', '>', '='].contains(&c);
        let begins =
            is_operator && !was_operator && pieces.last().is_some_and(|piece| !piece.trim().is_empty());
        if begins || ['|', ','].contains(&c) {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut()
            && !['|', ','].contains(&c)
        {
            piece.push(c);
        }
        was_operator = is_operator;
    }
    pieces.into_iter().map(|piece| piece.trim().to_owned()).collect()
}
