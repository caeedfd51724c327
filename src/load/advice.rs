use super::report::{Counted, Report};

/// Other programs that use more than so many percent of a core are in the way.
const OTHERS_PERCENT_MAX: f64 = 50.0;

/// Of so many percent of a core, a relay has no more to give.
const BUSY_PERCENT: f64 = 95.0;

/// What to do about what a report says, each in one sentence.
pub fn advice(report: &Report) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(Counted { refused, requests_refused, dropped, udp_dropped }) = &report.counted {
        let known = refused.iter().filter_map(|(reason, count)| refusal(reason, report.sessions.wanted, *count));
        advice.extend(known);
        advice.extend(requests_refused.keys().filter_map(|reason| request(reason)));
        advice.extend(dropped.keys().filter_map(|reason| drop(reason)).map(str::to_owned));
        if *udp_dropped > 0 {
            advice.push("The relay does not read its packets in time: it has more to do than it can.".to_owned());
        }
    } else if report.sessions.joined < report.sessions.wanted {
        advice.push(
            "If all sessions come from one address, start the relay with higher --sessions-per-address, \
             --handshakes-per-second-per-address and --handshakes-burst-per-address, or take a longer --ramp."
                .to_owned(),
        );
    }
    let failed = report.sessions.failed.keys();
    advice.extend(failed.filter_map(|reason| close(reason)).map(str::to_owned));
    if report.delivery.is_sent_late() {
        advice.push(
            "The load itself sent too late, so the latencies are partly its own: take less load, more --threads, or another \
             machine than the relay's."
                .to_owned(),
        );
    }
    if report.machine.as_ref().is_some_and(|machine| machine.others_cpu_percent > OTHERS_PERCENT_MAX) {
        advice.push("Other programs were busy on this machine, so the figures are partly theirs.".to_owned());
    }
    if report.process.as_ref().is_some_and(|process| process.cpu_percent > BUSY_PERCENT) {
        advice.push("The relay has used all of a core: this is more than it can do.".to_owned());
    }
    advice
}

/// What to do when connections and sessions are turned away.
fn refusal(reason: &str, wanted: u32, count: u64) -> Option<String> {
    let what = match reason {
        "sessions_of_address" => format!("--sessions-per-address {wanted}"),
        "connections_of_address" => {
            format!(
                "--handshakes-burst-per-address {wanted} and --handshakes-per-second-per-address {wanted}, or take a longer --ramp"
            )
        }
        "sessions" => format!("--sessions {wanted}, and with more --memory-megabytes if that is what it lacks"),
        "handshakes" => {
            return Some(format!("{count} connections began too fast for the relay: take a longer --ramp."));
        }
        "host" => return Some("The relay does not know the name it was called by: start it with --host.".to_owned()),
        "tokens" => return Some("Too many tokens were refused: look at --keys and --api-key.".to_owned()),
        _ => return None,
    };
    Some(format!("The relay turned sessions away {count} times ({reason}): start it with {what}."))
}

/// What to do when requests or messages are refused.
fn request(reason: &str) -> Option<String> {
    let option = match reason {
        "chat_too_fast" => "--chat-per-second",
        "too_fast" => "--requests-per-second",
        "subscriptions_full" => "--subscriptions-per-participant",
        "tracks_full" => "--tracks-per-participant",
        _ => return None,
    };
    Some(format!("The relay refused requests ({reason}): start it with a higher {option}."))
}

/// What to do when datagrams are dropped.
fn drop(reason: &str) -> Option<&'static str> {
    match reason {
        "over_budget" => Some(
            "Publishers send more than the relay allows one participant: start it with higher --media-datagrams-per-second and \
             --media-bits-per-second.",
        ),
        "not_selected" => Some(
            "The relay passes on some voices or cameras of a room alone: start it with higher --loudest-audio and --last-videos, or \
             without them.",
        ),
        "subscriber_slow" | "late" | "reference_missing" | "superseded" => Some(
            "The relay left media out for subscribers that did not take it in time: the path, or the machine of the load, is full.",
        ),
        _ => None,
    }
}

/// What to do when nobody comes in for this reason.
fn close(reason: &str) -> Option<&'static str> {
    match reason {
        "room_full" => Some("The rooms are full: start the relay with a higher --participants-per-room."),
        "rooms_full" => Some("The relay has no more rooms: start it with a higher --rooms."),
        "token_missing" => Some("The relay wants access tokens: give its --keys."),
        "token_invalid" => {
            Some("The relay does not take these tokens: give the --keys and --api-key that it runs with.")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::load::report::tests::report;

    fn counted(counted: Counted) -> String {
        advice(&Report { counted: Some(counted), ..report() }).join("\n")
    }

    fn once(reason: &str) -> BTreeMap<String, u64> {
        BTreeMap::from([(reason.to_owned(), 1)])
    }

    #[test]
    fn a_good_run_needs_no_advice() {
        assert_eq!(advice(&report()), [""; 0]);
    }

    #[test]
    fn every_refusal_names_what_to_change() {
        for (reason, option) in [
            ("sessions_of_address", "--sessions-per-address 10"),
            ("connections_of_address", "--handshakes-burst-per-address 10"),
            ("sessions", "--sessions 10"),
            ("handshakes", "--ramp"),
            ("tokens", "--keys"),
            ("host", "--host"),
        ] {
            assert!(counted(Counted { refused: once(reason), ..Counted::default() }).contains(option), "{reason}");
        }
        for (reason, option) in [("chat_too_fast", "--chat-per-second"), ("too_fast", "--requests-per-second")] {
            assert!(
                counted(Counted { requests_refused: once(reason), ..Counted::default() }).contains(option),
                "{reason}"
            );
        }
        let selected = counted(Counted { dropped: once("not_selected"), ..Counted::default() });
        assert!(selected.contains("--loudest-audio"), "{selected}");
        let over_budget = counted(Counted { dropped: once("over_budget"), ..Counted::default() });
        assert!(over_budget.contains("--media-datagrams-per-second"), "{over_budget}");
    }

    #[test]
    fn a_relay_whose_counts_are_unknown_may_be_at_its_limits() {
        let mut unknown = Report { counted: None, ..report() };
        assert_eq!(advice(&unknown), [""; 0]);
        unknown.sessions.joined -= 1;
        assert!(advice(&unknown).concat().contains("--sessions-per-address"));
    }

    #[test]
    fn a_load_that_is_late_says_so() {
        let mut late = report();
        late.delivery.late_ms.p99 = Some(5.1);
        assert!(advice(&late).concat().contains("The load itself sent too late"));
    }
}
