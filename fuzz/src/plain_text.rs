use tertulia::limits::{DISPLAY_NAME_BYTES_MAX, IDENTITY_BYTES_MAX, ROOM_NAME_BYTES_MAX};
use tertulia::wire::{DisplayName, Identity, RoomName};

/// Text that somebody gave: a path, a name, an identity.
pub fn try_out(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(room) = RoomName::from_path(&text) {
        assert!((1..=ROOM_NAME_BYTES_MAX).contains(&room.as_str().len()));
        assert_eq!(RoomName::parse(room.as_str()), Ok(room));
    }
    if let Ok(identity) = Identity::parse(&text) {
        assert!(identity.as_str() == text && text.len() <= IDENTITY_BYTES_MAX && text.is_ascii());
    }
    if let Ok(name) = DisplayName::parse(&text) {
        assert!((1..=DISPLAY_NAME_BYTES_MAX).contains(&name.as_str().len()));
        assert!(!name.as_str().chars().any(char::is_control));
        assert_eq!(DisplayName::parse(name.as_str()), Ok(name));
    }
}
