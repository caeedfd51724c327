use std::fmt;
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use super::conditions::{Bursts, Conditions, Queue};
use super::network::Direction;

/// What a network does from the start, and what changes when.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    /// Sorted by time.
    pub changes: Vec<(Duration, Change)>,
}

impl Script {
    /// The words of a script.
    pub const GRAMMAR: &str = "\
A line is [at TIME] [up | down] and then any of these; without a direction, both; what follows # is a remark:

  delay 30ms            time on the way, in each direction
  jitter 10ms           up to so much more, by chance; packets keep their order
  loss 2%               so many are lost, each by itself
  burst 5% 3            so many are lost, in bursts of 3 on average
  reorder 1% 5ms        so many come so much later, after those behind them
  duplicate 1%          so many come twice
  change 0.1%           so many have a wrong bit
  rate 500kbit          a bottleneck, in bits a second (kbit, mbit); none: there is none
  queue 200ms           what may wait there: a time, or a size (bytes, kb, mb); more is lost
  mtu 1232              longer UDP payloads are lost; none: there is no such limit
  block                 nothing passes; block udp, block tcp: none of that
  cut                   TCP connections are reset
  pass                  no longer block and cut
  clear                 nothing happens any more

A TCP segment that is lost comes a round trip later, and what is behind it waits. A full queue slows TCP down.";
}

/// A change of a network, in one direction or both.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// `None`: both.
    direction: Option<Direction>,
    edits: Vec<Edit>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Edit {
    Delay(Duration),
    Jitter(Duration),
    Loss(f64),
    Bursts(Bursts),
    Reorder(f64, Duration),
    Duplicate(f64),
    Change(f64),
    Rate(Option<u64>),
    Queue(Queue),
    BytesMax(usize),
    Block { udp: bool, tcp: bool },
    Cut,
    Pass,
    Clear,
}

/// A word that is not understood, or what is missing behind one.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake(String);

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; try a line like: down delay 30ms loss 2% rate 500kbit queue 200ms", self.0)
    }
}

impl std::error::Error for Mistake {}

impl Change {
    /// The conditions of a direction after the change.
    pub fn apply(&self, direction: Direction, mut conditions: Conditions) -> Conditions {
        if self.direction.is_none_or(|only| only == direction) {
            for edit in &self.edits {
                edit.apply(&mut conditions);
            }
        }
        conditions
    }
}

impl Edit {
    fn apply(self, conditions: &mut Conditions) {
        match self {
            Self::Delay(delay) => conditions.delay = delay,
            Self::Jitter(jitter) => conditions.jitter = jitter,
            Self::Loss(share) => conditions.loss = share,
            Self::Bursts(bursts) => conditions.bursts = Some(bursts).filter(|bursts| bursts.share > 0.0),
            Self::Reorder(share, late) => conditions.reorder = (share, late),
            Self::Duplicate(share) => conditions.duplicate = share,
            Self::Change(share) => conditions.change = share,
            Self::Rate(rate) => conditions.rate = rate,
            Self::Queue(queue) => conditions.queue = queue,
            Self::BytesMax(bytes) => conditions.bytes_max = bytes,
            Self::Block { udp, tcp } => {
                conditions.blocks_udp |= udp;
                conditions.blocks_tcp |= tcp;
            }
            Self::Cut => conditions.cuts_tcp = true,
            Self::Pass => (conditions.blocks_udp, conditions.blocks_tcp, conditions.cuts_tcp) = (false, false, false),
            Self::Clear => *conditions = Conditions::default(),
        }
    }
}

impl FromStr for Script {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let mut changes = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (at, line) = match line.strip_prefix("at ").map(str::trim_start) {
                Some(line) => line.split_once(' ').map_or((Some(line), ""), |(at, line)| (Some(at), line)),
                None => (None, line),
            };
            let change = (at.map_or(Ok(Duration::ZERO), time)).and_then(|at| Ok((at, line.parse()?)));
            changes.push(change.map_err(|Mistake(what)| Mistake(format!("line {number}: {what}")))?);
        }
        changes.sort_by_key(|(at, _)| *at);
        Ok(Self { changes })
    }
}

