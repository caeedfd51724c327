use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError, TableDefinition, TableError,
};

use super::error::HistoryError;
#[cfg(test)]
use super::fragile::Fragile;
use super::overlay::Overlay;
use crate::limits::{HISTORY_CACHE_BYTES, HISTORY_DAMAGED_FILES_MAX};
use crate::owner_only;

/// The file's name in the data directory.
const FILE: &str = "chat.redb";

/// What the tables hold. A store with a later number is left alone.
const FORMAT: u64 = 1;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Where the database is.
#[derive(Debug)]
pub struct DatabaseFile {
    path: PathBuf,
    #[cfg(test)]
    fragile: Option<Fragile>,
}

impl DatabaseFile {
    /// The file in that directory, which is made if there is none.
    pub fn in_directory(directory: &Path) -> Result<Self, HistoryError> {
        let place = |error| HistoryError::Place { path: directory.into(), error };
        owner_only::directory(directory).map_err(place)?;
        Ok(Self {
            path: directory.join(FILE),
            #[cfg(test)]
            fragile: None,
        })
    }

    /// A file on a disk that fails when it is told to.
    #[cfg(test)]
    pub fn fragile(disk: Fragile) -> Self {
        Self { path: FILE.into(), fragile: Some(disk) }
    }

    /// An empty file that can take the place of this one.
    pub fn beside(&self) -> Result<Self, HistoryError> {
        let path = self.path.with_extension("new");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.place(error)),
            _ => {}
        }
        Ok(Self {
            path,
            #[cfg(test)]
            fragile: self.fragile.as_ref().map(|_| Fragile::default()),
        })
    }

    /// Puts another file in the place of this one, which is kept under another name.
    pub fn replace_by(&self, other: &Self) -> Result<(), HistoryError> {
        #[cfg(test)]
        if let (Some(disk), Some(other)) = (&self.fragile, &other.fragile) {
            disk.hold(other.bytes());
            return Ok(());
        }
        let damaged = self.damaged_path();
        // A second name, so that after a crash there is a file under the first one; by way of a third, which can replace a file.
        // Some file systems have no links.
        let spare = self.path.with_extension("damaged");
        // A crash may have left it.
        let _ = fs::remove_file(&spare);
        let moved = fs::hard_link(&self.path, &spare)
            .and_then(|()| fs::rename(&spare, &damaged))
            .or_else(|_| fs::rename(&self.path, &damaged))
            .and_then(|()| fs::rename(&other.path, &self.path))
            .and_then(|()| self.sync_directory());
        moved.map_err(|error| self.place(error))
    }

    /// The first name for a damaged file that is free. If none is, the last one has to make way: the first have most in them.
    fn damaged_path(&self) -> PathBuf {
        let mut paths =
            (1..=HISTORY_DAMAGED_FILES_MAX).map(|number| self.path.with_extension(format!("damaged-{number}")));
        let last = self.path.with_extension(format!("damaged-{HISTORY_DAMAGED_FILES_MAX}"));
        paths.find(|path| !path.exists()).unwrap_or(last)
    }

    /// Opens the database. What a crash left half done is undone.
    pub fn open(&self) -> Result<Database, HistoryError> {
        let mut builder = Builder::new();
        builder.set_cache_size(HISTORY_CACHE_BYTES);
        #[cfg(test)]
        if let Some(disk) = &self.fragile {
            let database = builder.create_with_backend(disk.clone()).map_err(|error| self.why(error))?;
            return self.with_format(database);
        }
        let backend = FileBackend::new(self.open_file().map_err(|error| self.place(error))?);
        let database = backend.and_then(|backend| builder.create_with_backend(backend));
        self.with_format(database.map_err(|error| self.why(error))?)
    }

    /// Opens the database for reading, whatever the disk refuses to take. Nobody else is kept from the file meanwhile.
    pub fn open_for_reading(&self) -> Result<Database, HistoryError> {
        #[cfg(test)]
        if let Some(disk) = &self.fragile {
            return self.open_overlay(disk.clone());
        }
        let file = File::open(&self.path).map_err(|error| self.place(error))?;
        self.open_overlay(FileBackend::new(file).map_err(|error| self.why(error))?)
    }

    fn open_overlay(&self, file: impl StorageBackend) -> Result<Database, HistoryError> {
        let overlay = Overlay::new(file).map_err(|error| self.place(error))?;
        let mut builder = Builder::new();
        builder.set_cache_size(HISTORY_CACHE_BYTES);
        builder.create_with_backend(overlay).map_err(|error| self.why(error))
    }

    /// Opens the file, or makes it, for its owner alone.
    fn open_file(&self) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true);
        match options.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        options.create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path)?;
        self.sync_directory()?;
        Ok(file)
    }

    /// A file's name has to outlive a crash as well.
    fn sync_directory(&self) -> io::Result<()> {
        #[cfg(unix)]
        if let Some(directory) = self.path.parent() {
            File::open(if directory.as_os_str().is_empty() { Path::new(".") } else { directory })?.sync_all()?;
        }
        Ok(())
    }

    fn with_format(&self, database: Database) -> Result<Database, HistoryError> {
        let written = read_format(&database).map_err(|error| self.damaged(error))?;
        match written {
            Some(format) if format > FORMAT => return Err(HistoryError::Newer { path: self.path.clone() }),
            Some(_) => {}
            None => write_format(&database, FORMAT).map_err(|error| self.damaged(error))?,
        }
        Ok(database)
    }

    fn why(&self, error: DatabaseError) -> HistoryError {
        match error {
            DatabaseError::DatabaseAlreadyOpen => HistoryError::InUse { path: self.path.clone() },
            DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                self.place(error)
            }
            error => self.damaged(error.into()),
        }
    }

    /// What there is to say when the database fails without saying why.
    pub fn unintelligible(&self) -> HistoryError {
        HistoryError::Damaged { path: self.path.clone(), problem: "it cannot be understood".into() }
    }

    fn place(&self, error: io::Error) -> HistoryError {
        HistoryError::Place { path: self.path.clone(), error }
    }

    fn damaged(&self, error: redb::Error) -> HistoryError {
        match error {
            redb::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => self.place(error),
            error => HistoryError::Damaged { path: self.path.clone(), problem: error.to_string() },
        }
    }
}

fn read_format(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|format| format.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says how the tables are to be understood.
pub fn write_format(database: &Database, format: u64) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(META)?.insert("format", format)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_kept_but_not_any_number_of_them() {
        let directory = std::env::temp_dir().join(format!("tertulia-damaged-{}", std::process::id()));
        let file = DatabaseFile::in_directory(&directory).unwrap();
        fs::write(&file.path, "0").unwrap();
        for number in 1..=HISTORY_DAMAGED_FILES_MAX + 2 {
            let other = file.beside().unwrap();
            fs::write(&other.path, number.to_string()).unwrap();
            file.replace_by(&other).unwrap();
            assert_eq!(fs::read_to_string(&file.path).unwrap(), number.to_string());
        }
        let read = |number| fs::read_to_string(directory.join(format!("chat.damaged-{number}"))).unwrap();
        assert_eq!([1, 2, 3, 4].map(read), ["0", "1", "2", "5"]);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 5);
        fs::remove_dir_all(&directory).unwrap();
    }
}
