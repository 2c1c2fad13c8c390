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
    match found {
        Found::Nothing => where_nothing_is(task),
        Found::Folder(owner) => where_a_folder_is(task, *owner),
        Found::File(bytes) => where_a_file_is(task, bytes),
        Found::Other(what) => (State::Blocked, what.clone()),
    }
}

fn where_nothing_is(task: &Task) -> (State, String) {
    match task {
        Task::Folder(_) | Task::File(_) | Task::Complete { .. } | Task::Request => {
            (State::ToDo, "made new".to_owned())
        }
        Task::Key { from, .. } | Task::TlsKey { from } => {
            let taken = from.as_ref().map(|from| format!("taken from {}, which stays", from.display()));
            (State::ToDo, taken.unwrap_or_else(|| "made new".to_owned()))
        }
        Task::Member => (State::ToDo, "by wardline enrol --root".to_owned()),
        Task::Enrol { server } => (State::ToDo, format!("from {server}")),
        Task::Certificate => (
            State::Left,
            "carry the request to the hospital's authority, and put the certificate that it issues there (PEM)"
                .to_owned(),
        ),
    }
}

fn where_a_folder_is(task: &Task, there: Owner) -> (State, String) {
    match task {
        Task::Folder(owner) if *owner == there => (State::Done, "there".to_owned()),
        Task::Folder(_) => {
            let Owner { user, group, mode } = there;
            (State::ToDo, format!("there, of user {user} and group {group} with mode {mode:04o}"))
        }
        Task::File(_)
        | Task::Complete { .. }
        | Task::Key { .. }
        | Task::TlsKey { .. }
        | Task::Request
        | Task::Certificate
        | Task::Member
        | Task::Enrol { .. } => {
            (State::Blocked, "a folder is in its place: move it away and repeat".to_owned())
        }
    }
}

fn where_a_file_is(task: &Task, there: &[u8]) -> (State, String) {
    match task {
        Task::Folder(_) => (State::Blocked, "a file is in its place: move it away and repeat".to_owned()),
        Task::File(wanted) | Task::Complete { to: wanted, .. } if wanted == there => {
            (State::Done, "there, with all that is wanted".to_owned())
        }
        Task::Complete { from, .. } if from == there => {
            (State::ToDo, "there, and completed; comments stay".to_owned())
        }
        Task::File(_) | Task::Complete { .. } => (
            State::Blocked,
            "there with another content, and nothing is overwritten: move it away and repeat".to_owned(),
        ),
        Task::Key { .. } | Task::TlsKey { .. } => {
            (State::Done, "there: a key is never made over another".to_owned())
        }
        Task::Request | Task::Certificate | Task::Member | Task::Enrol { .. } => {
            (State::Done, "there".to_owned())
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
            (Task::Member, Found::File(bytes()), State::Done),
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
