//! Every bound, each with its unit and its reason. Constants are part of the protocol or of the machine;
//! [`Limits`] holds what an operator can set.

mod admission;
mod bucket;

use std::time::Duration;

pub use admission::{Admission, AdmissionError};
pub use bucket::{Bucket, Rate};

/// A message on a control or chat stream, in bytes: twice the longest chat message that can be set, so that the rule for
/// its length can say what is wrong before the stream's bound ends the session. On WebSocket the kind byte counts too.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Header plus payload of a media datagram, in bytes: Firefox and WebKit carry 1024 at the start of a connection, and the
/// QUIC and HTTP/3 framing around it takes up to 24.
pub const MEDIA_BYTES_MAX: usize = 1000;

/// A media datagram with its prefix, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1 + MEDIA_BYTES_MAX;

/// A room name, in bytes.
pub const ROOM_NAME_BYTES_MAX: usize = 128;

/// An identity, in bytes.
pub const IDENTITY_BYTES_MAX: usize = 128;

/// A display name, in bytes of UTF-8: 128 Latin letters, or 32 emoji.
pub const DISPLAY_NAME_BYTES_MAX: usize = 128;

/// What a token says about its participant for other programs, in bytes of UTF-8: everyone in the room is told.
pub const METADATA_BYTES_MAX: usize = 1024;

/// An access token, in bytes: with the longest names and metadata in it, it has about 3 KiB.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// How far the clock of whoever made a token and the relay's may be apart, in either direction.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(60);

/// A secret that tokens are signed with, in bytes, at least: as many as HMAC-SHA256 puts out (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// A file with keys, in bytes: a thousand of them fit.
pub const KEY_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How often the files with keys are looked at: a key that was taken out opens no session a second later.
pub const KEY_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How often the files with the certificate are looked at: a new one is in use a second later.
pub const CERTIFICATE_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The ticket that brings a participant back to its seat, in bytes: the longest there is has 172.
pub const TICKET_BYTES_MAX: usize = 256;

/// The largest number that JavaScript holds exactly: epochs of chat are read there too.
pub const EPOCH_MAX: u64 = (1 << 53) - 1;

/// Tracks of one participant that can be set: all of them are told in one message, and 32 with the longest descriptions take
/// 36 KiB of the 64 that a message may have.
pub const TRACKS_PER_PARTICIPANT_MAX: u32 = 32;

/// A codec's name, in bytes: the longest in the WebCodecs registry have about 40.
pub const CODEC_BYTES_MAX: usize = 64;

/// A decoder's description, in bytes: an AVC configuration with several parameter sets has about 200.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// A frame, in fragments: 2 MB, more than any encoder in a meeting makes of one picture.
pub const FRAGMENTS_MAX: u16 = 2048;

/// Renditions of a track, and temporal layers of each: the media header has three bits for either.
pub const LAYERS_MAX: u8 = 8;

/// Least time between two keyframe requests to a publisher for one rendition of a track: a keyframe costs the bandwidth of
/// ten other frames.
pub const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

/// How long somebody counts as speaking after the last loud word: pauses between words are shorter.
pub const SPEAKER_HOLD: Duration = Duration::from_millis(800);

/// Least time between two messages to a room about who speaks: nobody looks more often.
pub const SPEAKERS_INTERVAL: Duration = Duration::from_millis(250);

/// Speakers that a room is told of at a time, the loudest: nobody can follow more.
pub const SPEAKERS_MAX: usize = 16;

/// Microphones, and participants' cameras, that a room can be set to pass on at a time: each of them is looked at for each frame of
/// sound. With more, setting no bound comes to the same.
pub const SELECTED_MAX: u32 = 100;

/// What is kept of a rendition since its last keyframe for those who begin to take it, in bytes: half of what may wait for a
/// subscriber, and half a second at 1 Mbit/s. A new keyframe is there sooner than more than that.
pub const RECENT_PICTURES_BYTES_MAX: usize = 64 * 1024;

/// The same in datagrams: half of what clients keep of tracks that they have not been told of yet.
pub const RECENT_PICTURES_DATAGRAMS_MAX: usize = 128;

