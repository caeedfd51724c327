mod following;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use self::following::Following;
use super::connect_error::ConnectError;
use super::event::{Ending, Event};
use super::live::{Live, NotOpened};
use super::options::{Options, Reconnect};
use super::reconnect::{GOOD_SESSION, attempt_time, place, wait};
use super::seat::Seat;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::wire::CloseReason;

/// Keeps a session on the seat: opens the next one when one breaks, when nothing comes over UDP any more or something does again, or when
/// another carrier is asked for.
#[derive(Debug)]
pub(super) struct Keeper {
    seat: Arc<Seat>,
    options: Options,
    live: Live,
    /// Where the session goes to.
    url: String,
    /// All places that are known from the beginning.
    urls: Vec<String>,
    since: Instant,
    /// Attempts in a row that came to nothing, or to a session that did not last.
    attempts: u32,
    following: Following,
    switches: mpsc::Receiver<Switch>,
}

/// Another URL to go on at.
#[derive(Debug)]
pub(super) struct Switch {
    pub url: String,
    pub done: oneshot::Sender<Result<(), ConnectError>>,
}

impl Keeper {
    /// Opens the first session, at the first of the URLs that answers.
    pub async fn connect(
        seat: Arc<Seat>,
        url: &str,
        options: Options,
        switches: mpsc::Receiver<Switch>,
    ) -> Result<Self, ConnectError> {
        let mut urls = vec![url.to_owned()];
        urls.extend(options.fallbacks.iter().cloned());
        let (mut failed, mut seated) = (None, None);
        for (turn, url) in (0..).zip(&urls) {
            match Live::open(&seat, url, &options, attempt_time(turn, &urls)).await {
                Ok(live) => {
                    let (url, since) = (url.clone(), Instant::now());
                    let mut following = Following::new(&urls, options.follow_udp);
                    following.plan_return(&url);
                    following.add_places(&mut urls);
                    return Ok(Self { seat, options, live, url, urls, since, attempts: 0, following, switches });
                }
                Err(not_opened) => {
                    // A later one has taken the seat over.
                    seated = not_opened.seated.or(seated);
                    let is_final = not_opened.error.is_final();
                    failed = if is_final { Some(not_opened.error) } else { failed.or(Some(not_opened.error)) };
                    if is_final {
                        break;
                    }
                }
            }
        }
        if let Some(live) = seated {
            // Nobody will come back to its seat.
            live.end(CloseReason::Left);
        }
        Err(failed.expect("there is at least one URL, and none succeeded"))
    }

    /// Keeps the seat until the room ends.
    pub async fn run(mut self) {
        loop {
            let session = self.live.session.clone();
            tokio::select! {
                ending = session.ended() => {
                    if let Err(ending) = self.come_back(ending).await {
                        return self.seat.close(ending);
                    }
                }
                Some(switch) = self.switches.recv() => self.switch(switch).await,
                () = self.following.alarmed(&session) => self.leave_udp().await,
                () = self.following.returning() => self.return_to_udp().await,
            }
        }
    }

    /// Opens a session elsewhere while this one goes on: the relay lets it take the seat over.
    async fn switch(&mut self, Switch { url, done }: Switch) {
        self.live.session.supersede(true);
        let opened = Live::open(&self.seat, &url, &self.options, HANDSHAKE_TIMEOUT).await;
        let taken_up = self.superseded(opened, url.clone()).await;
        if taken_up.is_ok() {
            self.following.settle_at(url);
        }
        let _ = done.send(taken_up);
    }

    /// Takes up the session that was to take the seat over, if there is one.
    async fn superseded(&mut self, opened: Result<Live, NotOpened>, url: String) -> Result<(), ConnectError> {
        let error = match opened {
            Ok(live) => {
                self.take_up(live, url);
                return Ok(());
            }
            Err(not_opened) => not_opened.error,
        };
        // The relay may have given the seat to the other session all the same. If it says so, it does before it answers this.
        if timeout(HANDSHAKE_TIMEOUT, self.live.session.ping()).await.is_ok_and(|pong| pong.is_ok()) {
            self.live.session.supersede(false);
        }
        Err(error)
    }

    fn take_up(&mut self, live: Live, url: String) {
        let former = std::mem::replace(&mut self.live, live);
        // The seat is not its any more; if it has another one, nobody needs that.
        former.end(CloseReason::Left);
        self.following.plan_return(&url);
        (self.url, self.since) = (url, Instant::now());
        let resumed = self.seat.welcome().resumed;
        self.seat.emit(Event::Reconnected { resumed, carrier: self.live.session.carrier });
    }

    /// Opens sessions until one succeeds, after one that ended like this.
    async fn come_back(&mut self, ending: Ending) -> Result<(), Ending> {
        let Reconnect::Within(patience) = self.options.reconnect else {
            return Err(ending);
        };
        if self.live.session.is_last(&ending) {
            return Err(ending);
        }
        let broken_since = Instant::now();
        if self.since.elapsed() >= GOOD_SESSION {
            self.attempts = 0;
        }
        let mut last_error = None;
        for turn in 0.. {
            let pause = wait(self.attempts, rand::random());
            if broken_since.elapsed().saturating_add(pause) > patience {
                break;
            }
            self.attempts += 1;
            self.seat.emit(Event::Reconnecting { reason: ending.reason, attempt: self.attempts });
            let (url, asker) = self.next_place(turn, pause).await;
            // Whoever left meanwhile does not want to be seated again.
            self.seat.check_open()?;
            let time = attempt_time(turn, &self.urls);
            let error = match Live::open(&self.seat, &url, &self.options, time).await {
                Ok(live) => {
                    self.take_up(live, url.clone());
                    if let Some(asker) = asker {
                        self.following.settle_at(url);
                        let _ = asker.send(Ok(()));
                    }
                    return Ok(());
                }
                Err(not_opened) => not_opened.error,
            };
            // A network that wants a word first shows a certificate of its own, and a relay may have renewed its own.
            let is_final = error.is_final() && !matches!(error, ConnectError::Certificate { .. });
            if is_final && asker.is_none() {
                let reason = error.reason().unwrap_or(ending.reason);
                return Err(Ending { reason, message: error.to_string() });
            }
            last_error = Some(error.to_string());
            asker.map(|asker| asker.send(Err(error)));
        }
        let why = last_error.unwrap_or(ending.message);
        Err(Ending { reason: ending.reason, message: format!("reconnecting was given up: {why}") })
    }

    /// Waits, then says where to try next; at once if someone asks for a place.
    async fn next_place(
        &mut self,
        turn: u32,
        pause: Duration,
    ) -> (String, Option<oneshot::Sender<Result<(), ConnectError>>>) {
        tokio::select! {
            () = sleep(pause) => (place(turn, &self.url, &self.urls).to_owned(), None),
            Some(Switch { url, done }) = self.switches.recv() => (url, Some(done)),
        }
    }
}
