use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use tertulia::config::{CertificateSource, Config, HistoryPlace, KeySources, OpenRelay, line_of};
use tertulia::limits::{Limits, SELECTED_MAX, SHARDS_MAX, SameIdentity, TRACKS_PER_PARTICIPANT_MAX};
use tertulia::transport::Congestion;

/// Declares every setting once: as an option of the command line, as a key of the file, and how the two combine.
macro_rules! settings {
    ($($(#[$meta:meta])* $name:ident: $kind:ty,)+) => {
        /// What can be set, on the command line and in the file.
        #[derive(Debug, Default, Args, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub struct Settings {
            $($(#[$meta])* pub $name: Option<$kind>,)+
        }

        impl Settings {
            /// What is set here, and for the rest what is set there.
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }
        }
    };
}

settings! {
    /// Where QUIC and WebTransport (UDP) and HTTPS and WSS (TCP) are served [default: [::]:4433]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: String,
    /// Where plain HTTP and WS are served: an address and port, or `none` [default: localhost:8000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: String,
    /// Where /metrics and /sessions.json are told to whoever comes, by plain HTTP: keep it to a network of your own. They are also
    /// on --http where that is a loopback address, for requests that no proxy passed on [default: none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: String,
    /// Threads that serve sessions, at most 64; 0: one for each core [default: 0]
    #[arg(long, value_name = "COUNT")]
    shards: u32,
    /// The certificate chain, a PEM file; needs --private-key [default: a self-signed development certificate]
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// The private key of --certificate, a PEM file
    #[arg(long, value_name = "FILE")]
    private_key: PathBuf,
    /// Where the development certificate is kept [default: certs]
    #[arg(long, value_name = "DIRECTORY")]
    certificate_dir: PathBuf,
    /// The keys that access tokens are checked with, a TOML file: `tertulia token --help` says how to make one [default: none,
    /// everyone may come in]
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// More such keys, public ones: a JSON Web Key Set (RFC 7517)
    #[arg(long, value_name = "FILE")]
    jwks: PathBuf,
    /// Without keys everyone who reaches the relay may come in: `warn` of that, `allow` it without a word, or `refuse` to start where
    /// other machines can reach it [default: warn]
    #[arg(long, value_name = "HOW")]
    open_relay: OpenChoice,
    /// Whether plain WebSocket clients may come in without a token although there are keys [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    plain_without_token: bool,
    /// What happens when an identity joins a room that it is in already: `replace` the one who was there, or `refuse` the one
    /// who comes [default: replace]
    #[arg(long, value_name = "WHAT")]
    same_identity: IdentityChoice,
    /// Where the relay keeps what has to survive a restart, chat and keys, or `none` [default: data]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: PathBuf,
    /// Where chat is kept: on `disk`, in --data-dir, or in `memory`, until the relay ends [default: disk]
    #[arg(long, value_name = "PLACE")]
    history: HistoryChoice,
    /// A page's origin that may connect, like https://app.example, or * for all; give it again for more [default: pages of
    /// the relay's own host and of localhost]
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// A name by which the relay is reached, like relay.example or *.relay.example, or * for all; give it again for more
    /// [default: localhost, addresses, and the names in the certificate]
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Whether the address for others on the network is printed as a QR code as well: `auto` where it is printed on a terminal,
    /// `always` or `never` [default: auto]
    #[arg(long, value_name = "WHEN")]
    qr: QrChoice,
    /// Congestion control of QUIC and WebTransport: `tertulia` is made for media, the others are `bbr`, `cubic` and `newreno`
    /// [default: tertulia]
    #[arg(long, value_name = "NAME")]
    congestion: CongestionChoice,
    /// What is logged: error, warn, info, debug, trace, or a filter like `info,tertulia::relay=debug` [default: info]
    #[arg(long, value_name = "FILTER")]
    log: String,
    /// Sessions in all [default: 20000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    sessions: u32,
    /// Sessions from one address block (/24 of IPv4, /56 of IPv6) [default: 200]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    sessions_per_address: u32,
    /// Connections that one address block begins per second, over time [default: 20]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    handshakes_per_second_per_address: u32,
    /// Connections that one address block begins at once [default: 500]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    handshakes_burst_per_address: u32,
    /// TCP connections of one address block at a time, WebSockets not counted [default: 512]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    tcp_connections_per_address: u32,
    /// Refused tokens per minute and address block, above which no more are looked at [default: 50]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    refused_tokens_per_minute_per_address: u32,
    /// Rooms with someone in them [default: 10000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    rooms: u32,
    /// Participants in one room [default: 500]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    participants_per_room: u32,
    /// Tracks that one participant publishes at a time, at most 32 [default: 8]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    tracks_per_participant: u32,
    /// Tracks that one participant is subscribed to at a time [default: 2000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    subscriptions_per_participant: u32,
    /// Bytes of a chat message, at most 32768 [default: 16384]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    chat_bytes: u32,
    /// Chat messages per second and participant, over time [default: 20]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    chat_per_second: u32,
    /// Chat messages of one participant at once [default: 50]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    chat_burst: u32,
    /// Requests and typing changes per second and participant, over time [default: 50]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    requests_per_second: u32,
    /// Requests and typing changes of one participant at once [default: 200]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    requests_burst: u32,
    /// Messages of any kind per second and session, over time, no fewer than chat and requests together [default: 500]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    messages_per_second: u32,
    /// Messages of any kind of one session at once; above it the session ends [default: 5000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    messages_burst: u32,
    /// Chat messages that a room keeps [default: 1000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    history_messages: u32,
    /// Bytes of chat that a room keeps [default: 1048576]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    history_bytes: u32,
    /// Rooms whose chat is kept while nobody is in them [default: 1000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    history_rooms: u32,
    /// Days for which a chat message is kept; 0: no bound by age [default: 30]
    #[arg(long, value_name = "DAYS", help_heading = "Limits")]
    history_days: u32,
    /// Media datagrams per second that one participant may send [default: 1500]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    media_datagrams_per_second: u32,
    /// Media bits per second that one participant may send [default: 6000000]
    #[arg(long, value_name = "BITS", help_heading = "Limits")]
    media_bits_per_second: u32,
    /// Microphones of a room that are passed on at a time, the loudest, at most 100; 0: all [default: 0]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    loudest_audio: u32,
    /// Participants of a room whose cameras are passed on at a time, those who spoke last, at most 100; 0: all [default: 0]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    last_videos: u32,
    /// Milliseconds that audio waits for the path to a participant before it is left out, and that it may be late when it is asked for
    /// or sent once more [default: 200]
    #[arg(long, value_name = "MILLISECONDS", help_heading = "Limits")]
    audio_deadline_ms: u32,
    /// Milliseconds that a video frame waits for the path to a participant before it is left out (a keyframe, three times as long), and
    /// that it may be late when it is asked for or sent once more [default: 400]
    #[arg(long, value_name = "MILLISECONDS", help_heading = "Limits")]
    video_deadline_ms: u32,
    /// Seconds for which a participant whose connection broke keeps its seat; 0: not at all [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    seat_seconds: u32,
    /// Minutes for which an identity that was removed from a room has to stay out [default: 60]
    #[arg(long, value_name = "MINUTES", help_heading = "Limits")]
    removed_minutes: u32,
    /// Bytes of messages that wait for one participant, above which its session ends [default: 262144]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    outbox_bytes: u32,
    /// Messages that wait for one participant, above which its session ends [default: 1000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    outbox_messages: u32,
    /// Memory of the relay in megabytes: when four fifths are used, nobody new comes in. 0: what its control group or the machine
    /// has [default: 0]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    memory_megabytes: u32,
}

/// How a relay without keys starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpenChoice {
    Warn,
    Allow,
    Refuse,
}

/// What becomes of someone who is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityChoice {
    Replace,
    Refuse,
}