/// The same in frames: a decoder that gets them all at once has shown the last one in 100 ms or so.
pub const RECENT_PICTURES_FRAMES_MAX: usize = 24;

/// How long a keyframe counts as recent: nobody should see for a moment what was there long ago.
pub const RECENT_PICTURES_TIME: Duration = Duration::from_secs(3);

/// How long after its last datagram a frame that is not whole may still be coming.
pub const RECENT_FRAGMENT_TIME: Duration = Duration::from_millis(200);

/// What is kept of all renditions of all rooms since their last keyframes, in bytes: a thousand renditions, in a quarter of the
/// memory of the smallest machine. Of further ones nothing is kept.
pub const RECENT_PICTURES_BYTES_ALL: usize = 64 * 1024 * 1024;

/// The longest time between two keyframes for a subscriber that goes on asking, or for which frames are left out: each of them costs all
/// others as well.
pub const KEYFRAME_WAIT_MAX: Duration = Duration::from_secs(4);

/// How long a subscriber has to ask for nothing until it is served at once again.
pub const KEYFRAME_QUIET_TIME: Duration = Duration::from_secs(5);

/// Least time between two keyframes for a subscriber that asks for a larger rendition than its path carries: it may only wait for
/// that one, which would not help it.
pub const KEYFRAME_ABOVE_INTERVAL: Duration = Duration::from_secs(2);

/// How long a layer of a track is wanted after nobody takes it any more. A change to another rendition takes a round trip, an encoder
/// that begins, and [`KEYFRAME_INTERVAL`]; and each encoder that begins anew costs a keyframe.
pub const LAYER_HOLD_TIME: Duration = Duration::from_secs(2);

/// Least time between two messages to a publisher about how a track of its arrives: subscribers report as often.
pub const FEEDBACK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a subscriber's report counts: one that is lost or late makes nobody look better or worse.
pub const REPORT_LIFETIME: Duration = Duration::from_millis(2500);

/// How late video may be that a client asks for or sends once more: a picture that is later than this has been given up. The relay
/// keeps to [`Limits::video_deadline`].
pub const VIDEO_DEADLINE: Duration = Duration::from_millis(400);

/// The same for audio: whoever plays it waits no longer.
pub const AUDIO_DEADLINE: Duration = Duration::from_millis(200);

/// Datagrams of a track that are kept to be sent once more: as many as a publisher may send within [`VIDEO_DEADLINE`].
pub const RECENT_DATAGRAMS_MAX: usize = 600;

/// The same in bytes: 350 ms of the 6 Mbit/s that a publisher may send.
pub const RECENT_BYTES_MAX: usize = 256 * 1024;

/// Fragments that one parity datagram may stand for: what has more is passed over, since each fragment that comes makes a receiver
/// look at its group.
pub const PARITY_GROUP_MAX: u16 = 16;

/// Datagrams of one rendition that are missed at a time: half a megabyte. When there are more, the path has failed.
pub const GAP_DATAGRAMS_MAX: usize = 512;

/// Frame numbers that may be missing at once: a second of video. A larger step is a new beginning.
pub const GAP_FRAMES_MAX: usize = 32;

/// How many times a datagram is asked for: where few are missing, three times in each round trip.
pub const REPEAT_ASKS_MAX: u8 = 9;

/// Requests for datagrams once more that one session may make per second: more than clients make, as three for each loss of fifty
/// speakers on a path that loses a tenth.
pub const REPEAT_REQUESTS_PER_SECOND: u32 = 750;

/// Requests for datagrams once more that the native client makes: each can ask for a hundred.
pub const REPEAT_ASKS: Rate = Rate { per_second: 300, burst: 150 };

/// Datagrams that are sent once more to one session per second, and at once: a tenth of 25 videos, three times.
pub const REPEATS_PER_SECOND: u32 = 1500;

/// Datagrams taken from a publisher's connection before they are passed on together: one video frame or so. More would
/// let one publisher hold up the others.
pub const BURST_DATAGRAMS_MAX: usize = 32;

