//! The bad network of the tests: what becomes of packets, by input and output and in numbers, and through sockets.

mod support;

use std::time::Duration;

use support::impair::Proxy;
use support::impair::link::{Counts, Kind, Link, Load};
use support::impair::network::Direction;
use support::impair::script::{Change, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number(u32);

impl Load for Number {
    fn change(&mut self) {
        self.0 = u32::MAX;
    }
}

fn link(conditions: &str) -> Link<Number> {
    let mut link = Link::new(Default::default(), 1);
    set(&mut link, 0, conditions);
    link
}

fn set(link: &mut Link<Number>, at_ms: u64, line: &str) {
    let change: Change = line.parse().unwrap();
    let conditions = change.apply(Direction::Down, *link.conditions());
    link.set(Duration::from_millis(at_ms), conditions);
}

/// Sends packets of 1000 bytes, one every `interval_us`, and gives number and time in microseconds of what arrives.
fn send(link: &mut Link<Number>, count: u32, interval_us: u64) -> Vec<(u32, u64)> {
    let mut arrived = Vec::new();
    for number in 0..count {
        let now = Duration::from_micros(u64::from(number) * interval_us);
        link.push(now, Kind::Packet, 1000, Number(number));
        arrived.extend(arrivals_until(link, now));
    }
    arrived.extend(arrivals(link));
    arrived
}

fn arrivals(link: &mut Link<Number>) -> Vec<(u32, u64)> {
    arrivals_until(link, Duration::MAX)
}

fn arrivals_until(link: &mut Link<Number>, until: Duration) -> Vec<(u32, u64)> {
    let mut arrived = Vec::new();
    while let Some(at) = link.next_timeout().filter(|at| *at <= until) {
        while let Some((_, Number(number))) = link.pop(at) {
            arrived.push((number, at.as_micros() as u64));
        }
    }
    arrived
}

#[test]
fn a_delay_is_kept_to_the_microsecond() {
    assert_eq!(send(&mut link("delay 30ms"), 3, 1000), [(0, 30_000), (1, 31_000), (2, 32_000)]);
}

#[test]
fn a_bottleneck_lets_packets_through_one_by_one_and_its_queue_is_full_when_it_is() {
    // 1000 bytes take 10 ms; what is on its way counts as waiting.
    let mut link = link("rate 800kbit queue 30ms");
    assert_eq!(send(&mut link, 5, 0), [(0, 10_000), (1, 20_000), (2, 30_000)]);
    assert_eq!(link.counts(), Counts { delivered: 3, delivered_bytes: 3000, overflowed: 2, ..Counts::default() });
}

#[test]
fn what_waits_passes_at_the_new_rate_when_the_rate_changes() {
    let mut link = link("rate 800kbit queue 1s");
    for number in 0..3 {
        link.push(Duration::ZERO, Kind::Packet, 1000, Number(number));
    }
    // Half of the first has passed; its other half takes ten times as long.
    set(&mut link, 5, "rate 80kbit");
    assert_eq!(arrivals(&mut link), [(0, 55_000), (1, 155_000), (2, 255_000)]);
    let mut link = self::link("rate 8kbit");
    link.push(Duration::ZERO, Kind::Packet, 1000, Number(0));
    set(&mut link, 5, "rate none");
    assert_eq!(arrivals(&mut link), [(0, 5000)]);
}

#[test]
fn jitter_keeps_the_order_and_reordering_does_not() {
    let numbers: Vec<_> =
        send(&mut link("delay 10ms jitter 20ms"), 1000, 1000).iter().map(|(number, _)| *number).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    // Where packets are far apart, none waits for the one before it.
    let arrived = send(&mut link("delay 10ms jitter 20ms"), 1000, 20_000);
    let late = arrived.iter().map(|(number, at)| at - u64::from(*number) * 20_000);
    let (least, most) = late.fold((u64::MAX, 0), |(least, most), late| (least.min(late), most.max(late)));
    assert!((10_000..11_000).contains(&least) && (29_000..=30_000).contains(&most), "{least} {most}");

    let mut link = link("reorder 10% 5ms");
    let arrived = send(&mut link, 1000, 1000);
    let is_late = |(number, at): &&(u32, u64)| *at == u64::from(*number) * 1000 + 5000;
    let late = arrived.iter().filter(is_late).count();
    assert!((70..130).contains(&late) && late as u64 == link.counts().reordered, "{late}");
    assert!(!arrived.iter().map(|(number, _)| number).is_sorted());
}

#[test]
fn so_many_are_lost_doubled_and_changed_as_was_said() {
    let mut link = link("loss 5% duplicate 2% change 1%");
    let arrived = send(&mut link, 100_000, 1);
    let counts = link.counts();
    for (count, expected) in [(counts.lost, 5000), (counts.duplicated, 1900), (counts.changed, 950)] {
        assert!(count.abs_diff(expected) < expected / 10, "{counts:?}");
    }
    assert_eq!(arrived.len() as u64, 100_000 - counts.lost + counts.duplicated);
    // Something that was doubled after it was changed is changed twice.
    assert!(arrived.iter().filter(|(number, _)| *number == u32::MAX).count() as u64 >= counts.changed);
}

#[test]
fn bursts_have_the_share_and_the_length_that_was_said() {
    let mut link = link("burst 5% 3");
    let arrived = send(&mut link, 300_000, 1);
    let gaps: Vec<_> = arrived.windows(2).map(|pair| pair[1].0 - pair[0].0 - 1).filter(|gap| *gap > 0).collect();
    let lost: u32 = gaps.iter().sum();
    let length = f64::from(lost) / gaps.len() as f64;
    assert!((14_000..16_000).contains(&lost), "{lost}");
    assert!((2.8..3.2).contains(&length), "{length}");
}

#[test]
fn the_same_seed_does_the_same_and_another_something_else() {
    let lost = |seed| {
        let mut link = Link::new(Default::default(), seed);
        set(&mut link, 0, "loss 10% jitter 5ms");
        send(&mut link, 1000, 100)
    };
    assert_eq!(lost(1), lost(1));
    assert_ne!(lost(1), lost(2));
}

#[test]
fn what_is_blocked_or_too_large_vanishes() {
    let mut link = link("mtu 1000");
    link.push(Duration::ZERO, Kind::Packet, 1001, Number(0));
    link.push(Duration::ZERO, Kind::Packet, 1000, Number(1));
    set(&mut link, 0, "block udp");
    link.push(Duration::ZERO, Kind::Packet, 10, Number(2));
    link.push(Duration::ZERO, Kind::Segment(0), 10, Number(3));
    assert_eq!(arrivals(&mut link), [(1, 0), (3, 0)]);
    assert_eq!((link.counts().too_large, link.counts().blocked), (1, 1));
}

#[test]
fn a_lost_segment_comes_late_and_holds_up_its_own_connection_alone() {
    let mut link = link("delay 20ms loss 100%");
    link.push(Duration::ZERO, Kind::Segment(7), 1000, Number(0));
    set(&mut link, 1, "loss 0%");
    for (connection, number) in [(7, 1), (8, 2)] {
        link.push(Duration::from_millis(1), Kind::Segment(connection), 1000, Number(number));
    }
    let arrived = arrivals(&mut link);
    assert_eq!(arrived[0], (2, 21_000));
    assert!(arrived[1].0 == 0 && arrived[2].0 == 1 && arrived[1].1 == arrived[2].1, "{arrived:?}");
    assert!(arrived[1].1 > 60_000_000, "sent again until it was no longer lost");
}

#[test]
fn a_script_is_read_line_by_line_and_a_mistake_is_named() {
    let script: Script =
        "delay 10ms # always\n\nat 5s down rate 500kbit queue 64kb\nat 1.5s block udp".parse().unwrap();
    let at: Vec<_> = script.changes.iter().map(|(at, _)| at.as_millis()).collect();
    assert_eq!(at, [0, 1500, 5000]);
    for (text, expected) in [
        ("dealy 30ms", "line 1: \"dealy\" is not a word of a script"),
        ("delay", "line 1: something is missing after \"delay\""),
        ("\ndelay 30", "line 2: \"30\" is not a time, like 30ms or 1.5s"),
        ("loss 120%", "line 1: \"120%\" is not a share, like 2%"),
        ("rate 0kbit", "line 1: \"0kbit\" is not a rate, like 500kbit or 3mbit"),
        ("rate -1kbit", "line 1: \"-1kbit\" is not a rate, like 500kbit or 3mbit"),
        ("queue many", "line 1: \"many\" is not a queue, like 200ms or 64kb"),
        ("delay -1s", "line 1: \"-1s\" is not a time, like 30ms or 1.5s"),
        ("delay nans", "line 1: \"nans\" is not a time, like 30ms or 1.5s"),
        ("burst 5% 0", "line 1: \"0\" is not a number, like 3"),
        ("up", "line 1: \"up\" is not a word of a script"),
        ("at 5s", "line 1: \"\" changes nothing"),
    ] {
        let mistake = text.parse::<Script>().unwrap_err().to_string();
        assert!(mistake.starts_with(&format!("{expected};")), "{mistake}");
    }
}

#[test]
fn every_line_that_the_help_shows_is_understood() {
    let shown = Script::GRAMMAR.lines().filter_map(|line| line.strip_prefix("  ")?.split("  ").next());
    let shown: Vec<_> = shown.collect();
    assert!(shown.len() > 10, "{shown:?}");
    for line in shown {
        assert!(line.parse::<Change>().is_ok(), "{line}");
    }
}

async fn echo() -> (std::net::SocketAddr, tokio::task::JoinSet<()>) {
    // TCP's port may be taken for UDP.
    let (listener, address, socket) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if let Ok(socket) = UdpSocket::bind(address).await {
            break (listener, address, socket);
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut packet = [0; 2000];
        loop {
            let (length, from) = socket.recv_from(&mut packet).await.unwrap();
            socket.send_to(&packet[..length], from).await.unwrap();
        }
    });
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    (address, tasks)
}

