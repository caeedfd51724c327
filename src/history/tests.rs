use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::disk::DiskStore;
use super::file::{DatabaseFile, write_format};
use super::fragile::Fragile;
use super::memory::MemoryStore;
use super::*;
use crate::room::{Ids, RemovedIdentity};

const EPOCH: u64 = 7;

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A message of participant 1.
fn message(sequence: u64, to: Option<u32>) -> Arc<ChatMessage> {
    Arc::new(ChatMessage {
        sequence,
        message_id: MessageId([sequence as u8; 16]),
        sent_at_ms: now_ms(),
        from: ParticipantId(1),
        from_name: String::new(),
        to: to.map(ParticipantId),
        body: "x".repeat(100),
    })
}

/// The history's thread, step by step.
struct Desk {
    keeper: Keeper,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

impl Desk {
    fn new(store: Store, limits: Limits) -> Self {
        let (told, outcomes) = mpsc::unbounded_channel();
        Self { keeper: Keeper::new(store, limits, told).unwrap(), outcomes }
    }

    fn on(disk: &Fragile, limits: Limits) -> Self {
        Self::new(Store::Disk(DiskStore::open_file(DatabaseFile::fragile(disk.clone())).unwrap()), limits)
    }

    /// One in memory and one on a disk.
    fn both(limits: Limits) -> [Self; 2] {
        [Self::new(Store::Memory(MemoryStore::default()), limits), Self::on(&Fragile::default(), limits)]
    }

    fn open_at(&mut self, name: &str, new_epoch: u64, unix_ms: u64) -> Result<OpenedRoom, HistoryError> {
        let (answer, mut answered) = oneshot::channel();
        self.keeper.take(Request::Open { room: room(name), new_epoch, unix_ms, answer });
        self.work();
        answered.try_recv().unwrap()
    }

    fn open(&mut self, name: &str) -> OpenedRoom {
        self.open_at(name, EPOCH, now_ms()).unwrap()
    }

    /// What comes in while a transaction is under way.
    fn append(&mut self, name: &str, message: Arc<ChatMessage>) {
        self.keeper.take(Request::Append { room: room(name), message });
    }

    /// Carries out everything that waits.
    fn work(&mut self) {
        self.keeper.work();
        while !self.keeper.is_done() {
            self.keeper.work();
        }
    }

    /// Appends messages to everyone and carries that out.
    fn keep(&mut self, name: &str, sequences: std::ops::RangeInclusive<u64>) {
        sequences.for_each(|sequence| self.append(name, message(sequence, None)));
        self.work();
    }

    fn note(&mut self, name: &str, notes: RoomNotes) {
        self.keeper.take(Request::Note { room: room(name), notes });
        self.work();
    }

    fn reserve(&mut self, name: &str, notes: RoomNotes) -> Result<u64, HistoryError> {
        let (answer, mut answered) = oneshot::channel();
        self.keeper.take(Request::Reserve { room: room(name), notes, answer });
        self.work();
        answered.try_recv().unwrap()
    }

    fn close_at(&mut self, name: &str, notes: RoomNotes, unix_ms: u64) {
        self.keeper.take(Request::Close { room: room(name), notes, unix_ms });
        self.work();
    }

    fn close(&mut self, name: &str) {
        self.close_at(name, RoomNotes::default(), now_ms());
    }

    /// Makes a room idle that was used later than all others.
    fn make_place_for(&mut self, name: &str) {
        self.open(name);
        self.keep(name, 1..=1);
        self.close_at(name, RoomNotes::default(), now_ms() + 1000);
        self.work();
    }

    fn page(&mut self, name: &str, reader: u32, after: u64, through: u64, bytes_max: usize) -> Page {
        let (answer, mut answered) = oneshot::channel();
        let query = PageQuery { room: room(name), reader: ParticipantId(reader), after, through, bytes_max };
        self.keeper.take(Request::Page { query, answer });
        answered.try_recv().unwrap().unwrap()
    }

    /// The sequences of a page, its last and the first that is kept.
    fn sequences(&mut self, reader: u32, after: u64, through: u64, bytes_max: usize) -> (Vec<u64>, u64, u64) {
        let page = self.page("team", reader, after, through, bytes_max);
        (page.messages.iter().map(|message| message.sequence).collect(), page.through, page.first_kept)
    }

