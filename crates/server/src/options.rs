//! How the door works.

use std::{fmt, net::IpAddr, time::Duration};

use aevatar_sandbox_contract::Retention;
use sha2::{Digest as _, Sha256, digest::Output};

/// A key that a client shows. Only its digest is kept, so that no message, log or core dump can tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Output<Sha256>);

impl ApiKey {
    /// The key `secret`.
    pub fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret))
    }

    /// Hex SHA-256 of the secret.
    pub fn digest(&self) -> String {
        format!("{:x}", self.0)
    }

    /// Whether it is `other`; takes as long as it takes whichever it is.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(other.0).fold(0, |differences, (one, other)| differences | (one ^ other));
        std::hint::black_box(differences) == 0
    }

    /// Who shows it: the owner of executions. It says nothing of the secret.
    pub(crate) fn owner(&self) -> String {
        let digest = format!("{:x}", Sha256::digest(self.digest()));
        format!("c_{}", digest.get(..16).unwrap_or(&digest))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(***)")
    }
}

/// How the door works.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Keys of which a request must show one, as `Authorization: Bearer KEY` or `X-Api-Key: KEY`. Without keys, whoever
    /// reaches the door may use it.
    pub api_keys: Vec<ApiKey>,
    /// Whether the door may be open to other machines without keys.
    pub allow_unauthenticated: bool,
    /// Names that a request may call this host by, beside `localhost` and addresses; `*` for any. It matters only for
    /// a door without keys on a loopback address: there, a foreign name is a web page that tries to reach it through
    /// its visitor's browser (DNS rebinding).
    pub allowed_hosts: Vec<String>,
    /// Bytes that the body of a request may have.
    pub max_request_bytes: usize,
    /// How long a client may take to send a request.
    pub body_timeout: Duration,
    /// How long running programs may go on after the server was told to stop.
    pub shutdown_grace: Duration,
    /// For how long, and how much, is kept of executions that have ended.
    pub retention: Retention,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            allow_unauthenticated: false,
            allowed_hosts: Vec::new(),
            max_request_bytes: 8 << 20,
            body_timeout: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(10),
            retention: Retention { max_age: Duration::from_hours(24), max_bytes: 1 << 30 },
        }
    }
}

/// The door would be open to anybody.
#[derive(Debug, thiserror::Error)]
#[error("refusing to serve on {address} without authentication: whoever can reach it could run programs here")]
pub struct ExposureError {
    address: IpAddr,
}

impl ServerOptions {
    /// Whether the door may be opened on `address`.
    ///
    /// # Errors
    /// It is no loopback address, there are no keys, and nobody said that this is meant.
    pub fn check_exposure(&self, address: IpAddr) -> Result<(), ExposureError> {
        // `::ffff:127.0.0.1` is a loopback address too.
        if address.to_canonical().is_loopback() || !self.api_keys.is_empty() || self.allow_unauthenticated {
            return Ok(());
        }
        Err(ExposureError { address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_to_the_world_needs_keys_or_a_word() {
        let closed = ServerOptions::default();
        for loopback in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(closed.check_exposure(loopback.parse().unwrap()).is_ok(), "{loopback}");
        }
        for world in ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"] {
            let address = world.parse().unwrap();
            assert!(closed.check_exposure(address).unwrap_err().to_string().contains(world));
            let with_key = ServerOptions { api_keys: vec![ApiKey::new("0123456789abcdef")], ..closed.clone() };
            assert!(with_key.check_exposure(address).is_ok());
            let with_word = ServerOptions { allow_unauthenticated: true, ..closed.clone() };
            assert!(with_word.check_exposure(address).is_ok());
        }
    }

    #[test]
    fn a_key_is_not_told() {
        assert_eq!(format!("{:?}", ApiKey::new("0123456789abcdef")), "ApiKey(***)");
    }
}
