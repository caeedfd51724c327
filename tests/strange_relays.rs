//! What the client makes of a relay, or of a way to it, that is not as it should be.

mod support;

use quinn::{ConnectionError, VarInt};
use support::quic::soon;
use support::stand_in::StandIn;
use tertulia::client::{ConnectError, Event, Options, Room};
use tertulia::wire::{ALPN_QUIC, ALPN_WEBTRANSPORT, ClientMessage, CloseReason, ServerMessage};

/// How HTTP/3 ends a connection for a frame that has no place where it is (RFC 9114, section 8.1).
const H3_FRAME_UNEXPECTED: u32 = 0x105;

/// How a client ended a connection.
fn code(ended: &ConnectionError) -> Option<CloseReason> {
    match ended {
        ConnectionError::ApplicationClosed(close) => CloseReason::from_code(close.error_code.into_inner() as u16),
        _ => None,
    }
}

#[tokio::test]
async fn whoever_gets_a_seat_everywhere_and_media_nowhere_leaves_no_ghost() {
    let relay = StandIn::start(ALPN_QUIC);
    let options = Options { fallbacks: vec![relay.url("quic") + "?again"], ..relay.options("Ana") };
    let url = relay.url("quic");
    let joining = Room::connect(&url, options);
    // The second one takes the seat over, as it does at a relay.
    let seating = async { (relay.seat().await, relay.seat().await) };
    let (joined, (_first, second)) = tokio::join!(joining, seating);
    assert!(matches!(joined, Err(ConnectError::NoDatagrams)), "{joined:?}");
    let ended = soon("the end of the session with the seat", second.connection.closed()).await;
    assert_eq!(code(&ended), Some(CloseReason::Left), "{ended}");
}

#[tokio::test]
async fn whoever_loses_the_seat_to_a_session_that_came_to_nothing_comes_back() {
    let relay = StandIn::start(ALPN_QUIC);
    let url = relay.url("quic");
    let seating = async {
        let mut client = relay.seat().await;
        client.echo();
        client
    };
    let (room, mut first) = tokio::join!(Room::connect(&url, relay.options("Ana")), seating);
    let room = room.unwrap();

    let replacing = async {
        let reason = CloseReason::ConnectionLost;
        relay.accept().await.close(VarInt::from_u32(reason.code().into()), reason.label().as_bytes());
        // Its word that the seat is someone else's is still on its way when the other session ends.
        while !matches!(first.next().await, ClientMessage::Ping { .. }) {}
        let reason = CloseReason::Replaced;
        first.say(&ServerMessage::Closing { reason, message: reason.to_string() }).await;
    };
    let (switched, ()) = tokio::join!(room.switch_to(&url), replacing);
    assert!(switched.is_err());

    let mut again = relay.seat().await;
    again.echo();
    loop {
        match soon("an event", room.next_event()).await {
            Some(Event::Reconnected { resumed, .. }) => return assert!(resumed),
            Some(Event::Closed { reason, message }) => panic!("{reason:?}: {message}"),
            Some(_) => {}
            None => panic!("the room has ended"),
        }
    }
}

#[tokio::test]
async fn what_http3_does_not_understand_is_said_again_and_not_for_ever() {
    let relay = StandIn::start(ALPN_WEBTRANSPORT);
    let url = relay.url("https");
    let refusing = async {
        for refused in 1.. {
            relay.accept().await.close(VarInt::from_u32(H3_FRAME_UNEXPECTED), b"");
            if refused == 3 {
                return;
            }
        }
    };
    let (joined, ()) = tokio::join!(Room::connect(&url, relay.options("Ana")), refusing);
    assert!(matches!(joined, Err(ConnectError::Unreachable { .. })), "{joined:?}");
}
