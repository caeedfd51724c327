//! A well-behaved meeting in a room of its own, which is measured while something goes on beside it.
//!
//! Two people talk, one over QUIC and one over WebSocket: each of them sends ten chat messages and fifty datagrams a second,
//! within every default limit. They run on a thread of their own, so that what the test does does not hold them up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tertulia::wire::*;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::session::{Incoming, Over, Session, Target, datagram, join_of, message_id, payload};

/// A datagram is sent this often, by one and the other in turns; every fifth time a chat message too.
const TICK: Duration = Duration::from_millis(10);

/// What a p99 may grow by in any case: before the fault it may be as small as a millisecond, and a single handshake beside it
/// takes longer. Without optimisation a handshake keeps the relay's thread for several milliseconds instead of half a one.
const FLOOR: Duration = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 5 });

/// How much a p99 may grow by.
const FACTOR: f64 = 1.5;

/// So many chat messages are measured before and during a fault, and many times as many datagrams. Each one is measured twice:
/// when it is acknowledged, and when the other one has it.
const CHATS_MIN: usize = 60;

/// Datagrams that may be lost, of a thousand: nobody sends them again, and the kernel may drop one while others flood the
/// relay's socket.
const DATAGRAMS_LOST_PER_1000_MAX: usize = 10;

/// What was measured in a while.
#[derive(Debug, Default)]
struct Measured {
    chat: Vec<Duration>,
    media: Vec<Duration>,
    /// How late the meeting's own clock woke it: that is the machine's doing, not the relay's.
    late: Vec<Duration>,
}

/// The 99th percentiles of it.
#[derive(Debug, Clone, Copy, Default)]
struct P99 {
    chat: Duration,
    media: Duration,
    late: Duration,
}

impl Measured {
    fn p99(&self) -> P99 {
        let of = |all: &[Duration]| {
            let mut sorted = all.to_vec();
            sorted.sort_unstable();
            sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
        };
        P99 { chat: of(&self.chat), media: of(&self.media), late: of(&self.late) }
    }
}

/// What the meeting and the test both see.
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

pub struct Bystander {
    shared: Arc<Mutex<Shared>>,
    before: P99,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bystander {
    /// Begins the meeting and measures it for a while, as long as nothing is wrong. `token` gives one for an identity.
    pub async fn begin(target: Target, token: impl Fn(&str) -> Option<String>) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (stop, stopped) = oneshot::channel();
        let joins =
            ["bystander-ana", "bystander-ben"].map(|name| Join { token: token(name), ..join_of("bystanders", name) });
        let told = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::select! {
                    ended = meet(target, joins, &told) => lock(&told).ended = Some(ended),
                    _ = stopped => {}
                }
            });
        });
        let mut bystander = Self { shared, before: P99::default(), stop: Some(stop), thread: Some(thread) };
        // What comes first is slower.
        bystander.measure("before", CHATS_MIN / 4).await;
        bystander.before = bystander.measure("before", CHATS_MIN).await;
        bystander
    }

    /// Forgets what was measured so far, such as while a fault was being set up.
    pub fn begin_measuring(&self) {
        lock(&self.shared).measured = Measured::default();
    }

    /// Waits until enough has been measured, and begins anew.
    async fn measure(&self, case: &str, chats_min: usize) -> P99 {
        let begin = Instant::now();
        loop {
            {
                let mut shared = lock(&self.shared);
                assert_eq!(shared.ended, None, "{case}: the bystanders' meeting has ended");
                if shared.measured.chat.len() >= chats_min {
                    return std::mem::take(&mut shared.measured).p99();
                }
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{case}: the bystanders are hardly heard");
            sleep(TICK).await;
        }
    }

    /// Invariant I2: since the last time, nothing was lost and the 99th percentile is hardly higher than before.
    pub async fn assert_undisturbed(&mut self, case: &str) {
        let during = self.measure(case, CHATS_MIN).await;
        let bound = |before: Duration| before.mul_f64(FACTOR) + FLOOR + during.late;
        let before = self.before;
        println!("{case}: bystanders' p99 {before:.1?} before, {during:.1?} during");
        assert!(during.chat <= bound(before.chat), "{case}: chat {before:?} before, {during:?} during");
        assert!(during.media <= bound(before.media), "{case}: media {before:?} before, {during:?} during");
        self.assert_nothing_lost(case).await;
    }

    /// Everything that was said so far has been heard.
    pub async fn assert_nothing_lost(&self, case: &str) {
        let now = Instant::now();
        loop {
            {
                let shared = lock(&self.shared);
                assert_eq!(shared.ended, None, "{case}: the bystanders' meeting has ended");
                let missing = shared.chat_underway.values().filter(|chat| chat.sent_at < now).count();
                let lost = shared.media_underway.values().filter(|sent_at| **sent_at < now).count();
                if missing == 0 && lost * 1000 <= shared.datagrams as usize * DATAGRAMS_LOST_PER_1000_MAX {
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
            due = tick.tick() => {
                lock(shared).measured.late.push(due.elapsed());
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
    if count.is_multiple_of(5) {
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
    sender.media(datagram(track, &count.to_be_bytes())).await;
}

/// Notes what one of them has heard; gives the reason if that was the end.
fn note(of: usize, incoming: Option<Incoming>, shared: &Mutex<Shared>) -> Option<String> {
    let mut shared = lock(shared);
    match incoming {
        Some(Incoming::Media(datagram)) => {
            let count = payload(&datagram).try_into().map(u64::from_be_bytes);
            if let Some(sent_at) = count.ok().and_then(|count| shared.media_underway.remove(&count)) {
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
