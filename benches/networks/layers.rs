use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tertulia::client::LocalTrack;
use tertulia::media::Frame;
use tertulia::wire::{Rational, TrackInfo, TrackMedia, TrackSource};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::meeting::{Frames, Sent};

pub const FRAME_TIME: Duration = Duration::from_nanos(1_000_000_000 / 30);

/// The largest rendition and the highest temporal layer.
pub const HIGHEST: (u8, u8) = (2, 2);

/// What each rendition has of the rate of the largest one, in percent.
const SHARES: [u64; 3] = [8, 27, 100];

/// A keyframe is so many times as large as the mean.
const KEYFRAME: u64 = 5;

/// Four frames in a row: temporal layer, distance, and size in percent of the mean. The base layer has half of all bytes.
const PATTERN: [(u8, u8, u64); 4] = [(0, 4, 200), (2, 1, 60), (1, 2, 80), (2, 1, 60)];

pub fn picture() -> TrackInfo {
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 1280, height: 720, frame_rate, temporal_layers: 3, spatial_layers: 3 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: Vec::new() }
}

/// What the relay said that somebody takes, and of which renditions it asked for a keyframe.
#[derive(Debug, Default)]
pub struct Wanted {
    pub spatial_layers: AtomicU8,
    pub keyframes: AtomicU8,
}

/// Encoders of three renditions, as far as somebody takes them.
#[derive(Debug, Default)]
pub struct Encoders {
    encoders: [Encoder; 3],
}

#[derive(Debug, Default)]
struct Encoder {
    number: u32,
    since_keyframe: usize,
    is_on: bool,
}

impl Encoders {
    /// The frames of one moment, which their timestamps tell.
    pub fn frames(&mut self, moment: u32, rate: u64, wanted: &Wanted) -> Vec<Frame> {
        let takers = wanted.spatial_layers.load(Ordering::Relaxed);
        let keyframes = wanted.keyframes.swap(0, Ordering::Relaxed);
        let encoders = (0..).zip(SHARES).zip(&mut self.encoders);
        let frames = encoders.filter_map(|((layer, share), encoder)| {
            let bit = 1 << layer;
            encoder.frame(layer, moment, rate * share / 100, takers & bit != 0, keyframes & bit != 0)
        });
        frames.collect()
    }
}

impl Encoder {
    fn frame(&mut self, layer: u8, moment: u32, rate: u64, is_taken: bool, is_keyframe_wanted: bool) -> Option<Frame> {
        let began = !std::mem::replace(&mut self.is_on, is_taken);
        if !is_taken {
            return None;
        }
        let keyframe = began || is_keyframe_wanted;
        self.since_keyframe = if keyframe { 0 } else { self.since_keyframe + 1 };
        let (temporal_layer, distance, percent) = PATTERN[self.since_keyframe % 4];
        let mean = rate / 8 / 30;
        let bytes = if keyframe { mean * KEYFRAME } else { mean * percent / 100 };
        let depends_on_distance = if keyframe { 0 } else { distance };
        let number = self.number;
        self.number += 1;
        let data = Bytes::from(vec![0; bytes as usize]);
        let (spatial_layer, timestamp) = (layer, moment);
        let frame = Frame {
            number,
            depends_on_distance,
            keyframe,
            temporal_layer,
            spatial_layer,
            timestamp,
            data,
            ..Frame::default()
        };
        Some(frame)
    }
}

/// Sends until the end what somebody takes.
pub async fn send(track: &LocalTrack, rate: u64, wanted: &Wanted, begin: Instant, end: Instant, frames: &Frames) {
    let mut due = interval(FRAME_TIME);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut encoders = Encoders::default();
    for moment in 0.. {
        due.tick().await;
        if Instant::now() >= end {
            return;
        }
        note(frames, begin);
        for frame in encoders.frames(moment, rate, wanted) {
            if track.send_frame(frame).await.is_err() {
                return;
            }
        }
    }
}

pub fn note(frames: &Mutex<Vec<Sent>>, begin: Instant) {
    frames.lock().expect("nobody panics with it").push(Sent { at: begin.elapsed(), took: None });
}

/// Keeps what the relay wants of the encoders.
pub async fn heed_keyframes(track: &LocalTrack, wanted: &Wanted) {
    while let Some(layer) = track.next_keyframe_request().await {
        wanted.keyframes.fetch_or(1 << layer, Ordering::Relaxed);
    }
}
