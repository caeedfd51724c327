use bytes::{Bytes, BytesMut};

/// Datagrams are copied into blocks of so many bytes: four of the largest, or thirty of audio.
const BLOCK_BYTES: usize = 4 * 1024;

/// Makes copies of datagrams that are kept: a datagram as it was received may keep alive 64 KiB that arrived together with it.
///
/// Those that are copied one after the other share a block, so that a copy is no allocation. What is kept should be in a row: each of
/// them keeps its block.
#[derive(Debug, Default)]
pub(super) struct Copies {
    block: BytesMut,
}

impl Copies {
    /// A copy.
    pub fn make(&mut self, datagram: &[u8]) -> Bytes {
        if self.block.capacity() < datagram.len() {
            self.block = BytesMut::with_capacity(BLOCK_BYTES.max(datagram.len()));
        }
        self.block.extend_from_slice(datagram);
        self.block.split().freeze()
    }

    /// Gives back the rest of the block.
    pub fn release(&mut self) {
        self.block = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_equal_and_share_blocks() {
        let mut copies = Copies::default();
        let made: Vec<_> = (0..100_u8).map(|number| copies.make(&[number; 1000])).collect();
        assert!(made.iter().zip(0..).all(|(copy, number)| copy[..] == [number; 1000]));
        let follows = |pair: &[Bytes]| pair[0].as_ptr().wrapping_add(1000) == pair[1].as_ptr();
        assert_eq!(made.windows(2).filter(|pair| follows(pair)).count(), 75, "four in a block");
        assert_eq!(copies.make(&[7; 10_000]).len(), 10_000);
        copies.release();
        assert_eq!(copies.block.capacity(), 0);
    }
}