/// Threads of a relay, each with its own sessions: a connection id has one byte for the thread, and few machines have more cores.
pub const SHARDS_MAX: usize = 64;

/// Media that waits to cross to one other thread of the relay, in bytes: a tenth of a second of 25 participants who all send as much as they
/// may. What a thread that is further behind would pass on came too late.
pub const CROSSING_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Media that crosses in one buffer, in bytes: as much as a socket is read at a time. Whoever keeps a datagram of it keeps all of it alive.
pub const BAG_BYTES_MAX: usize = 64 * 1024;

/// Letters that wait for one thread of the relay until no more of them are caused: with the longest messages 64 MiB, and far more than
/// wait for one that has a millisecond for each session in turn.
pub const LETTERS_WAITING_MAX: usize = 1024;

/// Letters that a thread takes from the others before its sessions have a turn.
pub const LETTERS_AT_ONCE: usize = 64;

/// Chat messages of a room whose ids are remembered, to recognise a repetition.
pub const CHAT_IDS_MAX: usize = 1000;

/// Bytes of a chat message that count as one message, and each further piece of that size as another: hardly any message that people write
/// is longer, and nobody gets a burst that takes seconds to send on.
pub const CHAT_UNIT_BYTES: usize = 4096;

/// How long one who is to be sent more chat may take nothing of it.
pub const CHAT_PATIENCE: Duration = Duration::from_secs(5);

/// Chat messages of a room that wait for the history to keep them: the id of each of them is remembered.
pub const CHAT_PENDING_MAX: usize = CHAT_IDS_MAX;

/// How long a client waits when the relay says that a message which waited for a connection comes too fast: at the usual rate
/// there is a place for two by then.
pub const CHAT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// How long a client that has many things to restore waits when the relay says that it asks too fast.
pub const REQUEST_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Chat messages, and other changes of what is kept, that share one transaction of the history and so one sync: a sync takes
/// as long as encoding about a thousand messages.
pub const HISTORY_BATCH_MESSAGES_MAX: usize = 1024;

/// Chat that shares one transaction of the history, in bytes: it is in memory twice until it is written.
pub const HISTORY_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Messages that one transaction of the history takes out of a room: not fewer than it can put in.
pub const HISTORY_REMOVALS_MAX: usize = HISTORY_BATCH_MESSAGES_MAX;

/// Idle rooms that one transaction of the history forgets.
pub const HISTORY_FORGOTTEN_MAX: usize = 4;

/// Damaged messages that the history remembers having reported, so that each is counted once.
pub const HISTORY_LOST_MAX: usize = 1000;

/// Damaged chat databases that are kept beside the one in use: each may be as large as all chat.
pub const HISTORY_DAMAGED_FILES_MAX: u32 = 4;

/// What the history's database keeps of its file in memory, in bytes: the inner nodes of some gigabytes of chat.
pub const HISTORY_CACHE_BYTES: usize = 16 * 1024 * 1024;

/// How often the history looks for chat that is too old, while nothing else happens.
pub const HISTORY_TIDY_INTERVAL: Duration = Duration::from_hours(1);

/// How long after a failure the history tries again to keep what it was told to note, while nothing else happens.
pub const HISTORY_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Identities that were removed from a room and have to stay out: when there are more, the first ones may come back.
pub const REMOVED_IDENTITIES_MAX: usize = 1000;

/// How long the seat of a page is kept that was closed without a word: one that is loaded again is back sooner, and the others
/// should not look for long at someone who is gone.
pub const PAGE_SEAT_TIME: Duration = Duration::from_secs(5);

/// Seats of a room that ended while nobody was in them: their participants may come back although the room is locked. When
/// there are more, the first ones are newcomers.
pub const LAPSED_SEATS_MAX: usize = 500;

/// How long after a relay was started again whoever has a ticket may come back into a locked room: clients try again every 7 s
/// or so.
pub const RESTART_TIME: Duration = Duration::from_secs(60);

/// Ids that are noted as given before they are, so that none is given twice after a crash.
pub const IDS_RESERVED: u32 = 1024;

