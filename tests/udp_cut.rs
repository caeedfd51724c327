//! UDP that stops in the middle of a call costs a moment: the session goes on over WebSocket and returns, and the others notice
//! nothing. All with what is the default.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::TestRelay;
use support::bystander::{in_time, repeatable};
use support::impair::Proxy;
use support::witness::{Witness, assert_in_order, limits, picture, soon, sound, stream, talk};
use tertulia::client::{Carrier, Options, Room};
use tokio::time::sleep;

/// Media is there again after so long at most: the target.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Two people who talk and send media, one of them over UDP that is cut and passes again.
async fn udp_is_cut_and_passes_again(scheme: &str, fallback: Option<&str>) {
    let relay = TestRelay::start(limits());
    let proxy = Proxy::start(relay.relay.address(), "delay 20ms", 1).await;
    let fallbacks = fallback.map(|scheme| proxy.url(scheme)).into_iter().collect();
    let options = Options { fallbacks, ..relay.options("Ana") };
    let ana = Room::connect(&proxy.url(scheme), options).await.unwrap();
    let bo = relay.join("ws", "Bo").await;
    let (picture, sound) = (ana.publish(picture()).await.unwrap(), bo.publish(sound()).await.unwrap());
    let (picture, sound) = (Arc::new(picture), Arc::new(sound));
    let _streams = [stream(picture.clone()), stream(sound)];
    let (ana_id, track, udp) = (ana.participant(), picture.track(), ana.carrier());
    let [ana, bo] = [ana, bo].map(Witness::new);
    let stop = Arc::new(AtomicBool::new(false));
    let talking = [talk(&ana.room, &stop), talk(&bo.room, &stop)];
    for witness in [&ana, &bo] {
        witness.until_more("a call", 20, 60).await;
    }
    let before = [&ana, &bo].map(|witness| witness.seen().roster);

    // A machine that stood still for a second may have made it move and return before.
    let moves = ana.seen().returns.len();
    proxy.apply("block udp");
    ana.until("WebSocket", |seen| seen.returns.get(moves..) == Some(&[(true, Carrier::WebSocket)])).await;
    for witness in [&ana, &bo] {
        witness.until_more("a call over WebSocket", 20, 60).await;
    }
    proxy.apply("pass");
    ana.until("UDP", |seen| seen.returns.len() > moves + 1 && seen.returns.last() == Some(&(true, udp))).await;
    for witness in [&ana, &bo] {
        witness.until_more("a call over UDP", 20, 60).await;
    }

    stop.store(true, Ordering::Relaxed);
    let [ana_talks, bo_talks] = talking;
    let (by_ana, by_bo) = (soon("answers", ana_talks).await.unwrap(), soon("answers", bo_talks).await.unwrap());
    bo.until("all that Ana said", |seen| seen.messages.len() >= by_ana as usize).await;
    ana.until("all that Bo said", |seen| seen.messages.len() >= by_bo as usize).await;
    assert_in_order(&bo.seen().messages, by_ana);
    assert_in_order(&ana.seen().messages, by_bo);
    for (witness, before) in [&ana, &bo].into_iter().zip(before) {
        assert_eq!(witness.seen().roster, before, "nobody came or went, and no track");
    }
    assert_eq!((ana.room.participant(), picture.track()), (ana_id, track));
    assert_eq!(ana.seen().attempts, 0, "no session broke before there was another");
    let pauses = [&ana, &bo].map(|witness| witness.seen().longest_pause);
    println!("{scheme}: without media for {pauses:.2?} at most, {by_ana} and {by_bo} messages");
    pauses.into_iter().for_each(|pause| in_time(scheme, pause, PAUSE_MAX));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_over_websocket_and_returns_to_udp() {
    repeatable(async || {
        let by_default = udp_is_cut_and_passes_again("https", None);
        tokio::join!(by_default, udp_is_cut_and_passes_again("quic", Some("wss")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_over_quic_alone_waits_for_udp() {
    let relay = TestRelay::start(limits());
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    let ana = Room::connect(&proxy.url("quic"), relay.options("Ana")).await.unwrap();
    let bo = relay.join("ws", "Bo").await;
    let sound = Arc::new(bo.publish(sound()).await.unwrap());
    let _stream = stream(sound);
    let [ana, bo] = [ana, bo].map(Witness::new);
    ana.until_more("a call", 0, 60).await;
    proxy.apply("block udp");
    sleep(PAUSE_MAX).await;
    bo.room.chat().send("are you there?").await.unwrap();
    assert_eq!((ana.seen().returns, ana.seen().attempts, ana.room.carrier()), (Vec::new(), 0, Carrier::Quic));
    proxy.apply("pass");
    ana.until_more("a call", 1, 60).await;
    assert_eq!((ana.seen().returns, ana.seen().attempts), (Vec::new(), 0));
}
