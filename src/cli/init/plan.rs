//! The plan: from what is wanted and what is there to a list of steps, each with its file and its state. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::host::atomic_file::Owner;

/// What a step does, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// A folder of this owner.
    Folder(Owner),
    /// A file with these bytes, where there is none.
    File(Vec<u8>),
    /// `gateway.toml`, in place of the text that was read.
    Complete { from: Vec<u8>, to: Vec<u8> },
    /// A key of 32 random bytes, or the one of this file.
    Key { name: &'static str, from: Option<PathBuf> },
    /// The TLS key, made here with a request for its certificate, or the one of this file.
    TlsKey { from: Option<PathBuf> },
    /// The request for the certificate, out of the TLS key.
    Request,
    /// What the hospital's authority issues.
    Certificate,
    /// Member of the fleet whose root is in this file.
    Member,
    /// A certificate from this server.
    Enrol { server: String },
}

impl Task {
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Folder(_) => "folder",
            Self::File(_) => "file",
            Self::Complete { .. } => "configuration",
            Self::Key { name, .. } => name,
            Self::TlsKey { .. } => "tls-key",
            Self::Request => "request",
            Self::Certificate => "certificate",
            Self::Member => "fleet",
            Self::Enrol { .. } => "enrol",
        }
    }
}

/// What stands where a step would work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Folder(Owner),
    /// Its bytes, where they matter and can be read.
    File(Vec<u8>),
    /// Something else, in words.
    Other(String),
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// It was done before: nothing is touched.
    Done,
    ToDo,
    /// It was done now.
    Made,
    /// A person has to do it, later: the words say how.
    Left,
    /// It cannot be done: the words say why.
    Blocked,
    Failed,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) task: Task,
    pub(super) file: PathBuf,
    pub(super) state: State,
    pub(super) why: String,
}

/// What is wanted: a task and where it works.
pub(super) struct Want {
    pub(super) task: Task,
    pub(super) file: PathBuf,
}

/// What is there, by its path, and what keeps a key from being made.
#[derive(Default)]
pub(super) struct Inventory {
    pub(super) found: BTreeMap<PathBuf, Found>,
    /// By the word of a task: why it is done elsewhere, is left to a person, or must not be done.
    pub(super) settled: BTreeMap<&'static str, (State, String)>,
}

/// The steps, in the order in which they are taken.
pub(super) fn plan(wants: Vec<Want>, inventory: &Inventory) -> Vec<Step> {
    wants.into_iter().map(|want| step(want, inventory)).collect()
}

fn step(Want { task, file }: Want, inventory: &Inventory) -> Step {
    let found = inventory.found.get(&file).unwrap_or(&Found::Nothing);
    let (state, why) = match (found, inventory.settled.get(task.word())) {
        (Found::Other(what), _) => {
            (State::Blocked, format!("{what} is in its place: move it away and repeat"))
        }
        (Found::Nothing | Found::Folder(_), Some(settled)) => settled.clone(),
        (found, _) => judge(&task, found),
    };
    Step { task, file, state, why }
}

