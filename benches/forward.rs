//! What it costs to decide where a datagram goes, and per subscriber to hand it on: the buffer is shared, so that is a
//! reference count. Sending is measured by `fan_out`.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tertulia::limits::Limits;
use tertulia::media::{Forward, Frame, Publisher, Routes, Slot};
use tertulia::now::Now;
use tertulia::wire::{Layers, TrackId};

const PUBLISHER: Slot = Slot(0);
const LAYERS: Layers = Layers { spatial: 2, temporal: 2 };

/// A room of 16 tracks, of which each has that many subscribers.
fn routes(subscribers: u32) -> Routes {
    let mut routes = Routes::default();
    for track in (1..=16).map(TrackId) {
        routes.open(track, PUBLISHER, LAYERS);
        for slot in 1..=subscribers {
            routes.subscribe(track, Slot(slot), LAYERS);
        }
    }
    routes
}

fn forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("forward");
    let frame = Frame { spatial_layer: 2, data: vec![0; 980].into(), ..Frame::default() };
    let datagram: Bytes =
        frame.datagrams(TrackId(9)).expect("one fragment").next().expect("one fragment").bytes.clone();
    let limits = Limits::default();
    for subscribers in [2, 10, 50, 200] {
        let routes = routes(subscribers);
        let mut publisher = Publisher::on_lossy_path(PUBLISHER);
        let mut time = Duration::ZERO;
        // 10 ms a datagram: within the budget.
        let mut decide = || {
            time += Duration::from_millis(10);
            match routes.forward(Now::after(time), &limits, &mut publisher, black_box(&datagram)) {
                Ok(Forward::To(slots)) => slots,
                other => unreachable!("the datagram is good: {other:?}"),
            }
        };
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("decision", subscribers), |b| b.iter(|| decide().len()));
        group.throughput(Throughput::Elements(u64::from(subscribers)));
        group.bench_function(BenchmarkId::new("per_subscriber", subscribers), |b| {
            b.iter(|| decide().iter().for_each(|slot| drop(black_box((*slot, datagram.clone())))));
        });
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