/// Connections from which the first message has not come yet. One that waits costs about 50 KiB.
pub const CONNECTIONS_PENDING_MAX: usize = 1024;

/// Connections from which the first message has not come yet, above which those without a validated address are asked for
/// a Retry (RFC 9000, section 8.1.2): accepting one costs six times as much as a Retry.
pub const CONNECTIONS_UNVALIDATED_MAX: usize = 64;

/// Address blocks (/24 of IPv4, /56 of IPv6) that are remembered at a time: 6 MB of them. Only those are remembered that
/// have a session or were heard of within a few seconds.
pub const ADDRESS_BLOCKS_MAX: usize = 65_536;

/// How often address blocks are forgotten when there are as many as can be: looking at all of them takes milliseconds.
pub const ADDRESS_BLOCKS_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Least time between two stateless resets (RFC 9000, section 10.3): after a restart every client of before gets one, 10,000
/// a second. One is never larger than the packet that it answers.
pub const STATELESS_RESET_INTERVAL: Duration = Duration::from_micros(100);

/// Pings of a WebSocket client per second: browsers send none, libraries one every few seconds.
pub const PINGS_PER_SECOND: u32 = 10;

/// How often the relay looks at how much memory it uses: those whom it can seat in that time need less than the fifth that is
/// left of 256 MB.
pub const MEMORY_INTERVAL: Duration = Duration::from_millis(250);

/// How often the kernel is asked how many UDP packets it had to drop.
pub const UDP_DROPS_INTERVAL: Duration = Duration::from_secs(5);

/// How often it is looked how sessions do, for the aggregates in the metrics: a session costs some microseconds.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a small datagram may wait at most for others to share a packet with, on a busy shard: a quarter of an audio frame.
pub const GATHER_TIME_MAX: Duration = Duration::from_millis(5);

/// The largest datagram that waits for others, in bytes: two of them and what is around them fit into any packet.
pub const GATHER_BYTES_MAX: usize = 500;

/// How many small datagrams of a room may wait for each other: two hundred and fifty who speak at once make as many in that time.
pub const GATHER_DATAGRAMS_MAX: usize = 64;

/// How many small datagrams a second a room has to send in all before any of them wait for each other: fewer take 2 % of a core.
pub const GATHER_PER_SECOND_MIN: f64 = 5000.0;

/// How often a shard looks how busy it is.
pub const LOAD_INTERVAL: Duration = Duration::from_millis(100);

/// STREAM and CRYPTO frames that a client may send with each packet. A packet has one or two, and room for 150 that carry a byte each.
pub const STREAM_FRAMES_PER_PACKET_MAX: u64 = 4;

/// So many may come at once, such as many short streams after a stall; beyond that nothing of the client is read any more. To sort as
/// many takes quinn less than a millisecond.
pub const STREAM_FRAMES_FREE: u64 = 500;

/// Sessions that `/sessions.json` tells of at a time: media waits for the milliseconds that this takes. A room can be asked for.
pub const SESSIONS_TOLD_MAX: usize = 1000;

/// Requests for `/sessions.json` that wait for the relay's thread.
pub const SESSION_QUESTIONS_MAX: usize = 8;

/// TCP connections per listener: beyond that, new ones wait in the kernel. Upgraded WebSockets do not count.
pub const TCP_CONNECTIONS_MAX: usize = 4096;

/// TCP connections per listener that are being told why they are turned away: beyond that, others are closed without a word.
pub const TCP_REFUSALS_MAX: usize = 64;

/// A whole HTTP connection, from its first byte to its end or its upgrade: whoever reads slowly holds a place.
pub const HTTP_CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The HTTP/1 head of a request, in bytes.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;

/// Bidirectional streams per connection: control, chat, the WebTransport session, and some in reserve.
pub const STREAMS_BIDIRECTIONAL_MAX: u32 = 8;

/// Unidirectional streams that a client may have open: HTTP/3 takes three, large frames and copies of audio the rest, each one of its own. Those
/// that ended count until their client has heard of it, a round trip later, and it is told when an eighth of all have: 80 a second are
/// possible up to a round trip of 0.4 s.
pub const STREAMS_UNIDIRECTIONAL_MAX: u32 = 40;

