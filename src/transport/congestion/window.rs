use std::time::Duration;

use super::round::{LeastRtt, Round, Standing};

/// The smallest window, in packets: acknowledgements keep coming.
const PACKETS_MIN: u64 = 3;

/// A shorter round trip does not leave the house. There, a delay is mostly that of processors which are busy, and a smaller window
/// would not end it.
const NEAR_RTT: Duration = Duration::from_millis(2);

/// What delay alone leaves of a window on such a path, in bytes: 100 ms of 2.6 Mbit/s.
const NEAR_BYTES: u64 = 32 * 1024;

/// The delay that a flow of [`TARGET_RATE`] wants to make.
const TARGET: Duration = Duration::from_millis(36);

/// Bytes a second: 300 kbit/s.
const TARGET_RATE: f64 = 37_500.0;

/// Bounds of the delay that a flow wants to make: below, jitter is larger; above, people notice.
const TARGET_MIN: Duration = Duration::from_millis(10);
const TARGET_MAX: Duration = Duration::from_millis(60);

/// A round trip beyond this counts as this where the window grows: paths with long ones are to grow in seconds too.
const GROWTH_RTT_MAX: Duration = Duration::from_millis(100);

/// How much later the end of a burst may be than the target, when the window grows: as much as an acknowledgement that comes late
/// by chance.
const BURST_DELAY: Duration = Duration::from_millis(15);

/// Over how many rows of acknowledgements their wait is averaged.
const WAITS: u32 = 8;

/// The longest that one is believed to have waited: twice of what it may wait for others.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How long it is remembered that a queue stood.
const LIMITED_TIME: Duration = Duration::from_secs(10);

/// For how long it counts at least that the path took no more, in rounds and as time: where the window is as it should be, the delay is
/// above its target in every second or third round only, and where a packet takes longer than the round trip, more seldom.
const FULL_ROUNDS: u32 = 4;
const FULL_TIME: Duration = Duration::from_millis(500);

/// How much the window grows in a round, at most.
const GROWTH_MAX: f64 = 1.5;

/// More delay than this, and than twice the target, is more than flows of this kind make: the path became slower, or
/// someone else fills its queue.
const CROWDED: Duration = Duration::from_millis(60);

/// How long the delay stays although the window was cut, until someone else is taken to fill the queue.
const CROWDED_TIME: Duration = Duration::from_secs(1);
const CROWDED_ROUNDS: u32 = 4;

/// While that is being found out, the window is cut to no less than this in a round.
const CROWDED_CUT: f64 = 0.7;

/// What a flow takes back of its rate when someone else fills the queue.
const RATE_KEPT: f64 = 0.9;

/// How much of that rate is remembered from round to round.
const FREE_RATE_DECAY: f64 = 0.98;

/// For how long it is remembered that someone else filled the queue, when it runs empty.
const RIVAL_TIME: Duration = Duration::from_secs(10);

/// What a round costs in which the queue did not grow: whoever fills it has let go, or is of this kind.
const COMPETING_DECAY: f64 = 0.98;

/// What a round with losses costs then, and their share from which on they count. Cubic's cost is 0.7 (RFC 9438).
const COMPETING_CUT: f64 = 0.8;
const COMPETING_LOSS_SHARE: f64 = 0.1;

/// After how long a flow takes its part again, at first and at most, if the queue is still full.
const COMPETING_TIME: Duration = Duration::from_secs(4);
const COMPETING_TIME_MAX: Duration = Duration::from_secs(16);

/// A larger share of losses comes from a queue that is too short to make a delay. Below, losses say nothing.
const LOSS_SHARE_MAX: f64 = 0.15;

/// Bursts of losses come to such a share as well, once in a while. Where there is no delay either, it has to be larger than this, or
/// has to last.
const LOSS_SHARE_FLOOD: f64 = 0.3;

/// Over how much it is measured.
const LOSS_TIME: Duration = Duration::from_secs(1);
const LOSS_PACKETS_MIN: u64 = 40;

/// What such losses cost, at least as much as they are, and for how long the window then does not grow.
const LOSS_CUT: f64 = 0.8;
const LOSS_PATIENCE: Duration = Duration::from_secs(2);

/// What is kept of the window while the queue is emptied to measure the path without it.
const DRAIN: f64 = 0.6;
const DRAIN_ROUNDS: u32 = 2;

