//! Not all media is passed on: of a large room what most want, and to a slow path what is not too late. A meeting in another room goes
//! on meanwhile.

mod support;

use std::time::{Duration, Instant};

use support::bystander::repeatable;
use support::impair::Proxy;
use support::quic::soon;
use support::scene::Scene;
use support::session::{CARRIERS, Incoming, Over, Session, Target, camera, datagram, header, join_of, microphone};
use tertulia::wire::*;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

/// The headers of the media that has come since this was asked last.
fn media(session: &mut Session) -> Vec<MediaHeader> {
    let of_media = |incoming: Incoming| match incoming {
        Incoming::Media(datagram) => MediaHeader::decode(&datagram).ok(),
        _ => None,
    };
    session.rest().into_iter().filter_map(of_media).collect()
}

/// Ticks that do not come faster after a pause.
fn pace(milliseconds: u64) -> Interval {
    let mut pace = interval(Duration::from_millis(milliseconds));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// People in a large room, of whom the last one speaks, and how many of them are heard and seen. The two of the meeting have cameras
/// too, so it cannot be fewer.
const PEOPLE: usize = 5;
const PASSED_ON: usize = 2;

/// In dB below full scale: somebody who does not speak, and somebody who does.
const QUIET: u8 = 75;
const LOUD: u8 = 20;

/// Rounds in which everyone sends a sound and a picture, while it is counted what is passed on.
const ROUNDS: usize = 50;

/// What may be passed on beyond that: where the machine is busy, the places of those who are not heard for half a second go to others.
const CHANGES: usize = 5;

/// Someone with a microphone and a camera, who takes nothing of the others.
struct Person {
    session: Session,
    microphone: TrackId,
    camera: TrackId,
    level: u8,
}

impl Person {
    async fn join(scene: &Scene, over: Over, level: u8) -> Self {
        let join = Join { auto_subscribe: false, ..join_of("large", "Person") };
        let (mut session, _) = Session::join(scene.target(), over, join).await.unwrap();
        let microphone = session.publish_track(microphone()).await;
        let camera = session.publish().await;
        Self { session, microphone, camera, level }
    }

    async fn send(&mut self, frame: u32) {
        let audio_level = AudioLevel::new(self.level);
        let sound = MediaHeader { frame, audio_level, ..header(self.microphone) };
        let picture = MediaHeader { frame, ..header(self.camera) };
        for header in [sound, picture] {
            self.session.media(Datagram::new(header, b"a frame").bytes).await;
        }
    }
}

/// A room in which everyone sends, and three listen, one over each carrier.
struct LargeRoom {
    people: Vec<Person>,
    listeners: Vec<Session>,
    pace: Interval,
    frame: u32,
}

impl LargeRoom {
    async fn gather(scene: &Scene) -> Self {
        let (mut people, mut listeners) = (Vec::new(), Vec::new());
        for over in CARRIERS {
            listeners.push(Session::member(scene.target(), over, "large", "Listener").await);
        }
        for (number, over) in (1..=PEOPLE).zip(CARRIERS.into_iter().cycle()) {
            people.push(Person::join(scene, over, if number == PEOPLE { LOUD } else { QUIET }).await);
        }
        Self { people, listeners, pace: pace(20), frame: 0 }
    }

    /// Everyone sends once; what each listener has got since the last time.
    async fn round(&mut self) -> Vec<Vec<MediaHeader>> {
        self.pace.tick().await;
        self.frame += 1;
        for person in &mut self.people {
            person.send(self.frame).await;
        }
        self.listeners.iter_mut().map(media).collect()
    }

    /// Goes on until every listener has got so much of these tracks that was sent since; how many rounds it took, and how much each has.
    async fn until(&mut self, tracks: &[TrackId], enough: usize) -> (usize, Vec<usize>) {
        let since = self.frame;
        let mut got = vec![0; self.listeners.len()];
        let mut rounds = 0;
        while got.iter().any(|got| *got < enough) {
            rounds += 1;
            for (got, headers) in got.iter_mut().zip(self.round().await) {
                *got += headers.iter().filter(|media| media.frame > since && tracks.contains(&media.track)).count();
            }
        }
        (rounds, got)
    }

    async fn leave(self) {
        for session in self.people.into_iter().map(|person| person.session).chain(self.listeners) {
            session.leave().await;
        }
    }
}

#[tokio::test]
async fn the_loudest_are_heard_and_the_last_speakers_are_seen_beside_a_meeting() {
    repeatable(async || {
        let passed_on = PASSED_ON.to_string();
        let scene = Scene::crowded(&["--loudest-audio", &passed_on, "--last-videos", &passed_on]).await;
        let mut room = LargeRoom::gather(&scene).await;
        let microphones: Vec<_> = room.people.iter().map(|person| person.microphone).collect();
        let cameras: Vec<_> = room.people.iter().map(|person| person.camera).collect();
        soon("the voice of who speaks", room.until(&microphones[PEOPLE - 1..], 1)).await;
        // Whoever was there before stays for three seconds.
        soon("the picture of who speaks", room.until(&cameras[PEOPLE - 1..], 1)).await;
        for (what, tracks) in [("sounds", microphones), ("pictures", cameras)] {
            let (rounds, got) = soon(what, room.until(&tracks, PASSED_ON * ROUNDS)).await;
            let most = PASSED_ON * rounds + CHANGES;
            assert!(got.iter().all(|got| *got <= most), "{got:?} {what} in {rounds} rounds of {PEOPLE}");
        }
        let left_out = scene.relay.metric("tertulia_datagrams_dropped_total{reason=\"not_selected\"}").await;
        assert!(left_out as usize > 2 * (PEOPLE - PASSED_ON) * ROUNDS, "{left_out} were left out");
        room.leave().await;
        scene.close("a large room").await;
    })
    .await;
}

/// A track of someone whose own path is good, and how it is sent.
struct Source {
    session: Session,
    track: TrackId,
    frame: u32,
    pace: Interval,
}

impl Source {
    /// Over TCP: nothing of it is lost on the way to the relay.
    async fn publish(scene: &Scene, track: TrackInfo) -> Self {
        let mut session = Session::member(scene.target(), Over::WebSocket, "behind", "Sender").await;
        let track = session.publish_track(track).await;
        Self { session, track, frame: 0, pace: pace(5) }
    }

    /// Sends a frame, which needs the one before it or stands by itself.
    async fn send(&mut self, keyframe: bool) {
        self.pace.tick().await;
        self.frame += 1;
        let depends_on_distance = u8::from(!keyframe);
        let header = MediaHeader { frame: self.frame, keyframe, depends_on_distance, ..header(self.track) };
        self.session.media(Datagram::new(header, &[7; 900]).bytes).await;
    }

    /// Sends until the listener has something of it that is sent from now on.
    async fn reach(&mut self, listener: &mut Session) {
        let (track, since) = (self.track, self.frame);
        let is_new = |media: &MediaHeader| media.track == track && media.frame > since;
        while !media(listener).iter().any(is_new) {
            self.send(true).await;
        }
    }

    /// Sends until so much is left out.
    async fn until(&mut self, scene: &Scene, metric: &str, enough: i64) {
        while scene.relay.metric(metric).await < enough {
            for _ in 0..20 {
                self.send(false).await;
            }
        }
    }
}

#[tokio::test]
async fn what_waits_beyond_its_deadline_is_left_out_beside_a_meeting() {
    repeatable(async || {
        let scene = Scene::crowded(&["--audio-deadline-ms", "100", "--video-deadline-ms", "300"]).await;
        let late = "tertulia_datagrams_dropped_total{reason=\"late\"}";
        for over in CARRIERS {
            let relay = if over == Over::WebSocket { scene.target().http } else { scene.target().quic };
            let network = Proxy::start(relay, "", 7).await;
            let through = Target { quic: network.address, http: network.address };
            let mut listener = Session::member(through, over, "behind", "Listener").await;
            for (track, class) in [(microphone(), "audio"), (camera(), "base")] {
                let case = format!("{class} over {over:?}");
                let left_out = format!("tertulia_frames_left_out_total{{class=\"{class}\"}}");
                let mut source = Source::publish(&scene, track).await;
                soon(&case, source.reach(&mut listener)).await;
                let [late_before, left_out_before] =
                    [scene.relay.metric(late).await, scene.relay.metric(&left_out).await];
                network.apply("down block");
                // After a picture that is late, those that need it are left out for that.
                soon(&case, source.until(&scene, late, late_before + 1)).await;
                soon(&case, source.until(&scene, &left_out, left_out_before + 20)).await;
                network.apply("pass");
                soon(&case, source.reach(&mut listener)).await;
                source.session.leave().await;
            }
            listener.leave().await;
            scene.relay.until("tertulia_rooms", |rooms| rooms == 1).await;
        }
        scene.close("media that is late").await;
    })
    .await;
}

#[tokio::test]
async fn media_is_bounded_in_bits_as_well() {
    repeatable(async || {
        let scene = Scene::crowded(&["--media-bits-per-second", "400000"]).await;
        for over in CARRIERS {
            let mut listener = Session::member(scene.target(), Over::Quic, "bits", "Listener").await;
            let mut sender = Session::member(scene.target(), over, "bits", "Sender").await;
            let track = sender.publish().await;
            let begin = Instant::now();
            for _ in 0..200 {
                sender.media(datagram(track, &[7; 900])).await;
                sleep(Duration::from_millis(1)).await;
            }
            sender.assert_seated("all are on their way").await;
            listener.assert_seated("all are there").await;
            let arrived = media(&mut listener).len() as u64;
            // A burst of a second, and what the rate gave meanwhile, of 921 bytes each.
            let most = 400_000 / 8 * (begin.elapsed().as_secs() + 2) / 921;
            assert!((40..=most).contains(&arrived), "{arrived} over {over:?}, {most} may");
            sender.leave().await;
            listener.leave().await;
        }
        assert!(scene.relay.metric("tertulia_datagrams_dropped_total{reason=\"over_budget\"}").await > 0);
        scene.close("too many bits").await;
    })
    .await;
}
