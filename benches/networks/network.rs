use std::time::Duration;

/// A network between the relay and a subscriber, and what is sent through it.
pub struct Network {
    pub name: &'static str,
    /// What it does, see `tests/support/impair/script.rs`.
    pub script: &'static str,
    /// Bits a second of video; audio comes on top, 48 kbit/s.
    pub video_rate: u64,
    /// Whether video has layers, and there is chat: where more is offered than passes.
    pub has_layers: bool,
    pub seconds: u64,
    pub targets: Targets,
}

/// What the figures of a network may be at most, where there is a target.
pub struct Targets {
    pub audio_p99_ms: Option<f64>,
    pub audio_left_out: Option<f64>,
    pub without_audio_ms: Option<f64>,
    pub chat_p99_ms: Option<f64>,
    pub queue_p95_ms: Option<f64>,
    pub cut_frames: Option<f64>,
    pub full_again_s: Option<f64>,
}

const NO_TARGETS: Targets = Targets {
    audio_p99_ms: None,
    audio_left_out: None,
    without_audio_ms: None,
    chat_p99_ms: None,
    queue_p95_ms: None,
    cut_frames: None,
    full_again_s: None,
};

pub const ALL: [Network; 6] = [
    Network {
        name: "2 % loss",
        script: "delay 30ms\ndown loss 2%",
        video_rate: 1_000_000,
        has_layers: false,
        seconds: 8,
        targets: NO_TARGETS,
    },
    Network {
        name: "5 % loss",
        script: "delay 30ms\ndown loss 5%",
        video_rate: 1_000_000,
        has_layers: false,
        seconds: 8,
        targets: NO_TARGETS,
    },
    Network {
        name: "5 % in bursts of 3",
        script: "delay 30ms\ndown burst 5% 3",
        video_rate: 1_000_000,
        has_layers: false,
        seconds: 8,
        targets: NO_TARGETS,
    },
    Network {
        name: "600 kbit/s, 200 ms of queue",
        script: "delay 30ms\ndown rate 600kbit queue 200ms",
        video_rate: 1_500_000,
        has_layers: true,
        seconds: 12,
        targets: Targets {
            audio_p99_ms: Some(150.0),
            audio_left_out: Some(0.0),
            chat_p99_ms: Some(300.0),
            cut_frames: Some(0.0),
            ..NO_TARGETS
        },
    },
    Network {
        name: "600 kbit/s, 1 s of queue",
        script: "delay 30ms\ndown rate 600kbit queue 1s",
        video_rate: 1_500_000,
        has_layers: true,
        seconds: 12,
        targets: Targets { queue_p95_ms: Some(100.0), ..NO_TARGETS },
    },
    FALLING,
];

/// When the bandwidth returns in [`FALLING`].
pub const RETURN: Duration = Duration::from_secs(12);

/// The one that is drawn.
pub const FALLING: Network = Network {
    name: "falling from 3 Mbit/s to 500 kbit/s",
    script: "delay 30ms\ndown rate 3mbit queue 75kb\nat 5s down rate 500kbit\nat 12s down rate 3mbit",
    video_rate: 1_500_000,
    has_layers: true,
    seconds: 20,
    targets: Targets { without_audio_ms: Some(200.0), full_again_s: Some(5.0), ..NO_TARGETS },
};
