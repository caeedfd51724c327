//! A well-behaved meeting in a room of its own, which is measured while something goes on beside it.
//!
//! Two people talk, one over QUIC and one over WebSocket: each of them sends 18 chat messages and 125 datagrams a second,
//! within every default limit. They run on a thread of their own, so that what the test does does not hold them up.
//!
//! The same meeting goes on in a relay that nobody does anything to, on the same thread and with the same clock: what holds up
//! the machine holds up both, and what is left between them is the fault's doing.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tertulia::wire::*;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::child::is_optimised;
use super::session::{Incoming, Over, Session, Target, header, join_of, message_id};

/// A datagram is sent this often, by one and the other in turns; every seventh time a chat message too.
const TICK: Duration = Duration::from_millis(4);
const TICKS_PER_CHAT: u64 = 7;

/// How much higher the p99 may be than in the meeting that nothing is beside.
const FACTOR: f64 = 1.5;

/// Without optimisation a handshake keeps the relay's thread for several milliseconds instead of half a one: so much more is
/// allowed then. `make test` measures an optimised relay.
fn allowance() -> Duration {
    Duration::from_millis(if is_optimised() { 0 } else { 20 })
}

/// Of `count` that are measured, one in a hundred is above the true 99th percentile, give or take three standard deviations
/// of that number (a binomial one): if more are above a bound, the percentile is, beyond what chance explains.
fn above_by_chance(count: usize) -> usize {
    let expected = count as f64 / 100.0;
    (expected + 3.0 * (expected * 0.99).sqrt()).floor() as usize
}

/// So many chat messages are measured during a fault, and several times as many datagrams. Each one is measured twice: when it
/// is acknowledged, and when the other one has it.
const CHATS_MIN: usize = 200;

/// Where even the meeting that nothing is beside has a p99 above this, something else keeps the machine busy: then more is measured.
const NOISE: Duration = Duration::from_millis(5);

/// How many times more at most.
const NOISE_PATIENCE: usize = 3;

/// Datagrams that may be lost, of a thousand: nobody sends them again, and the kernel may drop one while others flood the
/// relay's socket.
const DATAGRAMS_LOST_PER_1000_MAX: usize = 10;

/// What [`Bystander::assert_undisturbed`] and [`in_time`] end a test with.
struct Disturbed(String);

/// A test whose figures are times. A few hundred of them say little about a p99, and one of them says little about a relay:
/// whatever else the machine does for some milliseconds may hold up one meeting and not the other, or the test itself. Where
/// something took too long, the test is done again with other relays until it went well or badly [`DECIDING`] times: a fault of
/// the relay is there every time. Everything else that fails, fails at once.
pub async fn repeatable(test: impl AsyncFn()) {
    let Err(first) = attempt(&test).await else { return };
    let mut disturbed = vec![first.0];
    let mut well = 0;
    while well < DECIDING {
        println!("{}: once more", disturbed.join(", and before: "));
        match attempt(&test).await {
            Ok(()) => well += 1,
            Err(again) => disturbed.insert(0, again.0),
        }
        assert!(disturbed.len() < DECIDING, "{}", disturbed.join(", and before: "));
    }
}

/// So many attempts of five decide.
const DECIDING: usize = 3;

async fn attempt(test: &impl AsyncFn()) -> Result<(), Disturbed> {
    match AssertUnwindSafe(test()).catch_unwind().await {
        Ok(()) => Ok(()),
        Err(panic) => Err(*panic.downcast::<Disturbed>().unwrap_or_else(|other| resume_unwind(other))),
    }
}

/// What was done took less time than this.
///
/// Only inside [`repeatable`], which does the test again then.
pub fn in_time(case: &str, took: Duration, bound: Duration) {
    if took >= bound {
        disturbed(format!("{case}: it took {took:.1?}, not less than {bound:.1?}"));
    }
}

/// Ends an attempt that says nothing of the relay.
///
/// Only inside [`repeatable`], which does the test again then.
pub fn disturbed(why: String) -> ! {
    resume_unwind(Box::new(Disturbed(why)))
}

/// What was measured in a while.
#[derive(Debug, Default)]
struct Measured {
    chat: Vec<Duration>,
    media: Vec<Duration>,
}

impl Measured {
    /// The 99th percentiles, of chat and media.
    fn p99(&self) -> [Duration; 2] {
        [&self.chat, &self.media].map(|all| p99(all))
    }
}

