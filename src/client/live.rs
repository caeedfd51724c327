use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::address::Address;
use super::connect_error::ConnectError;
use super::event::{Ending, RequestError};
use super::options::Options;
use super::seat::Seat;
use super::session::{Session, Stage};
use super::{Carrier, carrier};
use crate::wire::{ClientMessage, CloseReason, Join, VERSION};

/// Time between two attempts to learn whether datagrams pass.
const ECHO_INTERVAL: Duration = Duration::from_millis(100);

/// How many attempts are made.
const ECHOES_MAX: u32 = 10;

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

impl Live {
    /// Connects and takes the seat, in at most this time; then sees whether media passes.
    pub async fn open(seat: &Arc<Seat>, url: &str, options: &Options, time: Duration) -> Result<Self, ConnectError> {
        let address = Address::parse(url, options)?;
        let joined = timeout(time, Self::join(seat, address, options)).await;
        let live = joined.map_err(|_| ConnectError::Timeout { seconds: time.as_secs() })??;
        if live.session.carrier != Carrier::WebSocket {
            let proof = live.prove_datagrams().await;
            if proof.is_err() && options.fallbacks.is_empty() && !live.session.is_return() {
                // Nobody will come back to this seat.
                live.end(CloseReason::Left);
            }
            proof?;
        }
        Ok(live)
    }

    async fn join(seat: &Arc<Seat>, address: Address, options: &Options) -> Result<Self, ConnectError> {
        let mut tasks = JoinSet::new();
        let (link, reader) = carrier::connect(&address, options, &mut tasks).await?;
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
            Ending { reason, message } = live.session.ended() => Err(ConnectError::Refused { reason, message }),
        }
    }

    async fn prove_datagrams(&self) -> Result<(), ConnectError> {
        for _ in 0..ECHOES_MAX {
            match timeout(ECHO_INTERVAL, self.session.echo()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(RequestError::Closed { reason, message })) => {
                    return Err(ConnectError::Refused { reason, message });
                }
                Ok(Err(_)) => {
                    let Ending { reason, message } = self.session.ending();
                    return Err(ConnectError::Refused { reason, message });
                }
                Err(_) => {}
            }
        }
        Err(ConnectError::NoDatagrams)
    }

    /// Ends the session, if it has not ended yet.
    pub fn end(&self, reason: CloseReason) {
        self.session.end(reason, reason.to_string());
    }
}
