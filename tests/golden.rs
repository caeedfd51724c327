//! The bytes of every message, as `tests/golden/wire.json` has them for Rust and JavaScript alike.
//!
//! A change of the wire is made in one commit with that file and the version. `GOLDEN=write cargo test --test golden` writes
//! the bytes that the Rust code makes now into it.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;
use tertulia::media::Frame;
use tertulia::wire::*;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wire.json");
const ID: [u8; 16] = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes();

fn camera() -> TrackInfo {
    TrackInfo {
        source: TrackSource::Camera,
        codec: "vp8".into(),
        media: TrackMedia::Video {
            width: 640,
            height: 360,
            frame_rate: Rational { numerator: 30, denominator: 1 },
            temporal_layers: 3,
            spatial_layers: 2,
        },
        description: vec![],
    }
}

fn microphone() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 2 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: b"Opus".into() }
}

fn published(track: u32, info: TrackInfo, muted: bool) -> PublishedTrack {
    PublishedTrack { track: TrackId(track), info, muted }
}

fn client_messages() -> Vec<(&'static str, ClientMessage)> {
    use ClientMessage::*;
    let join = a_join();
    let full = self::Join {
        room: "stand-up_1".into(),
        name: "José 👋".into(),
        token: Some("a.b.c".into()),
        ticket: Some(ID.to_vec()),
        chat_after: Some(ChatPosition { epoch: (1 << 53) - 1, sequence: 300 }),
        auto_subscribe: false,
        ..a_join()
    };
    vec![
        ("join", Join(join)),
        ("join with everything", Join(full)),
        ("publish camera", Publish { request: 1, track: camera() }),
        ("publish microphone", Publish { request: 251, track: microphone() }),
        ("unpublish", Unpublish { request: 2, track: TrackId(7) }),
        ("set muted", SetMuted { request: 3, track: TrackId(7), muted: true }),
        ("subscribe", Subscribe { request: 4, track: TrackId(65_536) }),
        ("unsubscribe", Unsubscribe { request: 5, track: TrackId(250) }),
        ("set auto subscribe", SetAutoSubscribe { request: 6, enabled: false }),
        ("request keyframe", RequestKeyframe { track: TrackId(7), spatial_layer: 1 }),
        ("ping", Ping { token: 1 << 32 }),
        ("leave", Leave),
        ("remove participant", RemoveParticipant { request: 7, participant: ParticipantId(3) }),
        ("mute track", MuteTrack { request: 8, track: TrackId(7) }),
        ("set locked", SetLocked { request: 9, locked: true }),
        ("end meeting", EndMeeting { request: 10 }),
        ("set layers", SetLayers { request: 11, track: TrackId(7), spatial_layer: 2, temporal_layer: 255 }),
        ("report", Report { tracks: vec![good_report(), bad_report()] }),
        ("report on nothing", Report { tracks: vec![] }),
        ("measurements wanted", MeasurementsWanted { request: 251 }),
        ("set pinned", SetPinned { request: 12, track: TrackId(7), pinned: true }),
    ]
}

fn a_join() -> Join {
    Join {
        version: VERSION,
        room: "lobby".into(),
        name: "Ana".into(),
        token: None,
        ticket: None,
        chat_after: None,
        auto_subscribe: true,
    }
}

fn server_messages() -> Vec<(&'static str, ServerMessage)> {
    use ServerMessage::*;
    let welcome = self::Welcome {
        participant: ParticipantId(3),
        ticket: ID.to_vec(),
        seat_ms: 30_000,
        resumed: true,
        tracks: vec![published(6, camera(), false)],
        participants: 2,
        chat: ChatPosition { epoch: 77, sequence: 12 },
        locked: false,
        name: "Ana".into(),
        permissions: Permissions {
            publish: vec![TrackSource::Microphone, TrackSource::Screen],
            subscribe: true,
            chat: true,
            admin: true,
            hidden: false,
        },
        media_bytes_max: 1000,
        chat_bytes_max: 16_384,
        relay: "tertulia 0.1.0".into(),
    };
    let info = ParticipantInfo {
        participant: ParticipantId(1),
        name: "Bo".into(),
        identity: Some("bo-1".into()),
        metadata: "{}".into(),
        kind: ParticipantKind::Meeting,
        tracks: vec![published(7, camera(), false), published(8, microphone(), true)],
    };
    let plain = ParticipantInfo {
        participant: ParticipantId(2),
        name: "guest 2".into(),
        identity: None,
        metadata: String::new(),
        kind: ParticipantKind::Plain,
        tracks: vec![],
    };
    let (participant, track) = (ParticipantId(1), TrackId(9));
    vec![
        ("welcome", Welcome(welcome)),
        ("participant joined", ParticipantJoined(info)),
        ("plain participant joined", ParticipantJoined(plain)),
        ("participant left", ParticipantLeft { participant, reason: CloseReason::Removed }),
        ("track published", TrackPublished { participant, track: published(9, microphone(), false) }),
        ("track unpublished", TrackUnpublished { participant, track }),
        ("track muted", TrackMuted { track, muted: true }),
        ("published", Published { request: 1, track: TrackId(10) }),
        ("done", Done { request: 2 }),
        ("failed", failed()),
        ("keyframe requested", KeyframeRequested { track: TrackId(7), spatial_layer: 2 }),
        ("pong", Pong { token: 1 << 32, relay_time_us: 123_456_789_012 }),
        ("closing", Closing { reason: CloseReason::SlowConsumer, message: CloseReason::SlowConsumer.to_string() }),
        ("room locked", RoomLocked { locked: true }),
        ("layers wanted", LayersWanted { track: TrackId(7), spatial_layers: 0b101, temporal_layer: 2 }),
        ("feedback", Feedback { track: TrackId(7), reports: 251, best: good_report(), worst: bad_report() }),
        ("active speakers", ActiveSpeakers { participants: vec![ParticipantId(3), ParticipantId(251)] }),
        ("nobody speaks", ActiveSpeakers { participants: vec![] }),
        ("measurements", Measurements { request: 251, measurements: measurements() }),
        ("no measurements yet", Measurements { request: 1, measurements: nothing_measured() }),
        ("on stage", OnStage { participants: vec![ParticipantId(3), ParticipantId(251)] }),
    ]
}

