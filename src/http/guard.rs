use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use thiserror::Error;

use super::Site;
use crate::relay::Metrics;
use crate::transport::{GateError, OriginError, Refusal};
use crate::wire::NameError;

/// Why a request is turned away.
#[derive(Debug, Error)]
pub(super) enum RequestError {
    /// A proxy in front of the relay could understand it in another way than the relay does.
    #[error("{0}")]
    Ambiguous(&'static str),
    /// It asks for a WebSocket with a key that is none.
    #[error("Sec-WebSocket-Key is not 16 bytes in Base64")]
    Key,
    /// It asks for a WebSocket of a version that is not spoken.
    #[error("only version 13 of WebSocket is spoken here")]
    WebSocketVersion,
    /// Its path names no room.
    #[error("the path does not name a room: {0}")]
    Path(#[from] NameError),
    /// The gate is closed to it.
    #[error(transparent)]
    Gate(#[from] GateError),
}

impl RequestError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Ambiguous(_) | Self::Key => StatusCode::BAD_REQUEST,
            Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::Path(_) => StatusCode::NOT_FOUND,
            Self::Gate(error) => match Refusal::from(error) {
                Refusal::Handshakes => StatusCode::TOO_MANY_REQUESTS,
                Refusal::Sessions | Refusal::SessionsOfAddress | Refusal::ConnectionsOfAddress => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                Refusal::Tokens | Refusal::Origin => StatusCode::FORBIDDEN,
                Refusal::Host => StatusCode::MISDIRECTED_REQUEST,
            },
        }
    }

    /// Says what is wrong, and counts whom the gate turned away.
    pub(super) fn respond(&self, metrics: &Metrics) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Gate(error) => metrics.refuse(Refusal::from(error)),
            // Where such a request ends is not certain, so nothing after it is read.
            Self::Ambiguous(_) => _ = headers.insert(header::CONNECTION, HeaderValue::from_static("close")),
            Self::WebSocketVersion => _ = headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            Self::Key | Self::Path(_) => {}
        }
        response
    }
}

/// Looks at every request before anything answers it, and at every answer.
pub(super) async fn guard(State(site): State<Site>, request: Request, next: Next) -> Response {
    let checked = check_shape(&request);
    let mut response = match checked.and_then(|()| check_hosts(&site, request.uri(), request.headers())) {
        Ok(()) => next.run(request).await,
        Err(error) => error.respond(&site.metrics),
    };
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// RFC 9112, sections 3.2 and 6.3. hyper refuses what is wrong in itself, and takes chunks for more than a length.
fn check_shape(request: &Request) -> Result<(), RequestError> {
    let headers = request.headers();
    let hosts = headers.get_all(header::HOST).iter().count();
    let asks = matches!(*request.method(), Method::GET | Method::HEAD);
    let length = headers.get(header::CONTENT_LENGTH);
    let has_body = headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0");
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        Err(RequestError::Ambiguous("a request has one Host header"))
    } else if asks && has_body {
        Err(RequestError::Ambiguous("a request for something has no body"))
    } else {
        Ok(())
    }
}

fn check_hosts(site: &Site, uri: &Uri, headers: &HeaderMap) -> Result<(), RequestError> {
    let named = headers.get(header::HOST).map(text);
    for host in named.into_iter().chain(uri.authority().map(Authority::as_str)) {
        site.gate.allows_host(host)?;
    }
    Ok(())
}

/// Judges the page that wants to connect.
pub(super) fn check_origin(site: &Site, headers: &HeaderMap) -> Result<(), RequestError> {
    let host = headers.get(header::HOST).map_or("", text);
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (origin, None) => Ok(site.gate.allows_origin(origin.map(text), host)?),
        (_, Some(_)) => Err(GateError::from(OriginError::Malformed).into()),
    }
}

/// What is not ASCII is neither a host nor an origin, and neither is nothing.
pub(super) fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}
