use std::time::Duration;

/// What the network does in one direction. Shares are from 0 to 1, each for one packet by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Time on the way.
    pub delay: Duration,
    /// Up to so much more, by chance. Packets keep their order: one waits for the one before it.
    pub jitter: Duration,
    /// Share of packets that are lost.
    pub loss: f64,
    /// Losses that come together.
    pub bursts: Option<Bursts>,
    /// Share of packets that are overtaken, and by how much they are late.
    pub reorder: (f64, Duration),
    /// Share of packets that come twice.
    pub duplicate: f64,
    /// Share of packets in which a bit is wrong.
    pub change: f64,
    /// Bits a second that pass the bottleneck. `None`: there is none.
    pub rate: Option<u64>,
    /// What may wait for the bottleneck. What comes to a full queue is lost.
    pub queue: Queue,
    /// The longest UDP payload that passes, in bytes; nobody is told.
    pub bytes_max: usize,
    /// UDP packets vanish.
    pub blocks_udp: bool,
    /// TCP stands still.
    pub blocks_tcp: bool,
    /// TCP connections are reset, those there are and new ones.
    pub cuts_tcp: bool,
}

/// Losses as Gilbert's model has them: a good state in which nothing is lost and a bad one in which everything is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bursts {
    /// Share of packets that are lost, over time.
    pub share: f64,
    /// Packets in a row that are lost, on average.
    pub length: f64,
}

/// The room of a queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Queue {
    Bytes(usize),
    /// As much as passes in this time, at the rate of the moment.
    Time(Duration),
}

impl Default for Conditions {
    /// A network that does nothing but carry.
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            bursts: None,
            reorder: (0.0, Duration::ZERO),
            duplicate: 0.0,
            change: 0.0,
            rate: None,
            queue: Queue::Time(Duration::from_millis(200)),
            bytes_max: usize::MAX,
            blocks_udp: false,
            blocks_tcp: false,
            cuts_tcp: false,
        }
    }
}

impl Conditions {
    /// How long the bottleneck needs for so many bytes.
    pub fn sending_time(&self, bytes: usize) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64))
    }

    /// What may wait, in bytes.
    pub fn queue_bytes(&self) -> usize {
        match (self.queue, self.rate) {
            (_, None) => usize::MAX,
            (Queue::Bytes(bytes), _) => bytes,
            (Queue::Time(time), Some(rate)) => (time.as_secs_f64() * rate as f64 / 8.0) as usize,
        }
    }
}