/// How many bytes may be in flight. Time counts from any beginning.
#[derive(Debug, Clone)]
pub struct Window {
    bytes: u64,
    packet_bytes: u64,
    in_flight: u64,
    least_rtt: LeastRtt,
    /// Whether a round trip was ever so short that the path does not leave the house.
    is_near: bool,
    standing: Standing,
    round: Round,
    /// The most that was in flight in the round before: what made the delay that was measured in this one.
    used_before: u64,
    /// How many bytes a second left the flight in that round.
    rate_before: f64,
    /// When the queue last stood for longer than is wanted.
    queue_stood: Option<Duration>,
    /// Whether that was of late.
    is_limited: bool,
    /// For how many rounds it still counts that the path took no more, and until when at least.
    full_rounds: u32,
    full_until: Duration,
    is_full: bool,
    /// The last that was measured.
    latest_rtt: Duration,
    /// The same as long as it is not known how long the acknowledgement had waited.
    unsettled: Option<Unsettled>,
    /// How long acknowledgements wait on the other side after the newest packet that they are of, on average.
    mean_wait: Duration,
    /// The same after any packet: what has arrived counts as in flight for so long.
    mean_held: Duration,
    /// The packets that were just acknowledged.
    row: Option<Row>,
    state: State,
    /// When someone else was last seen to fill the queue.
    rival_seen: Option<Duration>,
    /// When the queue last drained while that was being found out, and after how many rounds.
    suspected: Option<(Duration, u32)>,
    /// Bytes a second, the most of late while nobody else filled the queue.
    free_rate: f64,
    losses: Losses,
    /// Until when the window does not grow.
    patient_until: Duration,
    /// The window to come back to, and in how many rounds.
    drained: Option<(u64, u32)>,
    target: Duration,
}

/// A round trip that is not known without the wait of its acknowledgement yet.
#[derive(Debug, Clone, Copy)]
struct Unsettled {
    at: Duration,
    rtt: Duration,
    /// That of its [`Row`].
    lead: Duration,
}

/// Packets that are acknowledged together, from the oldest to the newest.
#[derive(Debug, Clone, Copy)]
struct Row {
    newest_sent: Duration,
    bytes: u64,
    /// By how many seconds each of their bytes was sent before the newest packet, added up.
    lead: f64,
}

impl Row {
    fn add(&mut self, sent: Duration, bytes: u64) {
        self.lead += sent.saturating_sub(self.newest_sent).as_secs_f64() * self.bytes as f64;
        (self.newest_sent, self.bytes) = (sent, self.bytes + bytes);
    }

    /// How long before the newest packet they were sent, on average.
    fn lead(&self) -> Duration {
        Duration::from_secs_f64(self.lead / self.bytes.max(1) as f64)
    }
}

/// Whose the queue is.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Nobody's, or flows' of this kind.
    Free,
    /// There is more of it than flows of this kind make. Draining it shows whether it is this flow's.
    Crowded { since: Duration, rounds: u32, delay: Duration },
    /// Another kind of flow keeps it full: who yields gets nothing.
    Competing { delay: Duration, again_at: Duration, time: Duration },
}

#[derive(Debug, Clone, Copy, Default)]
struct Losses {
    since: Duration,
    acked_bytes: u64,
    lost_bytes: u64,
    /// The share when it was measured last.
    share_before: f64,
}

impl Window {
    /// A window of so many bytes, for packets of so many.
    pub fn new(bytes: u64, packet_bytes: u64) -> Self {
        Self {
            bytes,
            packet_bytes,
            in_flight: 0,
            least_rtt: LeastRtt::default(),
            is_near: false,
            standing: Standing::default(),
            round: Round::new(Duration::ZERO, 0),
            used_before: 0,
            rate_before: 0.0,
            queue_stood: None,
            is_limited: false,
            full_rounds: 0,
            full_until: Duration::ZERO,
            is_full: false,
            latest_rtt: Duration::ZERO,
            unsettled: None,
            mean_wait: Duration::ZERO,
            mean_held: Duration::ZERO,
            row: None,
            state: State::Free,
            rival_seen: None,
            suspected: None,
            free_rate: 0.0,
            losses: Losses::default(),
            patient_until: Duration::ZERO,
            drained: None,
            target: TARGET,
        }
    }

    /// What may be in flight, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a round trip was ever so short that the path does not leave the house: there, delay is mostly no queue.
    pub fn is_near(&self) -> bool {
        self.is_near
    }