fn judge(task: &Task, found: &Found) -> (State, String) {
    let done = |why: &str| (State::Done, why.to_owned());
    match (task, found) {
        (_, Found::Other(what)) => (State::Blocked, what.clone()),
        (Task::Folder(owner), Found::Folder(there)) if owner == there => done("there"),
        (Task::Folder(_), Found::Folder(there)) => (
            State::ToDo,
            format!("there, of user {} and group {} with mode {:04o}", there.user, there.group, there.mode),
        ),
        (Task::Folder(_), Found::File(_)) => (State::Blocked, "a file is in its place: move it away and repeat".into()),
        (Task::Complete { from, to }, Found::File(bytes)) if from == bytes && from != to => {
            (State::ToDo, "there, and completed; comments stay".into())
        }
        (Task::Complete { to, .. }, Found::File(bytes)) if to == bytes => done("there, with all that was asked"),
        (Task::File(wanted), Found::File(bytes)) if wanted == bytes => done("there"),
        (Task::File(_) | Task::Complete { .. }, Found::File(_)) => (
            State::Blocked,
            "there with another content, and nothing is overwritten: move it away and repeat".into(),
        ),
        (Task::Key { .. } | Task::TlsKey { .. }, Found::File(_)) => done("there: a key is never made over another"),
        (Task::Request | Task::Certificate | Task::Enrol { .. } | Task::Member, Found::File(_)) => done("there"),
        (Task::Member, Found::Folder(_)) => done("a member already"),
        (Task::Member, Found::Nothing) => (State::ToDo, "by wardline enrol --root".into()),
        (Task::Enrol { server }, Found::Nothing) => (State::ToDo, format!("from {server}")),
        (Task::Certificate, Found::Nothing) => (
            State::Left,
            "carry the request to the hospital's authority and put the certificate that it issues (PEM, with its \
             intermediates) there"
                .into(),
        ),
        (
            Task::File(_) | Task::Complete { .. } | Task::Key { .. } | Task::TlsKey { .. } | Task::Request
            | Task::Certificate | Task::Enrol { .. },
            Found::Folder(_),
        ) => (State::Blocked, "a folder is in its place: move it away and repeat".into()),
        (Task::Key { from: Some(from), .. } | Task::TlsKey { from: Some(from) }, Found::Nothing) => {
            (State::ToDo, format!("taken from {}, which stays", from.display()))
        }
        (Task::Folder(_) | Task::File(_) | Task::Complete { .. } | Task::Request, Found::Nothing)
        | (Task::Key { from: None, .. } | Task::TlsKey { from: None }, Found::Nothing) => {
            (State::ToDo, "made new".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(task: Task, found: Found) -> State {
        let file = PathBuf::from("/x");
        let inventory = Inventory { found: BTreeMap::from([(file.clone(), found)]), ..Inventory::default() };
        plan(vec![Want { task, file }], &inventory).pop().unwrap().state
    }

    #[test]
    fn what_is_there_is_done_and_what_is_not_is_to_do() {
        let key = || Task::Key { name: "kek", from: None };
        let owner = Owner { user: 0, group: 7, mode: 0o750 };
        let wider = Owner { mode: 0o755, ..owner };
        let bytes = || b"text".to_vec();
        for (task, found, wanted) in [
            (key(), Found::Nothing, State::ToDo),
            (key(), Found::File(Vec::new()), State::Done),
            (key(), Found::Other("a link".into()), State::Blocked),
            (key(), Found::Folder(owner), State::Blocked),
            (Task::Folder(owner), Found::Nothing, State::ToDo),
            (Task::Folder(owner), Found::Folder(owner), State::Done),
            (Task::Folder(owner), Found::Folder(wider), State::ToDo),
            (Task::Folder(owner), Found::File(bytes()), State::Blocked),
            (Task::File(bytes()), Found::File(bytes()), State::Done),
            (Task::File(bytes()), Found::File(b"other".to_vec()), State::Blocked),
            (Task::Complete { from: bytes(), to: b"more".to_vec() }, Found::File(bytes()), State::ToDo),
            (Task::Complete { from: bytes(), to: bytes() }, Found::File(bytes()), State::Done),
            (
                Task::Complete { from: bytes(), to: b"more".to_vec() },
                Found::File(b"new".to_vec()),
                State::Blocked,
            ),
            (Task::Certificate, Found::Nothing, State::Left),
            (Task::Certificate, Found::File(bytes()), State::Done),
            (Task::Member, Found::Folder(owner), State::Done),
        ] {
            let shown = format!("{task:?} {found:?}");
            assert_eq!(state(task, found), wanted, "{shown}");
        }
    }

    #[test]
    fn a_key_that_must_not_be_made_is_not_but_one_that_is_there_is_kept() {
        let file = PathBuf::from("/kek");
        let mut inventory = Inventory::default();
        inventory.settled.insert("kek", (State::Blocked, "the store holds data".into()));
        let want = || vec![Want { task: Task::Key { name: "kek", from: None }, file: file.clone() }];
        let step = plan(want(), &inventory).pop().unwrap();
        assert_eq!((step.state, step.why.as_str()), (State::Blocked, "the store holds data"));
        inventory.found.insert(file.clone(), Found::File(Vec::new()));
        assert_eq!(plan(want(), &inventory).pop().unwrap().state, State::Done);
    }
}
