//! How to reach PostgreSQL: as a URL, or as programs of .NET write it.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use url::Url;

/// Where a PostgreSQL database is, and who asks. It is shown without the password.
///
/// Either a URL, `postgres://user:password@host:5432/database?sslmode=verify-full`, or keys and values as Npgsql has
/// them: `Host=host;Port=5432;Database=database;Username=user;Password=password;SSL Mode=VerifyFull`.
///
/// ```
/// use aevatar_sandbox_store::ConnectionString;
///
/// let connection: ConnectionString = "Host=db;Database=sandbox;Username=app;Password=secret".parse()?;
/// assert!(!format!("{connection:?}").contains("secret"));
/// # Ok::<(), aevatar_sandbox_store::ConnectionStringError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    url: Url,
    max_connections: Option<u32>,
    timeout: Option<Duration>,
}

/// A connection string makes no sense. It is said where, without values: one of them is the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionStringError {
    /// It is neither of the two forms.
    #[error(
        "the connection string is neither a URL, `postgres://user:password@host/database`, nor of the form \
         `Host=host;Database=database;Username=user;Password=password`"
    )]
    Form,
    /// The URL cannot be read.
    #[error("the connection string is no valid URL: {0}")]
    Url(url::ParseError),
    /// A key that is not known, or that nothing here acts on.
    #[error("`{key}` is not supported in a connection string; these are: {known}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Those that are supported.
        known: String,
    },
    /// A key that is there twice, maybe under two names.
    #[error("`{0}` is in the connection string twice")]
    Twice(String),
    /// A key without which nothing can be reached.
    #[error("the connection string has no `{0}`")]
    Missing(&'static str),
    /// A value that is not what its key asks for.
    #[error("the value of `{key}` in the connection string must be {expected}")]
    Value {
        /// The key.
        key: String,
        /// What is asked for.
        expected: &'static str,
    },
    /// A quotation mark without its counterpart.
    #[error("the value of `{0}` in the connection string has a quotation mark that is not closed, or text after it")]
    Quote(String),
}

/// Parameters of the URL that have an effect.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// What a key of Npgsql's says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// The same as this parameter of the URL.
    Parameter(&'static str),
    Port,
    SslMode,
    MaxConnections,
    Timeout,
}

/// Npgsql's keys, in small letters and without spaces, with the name to show.
const KEYS: [(&str, &str, Key); 21] = [
    ("host", "Host", Key::Parameter("host")),
    ("server", "Host", Key::Parameter("host")),
    ("port", "Port", Key::Port),
    ("database", "Database", Key::Parameter("dbname")),
    ("db", "Database", Key::Parameter("dbname")),
    ("username", "Username", Key::Parameter("user")),
    ("userid", "Username", Key::Parameter("user")),
    ("uid", "Username", Key::Parameter("user")),
    ("user", "Username", Key::Parameter("user")),
    ("password", "Password", Key::Parameter("password")),
    ("pwd", "Password", Key::Parameter("password")),
    ("psw", "Password", Key::Parameter("password")),
    ("sslmode", "SSL Mode", Key::SslMode),
    ("rootcertificate", "Root Certificate", Key::Parameter("sslrootcert")),
    ("sslcertificate", "SSL Certificate", Key::Parameter("sslcert")),
    ("sslkey", "SSL Key", Key::Parameter("sslkey")),
    ("applicationname", "Application Name", Key::Parameter("application_name")),
    ("options", "Options", Key::Parameter("options")),
    ("maximumpoolsize", "Maximum Pool Size", Key::MaxConnections),
    ("maxpoolsize", "Maximum Pool Size", Key::MaxConnections),
    ("timeout", "Timeout", Key::Timeout),
];

impl ConnectionString {
    /// With the password.
    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    /// Connections at the same time.
    pub(crate) const fn max_connections(&self) -> Option<u32> {
        self.max_connections
    }

