//! Files and directories that only their owner can read: keys and chat.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Makes a directory, and those on the way to it, if there is none.
pub fn directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Writes a file, whole or not at all. Directories on the way are made.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    if let Some(parent) = path.parent() {
        directory(parent)?;
    }
    // What an interrupted attempt left behind may have other permissions.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_directory(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Whether everyone on this machine can read a file that only its owner should: it was made by somebody else, or copied.
#[cfg(unix)]
pub fn is_open_to_everyone(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// Whether everyone on this machine can read a file: not known here.
#[cfg(not(unix))]
pub fn is_open_to_everyone(_: &Path) -> bool {
    false
}

/// The new name is on the disk after it, and not only the file.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Directories cannot be synced here.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
