use std::time::Duration;

/// Reads a time with a unit, such as 90s, 15m, 6h or 30d.
pub fn parse_time(text: &str) -> Option<Duration> {
    let seconds = [("s", 1), ("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)].into_iter().find_map(|(unit, seconds)| {
        let digits = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<u64>().ok()?.checked_mul(seconds)
    });
    seconds.map(Duration::from_secs)
}