#[tokio::test]
async fn each_client_has_its_own_answers_at_the_time_that_was_said() {
    let (relay, _echo) = echo().await;
    let proxy = Proxy::start(relay, "delay 20ms", 1).await;
    let mut clients = Vec::new();
    for number in 0..20u8 {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(proxy.address).await.unwrap();
        client.send(&[number; 100]).await.unwrap();
        clients.push(client);
    }
    let begin = tokio::time::Instant::now();
    for (client, number) in clients.iter().zip(0..) {
        let mut answer = [0; 200];
        assert_eq!(client.recv(&mut answer).await.unwrap(), 100);
        assert_eq!(answer[..100], [number; 100]);
    }
    assert!(begin.elapsed() > Duration::from_millis(30), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_block_silences_and_a_cut_resets() {
    let (relay, _echo) = echo().await;
    let proxy = Proxy::start(relay, "block udp", 1).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(proxy.address).await.unwrap();
    client.send(b"hello").await.unwrap();
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();

    proxy.apply("pass block tcp");
    // What was sent before is gone.
    client.send(b"again").await.unwrap();
    client.recv(&mut answer).await.unwrap();
    assert_eq!(&answer, b"again");
    stream.write_all(b"still").await.unwrap();
    assert!(timeout(Duration::from_millis(50), stream.read_exact(&mut answer)).await.is_err());
    proxy.apply("pass");
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"still");

    proxy.apply("cut");
    assert!(stream.read_exact(&mut answer).await.is_err());
    let mut refused = TcpStream::connect(proxy.address).await.unwrap();
    assert!(refused.read_exact(&mut answer).await.is_err());
}

#[tokio::test]
async fn tcp_comes_whole_through_a_bottleneck_with_losses_and_ends_where_it_ended() {
    let (relay, _echo) = echo().await;
    let proxy = Proxy::start(relay, "delay 1ms loss 5% rate 20mbit queue 10ms", 1).await;
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let sent: Vec<u8> = (0..300_000u32).map(|number| (number / 7) as u8).collect();
    let (mut from, mut to) = stream.into_split();
    let begin = tokio::time::Instant::now();
    let writing = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let ((), read) = tokio::join!(writing, from.read_to_end(&mut got));
    read.unwrap();
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    // 300 kB at 20 Mbit/s.
    assert!(begin.elapsed() >= Duration::from_millis(115), "{:?}", begin.elapsed());
}
