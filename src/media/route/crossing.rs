//! Where a room spans several shards: a track's media crosses once from its publisher's shard to each other one that has subscribers.

use super::{Forward, Routes, Slot};
use crate::media::{Arrivals, KeptPictures};
use crate::now::Now;
use crate::wire::{DropReason, Layers, MediaHeader, TrackId};

impl Routes {
    /// Media of `track` may come from another shard now, in layers up to these: [`Routes::pass_on`].
    pub fn open_elsewhere(&mut self, track: TrackId, highest: Layers) {
        self.open_from(track, None, highest);
    }

    /// Another shard, which is found at `shard`, gets all of `track` from now on: it has subscribers, and passes on to each of them what
    /// it takes. It stands before whoever is subscribed here.
    pub fn link(&mut self, track: TrackId, shard: Slot) {
        let route = self.routes.get_mut(&track);
        for rendition in route.into_iter().flat_map(|route| &mut route.renditions) {
            rendition.add_first(shard);
        }
    }

    /// What is kept of the recent pictures of `track`, for [`Routes::keep`] on another shard: of each rendition, if it is video.
    pub fn kept_pictures(&self, track: TrackId) -> Vec<KeptPictures> {
        let renditions = self.routes.get(&track).into_iter().flat_map(|route| &route.renditions);
        renditions.filter_map(|rendition| Some(rendition.pictures.as_ref()?.borrow().kept())).collect()
    }

    /// Goes on from what the publisher's shard has kept of a track that comes from there.
    pub fn keep(&mut self, now: Now, track: TrackId, kept: &[KeptPictures]) {
        let Some(route) = self.routes.get_mut(&track).filter(|route| route.publisher.is_none()) else {
            return;
        };
        // What was kept here is not what comes before that which comes next.
        route.forget_pictures();
        for (rendition, kept) in route.renditions.iter_mut().zip(kept) {
            if let Some(pictures) = &mut rendition.pictures {
                pictures.get_mut().take_over(kept);
            }
            // It is sent only now to those who may miss some of it.
            for datagram in kept.datagrams() {
                if let Ok(header) = MediaHeader::decode(datagram) {
                    route.recent.get_mut().push(now, &header, datagram.clone());
                }
            }
        }
    }

    /// Decides what happens to a datagram that another shard has [passed on](Self::forward): it was judged and listened to there.
    ///
    /// # Errors
    /// The [`DropReason`] of a datagram that goes nowhere any more.
    pub fn pass_on(&self, now: Now, datagram: &[u8]) -> Result<Forward<'_>, DropReason> {
        let header = MediaHeader::decode(datagram)?;
        let route = self.routes.get(&header.track).ok_or(DropReason::TrackUnknown)?;
        // Its publisher has come to this shard meanwhile.
        if route.publisher.is_some() {
            return Err(DropReason::TrackNotOwned);
        }
        if route.muted {
            return Err(DropReason::TrackMuted);
        }
        let rendition = route.renditions.get(usize::from(header.spatial_layer)).ok_or(DropReason::LayerUnknown)?;
        let mut progress = rendition.progress.get();
        let begins = !progress.has_reached(header.frame);
        // How it arrived at the relay is counted where it did.
        Arrivals::default().note(&mut progress, now, &header);
        rendition.progress.set(progress);
        Ok(route.pass(now, &header, rendition, begins, datagram))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::limits::Limits;
    use crate::media::{Frame, Publisher};

    const TRACK: TrackId = TrackId(7);
    const PUBLISHER: Slot = Slot(0);
    const SHARD: Slot = Slot(9);

    /// Two renditions of two temporal layers each.
    const HIGHEST: Layers = layers(1, 1);

    const fn layers(spatial: u8, temporal: u8) -> Layers {
        Layers { spatial, temporal }
    }

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    fn datagram(number: u32, keyframe: bool, Layers { spatial, temporal }: Layers) -> Bytes {
        let depends_on_distance = u8::from(!keyframe);
        let frame = Frame { number, keyframe, depends_on_distance, ..Frame::default() };
        let frame = Frame { spatial_layer: spatial, temporal_layer: temporal, ..frame };
        frame.datagrams(TRACK).unwrap().next().unwrap().bytes
    }

    /// The routes of the publisher's shard, and of another one.
    fn routes() -> [Routes; 2] {
        let [mut near, mut far] = [Routes::default(), Routes::default()];
        near.open(TRACK, PUBLISHER, HIGHEST);
        far.open_elsewhere(TRACK, HIGHEST);
        for routes in [&mut near, &mut far] {
            routes.keep_pictures(TRACK);
        }
        [near, far]
    }