fn p99(all: &[Duration]) -> Duration {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// What a meeting and the test both see.
#[derive(Debug, Default)]
struct Shared {
    measured: Measured,
    chat_underway: BTreeMap<MessageId, Underway>,
    media_underway: BTreeMap<u64, Instant>,
    datagrams: u64,
    /// Why the meeting ended, if it did.
    ended: Option<String>,
}

#[derive(Debug)]
struct Underway {
    sent_at: Instant,
    /// By whom it is still awaited: its sender waits for the acknowledgement.
    awaited_by: [bool; 2],
}

type Meeting = Arc<Mutex<Shared>>;

pub struct Bystander {
    beside: Meeting,
    apart: Meeting,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bystander {
    /// Begins the meetings, one in the relay that something will happen to and one `apart`, and waits until both go on.
    /// `token` gives one for an identity.
    pub async fn begin(beside: Target, apart: Target, token: impl Fn(&str) -> Option<String>) -> Self {
        let meetings: [Meeting; 2] = Default::default();
        let (stop, stopped) = oneshot::channel();
        let joins =
            ["bystander-ana", "bystander-ben"].map(|name| Join { token: token(name), ..join_of("bystanders", name) });
        let told = meetings.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let meet = async |target, meeting: &Meeting| {
                    let ended = meet(target, joins.clone(), meeting).await;
                    lock(meeting).ended = Some(ended);
                };
                tokio::select! {
                    _ = async { tokio::join!(meet(beside, &told[0]), meet(apart, &told[1])) } => {}
                    _ = stopped => {}
                }
            });
        });
        let [beside, apart] = meetings;
        let bystander = Self { beside, apart, stop: Some(stop), thread: Some(thread) };
        // What comes first is slower.
        bystander.measure("before", CHATS_MIN / 4).await;
        bystander
    }

    /// Forgets what was measured so far, such as while a fault was being set up.
    pub fn begin_measuring(&self) {
        for meeting in [&self.beside, &self.apart] {
            lock(meeting).measured = Measured::default();
        }
    }

    /// Waits until enough has been measured of both, and begins anew.
    async fn measure(&self, case: &str, chats_min: usize) -> [Measured; 2] {
        let begin = Instant::now();
        loop {
            let [beside, apart] = [&self.beside, &self.apart].map(|meeting| {
                let shared = lock(meeting);
                assert_eq!(shared.ended, None, "{case}: the bystanders' meeting has ended");
                shared.measured.chat.len()
            });
            let least = beside.min(apart);
            let is_noisy = least >= chats_min && lock(&self.apart).measured.p99().into_iter().max() > Some(NOISE);
            if least >= chats_min * if is_noisy { NOISE_PATIENCE } else { 1 } {
                return [&self.beside, &self.apart].map(|meeting| std::mem::take(&mut lock(meeting).measured));
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{case}: the bystanders are hardly heard");
            sleep(10 * TICK).await;
        }
    }

    /// Invariant I2: since the last time, nothing was lost and the 99th percentile is hardly higher than in the meeting that
    /// nothing is beside.
    ///
    /// Only inside [`repeatable`], which does the test again then.
    pub async fn assert_undisturbed(&mut self, case: &str) {
        if let (_, Err(found)) = self.compare(case).await {
            disturbed(found);
        }
        self.assert_nothing_lost(case).await;
    }

    /// The p99 that a meeting has now which nothing is beside, the higher one of chat and media, and what is allowed beside that.
    pub async fn usual(&self) -> Duration {
        let [_, apart] = self.measure("as usual", CHATS_MIN).await;
        apart.p99().into_iter().max().unwrap_or_default() + allowance()
    }

    /// The first half of that; an error says what is higher. With the bound, the higher one of chat and media: whatever holds up
    /// somebody for less than that passes.
    pub async fn compare(&mut self, case: &str) -> (Duration, Result<(), String>) {
        let [beside, apart] = self.measure(case, CHATS_MIN).await;
        let mut highest = Duration::ZERO;
        let pairs = [("chat", beside.chat, apart.chat), ("media", beside.media, apart.media)];
        for (what, beside, apart) in pairs {
            let bound = p99(&apart).mul_f64(FACTOR) + allowance();
            highest = highest.max(bound);
            let above = beside.iter().filter(|took| **took > bound).count();
            let found = format!(
                "{case}: {what} p99 {:.1?} beside it, {:.1?} apart; of {}, {above} above {bound:.1?}",
                p99(&beside),
                p99(&apart),
                beside.len()
            );
            println!("{found}");
            if above > above_by_chance(beside.len()) {
                return (highest, Err(found));
            }
        }
        (highest, Ok(()))
    }

    /// Everything that was said so far has been heard, but for what was lost in the other meeting too.
    pub async fn assert_nothing_lost(&self, case: &str) {
        let now = Instant::now();
        let is_before = |sent_at: &&Instant| **sent_at < now;
        loop {
            {
                let apart = lock(&self.apart).media_underway.values().filter(is_before).count();
                let shared = lock(&self.beside);
                assert_eq!(shared.ended, None, "{case}: the bystanders' meeting has ended");
                let missing = shared.chat_underway.values().filter(|chat| chat.sent_at < now).count();
                let lost = shared.media_underway.values().filter(is_before).count();
                let more = lost.saturating_sub(apart);
                if missing == 0 && more * 1000 <= shared.datagrams as usize * DATAGRAMS_LOST_PER_1000_MAX {
                    return;
                }
                let patience = Duration::from_secs(10);
                assert!(now.elapsed() < patience, "{case}: {missing} messages and {lost} datagrams are lost");
            }
            sleep(TICK).await;
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            // It may have ended by itself.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Goes on until a session ends, and says why it did.
async fn meet(target: Target, joins: [Join; 2], shared: &Mutex<Shared>) -> String {
    let [ana, ben] = joins;
    let join = async |over, join| Session::join(target, over, join).await.map_err(|reason| format!("{reason:?}"));
    let (mut ana, mut ben) = match (join(Over::Quic, ana).await, join(Over::WebSocket, ben).await) {
        (Ok((ana, _)), Ok((ben, _))) => (ana, ben),
        (Err(reason), _) | (_, Err(reason)) => return reason,
    };
    let tracks = [ana.publish().await, ben.publish().await];
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count: u64 = 0;
    loop {
        let ended = tokio::select! {
            _ = tick.tick() => {
                count += 1;
                let (sender, turn) = if count.is_multiple_of(2) { (&mut ana, 0) } else { (&mut ben, 1) };
                speak(sender, turn, tracks[turn], count, shared).await;
                None
            }
            incoming = ana.incoming.recv() => note(0, incoming, shared),
            incoming = ben.incoming.recv() => note(1, incoming, shared),
        };
        if let Some(ended) = ended {
            return ended;
        }
    }
}

async fn speak(sender: &mut Session, turn: usize, track: TrackId, count: u64, shared: &Mutex<Shared>) {
    if count.is_multiple_of(TICKS_PER_CHAT) {
        let id = message_id();
        let underway = Underway { sent_at: Instant::now(), awaited_by: [true; 2] };
        lock(shared).chat_underway.insert(id, underway);
        let body = format!("{turn} says {count}");
        sender.chat(&ClientChat::Send { message_id: id, to: None, body }).await;
    }
    {
        let mut shared = lock(shared);
        shared.datagrams += 1;
        shared.media_underway.insert(count, Instant::now());
    }
    // Each sends every second one: frames without a gap, of which one that is late is not taken for all.
    let header = MediaHeader { frame: (count / 2) as u32, ..header(track) };
    sender.media(Datagram::new(header, &count.to_be_bytes()).bytes).await;
}

/// Notes what one of them has heard; gives the reason if that was the end.
fn note(of: usize, incoming: Option<Incoming>, shared: &Mutex<Shared>) -> Option<String> {
    let mut shared = lock(shared);
    match incoming {
        Some(Incoming::Media(datagram)) => {
            // The relay asks for frames once more as well: whatever the length of that, it is none that a count has.
            let count = datagram.get(1 + HEADER_BYTES..).and_then(|payload| payload.try_into().ok());
            if let Some(sent_at) = count.and_then(|count| shared.media_underway.remove(&u64::from_be_bytes(count))) {
                shared.measured.media.push(sent_at.elapsed());
            }
        }
        Some(Incoming::Chat(
            ServerChat::Accepted { message_id, .. } | ServerChat::Message(ChatMessage { message_id, .. }),
        )) => {
            let underway = shared.chat_underway.get_mut(&message_id)?;
            let sent_at = underway.sent_at;
            underway.awaited_by[of] = false;
            if underway.awaited_by == [false; 2] {
                shared.chat_underway.remove(&message_id);
            }
            shared.measured.chat.push(sent_at.elapsed());
        }
        // Somebody broken may keep chat from being kept; the two go on all the same.
        Some(Incoming::Chat(ServerChat::NotKept { message_id, .. })) => {
            shared.chat_underway.remove(&message_id);
        }
        Some(Incoming::Control(ServerMessage::Closing { reason, .. })) => return Some(format!("{reason:?}")),
        Some(Incoming::Ended(code)) => return Some(format!("{code:?}")),
        None => return Some("a task ended".into()),
        Some(Incoming::Control(_) | Incoming::Chat(_)) => {}
    }
    None
}
