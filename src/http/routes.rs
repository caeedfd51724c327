use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection::{self, InvalidWebSocketVersionHeader};
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{mpsc, oneshot};

use super::description::describe;
use super::guard::{RequestError, check_origin, guard};
use super::page;
use crate::limits::{
    MESSAGE_BYTES_MAX, WEBSOCKET_READ_BUFFER_BYTES, WEBSOCKET_WRITE_BUFFER_BYTES, WEBSOCKET_WRITE_BUFFER_BYTES_MAX,
};
use crate::relay::Metrics;
use crate::transport::{Arrival, BearerToken, CertificateStore, Gate, PlainEntry, WebSocketKind, hex};
use crate::wire::{RoomName, SUBPROTOCOL};

/// What the HTTP side serves from, shared by all its connections.
#[derive(Debug, Clone)]
pub struct Site {
    pub(super) metrics: Arc<Metrics>,
    pub(super) gate: Arc<Gate>,
    pub(super) certificates: Arc<CertificateStore>,
    pub(super) address: SocketAddr,
    doors: Doors,
}

/// The ways from the HTTP side to the relay's thread.
#[derive(Debug, Clone)]
pub struct Doors {
    /// For upgraded WebSockets.
    pub arrivals: mpsc::Sender<Arrival>,
    /// For those who want to know how sessions do.
    pub questions: mpsc::Sender<SessionQuestion>,
}

/// Somebody wants to know how sessions do.
#[derive(Debug)]
pub struct SessionQuestion {
    /// Of which room; `None`: of all.
    pub room: Option<RoomName>,
    /// Takes the answer, in JSON.
    pub answer: oneshot::Sender<String>,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote(pub SocketAddr);

impl Site {
    /// A site that hands upgraded WebSockets and questions to `doors` and says that WebTransport is served at `address`.
    pub fn new(
        metrics: Arc<Metrics>,
        gate: Arc<Gate>,
        certificates: Arc<CertificateStore>,
        address: SocketAddr,
        doors: Doors,
    ) -> Self {
        Self { metrics, gate, certificates, address, doors }
    }

    /// What is served to everyone.
    pub(super) fn public(self) -> Router {
        self.guarded(Router::new())
    }

    /// What is served to this machine: metrics and how sessions do as well, if no proxy asks for somebody else.
    pub(super) fn local(self) -> Router {
        let told = Router::new().route("/metrics", get(metrics)).route("/sessions.json", get(sessions));
        self.guarded(told.route_layer(from_fn(refuse_forwarded)))
    }

    /// What is told to those who run the relay, and nothing else.
    pub(super) fn admin(self) -> Router {
        let told = Router::new().route("/metrics", get(metrics)).route("/sessions.json", get(sessions));
        told.layer(from_fn_with_state(self.clone(), guard)).with_state(self)
    }

    fn guarded(self, routes: Router<Self>) -> Router {
        routes
            .route("/health", get(|| async { "ok\n" }))
            .route("/certificate.sha256", get(certificate))
            .route("/relay.json", get(describe))
            .fallback(page_or_websocket)
            .layer(from_fn_with_state(self.clone(), guard))
            .with_state(self)
    }
}

/// A proxy on this machine may pass requests on from anywhere.
async fn refuse_forwarded(request: Request, next: Next) -> Response {
    if is_forwarded(request.headers()) {
        let advice = "this is told to the relay's own machine alone, or at --admin\n";
        return (StatusCode::NOT_FOUND, advice).into_response();
    }
    next.run(request).await
}

/// Whether a proxy says that it asks for somebody else.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    let names = [header::FORWARDED, header::VIA, HeaderName::from_static("x-forwarded-for")];
    names.iter().any(|name| headers.contains_key(name))
}

async fn metrics(State(site): State<Site>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], site.metrics.text()).into_response()
}

/// How sessions do: of all rooms, or with `?room=<name>` of one.
async fn sessions(State(site): State<Site>, uri: Uri) -> Response {
    let room = match uri.query().map(|query| query.strip_prefix("room=").map(RoomName::parse)) {
        None => None,
        Some(Some(Ok(room))) => Some(room),
        Some(_) => {
            return (StatusCode::BAD_REQUEST, "ask for ?room=<name of a room>, or for nothing\n").into_response();
        }
    };
    let (answer, answered) = oneshot::channel();
    // The relay is stopping if nobody takes the question or answers it.
    let _ = site.doors.questions.send(SessionQuestion { room, answer }).await;
    match answered.await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn certificate(State(site): State<Site>) -> Response {
    match site.certificates.sha256() {
        Some(sha256) => ([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], hex(&sha256) + "\n").into_response(),
        None => {
            (StatusCode::NOT_FOUND, "this relay's certificate is taken by its name, not by its hash\n").into_response()
        }
    }
}

/// Every other path: an upgrade becomes a session, a request gets the page or a file.
async fn page_or_websocket(
    State(site): State<Site>,
    Extension(Remote(remote)): Extension<Remote>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => {
            let metrics = site.metrics.clone();
            let accepted = accept_websocket(site, remote, &uri, &headers, upgrade);
            accepted.unwrap_or_else(|error| error.respond(&metrics))
        }
        Err(InvalidWebSocketVersionHeader(_)) => RequestError::WebSocketVersion.respond(&site.metrics),
        Err(rejection) if headers.contains_key(header::UPGRADE) => rejection.into_response(),
        Err(_) if method != Method::GET && method != Method::HEAD => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        Err(_) => match uri.path() {
            "/" => page::index(&headers),
            // Browsers ask for it unasked.
            "/favicon.ico" => page::file("icon.svg", &headers),
            path if path.strip_prefix("/r/").is_some_and(|room| RoomName::parse(room).is_ok()) => page::index(&headers),
            path => page::file(path.trim_start_matches('/'), &headers),
        },
    }
}

fn accept_websocket(
    site: Site,
    remote: SocketAddr,
    uri: &Uri,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, RequestError> {
    if !headers.get(header::SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        return Err(RequestError::Key);
    }
    check_origin(&site, headers)?;
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(WEBSOCKET_READ_BUFFER_BYTES)
        .write_buffer_size(WEBSOCKET_WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WEBSOCKET_WRITE_BUFFER_BYTES + WEBSOCKET_WRITE_BUFFER_BYTES_MAX)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX);
    let kind = if upgrade.selected_protocol().is_some() {
        WebSocketKind::Meeting
    } else {
        WebSocketKind::Plain(PlainEntry { room: RoomName::from_path(uri.path())?, token: bearer_token(headers) })
    };
    let place = site.gate.enter(remote.ip())?;
    Ok(upgrade.on_upgrade(move |socket: WebSocket| async move {
        // The relay is stopping if nobody takes it; dropping the socket closes it.
        let _ = site.doors.arrivals.send(Arrival { socket, remote, kind, place }).await;
    }))
}

/// The token of an `Authorization: Bearer` header. Another scheme, or several headers, is no token.
fn bearer_token(headers: &HeaderMap) -> Option<BearerToken> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| BearerToken(token.trim().to_owned()))
}

/// Whether it is 16 bytes in Base64 (RFC 6455, section 4.1): 22 digits and the padding.
fn is_key(key: &HeaderValue) -> bool {
    let digits = key.as_bytes().strip_suffix(b"==");
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || [b'+', b'/'].contains(byte);
    digits.is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}
