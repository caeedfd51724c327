//! When and where to try again. Pure: the chance comes in as a number.

use std::time::Duration;

use crate::limits::HANDSHAKE_TIMEOUT;

/// The first waits grow with the square of their number.
const WAIT_STEP: Duration = Duration::from_millis(300);

/// No wait is longer, but for its jitter.
const WAIT_MAX: Duration = Duration::from_secs(7);

/// How far the first attempts of many clients are spread.
const FIRST_JITTER: Duration = Duration::from_millis(100);

/// A session that lasted so long was a good one: the waits begin anew. Without that, a session that breaks as soon as it
/// begins would be tried again at once for ever.
pub(super) const GOOD_SESSION: Duration = Duration::from_secs(1);

/// How far clients that hear nothing at the same moment are spread.
const SILENCE_JITTER: Duration = Duration::from_millis(500);

/// After so long without an alarm, the waits before one begin anew.
pub(super) const ALARM_MEMORY: Duration = Duration::from_secs(30);

/// How long a session stays on WebSocket before UDP is tried again: the first time, and at most. As the page has it too.
const RETURN_WAIT_MIN: Duration = Duration::from_secs(5);
const RETURN_WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// A session over UDP that lasted so long was a good one: the waits before returning to UDP begin anew. Without that, a network
/// that passes UDP now and then would have the session move for ever.
pub(super) const STEADY_SESSION: Duration = Duration::from_secs(60);

/// How long a place has to answer while there are others that were not tried: where UDP does not pass any more, WebSocket is
/// not far.
pub(super) const FIRST_ROUND_TIME: Duration = Duration::from_secs(2);

/// How long to wait before an attempt: 0, 0.3, 1.2, 2.7, 4.8, 7 s and so on, times 0.5 to 1.5, so that many clients whom a
/// relay lost in one moment do not all come back in one moment. `chance` is evenly distributed from 0 to 1.
pub(super) fn wait(attempt: u32, chance: f64) -> Duration {
    if attempt == 0 {
        return FIRST_JITTER.mul_f64(chance);
    }
    let base = WAIT_STEP.saturating_mul(attempt.saturating_mul(attempt)).min(WAIT_MAX);
    base.mul_f64(0.5 + chance)
}

/// How long to wait before a session over WebSocket is begun beside a silent one: when a relay stands still for a moment, all its clients
/// hear nothing, and those that wait a little longer hear it again.
pub(super) fn silence_wait(attempt: u32, chance: f64) -> Duration {
    if attempt == 0 { SILENCE_JITTER.mul_f64(chance) } else { wait(attempt, chance) }
}

/// How long to wait before UDP is tried again: 5, 10, 20 s and so on up to 5 min, and up to a tenth more.
pub(super) fn return_wait(attempt: u32, chance: f64) -> Duration {
    RETURN_WAIT_MIN.saturating_mul(1 << attempt.min(10)).min(RETURN_WAIT_MAX).mul_f64(1.0 + chance / 10.0)
}

/// Whether a place is reached by WebSocket.
pub(super) fn is_websocket(url: &str) -> bool {
    ["wss:", "ws:"].into_iter().any(|scheme| url.starts_with(scheme))
}

/// Where relays at these places are reached by WebSocket: what is a place for it goes first, and then the other side of those where
/// WebTransport is.
pub(super) fn websockets(urls: &[String]) -> Vec<String> {
    let named = urls.iter().filter(|url| is_websocket(url)).cloned();
    let beside = urls.iter().filter_map(|url| url.strip_prefix("https:")).map(|place| format!("wss:{place}"));
    let mut found: Vec<String> = Vec::new();
    for url in named.chain(beside) {
        if !found.contains(&url) {
            found.push(url);
        }
    }
    found
}

/// Where to make an attempt: where the last session was, then the other places in turn.
pub(super) fn place<'a>(attempt: u32, last: &'a str, others: &'a [String]) -> &'a str {
    let others: Vec<&str> = others.iter().map(String::as_str).filter(|other| *other != last).collect();
    match (attempt as usize % (1 + others.len())).checked_sub(1) {
        None => last,
        Some(index) => others[index],
    }
}

/// How long an attempt may take.
pub(super) fn attempt_time(attempt: u32, places: &[String]) -> Duration {
    let others_are_left = (attempt as usize) + 1 < places.len();
    if others_are_left { FIRST_ROUND_TIME } else { HANDSHAKE_TIMEOUT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_seven_seconds() {
        let waits: Vec<_> = (0..8).map(|attempt| wait(attempt, 0.5).as_millis()).collect();
        assert_eq!(waits, [50, 300, 1200, 2700, 4800, 7000, 7000, 7000]);
        assert_eq!(wait(u32::MAX, 0.5), WAIT_MAX);
    }

    #[test]
    fn clients_that_hear_nothing_are_spread_and_udp_is_tried_ever_more_seldom() {
        let waits = |attempt| [0.0, 1.0].map(|chance| silence_wait(attempt, chance).as_millis());
        assert_eq!([waits(0), waits(1)], [[0, 500], [150, 450]]);
        let waits: Vec<_> = (0..8).map(|attempt| return_wait(attempt, 0.0).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(return_wait(u32::MAX, 1.0), RETURN_WAIT_MAX.mul_f64(1.1));
    }

    #[test]
    fn websocket_is_where_it_was_said_to_be_and_beside_webtransport() {
        let found = |urls: &[&str]| websockets(&urls.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(found(&["https://a:4433/r/team"]), ["wss://a:4433/r/team"]);
        assert_eq!(found(&["https://a/", "ws://b/", "wss://a/"]), ["ws://b/", "wss://a/"]);
        assert!(found(&["quic://a/"]).is_empty());
    }

    #[test]
    fn chance_spreads_them_by_half() {
        assert_eq!([wait(0, 0.0), wait(0, 1.0)].map(|wait| wait.as_millis()), [0, 100]);
        assert_eq!([wait(2, 0.0), wait(2, 1.0)].map(|wait| wait.as_millis()), [600, 1800]);
    }

    #[test]
    fn places_take_turns_and_the_last_one_goes_first() {
        let others = ["a", "b", "c"].map(str::to_owned);
        let places: Vec<_> = (0..4).map(|attempt| place(attempt, "b", &others)).collect();
        assert_eq!(places, ["b", "a", "c", "b"]);
        let places: Vec<_> = (0..5).map(|attempt| place(attempt, "x", &others)).collect();
        assert_eq!(places, ["x", "a", "b", "c", "x"]);
        assert_eq!(place(7, "x", &[]), "x");
    }

    #[test]
    fn a_place_has_less_time_while_there_is_another_to_try() {
        let times = |places: usize| [0, 1, 2].map(|turn| attempt_time(turn, &vec![String::new(); places]).as_secs());
        assert_eq!([times(1), times(2), times(3)], [[5, 5, 5], [2, 5, 5], [2, 2, 5]]);
    }
}
