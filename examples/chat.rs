//! Chat in a terminal: each line goes to the room, and what others say is printed.
//!
//! ```text
//! cargo run                                                 # the relay, in another terminal
//! cargo run --example chat -- --name Ana
//! cargo run --example chat -- --name Ben --url ws://localhost:8000/r/lobby
//! ```

#[path = "support/relay.rs"]
mod relay;

use std::thread;

use anyhow::Result;
use clap::Parser;
use tertulia::client::{Chat, ChatError, Event, Options, Room};
use tertulia::wire::ChatPosition;
use tokio::sync::mpsc;

use relay::Relay;

#[derive(Debug, Parser)]
#[command(about = "Chat in a terminal")]
struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// What the others see
    #[arg(long, default_value = "guest")]
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let options = Options {
        auto_subscribe: false,
        history: Some(ChatPosition::START),
        ..arguments.relay.options(&arguments.name).await?
    };
    let room = Room::connect(arguments.relay.url(), options).await?;
    println!("* joined by {} as participant {}; end with Ctrl-D", room.carrier(), room.participant());
    for other in room.remote_participants() {
        println!("* {} is here", other.name);
    }
    tokio::select! {
        said = say_lines(room.chat()) => said?,
        () = show_events(&room) => return Ok(()),
    }
    room.disconnect().await;
    Ok(())
}

/// Says each line of the terminal, until it ends.
async fn say_lines(chat: Chat) -> Result<()> {
    let mut lines = lines_of_stdin();
    while let Some(line) = lines.recv().await {
        match chat.send(line).await {
            Ok(_) => {}
            Err(error @ ChatError::Closed { .. }) => return Err(error.into()),
            Err(error) => println!("* {error}"),
        }
    }
    Ok(())
}

/// Prints what happens, also while a line waits for a connection.
async fn show_events(room: &Room) {
    while let Some(event) = room.next_event().await {
        show(room, event);
    }
}

fn show(room: &Room, event: Event) {
    match event {
        Event::ChatMessage(message) => println!("{}: {}", message.from_name, message.body),
        Event::ParticipantJoined(info) => println!("* {} joined", info.name),
        Event::ParticipantLeft { participant, reason } => println!("* participant {participant} left: {reason}"),
        Event::RoomLocked { locked } => println!("* the room is {} now", if locked { "locked" } else { "open" }),
        Event::Reconnecting { reason, attempt: 1 } => println!("* {reason}; reconnecting..."),
        Event::Reconnected { carrier, .. } => println!("* connected again by {carrier}"),
        Event::ChatGap { from, through } => println!("* messages {from} to {through} are not kept any more"),
        Event::ChatCaughtUp { .. } if !room.remote_participants().is_empty() => println!("* that was the history"),
        Event::Closed { message, .. } => println!("* the session ended: {message}"),
        _ => {}
    }
}

/// A terminal can only be read by a thread that waits for it; the thread ends with the program.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
