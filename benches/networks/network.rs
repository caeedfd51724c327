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
}

pub const ALL: [Network; 6] = [
    Network {
        name: "2 % loss",
        script: "delay 30ms\ndown loss 2%",
        video_rate: 1_000_000,
        has_layers: false,
        seconds: 8,
    },
    Network {
        name: "5 % loss",
        script: "delay 30ms\ndown loss 5%",
        video_rate: 1_000_000,
        has_layers: false,
        seconds: 8,
    },
    Network {
        name: "5 % in bursts of 3",
        script: "delay 30ms\ndown burst 5% 3",
        video_rate: 1_000_000,
        has_layers: false,
        seconds: 8,
    },
    Network {
        name: "600 kbit/s, 200 ms of queue",
        script: "delay 30ms\ndown rate 600kbit queue 200ms",
        video_rate: 1_500_000,
        has_layers: true,
        seconds: 12,
    },
    Network {
        name: "600 kbit/s, 1 s of queue",
        script: "delay 30ms\ndown rate 600kbit queue 1s",
        video_rate: 1_500_000,
        has_layers: true,
        seconds: 12,
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
};
