//! Whole meetings in virtual time, over the pure core: people come, break off, come back, talk, publish and moderate, on a
//! bad network and a bad disk, while the relay is killed now and then. Checkers look after every step.
//!
//! A failure prints its seed. `TERTULIA_SIMULATION_SEED=7` runs that one; `TERTULIA_SIMULATION_HOURS=24` runs longer.

mod behaviour;
mod checks;
mod client;
mod degrading;
mod dice;
mod history;
mod model;
mod outputs;
mod path;
mod relay;
mod sending;
mod world;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

use tertulia::wire::ClientMessage;
use world::{MINUTE, Up, World};

/// What came of a simulation.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    trace: u64,
    steps: u64,
    tally: BTreeMap<&'static str, u64>,
}

fn simulate(seed: u64, minutes: u64) -> Outcome {
    let mut world = World::new(seed);
    world.run_until(minutes * MINUTE);
    world.calm = true;
    // Longer than a removed identity has to stay out.
    world.run_until(world.now_us + 3 * MINUTE);
    world.ask_for_everything();
    world.run_until(world.now_us + 10 * MINUTE);
    world.check_calm();
    let keys: Vec<_> = world.sessions.keys().copied().collect();
    world.gone = true;
    for key in keys {
        world.send_up(key, Up::Control(ClientMessage::Leave));
    }
    world.run_until(world.now_us + MINUTE);
    world.check_empty();
    Outcome { trace: world.trace.0, steps: world.steps, tally: world.tally }
}

/// The same, and the seed if it fails.
fn simulate_loudly(seed: u64, minutes: u64) -> Outcome {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| simulate(seed, minutes)));
    outcome.unwrap_or_else(|problem| {
        let hours = minutes as f64 / 60.0;
        eprintln!("to repeat it: TERTULIA_SIMULATION_SEED={seed} TERTULIA_SIMULATION_HOURS={hours:.4}");
        panic::resume_unwind(problem)
    })
}

fn setting(name: &str) -> Option<f64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} has to be a number, it is {value:?}")))
}

#[test]
fn meetings_go_as_they_should() {
    let minutes = (setting("TERTULIA_SIMULATION_HOURS").unwrap_or(4.0) * 60.0).round() as u64;
    let seeds = match setting("TERTULIA_SIMULATION_SEED") {
        Some(seed) => vec![seed as u64],
        None => (1..=12).collect(),
    };
    // Many meetings find more than one long one.
    let each = minutes.div_ceil(seeds.len() as u64);
    let mut tally = BTreeMap::new();
    let mut steps = 0;
    for seed in &seeds {
        let outcome = simulate_loudly(*seed, each);
        steps += outcome.steps;
        outcome.tally.into_iter().for_each(|(what, count)| *tally.entry(what).or_insert(0) += count);
    }
    println!("{} seeds, {:.1} h, {steps} steps: {tally:?}", seeds.len(), (each * seeds.len() as u64) as f64 / 60.0);
    if seeds.len() == 1 {
        return;
    }
    for what in [
        "joined",
        "resumed",
        "cuts",
        "crashes",
        "kept",
        "chat read",
        "datagrams seen",
        "removed",
        "renditions changed",
        "feedback",
        "pressed",
        "stepped up",
        "keyframes for one who lost something",
        "on stage",
        "pinned",
        "not selected",
        "doubled",
        "fell behind",
        "rooms forgotten",
    ] {
        assert!(tally.get(what).is_some_and(|count| *count > 10), "{what} hardly ever happened: {tally:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_meeting() {
    assert_eq!(simulate_loudly(77, 5), simulate_loudly(77, 5));
    assert_ne!(simulate_loudly(77, 5).trace, simulate_loudly(78, 5).trace);
}
