use std::time::Duration;

use bytes::Bytes;
use tertulia::limits::Limits;
use tertulia::media::{Assembly, Decodability, Forward, Publisher, Routes, Slot};
use tertulia::now::Now;
use tertulia::wire::{Datagram, Layers, MediaHeader, RepeatRequest, TrackId};

/// The publisher of track 7, which goes to one subscriber: the second rendition, until a keyframe of the first one begins.
const PUBLISHER: Slot = Slot(0);
const SUBSCRIBER: Slot = Slot(1);
const TRACK: TrackId = TrackId(7);
const HIGHEST: Layers = Layers { spatial: 5, temporal: 5 };
const WISH: Layers = Layers { spatial: 0, temporal: 2 };

/// Datagrams, each with its length before it (16 bits), as the relay and as a subscriber take them.
pub fn try_out(bytes: &[u8]) {
    let mut routes = Routes::default();
    routes.open(TRACK, PUBLISHER, HIGHEST);
    routes.subscribe(TRACK, SUBSCRIBER, Layers { spatial: 1, ..HIGHEST });
    routes.set_layers(TRACK, SUBSCRIBER, WISH);
    let mut sent = 1;
    let mut publishers = [PUBLISHER, SUBSCRIBER].map(Publisher::new);
    let patience = Duration::from_millis(100);
    let mut assemblies = [Decodability::Independent, Decodability::Dependent].map(|kind| Assembly::new(kind, patience));
    let mut rest = bytes;
    let mut count = 0;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (datagram, after) = after.split_at(length);
        rest = after;
        count += 1;
        let now = Now::after(Duration::from_millis(count));
        let header = MediaHeader::decode(datagram);
        for publisher in &mut publishers {
            let slot = publisher.slot();
            match routes.forward(now, &Limits::default(), publisher, datagram) {
                Ok(Forward::Echo) => assert_eq!(header.map(|header| header.track), Ok(TrackId::ECHO)),
                Ok(Forward::To(to)) => {
                    let header = header.expect("it was forwarded");
                    let is_taken = header.spatial_layer == sent && header.temporal_layer <= WISH.temporal;
                    let expected = if is_taken { &[SUBSCRIBER][..] } else { &[] };
                    assert_eq!((header.track, slot, to), (TRACK, PUBLISHER, expected));
                }
                Ok(Forward::After(change)) => {
                    let header = header.expect("it was forwarded");
                    assert_eq!(
                        (header.track, slot, header.keyframe, header.spatial_layer),
                        (TRACK, PUBLISHER, true, 0)
                    );
                    assert_ne!(std::mem::replace(&mut sent, WISH.spatial), WISH.spatial, "it changes once");
                    routes.change(change);
                    assert_eq!(routes.takers(change).is_empty(), header.temporal_layer > WISH.temporal);
                }
                Ok(Forward::Repeat) => try_request(&routes, now, publisher, datagram),
                Err(_) => {}
            }
        }
        if RepeatRequest::is_one(datagram) {
            continue;
        }
        let Ok(datagram) = Datagram::decode(Bytes::copy_from_slice(datagram)) else {
            assert!(header.is_err());
            continue;
        };
        let again = Datagram::new(datagram.header, &datagram.payload());
        assert_eq!(MediaHeader::decode(&again.bytes), Ok(datagram.header));
        for assembly in &mut assemblies {
            assembly.push(now, &datagram);
            while let Some(frame) = assembly.pop(now) {
                assert!(!frame.data.is_empty());
            }
        }
    }
}

/// A request for datagrams once more: only who is subscribed gets any, and a good request comes out as it went in.
fn try_request(routes: &Routes, now: Now, asker: &mut Publisher, datagram: &[u8]) {
    let mut found = Vec::new();
    let answer = routes.repeat(now, asker, datagram, &mut found);
    let Ok(request) = RepeatRequest::decode(datagram) else {
        assert!(answer.is_err() && found.is_empty());
        return;
    };
    assert_eq!(RepeatRequest::decode(&request.encode()), Ok(request.clone()));
    assert!(found.is_empty() || (asker.slot(), request.track) == (SUBSCRIBER, TRACK));
    for datagram in found {
        let header = MediaHeader::decode(&datagram).expect("it was passed on");
        assert!(header.temporal_layer <= HIGHEST.temporal && request.contains(header.frame, header.fragment_index));
    }
}
