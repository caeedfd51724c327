//! A program that hosts a relay, logs what happens in it, and refuses a word.
//!
//! ```sh
//! cargo run --example embed
//! ```
//!
//! Then open <http://localhost:8000/>, join, and say something.

use tertulia::config::Config;
use tertulia::relay::{Callbacks, Relay, Subject, Verdict};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let callbacks = Callbacks::default()
        .on_open(|opened| {
            println!("open     {}: {}", opened.room, describe(&opened.subject));
            Verdict::Accept
        })
        .on_message(|said| {
            println!("message  {}: {} says {:?}", said.room, said.from_name, said.body);
            if said.body.contains("spam") { Verdict::Refuse } else { Verdict::Accept }
        })
        .on_close(|closed| println!("close    {}: {}", closed.room, describe(&closed.subject)))
        .on_error(|failed| println!("error    {}: {}", failed.remote, failed.reason));

    let relay = Relay::start_with(Config::default(), callbacks)?;
    if let Some(address) = relay.http_address() {
        println!("open http://localhost:{}/ and press Ctrl-C here to stop", address.port());
    }
    tokio::signal::ctrl_c().await?;
    relay.stop().await;
    Ok(())
}

fn describe(subject: &Subject) -> String {
    match subject {
        Subject::Room => "the room".into(),
        Subject::Participant { name, carrier, remote, .. } => format!("{name} over {carrier} from {remote}"),
    }
}