    /// Everything that is kept of the room.
    fn kept(&mut self) -> Vec<u64> {
        self.sequences(1, 0, u64::MAX - 1, usize::MAX).0
    }

    fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }
}

fn stored(through: u64) -> Option<Outcome> {
    Some(Outcome::Stored { room: room("team"), through })
}

#[track_caller]
fn assert_not_stored(outcome: Option<Outcome>, expected: u64) {
    match outcome {
        Some(Outcome::NotStored { room: of, from, problem }) => {
            assert_eq!((of, from), (room("team"), expected));
            assert!(!problem.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

fn noted() -> RoomNotes {
    let until_unix_ms = now_ms() + 60_000;
    RoomNotes {
        ids: Ids { participants: 9, tracks: 12 },
        locked: true,
        removed: vec![RemovedIdentity { identity: "mallory".into(), until_unix_ms }],
    }
}

#[test]
fn pages_follow_each_other_without_gap() {
    for mut desk in Desk::both(Limits::default()) {
        desk.open("team");
        desk.keep("team", 1..=10);
        assert_eq!(desk.sequences(2, 0, 10, usize::MAX), ((1..=10).collect(), 10, 1));
        let two = 2 * message(1, None).cost_bytes();
        assert_eq!(desk.sequences(2, 3, 10, two), (vec![4, 5], 5, 1));
        assert_eq!(desk.sequences(2, 9, 10, 1), (vec![10], 10, 1));
        assert_eq!(desk.sequences(2, 10, 10, two), (vec![], 10, 1));
    }
}

#[test]
fn what_was_said_to_someone_else_is_left_out() {
    for mut desk in Desk::both(Limits::default()) {
        desk.open("team");
        for (sequence, to) in [(1, None), (2, Some(3)), (3, Some(2)), (4, Some(3))] {
            desk.append("team", message(sequence, to));
        }
        desk.work();
        assert_eq!(desk.sequences(2, 0, 4, usize::MAX), (vec![1, 3], 4, 1));
        assert_eq!(desk.sequences(1, 0, 4, usize::MAX), (vec![1, 2, 3, 4], 4, 1));
    }
}

#[test]
fn messages_that_wait_share_one_transaction() {
    for mut desk in Desk::both(Limits::default()) {
        desk.open("team");
        desk.open("other");
        for sequence in 1..=3 {
            desk.append("team", message(sequence, None));
            desk.append("other", message(sequence, None));
        }
        desk.work();
        let mut outcomes = [desk.outcome().unwrap(), desk.outcome().unwrap()];
        outcomes.sort_by_key(|outcome| format!("{outcome:?}"));
        assert_eq!(outcomes[0], Outcome::Stored { room: room("other"), through: 3 });
        assert_eq!(outcomes[1], Outcome::Stored { room: room("team"), through: 3 });
        assert_eq!(desk.outcome(), None);
    }
}

#[test]
fn count_and_bytes_are_bounded() {
    let three = Limits { history_messages: 3, ..Limits::default() };
    let three_long = Limits { history_bytes: 3 * message(1, None).cost_bytes() as u32, ..Limits::default() };
    for mut desk in [three, three_long].into_iter().flat_map(Desk::both) {
        desk.open("team");
        desk.keep("team", 1..=5);
        (6..=10).for_each(|sequence| desk.keep("team", sequence..=sequence));
        assert_eq!(desk.sequences(2, 0, 10, usize::MAX), (vec![8, 9, 10], 10, 8));
    }
}

#[test]
fn age_is_bounded_also_while_nothing_is_said() {
    let month_ago = now_ms() - 31 * 24 * 60 * 60 * 1000;
    let old = |sequence| Arc::new(ChatMessage { sent_at_ms: month_ago, ..(*message(sequence, None)).clone() });
    for days in [0, 30] {
        for mut desk in Desk::both(Limits { history_days: days, ..Limits::default() }) {
            for name in ["team", "idle"] {
                desk.open_at(name, EPOCH, month_ago).unwrap();
                // One by one: what is too old already is taken off by the transaction that brings it.
                (1..=3).for_each(|sequence| desk.append(name, old(sequence)));
                desk.keep(name, 4..=4);
            }
            let expected = if days == 0 { vec![1, 2, 3, 4] } else { vec![4] };
            assert_eq!(desk.kept(), expected, "{days}");
            assert_eq!(desk.open("team").recent.len(), expected.len());
        }
    }
}

#[test]
fn an_old_store_is_tidied_when_it_is_opened_and_while_it_runs() {
    let month_ago = now_ms() - 31 * 24 * 60 * 60 * 1000;
    let disk = Fragile::default();
    let mut desk = Desk::on(&disk, Limits { history_days: 0, ..Limits::default() });
    for name in ["team", "idle"] {
        desk.open_at(name, EPOCH, month_ago).unwrap();
        for sequence in 1..=3 {
            desk.append(name, Arc::new(ChatMessage { sent_at_ms: month_ago, ..(*message(sequence, None)).clone() }));
        }
        desk.close_at(name, RoomNotes::default(), month_ago);
    }
    drop(desk);

    let mut desk = Desk::on(&disk, Limits::default());
    let team = desk.open("team");
    assert_eq!(team.position, ChatPosition { epoch: EPOCH, sequence: 3 });
    assert_eq!((team.recent, desk.sequences(1, 0, 3, usize::MAX)), (vec![], (vec![], 3, 4)));
    (0..3).for_each(|_| desk.keeper.tidy());
    assert_eq!(desk.open_at("idle", 8, now_ms()).unwrap().position, ChatPosition { epoch: 8, sequence: 0 });
}

#[test]
fn an_empty_room_keeps_its_chat_until_others_need_the_place() {
    for mut desk in Desk::both(Limits { history_rooms: 1, ..Limits::default() }) {
        desk.open("team");
        desk.keep("team", 1..=1);
        desk.close_at("team", RoomNotes::default(), now_ms());
        let again = desk.open_at("team", 8, now_ms()).unwrap();
        assert_eq!(again.position, ChatPosition { epoch: EPOCH, sequence: 1 });
        desk.close_at("team", RoomNotes::default(), now_ms());
        desk.make_place_for("other");
        let later = desk.open_at("team", 10, now_ms()).unwrap();
        assert_eq!(later.position, ChatPosition { epoch: 10, sequence: 0 });
        assert_eq!(desk.open("other").position.sequence, 1);
    }
}

#[test]
fn a_room_that_could_not_be_opened_is_idle() {
    let disk = Fragile::default();
    let limits = Limits { history_rooms: 1, ..Limits::default() };
    let mut desk = Desk::on(&disk, limits);
    desk.open("team");
    desk.keep("team", 1..=1);
    desk.close("team");
    drop(desk);
    // The names of the rooms have been read, and where they stand; the messages have not.
    let mut desk = Desk::on(&disk, limits);
    disk.fail_to_read(true);
    assert!(matches!(desk.open_at("team", 8, now_ms()), Err(HistoryError::Unreadable(_))));
    disk.fail_to_read(false);
    desk.make_place_for("other");
    assert_eq!(desk.open_at("team", 8, now_ms()).unwrap().position, ChatPosition { epoch: 8, sequence: 0 });
}

#[test]
fn a_room_that_was_opened_for_nobody_is_idle() {
    for mut desk in Desk::both(Limits { history_rooms: 1, ..Limits::default() }) {
        desk.open("team");
        desk.keep("team", 1..=1);
        desk.close("team");
        let (answer, _) = oneshot::channel();
        desk.keeper.take(Request::Open { room: room("team"), new_epoch: 8, unix_ms: now_ms(), answer });
        desk.work();
        desk.make_place_for("other");
        assert_eq!(desk.open_at("team", 8, now_ms()).unwrap().position, ChatPosition { epoch: 8, sequence: 0 });
    }
}

#[test]
fn a_room_that_was_given_up_while_it_was_opened_is_idle() {
    for reserves in [false, true] {
        for mut desk in Desk::both(Limits { history_rooms: 1, ..Limits::default() }) {
            desk.open("team");
            desk.keep("team", 1..=1);
            desk.close("team");
            desk.open("team");
            if reserves {
                let ids = Ids { participants: 9, tracks: 9 };
                desk.reserve("team", RoomNotes { ids, ..RoomNotes::default() }).unwrap();
            }
            desk.keeper.take(Request::Abandon { room: room("team") });
            desk.work();
            desk.make_place_for("other");
            assert_eq!(desk.open_at("team", 8, now_ms()).unwrap().position, ChatPosition { epoch: 8, sequence: 0 });
        }
    }
}

#[test]
fn a_room_of_which_nothing_is_kept_is_forgotten() {
    for mut desk in Desk::both(Limits::default()) {
        desk.open("team");
        let ids = Ids { participants: 5, tracks: 5 };
        desk.note("team", RoomNotes { ids, ..RoomNotes::default() });
        desk.close("team");
        let again = desk.open_at("team", 8, now_ms()).unwrap();
        assert_eq!((again.position.epoch, again.notes), (8, RoomNotes::default()));
    }
}

#[test]
fn notes_outlive_the_room() {
    for mut desk in Desk::both(Limits::default()) {
        desk.open("team");
        desk.keep("team", 1..=1);
        desk.close_at("team", noted(), now_ms());
        let again = desk.open("team").notes;
        assert_eq!((again.ids, again.locked, again.removed.len()), (noted().ids, true, 1));
        let later = desk.open_at("team", 8, now_ms() + 120_000).unwrap().notes;
        assert_eq!(later.removed, []);
    }
}

fn with_ids(participants: u32, tracks: u32) -> RoomNotes {
    RoomNotes { ids: Ids { participants, tracks }, ..RoomNotes::default() }
}

#[test]
fn ids_that_were_reserved_and_not_given_are_free_again_when_the_room_is_closed() {
    for mut desk in Desk::both(Limits::default()) {
        for meeting in 1..=3 {
            let ids = desk.open("team").notes.ids;
            assert_eq!(ids.participants, meeting - 1);
            desk.note("team", with_ids(ids.participants + 1000, 1000));
            // In the same transaction as its closing, or in an earlier one.
            desk.append("team", message(meeting.into(), None));
            if meeting == 2 {
                desk.work();
            }
            desk.close_at("team", with_ids(meeting, 0), now_ms());
        }
    }
}

#[test]
fn ids_never_go_back_behind_those_that_were_given() {
    for mut desk in Desk::both(Limits::default()) {
        desk.open("team");
        desk.note("team", with_ids(1000, 1000));
        desk.append("team", message(1, Some(30)));
        desk.close_at("team", with_ids(9, 12), now_ms());
        assert_eq!(desk.open("team").notes, with_ids(30, 12));
        desk.close_at("team", with_ids(2, 2), now_ms());
        assert_eq!(desk.open("team").notes, with_ids(30, 12));
    }
}

#[test]
fn ids_that_were_reserved_stay_so_after_a_crash() {
    let disk = Fragile::default();
    let mut desk = Desk::on(&disk, Limits::default());
    desk.open("team");
    desk.keep("team", 1..=1);
    desk.note("team", with_ids(1000, 1000));
    drop(desk);
    let mut desk = Desk::on(&disk, Limits::default());
    assert_eq!(desk.open("team").notes, with_ids(1000, 1000));
}

#[test]
fn ids_are_reserved_in_the_epoch_of_the_room() {
    for mut desk in Desk::both(Limits::default()) {
        assert!(matches!(desk.reserve("team", with_ids(1000, 1000)), Err(HistoryError::NotOpen)));
        desk.open("team");
        assert_eq!(desk.reserve("team", with_ids(1000, 1000)).unwrap(), EPOCH);
        desk.keep("team", 1..=1);
        desk.close_at("team", with_ids(3, 0), now_ms());
        desk.open_at("team", 8, now_ms()).unwrap();
        assert_eq!(desk.reserve("team", with_ids(1003, 1000)).unwrap(), EPOCH);
    }
}

/// A known room whose ids could not be reserved in the epoch that it has on that disk, but in 8.
fn desk_in_spare_epoch(disk: &Fragile, fails: impl Fn(bool)) -> Desk {
    let mut desk = Desk::on(disk, Limits::default());
    desk.open("team");
    desk.reserve("team", with_ids(1000, 1000)).unwrap();
    desk.keep("team", 1..=2);
    assert_eq!(desk.outcome(), stored(2));
    desk.close_at("team", with_ids(3, 0), now_ms());
    fails(true);
    let opened = desk.open_at("team", 8, now_ms()).unwrap();
    assert_eq!((opened.position, opened.notes), (ChatPosition { epoch: EPOCH, sequence: 2 }, with_ids(3, 0)));
    assert_eq!(desk.reserve("team", with_ids(1003, 1000)).unwrap(), 8);
    desk.keep("team", 3..=3);
    assert_not_stored(desk.outcome(), 3);
    fails(false);
    desk
}

#[test]
fn no_id_is_given_twice_in_an_epoch_when_it_could_not_be_reserved() {
    let disk = Fragile::default();
    let full = desk_in_spare_epoch(&disk, |full| disk.fill_up(full));
    let mut desk = Desk::on(&disk.after_crash(1), Limits::default());
    let again = desk.open_at("team", 9, now_ms()).unwrap();
    assert_eq!((again.position, again.notes), (ChatPosition { epoch: EPOCH, sequence: 2 }, with_ids(3, 0)));
    drop(full);

    for seed in 0..40 {
        let disk = Fragile::default();
        // The first sync of each transaction fails, or the second.
        let unsure = desk_in_spare_epoch(&disk, |fails| disk.fail_to_sync_after(fails.then_some((seed % 2) as u32)));
        let again = Desk::on(&disk.after_crash(seed), Limits::default()).open_at("team", 9, now_ms()).unwrap();
        let expected = if again.position.epoch == EPOCH { [3, 1003] } else { [1003, 1003] };
        assert!(expected.contains(&again.notes.ids.participants), "seed {seed}: {again:?}");
        assert!([EPOCH, 8].contains(&again.position.epoch), "seed {seed}: {again:?}");
        drop(unsure);
    }
}

#[test]
fn the_other_epoch_is_kept_with_all_messages_when_there_is_space_again() {
    let disk = Fragile::default();
    let mut desk = desk_in_spare_epoch(&disk, |full| disk.fill_up(full));
    desk.keep("team", 3..=3);
    assert_eq!(desk.outcome(), stored(3));
    drop(desk);
    let mut desk = Desk::on(&disk, Limits::default());
    let again = desk.open_at("team", 9, now_ms()).unwrap();
    assert_eq!((again.position, again.notes), (ChatPosition { epoch: 8, sequence: 3 }, with_ids(1003, 1000)));
    assert_eq!(desk.kept(), [1, 2, 3]);
}

#[test]
fn a_restart_keeps_everything() {
    let disk = Fragile::default();
    let mut desk = Desk::on(&disk, Limits::default());
    desk.open("team");
    desk.keep("team", 1..=5);
    desk.note("team", noted());
    drop(desk);

    let mut desk = Desk::on(&disk, Limits::default());
    let again = desk.open_at("team", 8, now_ms()).unwrap();
    assert_eq!(again.position, ChatPosition { epoch: EPOCH, sequence: 5 });
    assert_eq!(again.recent.iter().map(|recent| recent.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(again.recent[2].message_id, MessageId([3; 16]));
    assert_eq!((again.notes.ids, again.notes.locked), (noted().ids, true));
    assert_eq!(desk.kept(), [1, 2, 3, 4, 5]);
    desk.keep("team", 6..=6);
    assert_eq!(desk.outcome(), stored(6));
}

#[test]
fn a_full_disk_is_told_and_the_numbers_go_on_when_there_is_space_again() {
    let disk = Fragile::default();
    let mut desk = Desk::on(&disk, Limits::default());
    desk.open("team");
    desk.keep("team", 1..=2);
    assert_eq!(desk.outcome(), stored(2));
    disk.fill_up(true);
    desk.keep("team", 3..=4);
    assert_not_stored(desk.outcome(), 3);
    // A new room can be opened and what is kept can be read meanwhile.
    assert_eq!(desk.open("other").position.sequence, 0);
    assert_eq!(desk.kept(), [1, 2]);
    desk.keep("team", 3..=3);
    assert_not_stored(desk.outcome(), 3);
    disk.fill_up(false);
    desk.keep("team", 3..=5);
    assert_eq!(desk.outcome(), stored(5));
    assert_eq!((desk.kept(), desk.outcome()), (vec![1, 2, 3, 4, 5], None));
}

#[test]
fn what_was_behind_a_failed_message_does_not_take_its_place() {
    let disk = Fragile::default();
    let mut desk = Desk::on(&disk, Limits::default());
    desk.open("team");
    disk.fail_to_sync_after(Some(0));
    desk.keep("team", 1..=2);
    assert_not_stored(desk.outcome(), 1);
    disk.fail_to_sync_after(None);
    // These were on their way when the room heard of it.
    desk.append("team", message(3, None));
    desk.append("team", message(4, None));
    desk.work();
    assert_eq!(desk.outcome(), None);
    let second = |sequence| Arc::new(ChatMessage { body: "second".into(), ..(*message(sequence, None)).clone() });
    desk.append("team", message(5, None));
    desk.append("team", second(1));
    desk.append("team", second(2));
    desk.work();
    assert_eq!((desk.outcome(), desk.outcome()), (stored(2), None));
    let page = desk.page("team", 2, 0, 9, usize::MAX);
    assert_eq!(page.messages.iter().map(|message| &*message.body).collect::<Vec<_>>(), ["second", "second"]);
}

#[test]
fn notes_and_closes_that_could_not_be_written_are_written_later() {
    let disk = Fragile::default();
    let mut desk = Desk::on(&disk, Limits::default());
    desk.open("team");
    desk.keep("team", 1..=1);
    disk.fill_up(true);
    desk.close_at("team", noted(), now_ms());
    assert!(desk.open("team").notes.locked);
    desk.close_at("team", noted(), now_ms());
    disk.fill_up(false);
    desk.work();
    drop(desk);
    assert!(Desk::on(&disk, Limits::default()).open("team").notes.locked);
}

#[test]
fn retention_goes_on_rightly_after_a_failed_sync() {
    let disk = Fragile::default();
    let limits = Limits { history_messages: 5, ..Limits::default() };
    let mut desk = Desk::on(&disk, limits);
    desk.open("team");
    desk.keep("team", 1..=5);
    for _ in 0..3 {
        disk.fail_to_sync_after(Some(0));
        desk.keep("team", 6..=9);
        disk.fail_to_sync_after(None);
    }
    assert_eq!(desk.kept(), [1, 2, 3, 4, 5]);
    desk.keep("team", 6..=6);
    assert_eq!(desk.kept(), [2, 3, 4, 5, 6]);
    drop(desk);
    let mut desk = Desk::on(&disk, limits);
    assert_eq!(desk.open("team").position.sequence, 6);
    assert_eq!(desk.kept(), [2, 3, 4, 5, 6]);
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_at_any_point() {
    for crash_after in 0..400 {
        let disk = Fragile::default();
        let limits = Limits { history_messages: 12, ..Limits::default() };
        let mut desk = Desk::on(&disk, limits);
        desk.open("team");
        disk.crash_after(crash_after);
        let mut acknowledged = 0;
        for sequence in (1..=30).step_by(3) {
            desk.keep("team", sequence..=sequence + 2);
            match desk.outcome() {
                Some(Outcome::Stored { through, .. }) => acknowledged = through,
                _ => break,
            }
        }
        let finished = acknowledged == 30;
        for seed in 0..3 {
            let seed = u64::from(crash_after) * 3 + seed;
            let mut desk = Desk::on(&disk.after_crash(seed), limits);
            let again = desk.open_at("team", 8, now_ms()).unwrap();
            let last = again.position.sequence;
            assert!(last == acknowledged || last == acknowledged + 3, "seed {seed}: {last} after {acknowledged}");
            assert!(last == 0 || again.position.epoch == EPOCH, "seed {seed}");
            let first = last.saturating_sub(11).max(1);
            assert_eq!(desk.kept(), (first..=last).collect::<Vec<_>>(), "seed {seed}");
            desk.keep("team", last + 1..=last + 1);
            assert_eq!(desk.outcome(), stored(last + 1), "seed {seed}");
        }
        if finished {
            return;
        }
    }
    panic!("there were more operations than crash points");
}

#[test]
fn a_failed_sync_costs_nothing_that_is_acknowledged_later() {
    for seed in 0..40 {
        let disk = Fragile::default();
        let mut desk = Desk::on(&disk, Limits::default());
        desk.open("team");
        let (mut acknowledged, mut failed) = (0, 0);
        for step in 0..20 {
            // The first sync of a transaction fails, or the second.
            let fails = (seed + step) % 3 == 0;
            disk.fail_to_sync_after(if fails { Some(((seed + step) % 2) as u32) } else { None });
            desk.keep("team", acknowledged + 1..=acknowledged + 2);
            match desk.outcome() {
                Some(Outcome::Stored { through, .. }) => acknowledged = through,
                outcome => {
                    assert_not_stored(outcome, acknowledged + 1);
                    failed += 1;
                }
            }
        }
        assert!(failed > 3, "seed {seed}: only {failed} failed");
        let mut desk = Desk::on(&disk.after_crash(seed), Limits::default());
        let last = desk.open("team").position.sequence;
        assert!(last >= acknowledged, "seed {seed}: {last} after {acknowledged}");
        assert_eq!(desk.kept(), (1..=last).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_flipped_bit_costs_one_message() {
    let disk = Fragile::default();
    let mut desk = Desk::on(&disk, Limits::default());
    desk.open("team");
    for sequence in 1..=9 {
        let body = format!("this is message {sequence}.");
        desk.append("team", Arc::new(ChatMessage { body, ..(*message(sequence, None)).clone() }));
    }
    desk.work();
    drop(desk);
    let mut bytes = disk.bytes();
    let needle = b"this is message 5.";
    let places = (0..bytes.len() - needle.len()).filter(|at| bytes[*at..].starts_with(needle)).collect::<Vec<_>>();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at + 3] ^= 1);

    let mut desk = Desk::on(&Fragile::holding(bytes), Limits::default());
    assert_eq!(desk.open("team").recent.len(), 8);
    assert_eq!(desk.sequences(2, 0, 9, usize::MAX), (vec![1, 2, 3, 4, 6, 7, 8, 9], 9, 1));
    desk.keep("team", 10..=10);
    assert_eq!(desk.kept(), [1, 2, 3, 4, 6, 7, 8, 9, 10]);
}

#[test]
fn a_newer_store_is_left_alone() {
    let disk = Fragile::default();
    let file = DatabaseFile::fragile(disk.clone());
    write_format(&file.open().unwrap(), 2).unwrap();
    let error = DiskStore::open_file(file).unwrap_err();
    assert!(matches!(error, HistoryError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("was written by a newer Tertulia; use that one, or another --data-dir"));
}

#[test]
fn what_is_no_database_is_left_alone() {
    let error = DiskStore::open_file(DatabaseFile::fragile(Fragile::holding(vec![b'x'; 100_000]))).unwrap_err();
    assert!(matches!(error, HistoryError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("move it away"), "{error}");
}

/// Flips bits anywhere, also in the database's own pages.
#[test]
fn damage_anywhere_serves_nothing_that_was_not_said_and_stops_no_one() {
    let disk = Fragile::default();
    let mut desk = Desk::on(&disk, Limits::default());
    let rooms: Vec<_> = (0..8).map(|number| format!("room-{number}")).collect();
    for name in &rooms {
        desk.open(name);
        desk.keep(name, 1..=60);
    }
    let said: Vec<_> = rooms.iter().map(|name| desk.page(name, 2, 0, 60, usize::MAX).messages).collect();
    drop(desk);
    let bytes = disk.bytes();
    let (mut opened, mut lost) = (0, 0);
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut damaged = bytes.clone();
        let at = random.random_range(0..damaged.len());
        damaged[at] ^= 1 << random.random_range(0..8);
        let Ok(store) = DiskStore::open_file(DatabaseFile::fragile(Fragile::holding(damaged))) else {
            continue;
        };
        let (told, outcomes) = mpsc::unbounded_channel();
        let Ok(keeper) = Keeper::new(Store::Disk(store), Limits::default(), told) else {
            continue;
        };
        opened += 1;
        let mut desk = Desk { keeper, outcomes };
        for (name, said) in rooms.iter().zip(&said) {
            let position = desk.open_at(name, 8, now_ms()).unwrap().position;
            let next = position.sequence + 1;
            desk.keep(name, next..=next);
            let expected = Outcome::Stored { room: room(name), through: next };
            assert_eq!(desk.outcome(), Some(expected), "seed {seed}, byte {at}");
            let mut kept = desk.page(name, 2, 0, next, usize::MAX).messages;
            assert_eq!(kept.pop().unwrap().sequence, next, "seed {seed}, byte {at}");
            assert!(kept.iter().all(|message| said.contains(message)), "seed {seed}, byte {at}");
            lost += said.len() - kept.len();
        }
    }
    assert!(opened > 150, "only {opened} could be opened");
    assert!(lost < opened * 20, "{lost} were lost of {opened} files");
}

#[test]
fn a_damaged_page_costs_its_messages_and_stops_no_one() {
    let disk = Fragile::default();
    let mut desk = Desk::on(&disk, Limits::default());
    for name in ["other", "team"] {
        desk.open(name);
        for sequence in 1..=60 {
            let body = format!("{name} says {sequence}. {}", "x".repeat(100));
            desk.append(name, Arc::new(ChatMessage { body, ..(*message(sequence, None)).clone() }));
        }
        desk.work();
    }
    drop(desk);
    let bytes = disk.bytes();
    let needle = b"team says 60.";
    let places: Vec<_> = (0..bytes.len() - needle.len()).filter(|at| bytes[*at..].starts_with(needle)).collect();
    // A page begins there, or it is a longer one that begins before.
    let pages: std::collections::BTreeSet<_> = places.iter().flat_map(|at| [at / 4096, at / 4096 - 1]).collect();
    let mut damaged_pages = 0;
    for page in pages {
        let mut damaged = bytes.clone();
        // The first byte of a page says what kind it is.
        damaged[page * 4096] = 0xff;
        let disk = Fragile::holding(damaged);
        if DiskStore::open_file(DatabaseFile::fragile(disk.clone())).is_err() {
            // Another table has the page now, and something old was left in it.
            continue;
        }
        let mut desk = Desk::on(&disk, Limits::default());
        let mut lost = 122;
        for name in ["team", "other"] {
            assert_eq!(desk.open(name).position.sequence, 60);
            desk.keep(name, 61..=61);
            assert_eq!(desk.outcome(), Some(Outcome::Stored { room: room(name), through: 61 }));
            let kept = desk.page(name, 2, 0, 61, usize::MAX).messages;
            assert_eq!(kept.last().unwrap().sequence, 61);
            lost -= kept.len();
        }
        assert!(lost < 40, "{lost} were lost");
        damaged_pages += usize::from(lost > 1);
        let kept = desk.kept();
        drop(desk);
        let mut desk = Desk::on(&disk, Limits::default());
        desk.open("team");
        assert_eq!(desk.kept(), kept);
    }
    assert!(damaged_pages > 0);
}

/// A directory that is removed with the value.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tertulia-history-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(directory: &std::path::Path) -> Result<(History, mpsc::UnboundedReceiver<Outcome>), HistoryError> {
    History::start(HistoryPlace::Directory(directory.into()), Limits::default())
}

#[tokio::test]
async fn the_file_outlives_the_thread_and_belongs_to_its_owner_and_to_one_relay() {
    let directory = Directory::new("file");
    let place = directory.0.join("new/data");
    let (history, mut outcomes) = start(&place).unwrap();
    history.open(room("team"), EPOCH, now_ms()).await.unwrap();
    (1..=3).for_each(|sequence| history.append(&room("team"), message(sequence, None)));
    let mut through = 0;
    while through < 3 {
        match outcomes.recv().await {
            Some(Outcome::Stored { through: last, .. }) => through = last,
            outcome => panic!("{outcome:?}"),
        }
    }

    let error = start(&place).unwrap_err();
    assert!(error.to_string().starts_with("another relay keeps its chat in "), "{error}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&place.join("chat.redb"))), (0o700, 0o600));
    }

    history.stop().await;
    assert!(matches!(history.open(room("team"), 8, now_ms()).await, Err(HistoryError::Ended)));
    let (again, _outcomes) = start(&place).unwrap();
    let opened = again.open(room("team"), 8, now_ms()).await.unwrap();
    assert_eq!(opened.position, ChatPosition { epoch: EPOCH, sequence: 3 });
    let query = PageQuery { room: room("team"), reader: ParticipantId(2), after: 1, through: 3, bytes_max: usize::MAX };
    let page = again.page(query).await.unwrap();
    assert_eq!(page.messages.len(), 2);
    assert_eq!(again.messages_lost(), 0);
    again.stop().await;
}

#[test]
fn a_place_that_cannot_be_used_is_named() {
    let directory = Directory::new("place");
    let occupied = directory.0.join("data");
    std::fs::write(&occupied, "a file").unwrap();
    let error = start(&occupied).unwrap_err().to_string();
    assert!(error.contains("cannot keep chat in") && error.contains("--data-dir"), "{error}");
}