/// Frames on their way to one participant, each on a stream of its own, until it has them: more than a second of 30 per second.
pub const FRAMES_ON_STREAMS_MAX: usize = 40;

/// Flow-control window of a stream, in bytes: one whole message.
pub const STREAM_WINDOW_BYTES: u32 = MESSAGE_BYTES_MAX as u32;

/// Flow-control window of a connection, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;

/// What a connection may have sent on streams without acknowledgement, in bytes.
pub const SEND_WINDOW_BYTES: u64 = 256 * 1024;

/// Datagrams that arrived and were not read yet, in bytes.
pub const DATAGRAM_RECEIVE_BYTES_MAX: usize = 64 * 1024;

/// Datagrams that were sent and have not left yet, in bytes: 350 ms at 3 Mbit/s. quinn's default of 1 MiB is eight seconds
/// at 1 Mbit/s.
pub const DATAGRAM_SEND_BYTES_MAX: usize = 128 * 1024;

/// Media that waits for one subscriber beside that, in bytes: 400 ms at 5 Mbit/s.
pub const EGRESS_BYTES_MAX: usize = 256 * 1024;

/// Media that waits for one subscriber, in datagrams: 200 ms of the audio of 100 speakers, which is few bytes.
pub const EGRESS_DATAGRAMS_MAX: usize = 1024;

/// Video tracks of which one subscriber was not sent everything: what was left out is remembered for each. Of more, those are
/// forgotten of which nothing waits; the subscriber then asks for a keyframe itself.
pub const EGRESS_FLOWS_MAX: usize = 256;

/// For how long it is remembered what was left out of a track of which nothing comes any more.
pub const EGRESS_FLOW_TIME: Duration = Duration::from_secs(10);

/// First congestion window, in bytes: a keyframe of a small picture leaves in one flight. At 600 kbit/s it is 0.4 s of queue, once.
pub const INITIAL_WINDOW_BYTES: u64 = 32 * 1024;

/// Receive and send buffer of the UDP socket, in bytes: 100 ms of 500 Mbit/s.
pub const UDP_SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// What may wait in the kernel of a TCP connection before it reports that it cannot take more, in bytes: what waits there
/// can no longer be left out.
pub const TCP_UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// A WebSocket connection's read buffer, in bytes. It is allocated at once.
pub const WEBSOCKET_READ_BUFFER_BYTES: usize = 4 * 1024;

/// What a WebSocket connection gathers before it writes, in bytes.
pub const WEBSOCKET_WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// What a WebSocket connection may hold beyond that, in bytes.
pub const WEBSOCKET_WRITE_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Time for each step into a room: from the first packet to the session, from there to the control stream, from there to
/// the first message. On TCP: to the end of the TLS handshake, and to the end of an HTTP head.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a message may take from its first byte to its last: the longest one then comes at 6 KiB/s.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last messages of a closing session may take to arrive.
pub const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a newcomer may take for the list of those who are there: the longest one, of half a megabyte, then comes at 400 kbit/s.
pub const ROSTER_TIMEOUT: Duration = Duration::from_secs(10);

/// What of such lists may wait for all newcomers together, in bytes: 500 people who come into one room at once are sent 60 MB at most.
pub const ROSTER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// After this long without anything heard, a session has ended.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// After this long without anything to say, something is said to keep the session.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// Sessions of one run of the load tool: what one machine's ports and memory carry.
pub const LOAD_SESSIONS_MAX: u32 = 10_000;

/// For how long one run of the load tool takes at most: a load that was forgotten ends by itself.
pub const LOAD_DURATION_MAX: Duration = Duration::from_hours(1);

/// For how long a search of the load tool takes at most, with all its runs: some twenty.
pub const LOAD_SEARCH_TIME_MAX: Duration = Duration::from_hours(1);

/// Sessions of the load tool that share one UDP socket: few enough that its buffer holds a burst to all of them.
pub const LOAD_SESSIONS_PER_SOCKET: u32 = 10;

/// Sessions of one thread of the load tool that are being opened at a time.
pub const LOAD_CONNECTING_MAX: usize = 32;

