//! Publishes an IVF file with VP8, VP9 or AV1 and an Ogg file with Opus, in real time.
//!
//! ```text
//! ffmpeg -f lavfi -i testsrc=size=640x360:rate=30 -t 10 -c:v libvpx -b:v 800k picture.ivf
//! ffmpeg -f lavfi -i sine=440 -t 10 -c:a libopus sound.ogg
//! cargo run                                                 # the relay, in another terminal
//! cargo run --example publish -- --ivf picture.ivf --ogg sound.ogg --loop
//! ```

#[path = "support/ivf.rs"]
#[allow(dead_code, reason = "the example record uses the rest")]
mod ivf;
#[path = "support/ogg.rs"]
#[allow(dead_code, reason = "the example record uses the rest")]
mod ogg;
#[path = "support/relay.rs"]
mod relay;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use tertulia::client::{LocalTrack, Options, Room};
use tertulia::media::Frame;
use tertulia::wire::{TrackInfo, TrackMedia, TrackSource};
use tokio::time::{Instant, sleep_until};

use relay::Relay;

/// Ticks per second of a frame's timestamp.
const MEDIA_CLOCK: u128 = 90_000;

/// Samples per second of Opus, whatever it was made from.
const OPUS_CLOCK: u128 = 48_000;

#[derive(Debug, Parser)]
#[command(about = "Publish media files in real time")]
struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// What the others see
    #[arg(long, default_value = "publisher")]
    name: String,
    /// Video: VP8, VP9 or AV1
    #[arg(long, required_unless_present = "ogg")]
    ivf: Option<PathBuf>,
    /// Audio: Opus
    #[arg(long)]
    ogg: Option<PathBuf>,
    /// Begin again when the files end
    #[arg(long = "loop")]
    repeat: bool,
    /// Begin only when so many others are in the room
    #[arg(long, default_value_t = 0)]
    wait_for: usize,
}

/// A file, ready to be sent.
struct Media {
    info: TrackInfo,
    samples: Vec<Sample>,
    /// How long it takes before it begins again.
    length: Duration,
}

/// One frame of a file.
struct Sample {
    at: Duration,
    keyframe: bool,
    data: Bytes,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let video = arguments.ivf.as_deref().map(read_video).transpose()?;
    let audio = arguments.ogg.as_deref().map(read_audio).transpose()?;
    let options = Options { auto_subscribe: false, ..arguments.relay.options(&arguments.name).await? };
    let room = Room::connect(arguments.relay.url(), options).await?;
    println!("joined by {} as participant {}", room.carrier(), room.participant());
    while room.remote_participants().len() < arguments.wait_for {
        room.next_event().await.context("the session ended before the others came")?;
    }
    let start = Instant::now();
    tokio::try_join!(play(&room, video, start, arguments.repeat), play(&room, audio, start, arguments.repeat))?;
    room.disconnect().await;
    Ok(())
}

/// Sends a file, if there is one. Each frame has its own moment after `start`, so that lateness does not add up.
async fn play(room: &Room, media: Option<Media>, start: Instant, repeat: bool) -> Result<()> {
    let Some(media) = media else { return Ok(()) };
    let track = room.publish(media.info.clone()).await?;
    println!("publishing {} as track {}", media.info.codec, track.track());
    let mut number = 0;
    let mut round = Duration::ZERO;
    loop {
        send_once(&track, &media, start, round, &mut number).await?;
        round += media.length;
        if !repeat {
            break;
        }
    }
    sleep_until(start + round).await;
    println!("sent {number} frames of {}, left out {} datagrams", media.info.codec, track.datagrams_dropped());
    track.unpublish().await?;
    Ok(())
}

async fn send_once(track: &LocalTrack, media: &Media, start: Instant, round: Duration, number: &mut u32) -> Result<()> {
    for sample in &media.samples {
        let at = round + sample.at;
        sleep_until(start + at).await;
        let frame = Frame {
            number: *number,
            depends_on_distance: u8::from(!sample.keyframe),
            keyframe: sample.keyframe,
            // The clock of the wire wraps.
            timestamp: rounded(at.as_nanos() * MEDIA_CLOCK, 1_000_000_000) as u32,
            data: sample.data.clone(),
            ..Frame::default()
        };
        track.send_frame(frame).await?;
        *number += 1;
    }
    Ok(())
}

fn rounded(dividend: u128, divisor: u128) -> u128 {
    (dividend + divisor / 2) / divisor
}

fn read_video(path: &Path) -> Result<Media> {
    let (header, frames) = ivf::read(&read(path)?).with_context(|| path.display().to_string())?;
    let rate = header.ticks_per_second;
    let (numerator, denominator) = (u128::from(rate.numerator), u128::from(rate.denominator));
    let at = |ticks: u64| Duration::from_nanos((u128::from(ticks) * denominator * 1_000_000_000 / numerator) as u64);
    let first = frames.first().with_context(|| format!("{} holds no frame", path.display()))?.timestamp;
    let sample = |frame: ivf::Frame| Sample {
        at: at(frame.timestamp.saturating_sub(first)),
        keyframe: header.is_keyframe(&frame.data),
        data: frame.data.into(),
    };
    let samples: Vec<_> = frames.into_iter().map(sample).collect();
    ensure!(samples[0].keyframe, "{} does not begin with a keyframe", path.display());
    let length = samples.last().map_or(Duration::ZERO, |last| last.at + at(1));
    let media = TrackMedia::Video {
        width: header.width,
        height: header.height,
        frame_rate: rate,
        temporal_layers: 1,
        spatial_layers: 1,
    };
    let info = TrackInfo { source: TrackSource::Camera, codec: header.codec()?.into(), media, description: Vec::new() };
    Ok(Media { info, samples, length })
}

fn read_audio(path: &Path) -> Result<Media> {
    let stream = ogg::read(&read(path)?).with_context(|| path.display().to_string())?;
    let at = |granule: u64| Duration::from_nanos((u128::from(granule) * 1_000_000_000 / OPUS_CLOCK) as u64);
    let media = TrackMedia::Audio { sample_rate: OPUS_CLOCK as u32, channels: stream.channels() };
    let info = TrackInfo {
        source: TrackSource::Microphone,
        codec: "opus".to_owned(),
        media,
        description: stream.head.clone(),
    };
    let mut granule = 0;
    let mut samples = Vec::new();
    for packet in stream.packets {
        let duration = ogg::duration(&packet);
        samples.push(Sample { at: at(granule), keyframe: true, data: packet.into() });
        granule += duration;
    }
    Ok(Media { info, samples, length: at(granule) })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}