/// When a QR code is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum QrChoice {
    Auto,
    Always,
    Never,
}

/// Where chat is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryChoice {
    /// In the data directory.
    Disk,
    /// In memory, until the relay ends.
    Memory,
}

/// How much may be on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum CongestionChoice {
    Tertulia,
    Bbr,
    Cubic,
    NewReno,
}

impl Settings {
    /// Reads the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::from_toml(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    fn from_toml(text: &str) -> anyhow::Result<Self> {
        let settings: Self = toml::from_str(text)
            .map_err(|error| anyhow::anyhow!("line {}: {}", line_of(text, &error), error.message()))?;
        Ok(settings)
    }

    /// What is logged.
    pub fn log(&self) -> &str {
        self.log.as_deref().unwrap_or("info")
    }

    /// When a QR code is printed.
    pub fn qr(&self) -> QrChoice {
        self.qr.unwrap_or(QrChoice::Auto)
    }

    /// The values that a relay is started with.
    pub fn config(&self) -> anyhow::Result<Config> {
        let default = Config::default();
        let http = match self.http.as_deref() {
            None => default.http,
            Some("none") => Vec::new(),
            Some(address) => resolve("http", address)?,
        };
        let listen = match &self.listen {
            None => default.listen,
            Some(address) => resolve("listen", address)?[0],
        };
        let admin = match self.admin.as_deref() {
            None | Some("none") => None,
            Some(address) => Some(resolve("admin", address)?[0]),
        };
        let certificate = self.certificate_source(default.certificate)?;
        let data_directory = match &self.data_dir {
            None => default.data_directory,
            Some(directory) => Some(directory.clone()).filter(|directory| directory != Path::new("none")),
        };
        let history = match (self.history, &data_directory) {
            (Some(HistoryChoice::Disk), None) => {
                bail!("--history disk needs a directory, and --data-dir is none: leave one of them out")
            }
            (Some(HistoryChoice::Disk) | None, Some(directory)) => HistoryPlace::Directory(directory.clone()),
            _ => HistoryPlace::Memory,
        };
        let keys = KeySources { keys: self.keys.clone(), jwks: self.jwks.clone() };
        let (origins, hosts) = (self.origin.clone().unwrap_or_default(), self.host.clone().unwrap_or_default());
        Ok(Config {
            listen,
            http,
            admin,
            certificate,
            keys,
            open_relay: self.open_relay(),
            plain_without_token: self.plain_without_token.unwrap_or(default.plain_without_token),
            history,
            origins,
            hosts,
            data_directory,
            shards: self.shards(default.shards)?,
            congestion: self.congestion(),
            limits: self.limits()?,
        })
    }

    fn shards(&self, default: usize) -> anyhow::Result<usize> {
        match self.shards.map(|shards| shards as usize) {
            None => Ok(default),
            Some(shards) if shards <= SHARDS_MAX => Ok(shards),
            Some(shards) => bail!("--shards {shards} is too many: there are at most {SHARDS_MAX}"),
        }
    }

    fn open_relay(&self) -> OpenRelay {
        match self.open_relay {
            None | Some(OpenChoice::Warn) => OpenRelay::Warn,
            Some(OpenChoice::Allow) => OpenRelay::Allow,
            Some(OpenChoice::Refuse) => OpenRelay::Refuse,
        }
    }

    fn congestion(&self) -> Congestion {
        match self.congestion {
            None => Congestion::default(),
            Some(CongestionChoice::Tertulia) => Congestion::Tertulia,
            Some(CongestionChoice::Bbr) => Congestion::Bbr,
            Some(CongestionChoice::Cubic) => Congestion::Cubic,
            Some(CongestionChoice::NewReno) => Congestion::NewReno,
        }
    }

    fn certificate_source(&self, default: CertificateSource) -> anyhow::Result<CertificateSource> {
        match (&self.certificate, &self.private_key, &self.certificate_dir) {
            (Some(chain), Some(key), _) => Ok(CertificateSource::Files { chain: chain.clone(), key: key.clone() }),
            (None, None, Some(directory)) => Ok(CertificateSource::Development { directory: directory.clone() }),
            (None, None, None) => Ok(default),
            (Some(_), None, _) => bail!("--certificate needs --private-key: give the PEM file with the key as well"),
            (None, Some(_), _) => bail!("--private-key needs --certificate: give the PEM file with the chain as well"),
        }
    }

    fn limits(&self) -> anyhow::Result<Limits> {
        let default = Limits::default();
        let limits = Limits {
            sessions: self.sessions.unwrap_or(default.sessions),
            sessions_per_address: self.sessions_per_address.unwrap_or(default.sessions_per_address),
            handshakes_per_second_per_address: self
                .handshakes_per_second_per_address
                .unwrap_or(default.handshakes_per_second_per_address),
            handshakes_burst_per_address: self
                .handshakes_burst_per_address
                .unwrap_or(default.handshakes_burst_per_address),
            tcp_connections_per_address: self
                .tcp_connections_per_address
                .unwrap_or(default.tcp_connections_per_address),
            refused_tokens_per_minute_per_address: self
                .refused_tokens_per_minute_per_address
                .unwrap_or(default.refused_tokens_per_minute_per_address),
            rooms: self.rooms.unwrap_or(default.rooms),
            participants_per_room: self.participants_per_room.unwrap_or(default.participants_per_room),
            tracks_per_participant: self.tracks_per_participant.unwrap_or(default.tracks_per_participant),
            subscriptions_per_participant: self
                .subscriptions_per_participant
                .unwrap_or(default.subscriptions_per_participant),
            chat_bytes: self.chat_bytes.unwrap_or(default.chat_bytes),
            chat_per_second: self.chat_per_second.unwrap_or(default.chat_per_second),
            chat_burst: self.chat_burst.unwrap_or(default.chat_burst),
            requests_per_second: self.requests_per_second.unwrap_or(default.requests_per_second),
            requests_burst: self.requests_burst.unwrap_or(default.requests_burst),
            messages_per_second: self.messages_per_second.unwrap_or(default.messages_per_second),
            messages_burst: self.messages_burst.unwrap_or(default.messages_burst),
            history_messages: self.history_messages.unwrap_or(default.history_messages),
            history_bytes: self.history_bytes.unwrap_or(default.history_bytes),
            history_rooms: self.history_rooms.unwrap_or(default.history_rooms),
            history_days: self.history_days.unwrap_or(default.history_days),
            media_datagrams_per_second: self.media_datagrams_per_second.unwrap_or(default.media_datagrams_per_second),
            media_bits_per_second: self.media_bits_per_second.unwrap_or(default.media_bits_per_second),
            loudest_audio: self.loudest_audio.unwrap_or(default.loudest_audio),
            last_videos: self.last_videos.unwrap_or(default.last_videos),
            audio_deadline_ms: self.audio_deadline_ms.unwrap_or(default.audio_deadline_ms),
            video_deadline_ms: self.video_deadline_ms.unwrap_or(default.video_deadline_ms),
            seat_seconds: self.seat_seconds.unwrap_or(default.seat_seconds),
            removed_minutes: self.removed_minutes.unwrap_or(default.removed_minutes),
            same_identity: match self.same_identity {
                None => default.same_identity,
                Some(IdentityChoice::Replace) => SameIdentity::Replace,
                Some(IdentityChoice::Refuse) => SameIdentity::Refuse,
            },
            outbox_bytes: self.outbox_bytes.unwrap_or(default.outbox_bytes),
            outbox_messages: self.outbox_messages.unwrap_or(default.outbox_messages),
            memory_megabytes: self.memory_megabytes.unwrap_or(default.memory_megabytes),
        };
        check(&limits)?;
        Ok(limits)
    }
}