/// What happens when an identity joins a room that it is in already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameIdentity {
    /// The one who was there leaves.
    Replace,
    /// The one who comes is refused.
    Refuse,
}

/// What an operator can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions in all, on all carriers.
    pub sessions: u32,
    /// Sessions from one address block: /24 of IPv4, /56 of IPv6. A school or an office may be one.
    pub sessions_per_address: u32,
    /// Connections that one address block may begin per second, over time.
    pub handshakes_per_second_per_address: u32,
    /// Connections that one address block may begin at once: a browser begins about eight for a page, however many files that has,
    /// and sixty people behind one address may open it together.
    pub handshakes_burst_per_address: u32,
    /// TCP connections of one address block at a time, those that became WebSockets not counted: a browser opens six for a page.
    pub tcp_connections_per_address: u32,
    /// Tokens from one address block that may be refused per minute before the next is not looked at: a check of a
    /// signature costs 100 us.
    pub refused_tokens_per_minute_per_address: u32,
    /// Rooms with someone in them.
    pub rooms: u32,
    /// Participants in one room.
    pub participants_per_room: u32,
    /// Tracks that one participant publishes at a time.
    pub tracks_per_participant: u32,
    /// Tracks that one participant is subscribed to at a time: four of everyone in a room that is full.
    pub subscriptions_per_participant: u32,
    /// A chat message, in bytes of UTF-8. At most 32 KiB.
    pub chat_bytes: u32,
    /// Chat messages per second and participant, over time; a long one counts as one for each [`CHAT_UNIT_BYTES`] begun.
    pub chat_per_second: u32,
    /// Chat messages of one participant at once, counted in the same way.
    pub chat_burst: u32,
    /// Requests on the control stream and typing changes per second and participant, over time.
    pub requests_per_second: u32,
    /// Requests on the control stream and typing changes of one participant at once: what everyone else is told of them
    /// has to fit their outboxes.
    pub requests_burst: u32,
    /// Messages of any kind per second and session, over time, answered or not: decoding and answering one costs 10 us of the
    /// thread that all share.
    pub messages_per_second: u32,
    /// Messages of any kind of one session at once; above it the session ends. A page that comes back asks for 2000
    /// subscriptions, and may ask twice.
    pub messages_burst: u32,
    /// Chat messages that a room keeps.
    pub history_messages: u32,
    /// Bytes of chat that a room keeps.
    pub history_bytes: u32,
    /// Rooms whose chat is kept while nobody is in them.
    pub history_rooms: u32,
    /// Days for which a chat message is kept; 0: no bound by age.
    pub history_days: u32,
    /// Media datagrams per second that one participant may send.
    pub media_datagrams_per_second: u32,
    /// Media bits per second that one participant may send.
    pub media_bits_per_second: u32,
    /// Microphones of a room that are passed on at a time, the loudest; 0: all. Nobody can follow more than a few voices, and beside
    /// twenty open microphones the noise of the silent ones is louder than a quiet voice.
    pub loudest_audio: u32,
    /// Participants of a room whose cameras are passed on at a time, those who spoke last; 0: all. What one screen shows is 9 to 25.
    pub last_videos: u32,
    /// Milliseconds that audio may wait for the path to a subscriber, or be late when it is sent once more: later, it would only make a
    /// gap longer.
    pub audio_deadline_ms: u32,
    /// Milliseconds that a video frame may wait for the path to a subscriber (a keyframe, three times as long), or be late when it is sent
    /// once more.
    pub video_deadline_ms: u32,
    /// Seconds for which a participant whose session broke keeps its seat; 0: not at all.
    pub seat_seconds: u32,
    /// Minutes for which an identity that was removed from a room has to stay out.
    pub removed_minutes: u32,
    /// What becomes of someone who is in the room already, when the same identity joins again without its ticket.
    pub same_identity: SameIdentity,
    /// Bytes of messages that wait for one participant on one stream (on WebSocket: on the connection), above which it is a
    /// slow consumer.
    pub outbox_bytes: u32,
    /// Messages that wait for one participant on one stream (on WebSocket: on the connection), above which it is a slow
    /// consumer.
    pub outbox_messages: u32,
    /// Memory of the process, in megabytes, of which nobody new comes in when four fifths are used, until three quarters are; 0: what
    /// the control group or the machine has.
    pub memory_megabytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 20_000,
            sessions_per_address: 200,
            handshakes_per_second_per_address: 20,
            handshakes_burst_per_address: 500,
            tcp_connections_per_address: 512,
            refused_tokens_per_minute_per_address: 50,
            rooms: 10_000,
            participants_per_room: 500,
            tracks_per_participant: 8,
            subscriptions_per_participant: 2000,
            chat_bytes: 16 * 1024,
            chat_per_second: 20,
            chat_burst: 50,
            requests_per_second: 50,
            requests_burst: 200,
            messages_per_second: 500,
            messages_burst: 5000,
            history_messages: 1000,
            history_bytes: 1024 * 1024,
            history_rooms: 1000,
            history_days: 30,
            media_datagrams_per_second: 1500,
            media_bits_per_second: 6_000_000,
            // Off: whoever is not among them is not heard or seen, and that is for the operator of a large room to want. Senders say
            // by themselves how loud they are, and one that does not say it would never be heard.
            loudest_audio: 0,
            last_videos: 0,
            audio_deadline_ms: 200,
            video_deadline_ms: 400,
            seat_seconds: 30,
            removed_minutes: 60,
            same_identity: SameIdentity::Replace,
            outbox_bytes: 256 * 1024,
            outbox_messages: 1000,
            memory_megabytes: 0,
        }
    }
}

