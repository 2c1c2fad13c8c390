//! The disk in front of programs: FUSE, and nothing of it anywhere else.
//!
//! In: the kernel's requests, one at a time. Out: the tree as programs see it, and the record. Whatever
//! changes something is in the record before its call returns: there is no write-back cache, so each
//! `write(2)` comes here at once, a long one in pieces; reads may be answered by the kernel from what it has seen.
//! `flock` stays with the kernel. What can go wrong: no `/dev/fuse`, no right to mount.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use rustix::io::Errno as Code;

use super::fault::{Fault, Faults, Turn};
use super::record::{Kind, Op};
use super::tree::{Node, Number, ROOT, Tree, blocks};

/// How long the kernel may keep what it was told: nothing changes but through it.
const FOR_EVER: Duration = Duration::from_secs(86_400);
const BLOCK: u32 = 4096;
/// What the kernel read it may keep, and closing is no matter of ours.
const OPENED: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_NOFLUSH);

/// A mounted disk; unmounted when dropped.
pub struct Disk {
    state: Arc<Mutex<State>>,
    session: Option<BackgroundSession>,
    folder: PathBuf,
}

struct State {
    tree: Tree,
    record: Vec<Op>,
    faults: Faults,
    size: u64,
}

impl Disk {
    /// Mounts a tree on an empty folder as a disk of `size` bytes.
    pub fn mount(folder: &Path, tree: Tree, size: u64) -> anyhow::Result<Self> {
        let state = State { tree, record: Vec::new(), faults: Faults::default(), size };
        let state = Arc::new(Mutex::new(state));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful".to_owned()), MountOption::NoAtime];
        let served = Served { state: Arc::clone(&state) };
        let session = fuser::spawn_mount(served, folder, &config).with_context(|| {
            format!(
                "the disk that forgets cannot be mounted on {}: it needs /dev/fuse and the right to mount; run \
                 as root, or where a user may make namespaces of its own and open /dev/fuse",
                folder.display()
            )
        })?;
        Ok(Self { state, session: Some(session), folder: folder.to_owned() })
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many operations were done: a place in the record.
    pub fn position(&self) -> usize {
        lock(&self.state).record.len()
    }

    /// Everything that was done.
    pub fn record(&self) -> Vec<Op> {
        lock(&self.state).record.clone()
    }

    /// What programs see.
    pub fn tree(&self) -> Tree {
        lock(&self.state).tree.clone()
    }

    /// From here on every operation fails: the power is gone, and nobody noticed yet. Gives the place in
    /// the record.
    pub fn freeze(&self) -> usize {
        let mut state = lock(&self.state);
        state.faults.is_frozen = true;
        state.record.len()
    }

    /// The same after so many operations more.
    pub fn freeze_in(&self, operations: u64) {
        lock(&self.state).faults.freezes_in = Some(operations);
    }

    /// Whether nothing works any more.
    pub fn is_frozen(&self) -> bool {
        lock(&self.state).faults.is_frozen
    }

    /// It works again, as it was.
    pub fn thaw(&self) {
        let mut state = lock(&self.state);
        (state.faults.is_frozen, state.faults.freezes_in) = (false, None);
    }

    /// Lets operations fail, in place of those that were to fail before.
    pub fn fail(&self, fault: Option<Fault>) {
        lock(&self.state).faults.set(fault);
    }

    /// Since [`Disk::fail`]: operations that could have failed, and those that did.
    pub fn failed(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.faults.seen, state.faults.fired)
    }

    /// Unmounts it.
    pub fn unmount(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        self.wait_until_closed();
        let ended = match session.umount_and_join() {
            // What the kernel says to whoever still reads from a disk that was unmounted just then.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => Ok(()),
            ended => ended,
        };
        ended.with_context(|| format!("the disk on {} cannot be unmounted", self.folder.display()))
    }
}

