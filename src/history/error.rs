use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

/// Why chat cannot be kept or read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The directory or the file cannot be made or opened.
    #[error("cannot keep chat in {}: {error}; choose another directory with --data-dir, or --history memory", path.display())]
    Place {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is of a later version of this program.
    #[error("{} was written by a newer Tertulia; use that one, or another --data-dir", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
    },
    /// The file is open elsewhere.
    #[error("another relay keeps its chat in {}; stop it, or choose another --data-dir", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// The file is no database, or so damaged that nothing in it can be found.
    #[error("{} is damaged: {problem}; move it away to begin anew, or choose another --data-dir", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// What is kept cannot be read at the moment.
    #[error("the chat that is kept cannot be read: {0}")]
    Unreadable(Arc<str>),
    /// Ids can be reserved in an open room only.
    #[error("the room is not open in the history")]
    NotOpen,
    /// The operating system refused a thread.
    #[error("the history could not start: {0}")]
    Thread(#[from] io::Error),
    /// The history was stopped.
    #[error("the history has ended")]
    Ended,
}
