use thiserror::Error;
use url::Host;

use super::origin::{is_own_machine, parse_host};

/// The request names a host that the relay does not know as its own.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this relay is not known as {0}; start it with --host NAME if it is")]
pub struct HostError(String);

/// Under which names the relay is reached. Another name means that a page had its own name point here (DNS rebinding), so
/// that the browser takes the relay for a part of its site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPolicy {
    listed: Vec<String>,
}

impl HostPolicy {
    /// Allows these besides addresses, `localhost` and the names in the certificate. `*.example.org` is every name of one
    /// label more, `*` every name.
    pub fn new(hosts: &[String]) -> Self {
        Self { listed: hosts.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    /// Judges the host (with or without a port) that a request names, with the names that the certificate is for.
    ///
    /// # Errors
    /// [`HostError`], also for what is no host.
    pub fn allows(&self, host: &str, certificate: &[String]) -> Result<(), HostError> {
        let known = parse_host(host).is_some_and(|host| match &host {
            // No page has an address as its own name.
            Host::Ipv4(_) | Host::Ipv6(_) => true,
            Host::Domain(name) => {
                is_own_machine(&host) || self.listed.iter().chain(certificate).any(|pattern| matches(pattern, name))
            }
        });
        if known { Ok(()) } else { Err(HostError(host.to_owned())) }
    }
}

/// Whether a request names, as the host that it goes to (with or without a port), the machine on which its sender runs.
pub fn is_name_of_own_machine(host: &str) -> bool {
    parse_host(host).as_ref().is_some_and(is_own_machine)
}

/// As names in certificates are compared (RFC 6125, section 6.4.3).
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(parent) => name.find('.').is_some_and(|dot| dot > 0 && name[dot..].eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(listed: &[&str], host: &str) -> bool {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let certificate = names(&["relay.example", "*.meet.example"]);
        HostPolicy::new(&names(listed)).allows(host, &certificate).is_ok()
    }

    #[test]
    fn addresses_this_machine_and_the_certificates_names_are_known() {
        for host in [
            "127.0.0.1:8000",
            "192.0.2.7",
            "[::1]:4433",
            "[2001:db8::1]",
            "localhost:8000",
            "app.localhost",
            "relay.example",
            "RELAY.EXAMPLE:4433",
            "relay.example.",
            "a.meet.example",
        ] {
            assert!(allows(&[], host), "{host}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for host in ["evil.example", "x.relay.example", "meet.example", "a.b.meet.example", "", "a b", "localhost.evil"]
        {
            assert!(!allows(&[], host), "{host}");
        }
    }

    #[test]
    fn listed_names_are() {
        assert!(allows(&["Other.example"], "other.example:80"));
        assert!(allows(&["*.other.example"], "a.other.example"));
        assert!(!allows(&["*.other.example"], "other.example"));
        assert!(allows(&["*"], "any.example"));
        assert!(!allows(&["*"], "no host"));
    }
}
