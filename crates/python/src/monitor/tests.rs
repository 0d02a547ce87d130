//! The monitor over a backend that plays scripts, in paused time.
