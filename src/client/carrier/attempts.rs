use std::future::Future;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::timeout;

use crate::client::connect_error::ConnectError;

/// So many attempts at one address are made over UDP.
pub(super) const ATTEMPTS_MAX: usize = 3;

/// The next one begins when those before it were silent for so long. QUIC waits twice as long after each packet that is lost; where
/// many are, a new beginning is sooner through than the end of an old one.
const NEXT_ATTEMPT_AFTER: Duration = Duration::from_millis(500);

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(crate) struct Failed {
    pub error: ConnectError,
    /// Whether it had bad luck that the next one need not have.
    pub is_accident: bool,
}

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        Self { error, is_accident: false }
    }
}

/// The first attempt that comes to something, out of at most so many. One that fails ends the others only if none can succeed.
/// Those that are left over are dropped, before anything was said on them.
pub(super) async fn attempts<T, A>(attempts_max: usize, begin: impl Fn() -> A) -> Result<T, ConnectError>
where
    A: Future<Output = Result<T, Failed>>,
{
    let mut underway = FuturesUnordered::new();
    let mut left = attempts_max;
    loop {
        underway.push(begin());
        left -= 1;
        let patience = if left > 0 { NEXT_ATTEMPT_AFTER } else { Duration::MAX };
        while let Ok(Some(done)) = timeout(patience, underway.next()).await {
            match done {
                Ok(connection) => return Ok(connection),
                Err(Failed { is_accident: true, .. }) if left > 0 => break,
                Err(Failed { error, .. }) if error.is_final() || underway.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use tokio::sync::oneshot;
    use tokio::time::{Instant, sleep};

    use super::*;

    type Outcome = Result<&'static str, Failed>;

    fn failed(is_accident: bool) -> Outcome {
        Err(Failed { error: ConnectError::NoDatagrams, is_accident })
    }

    fn refused() -> Outcome {
        Err(Failed::from(ConnectError::Closed))
    }

    /// What comes of attempts that end in this order, each of them as it says, and how many were begun. The numbers count from
    /// their beginnings; an attempt ends when it has begun and all before it in this order have ended.
    async fn outcome(ends: Vec<(usize, Outcome)>) -> (Result<&'static str, String>, usize) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..ATTEMPTS_MAX).map(|_| oneshot::channel()).unzip();
        let mut senders: Vec<_> = senders.into_iter().map(Some).collect();
        let receivers = RefCell::new(VecDeque::from(receivers));
        let ends = RefCell::new(VecDeque::from(ends));
        let begun = || ATTEMPTS_MAX - receivers.borrow().len();
        let racing = attempts(ATTEMPTS_MAX, || {
            let end = receivers.borrow_mut().pop_front().expect("there are no more attempts than that");
            async { end.await.expect("its end is said") }
        });
        let ending = async {
            loop {
                let is_due = ends.borrow().front().is_some_and(|(attempt, _)| *attempt < begun());
                if is_due && let Some((attempt, outcome)) = ends.borrow_mut().pop_front() {
                    let _ = senders[attempt].take().expect("each one ends once").send(outcome);
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let outcome = tokio::select! {
            outcome = racing => outcome.map_err(|error| error.to_string()),
            () = ending => unreachable!("it has no end"),
        };
        (outcome, begun())
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_does_not_end_another() {
        let ends = vec![(0, Ok("first"))];
        assert_eq!(outcome(ends).await, (Ok("first"), 1));
        let ends = vec![(1, failed(false)), (0, Ok("first"))];
        assert_eq!(outcome(ends).await, (Ok("first"), 2));
        let ends = vec![(2, failed(false)), (0, failed(false)), (1, Ok("second"))];
        assert_eq!(outcome(ends).await, (Ok("second"), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_one_that_fails_is_the_end() {
        let last = Err(ConnectError::NoDatagrams.to_string());
        assert_eq!(outcome(vec![(0, failed(false))]).await, (last.clone(), 1), "others would not fare better");
        assert_eq!(outcome(vec![(1, failed(false)), (0, failed(false))]).await, (last, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_none_can_pass_is_the_end_of_all() {
        let last = Err(ConnectError::Closed.to_string());
        assert_eq!(outcome(vec![(1, refused())]).await, (last, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_accident_the_next_one_begins_at_once_as_long_as_there_is_one() {
        let begin = Instant::now();
        let ends = vec![(0, failed(true)), (1, failed(true)), (2, Ok("third"))];
        assert_eq!(outcome(ends).await, (Ok("third"), 3));
        assert!(begin.elapsed() < NEXT_ATTEMPT_AFTER);
        let ends = vec![(0, failed(true)), (1, failed(true)), (2, failed(true))];
        assert_eq!(outcome(ends).await, (Err(ConnectError::NoDatagrams.to_string()), 3));
    }
}
