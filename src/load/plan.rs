use std::time::Duration;

use thiserror::Error;

use super::profile::Profile;
use crate::limits::{LOAD_DURATION_MAX, LOAD_SESSIONS_MAX};

/// Who takes part in a run, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What is sent.
    pub profile: Profile,
    /// Rooms, each with as many participants.
    pub rooms: u32,
    /// Participants of each room who send.
    pub publishers: u32,
    /// Participants of each room who only receive.
    pub subscribers: u32,
    /// For how long it is measured.
    pub duration: Duration,
    /// The time over which sessions begin, one after the other.
    pub ramp: Duration,
}

/// One participant of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its number in the run, in the order of joining.
    pub number: u32,
    /// The number of its room.
    pub room: u32,
    /// Its number among the publishers of all rooms, if it is one.
    pub publisher: Option<u32>,
    /// When it joins, from the beginning of the run.
    pub joins_at: Duration,
    /// How much later than the first one it sends its frames: people do not speak in step.
    pub phase: Duration,
}

/// Why a run is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PlanError {
    /// There is nobody in it.
    #[error("nobody would take part; give --rooms, and --publishers or --subscribers, at least 1")]
    Empty,
    /// More than [`LOAD_SESSIONS_MAX`].
    #[error("{0} sessions are too many for one run; at most {LOAD_SESSIONS_MAX}: take fewer rooms or participants")]
    Sessions(u64),
    /// More than [`LOAD_DURATION_MAX`].
    #[error("a run takes at most {} minutes, its ramp included; give a shorter --duration or --ramp", LOAD_DURATION_MAX.as_secs() / 60)]
    Time,
    /// It is not measured at all.
    #[error("nothing is measured in no time; give a --duration of 1s or more")]
    NoTime,
}

impl Plan {
    /// Whether the run is within the bounds.
    ///
    /// # Errors
    /// [`PlanError`] says which one it is not.
    pub fn check(&self) -> Result<(), PlanError> {
        let sessions = u64::from(self.rooms) * (u64::from(self.publishers) + u64::from(self.subscribers));
        match sessions {
            0 => Err(PlanError::Empty),
            _ if sessions > u64::from(LOAD_SESSIONS_MAX) => Err(PlanError::Sessions(sessions)),
            _ if self.duration.is_zero() => Err(PlanError::NoTime),
            _ if self.duration.saturating_add(self.ramp) > LOAD_DURATION_MAX => Err(PlanError::Time),
            _ => Ok(()),
        }
    }

    /// Participants of one room.
    pub fn participants(&self) -> u32 {
        self.publishers + self.subscribers
    }

    /// Sessions in all.
    pub fn sessions(&self) -> u32 {
        self.rooms * self.participants()
    }

    /// How many get what one publisher sends.
    pub fn receivers(&self) -> u32 {
        if self.profile.publishers_receive() { self.participants().saturating_sub(1) } else { self.subscribers }
    }

    /// Everyone, room after room. Subscribers come first in their room, so that publishers find it full.
    pub fn parts(&self) -> Vec<Part> {
        let step = self.ramp / self.sessions().max(1);
        let part = |number: u32| {
            let (room, seat) = (number / self.participants(), number % self.participants());
            let publisher = seat.checked_sub(self.subscribers).map(|index| room * self.publishers + index);
            Part { number, room, publisher, joins_at: step * number, phase: self.phase(publisher.unwrap_or(0)) }
        };
        (0..self.sessions()).map(part).collect()
    }

    /// Publishers of all rooms are spread over the time from frame to frame.
    fn phase(&self, publisher: u32) -> Duration {
        let publishers = self.rooms * self.publishers;
        self.profile.interval().unwrap_or_default() * publisher / publishers.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        profile: Profile::Audio,
        rooms: 2,
        publishers: 2,
        subscribers: 3,
        duration: Duration::from_secs(1),
        ramp: Duration::from_secs(1),
    };

    #[test]
    fn everyone_has_a_room_and_a_time() {
        let parts = PLAN.parts();
        assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_eq!(parts.iter().map(|part| part.room).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
        let publishers: Vec<_> = parts.iter().filter_map(|part| Some((part.number, part.publisher?))).collect();
        assert_eq!(publishers, [(3, 0), (4, 1), (8, 2), (9, 3)]);
        let times: Vec<_> = parts.iter().map(|part| part.joins_at.as_millis()).collect();
        assert_eq!(times, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
        let phases: Vec<_> = [3, 4, 8, 9].map(|number: usize| parts[number].phase.as_millis()).into();
        assert_eq!(phases, [0, 5, 10, 15]);
    }

    #[test]
    fn publishers_of_a_meeting_hear_each_other() {
        for (profile, receivers) in
            [(Profile::Audio, 3), (Profile::Video, 3), (Profile::Meeting, 4), (Profile::Chat, 4)]
        {
            assert_eq!(Plan { profile, ..PLAN }.receivers(), receivers, "{profile:?}");
        }
    }

    #[test]
    fn a_run_is_bounded() {
        assert_eq!(PLAN.check(), Ok(()));
        for (plan, error) in [
            (Plan { rooms: 0, ..PLAN }, PlanError::Empty),
            (Plan { publishers: 0, subscribers: 0, ..PLAN }, PlanError::Empty),
            (Plan { rooms: u32::MAX, subscribers: u32::MAX, publishers: 0, ..PLAN }, {
                PlanError::Sessions(u64::from(u32::MAX) * u64::from(u32::MAX))
            }),
            (Plan { rooms: 1, subscribers: LOAD_SESSIONS_MAX, ..PLAN }, {
                PlanError::Sessions(u64::from(LOAD_SESSIONS_MAX) + 2)
            }),
            (Plan { duration: LOAD_DURATION_MAX, ..PLAN }, PlanError::Time),
            (Plan { duration: Duration::MAX, ..PLAN }, PlanError::Time),
            (Plan { duration: Duration::ZERO, ..PLAN }, PlanError::NoTime),
        ] {
            assert_eq!(plan.check(), Err(error));
        }
    }
}