    /// What the path is taken to carry, in bytes a second. While less is sent, it may be more or less.
    pub fn rate(&self) -> Option<u64> {
        let rtt = (self.unqueued() + self.target).as_secs_f64();
        (!self.least_rtt.get().is_zero()).then(|| (self.bytes as f64 / rtt) as u64)
    }

    /// The least that a round trip took of late; nothing while none is known.
    pub fn least_round_trip(&self) -> Duration {
        self.least_rtt.get()
    }

    /// Packets have so many bytes now.
    pub fn set_packet_bytes(&mut self, bytes: u64) {
        self.packet_bytes = bytes;
        self.set(self.bytes);
    }

    /// So much was sent.
    pub fn sent(&mut self, bytes: u64) {
        self.in_flight += bytes;
        self.round.used_bytes = self.round.used_bytes.max(self.in_flight);
    }

    /// A packet has arrived, one of several in a row from the oldest to the newest.
    pub fn acked(&mut self, sent: Duration, bytes: u64) {
        self.row.get_or_insert(Row { newest_sent: sent, bytes: 0, lead: 0.0 }).add(sent, bytes);
        self.round.acked_bytes += bytes;
        self.losses.acked_bytes += bytes;
    }

    /// The row is over, and so much is still in flight. Only its newest packet measures: the others waited for it.
    pub fn acked_all(&mut self, now: Duration, in_flight: u64) {
        self.in_flight = in_flight;
        let Some(row) = self.row.take() else { return };
        let sent = row.newest_sent;
        let rtt = now.saturating_sub(sent);
        self.is_near |= rtt < NEAR_RTT;
        self.waited(now, Duration::ZERO);
        (self.latest_rtt, self.unsettled) = (rtt, Some(Unsettled { at: now, rtt, lead: row.lead() }));
        self.least_rtt.note(now, rtt, !matches!(self.state, State::Free));
        let delay = self.standing.note(now, rtt, row.bytes) - self.least_rtt.get();
        // A round is as long as the queue. What fills it is not waited for.
        let is_new = matches!(self.state, State::Free) && self.is_crowd(delay) && self.drained.is_none();
        if is_new {
            self.used_before = self.used_before.max(self.round.used_bytes);
        }
        if is_new || self.round.is_over(now, sent) {
            self.end_round(now, delay);
        }
    }

    /// The acknowledgement of the last row had waited for so long on the other side, by its own account: for more to acknowledge, or
    /// because it was busy. It is known late, since quinn tells it with the next row only.
    pub fn waited(&mut self, now: Duration, wait: Duration) {
        let Some(Unsettled { at, rtt, lead }) = self.unsettled.take() else { return };
        let wait = wait.min(WAIT_MAX);
        let rtt = rtt.saturating_sub(wait);
        let average = |mean: Duration, value: Duration| (mean * (WAITS - 1) + value.min(WAIT_MAX)) / WAITS;
        self.mean_wait = average(self.mean_wait, wait);
        self.mean_held = average(self.mean_held, wait + lead);
        self.round.note_longest(at, rtt);
        if !wait.is_zero() {
            self.latest_rtt = rtt;
            self.least_rtt.note(now, rtt, !matches!(self.state, State::Free));
            self.standing.amend(rtt);
        }
    }

    /// So much was lost.
    pub fn lost(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.round.lost_bytes += bytes;
        self.losses.lost_bytes += bytes;
    }

    /// Nothing that was sent for several round trips has arrived.
    pub fn interrupted(&mut self) {
        self.state = State::Free;
        self.drained = None;
        self.set(0);
    }

    /// The path says that its queue is long (RFC 3168).
    pub fn marked(&mut self) {
        self.set((self.bytes.min(self.round.used_bytes) as f64 * COMPETING_CUT) as u64);
    }

    /// Whether the path showed of late that it carries hardly more than is sent: a queue stood.
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// Whether the path takes no more than is sent, as far as the last rounds show: a queue stood, or losses were many.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether what arrived last was so late that nothing should be added to the queue until it is known whether it stands.
    pub fn is_late(&self) -> bool {
        matches!(self.state, State::Free) && self.is_crowd(self.latest_rtt.saturating_sub(self.least_rtt.get()))
    }

    fn is_crowd(&self, delay: Duration) -> bool {
        delay > CROWDED.max(self.target * 2)
    }

