//! A relay as it is made in a day: whatever comes goes to quinn, with the settings that quinn has.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, ServerConfig};
use rustls::pki_types::PrivateKeyDer;
use tertulia::media::{Assembly, Decodability, Frame};
use tertulia::now::Now;
use tertulia::wire::{ALPN_QUIC, Datagram, TrackId};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::layers::{Encoders, FRAME_TIME, Wanted, note};
use super::meeting::{Frames, LINGER, Quality, Record, arrived, seed, watch_queue};
use super::network::Network;
use super::support::impair::Proxy;
use super::support::quic;

const AUDIO: TrackId = TrackId(1);
const VIDEO: TrackId = TrackId(2);

/// The largest rendition alone.
const LARGEST: u8 = 0b100;

/// How long a frame waits for others.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a subscriber of it has of audio, video and chat. Keyframes are asked for without any delay.
pub async fn run(network: &Network, seconds: u64) -> Record {
    let (endpoint, address) = server();
    let proxy = Proxy::start(address, network.script, seed()).await;
    let (client, server) = tokio::join!(quic::dial(proxy.address, ALPN_QUIC), async {
        endpoint.accept().await.expect("it listens").await
    });
    let (client, server) = (client.expect("it is there"), server.expect("it is there"));
    let (audio, video, chat, quality) = (Frames::default(), Frames::default(), Frames::default(), Quality::default());
    let wanted = Wanted::default();
    wanted.spatial_layers.store(LARGEST, Ordering::Relaxed);
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let sending = async {
        let (.., queue_ms) = tokio::join!(
            send_audio(&server, begin, end, &audio),
            send_video(&server, network.video_rate, &wanted, begin, end, &video),
            talk(&server, begin, end, &chat),
            watch_queue(&proxy, end),
        );
        sleep(LINGER).await;
        queue_ms
    };
    let queue_ms = tokio::select! {
        queue_ms = sending => queue_ms,
        () = receive(&client, begin, (&audio, &video), &quality, &wanted) => Vec::new(),
        () = listen(&client, begin, &chat) => Vec::new(),
    };
    let taken = |frames: &Frames| frames.lock().expect("nobody panics with it").clone();
    let quality = quality.lock().expect("nobody panics with it").clone();
    let (audio, video, chat) = (taken(&audio), taken(&video), taken(&chat));
    Record { audio, video, queue_ms, chat, quality, audio_left_out: None, cut: 0 }
}

fn server() -> (Endpoint, SocketAddr) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name is enough");
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let tls = tls.expect("it has TLS 1.3").with_no_client_auth();
    let mut tls = tls.with_single_cert(vec![certified.cert.der().clone()], key).expect("they belong together");
    tls.alpn_protocols = vec![ALPN_QUIC.to_vec()];
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("it has what QUIC needs")));
    let endpoint = Endpoint::server(config, ([127, 0, 0, 1], 0).into()).expect("a port is free");
    let address = endpoint.local_addr().expect("it is bound");
    (endpoint, address)
}

fn send(connection: &Connection, track: TrackId, frame: &Frame) {
    for datagram in frame.datagrams(track).expect("it is small") {
        // The connection outlives the run.
        let _ = connection.send_datagram(datagram.bytes);
    }
}

async fn send_audio(connection: &Connection, begin: Instant, end: Instant, sent: &Frames) {
    let mut due = interval(Duration::from_millis(20));
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in 0.. {
        if due.tick().await >= end {
            return;
        }
        note(sent, begin);
        let data = Bytes::from(vec![0; 120]);
        send(connection, AUDIO, &Frame { number, timestamp: number, data, ..Frame::default() });
    }
}

async fn send_video(connection: &Connection, rate: u64, wanted: &Wanted, begin: Instant, end: Instant, sent: &Frames) {
    let mut due = interval(FRAME_TIME);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut encoders = Encoders::default();
    for moment in 0.. {
        if due.tick().await >= end {
            return;
        }
        note(sent, begin);
        encoders.frames(moment, rate, wanted).iter().for_each(|frame| send(connection, VIDEO, frame));
    }
}

async fn talk(connection: &Connection, begin: Instant, end: Instant, said: &Frames) {
    let mut stream = connection.open_uni().await.expect("there may be a hundred");
    let mut due = interval(Duration::from_millis(200));
    while due.tick().await < end {
        note(said, begin);
        if stream.write_all(&[0; 100]).await.is_err() {
            return;
        }
    }
}

async fn listen(connection: &Connection, begin: Instant, said: &Frames) {
    let Ok(mut stream) = connection.accept_uni().await else { return };
    for number in 0.. {
        if stream.read_exact(&mut [0; 100]).await.is_err() {
            // All was said.
            return pending().await;
        }
        arrived(begin, said, number);
    }
}

async fn receive(
    connection: &Connection,
    begin: Instant,
    (audio, video): (&Frames, &Frames),
    quality: &Quality,
    wanted: &Wanted,
) {
    let mut pictures = Assembly::new(Decodability::Dependent, PATIENCE);
    while let Ok(bytes) = connection.read_datagram().await {
        let Ok(datagram) = Datagram::decode(bytes) else { continue };
        if datagram.header.track == AUDIO {
            arrived(begin, audio, datagram.header.timestamp as usize);
            continue;
        }
        let now = Now::after(begin.elapsed());
        pictures.push(now, &datagram);
        while let Some(frame) = pictures.pop(now) {
            arrived(begin, video, frame.timestamp as usize);
            let layers = (frame.spatial_layer, frame.temporal_layer);
            quality.lock().expect("nobody panics with it").push((begin.elapsed(), layers));
        }
        if pictures.needs_keyframe() {
            wanted.keyframes.fetch_or(LARGEST, Ordering::Relaxed);
        }
    }
}
