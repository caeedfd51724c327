use core::net::IpAddr;

use thiserror::Error;
use url::{Host, Url};

/// Why a page does not get a session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OriginError {
    /// The page is of another site.
    #[error("pages of {0} may not connect here; the relay allows more of them with --origin")]
    Foreign(String),
    /// It is not the origin of a page: `null`, several, or nonsense.
    #[error("the Origin header does not name one page's origin")]
    Malformed,
}

/// A setting is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("--origin {0} is not an origin, like https://app.example or *")]
pub struct InvalidOrigin(String);

/// Which pages may connect: browsers say of which site a page is in `Origin` (RFC 6454), and scripts cannot change it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    any: bool,
    listed: Vec<String>,
}

impl OriginPolicy {
    /// Allows these besides pages of the relay's own host and of the visitor's own machine. `*` is every page.
    ///
    /// # Errors
    /// One of them is no origin.
    pub fn new(origins: &[String]) -> Result<Self, InvalidOrigin> {
        let (any, listed): (Vec<_>, Vec<_>) = origins.iter().partition(|origin| *origin == "*");
        let parsed = |origin: &&String| page_host(origin).is_some() && !origin.contains('*');
        if let Some(wrong) = listed.iter().find(|origin| !parsed(origin)) {
            return Err(InvalidOrigin((*wrong).clone()));
        }
        Ok(Self {
            any: !any.is_empty(),
            listed: listed.into_iter().map(|origin| origin.to_ascii_lowercase()).collect(),
        })
    }

    /// Judges the `Origin` of a request that was sent to `host` (with or without a port). Programs send none and may
    /// connect: an origin protects those who use a browser.
    ///
    /// # Errors
    /// [`OriginError`].
    pub fn allows(&self, origin: Option<&str>, host: &str) -> Result<(), OriginError> {
        let Some(origin) = origin else {
            return Ok(());
        };
        let page = page_host(origin).ok_or(OriginError::Malformed)?;
        // A page on port 8000 connects to port 4433.
        let same_host = parse_host(host).is_some_and(|host| host == page);
        let listed = self.any || self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin));
        if same_host || listed || is_own_machine(&page) { Ok(()) } else { Err(OriginError::Foreign(origin.to_owned())) }
    }
}

/// The host of an origin in the form in which browsers write one: `https://host` or `https://host:port`.
fn page_host(origin: &str) -> Option<Host> {
    let url = Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let written = url.origin().ascii_serialization();
    written.eq_ignore_ascii_case(origin).then(|| url.host().map(|host| host.to_owned()))?
}

/// The host that a `Host` header or an `:authority` names, without its port.
pub(super) fn parse_host(authority: &str) -> Option<Host> {
    // What follows a host in a URL, or stands before it, has no place here.
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', '\\']) || authority.contains(char::is_whitespace)
    {
        return None;
    }
    let url = Url::parse(&format!("https://{authority}")).ok()?;
    match url.host()? {
        // The root of all names may be written or left out.
        Host::Domain(name) => Some(Host::Domain(name.strip_suffix('.').unwrap_or(name).to_owned())),
        host => Some(host.to_owned()),
    }
}

/// Whether it is a name of the machine on which the browser runs.
pub(super) fn is_own_machine(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => IpAddr::from(*address).to_canonical().is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(origins: &[&str]) -> OriginPolicy {
        OriginPolicy::new(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn pages_of_the_same_host_and_of_this_machine_may_connect() {
        let policy = policy(&[]);
        for (origin, host) in [
            ("https://relay.example", "relay.example"),
            ("https://relay.example", "relay.example:4433"),
            ("http://relay.example:8000", "Relay.Example:4433"),
            ("https://relay.example", "relay.example."),
            ("http://192.0.2.1:8000", "192.0.2.1:4433"),
            ("https://[2001:db8::1]", "[2001:db8::1]:4433"),
            ("http://localhost:3000", "relay.example"),
            ("http://app.localhost", "relay.example"),
            ("http://127.9.9.9:1", "relay.example"),
            ("http://[::1]:8000", "relay.example"),
        ] {
            assert_eq!(policy.allows(Some(origin), host), Ok(()), "{origin} at {host}");
        }
        assert_eq!(policy.allows(None, "relay.example"), Ok(()), "a program");
    }

    #[test]
    fn other_pages_may_not_connect() {
        let policy = policy(&["https://app.example"]);
        for origin in [
            "https://evil.example",
            "https://relay.example.evil.example",
            "https://evilrelay.example",
            "https://sub.relay.example",
            "http://app.example",
            "https://app.example:8443",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
        ] {
            let foreign = Err(OriginError::Foreign(origin.to_owned()));
            assert_eq!(policy.allows(Some(origin), "relay.example"), foreign, "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_even_where_every_page_may_connect() {
        for origin in [
            "",
            "null",
            "relay.example",
            "https://",
            "https://relay.example/",
            "https://relay.example/path",
            "https://user@relay.example",
            "https://relay.example https://evil.example",
            "https://relay.example, https://evil.example",
            "file://",
            "javascript:alert(1)",
            "https://relay.example\u{0}",
        ] {
            for policy in [policy(&[]), policy(&["*"])] {
                assert_eq!(policy.allows(Some(origin), "relay.example"), Err(OriginError::Malformed), "{origin}");
            }
        }
    }

    #[test]
    fn listed_pages_may_connect() {
        let listed = policy(&["https://app.example", "http://other.example:81"]);
        for origin in ["https://app.example", "https://APP.example", "http://other.example:81"] {
            assert_eq!(listed.allows(Some(origin), "relay.example"), Ok(()), "{origin}");
        }
        assert_eq!(policy(&["*"]).allows(Some("https://any.example"), "relay.example"), Ok(()));
    }

    #[test]
    fn a_setting_that_is_no_origin_is_named() {
        for wrong in ["app.example", "https://app.example/", "null", "https://*.example", ""] {
            let error = OriginPolicy::new(&[wrong.to_owned()]).unwrap_err();
            assert_eq!(error, InvalidOrigin(wrong.to_owned()));
        }
    }

    #[test]
    fn hosts_are_read_with_and_without_ports() {
        for (authority, host) in [
            ("relay.example", Some("relay.example")),
            ("RELAY.example:4433", Some("relay.example")),
            ("relay.example.", Some("relay.example")),
            ("[::1]:80", Some("[::1]")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("", None),
            ("a/b", None),
            ("user@relay.example", None),
            ("relay.example:99999", None),
            ("a b", None),
        ] {
            assert_eq!(parse_host(authority).map(|host| host.to_string()).as_deref(), host, "{authority}");
        }
    }
}
