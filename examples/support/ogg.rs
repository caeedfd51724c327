//! Ogg files with Opus (RFC 3533, RFC 7845): one logical stream, `OpusHead`, `OpusTags`, then audio packets.

use anyhow::{Context, Result, ensure};

const PAGE_HEADER_BYTES: usize = 27;
const SEGMENTS_MAX: usize = 255;
const CONTINUED: u8 = 0x01;
const FIRST: u8 = 0x02;
const LAST: u8 = 0x04;
/// The granule position of a page on which no packet ends.
const NO_GRANULE: u64 = u64::MAX;
/// Audio on one page, in samples at 48 kHz: a second, as ordinary writers do.
const PAGE_SAMPLES_MAX: u64 = 48_000;

/// An Opus stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The first packet, as it is: what WebCodecs calls the decoder's `description`.
    pub head: Vec<u8>,
    /// The audio packets.
    pub packets: Vec<Vec<u8>>,
    /// The granule position of the last page: where the sound ends, in samples at 48 kHz, which may be within the last packet.
    pub end_granule: u64,
}

impl Stream {
    /// 1 or 2, in ordinary files.
    pub fn channels(&self) -> u8 {
        self.head[9]
    }
}

/// How long an Opus packet sounds, in samples at 48 kHz: its first byte says the length of a frame and, with the second, how
/// many there are (RFC 6716, section 3.1).
pub fn duration(packet: &[u8]) -> u64 {
    let Some(&toc) = packet.first() else { return 0 };
    let configuration = toc >> 3;
    let frame = match configuration {
        0..12 => [480, 960, 1920, 2880][usize::from(configuration % 4)],
        12..16 => [480, 960][usize::from(configuration % 2)],
        _ => [120, 240, 480, 960][usize::from(configuration % 4)],
    };
    let frames = match toc & 0b11 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| u64::from(count & 0b11_1111)),
    };
    frame * frames
}

/// Reads a whole file.
pub fn read(mut bytes: &[u8]) -> Result<Stream> {
    let mut packets = Vec::new();
    let mut open: Vec<u8> = Vec::new();
    let mut end_granule = 0;
    let mut serial = None;
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(PAGE_HEADER_BYTES).context("its last page is cut off")?;
        ensure!(head.starts_with(b"OggS"), "it is no Ogg file");
        let (lacing, rest) = rest.split_at_checked(usize::from(head[26])).context("its last page is cut off")?;
        let size = lacing.iter().map(|length| usize::from(*length)).sum();
        let (mut body, next) = rest.split_at_checked(size).context("its last page is cut off")?;
        bytes = next;
        let its = &head[14..18];
        if serial.get_or_insert_with(|| its.to_vec()) != its {
            continue;
        }
        let granule = u64::from_le_bytes(head[6..14].try_into()?);
        if granule != NO_GRANULE {
            end_granule = granule;
        }
        if head[5] & CONTINUED == 0 {
            open.clear();
        }
        for length in lacing {
            let (segment, rest) = body.split_at(usize::from(*length));
            body = rest;
            open.extend_from_slice(segment);
            if *length < 255 {
                packets.push(std::mem::take(&mut open));
            }
        }
    }
    ensure!(packets.len() >= 2 && packets[0].starts_with(b"OpusHead") && packets[0].len() >= 19, "it holds no Opus");
    let packets_of_audio = packets.split_off(2);
    Ok(Stream { head: packets.swap_remove(0), packets: packets_of_audio, end_granule })
}

/// Writes a file, packet by packet.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    serial: u32,
    page: u32,
    granule: u64,
    waiting: Vec<Vec<u8>>,
    waiting_samples: u64,
}

impl<W: std::io::Write> Writer<W> {
    /// Begins the file with the stream's `OpusHead`.
    pub fn new(out: W, serial: u32, head: &[u8]) -> Result<Self> {
        let mut writer = Self { out, serial, page: 0, granule: 0, waiting: Vec::new(), waiting_samples: 0 };
        writer.write_page(FIRST, 0, &[head.to_vec()])?;
        let mut tags = b"OpusTags".to_vec();
        let vendor = b"tertulia";
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&0u32.to_le_bytes());
        writer.write_page(0, 0, &[tags])?;
        Ok(writer)
    }

    /// Appends an audio packet.
    pub fn write(&mut self, packet: &[u8]) -> Result<()> {
        let segments: usize = self.waiting.iter().map(|packet| segments(packet)).sum();
        if self.waiting_samples >= PAGE_SAMPLES_MAX || segments + self::segments(packet) > SEGMENTS_MAX {
            self.flush(0)?;
        }
        self.waiting_samples += duration(packet);
        self.waiting.push(packet.to_vec());
        Ok(())
    }

    /// Lets silence of that length, in samples at 48 kHz, pass where packets were lost.
    pub fn skip(&mut self, samples: u64) -> Result<()> {
        self.flush(0)?;
        self.granule += samples;
        Ok(())
    }

    /// Ends the file. The last page carries the mark for it, and is never empty of packets unless the file is.
    pub fn finish(mut self) -> Result<()> {
        self.flush(LAST)?;
        self.out.flush()?;
        Ok(())
    }

    fn flush(&mut self, flags: u8) -> Result<()> {
        let packets = std::mem::take(&mut self.waiting);
        if packets.is_empty() && flags == 0 {
            return Ok(());
        }
        self.granule += std::mem::take(&mut self.waiting_samples);
        self.write_page(flags, self.granule, &packets)
    }

    fn write_page(&mut self, flags: u8, granule: u64, packets: &[Vec<u8>]) -> Result<()> {
        let mut lacing = Vec::new();
        for packet in packets {
            lacing.extend(std::iter::repeat_n(255, packet.len() / 255));
            lacing.push((packet.len() % 255) as u8);
        }
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend_from_slice(&granule.to_le_bytes());
        page.extend_from_slice(&self.serial.to_le_bytes());
        page.extend_from_slice(&self.page.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.push(u8::try_from(lacing.len()).context("a packet is too large for a page")?);
        page.extend_from_slice(&lacing);
        page.extend(packets.iter().flatten());
        let crc = crc(&page);
        page[22..26].copy_from_slice(&crc.to_le_bytes());
        self.page += 1;
        self.out.write_all(&page)?;
        Ok(())
    }
}

/// How many entries of the lacing table a packet takes.
fn segments(packet: &[u8]) -> usize {
    packet.len() / 255 + 1
}

/// CRC-32 with the polynomial 0x04c11db7, not reflected (RFC 3533, section 6).
fn crc(page: &[u8]) -> u32 {
    page.iter().fold(0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}
