use std::time::Duration;

use super::Certificates;
use crate::limits::IDLE_TIMEOUT;
use crate::transport::Congestion;
use crate::wire::ChatPosition;

/// How to join a room, and how to stay in it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The room; `None`: the one that the URL's path names.
    pub room: Option<String>,
    /// What people see: 1 to 128 bytes of UTF-8.
    pub name: String,
    /// An access token, for relays that ask for one.
    pub token: Option<String>,
    /// Whom to trust to be the relay.
    pub certificates: Certificates,
    /// Whether tracks are subscribed without asking.
    pub auto_subscribe: bool,
    /// Chat to be sent again: everything after this position that is still kept. `None`: nothing.
    pub history: Option<ChatPosition>,
    /// Further URLs of the same relay, tried in turn when the first one does not answer: `wss://` where UDP may be blocked.
    pub fallbacks: Vec<String>,
    /// Whether the session follows UDP: after a second in which nothing comes over it that should, one is begun over WebSocket beside it,
    /// and takes the seat over unless something comes before that stands. From then on it is tried ever more seldom, the first time after
    /// 5 s, whether the first URL can be returned to.
    ///
    /// WebSocket is looked for at those of [`Options::fallbacks`] that begin with `wss://` or `ws://`, and for `https://` at the same host
    /// and port. Who connects to `quic://` and names no such fallback stays on QUIC, whatever happens.
    pub follow_udp: bool,
    /// What to do when the connection breaks.
    pub reconnect: Reconnect,
    /// Whether what the path lost is asked for and sent once more, and made good in advance while there is loss. Without it, what
    /// is lost is lost.
    pub repair: bool,
    /// How fast this client sends on QUIC and WebTransport; the relay has its own setting for the other direction.
    pub congestion: Congestion,
    /// After this long without anything heard, a connection has broken: 10 s, as the relay sees it too. A relay that waits
    /// less goes first.
    pub idle_timeout: Duration,
}

impl Default for Options {
    /// A guest who wants to see and hear everything from now on.
    fn default() -> Self {
        Self {
            room: None,
            name: "guest".to_owned(),
            token: None,
            certificates: Certificates::default(),
            auto_subscribe: true,
            history: None,
            fallbacks: Vec::new(),
            follow_udp: true,
            reconnect: Reconnect::default(),
            repair: true,
            congestion: Congestion::default(),
            idle_timeout: IDLE_TIMEOUT,
        }
    }
}

/// What to do when the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// The room is lost at once.
    Never,
    /// Connect again, until so much time has passed since it broke. The relay keeps the seat for 30 s or what it says in
    /// [`Welcome::seat_ms`](crate::wire::Welcome::seat_ms); who comes later gets its id back, but the others saw it leave.
    Within(Duration),
}

impl Default for Reconnect {
    /// Two minutes: a tunnel, a lift, another network, a relay that is started again.
    fn default() -> Self {
        Self::Within(Duration::from_secs(120))
    }
}
