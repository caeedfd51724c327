//! Large frames travel on streams: whole over a path that loses, and given up when nobody wants them any more.

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use support::impair::Proxy;
use support::quic::{self, QuicMember};
use support::{TestRelay, subscribed};
use tertulia::client::{LocalTrack, Options, RemoteTrack, Room};
use tertulia::config::Config;
use tertulia::limits::{FRAMES_ON_STREAMS_MAX, Limits, REPEAT_ASKS_MAX, STREAMS_UNIDIRECTIONAL_MAX};
use tertulia::media::{Delivery, Frame};
use tertulia::relay::Callbacks;
use tertulia::transport::Congestion;
use tertulia::wire::{
    CloseReason, DropReason, MEDIA_STREAM, Rational, StreamKind, TrackId, TrackInfo, TrackMedia, TrackSource, delimit,
};
use tokio::time::{Instant, sleep, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A keyframe of a screen: 62 datagrams.
const LARGE_BYTES: usize = 60_000;

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

fn screen() -> TrackInfo {
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 1920, height: 1080, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Screen, codec: "vp8".into(), media, description: Vec::new() }
}

/// A keyframe that travels on a stream.
fn large(number: u32) -> Frame {
    let data = Bytes::from(vec![number as u8; LARGE_BYTES]);
    Frame { number, data, delivery: Some(Delivery::Stream), ..Frame::default() }
}

/// A frame in one datagram, which needs the one before it.
fn small(number: u32) -> Frame {
    let data = Bytes::from(vec![number as u8; 500]);
    Frame { number, keyframe: false, depends_on_distance: 1, data, ..Frame::default() }
}

async fn next(track: &RemoteTrack) -> Frame {
    soon("a frame", track.next_frame()).await.expect("the track goes on")
}

fn assert_is(came: &Frame, sent: &Frame) {
    assert_eq!((came.number, came.keyframe, came.delivery), (sent.number, sent.keyframe, sent.delivery));
    assert_eq!(came.data, sent.data, "frame {} is whole", sent.number);
}

fn counted(relay: &TestRelay, name: &str) -> u64 {
    let text = relay.relay.metrics().text();
    let count = text.lines().find_map(|line| line.strip_prefix(&format!("tertulia_{name} ")));
    count.expect("it is counted").parse().expect("it is a number")
}

/// A relay that does not take every loss for a full path.
fn relay() -> TestRelay {
    let config = Config { congestion: Congestion::Tertulia, ..Config::default() };
    TestRelay::start_config(config, Callbacks::default())
}

/// One where nothing is late for half a minute.
fn patient_relay() -> TestRelay {
    let limits = Limits { video_deadline_ms: 10_000, ..Limits::default() };
    let config = Config { congestion: Congestion::Tertulia, limits, ..Config::default() };
    TestRelay::start_config(config, Callbacks::default())
}

fn options(relay: &TestRelay, name: &str) -> Options {
    Options { congestion: Congestion::Tertulia, ..relay.options(name) }
}

/// Pairs of a large frame and a small one that needs it, each when the one before has come, by these schemes through these networks.
async fn pass(from: (&str, &str), to: (&str, &str)) {
    const PAIRS: u64 = 4;
    let relay = relay();
    let near = Proxy::start(relay.relay.address(), from.1, 3).await;
    let far = Proxy::start(relay.relay.address(), to.1, 4).await;
    let ana = Room::connect(&near.url(from.0), options(&relay, "Ana")).await.unwrap();
    let ben = Room::connect(&far.url(to.0), options(&relay, "Ben")).await.unwrap();
    let track = ana.publish(screen()).await.unwrap();
    let seen = subscribed(&ben).await;
    let mut number = 0;
    for _ in 0..PAIRS {
        number = arrives(&track, &seen, number).await + 2;
        // It may be lost and asked for once more, and takes one datagram.
        track.send_frame(small(number - 1)).await.unwrap();
    }
    let repeated = counted(&relay, "datagrams_repeated_total");
    // A large frame alone has more datagrams than all of the small ones may be asked for.
    let most = PAIRS * u64::from(REPEAT_ASKS_MAX);
    assert!(repeated <= most, "nothing on a stream is sent once more: {repeated} datagrams");
}

