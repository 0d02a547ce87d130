//! The time, as precisely as it is kept.

/// The time now, in whole microseconds: what is answered at once and what is read from a record later are the same.
pub fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