    fn end_round(&mut self, now: Duration, delay: Duration) {
        let round = std::mem::replace(&mut self.round, Round::new(now, self.in_flight));
        self.target = target(round.rate(now));
        if delay > self.target {
            self.queue_stood = Some(now);
        }
        self.is_limited = self.queue_stood.is_some_and(|at| now - at < LIMITED_TIME);
        if matches!(self.state, State::Free) {
            self.free_rate = round.rate(now).max(self.free_rate * FREE_RATE_DECAY);
        }
        if !self.is_drained(now, delay) {
            self.decide(now, delay, &round);
        }
        self.heed_losses(now, round.used_bytes);
        let takes_no_more = delay > self.target || now < self.patient_until || round.loss_share() > LOSS_SHARE_MAX;
        if takes_no_more {
            (self.full_rounds, self.full_until) = (FULL_ROUNDS, now + FULL_TIME);
        }
        self.is_full = self.full_rounds > 0 || now < self.full_until;
        self.full_rounds = self.full_rounds.saturating_sub(1);
        (self.used_before, self.rate_before) = (round.used_bytes, round.rate(now));
    }

    /// What the delay says about the window.
    fn decide(&mut self, now: Duration, delay: Duration, round: &Round) {
        match self.state {
            _ if !self.is_crowd(delay) => {
                match self.state {
                    State::Free => {}
                    State::Crowded { rounds, .. } => self.suspected = Some((now, rounds)),
                    State::Competing { .. } => self.rival_seen = Some(now),
                }
                self.state = State::Free;
                self.approach(now, delay, round);
            }
            State::Free if self.rival_seen.take().is_some_and(|seen| now - seen < RIVAL_TIME) => {
                self.begin_to_compete(now, delay);
            }
            State::Free => {
                // Others cut their windows too: the queue drains for a moment.
                let suspected = self.suspected.take().filter(|(at, rounds)| *rounds > 1 && now - *at < CROWDED_TIME);
                let (since, rounds) = suspected.unwrap_or((now, 0));
                self.state = State::Crowded { since, rounds, delay };
                self.approach(now, delay, round);
            }
            State::Crowded { since, rounds, delay: before } => {
                // While it is drained, it is this flow's. The first round shows nothing: it began before the cut was felt.
                let (since, rounds) = if delay < before.mul_f64(0.8) { (now, 0) } else { (since, rounds + 1) };
                if rounds >= CROWDED_ROUNDS && now - since >= CROWDED_TIME {
                    self.begin_to_compete(now, delay);
                    return;
                }
                self.state = State::Crowded { since, rounds, delay };
                if rounds > 0 {
                    let floor = (self.bytes as f64 * CROWDED_CUT) as u64;
                    self.approach(now, delay, round);
                    self.set(self.bytes.max(floor));
                }
            }
            State::Competing { delay: before, again_at, time } => {
                let (again_at, time) = if now < again_at {
                    self.compete(delay > before, round);
                    (again_at, time)
                } else {
                    self.take_part(delay);
                    (now + time * 2, (time * 2).min(COMPETING_TIME_MAX))
                };
                self.state = State::Competing { delay, again_at, time };
            }
        }
    }

    fn begin_to_compete(&mut self, now: Duration, delay: Duration) {
        let (again_at, time) = (now + COMPETING_TIME, COMPETING_TIME);
        self.state = State::Competing { delay, again_at, time };
        self.take_part(delay);
    }

    /// Takes so much of its rate of before as is kept, at the round trip of now.
    fn take_part(&mut self, delay: Duration) {
        let rtt = (self.unqueued() + delay).as_secs_f64();
        self.set(self.bytes.max((self.free_rate * RATE_KEPT * rtt) as u64 + self.packet_bytes));
    }

    fn compete(&mut self, is_queue_growing: bool, round: &Round) {
        if round.loss_share() > COMPETING_LOSS_SHARE {
            self.set((self.bytes as f64 * COMPETING_CUT) as u64);
        } else if !is_queue_growing {
            self.cut((self.bytes as f64 * COMPETING_DECAY) as u64);
        }
    }

    /// How long a packet is in flight while there is no queue.
    fn unqueued(&self) -> Duration {
        self.least_rtt.get() + self.mean_held
    }

