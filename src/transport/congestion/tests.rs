//! Networks of targets, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use super::simulation::{Control, Flow, PACKET, Path, run};
use super::window::Window;
use crate::limits::INITIAL_WINDOW_BYTES;

const RTT_MS: u64 = 60;

fn bottleneck(kbits: f64, queue_ms: u64) -> Path {
    Path {
        rates: vec![(Duration::ZERO, kbits * 1e3)],
        queue_bytes: (kbits * queue_ms as f64 / 8.0) as u64,
        loss: (0.0, 1),
        jitter: Duration::ZERO,
    }
}

/// Rate in kbit/s and longest queue in ms, second by second, for whoever reads a failure.
fn show(flows: &[Flow]) {
    for flow in flows {
        let seconds = 0..flow.log.len() / 10;
        let line = seconds.map(|at| format!("{:.0}/{:.0}", flow.rate(at, at + 1) / 1e3, flow.queue_ms(at, at + 1)));
        println!("{}", line.collect::<Vec<_>>().join(" "));
    }
}

fn play(path: &Path, flows: Vec<Flow>, seconds: u64) -> Vec<Flow> {
    let flows = run(path, flows, seconds, 1);
    show(&flows);
    flows
}

#[test]
fn a_flow_alone_uses_its_path_and_leaves_no_queue_behind() {
    // At 300 kbit/s a packet takes 32 ms.
    for (kbits, queue_ms_max) in [(300.0, 280.0), (600.0, 100.0), (3000.0, 60.0), (20_000.0, 60.0)] {
        for queue_ms in [200, 1000] {
            let flow = &play(&bottleneck(kbits, queue_ms), vec![Flow::media(RTT_MS)], 20)[0];
            // Even after the first window, 256 KiB, filled all of it.
            assert!(flow.queue_ms(3, 9) <= queue_ms_max, "{kbits} {queue_ms}");
            assert!(flow.rate(3, 20) >= kbits * 1e3 * 0.93, "{kbits} {queue_ms}");
        }
    }
}

#[test]
fn what_is_paced_uses_its_path_and_makes_no_long_queue_whatever_the_round_trip() {
    for rtt_ms in [5, 20, 60, 150] {
        for kbits in [600.0, 3000.0] {
            let mut small = Flow::media(rtt_ms).paced();
            small.control = Control::Media(Box::new(Window::new(3 * PACKET, PACKET)));
            let flow = &play(&bottleneck(kbits, 1000), vec![small], 20)[0];
            assert!(flow.queue_ms(3, 20) <= 100.0, "{kbits} {rtt_ms}");
            assert!(flow.rate(3, 20) >= kbits * 1e3 * 0.9, "{kbits} {rtt_ms}");
        }
    }
}

#[test]
fn what_only_bursts_have_shown_is_not_taken_for_what_the_path_carries() {
    // 8 kB at once, seven and a half times a second: 480 kbit/s.
    let offers = (0..150).flat_map(|burst| {
        let at = Duration::from_millis(burst * 133);
        [(at, 12.8e6), (at + Duration::from_millis(5), 0.0)]
    });
    let mut flow = Flow::media(RTT_MS);
    flow.offers = Some(offers.collect());
    flow.control = Control::Media(Box::new(Window::new(4 * PACKET, PACKET)));
    let flow = &play(&bottleneck(600.0, 1000), vec![flow], 20)[0];
    assert!(flow.window() <= 9 * PACKET, "{}: 60 ms and 84 ms of queue", flow.window());
}

#[test]
fn after_a_pause_the_window_is_that_of_before() {
    // More than passes, but for moments in which there is a voice alone.
    for (rtt_ms, pause_ms) in [(60, 200), (60, 300), (100, 200), (100, 300)] {
        let offers = (0..10).flat_map(|turn| {
            let at = Duration::from_secs(turn * 2);
            [(at, 4.5e6), (at + Duration::from_millis(2000 - pause_ms), 64e3)]
        });
        let mut flow = Flow::media(rtt_ms).paced();
        flow.offers = Some(offers.collect());
        flow.control = Control::Media(Box::new(Window::new(4 * PACKET, PACKET)));
        let flow = &play(&bottleneck(3000.0, 1000), vec![flow], 20)[0];
        assert!(flow.queue_ms(3, 20) <= 40.0, "{rtt_ms} {pause_ms}");
    }
}