fn measurements() -> Measurements {
    Measurements {
        round_trip_us: 62_000,
        bandwidth_bps: 4_000_000_000,
        sent: 65_536,
        packets_sent: 300,
        packets_lost: 3,
        received: 251,
        missing: 0,
        jitter_ms: 250,
        left_out: vec![
            LeftOut { reason: DropReason::SubscriberSlow, datagrams: 251 },
            LeftOut { reason: DropReason::PathTooSmall, datagrams: 1 },
        ],
    }
}

fn nothing_measured() -> Measurements {
    Measurements {
        round_trip_us: 0,
        bandwidth_bps: 0,
        sent: 0,
        packets_sent: 0,
        packets_lost: 0,
        received: 0,
        missing: 0,
        jitter_ms: 0,
        left_out: vec![],
    }
}

fn good_report() -> TrackReport {
    TrackReport { track: TrackId(7), received: 300, lost: 0, jitter_ms: 3, delay_ms: 1 }
}

fn bad_report() -> TrackReport {
    TrackReport { track: TrackId(7), received: u32::MAX, lost: 65_536, jitter_ms: 250, delay_ms: u16::MAX }
}

fn failed() -> ServerMessage {
    let reason = RefuseReason::TrackUnknown;
    ServerMessage::Failed { request: 3, reason, message: reason.to_string() }
}

fn client_chat() -> Vec<(&'static str, ClientChat)> {
    let message_id = MessageId(ID);
    vec![
        ("send", ClientChat::Send { message_id, to: None, body: "hello".into() }),
        ("send to one", ClientChat::Send { message_id, to: Some(ParticipantId(4)), body: "¡hola! 🎉\n".into() }),
        ("typing", ClientChat::Typing { active: true }),
    ]
}

fn server_chat() -> Vec<(&'static str, ServerChat)> {
    let message_id = MessageId(ID);
    let reason = RefuseReason::ChatTooLong;
    let message = ChatMessage {
        sequence: 70_000,
        message_id,
        sent_at_ms: 1_700_000_000_001,
        from: ParticipantId(2),
        from_name: "guest 2".into(),
        to: None,
        body: "hi".into(),
    };
    vec![
        ("accepted", ServerChat::Accepted { message_id, sequence: 65_535, sent_at_ms: 1_700_000_000_000 }),
        ("chat refused", ServerChat::Refused { message_id, reason, message: reason.to_string() }),
        ("message", ServerChat::Message(message)),
        ("caught up", ServerChat::CaughtUp { position: ChatPosition { epoch: 77, sequence: 12 }, first_kept: 5 }),
        ("typing of another", ServerChat::Typing { participant: ParticipantId(4), active: false }),
        ("not kept", ServerChat::NotKept { message_id, sent_at_ms: 1_700_000_000_000 }),
    ]
}

fn datagrams() -> Vec<(&'static str, Datagram)> {
    let video = MediaHeader {
        track: TrackId(7),
        frame: 66_051,
        depends_on_distance: 2,
        keyframe: false,
        parity: false,
        on_stream: false,
        temporal_layer: 2,
        spatial_layer: 1,
        audio_level: AudioLevel::SILENCE,
        fragment_index: 1,
        fragment_count: 3,
        timestamp: u32::MAX,
    };
    let whole = MediaHeader {
        frame: 0,
        depends_on_distance: 0,
        temporal_layer: 0,
        spatial_layer: 0,
        fragment_index: 0,
        fragment_count: 1,
        ..video
    };
    let audio =
        MediaHeader { track: TrackId(8), keyframe: true, audio_level: AudioLevel::new(32), timestamp: 1800, ..whole };
    vec![
        ("video fragment", Datagram::new(video, &[0xc0, 0xff, 0xee])),
        ("audio keyframe", Datagram::new(audio, &[0])),
        ("parity", Datagram::new(MediaHeader { parity: true, ..video }, &[0xff])),
        ("on a stream", Datagram::new(MediaHeader { on_stream: true, ..video }, &[0xc0])),
        ("echo", Datagram::new(MediaHeader { track: TrackId::ECHO, frame: 5, timestamp: 0, ..whole }, &[0x2a])),
    ]
}