    /// Moves the window to where it makes as much delay as is wanted (FAST TCP). It grows no further than use has shown.
    fn approach(&mut self, now: Duration, delay: Duration, round: &Round) {
        let least = self.least_rtt.get();
        if delay > self.target {
            let factor = (least + self.target).as_secs_f64() / (least + delay).as_secs_f64();
            // What overflowed the queue was in flight and made no delay.
            let drained = self.standing.rate() * (least + self.target).as_secs_f64() * (1.0 + LOSS_SHARE_MAX);
            let most = if self.is_crowd(delay) { drained } else { f64::INFINITY };
            let wanted = (self.used_before as f64 * factor).min(most) as u64;
            self.cut(wanted);
            return;
        }
        if now < self.patient_until || round.loss_share() > LOSS_SHARE_MAX {
            return;
        }
        // A burst that makes a queue for a moment shows no more than one that stands.
        let unsettled = self.unsettled.map_or(Duration::ZERO, |last| last.rtt.saturating_sub(self.mean_wait));
        let longest = unsettled.max(round.longest_rtt);
        let burst = longest.saturating_sub(least + BURST_DELAY);
        let delay = delay.max(burst);
        // A pause makes no path slower: what follows it would be in flight all at once.
        let aim = self.target.min(target(self.rate_before));
        let growth_rtt = least.min(GROWTH_RTT_MAX);
        let factor = (growth_rtt + aim).as_secs_f64() / (growth_rtt + delay).as_secs_f64();
        // What is paced is hardly in flight where the round trip is short: then the rate shows what passes. After a cut, more may have
        // been in flight than may be now. A packet that does not fit leaves a part unused.
        // Beside losses it does not: the queue may be too short to make a delay.
        let arrived = if round.lost_bytes == 0 { round.rate(now) } else { 0.0 };
        let needed = (arrived * (least + aim).as_secs_f64()) as u64;
        let used = self.used_before.max(needed).min(self.bytes) + self.packet_bytes;
        let wanted = (used as f64 * factor.min(GROWTH_MAX)) as u64;
        self.set(self.bytes.max(wanted));
    }

    /// Before the least round trip is forgotten, the queue is emptied to see it again (as BBR and LEDBAT++ do).
    fn is_drained(&mut self, now: Duration, delay: Duration) -> bool {
        match self.drained.take() {
            Some((before, 0)) => {
                self.set(before);
                false
            }
            Some((before, rounds)) => {
                self.drained = Some((before, rounds - 1));
                true
            }
            None => {
                let is_due = matches!(self.state, State::Free) && self.least_rtt.is_stale(now, self.target / 4);
                if is_due && delay > self.target / 4 {
                    self.drained = Some((self.bytes, DRAIN_ROUNDS));
                    self.set((self.bytes.min(self.used_before) as f64 * DRAIN) as u64);
                }
                self.drained.is_some()
            }
        }
    }

    fn heed_losses(&mut self, now: Duration, used: u64) {
        let Losses { since, acked_bytes, lost_bytes, share_before } = self.losses;
        let bytes = acked_bytes + lost_bytes;
        if now.saturating_sub(since) < LOSS_TIME || bytes < LOSS_PACKETS_MIN * self.packet_bytes {
            return;
        }
        let share = lost_bytes as f64 / bytes as f64;
        self.losses = Losses { since: now, share_before: share, ..Losses::default() };
        let is_burst = share_before <= LOSS_SHARE_MAX && share <= LOSS_SHARE_FLOOD;
        if share > LOSS_SHARE_MAX && !(is_burst && matches!(self.state, State::Free)) {
            self.set((self.bytes.min(used) as f64 * LOSS_CUT.min(1.0 - share)) as u64);
            self.patient_until = now + LOSS_PATIENCE;
        }
    }

    /// Makes the window smaller because of delay.
    fn cut(&mut self, bytes: u64) {
        let floor = if self.is_near { NEAR_BYTES } else { 0 };
        self.set(self.bytes.min(bytes.max(floor)));
    }

    fn set(&mut self, bytes: u64) {
        self.bytes = bytes.max(PACKETS_MIN * self.packet_bytes);
    }
}

/// The delay that a flow of so many bytes a second wants to make. A faster one wants less, so that flows with the same delay
/// come to the same rate; by the square root, so that many of them together stay quick (Swift).
fn target(rate: f64) -> Duration {
    let target = TARGET.mul_f64((TARGET_RATE / rate.max(1.0)).sqrt());
    target.clamp(TARGET_MIN, TARGET_MAX)
}
