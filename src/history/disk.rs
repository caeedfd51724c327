mod reading;
mod salvage;
mod tables;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use redb::Database;

use super::error::HistoryError;
use super::file::DatabaseFile;
use super::head::Retention;
use super::store::{Batch, Problem};
use crate::wire::RoomName;
use tables::write;

/// The chat of all rooms, in a database file.
#[derive(Debug)]
pub struct DiskStore {
    file: DatabaseFile,
    /// Closed after every failure: what is read after that is what the file holds, not what was meant to be in it.
    database: Option<Database>,
    /// Whether it takes nothing: the disk refused to.
    is_read_only: bool,
    /// The messages that were reported as damaged.
    lost: BTreeSet<(RoomName, u64)>,
    lost_count: Arc<AtomicU64>,
}

/// Why something did not succeed.
#[derive(Debug)]
enum Failure {
    /// The file does not hold what was written to it.
    Damaged(String),
    /// The file could not be read or written.
    Other(String),
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(_) => Self::Damaged(error.to_string()),
            error => Self::Other(error.to_string()),
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<Failure> for Problem {
    fn from((Failure::Damaged(problem) | Failure::Other(problem)): Failure) -> Self {
        problem.into()
    }
}

impl DiskStore {
    pub fn open(directory: &Path) -> Result<Self, HistoryError> {
        Self::open_file(DatabaseFile::in_directory(directory)?)
    }

    pub fn open_file(file: DatabaseFile) -> Result<Self, HistoryError> {
        let opened = catch_unwind(AssertUnwindSafe(|| file.open()));
        let database = opened.unwrap_or_else(|_| Err(file.unintelligible()))?;
        Ok(Self {
            file,
            database: Some(database),
            is_read_only: false,
            lost: BTreeSet::new(),
            lost_count: Arc::default(),
        })
    }

    /// How many messages were found damaged.
    pub fn lost_count(&self) -> Arc<AtomicU64> {
        self.lost_count.clone()
    }

    pub fn commit(&mut self, batch: &mut Batch, retention: &Retention) -> Result<(), Problem> {
        // A failed attempt leaves its marks on the batch.
        let mut attempt = batch.clone();
        match self.commit_to_database(&mut attempt, retention) {
            Ok(()) => *batch = attempt,
            Err(Failure::Damaged(_)) => {
                self.salvage()?;
                batch.unsure.extend(batch.heads.keys().cloned());
                self.commit_to_database(batch, retention)?;
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    /// Reads from the database, also while the disk takes nothing.
    fn read_with<T>(&mut self, read: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Failure> {
        if self.database.is_none() {
            match self.guarded(|store| store.file.open()) {
                Ok(database) => self.database = Some(database),
                Err(_) => {
                    self.database = Some(self.guarded(|store| store.file.open_for_reading())?);
                    self.is_read_only = true;
                }
            }
        }
        self.act(read)
    }

    fn commit_to_database(&mut self, batch: &mut Batch, retention: &Retention) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_read_only) {
            self.shut();
        }
        if self.database.is_none() {
            self.database = Some(self.guarded(|store| store.file.open())?);
        }
        self.act(|database| write(database, batch, retention))
    }

    /// Does something with the open database, and closes it if that fails.
    fn act<T>(&mut self, act: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Failure> {
        let result = self.guarded(|store| {
            let database = store.database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
            act(database)
        });
        if result.is_err() {
            self.shut();
        }
        result
    }

    fn shut(&mut self) {
        let database = self.database.take();
        // Whether it can be closed as it should makes no difference to what is read from it next.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }

    /// The database panics on some damages that it was not made for.
    fn guarded<T, E: Into<Failure>>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, Failure> {
        let result = catch_unwind(AssertUnwindSafe(|| act(self)));
        match result {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(Failure::Damaged("the database is damaged".into())),
        }
    }
}
