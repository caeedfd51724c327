//! What a later session tells the relay again.

use std::sync::Arc;

use futures_util::stream::{StreamExt, iter};
use tokio::time::sleep;

use super::event::{Event, RequestError};
use super::publication::Publication;
use super::seat::{Seat, State};
use super::session::{Effect, Session, Stage};
use crate::limits::REQUEST_RETRY_INTERVAL;
use crate::wire::{ClientMessage, Layers, PublishedTrack, RefuseReason, StreamKind, TrackId, Welcome, encode};

/// Requests that are under way together: a relay takes 200 at once by default.
const REQUESTS_AT_ONCE: usize = 32;

/// One thing that the relay does not know of this participant any more, or should not.
#[derive(Debug)]
pub(super) enum Restore {
    /// A track that nobody here has a handle of.
    Unpublish(TrackId),
    Publish(Arc<Publication>),
    SetMuted(Arc<Publication>),
    Subscribe(TrackId),
    SetLayers(TrackId),
    Pin(TrackId),
    Unsubscribe(TrackId),
}

impl Seat {
    /// Compares what the relay says of a seat with what this participant had.
    pub(super) fn to_restore(&self, state: &State, session: &Arc<Session>, welcome: &Welcome) -> Vec<Restore> {
        let own = state.publications.all();
        let is_known =
            |published: &&PublishedTrack| own.iter().any(|publication| publication.track() == published.track);
        let strays = welcome.tracks.iter().filter(|published| !is_known(published));
        let mut restore: Vec<_> = strays.map(|published| Restore::Unpublish(published.track)).collect();
        for publication in own {
            let track = publication.track();
            let Some(kept) = welcome.tracks.iter().find(|published| published.track == track) else {
                restore.push(Restore::Publish(publication));
                continue;
            };
            publication.announce(session, track);
            match publication.relay_says_muted(kept.muted) {
                None => restore.push(Restore::SetMuted(publication)),
                Some(true) => self.emit(Event::TrackMuted { track, muted: kept.muted }),
                Some(false) => {}
            }
        }
        if welcome.resumed {
            restore.extend(self.receive_state().unanswered().into_iter().map(Restore::SetLayers));
        } else {
            restore.extend(self.subscriptions_to_restore(state));
        }
        // What is subscribed by hand is sent in any case.
        if state.auto_subscribe {
            restore.extend(self.receive_state().pinned().into_iter().map(Restore::Pin));
        }
        restore
    }

    /// A new seat has the subscriptions that `auto_subscribe` gives it.
    fn subscriptions_to_restore(&self, state: &State) -> Vec<Restore> {
        let receive = self.receive_state();
        let tracks = state.participants.values().flat_map(|info| &info.tracks).map(|published| published.track);
        let wanted = tracks.map(|track| (track, receive.is_open(track)));
        let restore = |(track, wanted)| match (wanted, state.auto_subscribe) {
            (true, false) => Some(Restore::Subscribe(track)),
            (false, true) => Some(Restore::Unsubscribe(track)),
            (true, true) => receive.chosen_layers(track).map(|_| Restore::SetLayers(track)),
            (false, false) => None,
        };
        wanted.filter_map(restore).collect()
    }
}

impl Session {
    /// Tells the relay what it does not know any more. What fails because this session breaks as well is told by the next.
    pub(super) async fn restore(self: Arc<Self>) {
        self.reached(Stage::Seated).await;
        let restore = std::mem::take(&mut self.arrival().restore);
        iter(restore).for_each_concurrent(REQUESTS_AT_ONCE, |one| self.restore_one(one)).await;
    }

    async fn restore_one(self: &Arc<Self>, restore: Restore) {
        match restore {
            // It is gone already, if this is refused.
            Restore::Unpublish(track) => {
                let _ = self.insist(|request| ClientMessage::Unpublish { request, track }).await;
            }
            Restore::Publish(publication) => match self.publish_patiently(&publication).await {
                Err(RequestError::Refused { reason, message }) => publication.refuse(reason, message),
                Ok(()) if publication.is_muted() => self.set_muted(&publication).await,
                Ok(()) | Err(_) => {}
            },
            Restore::SetMuted(publication) => self.set_muted(&publication).await,
            Restore::Subscribe(track) => {
                let subscribed = self.insist(|request| ClientMessage::Subscribe { request, track }).await;
                match subscribed {
                    Err(RequestError::Refused { .. }) => self.seat.receive_state().unsubscribe(track),
                    Ok(()) => self.restore_layers(track).await,
                    Err(_) => {}
                }
            }
            Restore::SetLayers(track) => self.restore_layers(track).await,
            Restore::Pin(track) => {
                let _ = self.insist(|request| ClientMessage::SetPinned { request, track, pinned: true }).await;
            }
            Restore::Unsubscribe(track) => {
                let _ = self.insist(|request| ClientMessage::Unsubscribe { request, track }).await;
            }
        }
    }

    async fn restore_layers(&self, track: TrackId) {
        let chosen = self.seat.receive_state().chosen_layers(track);
        if let Some(layers) = chosen {
            let Layers { spatial: spatial_layer, temporal: temporal_layer } = layers;
            let set = |request| ClientMessage::SetLayers { request, track, spatial_layer, temporal_layer };
            if self.insist(set).await.is_ok() {
                self.seat.receive_state().layers_answered(track, layers);
            }
        }
    }

    /// Asks again for as long as the relay says that it was asked too fast: much may have to be restored at once.
    async fn insist(&self, message: impl Fn(u32) -> ClientMessage) -> Result<(), RequestError> {
        loop {
            match self.request(Effect::None, &message).await {
                Err(RequestError::Refused { reason: RefuseReason::TooFast, .. }) => sleep(REQUEST_RETRY_INTERVAL).await,
                answer => return answer.map(drop),
            }
        }
    }

    async fn publish_patiently(&self, publication: &Arc<Publication>) -> Result<(), RequestError> {
        loop {
            match self.publish(publication).await {
                Err(RequestError::Refused { reason: RefuseReason::TooFast, .. }) => sleep(REQUEST_RETRY_INTERVAL).await,
                answer => return answer,
            }
        }
    }

    /// Takes a track back without waiting for the answer.
    pub(super) fn unpublish_unasked(&self, track: TrackId) {
        let request = self.pending().next_number();
        self.link.try_send(StreamKind::Control, &encode(&ClientMessage::Unpublish { request, track }));
    }

    async fn set_muted(&self, publication: &Publication) {
        let (track, muted) = (publication.track(), publication.is_muted());
        let told = self.insist(|request| ClientMessage::SetMuted { request, track, muted }).await;
        if told.is_ok() {
            publication.mute_confirmed();
        }
    }

    /// Announces a track.
    pub(super) async fn publish(&self, publication: &Arc<Publication>) -> Result<(), RequestError> {
        let track = publication.info.clone();
        let effect = Effect::Announce(Arc::downgrade(publication));
        self.request(effect, |request| ClientMessage::Publish { request, track }).await.map(drop)
    }
}
