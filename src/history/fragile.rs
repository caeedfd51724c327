//! A disk for tests, that fails when it is told to and forgets what was not synced.

use std::io;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redb::StorageBackend;

/// A disk; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Fragile(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    /// What a running system reads: synced or not.
    cache: Vec<u8>,
    /// What a crash leaves for certain.
    synced: Vec<u8>,
    /// What was written since the last sync.
    writes: Vec<Write>,
    /// How many more operations succeed; `None`: all.
    operations_left: Option<u32>,
    fails_to_read: bool,
    fails_to_write: bool,
    /// How many more syncs succeed; `None`: all.
    syncs_left: Option<u32>,
}

#[derive(Debug, Clone)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Fragile {
    /// No space is left for anything new.
    pub fn fill_up(&self, full: bool) {
        self.disk(|disk| disk.fails_to_write = full);
    }

    /// Nothing can be read.
    pub fn fail_to_read(&self, fails: bool) {
        self.disk(|disk| disk.fails_to_read = fails);
    }

    /// After that many more, syncs fail, and what they should have made durable is lost, though the running system still
    /// reads it.
    pub fn fail_to_sync_after(&self, syncs: Option<u32>) {
        self.disk(|disk| disk.syncs_left = syncs);
    }

    /// After that many more writes and syncs, everything fails: the process was killed there.
    pub fn crash_after(&self, operations: u32) {
        self.disk(|disk| disk.operations_left = Some(operations));
    }

    /// What a crash leaves: what was synced, and of the writes after that any, whole, torn or not at all.
    pub fn after_crash(&self, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let left = self.disk(|disk| {
            let mut left = disk.synced.clone();
            for write in &disk.writes {
                match write {
                    _ if random.random_bool(0.3) => {}
                    Write::Length(length) => left.resize(*length, 0),
                    Write::Bytes { offset, bytes } => {
                        let torn = random.random_bool(0.3);
                        let length = if torn { random.random_range(0..=bytes.len()) } else { bytes.len() };
                        put(&mut left, *offset, &bytes[..length]);
                    }
                }
            }
            left
        });
        Self::holding(left)
    }

    /// A good disk that holds these bytes.
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Disk { cache: bytes.clone(), synced: bytes, ..Disk::default() })))
    }

    /// Holds these bytes from now on.
    pub fn hold(&self, bytes: Vec<u8>) {
        self.disk(|disk| *disk = Disk { cache: bytes.clone(), synced: bytes, ..Disk::default() });
    }

    /// What a running system reads.
    pub fn bytes(&self) -> Vec<u8> {
        self.disk(|disk| disk.cache.clone())
    }

    fn disk<T>(&self, act: impl FnOnce(&mut Disk) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }
}

impl Disk {
    fn count(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            Some(0) => Err(io::Error::other("killed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

impl StorageBackend for Fragile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk(|disk| disk.cache.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk(|disk| {
            if disk.fails_to_read {
                return Err(io::Error::other("input/output error"));
            }
            let offset = usize::try_from(offset).unwrap();
            let bytes = disk.cache.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk(|disk| {
            disk.count()?;
            let length = usize::try_from(len).unwrap();
            if disk.fails_to_write && length > disk.cache.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.cache.resize(length, 0);
            disk.writes.push(Write::Length(length));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk(|disk| {
            disk.count()?;
            match &mut disk.syncs_left {
                Some(0) => {
                    // As Linux does it: the pages count as clean from now on.
                    disk.writes.clear();
                    return Err(io::Error::other("input/output error"));
                }
                Some(left) => *left -= 1,
                None => {}
            }
            for write in std::mem::take(&mut disk.writes) {
                match write {
                    Write::Length(length) => disk.synced.resize(length, 0),
                    Write::Bytes { offset, bytes } => put(&mut disk.synced, offset, &bytes),
                }
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk(|disk| {
            disk.count()?;
            if disk.fails_to_write {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let offset = usize::try_from(offset).unwrap();
            put(&mut disk.cache, offset, data);
            disk.writes.push(Write::Bytes { offset, bytes: data.to_vec() });
            Ok(())
        })
    }
}
