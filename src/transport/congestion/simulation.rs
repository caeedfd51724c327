//! Flows that share a bottleneck, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::window::Window;

/// A packet, in bytes.
pub const PACKET: u64 = 1200;

/// The step of the time.
const STEP: Duration = Duration::from_micros(500);

/// What an application has waits for 100 ms at most, in steps.
const WAITING_STEPS: usize = 200;

/// How long a receiver waits for more packets before it acknowledges what it has.
const ACK_DELAY: Duration = Duration::from_millis(25);

/// How long a flow waits for a word, besides three round trips: queues of a second are among the networks.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// A network: one queue, one rate, chance.
pub struct Path {
    /// Bits a second, from when on.
    pub rates: Vec<(Duration, f64)>,
    pub queue_bytes: u64,
    /// Share of packets that are lost, and how many in a row.
    pub loss: (f64, u32),
    /// Up to so much more delay on the way, by chance; packets keep their order.
    pub jitter: Duration,
}

pub struct Flow {
    pub control: Control,
    /// The round trip without a queue.
    pub rtt: Duration,
    pub begins: Duration,
    /// Bits a second that the application has, from when on. `None`: as much as passes.
    pub offers: Option<Vec<(Duration, f64)>>,
    /// Bytes that the application has and that were not sent. Media that is late is left out.
    backlog: f64,
    /// What it had in each of the last [`WAITING_STEPS`], and all of that.
    offered: VecDeque<f64>,
    recently: f64,
    /// Whether it leaves as the path is taken to carry it, or as quinn does.
    is_paced: bool,
    /// For how many packets the receiver waits before it acknowledges them.
    acks_of: u32,
    tokens: f64,
    in_flight: VecDeque<Packet>,
    next: u64,
    srtt: Duration,
    unacked: u32,
    /// When the last one arrived: they keep their order.
    arrived: Duration,
    /// When what has arrived is acknowledged at the latest.
    ack_due: Duration,
    /// How long the last acknowledgement had waited.
    waited: Duration,
    heard: Duration,
    pub log: Vec<Tenth>,
}

/// What a flow did in a tenth of a second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tenth {
    pub sent_bytes: u64,
    pub delivered_bytes: u64,
    /// The longest that a packet waited in the queue.
    pub queue_ms: f64,
    /// Whether the path was taken to carry no more at its end.
    pub is_full: bool,
}

pub enum Control {
    Media(Box<Window>),
    Cubic(Cubic),
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    number: u64,
    sent: Duration,
    bytes: u64,
    /// When its acknowledgement is here. `None`: it was lost.
    acked: Option<Duration>,
    /// How long that waited at the receiver.
    waited: Duration,
}

struct Queued {
    flow: usize,
    number: u64,
    bytes: u64,
    came: Duration,
}

/// TCP's usual control (RFC 9438), without fast convergence.
pub struct Cubic {
    window: f64,
    most: f64,
    threshold: f64,
    epoch: Option<Duration>,
    recovered: Duration,
}

impl Cubic {
    pub fn new() -> Self {
        Self { window: 10.0, most: 0.0, threshold: f64::INFINITY, epoch: None, recovered: Duration::ZERO }
    }

    fn acked(&mut self, now: Duration, rtt: Duration) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let epoch = *self.epoch.get_or_insert(now);
        let k = (self.most * 0.3 / 0.4).cbrt();
        let t = (now - epoch + rtt).as_secs_f64();
        let wanted = 0.4 * (t - k).powi(3) + self.most;
        let friendly = self.most * 0.7 + 0.53 * (now - epoch).as_secs_f64() / rtt.as_secs_f64();
        let wanted = wanted.max(friendly).min(self.window * 1.5);
        self.window += ((wanted - self.window) / self.window).max(0.0);
    }

    fn lost(&mut self, now: Duration, sent: Duration) {
        if sent < self.recovered {
            return;
        }
        self.recovered = now;
        self.most = self.window;
        self.window = (self.window * 0.7).max(2.0);
        self.threshold = self.window;
        self.epoch = None;
    }
}

impl Flow {
    pub fn media(rtt_ms: u64) -> Self {
        Self::new(Control::Media(Box::new(Window::new(256 * 1024, PACKET))), rtt_ms)
    }

    pub fn cubic(rtt_ms: u64) -> Self {
        Self::new(Control::Cubic(Cubic::new()), rtt_ms)
    }

    fn new(control: Control, rtt_ms: u64) -> Self {
        let rtt = Duration::from_millis(rtt_ms);
        let (begins, in_flight, log) = (Duration::ZERO, VecDeque::new(), Vec::new());
        let (srtt, unacked) = (Duration::from_millis(100), 0);
        let [heard, arrived, ack_due, waited] = [Duration::ZERO; 4];
        let (offers, backlog, tokens, next) = (None, 0.0, 0.0, 0);
        let (is_paced, acks_of) = (false, 2);
        Self {
            control,
            rtt,
            begins,
            offers,
            backlog,
            offered: VecDeque::new(),
            recently: 0.0,
            is_paced,
            acks_of,
            tokens,
            in_flight,
            next,
            srtt,
            unacked,
            arrived,
            ack_due,
            waited,
            heard,
            log,
        }
    }