impl Limits {
    /// How long audio may wait, or be late when it is sent once more.
    pub fn audio_deadline(&self) -> Duration {
        Duration::from_millis(self.audio_deadline_ms.into())
    }

    /// The same for video.
    pub fn video_deadline(&self) -> Duration {
        Duration::from_millis(self.video_deadline_ms.into())
    }

    /// The rate of a participant's chat, in [units](Self::chat_units).
    pub fn chat(&self) -> Rate {
        Rate { per_second: self.chat_per_second, burst: self.chat_burst }
    }

    /// What a chat message of so many bytes counts: one for each [`CHAT_UNIT_BYTES`] begun, and no more than there may be at once.
    pub fn chat_units(&self, bytes: usize) -> u32 {
        let units = bytes.div_ceil(CHAT_UNIT_BYTES).try_into().unwrap_or(u32::MAX);
        units.clamp(1, self.chat_burst.max(1))
    }

    /// The rate of a session's messages of all kinds: never below that of its chat and its requests together, each of which is
    /// refused by itself.
    pub fn messages(&self) -> Rate {
        let per_second = self.chat_per_second.saturating_add(self.requests_per_second);
        let burst = self.chat_burst.saturating_add(self.requests_burst);
        Rate { per_second: self.messages_per_second.max(per_second), burst: self.messages_burst.max(burst) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_chat_message_counts_as_several_and_never_as_more_than_there_may_be() {
        let units = |chat_burst, bytes| Limits { chat_burst, ..Limits::default() }.chat_units(bytes);
        let of_length = |burst| [0, 1, 4096, 4097, 16 * 1024, usize::MAX].map(|bytes| units(burst, bytes));
        assert_eq!(of_length(50), [1, 1, 1, 2, 4, 50]);
        assert_eq!(of_length(3), [1, 1, 1, 2, 3, 3]);
        assert_eq!(of_length(0), [1; 6]);
    }

    #[test]
    fn a_session_may_send_all_the_chat_and_requests_that_it_is_allowed() {
        let rate = |chat_per_second, chat_burst| Limits { chat_per_second, chat_burst, ..Limits::default() }.messages();
        assert_eq!(rate(20, 50), Rate { per_second: 500, burst: 5000 });
        assert_eq!(rate(1000, 9000), Rate { per_second: 1050, burst: 9200 });
        assert_eq!(rate(u32::MAX, u32::MAX), Rate { per_second: u32::MAX, burst: u32::MAX });
    }
}