impl FromStr for Change {
    type Err = Mistake;

    fn from_str(line: &str) -> Result<Self, Mistake> {
        let (direction, rest) = match line.trim().split_once(' ') {
            Some(("up", rest)) => (Some(Direction::Up), rest),
            Some(("down", rest)) => (Some(Direction::Down), rest),
            _ => (None, line),
        };
        let mut words = Words(rest.split_whitespace());
        let mut edits = Vec::new();
        while let Some(word) = words.0.next() {
            edits.push(words.edit(word)?);
        }
        if edits.is_empty() {
            return Err(Mistake(format!("\"{line}\" changes nothing")));
        }
        Ok(Self { direction, edits })
    }
}

struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn edit(&mut self, word: &str) -> Result<Edit, Mistake> {
        Ok(match word {
            "delay" => Edit::Delay(self.after(word, time)?),
            "jitter" => Edit::Jitter(self.after(word, time)?),
            "loss" => Edit::Loss(self.after(word, share)?),
            "burst" => {
                let (share, length) = (self.after(word, share)?, self.after(word, count)?);
                Edit::Bursts(Bursts { share, length: length as f64 })
            }
            "reorder" => Edit::Reorder(self.after(word, share)?, self.after(word, time)?),
            "duplicate" => Edit::Duplicate(self.after(word, share)?),
            "change" => Edit::Change(self.after(word, share)?),
            "rate" => {
                Edit::Rate(self.after(word, |rate| if rate == "none" { Ok(None) } else { bits(rate).map(Some) })?)
            }
            "queue" => Edit::Queue(self.after(word, queue)?),
            "mtu" => Edit::BytesMax(self.after(word, |mtu| if mtu == "none" { Ok(usize::MAX) } else { count(mtu) })?),
            "block" => {
                let which = self.0.clone().next().filter(|which| ["udp", "tcp"].contains(which));
                if which.is_some() {
                    self.0.next();
                }
                Edit::Block { udp: which != Some("tcp"), tcp: which != Some("udp") }
            }
            "cut" => Edit::Cut,
            "pass" => Edit::Pass,
            "clear" => Edit::Clear,
            _ => return Err(Mistake(format!("\"{word}\" is not a word of a script"))),
        })
    }

    fn after<V>(&mut self, word: &str, read: impl FnOnce(&'a str) -> Result<V, Mistake>) -> Result<V, Mistake> {
        let value = self.0.next().ok_or_else(|| Mistake(format!("something is missing after \"{word}\"")))?;
        read(value)
    }
}

fn time(text: &str) -> Result<Duration, Mistake> {
    let seconds = unit(text, &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0)]);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| Mistake(format!("\"{text}\" is not a time, like 30ms or 1.5s")))
}

fn share(text: &str) -> Result<f64, Mistake> {
    let share = unit(text, &[("%", 0.01)]).filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| Mistake(format!("\"{text}\" is not a share, like 2%")))
}

fn bits(text: &str) -> Result<u64, Mistake> {
    let bits = unit(text, &[("kbit", 1e3), ("mbit", 1e6), ("bit", 1.0)]).filter(|bits| *bits >= 1.0);
    bits.map(|bits| bits as u64).ok_or_else(|| Mistake(format!("\"{text}\" is not a rate, like 500kbit or 3mbit")))
}

fn queue(text: &str) -> Result<Queue, Mistake> {
    if let Ok(time) = time(text) {
        return Ok(Queue::Time(time));
    }
    let bytes = unit(text, &[("kb", 1e3), ("mb", 1e6), ("bytes", 1.0)]).filter(|bytes| *bytes >= 0.0);
    bytes
        .map(|bytes| Queue::Bytes(bytes as usize))
        .ok_or_else(|| Mistake(format!("\"{text}\" is not a queue, like 200ms or 64kb")))
}

fn count(text: &str) -> Result<usize, Mistake> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| Mistake(format!("\"{text}\" is not a number, like 3")))
}

/// A number with one of these units behind it.
fn unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}
