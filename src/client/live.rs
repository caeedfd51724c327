use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::address::Address;
use super::carrier::{self, Carrier, Link, Reader};
use super::connect_error::ConnectError;
use super::event::{Ending, RequestError};
use super::options::Options;
use super::seat::Seat;
use super::session::{Session, Stage};
use crate::wire::{ClientMessage, CloseReason, Join, StreamKind, VERSION, encode};

/// How often something is said until the relay has answered a join.
const HURRY_INTERVAL: Duration = Duration::from_millis(100);

/// The token of what is said then: nobody waits for an answer.
const HURRY_TOKEN: u64 = 0;

/// Time between two attempts to learn whether datagrams pass.
const ECHO_INTERVAL: Duration = Duration::from_millis(50);

/// How many attempts are made.
const ECHOES_MAX: u32 = 20;

/// How long all of them together may take.
const ECHO_TIME: Duration = Duration::from_secs(2);

/// A session with the tasks that serve it. Dropping it ends it in such a way that the relay keeps the seat.
#[derive(Debug)]
pub(super) struct Live {
    pub session: Arc<Session>,
    /// Ends them when it is dropped.
    tasks: JoinSet<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end(CloseReason::ConnectionLost);
    }
}

/// Why there is no session that is good enough.
#[derive(Debug)]
pub(super) struct NotOpened {
    pub error: ConnectError,
    /// One that has the seat, but carries no media.
    pub seated: Option<Live>,
}

impl From<ConnectError> for NotOpened {
    fn from(error: ConnectError) -> Self {
        Self { error, seated: None }
    }
}

/// A connection on which nobody has asked for a seat.
pub(super) struct Reached {
    address: Address,
    link: Link,
    reader: Reader,
    tasks: JoinSet<()>,
}

impl Reached {
    /// Connects, in at most this time.
    pub async fn at(url: &str, options: &Options, time: Duration) -> Result<Self, ConnectError> {
        let address = Address::parse(url, options)?;
        in_time(time, Self::connect(address, options)).await
    }

    async fn connect(address: Address, options: &Options) -> Result<Self, ConnectError> {
        let mut tasks = JoinSet::new();
        let (link, reader) = carrier::connect(&address, options, &mut tasks).await?;
        Ok(Self { address, link, reader, tasks })
    }

    /// Takes the seat, in at most this time; then sees whether media passes.
    pub async fn join(self, seat: &Arc<Seat>, options: &Options, time: Duration) -> Result<Live, NotOpened> {
        in_time(time, Live::join(seat, self, options)).await?.proven().await
    }
}

async fn in_time<T>(time: Duration, opening: impl Future<Output = Result<T, ConnectError>>) -> Result<T, ConnectError> {
    timeout(time, opening).await.unwrap_or(Err(ConnectError::Timeout { seconds: time.as_secs() }))
}

impl Live {
    /// Connects and takes the seat, in at most this time; then sees whether media passes.
    pub async fn open(seat: &Arc<Seat>, url: &str, options: &Options, time: Duration) -> Result<Self, NotOpened> {
        let address = Address::parse(url, options)?;
        let opening = async { Self::join(seat, Reached::connect(address, options).await?, options).await };
        in_time(time, opening).await?.proven().await
    }

    async fn proven(self) -> Result<Self, NotOpened> {
        if self.session.carrier != Carrier::WebSocket
            && let Err(error) = self.prove_datagrams().await
        {
            return Err(NotOpened { error, seated: Some(self) });
        }
        Ok(self)
    }

    async fn join(seat: &Arc<Seat>, reached: Reached, options: &Options) -> Result<Self, ConnectError> {
        let Reached { address, link, reader, tasks } = reached;
        let (join, asked) = {
            let state = seat.state();
            let asked = state.chat_after(options.history);
            let join = Join {
                version: VERSION,
                room: address.room.to_string(),
                name: options.name.clone(),
                token: options.token.clone(),
                ticket: state.welcome.as_ref().map(|welcome| welcome.ticket.clone()),
                chat_after: asked,
                auto_subscribe: state.auto_subscribe,
            };
            (join, asked)
        };
        let session = Session::new(link, address.carrier, seat.clone(), asked);
        let mut live = Self { session, tasks };
        reader.start(&live.session, &mut live.tasks);
        live.tasks.spawn(live.session.clone().send_chat());
        live.tasks.spawn(live.session.clone().restore());
        // If it cannot be sent, the reader says why.
        let _ = live.session.tell(&ClientMessage::Join(join)).await;
        tokio::select! {
            () = live.session.reached(Stage::Seated) => Ok(live),
            never = live.hurry() => match never {},
            Ending { reason, message } = live.session.ended() => Err(ConnectError::Refused { reason, message }),
        }
    }

    /// Says something again and again, so that what is lost is noticed by what comes after it. By itself QUIC waits twice as long
    /// after each loss.
    async fn hurry(&self) -> Infallible {
        loop {
            sleep(HURRY_INTERVAL).await;
            let ping = ClientMessage::Ping { token: HURRY_TOKEN };
            self.session.link.try_send(StreamKind::Control, &encode(&ping));
        }
    }

    async fn prove_datagrams(&self) -> Result<(), ConnectError> {
        // One that is answered late is an answer all the same: there are paths that take longer than the interval.
        let mut echoes = FuturesUnordered::new();
        let answered = async {
            for _ in 0..ECHOES_MAX {
                echoes.push(self.session.echo());
                if let Ok(Some(answered)) = timeout(ECHO_INTERVAL, echoes.next()).await {
                    return Some(answered);
                }
            }
            echoes.next().await
        };
        match timeout(ECHO_TIME, answered).await {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(RequestError::Closed { reason, message }))) => Err(ConnectError::Refused { reason, message }),
            Ok(Some(Err(_))) => {
                let Ending { reason, message } = self.session.ending();
                Err(ConnectError::Refused { reason, message })
            }
            Ok(None) | Err(_) => Err(ConnectError::NoDatagrams),
        }
    }

    /// Ends the session, if it has not ended yet.
    pub fn end(&self, reason: CloseReason) {
        self.session.end(reason, reason.to_string());
    }
}