    /// How long to wait for a connection.
    pub(crate) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    fn from_url(text: &str) -> Result<Self, ConnectionStringError> {
        let url = Url::parse(text).map_err(ConnectionStringError::Url)?;
        for (key, value) in url.query_pairs() {
            let option = key.starts_with("options[") && key.ends_with(']');
            if !option && !PARAMETERS.contains(&&*key) {
                let known = PARAMETERS.join(", ");
                return Err(ConnectionStringError::UnknownKey { key: key.into_owned(), known });
            }
            match &*key {
                "sslmode" => ssl_mode(&key, &value).map(drop)?,
                "port" => port(&key, &value).map(drop)?,
                _ => {}
            }
        }
        Ok(Self { url, max_connections: None, timeout: None })
    }

    fn from_pairs(text: &str) -> Result<Self, ConnectionStringError> {
        // A URL without a host takes it from its parameters.
        let mut url = Url::parse("postgres:///").map_err(ConnectionStringError::Url)?;
        let mut add = |parameter: &str, value: &str| {
            url.query_pairs_mut().append_pair(parameter, value);
        };
        let (mut max_connections, mut timeout) = (None, None);
        let mut seen = BTreeSet::new();
        for pair in pairs(text) {
            let (name, value) = pair?;
            let plain = name.replace(' ', "").to_lowercase();
            let Some((_, shown, key)) = KEYS.iter().find(|(known, ..)| *known == plain) else {
                let mut known: Vec<&str> = KEYS.iter().map(|(_, shown, _)| *shown).collect();
                known.dedup();
                return Err(ConnectionStringError::UnknownKey { key: name, known: known.join(", ") });
            };
            if !seen.insert(*key) {
                return Err(ConnectionStringError::Twice((*shown).to_owned()));
            }
            let number = |expected| {
                let number = value.parse::<u32>().ok().filter(|number| *number > 0);
                number.ok_or_else(|| ConnectionStringError::Value { key: name.clone(), expected })
            };
            match key {
                Key::Parameter("host") if value.is_empty() || value.contains(',') => {
                    return Err(ConnectionStringError::Value { key: name, expected: "one host" });
                }
                Key::Parameter(parameter) => add(parameter, &value),
                Key::Port => add("port", &port(&name, &value)?.to_string()),
                Key::SslMode => add("sslmode", ssl_mode(&name, &value)?),
                Key::MaxConnections => max_connections = Some(number("a number of connections above 0")?),
                Key::Timeout => timeout = Some(Duration::from_secs(number("seconds above 0")?.into())),
            }
        }
        if seen.contains(&Key::Parameter("host")) {
            Ok(Self { url, max_connections, timeout })
        } else {
            Err(ConnectionStringError::Missing("Host"))
        }
    }

    /// What the URL says under the name of a parameter, or where a URL has that by itself.
    fn shown(&self, parameter: &str, in_url: Option<&str>) -> String {
        let mut pairs = self.url.query_pairs();
        let found = pairs.find_map(|(key, value)| (key == parameter).then(|| value.into_owned()));
        found.or_else(|| in_url.map(str::to_owned)).unwrap_or_default()
    }
}

impl FromStr for ConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Self::from_url(text)
        } else if text.contains('=') {
            Self::from_pairs(text)
        } else {
            Err(ConnectionStringError::Form)
        }
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.url.path().trim_start_matches('/');
        formatter
            .debug_struct("ConnectionString")
            .field("host", &self.shown("host", self.url.host_str()))
            .field("database", &self.shown("dbname", Some(path)))
            .field("user", &self.shown("user", Some(self.url.username())))
            .finish_non_exhaustive()
    }
}

fn port(key: &str, value: &str) -> Result<u16, ConnectionStringError> {
    let port = value.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| ConnectionStringError::Value { key: key.to_owned(), expected: "a port, from 1 to 65535" })
}

/// In both spellings: `VerifyFull`, `verify-full`.
fn ssl_mode(key: &str, value: &str) -> Result<&'static str, ConnectionStringError> {
    let plain = |mode: &str| mode.replace('-', "").to_lowercase();
    let wanted = plain(value);
    let found = SSL_MODES.into_iter().find(|mode| plain(mode) == wanted);
    found.ok_or_else(|| ConnectionStringError::Value {
        key: key.to_owned(),
        expected: "one of Disable, Allow, Prefer, Require, VerifyCA and VerifyFull",
    })
}