    /// One whose application has so many bits a second.
    pub fn offering(mut self, rate: f64) -> Self {
        self.offers = Some(vec![(Duration::ZERO, rate)]);
        self
    }

    /// One that leaves as media does: as the path is taken to carry it.
    pub fn paced(mut self) -> Self {
        self.is_paced = true;
        self
    }

    /// One whose receiver acknowledges so many packets at a time, if they come in time.
    pub fn acknowledged_by(mut self, packets: u32) -> Self {
        self.acks_of = packets;
        self
    }

    /// One that begins later.
    pub fn beginning_at(mut self, second: u64) -> Self {
        self.begins = Duration::from_secs(second);
        self
    }

    pub fn window(&self) -> u64 {
        match &self.control {
            Control::Media(window) => window.bytes(),
            Control::Cubic(cubic) => (cubic.window * PACKET as f64) as u64,
        }
    }

    /// The share of what was sent between these seconds that did not arrive.
    pub fn loss(&self, from: usize, to: usize) -> f64 {
        let sent: u64 = self.log[from * 10..to * 10].iter().map(|tenth| tenth.sent_bytes).sum();
        1.0 - self.rate(from, to) / 8.0 * (to - from) as f64 / sent as f64
    }

    /// Bits a second that arrived between these seconds.
    pub fn rate(&self, from: usize, to: usize) -> f64 {
        let bytes: u64 = self.log[from * 10..to * 10].iter().map(|tenth| tenth.delivered_bytes).sum();
        bytes as f64 * 8.0 / (to - from) as f64
    }

    /// The longest time in the queue between these seconds, in milliseconds.
    pub fn queue_ms(&self, from: usize, to: usize) -> f64 {
        self.log[from * 10..to * 10].iter().fold(0.0, |most, tenth| most.max(tenth.queue_ms))
    }

    /// Whether the path is taken to carry no more than is sent.
    fn is_full(&self) -> bool {
        matches!(&self.control, Control::Media(window) if window.is_full())
    }

    fn flying(&self) -> u64 {
        self.in_flight.iter().map(|packet| packet.bytes).sum()
    }

    /// Bytes a second: 1.25 windows a round trip, as quinn does, or what the path is taken to carry.
    fn pace(&self) -> f64 {
        let quinn = self.window() as f64 * 1.25 / self.srtt.as_secs_f64();
        match &self.control {
            Control::Media(window) if self.is_paced => window.rate().map_or(quinn, |rate| rate as f64),
            _ => quinn,
        }
    }

    /// Sends what window and pace let through.
    fn send(&mut self, now: Duration) -> Vec<Packet> {
        let mut sent = Vec::new();
        if now < self.begins {
            return sent;
        }
        match &self.offers {
            None => self.backlog = f64::INFINITY,
            Some(offers) => {
                let offered = at(offers, now) / 8.0 * STEP.as_secs_f64();
                self.offered.push_back(offered);
                self.recently += offered;
                if self.offered.len() > WAITING_STEPS {
                    self.recently -= self.offered.pop_front().unwrap_or_default();
                }
                self.backlog = (self.backlog + offered).min(self.recently.max(PACKET as f64));
            }
        }
        let window = self.window();
        let burst = if self.is_paced { 2.0 } else { 10.0 };
        self.tokens = (self.tokens + self.pace() * STEP.as_secs_f64()).min(burst * PACKET as f64);
        let mut flying = self.flying();
        while self.backlog >= PACKET as f64 && self.tokens >= PACKET as f64 && flying + PACKET < window {
            self.backlog -= PACKET as f64;
            self.tokens -= PACKET as f64;
            flying += PACKET;
            let packet = Packet { number: self.next, sent: now, bytes: PACKET, acked: None, waited: Duration::ZERO };
            self.next += 1;
            self.in_flight.push_back(packet);
            sent.push(packet);
            if let Control::Media(window) = &mut self.control {
                window.sent(PACKET);
            }
        }
        sent
    }

    /// Every second packet is acknowledged at once, or every one of as many as are waited for; others late.
    fn arrived(&mut self, number: u64, at: Duration) {
        let at = at.max(self.arrived);
        self.arrived = at;
        if self.unacked == 0 || self.ack_due < at {
            (self.unacked, self.ack_due) = (0, at + ACK_DELAY);
        }
        self.unacked += 1;
        let is_enough = self.unacked == self.acks_of;
        let acked = if is_enough { at } else { self.ack_due };
        for packet in &mut self.in_flight {
            if packet.number == number {
                (packet.acked, packet.waited) = (Some(acked), acked - at);
            } else if packet.number < number && is_enough {
                packet.acked = packet.acked.map(|before| before.min(at));
            }
        }
        if is_enough {
            self.unacked = 0;
        }
    }

