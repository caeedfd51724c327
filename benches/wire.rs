//! What it costs to make bytes of messages and messages of bytes.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tertulia::wire::{
    AudioLevel, ChatMessage, ClientMessage, Datagram, Join, MediaHeader, MessageBuffer, MessageId, ParticipantId,
    ServerChat, TrackId, VERSION, decode, delimit, encode,
};

fn chat() -> ServerChat {
    ServerChat::Message(ChatMessage {
        sequence: 1_000,
        message_id: MessageId([7; 16]),
        sent_at_ms: 1_700_000_000_000,
        from: ParticipantId(12),
        from_name: "Ada".into(),
        to: None,
        body: "x".repeat(100),
    })
}

fn join() -> ClientMessage {
    ClientMessage::Join(Join {
        version: VERSION,
        room: "lobby".into(),
        name: "Ada".into(),
        token: None,
        ticket: None,
        chat_after: None,
        auto_subscribe: true,
    })
}

fn header() -> MediaHeader {
    MediaHeader {
        track: TrackId(7),
        frame: 1_000,
        depends_on_distance: 1,
        keyframe: false,
        parity: false,
        on_stream: false,
        temporal_layer: 0,
        spatial_layer: 0,
        audio_level: AudioLevel::SILENCE,
        fragment_index: 3,
        fragment_count: 10,
        timestamp: 90_000,
    }
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    let (chat, join) = (chat(), join());
    let (chat_bytes, join_bytes) = (encode(&chat), encode(&join));
    group.throughput(Throughput::Bytes(chat_bytes.len() as u64));
    group.bench_function("chat/encode", |b| b.iter(|| encode(black_box(&chat))));
    group.bench_function("chat/decode", |b| b.iter(|| decode::<ServerChat>(black_box(&chat_bytes))));
    group.throughput(Throughput::Bytes(join_bytes.len() as u64));
    group.bench_function("control/encode", |b| b.iter(|| encode(black_box(&join))));
    group.bench_function("control/decode", |b| b.iter(|| decode::<ClientMessage>(black_box(&join_bytes))));
    let stream = delimit(&chat_bytes);
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("stream/delimit", |b| b.iter(|| delimit(black_box(&chat_bytes))));
    group.bench_function("stream/pop", |b| {
        b.iter(|| {
            let mut buffer = MessageBuffer::default();
            buffer.push(black_box(&stream));
            buffer.pop()
        });
    });
    group.finish();
}

fn media(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/media");
    let header = header();
    let payload = [0; Datagram::PAYLOAD_BYTES_MAX];
    let datagram: Bytes = Datagram::new(header, &payload).bytes;
    group.throughput(Throughput::Elements(1));
    group.bench_function("header/encode", |b| b.iter(|| black_box(&header).encode()));
    group.bench_function("header/decode", |b| b.iter(|| MediaHeader::decode(black_box(&datagram))));
    group.bench_function("datagram/new", |b| b.iter(|| Datagram::new(black_box(header), &payload)));
    group.finish();
}

criterion_group!(benches, messages, media);
criterion_main!(benches);
