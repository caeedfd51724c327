use std::net::SocketAddr;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::task::spawn_blocking;
use url::form_urlencoded;

use super::Site;
use super::guard::{check_origin, text};
use super::routes::{Remote, is_forwarded};
use crate::transport::{addresses_for_others, hex, is_name_of_own_machine};
use crate::wire::VERSION;

/// What a page needs to know to connect, as `/relay.json` tells it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    name: &'static str,
    version: &'static str,
    protocol: u16,
    webtransport: u16,
    certificate_sha256: Option<String>,
    origin_allowed: bool,
    addresses: Option<Vec<String>>,
}

/// Says what the relay is and where.
pub(super) async fn describe(
    State(site): State<Site>,
    Extension(Remote(remote)): Extension<Remote>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let is_told = remote.ip().to_canonical().is_loopback() && is_asked_at_home(&headers);
    let addresses = if is_told { Some(looked_up(site.address).await) } else { None };
    let description = Description {
        name: "tertulia",
        version: env!("CARGO_PKG_VERSION"),
        protocol: VERSION,
        webtransport: site.address.port(),
        certificate_sha256: site.certificates.sha256().map(|sha256| hex(&sha256)),
        origin_allowed: may_connect(&site, &uri, &headers),
        addresses: addresses.map(|all| all.iter().map(|address| format!("https://{address}/")).collect()),
    };
    let body = serde_json::to_string(&description).expect("it holds nothing that JSON cannot say") + "\n";
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::VARY, "Origin"),
        // It is not the same for everyone.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

/// Where others find the relay. The system is asked about all its networks: media does not wait for that.
async fn looked_up(listen: SocketAddr) -> Vec<SocketAddr> {
    spawn_blocking(move || addresses_for_others(listen)).await.unwrap_or_default()
}

/// Whether the page that asks may have a session. Browsers leave `Origin` out where a page asks its own origin, and a proxy may be
/// in between that asks the relay by another name: then the page says where it is from in `?origin=`.
fn may_connect(site: &Site, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut queried = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    match queried.find(|(name, _)| name == "origin") {
        Some((_, origin)) if !headers.contains_key(header::ORIGIN) => {
            let host = headers.get(header::HOST).map_or("", text);
            site.gate.allows_origin(Some(&origin), host).is_ok()
        }
        _ => check_origin(site, headers).is_ok(),
    }
}

/// Whether the relay's own page asks, opened on the relay's machine. Pages of other sites can be open there too, and read the
/// answer; browsers add their `Origin`. They are not to learn the addresses of the networks that their visitor is in.
fn is_asked_at_home(headers: &HeaderMap) -> bool {
    let goes_home = headers.get(header::HOST).is_some_and(|host| is_name_of_own_machine(text(host)));
    goes_home && !is_forwarded(headers) && !headers.contains_key(header::ORIGIN)
}
