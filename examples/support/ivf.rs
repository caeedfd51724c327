//! IVF files: a 32-byte header, then frames with 12 bytes in front of each. All integers are little-endian.

use anyhow::{Context, Result, bail, ensure};
use tertulia::wire::Rational;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 12;

/// What stands at the beginning of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// `VP80`, `VP90` or `AV01`.
    pub fourcc: [u8; 4],
    /// In pixels.
    pub width: u16,
    /// In pixels.
    pub height: u16,
    /// How many ticks of the timestamps make a second: the frame rate, in most files.
    pub ticks_per_second: Rational,
}

/// One encoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it is shown, in ticks of the header's time base.
    pub timestamp: u64,
    /// What the encoder made.
    pub data: Vec<u8>,
}

impl Header {
    /// The codec as WebCodecs names it.
    pub fn codec(&self) -> Result<&'static str> {
        match &self.fourcc {
            b"VP80" => Ok("vp8"),
            b"VP90" => Ok("vp09.00.10.08"),
            b"AV01" => Ok("av01.0.04M.08"),
            other => bail!("{} is none of VP80, VP90, AV01", other.escape_ascii()),
        }
    }

    /// The four letters for a codec as WebCodecs names it.
    pub fn fourcc_of(codec: &str) -> Result<[u8; 4]> {
        match codec.split('.').next() {
            Some("vp8") => Ok(*b"VP80"),
            Some("vp09") => Ok(*b"VP90"),
            Some("av01") => Ok(*b"AV01"),
            _ => bail!("{codec} does not go into an IVF file: publish VP8, VP9 or AV1"),
        }
    }

    /// Whether a frame of this codec can be decoded by itself.
    pub fn is_keyframe(&self, data: &[u8]) -> bool {
        match &self.fourcc {
            b"VP80" => data.first().is_some_and(|first| first & 1 == 0),
            b"VP90" => data.first().is_some_and(|first| vp9_is_keyframe(*first)),
            _ => av1_has_sequence_header(data),
        }
    }

    fn write(&self, frames: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(b"DKIF");
        bytes.extend_from_slice(&0u16.to_le_bytes());
        bytes.extend_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        bytes.extend_from_slice(&self.fourcc);
        bytes.extend_from_slice(&self.width.to_le_bytes());
        bytes.extend_from_slice(&self.height.to_le_bytes());
        bytes.extend_from_slice(&self.ticks_per_second.numerator.to_le_bytes());
        bytes.extend_from_slice(&self.ticks_per_second.denominator.to_le_bytes());
        bytes.extend_from_slice(&frames.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes
    }
}

/// The first byte of VP9's uncompressed header: marker (2 bits), profile (2, and one reserved for profile 3), whether a frame
/// is shown again (1), whether it is not a keyframe (1).
fn vp9_is_keyframe(first: u8) -> bool {
    let profile = first >> 5 & 1 | first >> 3 & 2;
    let (show_existing, not_key) = if profile == 3 { (first >> 2, first >> 1) } else { (first >> 3, first >> 2) };
    show_existing & 1 == 0 && not_key & 1 == 0
}

/// Encoders put a sequence header in front of every frame at which decoding can begin (AV1, section 7.5).
fn av1_has_sequence_header(mut data: &[u8]) -> bool {
    const SEQUENCE_HEADER: u8 = 1;
    while let Some((&header, rest)) = data.split_first() {
        if header >> 3 & 0b1111 == SEQUENCE_HEADER {
            return true;
        }
        let (has_extension, has_size) = (header >> 2 & 1, header >> 1 & 1);
        let Some(rest) = rest.get(usize::from(has_extension)..) else { return false };
        if has_size == 0 {
            return false;
        }
        let Some((size, used)) = leb128(rest) else { return false };
        let Some(next) = rest.get(used.saturating_add(size)..) else { return false };
        data = next;
    }
    false
}

fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(8).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Reads a whole file.
pub fn read(bytes: &[u8]) -> Result<(Header, Vec<Frame>)> {
    ensure!(bytes.len() >= HEADER_BYTES && bytes.starts_with(b"DKIF"), "it is no IVF file");
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let header = Header {
        fourcc: [bytes[8], bytes[9], bytes[10], bytes[11]],
        width: u16_at(12),
        height: u16_at(14),
        ticks_per_second: Rational { numerator: u32_at(16), denominator: u32_at(20) },
    };
    let Rational { numerator, denominator } = header.ticks_per_second;
    ensure!(numerator > 0 && denominator > 0, "its time base is zero");
    let mut rest = bytes.get(usize::from(u16_at(6)).max(HEADER_BYTES)..).context("its header is cut off")?;
    let mut frames = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(FRAME_HEADER_BYTES) {
        let size = u32::from_le_bytes(head[..4].try_into()?) as usize;
        let timestamp = u64::from_le_bytes(head[4..].try_into()?);
        let (data, next) = tail.split_at_checked(size).context("its last frame is cut off")?;
        frames.push(Frame { timestamp, data: data.to_vec() });
        rest = next;
    }
    Ok((header, frames))
}

/// Writes a file, frame by frame.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    header: Header,
    frames: u32,
}

impl<W: std::io::Write + std::io::Seek> Writer<W> {
    /// Begins the file.
    pub fn new(mut out: W, header: Header) -> Result<Self> {
        out.write_all(&header.write(0))?;
        Ok(Self { out, header, frames: 0 })
    }

    /// Appends a frame; `timestamp` is in ticks of the header's time base.
    pub fn write(&mut self, timestamp: u64, data: &[u8]) -> Result<()> {
        self.out.write_all(&u32::try_from(data.len())?.to_le_bytes())?;
        self.out.write_all(&timestamp.to_le_bytes())?;
        self.out.write_all(data)?;
        self.frames += 1;
        Ok(())
    }

    /// Ends the file: its header says how many frames there are.
    pub fn finish(mut self) -> Result<()> {
        self.out.rewind()?;
        self.out.write_all(&self.header.write(self.frames))?;
        self.out.flush()?;
        Ok(())
    }
}
