//! Any WebSocket client that connects without a subprotocol and sends text takes part in a room's chat.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tertulia::client::{Event, Options, Room};
use tertulia::config::{CertificateSource, Config, HistoryPlace};
use tertulia::limits::Limits;
use tertulia::relay::Relay;
use tertulia::transport::Carrier;
use tertulia::wire::{ParticipantId, ParticipantInfo, ParticipantKind};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

const DEADLINE: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

struct House {
    relay: Relay,
    directory: PathBuf,
}

impl House {
    fn open() -> Self {
        Self::with(Limits { chat_per_second: 1000, chat_burst: 1000, ..Limits::default() })
    }

    fn with(limits: Limits) -> Self {
        static HOUSES: AtomicU32 = AtomicU32::new(0);
        let house = HOUSES.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("tertulia-plain-{}-{house}", std::process::id()));
        let any_port = "127.0.0.1:0".parse().unwrap();
        let certificate = CertificateSource::Development { directory: directory.clone() };
        let relay = Relay::start(Config {
            listen: any_port,
            http: vec![any_port],
            certificate,
            history: HistoryPlace::Memory,
            data_directory: None,
            limits,
            ..Config::default()
        })
        .unwrap();
        Self { relay, directory }
    }

    fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.relay.http_address().unwrap())
    }

    /// A plain client that has its seat: the WebSocket is open a moment earlier.
    async fn plain(&self, path: &str) -> Plain {
        let seated = || self.relay.metrics().participants(Carrier::PlainWebSocket);
        let before = seated();
        let stream = TcpStream::connect(self.relay.http_address().unwrap()).await.unwrap();
        let socket = soon("a WebSocket", client_async(self.url(path), stream)).await.unwrap().0;
        let seat = async {
            while seated() == before {
                sleep(Duration::from_millis(1)).await;
            }
        };
        soon("a seat", seat).await;
        Plain(socket)
    }

    async fn meeting(&self, path: &str) -> Room {
        let options = Options { name: "Ana".into(), ..Options::default() };
        Room::connect(&self.url(path), options).await.unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A client that knows nothing but WebSocket.
struct Plain(WebSocketStream<TcpStream>);

impl Plain {
    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn hear(&mut self) -> String {
        let text = async {
            loop {
                match self.0.next().await.unwrap().unwrap() {
                    Message::Text(text) => return text.to_string(),
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        soon("a text", text).await
    }

    /// Closes as a browser does, and gives back the code that comes in answer.
    async fn close(mut self) -> Option<CloseCode> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.0.close(Some(frame)).await.unwrap();
        loop {
            match soon("the answer to the close", self.0.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

async fn next_event(room: &Room) -> Event {
    soon("an event", room.next_event()).await.expect("the session goes on")
}

async fn newcomer(room: &Room) -> ParticipantInfo {
    loop {
        if let Event::ParticipantJoined(info) = next_event(room).await {
            return info;
        }
    }
}

async fn hear(room: &Room) -> (ParticipantId, String) {
    loop {
        if let Event::ChatMessage(message) = next_event(room).await {
            return (message.from, message.body);
        }
    }
}

#[tokio::test]
async fn each_text_reaches_all_others_verbatim_and_never_its_sender() {
    let house = House::open();
    let ana = house.meeting("/").await;
    let mut first = house.plain("/").await;
    let first_id = newcomer(&ana).await.participant;
    let mut second = house.plain("").await;
    let second_id = newcomer(&ana).await.participant;

    let texts = [
        "hello",
        "",
        " \t\r\n ",
        "{\"json\": [1, 2]}",
        "\0 a NUL",
        "\u{e9}\u{4f60}\u{597d} \u{1f469}\u{200d}\u{1f4bb} e\u{301} \u{202e}right to left",
        &"x".repeat(16 * 1024),
    ];
    for text in texts {
        first.send(text).await;
        assert_eq!(second.hear().await, text);
        assert_eq!(hear(&ana).await, (first_id, text.to_owned()));
        // Had the sender got its own text, it would come first here.
        second.send("answer").await;
        assert_eq!(first.hear().await, "answer");
        assert_eq!(hear(&ana).await, (second_id, "answer".to_owned()));
        ana.chat().send(text).await.unwrap();
        assert_eq!([first.hear().await, second.hear().await], [text, text]);
    }
}

#[tokio::test]
async fn plain_clients_are_in_the_roster_as_what_they_are() {
    let house = House::open();
    let ana = house.meeting("/").await;
    let _plain = house.plain("/").await;
    let joined = newcomer(&ana).await;
    assert_eq!((joined.kind, joined.tracks.len()), (ParticipantKind::Plain, 0));
    assert_ne!(joined.name, "");
    let ben = house.meeting("/").await;
    let roster = ben.remote_participants();
    assert_eq!(
        roster.iter().map(|other| other.kind).collect::<Vec<_>>(),
        [ParticipantKind::Meeting, ParticipantKind::Plain]
    );
    assert_eq!(roster[1], joined);
    assert_eq!(house.relay.metrics().participants(Carrier::PlainWebSocket), 1);
}

#[tokio::test]
async fn the_path_names_the_room() {
    let house = House::open();
    let mut lobby = [house.plain("").await, house.plain("/").await, house.plain("/lobby").await];
    let mut team = [house.plain("/team").await, house.plain("/r/team").await, house.plain("/team/?x=y").await];
    lobby[0].send("to the lobby").await;
    team[0].send("to the team").await;
    for (rooms, text) in [(&mut lobby, "to the lobby"), (&mut team, "to the team")] {
        for other in &mut rooms[1..] {
            assert_eq!(other.hear().await, text);
        }
    }
    // What comes next is the first that each of these hears of the other room's paths: nothing came over.
    lobby[1].send("again").await;
    team[1].send("again").await;
    assert_eq!([lobby[0].hear().await, team[0].hear().await], ["again", "again"]);
}

#[tokio::test]
async fn many_texts_at_once_come_as_fast_as_allowed_and_all_of_them() {
    const TEXTS: u32 = 200;
    let house = House::with(Limits { chat_per_second: 200, chat_burst: 20, ..Limits::default() });
    let ana = house.meeting("/").await;
    let mut receiver = house.plain("/").await;
    let mut sender = house.plain("/").await;
    for number in 0..TEXTS {
        sender.0.feed(Message::text(number.to_string())).await.unwrap();
    }
    sender.0.flush().await.unwrap();
    for number in 0..TEXTS {
        assert_eq!(receiver.hear().await, number.to_string());
        assert_eq!(hear(&ana).await.1, number.to_string());
    }
    assert_eq!(sender.close().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn pings_behind_many_texts_do_not_end_the_session() {
    // More than may come in a second, in the two seconds that the texts take.
    const PINGS: u32 = 25;
    let house = House::with(Limits { chat_per_second: 20, chat_burst: 20, ..Limits::default() });
    let mut receiver = house.plain("/").await;
    let mut sender = house.plain("/").await;
    for number in 0..60 {
        sender.0.feed(Message::text(number.to_string())).await.unwrap();
    }
    for _ in 0..PINGS {
        sender.0.feed(Message::Ping(Bytes::new())).await.unwrap();
    }
    sender.send("the end").await;
    while receiver.hear().await != "the end" {}
    receiver.send("the session goes on").await;
    assert_eq!(sender.hear().await, "the session goes on");
    assert_eq!(sender.close().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn one_who_closes_has_left() {
    let house = House::open();
    let ana = house.meeting("/").await;
    let first = house.plain("/").await;
    let gone = newcomer(&ana).await.participant;
    let mut second = house.plain("/").await;
    assert_eq!(first.close().await, Some(CloseCode::Normal));
    let left = loop {
        if let Event::ParticipantLeft { participant, .. } = next_event(&ana).await {
            break participant;
        }
    };
    assert_eq!(left, gone);
    assert_eq!(ana.remote_participants().len(), 1);
    second.send("they left").await;
    assert_eq!(hear(&ana).await.1, "they left");
}