#[test]
fn acknowledgements_that_wait_for_more_are_not_taken_for_a_queue() {
    // Frames of 8 packets, 30 times a second: 2.3 Mbit/s. A receiver that waits for eleven always waits in vain.
    let offers = (0..600).flat_map(|frame| {
        let at = Duration::from_micros(frame * 33_333);
        [(at, 8.0 * PACKET as f64 * 8.0 / 0.005), (at + Duration::from_millis(5), 0.0)]
    });
    for (rtt_ms, jitter_ms) in [(5, 0), (10, 5), (20, 10), (60, 10)] {
        let mut flow = Flow::media(rtt_ms).paced().acknowledged_by(11);
        flow.offers = Some(offers.clone().collect());
        let path = Path { jitter: Duration::from_millis(jitter_ms), ..bottleneck(20_000.0, 200) };
        let flow = &play(&path, vec![flow], 20)[0];
        assert!(flow.rate(1, 20) >= 30.0 * 8.0 * PACKET as f64 * 8.0 * 0.99, "{rtt_ms} {jitter_ms}");
        let mut small = Flow::media(rtt_ms).paced().acknowledged_by(11);
        small.offers = Some(offers.clone().collect());
        small.control = Control::Media(Box::new(Window::new(4 * PACKET, PACKET)));
        let small = &play(&path, vec![small], 20)[0];
        assert!(small.rate(3, 20) >= 30.0 * 8.0 * PACKET as f64 * 8.0 * 0.99, "{rtt_ms} {jitter_ms}, from 4 packets");
    }
}

#[test]
fn losses_by_chance_cost_no_more_than_themselves() {
    for (share, row) in [(0.02, 1), (0.05, 1), (0.05, 3)] {
        let path = Path { loss: (share, row), ..bottleneck(3000.0, 200) };
        let flow = &play(&path, vec![Flow::media(RTT_MS)], 20)[0];
        assert!(flow.rate(3, 20) >= 3e6 * (1.0 - share) * 0.95, "{share} {row}");
    }
}

#[test]
fn jitter_is_not_taken_for_a_queue() {
    let path = Path { jitter: Duration::from_millis(20), ..bottleneck(3000.0, 200) };
    let flow = &play(&path, vec![Flow::media(RTT_MS)], 20)[0];
    assert!(flow.rate(3, 20) >= 3e6 * 0.93);
    assert!(flow.queue_ms(3, 20) <= 80.0);
}

#[test]
fn two_flows_of_this_kind_share_whatever_their_round_trips() {
    for (kbits, rtts) in [(600.0, (60, 60)), (3000.0, (60, 60)), (3000.0, (30, 120))] {
        let flows = vec![Flow::media(rtts.0), Flow::media(rtts.1).beginning_at(5)];
        let flows = play(&bottleneck(kbits, 1000), flows, 60);
        let share = flows[0].rate(30, 60) / (flows[0].rate(30, 60) + flows[1].rate(30, 60));
        assert!((0.3..0.7).contains(&share), "{kbits} {rtts:?}: {share}");
        assert!(flows[1].queue_ms(15, 60) <= 180.0, "{kbits} {rtts:?}");
    }
}

#[test]
fn a_download_by_tcp_starves_nobody_and_is_not_starved() {
    for (kbits, queue_ms) in [(600.0, 200), (600.0, 1000), (3000.0, 200), (3000.0, 1000)] {
        let flows = vec![Flow::media(RTT_MS), Flow::cubic(RTT_MS).beginning_at(5)];
        let flows = play(&bottleneck(kbits, queue_ms), flows, 60);
        for flow in &flows {
            assert!(flow.rate(15, 60) >= kbits * 1e3 * 0.2, "{kbits} {queue_ms}");
        }
    }
}

