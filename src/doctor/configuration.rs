//! `configuration`: what `wardline check` says of it.

use super::{Says, counted};

/// What loading it gave.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What is wrong, each with file, key and reason.
    pub problems: Vec<String>,
    /// What is allowed but worth a word, and what this machine does not have.
    pub notes: Vec<String>,
    /// How many devices it lists.
    pub devices: usize,
    /// Where it is.
    pub folder: String,
}

/// Says what is wrong with it.
pub fn judge(facts: &Facts) -> Says {
    let remedy = format!("wardline check --config {}", facts.folder);
    if !facts.problems.is_empty() {
        return facts.problems.iter().fold(Says::default(), |says, problem| says.wrong(problem, &remedy));
    }
    let devices = u64::try_from(facts.devices).unwrap_or(u64::MAX);
    let says = Says::default().ok(format!("valid: {}", counted(devices, "device")));
    facts.notes.iter().fold(says, |says, note| says.note(note, &remedy))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn every_problem_is_told_and_a_note_is_no_problem() {
        let facts = Facts { devices: 2, folder: "/etc/wardline".into(), ..Facts::default() };
        assert_eq!(judge(&facts).verdict(), Verdict::Ok);
        let noted = Facts { notes: vec!["there is no ca.pem".into()], ..facts.clone() };
        assert_eq!(judge(&noted).verdict(), Verdict::Note);
        let broken = Facts { problems: vec!["a".into(), "b".into()], ..noted };
        let says = judge(&broken);
        assert_eq!((says.verdict(), says.iter().count()), (Verdict::Wrong, 2));
        assert!(
            says.iter().all(|said| said.remedy.as_deref() == Some("wardline check --config /etc/wardline"))
        );
    }
}
