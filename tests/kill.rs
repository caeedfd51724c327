//! A relay that is killed again and again under load: its clients come back by themselves, and no message that was
//! acknowledged is lost, doubled or moved.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::Directory;
use tertulia::client::{Certificates, Event, Options, Room};
use tertulia::wire::ChatPosition;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};

const CLIENTS: usize = 10;
const KILLS: usize = 20;
const CARRIERS: [&str; 4] = ["https", "quic", "wss", "ws"];

/// How long the relay lives after everyone is back, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 50..1500;

/// Between two messages of one client.
const PACE: Duration = Duration::from_millis(50);

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

/// What half of the clients do better than, beside the time for which the relay was away: they wait the longer for their next try, the
/// longer they have tried. Where the machine is slow, it is twice what all of them took to come in one after the other, and three times as
/// long at most.
const MEDIAN_MAX: Duration = Duration::from_secs(1);

/// A relay in a process of its own, which can be killed without a goodbye and started again in the same place.
struct Killable {
    child: Child,
    tls_port: u16,
    http_port: u16,
    sha256: [u8; 32],
}

impl Killable {
    fn start(directory: &Directory, tls_port: u16, http_port: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
        command.args(["serve", "--log", "error"]);
        command.args(["--listen", &format!("127.0.0.1:{tls_port}"), "--http", &format!("127.0.0.1:{http_port}")]);
        command.arg("--certificate-dir").arg(directory.path()).arg("--data-dir").arg(directory.path());
        for many in ["chat-per-second", "chat-burst", "history-messages", "handshakes-per-second-per-address"] {
            command.args([&format!("--{many}"), "100000"]);
        }
        command.args(["--history-bytes", "1000000000", "--handshakes-burst-per-address", "100000"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !printed.contains("Ctrl-C") {
            assert!(lines.read_line(&mut printed).unwrap() > 0, "it ended early: {printed}");
        }
        let port = |before: &str| printed.split_once(before).unwrap().1.split('/').next().unwrap().parse().unwrap();
        let hash = printed.split_once("SHA-256: ").unwrap().1.trim_start();
        let byte = |index: usize| u8::from_str_radix(&hash[2 * index..2 * index + 2], 16).unwrap();
        Self {
            child,
            tls_port: port("https://127.0.0.1:"),
            http_port: port("http://127.0.0.1:"),
            sha256: std::array::from_fn(byte),
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn url(&self, scheme: &str) -> String {
        let port = if scheme == "ws" { self.http_port } else { self.tls_port };
        format!("{scheme}://127.0.0.1:{port}/r/house")
    }

    async fn join(&self, scheme: &str, name: &str, history: Option<ChatPosition>) -> Room {
        let certificates = Certificates::Sha256(vec![self.sha256]);
        let options = Options { name: name.into(), certificates, history, ..Options::default() };
        Room::connect(&self.url(scheme), options).await.unwrap()
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client knows of the chat, by number.
type Log = BTreeMap<u64, String>;

#[derive(Debug, Default)]
struct Seen {
    log: Log,
    last: u64,
    returned_at: Vec<Instant>,
    problem: Option<String>,
}

struct Client {
    seen: watch::Sender<Seen>,
    room: Arc<Room>,
    _watching: JoinSet<()>,
    carrier: &'static str,
}

impl Client {
    async fn join(relay: &Killable, number: usize) -> Self {
        let carrier = CARRIERS[number % CARRIERS.len()];
        let room = Arc::new(relay.join(carrier, &format!("client {number}"), None).await);
        let seen = watch::Sender::new(Seen::default());
        let mut watching = JoinSet::new();
        watching.spawn(watch_room(room.clone(), seen.clone()));
        Self { seen, room, _watching: watching, carrier }
    }

    async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let found = timeout(DEADLINE, seen.wait_for(|seen| condition(seen) || seen.problem.is_some())).await;
        let found = found.unwrap_or_else(|_| panic!("{}: {what}: not within {DEADLINE:?}", self.carrier)).unwrap();
        assert_eq!(found.problem, None);
    }
}

async fn watch_room(room: Arc<Room>, seen: watch::Sender<Seen>) {
    while let Some(event) = room.next_event().await {
        seen.send_modify(|seen| match event {
            Event::ChatMessage(message) => {
                if message.sequence <= seen.last {
                    seen.problem = Some(format!("{} came after {}", message.sequence, seen.last));
                }
                seen.last = message.sequence;
                seen.log.insert(message.sequence, message.body);
            }
            Event::ChatGap { from, through } => seen.problem = Some(format!("{from} to {through} are missing")),
            Event::Reconnected { .. } => seen.returned_at.push(Instant::now()),
            Event::Closed { message, .. } => seen.problem = Some(message),
            _ => {}
        });
    }
}

/// Says something at every tick, whether the last was answered or not; in the end all that was acknowledged.
async fn speak(room: Arc<Room>, number: usize, stop: Arc<AtomicBool>) -> Log {
    let mut pace = interval(PACE);
    let mut said = JoinSet::new();
    for index in 0.. {
        pace.tick().await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (chat, body) = (room.chat(), format!("{number}:{index}"));
        said.spawn(async move { (chat.send(body.clone()).await.expect("it is kept in the end"), body) });
    }
    let mut own = Log::new();
    while let Some(answer) = said.join_next().await {
        let (sequence, body) = answer.unwrap();
        assert_eq!(own.insert(sequence, body), None, "{sequence} was given twice");
    }
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_twenty_kills_lose_double_and_move_no_message() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let directory = Directory::new();
    let mut relay = Killable::start(&directory, 0, 0);
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    let begin = Instant::now();
    for number in 0..CLIENTS {
        clients.push(Client::join(&relay, number).await);
    }
    let came_in = begin.elapsed();
    // Now all are there to hear the first word.
    let speak = |(number, client): (usize, &Client)| tokio::spawn(speak(client.room.clone(), number, stop.clone()));
    let speaking: Vec<JoinHandle<Log>> = clients.iter().enumerate().map(speak).collect();
    let mut returns: Vec<(Duration, &str)> = Vec::new();
    let mut away = Vec::new();
    for _ in 0..KILLS {
        sleep(Duration::from_millis(random.random_range(LIFE_MS))).await;
        let had: Vec<_> = clients.iter().map(|client| client.seen.borrow().returned_at.len()).collect();
        let killed_at = Instant::now();
        relay.kill();
        relay = Killable::start(&directory, relay.tls_port, relay.http_port);
        let ready_at = Instant::now();
        away.push(ready_at - killed_at);
        for (client, had) in clients.iter().zip(had) {
            client.until("the next session", |seen| seen.returned_at.len() > had).await;
            let back_at = client.seen.borrow().returned_at[had];
            returns.push((back_at.saturating_duration_since(ready_at), client.carrier));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut own = Vec::new();
    for speaker in speaking {
        own.push(timeout(DEADLINE, speaker).await.expect("answers come in time").unwrap());
    }
    let all: Log = own.iter().flatten().map(|(sequence, body)| (*sequence, body.clone())).collect();
    assert_eq!(all.len(), own.iter().map(Log::len).sum::<usize>(), "a number was given twice");
    for (client, own) in clients.iter().zip(&own) {
        let last_of_others =
            all.iter().rev().find(|(sequence, _)| !own.contains_key(sequence)).map_or(0, |last| *last.0);
        client.until("the last message", |seen| seen.last >= last_of_others).await;
        let mut log = own.clone();
        log.extend(client.seen.borrow().log.clone());
        assert_same(&log, &all, client.carrier);
    }
    let newcomer = relay.join("quic", "newcomer", Some(ChatPosition::START)).await;
    assert_same(&replay(&newcomer).await, &all, "the newcomer");
    report(returns, away, all.len(), came_in);
}

async fn replay(room: &Room) -> Log {
    let mut log = Log::new();
    loop {
        match timeout(DEADLINE, room.next_event()).await.expect("the history comes in time") {
            Some(Event::ChatMessage(message)) => assert_eq!(log.insert(message.sequence, message.body), None),
            Some(Event::ChatCaughtUp { .. }) => return log,
            Some(Event::Closed { message, .. }) => panic!("{message}"),
            _ => {}
        }
    }
}

fn assert_same(log: &Log, all: &Log, who: &str) {
    let missing: Vec<_> = all.iter().filter(|(sequence, body)| log.get(sequence) != Some(body)).collect();
    let strange: Vec<_> = log.iter().filter(|(sequence, body)| all.get(sequence) != Some(body)).collect();
    assert!(missing.is_empty() && strange.is_empty(), "{who}: missing {missing:?}, strange {strange:?}");
    let mut bodies: Vec<_> = log.values().collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), log.len(), "{who}: a message has two numbers");
}

fn report(mut returns: Vec<(Duration, &str)>, mut away: Vec<Duration>, messages: usize, came_in: Duration) {
    returns.sort_unstable();
    let median = |returns: &[(Duration, &str)]| returns[returns.len() / 2].0;
    println!("{messages} messages, {} returns; back in the room after the restart:", returns.len());
    for carrier in CARRIERS {
        let its: Vec<_> = returns.iter().filter(|(_, other)| *other == carrier).copied().collect();
        println!("  {carrier}: median {:?}, longest {:?}", median(&its), its[its.len() - 1].0);
    }
    println!("  all: median {:?}, longest {:?}", median(&returns), returns[returns.len() - 1].0);
    away.sort_unstable();
    let away = away[away.len() / 2];
    println!("  the relay was away for {away:?}; they came in within {came_in:?} at first");
    assert!(median(&returns) < MEDIAN_MAX.max((2 * came_in).min(3 * MEDIAN_MAX)) + away);
}
