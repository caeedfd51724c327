use std::io;
use std::sync::{Mutex, PoisonError};

use redb::StorageBackend;

/// A database file that is only read: what the database writes to set it in order stays in memory. So what is kept can be read
/// while the disk takes nothing.
#[derive(Debug)]
pub struct Overlay<B> {
    file: B,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    length: u64,
    /// In the order in which they were made. They are few: after a crash, a file is set in order by its first page.
    writes: Vec<(u64, Vec<u8>)>,
}

impl<B: StorageBackend> Overlay<B> {
    /// Leaves that file as it is.
    pub fn new(file: B) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self { file, changes: Mutex::new(Changes { length, writes: Vec::new() }) })
    }

    fn change(&self, change: impl FnOnce(&mut Changes)) {
        change(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        let mut length = 0;
        self.change(|changes| length = changes.length);
        Ok(length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let in_file = self.file.len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        let (in_file, beyond) = out.split_at_mut(in_file);
        self.file.read(offset, in_file)?;
        beyond.fill(0);
        self.change(|changes| {
            for (start, bytes) in &changes.writes {
                let begin = (*start).max(offset);
                let end = (start + bytes.len() as u64).min(offset + out.len() as u64);
                if begin < end {
                    let from = &bytes[(begin - start) as usize..(end - start) as usize];
                    out[(begin - offset) as usize..(end - offset) as usize].copy_from_slice(from);
                }
            }
        });
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(|changes| changes.length = length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|changes| changes.writes.push((offset, data.to_vec())));
        Ok(())
    }
}
