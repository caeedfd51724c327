use std::io::Write;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Args;
use tertulia::auth::{Grant, Sources};
use tertulia::now::Now;
use tertulia::wire::{DisplayName, Identity, RoomName};

use super::secret::SecretSource;
use super::time::parse_time;

/// The longest time that a token can be valid for, in seconds: ten years.
const VALID_FOR_S_MAX: u64 = 3650 * 24 * 60 * 60;

const HOW_TO_BEGIN: &str = "\
Make a keys file once. It gives a secret to each application that makes tokens, by the application's name:

    (umask 077; printf '[secrets]\\nmy-application = \"%s\"\\n' \"$(openssl rand -base64 32)\" > keys.toml)

Run the relay with it, and nobody comes in without a token:

    tertulia serve --keys keys.toml

Make a token for each participant, and give it to them:

    tertulia token --keys keys.toml --room standup --identity ana --name Ana

An application makes its tokens itself, with the name and the secret, by any of LiveKit's server SDKs.

Without a keys file the secret is taken from the environment variable TERTULIA_SECRET, with its name in --api-key.";

/// Make an access token and print it.
#[derive(Debug, Args)]
#[command(after_long_help = HOW_TO_BEGIN)]
pub struct Token {
    #[command(flatten)]
    secret: SecretSource,
    /// The room that it lets into
    #[arg(long, value_name = "ROOM", value_parser = RoomName::parse)]
    room: RoomName,
    /// Who it is for: 1 to 128 letters, digits, - and _
    #[arg(long, value_name = "IDENTITY", value_parser = Identity::parse)]
    identity: Identity,
    /// What the others see; if it is not given, the participant chooses
    #[arg(long, value_name = "NAME", value_parser = DisplayName::parse)]
    name: Option<DisplayName>,
    /// Let them publish audio and video; this is the default
    #[arg(long, conflicts_with = "no_publish")]
    publish: bool,
    /// Do not let them publish audio and video
    #[arg(long)]
    no_publish: bool,
    /// Do not let them see and hear the others
    #[arg(long)]
    no_subscribe: bool,
    /// Do not let them send chat
    #[arg(long)]
    no_chat: bool,
    /// Do not show them to the others
    #[arg(long)]
    hidden: bool,
    /// Let them moderate: remove participants, mute tracks, lock the room, end the meeting
    #[arg(long)]
    admin: bool,
    /// How long it is valid from now on: 90s, 15m, 6h, 30d
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = parse_valid_for)]
    valid_for: Duration,
}

impl Token {
    /// Prints the token.
    pub fn print(&self) -> anyhow::Result<()> {
        let key = self.secret.read()?.context("give --keys FILE; `tertulia token --help` says how to make one")?;
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970; set it")?;
        let now = Now { since_start: Duration::ZERO, unix_ms: now.as_millis() as u64 };
        let token = key.mint(&self.identity, &self.grant(), now, self.valid_for);
        writeln!(std::io::stdout(), "{token}").context("the token could not be printed")
    }

    fn grant(&self) -> Grant {
        Grant {
            name: self.name.clone(),
            publish: if self.no_publish { Sources::NONE } else { Sources::ALL },
            subscribe: !self.no_subscribe,
            chat: !self.no_chat,
            hidden: self.hidden,
            admin: self.admin,
            ..Grant::everyone(self.room.clone())
        }
    }
}

fn parse_valid_for(text: &str) -> Result<Duration, &'static str> {
    parse_time(text)
        .filter(|time| (1..=VALID_FOR_S_MAX).contains(&time.as_secs()))
        .ok_or("it is a number with s, m, h or d, like 90s or 6h, and at most 3650d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("6h", 21_600), ("30d", 2_592_000), ("3650d", VALID_FOR_S_MAX)]
        {
            assert_eq!(parse_valid_for(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "h", "6", "0s", "6 h", "+6h", "-6h", "1.5h", "6H", "3651d", "99999999999999999999h", "\u{663}h"]
        {
            assert!(parse_valid_for(text).is_err(), "{text}");
        }
    }
}