fn repeat_requests() -> Vec<(&'static str, RepeatRequest)> {
    let mut some = Wanted::fragment(66_051, 1);
    assert!(some.add(66_051, 2) && some.add(66_051, 17));
    let wanted = vec![Wanted::whole(66_050), some];
    vec![("repeat request", RepeatRequest { track: TrackId(7), spatial_layer: 1, wanted })]
}

/// Every message by name, with its bytes, after checking that the bytes mean the message again.
fn vectors() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    fn each<M>(
        kind: &'static str,
        messages: Vec<(&'static str, M)>,
    ) -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)>
    where
        M: bincode::Encode + bincode::Decode<()> + PartialEq + std::fmt::Debug,
    {
        messages.into_iter().map(move |(name, message)| {
            let bytes = encode(&message);
            assert_eq!(decode(&bytes), Ok(message), "{name}");
            (kind, name, bytes)
        })
    }
    let datagrams = datagrams().into_iter().map(|(name, datagram)| {
        assert_eq!(Datagram::decode(datagram.bytes.clone()), Ok(datagram.clone()), "{name}");
        ("Datagram", name, datagram.bytes.to_vec())
    });
    let requests = repeat_requests().into_iter().map(|(name, request)| {
        let bytes = request.encode();
        assert_eq!(RepeatRequest::decode(&bytes), Ok(request), "{name}");
        ("RepeatRequest", name, bytes.to_vec())
    });
    each("ClientMessage", client_messages())
        .chain(each("ServerMessage", server_messages()))
        .chain(each("ClientChat", client_chat()))
        .chain(each("ServerChat", server_chat()))
        .chain(datagrams)
        .chain(requests)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_message_has_the_bytes_of_the_golden_file() {
    let mut file: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(PATH).unwrap()).unwrap();
    if std::env::var_os("GOLDEN").is_some_and(|mode| mode == "write") {
        for (kind, name, bytes) in vectors() {
            let entry = file.iter_mut().find(|entry| entry["name"] == name && entry["type"] == kind);
            entry.unwrap_or_else(|| panic!("add {name:?} to the file"))["hex"] = hex(&bytes).into();
        }
        let lines: Vec<_> = file.iter().map(|entry| format!("  {entry}")).collect();
        std::fs::write(PATH, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
    }
    let golden = file.iter().map(|entry| {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        (text("type"), text("name"), text("hex"))
    });
    let made = vectors().into_iter().map(|(kind, name, bytes)| (kind.to_owned(), name.to_owned(), hex(&bytes)));
    assert_eq!(made.collect::<BTreeSet<_>>(), golden.collect::<BTreeSet<_>>());
}

#[test]
fn a_truncated_message_is_refused_wherever_it_is_cut() {
    for (kind, name, bytes) in vectors() {
        for cut in 0..bytes.len() {
            let cut = &bytes[..cut];
            let refused = match kind {
                "ClientMessage" => decode::<ClientMessage>(cut).is_err(),
                "ServerMessage" => decode::<ServerMessage>(cut).is_err(),
                "ClientChat" => decode::<ClientChat>(cut).is_err(),
                "ServerChat" => decode::<ServerChat>(cut).is_err(),
                "RepeatRequest" => cut.len() == 15 || RepeatRequest::decode(cut).is_err(),
                // A datagram has no length of its own: it is whole as soon as it has a payload.
                _ => cut.len() > HEADER_BYTES + 1 || Datagram::decode(Bytes::copy_from_slice(cut)).is_err(),
            };
            assert!(refused, "{kind} {name:?} cut to {} bytes", cut.len());
        }
    }
}

/// The parity of frames of so many bytes, each of which is seven times its place and a 251st of it.
#[test]
fn parity_has_the_bytes_of_its_golden_file() {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/parity.json");
    let made = [20, 1500, 4881].map(|bytes: usize| {
        let data = (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<_>>().into();
        let frame = Frame { number: 3, data, ..Frame::default() };
        let all: Vec<_> = frame.datagrams_with_parity(TrackId(7)).unwrap().collect();
        let hex_of =
            |is_parity| all.iter().filter(|its| its.header.parity == is_parity).map(|its| hex(&its.bytes)).collect();
        let (fragments, parity): (Vec<_>, Vec<_>) = (hex_of(false), hex_of(true));
        format!("  {{\"bytes\":{bytes},\"fragments\":{},\"parity\":{parity:?}}}", fragments.len())
    });
    let made = format!("[\n{}\n]\n", made.join(",\n"));
    if std::env::var_os("GOLDEN").is_some_and(|mode| mode == "write") {
        std::fs::write(PATH, &made).unwrap();
    }
    assert_eq!(made, std::fs::read_to_string(PATH).unwrap());
}
