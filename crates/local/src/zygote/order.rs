//! What a worker gets at its check-out: the program and everything that was not known when it was forked.

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use aevatar_sandbox_contract::InputFile;
use aevatar_sandbox_jail::spec::ProcessLimit;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Serialize;

/// Variables that an interpreter, its loader or a library reads when it starts: beginnings of names. Whoever sets one of
/// them needs a fresh interpreter.
const READ_AT_START: [&str; 16] = [
    "PYTHON",
    "LD_",
    "MALLOC_",
    "GLIBC_",
    "LC_",
    "LANG",
    "TZ",
    "MPL",
    "MATPLOTLIB",
    "OMP_",
    "GOMP_",
    "KMP_",
    "OPENBLAS_",
    "MKL_",
    "NUMEXPR_",
    "NPY_",
];

/// Whether a forked interpreter can have these variables: none of them would have mattered before.
pub(crate) fn can_be_set_late(env: &BTreeMap<String, String>) -> bool {
    let mut names = env.keys();
    names.all(|name| {
        !READ_AT_START.iter().any(|beginning| name.starts_with(beginning)) && !NUMPY.contains(&name.as_str())
    })
}

/// Some of them have no beginning in common.
const NUMPY: [&str; 3] = ["NUMPY_EXPERIMENTAL_ARRAY_FUNCTION", "OPENSSL_CONF", "SSL_CERT_FILE"];

/// What `prepare` of the guest reads as JSON, before the source.
#[derive(Debug, Serialize)]
pub(crate) struct Order<'a> {
    pub(crate) args: &'a [String],
    /// Variables that differ from the zygote's.
    pub(crate) env: BTreeMap<String, String>,
    /// Numbers of process limits and their values.
    pub(crate) limits: Vec<(u32, u64)>,
    /// Threads that a pool may have.
    pub(crate) cpus: u32,
    /// Whether figures that are open at the end are saved.
    pub(crate) figures: bool,
    /// Bytes of the source.
    pub(crate) source: usize,
    /// Input files, relative to the program's folder, with their bytes, in the order in which they follow the source.
    pub(crate) files: Vec<(&'a str, usize)>,
}

/// Limits of a process that are not known before its check-out; the others are in force while it is parked.
pub(crate) const fn is_set_late(limit: ProcessLimit) -> bool {
    matches!(limit, ProcessLimit::CpuSeconds | ProcessLimit::Processes)
}

impl Order<'_> {
    /// The order, the source and the input files in a file without a name.
    pub(crate) fn to_file(&self, code: &[u8], inputs: &[InputFile]) -> io::Result<OwnedFd> {
        let order = serde_json::to_vec(self).map_err(io::Error::other)?;
        let length = u32::try_from(order.len()).map_err(io::Error::other)?;
        let file = memfd_create("program", MemfdFlags::CLOEXEC)?;
        let mut writer = std::fs::File::from(file);
        io::Write::write_all(&mut writer, &[&length.to_le_bytes(), order.as_slice(), code].concat())?;
        for input in inputs {
            io::Write::write_all(&mut writer, &input.content)?;
        }
        Ok(writer.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_read_at_the_start_are_not_set_late() {
        let can = |name: &str| can_be_set_late(&BTreeMap::from([(name.to_owned(), String::new())]));
        for name in ["PYTHONHASHSEED", "PYTHONPATH", "LD_PRELOAD", "TZ", "LANG", "LC_ALL", "OMP_NUM_THREADS"] {
            assert!(!can(name), "{name}");
        }
        for name in ["NAME", "API_KEY", "HOME", "PATH"] {
            assert!(can(name), "{name}");
        }
    }

    #[test]
    fn an_order_is_followed_by_the_source() {
        let order = Order {
            args: &["a".to_owned()],
            env: BTreeMap::new(),
            limits: vec![(6, 7)],
            cpus: 2,
            figures: true,
            source: 8,
            files: vec![("b/c", 2)],
        };
        let inputs = [InputFile { path: "b/c".to_owned(), content: b"de".to_vec() }];
        let file = order.to_file(b"print(1)", &inputs).unwrap();
        let mut content = Vec::new();
        let mut reader = std::fs::File::from(file);
        io::Seek::rewind(&mut reader).unwrap();
        io::Read::read_to_end(&mut reader, &mut content).unwrap();
        let text =
            br#"{"args":["a"],"env":{},"limits":[[6,7]],"cpus":2,"figures":true,"source":8,"files":[["b/c",2]]}"#;
        assert_eq!(content, [&u32::try_from(text.len()).unwrap().to_le_bytes(), &text[..], b"print(1)de"].concat());
    }
}