impl Disk {
    /// sled closes its file on a thread of its own, some time after it was let go.
    fn wait_until_closed(&self) {
        let is_open = || {
            let own = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
            own.filter_map(|entry| std::fs::read_link(entry.path()).ok())
                .any(|target| target.starts_with(&self.folder))
        };
        for _ in 0..500 {
            if !is_open() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Mounting needs root. A test that is not root runs itself again as root of a user namespace of its
/// own, where that is allowed, and is done: then the answer is `false`.
pub fn run_as_root(test: &str) -> anyhow::Result<bool> {
    if rustix::process::geteuid().is_root() {
        return Ok(true);
    }
    let own = std::env::current_exe()?;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount"])
        .arg(own)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .output()
        .context("mounting needs root, and `unshare` of util-linux cannot be run")?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(
        output.status.success() && out.contains("1 passed"),
        "as root of a namespace:\n{out}\n{err}"
    );
    Ok(false)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answer<T> = Result<T, Code>;

impl State {
    /// Whether an operation may be done.
    fn turn(&mut self, kind: Kind) -> Answer<()> {
        match self.faults.turn(kind) {
            Turn::Pass | Turn::Half => Ok(()),
            Turn::Fail(code) => Err(code),
        }
    }

    /// Whether something that changes nothing may be done.
    fn look(&self) -> Answer<()> {
        if self.faults.is_frozen { Err(Code::IO) } else { Ok(()) }
    }

    fn has_room(&self, more: u64) -> Answer<()> {
        if self.tree.bytes().saturating_add(more) > self.size { Err(Code::NOSPC) } else { Ok(()) }
    }

    fn attributes(&self, number: Number) -> Answer<FileAttr> {
        self.look()?;
        let (kind, size, perm) = match self.tree.node(number)? {
            Node::File(content) => (FileType::RegularFile, content.len(), 0o600),
            Node::Folder(_) => (FileType::Directory, 4096, 0o700),
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size: u64::try_from(size).map_err(|_| Code::FBIG)?,
            blocks: blocks(size),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        })
    }

    fn find(&self, folder: Number, name: &OsStr) -> Answer<FileAttr> {
        self.look()?;
        self.attributes(self.tree.find(folder, name)?)
    }

    fn make(&mut self, folder: Number, name: &OsStr, is_folder: bool) -> Answer<FileAttr> {
        self.turn(if is_folder { Kind::MakeFolder } else { Kind::Create })?;
        self.has_room(u64::from(BLOCK))?;
        let node = self.tree.make(folder, name, is_folder)?;
        self.record.push(Op::Make { folder, name: name.to_owned(), node, is_folder });
        self.attributes(node)
    }

    fn remove(&mut self, folder: Number, name: &OsStr, is_folder: bool) -> Answer<()> {
        self.turn(if is_folder { Kind::RemoveFolder } else { Kind::Unlink })?;
        let node = self.tree.remove(folder, name, is_folder)?;
        self.record.push(Op::Remove { folder, name: name.to_owned(), node });
        Ok(())
    }

    fn rename(&mut self, from: (Number, &OsStr), to: (Number, &OsStr), flags: RenameFlags) -> Answer<()> {
        if !flags.is_empty() {
            return Err(Code::INVAL);
        }
        self.turn(Kind::Rename)?;
        let node = self.tree.rename(from, to)?;
        let own = |(folder, name): (Number, &OsStr)| (folder, name.to_owned());
        self.record.push(Op::Rename { from: own(from), to: own(to), node });
        Ok(())
    }

    fn write(&mut self, file: Number, offset: u64, bytes: &[u8]) -> Answer<u32> {
        let bytes = match self.faults.turn(Kind::Write) {
            Turn::Pass => bytes,
            Turn::Half => bytes.get(..bytes.len().div_ceil(2)).unwrap_or(bytes),
            Turn::Fail(code) => return Err(code),
        };
        let count = u64::try_from(bytes.len()).map_err(|_| Code::FBIG)?;
        let size = u64::try_from(self.tree.content(file)?.len()).map_err(|_| Code::FBIG)?;
        self.has_room(offset.saturating_add(count).saturating_sub(size))?;
        self.tree.write(file, offset, bytes)?;
        self.record.push(Op::Write { file, offset, bytes: bytes.into() });
        u32::try_from(count).map_err(|_| Code::FBIG)
    }

    fn resize(&mut self, file: Number, size: u64) -> Answer<()> {
        self.turn(Kind::Resize)?;
        self.tree.resize(file, size)?;
        self.record.push(Op::Resize { file, size });
        Ok(())
    }

    fn sync(&mut self, file: Number, data_only: bool) -> Answer<()> {
        self.look()?;
        let answer = self.turn(Kind::Sync);
        self.look()?;
        let (failed, path) = (answer.is_err(), self.tree.path(file));
        self.record.push(Op::Sync { file, data_only, failed, path });
        answer
    }

    fn sync_folder(&mut self, folder: Number) -> Answer<()> {
        self.look()?;
        let answer = self.turn(Kind::SyncFolder);
        self.look()?;
        let (failed, path) = (answer.is_err(), self.tree.path(folder));
        self.record.push(Op::SyncFolder { folder, failed, path });
        answer
    }
}

/// The kernel's side.
struct Served {
    state: Arc<Mutex<State>>,
}

fn code(code: Code) -> Errno {
    Errno::from_i32(code.raw_os_error())
}

fn end(reply: ReplyEmpty, answer: Answer<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(code(error)),
    }
}

fn entry(reply: ReplyEntry, answer: Answer<FileAttr>) {
    match answer {
        Ok(attributes) => reply.entry(&FOR_EVER, &attributes, Generation(0)),
        Err(error) => reply.error(code(error)),
    }
}

fn attributes(reply: ReplyAttr, answer: Answer<FileAttr>) {
    match answer {
        Ok(attributes) => reply.attr(&FOR_EVER, &attributes),
        Err(error) => reply.error(code(error)),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let answer = lock(&self.state).find(parent.0, name);
        entry(reply, answer);
    }

    fn forget(&self, _: &Request, ino: INodeNo, _: u64) {
        lock(&self.state).tree.forget(ino.0);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let answer = lock(&self.state).attributes(ino.0);
        attributes(reply, answer);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = lock(&self.state);
        let done = size.map_or(Ok(()), |size| state.resize(ino.0, size));
        let answer = done.and_then(|()| state.attributes(ino.0));
        drop(state);
        attributes(reply, answer);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let answer = lock(&self.state).make(parent.0, name, true);
        entry(reply, answer);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let answer = lock(&self.state).make(parent.0, name, false);
        match answer {
            Ok(file) => {
                reply.created(&FOR_EVER, &file, Generation(0), FileHandle(0), OPENED);
            }
            Err(error) => reply.error(code(error)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let answer = lock(&self.state).remove(parent.0, name, false);
        end(reply, answer);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let answer = lock(&self.state).remove(parent.0, name, true);
        end(reply, answer);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let answer = lock(&self.state).rename((parent.0, name), (newparent.0, newname), flags);
        end(reply, answer);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let answer = lock(&self.state).turn(Kind::Open);
        match answer {
            Ok(()) => reply.opened(FileHandle(0), OPENED),
            Err(error) => reply.error(code(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = lock(&self.state);
        let content = state.look().and_then(|()| state.tree.content(ino.0).cloned());
        drop(state);
        match content {
            Ok(content) => reply.data(part(&content, offset, size)),
            Err(error) => reply.error(code(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let answer = lock(&self.state).write(ino.0, offset, data);
        match answer {
            Ok(count) => reply.written(count),
            Err(error) => reply.error(code(error)),
        }
    }

    /// Once it is told so, the kernel does not ask at each close: a process that is killed while it serves
    /// this disk and has files open on it would wait for its own answer, for ever.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let answer = lock(&self.state).sync(ino.0, datasync);
        end(reply, answer);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let answer = lock(&self.state).turn(Kind::Open);
        match answer {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(code(error)),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = lock(&self.state);
        let listed = state.look().and_then(|()| list(&state.tree, ino.0));
        drop(state);
        match listed {
            Ok(listed) => {
                // The offset is the number of the last node that was told: also right when names go
                // between two calls.
                for (number, kind, name) in listed.iter().filter(|(number, ..)| *number > offset) {
                    if reply.add(INodeNo(*number), *number, *kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(code(error)),
        }
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let answer = lock(&self.state).sync_folder(ino.0);
        end(reply, answer);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let state = lock(&self.state);
        let (size, used) = (state.size, state.tree.bytes());
        drop(state);
        let block = u64::from(BLOCK);
        let free = size.saturating_sub(used) / block;
        reply.statfs(size / block, free, free, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }
}

fn part(content: &[u8], offset: u64, size: u32) -> &[u8] {
    let from = usize::try_from(offset).map_or(content.len(), |from| from.min(content.len()));
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    content.get(from..from.saturating_add(size).min(content.len())).unwrap_or_default()
}

/// The nodes of a folder in the order of their numbers.
fn list(tree: &Tree, folder: Number) -> Answer<Vec<(Number, FileType, std::ffi::OsString)>> {
    let mut listed = Vec::new();
    for (name, number) in tree.entries(folder)? {
        let kind = if tree.node(*number)?.is_folder() { FileType::Directory } else { FileType::RegularFile };
        debug_assert!(*number > ROOT);
        listed.push((*number, kind, name.clone()));
    }
    listed.sort_unstable_by_key(|(number, ..)| *number);
    Ok(listed)
}
