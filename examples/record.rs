//! Writes all tracks of a room to IVF and Ogg files that ordinary players play, until they have ended.
//!
//! ```text
//! cargo run                                                 # the relay, in another terminal
//! cargo run --example record -- --out meeting               # meeting-<participant>-<track>.ivf or .ogg
//! cargo run --example publish -- --ivf picture.ivf --ogg sound.ogg
//! ```

#[path = "support/ivf.rs"]
#[allow(dead_code, reason = "the example publish uses the rest")]
mod ivf;
#[path = "support/ogg.rs"]
#[allow(dead_code, reason = "the example publish uses the rest")]
mod ogg;
#[path = "support/relay.rs"]
mod relay;

use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tertulia::client::{Event, RemoteTrack, Room};
use tertulia::wire::{Rational, TrackInfo, TrackMedia};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use relay::Relay;

/// Ticks per second of a frame's timestamp.
const MEDIA_CLOCK: u128 = 90_000;

/// When the time is up, what is still on its way may take this long.
const LAST_FRAMES_TIMEOUT: Duration = Duration::from_secs(2);

/// A wait that means: for ever.
const UNLIMITED_SECONDS: u64 = 365 * 24 * 3600;

#[derive(Debug, Parser)]
#[command(about = "Record the tracks of a room")]
struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// What the others see
    #[arg(long, default_value = "recorder")]
    name: String,
    /// The beginning of the files' names
    #[arg(long, value_name = "PREFIX")]
    out: String,
    /// Stop after so many seconds, whether the tracks have ended or not
    #[arg(long)]
    seconds: Option<u64>,
    /// Stop when so many tracks have come and ended
    #[arg(long, default_value_t = 1)]
    tracks: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let options = arguments.relay.options(&arguments.name).await?;
    let room = Room::connect(arguments.relay.url(), options).await?;
    println!("recording");
    let seconds = arguments.seconds.unwrap_or(UNLIMITED_SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut recordings = JoinSet::new();
    let mut seen = 0;
    let mut ended = 0;
    while ended < seen || seen < arguments.tracks {
        tokio::select! {
            event = room.next_event() => match event {
                Some(Event::TrackSubscribed(track)) => {
                    seen += 1;
                    recordings.spawn(record(track, arguments.out.clone()));
                }
                Some(_) => {}
                None => break,
            },
            Some(finished) = recordings.join_next() => {
                println!("{}", finished??);
                ended += 1;
            }
            () = sleep_until(end) => break,
        }
    }
    room.disconnect().await;
    // The tracks ended with the session; what had come is written.
    let rest =
        timeout(LAST_FRAMES_TIMEOUT, recordings.join_all()).await.context("a file could not be finished in time")?;
    for line in rest {
        println!("{}", line?);
    }
    ensure!(seen > 0, "nothing was published");
    Ok(())
}

/// Writes a track to its file until it ends, and says what was written.
async fn record(track: RemoteTrack, prefix: String) -> Result<String> {
    let name = format!("{prefix}-{}-{}", track.participant, track.track);
    match track.info.media {
        TrackMedia::Video { width, height, frame_rate, .. } => {
            let path = format!("{name}.ivf");
            let fourcc = ivf::Header::fourcc_of(&track.info.codec)?;
            let header = ivf::Header { fourcc, width, height, ticks_per_second: frame_rate };
            let frames = record_video(&track, ivf::Writer::new(create(&path)?, header)?, frame_rate).await?;
            Ok(format!("{path}: {frames} frames"))
        }
        TrackMedia::Audio { .. } => {
            let path = format!("{name}.ogg");
            let writer = ogg::Writer::new(create(&path)?, track.track.0, opus_head(&track.info)?)?;
            let packets = record_audio(&track, writer).await?;
            Ok(format!("{path}: {packets} packets"))
        }
    }
}

fn create(path: &str) -> Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(path).with_context(|| format!("{path} cannot be written"))?))
}

fn opus_head(info: &TrackInfo) -> Result<&[u8]> {
    let is_opus = info.codec == "opus" && info.description.starts_with(b"OpusHead");
    ensure!(is_opus, "{} without an OpusHead does not go into an Ogg file", info.codec);
    Ok(&info.description)
}

async fn record_video(track: &RemoteTrack, mut writer: ivf::Writer<BufWriter<File>>, rate: Rational) -> Result<u64> {
    let mut clock = Clock::default();
    let mut frames = 0;
    while let Some(frame) = track.next_frame().await {
        let ticks = u128::from(clock.since_first(frame.timestamp)) * u128::from(rate.numerator);
        let divisor = MEDIA_CLOCK * u128::from(rate.denominator);
        writer.write(((ticks + divisor / 2) / divisor) as u64, &frame.data)?;
        frames += 1;
    }
    writer.finish()?;
    Ok(frames)
}

async fn record_audio(track: &RemoteTrack, mut writer: ogg::Writer<BufWriter<File>>) -> Result<u64> {
    let mut next = None;
    let mut last_duration = 0;
    let mut packets = 0;
    while let Some(frame) = track.next_frame().await {
        // A lost packet is as long as the one before it.
        let lost = next.map_or(0, |next| frame.number.saturating_sub(next));
        if lost > 0 {
            writer.skip(u64::from(lost) * last_duration)?;
        }
        writer.write(&frame.data)?;
        last_duration = ogg::duration(&frame.data);
        next = frame.number.checked_add(1);
        packets += 1;
    }
    writer.finish()?;
    Ok(packets)
}

/// Makes a clock that does not wrap of one that does.
#[derive(Debug, Default)]
struct Clock {
    last: Option<u32>,
    since_first: u64,
}

impl Clock {
    fn since_first(&mut self, timestamp: u32) -> u64 {
        let last = self.last.replace(timestamp).unwrap_or(timestamp);
        self.since_first += u64::from(timestamp.wrapping_sub(last));
        self.since_first
    }
}