/// Sends a large frame of this number, and another one whenever a keyframe is asked for, until one has come. Says which.
async fn arrives(track: &LocalTrack, seen: &RemoteTrack, first: u32) -> u32 {
    let mut sent = first;
    let arrival = async {
        track.send_frame(large(sent)).await.unwrap();
        loop {
            tokio::select! {
                came = seen.next_frame() => {
                    let came = came.expect("the track goes on");
                    if came.keyframe {
                        assert_is(&came, &large(came.number));
                        return came.number;
                    }
                }
                _ = track.next_keyframe_request() => {
                    sent += 1;
                    track.send_frame(large(sent)).await.unwrap();
                }
            }
        }
    };
    soon("a large frame", arrival).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_frame_comes_whole_over_a_path_that_loses() {
    for scheme in ["quic", "https"] {
        pass((scheme, "clear"), (scheme, "delay 30ms loss 5%")).await;
        pass((scheme, "delay 30ms loss 5%"), (scheme, "clear")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carriers_without_streams_carry_large_frames_as_well() {
    pass(("wss", "clear"), ("quic", "delay 5ms")).await;
    pass(("https", "delay 5ms"), ("wss", "clear")).await;
}

/// Someone who shows a screen, someone beside the relay who sees it, and someone whose path can be stopped.
async fn show(scheme: &str) -> (TestRelay, Proxy, [Room; 3], LocalTrack, [RemoteTrack; 2]) {
    show_on(relay(), scheme).await
}

async fn show_on(relay: TestRelay, scheme: &str) -> (TestRelay, Proxy, [Room; 3], LocalTrack, [RemoteTrack; 2]) {
    let proxy = Proxy::start(relay.relay.address(), "delay 10ms", 5).await;
    let (ana, cat) = (relay.join(scheme, "Ana").await, relay.join("quic", "Cat").await);
    let ben = Room::connect(&proxy.url(scheme), options(&relay, "Ben")).await.unwrap();
    let track = ana.publish(screen()).await.unwrap();
    let (cat_sees, ben_sees) = (subscribed(&cat).await, subscribed(&ben).await);
    arrives(&track, &ben_sees, 0).await;
    soon("a picture", cat_sees.next_frame()).await;
    (relay, proxy, [ana, ben, cat], track, [cat_sees, ben_sees])
}

/// Shows a new picture again and again, from this number on, until one of them comes: the first ones may be stale before it is
/// noticed that the path is back.
async fn back_again(track: &LocalTrack, seen: &RemoteTrack, first: u32) {
    let begin = Instant::now();
    let shown = async {
        for number in first.. {
            track.send_frame(large(number)).await.expect("the room goes on");
            sleep(Duration::from_secs(1)).await;
        }
    };
    let come = async { while next(seen).await.number < first {} };
    tokio::select! {
        () = shown => {}
        () = soon("the picture is back", come) => println!("back after {:?}", begin.elapsed()),
    }
}

/// Waits until something was left out for one of these reasons.
async fn given_up(relay: &TestRelay, reasons: &[DropReason]) {
    let waited = async {
        while reasons.iter().all(|reason| relay.relay.metrics().dropped(*reason) == 0) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    soon("something is given up", waited).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_subscriber_holds_up_nobody_and_is_current_when_it_is_back() {
    for scheme in ["quic", "https"] {
        let (relay, proxy, _rooms, track, [cat_sees, ben_sees]) = show(scheme).await;
        proxy.apply("down rate 12kbit queue 8kb");
        let begin = Instant::now();
        // Each is another keyframe: nobody needs the one before it.
        let mut number = 10;
        for _ in 0..20 {
            number = 1 + arrives(&track, &cat_sees, number).await;
            sleep(Duration::from_millis(100)).await;
        }
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(10), "{scheme}: Cat is held up: {took:?}");
        given_up(&relay, &[DropReason::Superseded, DropReason::Late]).await;
        proxy.apply("clear");
        back_again(&track, &ben_sees, number + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_gives_up_what_is_stale() {
    for scheme in ["quic", "https"] {
        let relay = relay();
        let proxy = Proxy::start(relay.relay.address(), "delay 10ms", 6).await;
        let ana = Room::connect(&proxy.url(scheme), options(&relay, "Ana")).await.unwrap();
        let ben = relay.join("quic", "Ben").await;
        let track = ana.publish(screen()).await.unwrap();
        let seen = subscribed(&ben).await;
        let number = 1 + arrives(&track, &seen, 0).await;
        proxy.apply("up rate 12kbit queue 8kb");
        track.send_frame(large(number)).await.unwrap();
        let given_up = async {
            while track.datagrams_dropped() == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        soon("it is given up", given_up).await;
        proxy.apply("clear");
        back_again(&track, &seen, number + 1).await;
    }
}

/// Someone who shows a screen and does what it likes on streams, and someone who sees it.
async fn offend(relay: &TestRelay) -> (QuicMember, TrackId, RemoteTrack, Room) {
    let ben = relay.join("quic", "Ben").await;
    let mut ana = quic::join(relay.relay.address(), "lobby").await.unwrap();
    let track = ana.publish(screen()).await;
    let seen = subscribed(&ben).await;
    (ana, track, seen, ben)
}

/// The first so many bytes of a stream with a large frame.
fn begun(track: TrackId, number: u32, bytes: usize) -> Vec<u8> {
    let mut stream = vec![MEDIA_STREAM];
    large(number).datagrams(track).unwrap().for_each(|datagram| stream.extend(delimit(&datagram.bytes)));
    stream.truncate(bytes);
    stream
}

/// A stream with a large frame, as it should be.
fn good(track: TrackId, number: u32) -> Vec<u8> {
    begun(track, number, usize::MAX)
}

async fn open_stream(member: &QuicMember, bytes: &[u8]) -> quinn::SendStream {
    let mut stream = soon("a stream", member.connection.open_uni()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn send_stream(member: &QuicMember, bytes: &[u8]) {
    open_stream(member, bytes).await.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_belong_on_a_stream_is_counted_and_the_rest_goes_on() {
    let relay = TestRelay::start(Limits::default());
    let (mut ana, track, seen, _ben) = offend(&relay).await;
    let mut cat = quic::join(relay.relay.address(), "lobby").await.unwrap();
    let foreign = cat.publish(screen()).await;
    for (bytes, reason) in [
        ([&[MEDIA_STREAM][..], &delimit(b"no media")].concat(), DropReason::ForeignSession),
        ([&[MEDIA_STREAM][..], &delimit(b"\x00\x10short")].concat(), DropReason::Malformed),
        ([&[MEDIA_STREAM][..], &delimit(b"")].concat(), DropReason::Malformed),
        (begun(track, 5, 3000), DropReason::Malformed),
        (good(foreign, 6), DropReason::TrackNotOwned),
        (good(TrackId(9999), 7), DropReason::TrackUnknown),
    ] {
        let before = relay.relay.metrics().dropped(reason);
        send_stream(&ana, &bytes).await;
        let counted = async {
            while relay.relay.metrics().dropped(reason) == before {
                sleep(Duration::from_millis(5)).await;
            }
        };
        soon(reason.label(), counted).await;
    }
    send_stream(&ana, &good(track, 9)).await;
    assert_is(&next(&seen).await, &large(9));
    assert!(ana.is_seated().await, "the session goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_do_not_end_hold_up_no_others_and_there_are_not_many_of_them() {
    let relay = TestRelay::start(Limits::default());
    let (mut ana, track, seen, _ben) = offend(&relay).await;
    let mut silent = open_stream(&ana, b"").await;
    let mut slow = open_stream(&ana, &begun(track, 5, 3000)).await;
    let mut idle = vec![open_stream(&ana, &[MEDIA_STREAM]).await];
    send_stream(&ana, &good(track, 9)).await;
    assert_is(&next(&seen).await, &large(9));
    while let Some(stream) = ana.connection.open_uni().now_or_never() {
        idle.push(stream.unwrap());
    }
    assert!(idle.len() <= STREAMS_UNIDIRECTIONAL_MAX as usize - 2, "{} streams", idle.len() + 2);
    // Those that stay silent make place for others.
    for (stream, reason) in [(&mut silent, CloseReason::JoinTimeout), (&mut slow, CloseReason::IdleTimeout)] {
        let code = soon("it is stopped", stream.stopped()).await.unwrap();
        assert_eq!(code.map(quinn::VarInt::into_inner), Some(u64::from(reason.code())));
    }
    assert!(counted(&relay, "streams_stopped_total{reason=\"silent\"}") >= 1);
    assert_eq!(counted(&relay, "streams_stopped_total{reason=\"slow\"}"), 1);
    for mut stream in idle {
        // Some were stopped meanwhile.
        let _ = stream.reset(0_u32.into());
    }
    send_stream(&ana, &good(track, 10)).await;
    assert_is(&next(&seen).await, &large(10));
    assert!(ana.is_seated().await, "the session goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_do_not_end_take_their_own_places_alone() {
    let relay = TestRelay::start(Limits::default());
    let (ana, track, seen, _ben) = offend(&relay).await;
    let mut mallory = quic::join(relay.relay.address(), "lobby").await.unwrap();
    let flood = mallory.publish(screen()).await;
    let shown = async {
        for round in 0.. {
            let mut bytes = vec![MEDIA_STREAM];
            for number in 0..2 * FRAMES_ON_STREAMS_MAX as u32 {
                let frame = large(round * 1000 + number);
                bytes.extend(delimit(&frame.datagrams(flood).unwrap().next().unwrap().bytes));
            }
            send_stream(&mallory, &bytes).await;
            given_up(&relay, &[DropReason::SubscriberSlow]).await;
            send_stream(&ana, &good(track, round)).await;
            sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = shown => {}
        came = next(&seen) => assert_is(&came, &large(came.number)),
    }
    assert!(counted(&relay, "media_streams_sent_total") > FRAMES_ON_STREAMS_MAX as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_the_framing_ends_its_session() {
    let too_long = [&[MEDIA_STREAM][..], &1002_u32.to_be_bytes()].concat();
    for (bytes, expected) in [
        (vec![0x03], CloseReason::UnexpectedStream),
        (vec![StreamKind::Control.byte()], CloseReason::UnexpectedStream),
        (too_long, CloseReason::TooLarge),
    ] {
        let relay = TestRelay::start(Limits::default());
        let (ana, _, _, _ben) = offend(&relay).await;
        send_stream(&ana, &bytes).await;
        let end = soon("the end", ana.connection.closed()).await;
        let quinn::ConnectionError::ApplicationClosed(close) = end else {
            panic!("{bytes:?}: {end}");
        };
        assert_eq!(close.error_code.into_inner(), u64::from(expected.code()), "{bytes:?}");
    }
}

async fn counts(relay: &TestRelay, reason: DropReason, datagrams: u64) {
    let counted = async {
        while relay.relay.metrics().dropped(reason) < datagrams {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon(reason.label(), counted).await;
    assert_eq!(relay.relay.metrics().dropped(reason), datagrams, "{}", reason.label());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_a_frame_whose_stream_is_stopped_is_counted() {
    let relay = TestRelay::start(Limits::default());
    let mut ben = quic::join(relay.relay.address(), "lobby").await.unwrap();
    let mut ana = quic::join(relay.relay.address(), "lobby").await.unwrap();
    let track = ana.publish(screen()).await;
    let frame = large(5);
    let datagrams: Vec<_> = frame.datagrams(track).unwrap().collect();
    let (bytes, begun_bytes) = (good(track, 5), 1 + 2 * delimit(&datagrams[0].bytes).len());
    let mut sending = open_stream(&ana, &bytes[..begun_bytes]).await;
    let mut seen = soon("the frame", ben.connection.accept_uni()).await.unwrap();
    soon("its beginning", seen.read_exact(&mut vec![0; begun_bytes])).await.unwrap();
    seen.stop(0_u32.into()).unwrap();
    assert!(ben.is_seated().await, "the relay has heard it");
    sending.write_all(&bytes[begun_bytes..]).await.unwrap();
    sending.finish().unwrap();
    counts(&relay, DropReason::StreamStopped, datagrams.len() as u64 - 2).await;
    assert!(ana.is_seated().await && ben.is_seated().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_comes_twice_is_counted_the_second_time() {
    let (relay, proxy, _rooms, track, [cat_sees, _ben_sees]) = show_on(patient_relay(), "quic").await;
    let before = relay.relay.metrics().dropped(DropReason::Doubled);
    proxy.apply("down loss 100%");
    let frame = Frame { data: vec![1; 2500].into(), ..large(10) };
    track.send_frame(frame.clone()).await.unwrap();
    while next(&cat_sees).await.number != frame.number {}
    track.send_frame(frame.clone()).await.unwrap();
    let doubled = || relay.relay.metrics().dropped(DropReason::Doubled) - before;
    let counted = async {
        while doubled() < 3 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("three datagrams more", counted).await;
    // Cat's count as well where the stream of hers is not acknowledged yet.
    assert!(doubled() <= 2 * 3, "{} datagrams", doubled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_subscriber_that_goes_is_counted() {
    let (relay, proxy, [_ana, ben, _cat], track, [cat_sees, _ben_sees]) = show_on(patient_relay(), "quic").await;
    proxy.apply("down loss 100%");
    // More than the window of any connection takes.
    for number in 10..15 {
        track.send_frame(large(number)).await.unwrap();
        while next(&cat_sees).await.number != number {}
    }
    tokio::spawn(async move { ben.disconnect().await });
    given_up(&relay, &[DropReason::SubscriberGone]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rendition_that_begins_does_not_wait_for_a_large_frame_of_the_one_before() {
    let relay = patient_relay();
    let proxy = Proxy::start(relay.relay.address(), "delay 10ms", 7).await;
    let ana = relay.join("quic", "Ana").await;
    let ben = Room::connect(&proxy.url("quic"), options(&relay, "Ben")).await.unwrap();
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 1920, height: 1080, frame_rate, temporal_layers: 1, spatial_layers: 2 };
    let track = ana.publish(TrackInfo { media, ..screen() }).await.unwrap();
    let seen = subscribed(&ben).await;
    let of = |spatial_layer, number, bytes| Frame {
        number,
        spatial_layer,
        data: vec![1; bytes].into(),
        delivery: Some(Delivery::Stream),
        ..Frame::default()
    };
    track.send_frame(of(1, 0, 20_000)).await.unwrap();
    assert_eq!(next(&seen).await.spatial_layer, 1);
    proxy.apply("down loss 100%");
    let streams = counted(&relay, "media_streams_sent_total");
    track.send_frame(of(1, 1, 20_000)).await.unwrap();
    let begun = async {
        while counted(&relay, "media_streams_sent_total") == streams {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the large one is under way", begun).await;
    let id = track.track();
    tokio::spawn(async move { ben.set_layers(id, 0, 0).await });
    let shown = async {
        let mut number = 0;
        while let Some(spatial_layer) = track.next_keyframe_request().await {
            // Another keyframe of the larger one would take the place of that which is under way.
            if spatial_layer == 0 {
                track.send_frame(of(0, number, 3000)).await.unwrap();
                number += 1;
            }
        }
    };
    tokio::select! {
        () = shown => {}
        () = given_up(&relay, &[DropReason::Superseded]) => {}
    }
}
