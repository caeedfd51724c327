use std::future::pending;

use tokio::time::{Instant, sleep, sleep_until};

use super::Keeper;
use crate::client::connect_error::ConnectError;
use crate::client::live::Reached;
use crate::client::reconnect::{
    ALARM_MEMORY, FIRST_ROUND_TIME, STEADY_SESSION, is_websocket, return_wait, silence_wait, websockets,
};
use crate::client::session::Session;
use crate::limits::HANDSHAKE_TIMEOUT;

/// Follows UDP: what it takes to go on over WebSocket while nothing comes over it, and to return.
#[derive(Debug)]
pub(super) struct Following {
    follow_udp: bool,
    /// Where the session belongs: the first place, or where it was asked to go on.
    home: String,
    /// Where a session goes on that hears nothing over UDP; empty where UDP is not followed.
    websockets: Vec<String>,
    /// Sessions that were begun beside a silent one in vain, and when the last one was.
    alarms: u32,
    alarmed_at: Option<Instant>,
    /// Times that UDP was tried again in vain, or left again too soon.
    returns: u32,
    /// When UDP is tried again.
    return_at: Option<Instant>,
}

impl Following {
    /// For places of which there is at least one.
    pub fn new(urls: &[String], follow_udp: bool) -> Self {
        let websockets = if follow_udp { websockets(urls) } else { Vec::new() };
        Self { follow_udp, home: urls[0].clone(), websockets, alarms: 0, alarmed_at: None, returns: 0, return_at: None }
    }

    /// Adds the places for WebSocket to those where a session that broke is tried for.
    pub fn add_places(&self, urls: &mut Vec<String>) {
        let new: Vec<_> = self.websockets.iter().filter(|url| !urls.contains(url)).cloned().collect();
        urls.extend(new);
    }

    /// Resolves when a session that hears nothing over UDP is to have another one beside it.
    pub async fn alarmed(&self, session: &Session) {
        if self.websockets.is_empty() {
            return pending().await;
        }
        session.silent(true).await;
        sleep(silence_wait(self.alarms_lately(), rand::random())).await;
    }

    /// Resolves when UDP is to be tried again.
    pub async fn returning(&self) {
        match self.return_at {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    /// A session is at this place. If that is WebSocket and it belongs to where UDP is, it returns one day.
    pub fn plan_return(&mut self, url: &str) {
        self.alarms = 0;
        let is_away = self.follow_udp && is_websocket(url) && !is_websocket(&self.home);
        self.return_at = is_away.then(|| Instant::now() + return_wait(self.returns, rand::random()));
    }

    /// Whoever asks for a place wants to stay there, as far as UDP passes.
    pub fn settle_at(&mut self, url: String) {
        (self.home, self.return_at) = (url, None);
        if self.follow_udp {
            let places = [&self.websockets[..], std::slice::from_ref(&self.home)].concat();
            self.websockets = websockets(&places);
        }
    }

    /// A path on which hardly anything comes is not to be filled with alarms.
    fn alarms_lately(&self) -> u32 {
        let is_recent = self.alarmed_at.is_some_and(|at| at.elapsed() < ALARM_MEMORY);
        if is_recent { self.alarms } else { 0 }
    }

    /// Where a silent session is to go on this time.
    fn next_websocket(&mut self) -> String {
        let alarms = self.alarms_lately();
        let turn = alarms as usize % self.websockets.len();
        (self.alarms, self.alarmed_at) = (alarms + 1, Some(Instant::now()));
        self.websockets[turn].clone()
    }

    /// UDP is tried now, and if that is in vain, again after twice the time.
    fn next_return(&mut self) -> String {
        self.returns += 1;
        self.return_at = Some(Instant::now() + return_wait(self.returns, rand::random()));
        self.home.clone()
    }
}

impl Keeper {
    /// Goes on over WebSocket, unless the silent session is heard again before that stands, or ends.
    pub(super) async fn leave_udp(&mut self) {
        let (session, url) = (self.live.session.clone(), self.following.next_websocket());
        let reached = tokio::select! {
            biased;
            () = session.silent(false) => return,
            _ = session.ended() => return,
            reached = Reached::at(&url, &self.options, HANDSHAKE_TIMEOUT) => reached,
        };
        if self.since.elapsed() >= STEADY_SESSION {
            self.following.returns = 0;
        }
        self.move_to(reached, url).await;
    }

    /// Goes on where the session belongs, if UDP passes by now.
    pub(super) async fn return_to_udp(&mut self) {
        let (session, url) = (self.live.session.clone(), self.following.next_return());
        let reached = tokio::select! {
            biased;
            _ = session.ended() => return,
            reached = Reached::at(&url, &self.options, FIRST_ROUND_TIME) => reached,
        };
        self.move_to(reached, url).await;
    }

    /// Lets a connection take the seat over, if there is one. If not, there will be another time.
    async fn move_to(&mut self, reached: Result<Reached, ConnectError>, url: String) {
        let Ok(reached) = reached else {
            return;
        };
        self.live.session.supersede(true);
        let opened = reached.join(&self.seat, &self.options, HANDSHAKE_TIMEOUT).await;
        let _ = self.superseded(opened, url).await;
    }
}
