use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tertulia::client::{Carrier, Options, Room};
use tokio::time::{Instant, sleep, timeout};

use super::meeting::seed;
use super::support::TestRelay;
use super::support::impair::Proxy;
use super::support::witness::{Witness, limits, picture, sound, stream, talk};

pub const NAME: &str = "UDP cut in the middle of a call";

const SCRIPT: &str = "delay 30ms";

/// How long the call is on before, and how long UDP does not pass: longer than a session without a sign of life lasts.
const BEFORE: Duration = Duration::from_secs(2);
const CUT: Duration = Duration::from_secs(12);

/// How long after that one waits for the return to UDP.
const PATIENCE: Duration = Duration::from_secs(15);

pub const HEAD: &str = "\
| UDP cut for 12 s | Follows UDP | Longest without media, to / from (3000 ms) | Chat lost (0) | Chat doubled or reordered (0) | On WebSocket after | Back on UDP, once it passes, after |
|---|---|---:|---:|---:|---:|---:|
";

/// Cuts UDP between the relay and someone in a call, over each carrier, with sessions that follow UDP and without.
pub async fn run() -> String {
    let ways = [("QUIC", "quic", true), ("WebTransport", "https", true), ("WebTransport", "https", false)];
    join_all(ways.map(|(carrier, scheme, follow_udp)| row(carrier, scheme, follow_udp))).await.concat()
}

async fn row(carrier: &str, scheme: &str, follow_udp: bool) -> String {
    let relay = TestRelay::start(limits());
    let proxy = Proxy::start(relay.relay.address(), SCRIPT, seed()).await;
    let options = Options { follow_udp, fallbacks: vec![proxy.url("wss")], ..relay.options("Ana") };
    let ana = Room::connect(&proxy.url(scheme), options).await.expect("the relay is there");
    let ben = relay.join("ws", "Ben").await;
    let over_udp = ana.carrier();
    let (picture, sound) = tokio::join!(ana.publish(picture()), ben.publish(sound()));
    let (picture, sound) = (picture.expect("it may publish"), sound.expect("it may publish"));
    let _streams = [stream(Arc::new(picture)), stream(Arc::new(sound))];
    let [ana, ben] = [ana, ben].map(Witness::new);
    let stop = Arc::new(AtomicBool::new(false));
    let talking = [talk(&ana.room, &stop), talk(&ben.room, &stop)];
    for witness in [&ana, &ben] {
        witness.until_more("a call", 1, 1).await;
    }
    sleep(BEFORE).await;
    let came = |carrier: Carrier| {
        let ana = &ana;
        async move {
            let begin = Instant::now();
            let is_there = ana.until(NAME, |seen| seen.returns.last().is_some_and(|(_, by)| *by == carrier));
            timeout(PATIENCE, is_there).await.ok().map(|()| begin.elapsed())
        }
    };
    proxy.apply("block udp");
    let (left, ()) = tokio::join!(came(Carrier::WebSocket), sleep(CUT));
    proxy.apply("pass");
    let back = if follow_udp { came(over_udp).await } else { None };
    stop.store(true, Ordering::Relaxed);
    let (mut lost, mut wrong) = (0, 0);
    for (talks, hearer) in talking.into_iter().zip([&ben, &ana]) {
        let said = talks.await.expect("it talks to the end");
        let all_came = hearer.until("all that was said", |seen| seen.messages.len() >= said as usize);
        let _ = timeout(PATIENCE, all_came).await;
        let heard: Vec<u32> = hearer.seen().messages.iter().filter_map(|body| body.parse().ok()).collect();
        lost += (0..said).filter(|number| !heard.contains(number)).count();
        wrong += heard.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    }
    let pause_ms = |witness: &Witness| witness.seen().longest_pause.as_millis();
    let seconds =
        |took: Option<Duration>| took.map_or("-".into(), |took: Duration| format!("{:.1} s", took.as_secs_f64()));
    format!(
        "| {carrier} | {} | {} / {} | {lost} | {wrong} | {} | {} |\n",
        if follow_udp { "yes" } else { "no" },
        pause_ms(&ana),
        pause_ms(&ben),
        seconds(left),
        seconds(back),
    )
}