/// Keys and values, as .NET writes them: `key=value;key="a value; with ""signs"""`.
fn pairs(text: &str) -> impl Iterator<Item = Result<(String, String), ConnectionStringError>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|character: char| character == ';' || character.is_whitespace());
        if rest.is_empty() {
            return None;
        }
        let Some((key, after)) = rest.split_once('=') else {
            rest = "";
            return Some(Err(ConnectionStringError::Form));
        };
        let key = key.trim().to_owned();
        let after = after.trim_start();
        let (value, after) = match after.chars().next().filter(|first| matches!(first, '"' | '\'')) {
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim_end().to_owned(), after)
            }
            Some(mark) => {
                let Some(found) = quoted(&after[1..], mark) else {
                    rest = "";
                    return Some(Err(ConnectionStringError::Quote(key)));
                };
                found
            }
        };
        rest = after;
        Some(Ok((key, value)))
    })
}

/// The value up to the closing mark, where two stand for one, and what comes after the next semicolon.
fn quoted(text: &str, mark: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once(mark)?;
        value.push_str(before);
        if let Some(more) = after.strip_prefix(mark) {
            value.push(mark);
            rest = more;
            continue;
        }
        let after = after.trim_start();
        return if after.is_empty() { Some((value, "")) } else { after.strip_prefix(';').map(|after| (value, after)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConnectionString, ConnectionStringError> {
        text.parse()
    }

    fn parameters(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().url.query_pairs().into_owned().collect()
    }

    #[test]
    fn a_url_is_taken_as_it_is() {
        let text = "postgres://app:s%40cret@db.example:5433/sandbox?sslmode=verify-full";
        assert_eq!(parse(text).unwrap().url.as_str(), text);
        parse("postgresql:///sandbox?host=/run/postgresql").unwrap();
    }

    #[test]
    fn keys_of_npgsql_become_parameters() {
        let text = "Host=db; Port=5433 ;Database=sandbox;User Id=app;Password=\"a;b\"\"c=d\";SSL Mode=VerifyFull;";
        let expected = [
            ("host", "db"),
            ("port", "5433"),
            ("dbname", "sandbox"),
            ("user", "app"),
            ("password", "a;b\"c=d"),
            ("sslmode", "verify-full"),
        ];
        assert_eq!(parameters(text), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(parameters("server=db;pwd=a=b&c ")[1].1, "a=b&c");
    }

    #[test]
    fn size_and_patience_are_not_postgres_own() {
        let connection = parse("Host=db;Maximum Pool Size=7;Timeout=3").unwrap();
        assert_eq!((connection.max_connections(), connection.timeout()), (Some(7), Some(Duration::from_secs(3))));
        assert_eq!(connection.url.query(), Some("host=db"));
    }

    #[test]
    fn nonsense_is_named() {
        for (text, expected) in [
            ("", "neither a URL"),
            ("localhost", "neither a URL"),
            ("mysql://db/x", "neither a URL"),
            ("postgres://db/x?pasword=secret", "`pasword` is not supported"),
            ("postgres://db/x?sslmode=secret", "`sslmode` in the connection string must be one of Disable"),
            ("postgres://db:port/x", "invalid port number"),
            ("Host=db;Pasword=secret", "`Pasword` is not supported in a connection string; these are: Host, Port, "),
            ("Host=db;Password=secret;Pwd=secret", "`Password` is in the connection string twice"),
            ("Database=sandbox;Password=secret", "no `Host`"),
            ("Host=a,b", "`Host` in the connection string must be one host"),
            ("Host=db;Port=secret", "`Port` in the connection string must be a port"),
            ("Host=db;SSL Mode=secret", "must be one of Disable"),
            ("Host=db;Timeout=0", "must be seconds above 0"),
            ("Host=db;Password='secret", "`Password` in the connection string has a quotation mark"),
            ("Host=db;Password='secret' x", "`Password` in the connection string has a quotation mark"),
            ("Host=db;secret", "neither a URL"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        for text in [
            "postgres://app:secret@db/sandbox",
            "postgres://app@db/sandbox?password=secret",
            "Host=db;Database=sandbox;Username=app;Password=secret",
        ] {
            let shown = format!("{:?}", parse(text).unwrap());
            assert_eq!(shown, r#"ConnectionString { host: "db", database: "sandbox", user: "app", .. }"#);
        }
    }
}
