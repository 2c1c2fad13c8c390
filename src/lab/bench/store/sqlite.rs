//! SQLite with a write-ahead log and `synchronous=FULL`: one transaction for each commit, one row for
//! each record. The only file that names it.

use std::path::Path;

use rusqlite::Connection;

use super::content::{Content, Records};
use super::{Keeper, Watch};

/// The database, and what it takes next.
pub(super) struct Sqlite {
    connection: Connection,
    records: Records,
    next: Vec<Vec<u8>>,
}

impl Sqlite {
    pub(super) fn create(folder: &Path, content: Content) -> anyhow::Result<Self> {
        let connection = open(folder)?;
        connection.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, body BLOB NOT NULL)", ())?;
        Ok(Self { connection, records: Records::of(content), next: Vec::new() })
    }

    /// Opens it again: the first record can be read, one more is stored.
    pub(super) fn reopen(folder: &Path, content: Content, watch: &mut Watch) -> anyhow::Result<()> {
        let one = Records::of(content).take(1);
        watch.begin();
        let mut connection = open(folder)?;
        connection
            .query_row("SELECT body FROM records ORDER BY id LIMIT 1", (), |row| row.get::<_, Vec<u8>>(0))?;
        insert(&mut connection, &one)?;
        watch.opened();
        let mut all = connection.prepare("SELECT body FROM records ORDER BY id")?;
        let mut rows = all.query(())?;
        while let Some(row) = rows.next()? {
            let _ = row.get::<_, Vec<u8>>(0)?;
            watch.read(1);
        }
        Ok(())
    }
}

fn open(folder: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open(folder.join("records.db"))?;
    let mode: String = connection.query_row("PRAGMA journal_mode=WAL", (), |row| row.get(0))?;
    anyhow::ensure!(mode == "wal", "the journal's mode is {mode}");
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn insert(connection: &mut Connection, records: &[Vec<u8>]) -> anyhow::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO records (body) VALUES (?1)")?;
        for record in records {
            insert.execute((record,))?;
        }
    }
    Ok(transaction.commit()?)
}

impl Keeper for Sqlite {
    fn prepare(&mut self, count: usize) -> anyhow::Result<()> {
        self.next = self.records.take(count);
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        insert(&mut self.connection, &self.next)
    }
}
