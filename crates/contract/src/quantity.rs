//! Kubernetes resource quantities: `100m`, `0.5`, `256Mi`, `1G`.
//!
//! Source of the grammar: the Kubernetes documentation of resource units. Only what makes sense for a CPU share and
//! for a number of bytes is accepted; a quantity that would lose precision is refused, never rounded.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: {reason}")]
pub struct ParseQuantityError {
    text: String,
    kind: &'static str,
    reason: &'static str,
}

/// A share of CPU time, in thousandths of one CPU (`m`). From 1m to 1024 CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, example = "100m", pattern = r"^[0-9]+(\.[0-9]+)?m?$"))]
pub struct CpuQuantity(u32);

impl CpuQuantity {
    /// The smallest share that can be asked for: 1m.
    pub const MIN: Self = Self(1);
    /// The largest share that can be asked for: 1024 CPUs.
    pub const MAX: Self = Self(1_024_000);

    /// A share of `millicores` thousandths of a CPU, or nothing when it is out of range.
    pub const fn from_millicores(millicores: u32) -> Option<Self> {
        if millicores >= Self::MIN.0 && millicores <= Self::MAX.0 { Some(Self(millicores)) } else { None }
    }

    /// Thousandths of one CPU.
    pub const fn millicores(self) -> u32 {
        self.0
    }

    /// Whole CPUs, rounded up: how many threads can run at once without being throttled. At least 1.
    pub const fn whole_cpus(self) -> u32 {
        self.0.div_ceil(1000)
    }
}

impl FromStr for CpuQuantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| ParseQuantityError { text: shorten(text), kind: "CPU quantity", reason };
        let (number, scale) = match text.strip_suffix('m') {
            Some(number) => (number, 1),
            None => (text, 1000),
        };
        let millicores = parse_decimal(number, scale).map_err(fail)?;
        u32::try_from(millicores)
            .ok()
            .and_then(Self::from_millicores)
            .ok_or_else(|| fail("it must be between 1m and 1024 CPUs"))
    }
}

impl fmt::Display for CpuQuantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(formatter, "{}", self.0 / 1000)
        } else {
            write!(formatter, "{}m", self.0)
        }
    }
}

/// A number of bytes. From 1 to 8 EiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, example = "256Mi", pattern = r"^[0-9]+(\.[0-9]+)?([EPTGMK]i|[EPTGMk])?$"))]
pub struct ByteQuantity(u64);

/// Suffixes in the order in which [`ByteQuantity`] prefers to print them.
const BYTE_SUFFIXES: [(&str, u64); 12] = [
    ("Ei", 1 << 60),
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl ByteQuantity {
    /// The largest quantity, so that it fits a signed 64-bit number of the kernel.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// A quantity of `bytes`, or nothing when it is 0 or above [`Self::MAX`].
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        if bytes > 0 && bytes <= Self::MAX.0 { Some(Self(bytes)) } else { None }
    }

    /// A quantity of `mebibytes` × 1 MiB; 0 becomes 1 MiB.
    pub const fn from_mebibytes(mebibytes: u32) -> Self {
        let mebibytes = if mebibytes == 0 { 1 } else { mebibytes };
        Self((mebibytes as u64) << 20)
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteQuantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| ParseQuantityError { text: shorten(text), kind: "byte quantity", reason };
        let (number, scale) = BYTE_SUFFIXES
            .iter()
            .find_map(|&(suffix, scale)| text.strip_suffix(suffix).map(|number| (number, scale)))
            .unwrap_or((text, 1));
        let bytes = parse_decimal(number, scale).map_err(fail)?;
        Self::from_bytes(bytes).ok_or_else(|| fail("it must be between 1 byte and 8Ei"))
    }
}

impl fmt::Display for ByteQuantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match BYTE_SUFFIXES[..6].iter().find(|(_, scale)| self.0.is_multiple_of(*scale)) {
            Some((suffix, scale)) => write!(formatter, "{}{suffix}", self.0 / scale),
            None => write!(formatter, "{}", self.0),
        }
    }
}

/// `number` × `scale` as an exact integer. `number` is digits with an optional fraction: no sign, no exponent.
fn parse_decimal(number: &str, scale: u64) -> Result<u64, &'static str> {
    const EXPECTED: &str = "expected a number with an optional suffix, as in `100m`, `0.5`, `256Mi` or `1Gi`";
    const TOO_LARGE: &str = "it is too large";
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || number.ends_with('.') {
        return Err(EXPECTED);
    }
    let whole: u64 = whole.parse().map_err(|_| TOO_LARGE)?;
    let whole = whole.checked_mul(scale).ok_or(TOO_LARGE)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Ok(whole);
    }
    // 10^18 is the largest power of ten in a u64; more digits cannot be exact for any suffix anyway.
    if fraction.len() > 18 {
        return Err("it has too many decimal places");
    }
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| TOO_LARGE)?);
    let numerator: u128 = fraction.parse::<u128>().map_err(|_| TOO_LARGE)? * u128::from(scale);
    if !numerator.is_multiple_of(divisor) {
        return Err("it is finer than the smallest unit");
    }
    let part = u64::try_from(numerator / divisor).map_err(|_| TOO_LARGE)?;
    whole.checked_add(part).ok_or(TOO_LARGE)
}

/// The first characters of a text that a stranger sent, for an error message.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 32;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

macro_rules! serialise_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serialise_as_text!(CpuQuantity);
serialise_as_text!(ByteQuantity);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_kubernetes_reads() {
        for (text, millicores) in
            [("100m", 100), ("1", 1000), ("0.5", 500), ("0.1", 100), ("1.5", 1500), ("2000m", 2000)]
        {
            assert_eq!(text.parse::<CpuQuantity>().unwrap().millicores(), millicores, "{text}");
        }
        for (text, bytes) in [
            ("256Mi", 256 << 20),
            ("1Gi", 1 << 30),
            ("1.5Gi", 3 << 29),
            ("1G", 1_000_000_000),
            ("128k", 128_000),
            ("4096", 4096),
        ] {
            assert_eq!(text.parse::<ByteQuantity>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for text in [
            "",
            "m",
            "-5m",
            "+1",
            "0",
            "0m",
            "1e3",
            "100 apples",
            " 1",
            "1.",
            ".5",
            "0.0001",
            "1025",
            "99999999999",
            "١",
        ] {
            assert!(text.parse::<CpuQuantity>().is_err(), "{text:?}");
        }
        for text in
            ["", "0", "-1Mi", "1e30Gi", "1mi", "1MiB", "9Ei", "0.3Ki1", "1.2.3", "0.00000000000000000001Gi", "Gi"]
        {
            assert!(text.parse::<ByteQuantity>().is_err(), "{text:?}");
        }
        let error = "100 apples".parse::<ByteQuantity>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`100 apples` is not a byte quantity: expected a number with an optional suffix, as in `100m`, `0.5`, `256Mi` or `1Gi`"
        );
    }

    proptest! {
        #[test]
        fn cpu_prints_what_it_parses(millicores in 1_u32..=1_024_000) {
            let quantity = CpuQuantity::from_millicores(millicores).unwrap();
            prop_assert_eq!(quantity.to_string().parse::<CpuQuantity>().unwrap(), quantity);
        }

        #[test]
        fn bytes_print_what_they_parse(bytes in 1..=i64::MAX as u64) {
            let quantity = ByteQuantity::from_bytes(bytes).unwrap();
            prop_assert_eq!(quantity.to_string().parse::<ByteQuantity>().unwrap(), quantity);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            drop(text.parse::<CpuQuantity>());
            drop(text.parse::<ByteQuantity>());
        }
    }
}
