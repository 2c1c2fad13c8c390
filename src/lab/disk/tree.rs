//! Files and folders in memory.
//!
//! In: the calls that change a file system, by the number of a file or folder (its inode). Out: the same
//! tree changed, or the error that a system gives. What never happens: a hard link, a symbolic link: a
//! node has one name at most.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

/// The number of a file or folder.
pub type Number = u64;

/// The number of the topmost folder.
pub const ROOT: Number = 1;

/// A file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Its content; shared with other trees until one of them changes it.
    File(Arc<Vec<u8>>),
    /// Its entries.
    Folder(BTreeMap<OsString, Number>),
}

impl Node {
    /// Whether it is a folder.
    pub const fn is_folder(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// An empty one.
    pub fn new(is_folder: bool) -> Self {
        if is_folder { Self::Folder(BTreeMap::new()) } else { Self::File(Arc::default()) }
    }
}

/// A whole file system.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<Number, Node>,
    /// Where each node stands; one that was removed stands nowhere.
    places: BTreeMap<Number, (Number, OsString)>,
    next: Number,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: BTreeMap::from([(ROOT, Node::new(true))]), places: BTreeMap::new(), next: ROOT + 1 }
    }
}

impl Tree {
    /// Puts a tree together from its nodes; what no folder names is left out.
    pub fn of(nodes: &BTreeMap<Number, Node>) -> Self {
        let mut tree = Self { next: nodes.keys().last().map_or(ROOT, |last| *last) + 1, ..Self::default() };
        tree.take_in(ROOT, nodes);
        tree
    }

    fn take_in(&mut self, number: Number, nodes: &BTreeMap<Number, Node>) {
        let Some(node) = nodes.get(&number) else { return };
        self.nodes.insert(number, node.clone());
        if let Node::Folder(entries) = node {
            for (name, child) in entries {
                self.places.insert(*child, (number, name.clone()));
                self.take_in(*child, nodes);
            }
        }
    }

    /// Every node by its number.
    pub fn nodes(&self) -> &BTreeMap<Number, Node> {
        &self.nodes
    }

