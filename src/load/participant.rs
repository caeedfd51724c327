use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

use super::flow::Sending;
use super::link::Ended;
use super::pace::{Pace, Times};
use super::plan::Part;
use super::run::Run;
use super::session::{Failure, Session};
use crate::client::carrier::quic::Endpoint;

/// So often a participant tries to come in before it counts as failed: a handshake can have bad luck.
const ATTEMPTS_MAX: u32 = 3;

/// Between two attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);

/// One participant of a run.
pub struct Participant {
    pub run: Arc<Run>,
    pub part: Part,
    /// The UDP socket that it shares with others, if the carrier has one.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Bounds how many connect at a time.
    pub places: Arc<Semaphore>,
}

/// When the next frame is due, by one of the two rules of [`Pace`].
type Next = fn(&mut Pace, Times, Duration) -> Option<(Duration, bool)>;

impl Participant {
    /// Stays in the room until the run is over.
    pub async fn take_part(self) {
        let mut pace = None;
        self.stay(&mut pace).await;
        // What it could not send until the end was due all the same, also if it never came in.
        let mut stage = self.run.stage.clone();
        let _ = stage.wait_for(|stage| stage.is_over).await;
        self.miss(&mut pace, Pace::take);
    }

    async fn stay(&self, pace: &mut Option<Pace>) {
        let tally = &self.run.tally;
        let joins_at = Instant::from_std(self.run.begun + self.part.joins_at);
        if self.unless_over(sleep_until(joins_at)).await.is_none() {
            return;
        }
        let (mut ticket, mut is_first, mut attempts) = (None, true, 0);
        while let Some(opened) = self.unless_over(self.open(ticket.clone())).await {
            attempts += 1;
            match opened {
                Ok(mut session) => {
                    tally.join(is_first, &session.relay);
                    ticket = Some(std::mem::take(&mut session.ticket));
                    (is_first, attempts) = (false, 0);
                    self.miss(pace, Pace::skip);
                    match session.take_part(pace).await {
                        Ok(()) => {
                            session.leave().await;
                            return tally.leave();
                        }
                        Err(Ended(reason)) => tally.lose(reason.label()),
                    }
                }
                Err(failure) if is_first && (failure.is_final() || attempts >= ATTEMPTS_MAX) => {
                    return tally.fail(&failure.label());
                }
                Err(_) => {}
            }
            if self.unless_over(sleep(ATTEMPT_INTERVAL)).await.is_none() {
                return;
            }
        }
    }

    async fn open(&self, ticket: Option<Vec<u8>>) -> Result<Session, Failure> {
        let _place = self.places.acquire().await.expect("it is never closed");
        Session::open(self.run.clone(), self.part, self.endpoint.clone(), ticket).await
    }

    async fn unless_over<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut stage = self.run.stage.clone();
        tokio::select! {
            done = future => Some(done),
            _ = stage.wait_for(|stage| stage.is_over) => None,
        }
    }

    /// Notes frames as due and not sent.
    fn miss(&self, pace: &mut Option<Pace>, next: Next) {
        let run = &self.run;
        let now = run.now();
        run.due_at(&self.part, pace);
        let times = run.stage.borrow().times;
        if let (Some(times), Some(publisher), Some(pace)) = (times, self.part.publisher, pace.as_mut()) {
            while let Some((due_at, counts)) = next(pace, times, now) {
                run.tally.miss(publisher, Sending { due_at, now, counts });
            }
        }
    }
}
