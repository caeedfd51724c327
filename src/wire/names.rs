use std::fmt;

use bincode::{Decode, Encode};
use thiserror::Error;

use crate::limits::{DISPLAY_NAME_BYTES_MAX, IDENTITY_BYTES_MAX, ROOM_NAME_BYTES_MAX};

/// A participant's number in its room: given by the relay, never reused while the room lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ParticipantId(pub u32);

/// A track's number in its room: given by the relay, never reused while the room lives. `0` is no track: see [`TrackId::ECHO`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct TrackId(pub u32);

impl TrackId {
    /// A datagram for this track comes back to its sender unchanged: that is how a client learns that datagrams pass.
    pub const ECHO: Self = Self(0);
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// It is longer than allowed.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// The bound, in bytes of UTF-8.
        max: usize,
    },
    /// It holds something that such a name cannot hold.
    #[error("it contains {0:?}, which is not allowed there")]
    Forbidden(char),
}

/// The name of a room: 1 to 128 of `A`-`Z`, `a`-`z`, `0`-`9`, `_` and `-`, so that it is the same in a URL, a token, a
/// metric and a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(String);

impl RoomName {
    /// The room of those who name none.
    pub const LOBBY: &str = "lobby";

    /// Checks a name that a remote gave.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        check_plain(name, ROOM_NAME_BYTES_MAX)?;
        Ok(Self(name.to_owned()))
    }

    /// The room that a URL path names: `/`, `/ws` and the empty path are the lobby, `/standup` and `/r/standup` are `standup`.
    ///
    /// # Errors
    /// [`NameError`] if the last segment is no room name.
    pub fn from_path(path: &str) -> Result<Self, NameError> {
        let path = path.strip_prefix("/r/").unwrap_or(path);
        match path.trim_matches('/') {
            "" | "ws" => Self::parse(Self::LOBBY),
            name => Self::parse(name),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who somebody is, as a token says it (`sub`): 1 to 128 of the same characters as in a [`RoomName`]. Two sessions with one
/// identity are the same person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

impl Identity {
    /// Checks an identity that a remote gave.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn parse(identity: &str) -> Result<Self, NameError> {
        check_plain(identity, IDENTITY_BYTES_MAX)?;
        Ok(Self(identity.to_owned()))
    }

    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What people see: free text of 1 to 128 bytes without control characters and without the marks that turn the direction
/// of text or hide in it (Unicode Technical Report 36, section 2.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// Checks a name that a remote gave; white space around it is taken off.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let name = name.trim();
        check_length(name, DISPLAY_NAME_BYTES_MAX)?;
        match name.chars().find(|c| c.is_control() || is_invisible(*c)) {
            Some(c) => Err(NameError::Forbidden(c)),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_plain(name: &str, max: usize) -> Result<(), NameError> {
    check_length(name, max)?;
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.chars().find(|c| !allowed(c)).map_or(Ok(()), |c| Err(NameError::Forbidden(c)))
}

fn check_length(name: &str, max: usize) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        length if length > max => Err(NameError::TooLong { max }),
        _ => Ok(()),
    }
}

/// Characters without a shape of their own that change how the text around them looks. The zero-width joiners are not
/// among them: emoji and several scripts need them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names_and_identities() {
        for good in ["lobby", "a", "Stand-up_2026", &"x".repeat(128)] {
            assert_eq!(RoomName::parse(good).unwrap().as_str(), good);
            assert_eq!(Identity::parse(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", NameError::Empty),
            (&*"x".repeat(129), NameError::TooLong { max: 128 }),
            ("a b", NameError::Forbidden(' ')),
            ("../etc", NameError::Forbidden('.')),
            ("a:b", NameError::Forbidden(':')),
            ("caf\u{e9}", NameError::Forbidden('\u{e9}')),
            ("a\0", NameError::Forbidden('\0')),
        ] {
            assert_eq!(RoomName::parse(bad), Err(why), "{bad:?}");
            assert_eq!(Identity::parse(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn paths_name_rooms() {
        for (path, room) in [
            ("", "lobby"),
            ("/", "lobby"),
            ("/ws", "lobby"),
            ("/team", "team"),
            ("/r/team", "team"),
            ("/r/team/", "team"),
        ] {
            assert_eq!(RoomName::from_path(path).unwrap().as_str(), room, "{path}");
        }
        assert!(RoomName::from_path("/a/b").is_err());
        assert!(RoomName::from_path("/%2e%2e").is_err());
    }

    #[test]
    fn display_names() {
        for (given, shown) in [
            ("Ana", "Ana"),
            ("  Jos\u{e9} Luis ", "Jos\u{e9} Luis"),
            ("\u{1f469}\u{200d}\u{1f4bb}", "\u{1f469}\u{200d}\u{1f4bb}"),
        ] {
            assert_eq!(DisplayName::parse(given).unwrap().as_str(), shown);
        }
        for (bad, why) in [
            ("   ", NameError::Empty),
            ("a\nb", NameError::Forbidden('\n')),
            ("a\u{202e}b", NameError::Forbidden('\u{202e}')),
            ("a\u{200b}b", NameError::Forbidden('\u{200b}')),
            (&*"\u{e9}".repeat(65), NameError::TooLong { max: 128 }),
        ] {
            assert_eq!(DisplayName::parse(bad), Err(why), "{bad:?}");
        }
    }
}