    fn forward<'a>(routes: &'a Routes, ms: u64, datagram: &[u8]) -> Result<Forward<'a>, DropReason> {
        routes.forward(at(ms), &Limits::default(), &mut Publisher::new(PUBLISHER), datagram)
    }

    #[test]
    fn another_shard_is_one_subscriber_that_takes_all_layers() {
        let [mut near, _] = routes();
        near.subscribe(TRACK, Slot(1), layers(0, 0));
        near.link(TRACK, SHARD);
        for (sent, takers) in [(layers(0, 0), &[SHARD, Slot(1)][..]), (layers(0, 1), &[SHARD]), (HIGHEST, &[SHARD])] {
            assert_eq!(forward(&near, 0, &datagram(0, true, sent)), Ok(Forward::To(takers)));
        }
        near.unsubscribe(TRACK, SHARD);
        assert_eq!(forward(&near, 0, &datagram(1, true, HIGHEST)), Ok(Forward::To(&[])));
    }

    #[test]
    fn what_is_held_crosses_to_those_who_chose_it() {
        let [mut near, _] = routes();
        near.set_held(TRACK, true);
        assert_eq!(forward(&near, 0, &datagram(0, true, HIGHEST)), Err(DropReason::NotSelected));
        near.link(TRACK, SHARD);
        assert_eq!(forward(&near, 0, &datagram(1, true, HIGHEST)), Ok(Forward::To(&[SHARD])));
    }

    #[test]
    fn what_has_crossed_goes_to_each_who_takes_it_and_changes_begin_with_a_keyframe() {
        let [_, mut far] = routes();
        far.subscribe(TRACK, Slot(1), layers(0, 1));
        far.subscribe(TRACK, Slot(2), layers(0, 0));
        let base = datagram(0, true, layers(0, 0));
        assert_eq!(far.pass_on(at(0), &base), Ok(Forward::To(&[Slot(1), Slot(2)])));
        assert_eq!(far.pass_on(at(0), &datagram(1, false, layers(0, 1))), Ok(Forward::To(&[Slot(1)])));
        far.set_layers(TRACK, Slot(2), HIGHEST);
        assert_eq!(far.pass_on(at(0), &datagram(2, false, HIGHEST)), Ok(Forward::To(&[])));
        let Ok(Forward::After(change)) = far.pass_on(at(0), &datagram(3, true, HIGHEST)) else {
            panic!("somebody changes to it")
        };
        far.change(change);
        assert_eq!(far.takers(change), [Slot(2)]);
    }

    #[test]
    fn what_has_crossed_too_late_goes_nowhere() {
        let [near, mut far] = routes();
        let base = datagram(0, true, layers(0, 0));
        assert_eq!(near.pass_on(at(0), &base), Err(DropReason::TrackNotOwned), "its publisher is here now");
        far.set_muted(TRACK, true);
        assert_eq!(far.pass_on(at(0), &base), Err(DropReason::TrackMuted));
        assert_eq!(far.pass_on(at(0), &datagram(0, true, layers(2, 0))), Err(DropReason::TrackMuted));
        far.close(TRACK);
        assert_eq!(far.pass_on(at(0), &base), Err(DropReason::TrackUnknown));
    }

    #[test]
    fn pictures_that_are_kept_cross_with_their_age() {
        let [near, mut far] = routes();
        let sent: Vec<_> = (0..3).map(|number| datagram(number, number == 0, layers(0, 0))).collect();
        // What was kept before counts no more.
        far.pass_on(at(0), &datagram(900, true, layers(0, 0))).unwrap();
        for (number, datagram) in sent.iter().enumerate() {
            forward(&near, 1000 + 10 * number as u64, datagram).unwrap();
        }
        far.keep(at(2000), TRACK, &near.kept_pictures(TRACK));
        assert_eq!(far.recent_pictures(at(2000), TRACK, layers(0, 0)), Some(sent.clone()));
        assert_eq!(far.keyframe_at(TRACK, 0), near.keyframe_at(TRACK, 0));
        let is_kept = |routes: &Routes, ms| routes.recent_pictures(at(ms), TRACK, layers(0, 0)).is_some();
        for ms in [3900, 4100] {
            assert_eq!(is_kept(&far, ms), is_kept(&near, ms), "after {ms} ms");
        }
        // What follows belongs to it.
        let next = datagram(3, false, layers(0, 0));
        far.pass_on(at(2010), &next).unwrap();
        assert_eq!(far.recent_pictures(at(2010), TRACK, layers(0, 0)).map(|all| all.len()), Some(4));
    }
}
