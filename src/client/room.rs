use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::connect_error::ConnectError;
use super::event::{Ending, Event, RequestError};
use super::keeper::{Keeper, Switch};
use super::options::Options;
use super::publication::Publication;
use super::seat::Seat;
use super::session::{Answer, Effect, Session};
use super::{Carrier, Chat, LocalTrack, RemoteTrack};
use crate::limits::CLOSE_TIMEOUT;
use crate::wire::{
    ClientMessage, CloseReason, Layers, Measurements, ParticipantId, ParticipantInfo, Permissions, RefuseReason,
    TrackId, TrackInfo, Welcome,
};

/// One's seat in a room. It outlives the connection: see [`Options::reconnect`] and [`Event::Reconnected`].
///
/// What is asked for while there is no connection waits for the next one. What was asked for and not answered when the
/// connection broke fails with [`RequestError::Interrupted`]. What was achieved is restored: tracks of one's own,
/// subscriptions, muting.
#[derive(Debug)]
pub struct Room {
    seat: Arc<Seat>,
    switches: mpsc::Sender<Switch>,
    /// Ends them when it is dropped.
    _tasks: JoinSet<()>,
}

impl Room {
    /// Joins a room: `https://` by WebTransport, `quic://` by plain QUIC, `wss://` and `ws://` by WebSocket. If that place
    /// does not answer, [`Options::fallbacks`] are tried.
    ///
    /// Returns when those in the room are known and, except on WebSocket, a media datagram has come back.
    ///
    /// # Errors
    /// [`ConnectError`] says what is wrong with the first place and what to do; after about five seconds for each place at the
    /// latest.
    pub async fn connect(url: &str, options: Options) -> Result<Self, ConnectError> {
        let seat = Seat::new(&options);
        let (switches, asked) = mpsc::channel(1);
        let keeper = Keeper::connect(seat.clone(), url, options, asked).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.run());
        let timekeeper = seat.clone();
        tasks.spawn(async move { timekeeper.keep_time().await });
        Ok(Self { seat, switches, _tasks: tasks })
    }

    /// Goes on by another carrier, at another URL of the same relay. The session of now goes on until the other one has taken
    /// the seat over; the others notice nothing.
    ///
    /// # Errors
    /// [`ConnectError`] if that was not possible; the room goes on as before.
    pub async fn switch_to(&self, url: &str) -> Result<(), ConnectError> {
        let (done, answer) = oneshot::channel();
        let switch = Switch { url: url.to_owned(), done };
        self.switches.send(switch).await.map_err(|_| ConnectError::Closed)?;
        answer.await.unwrap_or(Err(ConnectError::Closed))
    }

    /// One's own id. It may change when the connection broke for so long that the seat was lost.
    pub fn participant(&self) -> ParticipantId {
        self.welcome().participant
    }

    /// The seat as the relay gave it last: its limits, where the chat stood, its version.
    pub fn welcome(&self) -> Arc<Welcome> {
        self.seat.welcome()
    }

    /// What one may do.
    pub fn permissions(&self) -> Permissions {
        self.welcome().permissions.clone()
    }

    /// By what the session travels; without a connection, by what the last one did.
    pub fn carrier(&self) -> Carrier {
        self.seat.carrier()
    }

    /// The others in the room, in the order of their ids.
    pub fn remote_participants(&self) -> Vec<ParticipantInfo> {
        self.seat.state().participants.values().cloned().collect()
    }

    /// Whether newcomers are kept out.
    pub fn is_locked(&self) -> bool {
        self.seat.state().locked
    }

    /// The next event; `None` after [`Event::Closed`].
    ///
    /// Up to 16,384 events and 16 MiB of them wait to be taken. When there are more, the oldest go and
    /// [`Room::events_dropped`] counts them; the relay and the other handles of the room are not held up by a reader of
    /// events that is slow or absent.
    pub async fn next_event(&self) -> Option<Event> {
        self.seat.events.pop().await
    }

    /// The events as a stream; see [`Room::next_event`].
    pub fn events(&self) -> BoxStream<'_, Event> {
        unfold(self, |room| async move { room.next_event().await.map(|event| (event, room)) }).boxed()
    }

    /// How many events were lost because they were not taken in time.
    pub fn events_dropped(&self) -> u64 {
        self.seat.events.dropped()
    }

    /// The chat of the room.
    pub fn chat(&self) -> Chat {
        Chat::new(self.seat.clone())
    }

    async fn request(&self, message: impl FnOnce(u32) -> ClientMessage) -> Result<(), RequestError> {
        self.seat.session().await?.request(Effect::None, message).await.map(drop)
    }

    /// Announces a track; media can be sent on it at once.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn publish(&self, info: TrackInfo) -> Result<LocalTrack, RequestError> {
        let session = self.seat.session().await?;
        // If this fails, it is dropped, and taken back by that.
        let track = LocalTrack::new(self.seat.clone(), Publication::new(info));
        session.publish(track.publication()).await?;
        Ok(track)
    }

    /// Asks for the media of a track.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn subscribe(&self, track: TrackId) -> Result<RemoteTrack, RequestError> {
        let session = self.seat.session().await?;
        let known = self.seat.state().track(track).map(|(participant, info)| (participant, info.clone()));
        let (participant, info) = known.ok_or_else(|| {
            let reason = RefuseReason::TrackUnknown;
            RequestError::Refused { reason, message: reason.to_string() }
        })?;
        // Open before the relay knows, so that the first datagram finds it.
        let remote = RemoteTrack::open(&self.seat, participant, track, info);
        session.request(Effect::None, |request| ClientMessage::Subscribe { request, track }).await?;
        Ok(remote)
    }

    /// Wants the media of a track no longer; its [`RemoteTrack`] ends.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn unsubscribe(&self, track: TrackId) -> Result<(), RequestError> {
        self.seat.receive_state().unsubscribe(track);
        self.request(|request| ClientMessage::Unsubscribe { request, track }).await
    }

    /// Says which part of a subscribed track to send: one rendition, and of it the temporal layers up to one. The rendition
    /// changes with its next keyframe, for which the relay asks; temporal layers change at once. Without it, the largest
    /// rendition is sent with all temporal layers.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn set_layers(&self, track: TrackId, spatial_layer: u8, temporal_layer: u8) -> Result<(), RequestError> {
        let layers = Layers { spatial: spatial_layer, temporal: temporal_layer };
        // Known before the first datagram of the new rendition comes.
        let before = self.seat.receive_state().set_layers(self.seat.now(), track, layers);
        let set = |request| ClientMessage::SetLayers { request, track, spatial_layer, temporal_layer };
        let answer = self.request(set).await;
        let mut receive = self.seat.receive_state();
        match (&answer, before) {
            (Ok(()), _) => receive.layers_answered(track, layers),
            (Err(RequestError::Refused { .. }), Some(before)) => {
                receive.set_layers(self.seat.now(), track, before);
                receive.layers_answered(track, before);
            }
            // The next session says it again.
            _ => {}
        }
        answer
    }

    /// Wants a subscribed video also while its publisher is not on the [stage](Event::OnStage), or leaves that to the room again.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn set_pinned(&self, track: TrackId, pinned: bool) -> Result<(), RequestError> {
        let before = self.seat.receive_state().set_pinned(self.seat.now(), track, pinned);
        let answer = self.request(|request| ClientMessage::SetPinned { request, track, pinned }).await;
        if let (Err(RequestError::Refused { .. }), Some(before)) = (&answer, before) {
            self.seat.receive_state().set_pinned(self.seat.now(), track, before);
        }
        answer
    }

    /// Whether tracks published from now on are subscribed without asking.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn set_auto_subscribe(&self, enabled: bool) -> Result<(), RequestError> {
        let session = self.seat.session().await?;
        let message = |request| ClientMessage::SetAutoSubscribe { request, enabled };
        session.request(Effect::AutoSubscribe(enabled), message).await.map(drop)
    }

    /// Asks the publisher of a subscribed track for a keyframe. [`RemoteTrack`] does so by itself when it needs one.
    ///
    /// # Errors
    /// [`RequestError`] if the connection or the room ended.
    pub async fn request_keyframe(&self, track: TrackId, spatial_layer: u8) -> Result<(), RequestError> {
        self.seat.session().await?.tell(&ClientMessage::RequestKeyframe { track, spatial_layer }).await
    }

    /// Sends a participant away, and keeps its identity out for a while. For admins.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn remove_participant(&self, participant: ParticipantId) -> Result<(), RequestError> {
        self.request(|request| ClientMessage::RemoveParticipant { request, participant }).await
    }

    /// Silences a track of someone else, until its publisher unmutes it. For admins.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn mute_track(&self, track: TrackId) -> Result<(), RequestError> {
        self.request(|request| ClientMessage::MuteTrack { request, track }).await
    }

    /// Keeps newcomers out, or lets them in again. For admins.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn set_locked(&self, locked: bool) -> Result<(), RequestError> {
        self.request(|request| ClientMessage::SetLocked { request, locked }).await
    }

    /// Sends everyone away, oneself too: the last event is [`Event::Closed`] with [`CloseReason::MeetingEnded`]. For admins.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it, or the connection or the room ended.
    pub async fn end_meeting(&self) -> Result<(), RequestError> {
        self.request(|request| ClientMessage::EndMeeting { request }).await
    }

    /// The time that a message takes to the relay and back.
    ///
    /// # Errors
    /// [`RequestError`] if the connection or the room ended.
    pub async fn ping(&self) -> Result<Duration, RequestError> {
        let session = self.seat.session().await?;
        let sent_at = Instant::now();
        session.ping().await?;
        Ok(sent_at.elapsed())
    }

    /// How one's session does, as the relay sees it, since it began.
    ///
    /// # Errors
    /// [`RequestError`] if the relay is asked too often, or the connection or the room ended.
    pub async fn measurements(&self) -> Result<Measurements, RequestError> {
        let session = self.seat.session().await?;
        match session.request(Effect::None, |request| ClientMessage::MeasurementsWanted { request }).await? {
            Answer::Measurements(measurements) => Ok(measurements),
            // The relay answers something else to it: nothing that it says can be relied on.
            Answer::Done | Answer::Published(_) => Err(RequestError::Interrupted),
        }
    }

    /// Leaves the room, after what was sent has reached the relay. Takes at most about 1.5 s; the last event is
    /// [`Event::Closed`] with [`CloseReason::Left`]. Without a connection there is nobody to say goodbye to: the relay keeps
    /// the seat until its time is over.
    pub async fn disconnect(&self) {
        self.seat.begin_leaving();
        let session = self.seat.present();
        if let Some(session) = &session {
            let _ = timeout(CLOSE_TIMEOUT, self.drained(session)).await;
            let _ = session.tell(&ClientMessage::Leave).await;
            // The relay ends the connection when it has read all before `Leave`.
            let _ = timeout(CLOSE_TIMEOUT, session.ended()).await;
        }
        self.seat.close(Ending::from(CloseReason::Left));
        if let Some(session) = session {
            session.link.closed().await;
        }
    }

    /// Resolves when the relay has what was sent: chat is acknowledged, datagrams come back.
    async fn drained(&self, session: &Session) {
        const POLL_INTERVAL: Duration = Duration::from_millis(5);
        let _ = session.echo().await;
        while !self.seat.state().outbox.is_empty() {
            sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.seat.close(Ending::from(CloseReason::Left));
    }
}