    fn acknowledge(&mut self, now: Duration) {
        let is_here = |packet: &Packet| packet.acked.is_some_and(|at| at <= now);
        let acked: Vec<_> = self.in_flight.iter().copied().filter(is_here).collect();
        let Some(newest) = acked.last().copied() else {
            self.probe(now);
            return;
        };
        self.heard = now;
        self.in_flight.retain(|packet| !is_here(packet));
        self.srtt = (self.srtt * 7 + (now - newest.sent)) / 8;
        let flying = self.flying();
        match &mut self.control {
            Control::Media(window) => {
                window.waited(now, std::mem::replace(&mut self.waited, newest.waited));
                for packet in &acked {
                    window.acked(packet.sent, packet.bytes);
                }
                window.acked_all(now, flying);
            }
            Control::Cubic(cubic) => acked.iter().for_each(|_| cubic.acked(now, self.srtt)),
        }
        let is_lost = |packet: &Packet| packet.acked.is_none() && packet.number + 3 <= newest.number;
        let lost: Vec<_> = self.in_flight.iter().copied().filter(is_lost).collect();
        self.in_flight.retain(|packet| !is_lost(packet));
        if let Some(last) = lost.last() {
            match &mut self.control {
                Control::Media(window) => window.lost(lost.iter().map(|packet| packet.bytes).sum()),
                Control::Cubic(cubic) => cubic.lost(now, last.sent),
            }
        }
    }
}

impl Flow {
    /// After a while without a word, everything is taken to be lost.
    fn probe(&mut self, now: Duration) {
        let newest = self.in_flight.back().map_or(now, |packet| packet.sent);
        if now < newest.max(self.heard) + self.srtt * 3 + PROBE_TIME || self.in_flight.is_empty() {
            return;
        }
        let lost: u64 = self.in_flight.iter().filter(|packet| packet.acked.is_none()).map(|packet| packet.bytes).sum();
        self.in_flight.retain(|packet| packet.acked.is_some());
        match &mut self.control {
            Control::Media(window) => window.lost(lost),
            Control::Cubic(cubic) => cubic.lost(now, newest),
        }
    }
}

/// Lets these flows run for so many seconds.
pub fn run(path: &Path, mut flows: Vec<Flow>, seconds: u64, seed: u64) -> Vec<Flow> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut queue: VecDeque<Queued> = VecDeque::new();
    let (mut queued, mut credit, mut to_lose) = (0, 0.0, 0);
    let steps = seconds * 1_000_000 / STEP.as_micros() as u64;
    let steps_per_entry = 100_000 / STEP.as_micros() as u64;
    for step in 0..steps {
        let now = STEP * step as u32;
        if step % steps_per_entry == 0 {
            for flow in &mut flows {
                flow.log.push(Tenth::default());
            }
        }
        for (index, flow) in flows.iter_mut().enumerate() {
            flow.acknowledge(now);
            flow.log.last_mut().unwrap().is_full = flow.is_full();
            for packet in flow.send(now) {
                flow.log.last_mut().unwrap().sent_bytes += packet.bytes;
                if queued + packet.bytes <= path.queue_bytes {
                    queued += packet.bytes;
                    queue.push_back(Queued { flow: index, number: packet.number, bytes: packet.bytes, came: now });
                }
            }
        }
        credit += at(&path.rates, now) / 8.0 * STEP.as_secs_f64();
        while queue.front().is_some_and(|head| head.bytes as f64 <= credit) {
            let Queued { flow, number, bytes, came } = queue.pop_front().unwrap();
            credit -= bytes as f64;
            queued -= bytes;
            let (share, row) = path.loss;
            if to_lose == 0 && random.random::<f64>() < share / f64::from(row) {
                to_lose = row;
            }
            if to_lose > 0 {
                to_lose -= 1;
                continue;
            }
            let flow = &mut flows[flow];
            let entry = flow.log.last_mut().unwrap();
            entry.delivered_bytes += bytes;
            entry.queue_ms = entry.queue_ms.max((now - came).as_secs_f64() * 1e3);
            flow.arrived(number, now + flow.rtt + path.jitter.mul_f64(random.random()));
        }
        if queue.is_empty() {
            credit = credit.min(PACKET as f64);
        }
    }
    flows
}

fn at(values: &[(Duration, f64)], now: Duration) -> f64 {
    values.iter().rev().find(|(from, _)| *from <= now).map_or(0.0, |(_, value)| *value)
}