#[test]
fn what_media_needs_is_there_beside_a_download() {
    for (kbits, queue_ms) in [(600.0, 200), (3000.0, 200), (3000.0, 1000)] {
        let flows = vec![Flow::media(RTT_MS).offering(kbits * 300.0), Flow::cubic(RTT_MS).beginning_at(5)];
        let flows = play(&bottleneck(kbits, queue_ms), flows, 60);
        assert!(flows[0].rate(15, 60) >= kbits * 300.0 * 0.5, "{kbits} {queue_ms}");
    }
}

#[test]
fn a_window_that_is_not_used_stays_as_it_is() {
    let flow = &play(&bottleneck(20_000.0, 200), vec![Flow::media(RTT_MS).offering(3e5)], 30)[0];
    assert_eq!(flow.window(), 256 * 1024, "neither the least nor more was shown to pass");
    let mut small = Flow::media(RTT_MS).offering(3e5);
    small.control = Control::Media(Box::new(Window::new(4 * PACKET, PACKET)));
    let flow = &play(&bottleneck(20_000.0, 200), vec![small], 30)[0];
    assert!(flow.rate(2, 30) >= 2.9e5);
    assert!(flow.window() <= 16 * PACKET, "{}", flow.window());
}

#[test]
fn bandwidth_that_falls_and_returns_is_followed() {
    let second = Duration::from_secs;
    let rates = vec![(second(0), 3e6), (second(5), 5e5), (second(15), 3e6)];
    let path = Path { rates, ..bottleneck(3000.0, 200) };
    for (flow, offered) in [(Flow::media(RTT_MS), 3e6), (Flow::media(RTT_MS).offering(1.5e6), 1.5e6)] {
        let flow = &play(&path, vec![flow], 25)[0];
        assert!(flow.queue_ms(7, 15) <= 130.0);
        assert!(flow.rate(7, 15) >= 4.7e5);
        assert!(flow.rate(17, 25) >= offered * 0.95, "back within two seconds");
    }
}

#[test]
fn a_path_with_a_short_queue_is_not_flooded() {
    let flow = &play(&bottleneck(3000.0, 10), vec![Flow::media(RTT_MS)], 20)[0];
    assert!(flow.rate(5, 20) >= 3e6 * 0.9);
    assert!(flow.loss(5, 20) <= 0.15, "{}", flow.loss(5, 20));
}

/// The window of a flow of 0.5 Mbit/s after a minute in which acknowledgements wait for so long, in turns, beside the round trip.
fn window_after_waits(rtt_ms: u64, waits_ms: &[u64]) -> u64 {
    let mut window = Window::new(INITIAL_WINDOW_BYTES, PACKET);
    let mut answers = VecDeque::new();
    for now in 0..60_000 {
        let now = Duration::from_millis(now);
        while let Some((_, sent)) = answers.pop_front_if(|(at, _)| *at <= now) {
            window.acked(sent, PACKET);
            window.acked_all(now, answers.len() as u64 * PACKET);
        }
        if now.as_millis().is_multiple_of(20) {
            // The first second is one without them.
            let busy = now.as_secs() > 0;
            let wait = if busy { waits_ms[now.as_millis() as usize / 200 % waits_ms.len()] } else { 0 };
            let at = answers.back().map_or(Duration::ZERO, |(last, _)| *last);
            answers.push_back((at.max(now + Duration::from_millis(rtt_ms + wait)), now));
            window.sent(PACKET);
        }
    }
    window.bytes()
}

#[test]
fn busy_processors_are_not_taken_for_a_queue() {
    let waits = [30, 55, 40, 70, 130, 25, 90];
    assert_eq!(window_after_waits(1, &waits), INITIAL_WINDOW_BYTES);
    assert!(window_after_waits(10, &waits) < INITIAL_WINDOW_BYTES / 4, "far away it may well be one");
}

/// The window after packets that were sent and answered at these times, in milliseconds, one of which was in flight at a time.
fn window_after(answers: &[(u64, u64)]) -> u64 {
    let mut window = Window::new(INITIAL_WINDOW_BYTES, PACKET);
    for (sent, answered) in answers {
        window.sent(PACKET);
        window.acked(Duration::from_millis(*sent), PACKET);
        window.acked_all(Duration::from_millis(*answered), 0);
    }
    window.bytes()
}