    /// A node.
    pub fn node(&self, number: Number) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::NOENT)
    }

    /// The entries of a folder.
    pub fn entries(&self, folder: Number) -> Result<&BTreeMap<OsString, Number>, Errno> {
        match self.node(folder)? {
            Node::Folder(entries) => Ok(entries),
            Node::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn entries_mut(&mut self, folder: Number) -> Result<&mut BTreeMap<OsString, Number>, Errno> {
        match self.nodes.get_mut(&folder) {
            Some(Node::Folder(entries)) => Ok(entries),
            Some(Node::File(_)) => Err(Errno::NOTDIR),
            None => Err(Errno::NOENT),
        }
    }

    /// The content of a file.
    pub fn content(&self, file: Number) -> Result<&Arc<Vec<u8>>, Errno> {
        match self.node(file)? {
            Node::File(content) => Ok(content),
            Node::Folder(_) => Err(Errno::ISDIR),
        }
    }

    fn content_mut(&mut self, file: Number) -> Result<&mut Vec<u8>, Errno> {
        match self.nodes.get_mut(&file) {
            Some(Node::File(content)) => Ok(Arc::make_mut(content)),
            Some(Node::Folder(_)) => Err(Errno::ISDIR),
            None => Err(Errno::NOENT),
        }
    }

    /// The node of a name.
    pub fn find(&self, folder: Number, name: &OsStr) -> Result<Number, Errno> {
        self.entries(folder)?.get(name).copied().ok_or(Errno::NOENT)
    }

    /// The node at a path from the top.
    pub fn at(&self, path: &Path) -> Result<Number, Errno> {
        path.iter().try_fold(ROOT, |folder, name| self.find(folder, name))
    }

    /// Makes a file or folder.
    pub fn make(&mut self, folder: Number, name: &OsStr, is_folder: bool) -> Result<Number, Errno> {
        if self.entries(folder)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, Node::new(is_folder));
        self.entries_mut(folder)?.insert(name.to_owned(), number);
        self.places.insert(number, (folder, name.to_owned()));
        Ok(number)
    }

    /// Removes a name; the node stays for whoever has it open, until [`Tree::forget`].
    pub fn remove(&mut self, folder: Number, name: &OsStr, is_folder: bool) -> Result<Number, Errno> {
        let number = self.find(folder, name)?;
        match (self.node(number)?, is_folder) {
            (Node::Folder(entries), true) if !entries.is_empty() => return Err(Errno::NOTEMPTY),
            (Node::Folder(_), false) => return Err(Errno::ISDIR),
            (Node::File(_), true) => return Err(Errno::NOTDIR),
            _ => {}
        }
        self.entries_mut(folder)?.remove(name);
        self.places.remove(&number);
        Ok(number)
    }

    /// Moves a node to another name, in place of what has it.
    pub fn rename(&mut self, from: (Number, &OsStr), to: (Number, &OsStr)) -> Result<Number, Errno> {
        let number = self.find(from.0, from.1)?;
        let is_folder = self.node(number)?.is_folder();
        if let Ok(old) = self.find(to.0, to.1)
            && old != number
        {
            self.remove(to.0, to.1, is_folder)?;
        }
        self.entries_mut(to.0)?;
        self.entries_mut(from.0)?.remove(from.1);
        self.entries_mut(to.0)?.insert(to.1.to_owned(), number);
        self.places.insert(number, (to.0, to.1.to_owned()));
        Ok(number)
    }

    /// Writes into a file, which grows with zeros when it must.
    pub fn write(&mut self, file: Number, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let content = self.content_mut(file)?;
        put(content, usize::try_from(offset).map_err(|_| Errno::FBIG)?, bytes);
        Ok(())
    }

    /// Sets the size of a file.
    pub fn resize(&mut self, file: Number, size: u64) -> Result<(), Errno> {
        let size = usize::try_from(size).map_err(|_| Errno::FBIG)?;
        self.content_mut(file)?.resize(size, 0);
        Ok(())
    }

    /// Nobody has this node open any more: when it has no name, it goes.
    pub fn forget(&mut self, number: Number) {
        if number != ROOT && !self.places.contains_key(&number) {
            self.nodes.remove(&number);
        }
    }

    /// Where a node stands, from the top.
    pub fn path(&self, number: Number) -> PathBuf {
        let mut names = Vec::new();
        let mut at = number;
        while let Some((folder, name)) = self.places.get(&at) {
            names.push(name);
            at = *folder;
        }
        names.into_iter().rev().collect()
    }

    /// The bytes that all files take, each counted in whole pages.
    pub fn bytes(&self) -> u64 {
        let size = |node: &Node| match node {
            Node::File(content) => blocks(content.len()) * 512,
            Node::Folder(_) => 4096,
        };
        self.nodes.values().map(size).sum()
    }

    /// Writes everything into a folder of a real file system, which must not be there yet.
    pub fn write_to(&self, place: &Path) -> io::Result<()> {
        self.write_node(ROOT, place)
    }

    fn write_node(&self, number: Number, place: &Path) -> io::Result<()> {
        match self.node(number)? {
            Node::File(content) => {
                File::options().write(true).create_new(true).mode(0o600).open(place)?.write_all(content)
            }
            Node::Folder(entries) => {
                DirBuilder::new().mode(0o700).create(place)?;
                entries.iter().try_for_each(|(name, child)| self.write_node(*child, &place.join(name)))
            }
        }
    }

    /// Reads a folder of a real file system with everything in it.
    pub fn read_from(place: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(ROOT, place)?;
        Ok(tree)
    }

    fn read_folder(&mut self, folder: Number, place: &Path) -> io::Result<()> {
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            let is_folder = entry.file_type()?.is_dir();
            let number = self.make(folder, &entry.file_name(), is_folder)?;
            if is_folder {
                self.read_folder(number, &entry.path())?;
            } else {
                self.nodes.insert(number, Node::File(Arc::new(fs::read(entry.path())?)));
            }
        }
        Ok(())
    }
}

/// Two trees are the same when a program that walks through them sees the same.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        fn same(one: &Tree, a: Number, other: &Tree, b: Number) -> bool {
            match (one.nodes.get(&a), other.nodes.get(&b)) {
                (Some(Node::File(one)), Some(Node::File(other))) => one == other,
                (Some(Node::Folder(left)), Some(Node::Folder(right))) => {
                    left.len() == right.len()
                        && left
                            .iter()
                            .zip(right)
                            .all(|((name, a), (named, b))| name == named && same(one, *a, other, *b))
                }
                _ => false,
            }
        }
        same(self, ROOT, other, ROOT)
    }
}

/// How many sectors of 512 bytes a file of a size takes, in whole pages.
pub(super) fn blocks(size: usize) -> u64 {
    u64::try_from(size.div_ceil(4096) * 8).unwrap_or(u64::MAX)
}

/// Puts bytes at a place of a content that grows with zeros when it must.
pub(super) fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(range) = content.get_mut(offset..end) {
        range.copy_from_slice(bytes);
    }
}