/// Bounds that nobody could live with are mistakes.
fn check(limits: &Limits) -> anyhow::Result<()> {
    for (name, value, max) in [
        ("sessions", limits.sessions, u32::MAX),
        ("sessions-per-address", limits.sessions_per_address, u32::MAX),
        ("handshakes-per-second-per-address", limits.handshakes_per_second_per_address, u32::MAX),
        ("handshakes-burst-per-address", limits.handshakes_burst_per_address, u32::MAX),
        ("tcp-connections-per-address", limits.tcp_connections_per_address, u32::MAX),
        ("refused-tokens-per-minute-per-address", limits.refused_tokens_per_minute_per_address, u32::MAX),
        ("rooms", limits.rooms, u32::MAX),
        ("participants-per-room", limits.participants_per_room, u32::MAX),
        ("chat-bytes", limits.chat_bytes, 32_768),
        ("chat-per-second", limits.chat_per_second, u32::MAX),
        ("chat-burst", limits.chat_burst, u32::MAX),
        ("requests-per-second", limits.requests_per_second, u32::MAX),
        ("requests-burst", limits.requests_burst, u32::MAX),
        ("messages-per-second", limits.messages_per_second, u32::MAX),
        ("messages-burst", limits.messages_burst, u32::MAX),
        // Beyond ten seconds nothing is left of a conversation.
        ("audio-deadline-ms", limits.audio_deadline_ms, 10_000),
        ("video-deadline-ms", limits.video_deadline_ms, 10_000),
        // A year: what is meant for longer is a matter for those who make the tokens.
        ("removed-minutes", limits.removed_minutes, 525_600),
        ("outbox-bytes", limits.outbox_bytes, u32::MAX),
        ("outbox-messages", limits.outbox_messages, u32::MAX),
    ] {
        if !(1..=max).contains(&value) {
            bail!("{name} is {value}; it must be between 1 and {max}");
        }
    }
    for (name, value, max) in [
        ("tracks-per-participant", limits.tracks_per_participant, TRACKS_PER_PARTICIPANT_MAX),
        ("loudest-audio", limits.loudest_audio, SELECTED_MAX),
        ("last-videos", limits.last_videos, SELECTED_MAX),
    ] {
        if value > max {
            bail!("{name} is {value}; it must be at most {max}");
        }
    }
    Ok(())
}

