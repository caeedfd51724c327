use std::collections::BTreeMap;

/// What a relay counts, as its metrics say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Reads the whole numbers out of a text in the OpenMetrics format.
    pub fn read(text: &str) -> Self {
        let number = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter(|line| line.starts_with("tertulia_")).filter_map(number).collect())
    }

    /// How much more there is than there was.
    pub fn since(&self, before: &Self) -> Self {
        let more = |(name, count): (&String, &u64)| {
            (name.clone(), count.saturating_sub(before.0.get(name).copied().unwrap_or(0)))
        };
        Self(self.0.iter().map(more).collect())
    }

    /// A count without labels.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The counts of one name that are not 0, by their reasons.
    pub fn by_reason(&self, name: &str) -> BTreeMap<String, u64> {
        let prefix = format!("{name}{{reason=\"");
        let reason = |(name, count): (&String, &u64)| {
            let reason = name.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            (*count > 0).then(|| (reason.to_owned(), *count))
        };
        self.0.iter().filter_map(reason).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_relay_counted_meanwhile_is_a_difference() {
        let text = "# HELP tertulia_datagrams_dropped Media datagrams.\n\
             tertulia_datagrams_dropped_total{reason=\"late\"} 7\n\
             tertulia_datagrams_dropped_total{reason=\"over_budget\"} 2\n\
             tertulia_datagrams_dropped_total{reason=\"malformed\"} 0\n\
             tertulia_datagrams_sent_total 40\n\
             tertulia_round_trip_seconds_sum 0.25\n\
             other 3\n# EOF\n";
        let after = Counts::read(text);
        let before =
            Counts::read("tertulia_datagrams_dropped_total{reason=\"late\"} 7\ntertulia_datagrams_sent_total 30\n");
        let meanwhile = after.since(&before);
        assert_eq!(meanwhile.of("tertulia_datagrams_sent_total"), 10);
        assert_eq!(meanwhile.of("tertulia_unknown_total"), 0);
        assert_eq!(
            meanwhile.by_reason("tertulia_datagrams_dropped_total"),
            BTreeMap::from([("over_budget".to_owned(), 2)])
        );
        assert_eq!(after.since(&after).by_reason("tertulia_datagrams_dropped_total"), BTreeMap::new());
    }
}
