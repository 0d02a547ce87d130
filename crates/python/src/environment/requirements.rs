//! What an environment is made from: the locks of the default one, and requirements files of users.

use std::borrow::Cow;

use super::error::EnvironmentError;

/// Name of the environment that comes with the sandbox.
pub const DEFAULT_ENVIRONMENT: &str = "default";

/// Minors of CPython 3 that have a lock, oldest first.
pub const SUPPORTED_MINORS: [u8; 3] = [11, 12, 13];

/// Longest requirements file that is accepted, in bytes.
pub(super) const MAX_LENGTH: u64 = 1 << 20;

/// The lock of the default environment for CPython 3.`minor`.
pub(super) fn default_lock(minor: u8) -> Option<&'static str> {
    match minor {
        11 => Some(include_str!("../../locks/python3.11.txt")),
        12 => Some(include_str!("../../locks/python3.12.txt")),
        13 => Some(include_str!("../../locks/python3.13.txt")),
        _ => None,
    }
}

/// Accepted content of a requirements file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirements {
    text: Cow<'static, str>,
    /// Lists every distribution with version and hashes, dependencies included.
    locked: bool,
}

impl Requirements {
    /// A lock that comes with the program.
    pub(super) fn locked(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), locked: true }
    }

    /// A user's requirements, if installing them runs no foreign code on the host.
    ///
    /// pip builds (that is, runs) whatever is not a wheel: a version-control URL, a source archive, a directory.
    /// `--only-binary :all:` does not stop it from building a URL, and a line in the file can take that option back.
    /// Lines that lead to other files are refused as well: those files are not stored with the environment.
    pub(super) fn parse(text: String) -> Result<Self, EnvironmentError> {
        for (number, line) in logical_lines(&text) {
            if !is_accepted(&line) {
                let shown = line.chars().take(120).collect();
                return Err(EnvironmentError::UnsupportedRequirement { line: number, text: shown });
            }
        }
        Ok(Self { text: Cow::Owned(text), locked: false })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether pip must not look for dependencies.
    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether pip must refuse a distribution without a hash.
    pub(super) fn has_hashes(&self) -> bool {
        logical_lines(&self.text).any(|(_, line)| line.contains("--hash"))
    }

    /// How many distributions will be installed, where it is known beforehand.
    pub(super) fn distribution_count(&self) -> Option<usize> {
        self.locked.then(|| logical_lines(&self.text).filter(|(_, line)| !line.starts_with('-')).count())
    }
}

/// The normalised form of a distribution's name (PEP 503).
pub(super) fn normalise(name: &str) -> String {
    let parts: Vec<_> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_lowercase()
}

/// Lines as pip sees them: continuations joined, comments and blank lines gone; with the number of the first line.
fn logical_lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut lines = text.lines().enumerate();
    std::iter::from_fn(move || {
        let (index, first) = lines.next()?;
        let mut joined = first.to_owned();
        while joined.ends_with('\\') {
            joined.pop();
            let Some((_, next)) = lines.next() else { break };
            joined.push_str(next);
        }
        Some((index + 1, without_comment(&joined).trim().to_owned()))
    })
    .filter(|(_, line)| !line.is_empty())
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    match [line.find(" #"), line.find("\t#")].into_iter().flatten().min() {
        Some(start) => &line[..start],
        None => line,
    }
}

fn is_accepted(line: &str) -> bool {
    if line.starts_with('-') {
        let option = line.split([' ', '\t', '=']).next().unwrap_or_default();
        return matches!(
            option,
            "--index-url" | "-i" | "--extra-index-url" | "--no-index" | "--pre" | "--prefer-binary"
        );
    }
    let name_end = line.find(|letter: char| !letter.is_ascii_alphanumeric() && !"._-".contains(letter));
    let (name, rest) = line.split_at(name_end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    // A bare `thing.tar.gz` or `thing.zip` is a file to pip.
    let is_archive = [".zip", ".whl", ".gz", ".bz2", ".xz", ".tar", ".tgz"].iter().any(|end| name.ends_with(end));
    let versions_only =
        rest.is_empty() || rest.starts_with(['=', '<', '>', '!', '~', ';', '[', '(']) || rest.starts_with("--hash");
    let requirement = rest.split("--hash").next().unwrap_or_default();
    // `name[extra] @ URL`: an `@` is legal nowhere else before the marker.
    let before_marker = requirement.split(';').next().unwrap_or_default();
    let options_are_hashes = rest.split_whitespace().all(|word| !word.starts_with("--") || word.starts_with("--hash"));
    name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && !is_archive
        && versions_only
        && options_are_hashes
        && !before_marker.contains(['@', '/'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_minor_has_a_lock_with_the_promised_packages_and_hashes_for_two_machines() {
        for minor in SUPPORTED_MINORS {
            let lock = Requirements::locked(default_lock(minor).unwrap());
            let lines: Vec<_> = logical_lines(lock.text()).map(|(_, line)| line).collect();
            for package in [
                "numpy",
                "pandas",
                "scipy",
                "matplotlib",
                "scikit-learn",
                "requests",
                "beautifulsoup4",
                "tqdm",
                "tzdata",
            ] {
                let line = lines.iter().find(|line| line.starts_with(&format!("{package}==")));
                assert!(line.is_some(), "3.{minor} lacks {package}");
            }
            let numpy = lines.iter().find(|line| line.starts_with("numpy==")).unwrap();
            assert_eq!(numpy.matches("--hash=sha256:").count(), 2);
            assert!(lines.iter().all(|line| line.contains("--hash=sha256:")));
            assert_eq!(lock.distribution_count(), Some(lines.len()));
            assert!(!lock.text().contains("://"));
        }
        assert_eq!(default_lock(10), None);
        assert_eq!(default_lock(14), None);
    }

    #[test]
    fn requirements_that_only_name_distributions_are_accepted() {
        let text = "# comment\n\nnumpy\npandas>=2,<3  # newer breaks us\nrequests[socks]==2.32.3 ; python_version < \"4\"\n\
                    six==1.16.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n--index-url https://index.example/simple\n";
        let requirements = Requirements::parse(text.to_owned()).unwrap();
        assert!(requirements.has_hashes());
        assert_eq!(requirements.distribution_count(), None);
    }

    #[test]
    fn requirements_that_would_run_foreign_code_are_refused() {
        for line in [
            "-e .",
            "--editable=.",
            "./package",
            "/srv/package",
            "folder/package",
            "package-1.0.tar.gz",
            "git+https://example.com/package",
            "https://example.com/package.zip",
            "package @ git+https://example.com/package",
            "package[extra]@https://example.com/package.zip",
            "--no-binary :all:",
            "--only-binary :none:",
            "--only-binary=:none:",
            "-r other.txt",
            "-c constraints.txt",
            "--find-links .",
            "package --config-settings=x=y",
            "package==1 \\\n --global-option=x",
        ] {
            let refused = Requirements::parse(format!("numpy\n{line}\n"));
            assert!(
                matches!(refused, Err(EnvironmentError::UnsupportedRequirement { line: 2, .. })),
                "accepted: {line}"
            );
        }
    }

    #[test]
    fn names_are_normalised() {
        assert_eq!(normalise("Scikit__Learn"), "scikit-learn");
        assert_eq!(normalise("typing_extensions"), "typing-extensions");
    }
}