fn resolve(setting: &str, address: &str) -> anyhow::Result<Vec<SocketAddr>> {
    if let Some(port) = address.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(Config::localhost(port));
    }
    let addresses: Vec<_> = address
        .to_socket_addrs()
        .with_context(|| {
            format!("--{setting} {address} is not an address and a port, like 127.0.0.1:8000 or [::]:4433")
        })?
        .collect();
    if addresses.is_empty() {
        bail!("--{setting} {address} has no address");
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_comes_before_the_file_and_the_file_before_the_default() {
        let file = Settings::from_toml("listen = '127.0.0.1:1'\nrooms = 5\nchat-burst = 7").unwrap();
        let line = Settings { rooms: Some(6), ..Settings::default() };
        let config = line.or(file).config().unwrap();
        assert_eq!(config.listen, "127.0.0.1:1".parse().unwrap());
        assert_eq!((config.limits.rooms, config.limits.chat_burst), (6, 7));
        assert_eq!(config.limits.history_messages, Limits::default().history_messages);
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_line() {
        for (text, expected) in [
            ("\nlistne = 'x'", "line 2: unknown field `listne`"),
            ("rooms = 1\nrooms = 2", "line 2: duplicate key"),
            ("rooms = 'many'", "line 1: invalid type"),
        ] {
            let error = Settings::from_toml(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_limit_that_would_stop_everything_is_refused() {
        for text in ["chat-bytes = 99999999", "chat-bytes = 0", "chat-burst = 0", "outbox-messages = 0"] {
            let error = Settings::from_toml(text).unwrap().config().unwrap_err().to_string();
            assert!(error.contains("must be between 1 and"), "{error}");
        }
    }

    #[test]
    fn a_participants_tracks_fit_one_message() {
        let limits = |text| Settings::from_toml(text).unwrap().config().map(|config| config.limits);
        assert_eq!(limits("tracks-per-participant = 32").unwrap().tracks_per_participant, 32);
        assert_eq!(limits("tracks-per-participant = 0").unwrap().tracks_per_participant, 0, "chat alone");
        assert!(limits("tracks-per-participant = 33").unwrap_err().to_string().contains("at most 32"));
    }

    #[test]
    fn all_audio_and_video_is_passed_on_unless_a_bound_is_set() {
        let selected = |text| {
            let limits = Settings::from_toml(text).unwrap().config()?.limits;
            anyhow::Ok((limits.loudest_audio, limits.last_videos))
        };
        assert_eq!(selected("").unwrap(), (0, 0));
        assert_eq!(selected("loudest-audio = 5\nlast-videos = 9").unwrap(), (5, 9));
        assert!(selected("loudest-audio = 101").unwrap_err().to_string().contains("at most 100"));
    }

    #[test]
    fn there_is_a_thread_for_each_core_unless_their_number_is_set() {
        let shards = |text| Settings::from_toml(text).unwrap().config().map(|config| config.shards);
        assert_eq!((shards("").unwrap(), shards("shards = 3").unwrap()), (0, 3));
        assert!(shards("shards = 65").unwrap_err().to_string().contains("at most 64"));
    }

    #[test]
    fn chat_on_disk_needs_a_directory() {
        let settings = Settings::from_toml("history = 'disk'\ndata-dir = 'none'").unwrap();
        assert!(settings.config().unwrap_err().to_string().contains("--data-dir is none"));
    }

    #[test]
    fn half_a_certificate_is_refused() {
        let settings = Settings { certificate: Some("a.pem".into()), ..Settings::default() };
        assert!(settings.config().unwrap_err().to_string().contains("--private-key"));
    }

    #[test]
    fn chat_is_kept_on_disk_unless_memory_is_asked_for() {
        for (text, place) in [
            ("", HistoryPlace::Directory("data".into())),
            ("data-dir = '/var/lib/tertulia'", HistoryPlace::Directory("/var/lib/tertulia".into())),
            ("history = 'disk'", HistoryPlace::Directory("data".into())),
            ("history = 'memory'\ndata-dir = 'elsewhere'", HistoryPlace::Memory),
            ("data-dir = 'none'", HistoryPlace::Memory),
        ] {
            assert_eq!(Settings::from_toml(text).unwrap().config().unwrap().history, place, "{text}");
        }
        assert!(Settings::from_toml("history = 'cloud'").is_err());
    }

    #[test]
    fn lists_are_the_same_on_the_command_line_and_in_the_file() {
        let file = Settings::from_toml("origin = ['https://a.example']\nhost = ['a.example', 'b.example']").unwrap();
        let line = Settings { origin: Some(vec!["*".into()]), ..Settings::default() };
        let config = line.or(file).config().unwrap();
        assert_eq!(config.origins, ["*"]);
        assert_eq!(config.hosts, ["a.example", "b.example"]);
    }

    #[test]
    fn keys_are_kept_unless_that_is_switched_off() {
        for (directory, expected) in [(None, Some("data")), (Some("else"), Some("else")), (Some("none"), None)] {
            let settings = Settings { data_dir: directory.map(PathBuf::from), ..Settings::default() };
            assert_eq!(settings.config().unwrap().data_directory, expected.map(PathBuf::from));
        }
    }

    #[test]
    fn every_congestion_control_can_be_chosen_by_its_name() {
        for congestion in Congestion::ALL {
            let settings = Settings::from_toml(&format!("congestion = '{}'", congestion.label())).unwrap();
            assert_eq!(settings.config().unwrap().congestion, congestion);
            let choice = CongestionChoice::from_str(congestion.label(), false).unwrap();
            assert_eq!(Some(choice), settings.congestion, "the same on the command line");
        }
        assert!(Settings::from_toml("congestion = 'vegas'").is_err());
    }

    #[test]
    fn keys_come_from_files_or_from_nowhere() {
        assert!(Settings::default().config().unwrap().keys.is_empty());
        let keys = Settings::from_toml("keys = 'keys.toml'\njwks = 'jwks.json'").unwrap().config().unwrap().keys;
        assert_eq!(keys, KeySources { keys: Some("keys.toml".into()), jwks: Some("jwks.json".into()) });
    }

    #[test]
    fn plain_http_can_be_switched_off() {
        let settings = Settings { http: Some("none".into()), ..Settings::default() };
        assert!(settings.config().unwrap().http.is_empty());
    }
}