#[test]
fn an_acknowledgement_that_was_lost_is_not_taken_for_a_queue() {
    // A participant joins and publishes, with few words. One of them is acknowledged by the answer to the next.
    let words = [(0, 60), (70, 130), (140, 320), (330, 390), (400, 590), (600, 660)];
    assert_eq!(window_after(&words), INITIAL_WINDOW_BYTES);
    let slow = [(0, 60), (70, 130), (140, 320), (330, 510), (520, 700)];
    assert!(window_after(&slow) < INITIAL_WINDOW_BYTES / 4, "what is late again and again is in a queue");
}

#[test]
fn after_an_interruption_the_window_is_small() {
    let mut window = Window::new(256 * 1024, PACKET);
    window.interrupted();
    assert_eq!(window.bytes(), 3 * PACKET);
    window.set_packet_bytes(1400);
    assert_eq!(window.bytes(), 4200, "the least follows the size of packets");
}

/// A second in which of a hundred packets so many are lost.
fn pass(window: &mut Window, second: u64, lost: u64) {
    for packet in 0..100 {
        let now = Duration::from_millis(second * 1000 + packet * 10);
        window.sent(PACKET);
        if packet < lost {
            window.lost(PACKET);
        } else {
            window.acked(now, PACKET);
            window.acked_all(now + Duration::from_millis(RTT_MS), 0);
        }
    }
}

#[test]
fn a_path_that_takes_no_more_is_full_nearly_all_of_the_time_and_one_with_room_is_not() {
    // Of 300 kbit/s with 20 ms, the window is two or three packets and may stand just below its target for seconds.
    let paths =
        [(300.0, 60), (300.0, 150), (600.0, 20), (600.0, 60), (600.0, 150), (1500.0, 20), (1500.0, 60), (1500.0, 150)];
    for (kbits, rtt_ms) in paths {
        let full = |flow: Flow| -> Vec<bool> {
            let flow = &play(&bottleneck(kbits, 1000), vec![flow.paced()], 60)[0];
            flow.log[50..].iter().map(|tenth| tenth.is_full).collect()
        };
        let taken = full(Flow::media(rtt_ms));
        let share = taken.iter().filter(|is_full| **is_full).count() as f64 / taken.len() as f64;
        assert!(share > 0.75, "{kbits} {rtt_ms}: {share} of the time");
        let gaps = taken.windows(10).filter(|second| !second.contains(&true)).count();
        assert!(gaps <= 10, "{kbits} {rtt_ms}: {gaps} times none for a second");
        let with_room = full(Flow::media(rtt_ms).offering(kbits * 500.0));
        assert!(!with_room.contains(&true), "{kbits} {rtt_ms}");
    }
}

#[test]
fn a_path_is_full_while_a_queue_stands_and_after_many_losses() {
    let mut window = Window::new(20 * PACKET, PACKET);
    let full = [(0, 0), (2000, 40), (4000, 0)].map(|(begin_ms, wait_ms): (u64, u64)| {
        for sent_ms in (begin_ms..begin_ms + 1000).step_by(20) {
            window.sent(PACKET);
            window.acked(Duration::from_millis(sent_ms), PACKET);
            window.acked_all(Duration::from_millis(sent_ms + RTT_MS + wait_ms), 0);
        }
        window.is_full()
    });
    assert_eq!(full, [false, true, false]);
    let mut window = Window::new(20 * PACKET, PACKET);
    let after = |(second, lost)| {
        pass(&mut window, second, lost);
        window.is_full()
    };
    let full: Vec<_> = (0..).zip([0, 60, 0, 0, 0, 0]).map(after).collect();
    assert_eq!([full[0], full[1], full[2], full[5]], [false, true, true, false]);
}

#[test]
fn many_losses_count_when_they_last() {
    let mut window = Window::new(20 * PACKET, PACKET);
    for (second, lost) in (0..).zip([0, 25, 0, 0, 25, 0, 0]) {
        pass(&mut window, second, lost);
        assert_eq!(window.bytes(), 20 * PACKET, "second {second}: they came in a burst");
    }
    (7..10).for_each(|second| pass(&mut window, second, 25));
    assert!(window.bytes() < 20 * PACKET);
}
