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
use tertulia::client::{ChatError, Event, Options, Room};
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
    let mut lines = lines_of_stdin();
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => say(&room, &line).await?,
                None => break,
            },
            event = room.next_event() => match event {
                Some(event) => show(&room, event),
                None => return Ok(()),
            },
        }
    }
    room.disconnect().await;
    Ok(())
}

async fn say(room: &Room, line: &str) -> Result<()> {
    match room.chat().send(line).await {
        Ok(_) => Ok(()),
        Err(error @ ChatError::Closed { .. }) => Err(error.into()),
        Err(error) => {
            println!("* {error}");
            Ok(())
        }
    }
}

fn show(room: &Room, event: Event) {
    match event {
        Event::ChatMessage(message) => println!("{}: {}", message.from_name, message.body),
        Event::ParticipantJoined(info) => println!("* {} joined", info.name),
        Event::ParticipantLeft { participant } => println!("* participant {participant} left"),
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
