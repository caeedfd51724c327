use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use tertulia::auth::{Grant, SecretKey, Sources};
use tertulia::now::Now;
use tertulia::relay::KeyFile;
use tertulia::wire::{DisplayName, Identity, RoomName};

/// Where the secret may be instead of in a file. Arguments can be read by everyone on the machine, this cannot.
const SECRET_VARIABLE: &str = "TERTULIA_SECRET";

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
    /// The TOML file with the secrets that the relay runs with
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Which of the secrets to sign with; needed if there are several
    #[arg(long, value_name = "NAME")]
    api_key: Option<String>,
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
        let key = self.secret()?;
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

    fn secret(&self) -> anyhow::Result<SecretKey> {
        match (&self.keys, &self.api_key) {
            (Some(path), api_key) => choose(path, KeyFile::read(path)?.secrets, api_key.as_deref()),
            (None, Some(api_key)) => {
                let secret = env::var(SECRET_VARIABLE)
                    .map_err(|_| anyhow!("give --keys FILE, or put the secret into {SECRET_VARIABLE}"))?;
                Ok(SecretKey::new(api_key, &secret)?)
            }
            (None, None) => bail!("give --keys FILE; `tertulia token --help` says how to make one"),
        }
    }
}

fn choose(path: &Path, secrets: Vec<SecretKey>, api_key: Option<&str>) -> anyhow::Result<SecretKey> {
    let path = path.display();
    let names = secrets.iter().map(SecretKey::api_key).collect::<Vec<_>>().join(", ");
    let mut chosen = secrets.into_iter().filter(|key| api_key.is_none_or(|name| key.api_key() == name));
    match (chosen.next(), chosen.next(), api_key) {
        (Some(key), None, _) => Ok(key),
        (Some(_), Some(_), _) => bail!("{path} has several secrets; choose one with --api-key: {names}"),
        (None, _, Some(name)) if !names.is_empty() => bail!("{path} has no secret for {name:?}; it has: {names}"),
        (None, _, _) => bail!("{path} has no secret; `tertulia token --help` says how to make one"),
    }
}

fn parse_valid_for(text: &str) -> Result<Duration, &'static str> {
    let seconds = [("s", 1), ("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)].into_iter().find_map(|(unit, seconds)| {
        let digits = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<u64>().ok()?.checked_mul(seconds)
    });
    match seconds {
        Some(seconds @ 1..=VALID_FOR_S_MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err("it is a number with s, m, h or d, like 90s or 6h, and at most 3650d"),
    }
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
