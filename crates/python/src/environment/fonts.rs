//! The host's fonts, as a sandbox sees them, and matplotlib's list of them.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::cache::{create_directory, make_readable, read_json, write_json};
use super::error::EnvironmentError;
use super::process::{self, RunFailure};

const SCRIPT: &str = include_str!("font_list.py");
/// Thousands of fonts on a slow disk.
const TIMEOUT: Duration = Duration::from_mins(2);
const MAX_ANSWER: usize = 4 << 20;
const MAX_DIRECTORIES: usize = 8192;
const RECORD: &str = "fonts.json";

/// A font family and the scripts it has glyphs for.
type Coverage = (&'static str, &'static [Script]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Han,
    Kana,
    Hangul,
}

/// Families with Chinese, Japanese or Korean glyphs, best first. Simplified Chinese forms come before others where a
/// family has all of them.
const CJK_FAMILIES: [Coverage; 32] = {
    use Script::{Han, Hangul, Kana};
    [
        ("Noto Sans CJK SC", &[Han, Kana, Hangul]),
        ("Source Han Sans SC", &[Han, Kana, Hangul]),
        ("Source Han Sans CN", &[Han, Kana]),
        ("Noto Sans SC", &[Han, Kana]),
        ("WenQuanYi Micro Hei", &[Han, Kana]),
        ("WenQuanYi Zen Hei", &[Han, Kana, Hangul]),
        ("Microsoft YaHei", &[Han, Kana]),
        ("SimHei", &[Han, Kana]),
        ("Noto Sans CJK TC", &[Han, Kana, Hangul]),
        ("Noto Sans CJK HK", &[Han, Kana, Hangul]),
        ("Noto Sans CJK JP", &[Han, Kana, Hangul]),
        ("Noto Sans CJK KR", &[Han, Kana, Hangul]),
        ("Noto Serif CJK SC", &[Han, Kana, Hangul]),
        ("Noto Serif CJK JP", &[Han, Kana, Hangul]),
        ("Noto Sans TC", &[Han, Kana]),
        ("Droid Sans Fallback", &[Han, Kana]),
        ("AR PL UMing CN", &[Han, Kana]),
        ("AR PL UKai CN", &[Han, Kana]),
        ("AR PL SungtiL GB", &[Han]),
        ("Noto Sans JP", &[Han, Kana]),
        ("IPAexGothic", &[Han, Kana]),
        ("IPAGothic", &[Han, Kana]),
        ("TakaoGothic", &[Han, Kana]),
        ("VL Gothic", &[Han, Kana]),
        ("IPAexMincho", &[Han, Kana]),
        ("IPAMincho", &[Han, Kana]),
        ("Noto Sans KR", &[Hangul]),
        ("NanumGothic", &[Hangul]),
        ("NanumBarunGothic", &[Hangul]),
        ("UnDotum", &[Hangul]),
        ("Baekmuk Dotum", &[Hangul]),
        ("Unifont", &[Han, Kana, Hangul]),
    ]
};

/// Font directories that a sandbox can read, and a fingerprint of what is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostFonts {
    pub(super) directories: Vec<PathBuf>,
    /// Hex; another one as soon as a font is added or removed.
    state: String,
}

/// matplotlib's view of one state of the fonts; stored beside the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FontRecord {
    /// File name of the list, in the directory of this record.
    pub(super) list: Option<String>,
    pub(super) fallbacks: Vec<String>,
}

/// The answer of `font_list.py`.
#[derive(Deserialize)]
struct ListAnswer {
    file: String,
    families: Vec<String>,
}

impl HostFonts {
    /// Looks at the places where a Linux host and its user keep fonts. Only directories that everyone can read count:
    /// the user of a sandbox is not the user of the host.
    pub(super) fn look(home: Option<&Path>, data_home: Option<&Path>) -> Self {
        let system = ["/usr/share/fonts", "/usr/local/share/fonts"].map(PathBuf::from);
        let users_data = data_home.map(Path::to_owned).or_else(|| home.map(|home| home.join(".local/share")));
        let users = users_data.map(|data| data.join("fonts")).into_iter().chain(home.map(|home| home.join(".fonts")));
        Self::of(system.into_iter().chain(users))
    }

    fn of(places: impl Iterator<Item = PathBuf>) -> Self {
        let mut directories: Vec<PathBuf> = Vec::new();
        for directory in places.filter_map(|place| fs_err::canonicalize(place).ok()) {
            let readable = fs_err::metadata(&directory).is_ok_and(|one| one.is_dir() && one.mode() & 0o005 == 0o005);
            if readable && !directories.contains(&directory) {
                directories.push(directory);
            }
        }
        let state = fingerprint(&directories);
        Self { directories, state }
    }

    /// The directory of this state's record below an environment's own directory.
    pub(super) fn record_directory(&self, environment: &Path) -> PathBuf {
        environment.join("fonts").join(&self.state)
    }

    /// What was stored for this state.
    pub(super) fn record(&self, environment: &Path) -> Result<Option<FontRecord>, EnvironmentError> {
        read_json(&self.record_directory(environment).join(RECORD))
    }

    /// Stores a record, the list it names being in its place already.
    pub(super) fn store(&self, environment: &Path, record: &FontRecord) -> Result<(), EnvironmentError> {
        write_json(&self.record_directory(environment).join(RECORD), record)?;
        make_readable(&environment.join("fonts"))
    }

    /// Lets matplotlib list the fonts. It runs on the host: `packages` must be from the lock of the default
    /// environment.
    pub(super) fn list(
        &self,
        interpreter: &Path,
        packages: &Path,
        environment: &Path,
    ) -> Result<FontRecord, EnvironmentError> {
        let directory = self.record_directory(environment);
        create_directory(&directory)?;
        let scratch = tempfile::tempdir_in(&directory)
            .map_err(|source| EnvironmentError::filesystem("create a directory in", &directory, source))?;
        let mut command = Command::new(interpreter);
        command
            // Without -S, a package could bring a sitecustomize module along that runs first.
            .args(["-S", "-B", "-c", SCRIPT])
            .arg(scratch.path())
            .args(&self.directories)
            .env_clear()
            .env("PATH", "")
            .env("HOME", scratch.path())
            .env("TMPDIR", scratch.path())
            .env("MPLCONFIGDIR", scratch.path())
            .env("MPLBACKEND", "Agg")
            // Without it matplotlib lists directories of its own choice, which a sandbox does not show.
            .env("MPL_IGNORE_SYSTEM_FONTS", "1")
            .env("PYTHONPATH", packages)
            .env("PYTHONSAFEPATH", "1")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(scratch.path());
        let failed = |source| EnvironmentError::ProbeFailed { path: interpreter.to_owned(), source };
        let answer = process::run(&mut command, TIMEOUT, MAX_ANSWER).and_then(process::Answer::into_stdout);
        let answer: ListAnswer = serde_json::from_slice(&answer.map_err(failed)?)
            .map_err(|error| failed(RunFailure::Answer(error.to_string())))?;
        let file = plain_file_name(&answer.file)
            .ok_or_else(|| failed(RunFailure::Answer(format!("`{}` is no file name", answer.file))))?;
        let place = directory.join(file);
        fs_err::rename(scratch.path().join(file), &place)
            .map_err(|source| EnvironmentError::filesystem("rename", &place, source))?;
        let record = FontRecord { list: Some(file.to_owned()), fallbacks: fallbacks(&answer.families) };
        self.store(environment, &record)?;
        Ok(record)
    }
}

/// The name of the list that an installed matplotlib reads, without importing it.
pub(super) fn expected_list(packages: &Path) -> Option<String> {
    let source = fs_err::read_to_string(packages.join("matplotlib/font_manager.py")).ok()?;
    let line = source.lines().find_map(|line| line.trim().strip_prefix("__version__ = "))?;
    let version = line.trim().trim_matches(['\'', '"']);
    let plain = version.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.');
    plain.then(|| format!("fontlist-v{version}.json"))
}

/// The families to fall back to: each adds glyphs of a script that those before it lack. matplotlib opens every
/// family it is told about for every text, so there are no spare ones.
fn fallbacks(families: &[String]) -> Vec<String> {
    let mut covered: Vec<Script> = Vec::new();
    let mut chosen = Vec::new();
    for (family, scripts) in CJK_FAMILIES {
        let adds = scripts.iter().any(|script| !covered.contains(script));
        if adds && families.iter().any(|present| present == family) {
            covered.extend(scripts);
            chosen.push(family.to_owned());
        }
    }
    chosen
}

fn plain_file_name(name: &str) -> Option<&str> {
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    (plain && name.starts_with("fontlist-v")).then_some(name)
}

/// Over the paths and modification times of all directories: adding or removing a file changes its directory.
fn fingerprint(directories: &[PathBuf]) -> String {
    let mut hasher = Sha256::new();
    // Another version of the script makes another list of the same fonts.
    hasher.update(SCRIPT);
    let mut pending: Vec<_> = directories.iter().rev().cloned().collect();
    let mut seen = 0;
    while let Some(directory) = pending.pop() {
        let Ok(metadata) = fs_err::metadata(&directory) else { continue };
        hash_directory(&mut hasher, &directory, &metadata);
        seen += 1;
        if seen >= MAX_DIRECTORIES {
            break;
        }
        let Ok(entries) = fs_err::read_dir(&directory) else { continue };
        let mut below: Vec<_> = entries
            .filter_map(Result::ok)
            // Links are not followed: they may lead in circles.
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        below.sort_unstable_by(|one, other| other.cmp(one));
        pending.extend(below);
    }
    super::plan::hex(&hasher.finalize()[..16])
}

fn hash_directory(hasher: &mut Sha256, path: &Path, metadata: &Metadata) {
    hasher.update(path.as_os_str().as_bytes());
    hasher.update([0]);
    hasher.update(metadata.mtime().to_le_bytes());
    hasher.update(metadata.mtime_nsec().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_font_is_another_state() {
        let home = tempfile::tempdir().unwrap();
        let below = home.path().join(".fonts/deep/er");
        fs_err::create_dir_all(&below).unwrap();
        let look = || HostFonts::of([home.path().join(".fonts"), home.path().join("absent")].into_iter());
        let before = look();
        assert_eq!(before.directories.len(), 1);
        assert_eq!(look(), before);
        fs_err::write(below.join("a.ttf"), "").unwrap();
        assert_ne!(look().state, before.state);
    }

    #[test]
    fn directories_that_others_cannot_read_are_left_out() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let fonts = home.path().join(".fonts");
        fs_err::create_dir(&fonts).unwrap();
        fs_err::set_permissions(&fonts, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(HostFonts::of(std::iter::once(fonts)).directories.is_empty());
    }

    #[test]
    fn fallbacks_cover_each_script_once_and_exist() {
        let chosen = |present: &[&str]| fallbacks(&present.iter().map(|&one| one.to_owned()).collect::<Vec<_>>());
        assert!(chosen(&["DejaVu Sans"]).is_empty());
        assert_eq!(chosen(&["Noto Sans CJK JP", "IPAGothic", "NanumGothic"]), ["Noto Sans CJK JP"]);
        assert_eq!(chosen(&["NanumGothic", "WenQuanYi Micro Hei", "SimHei"]), ["WenQuanYi Micro Hei", "NanumGothic"]);
    }

    #[test]
    fn the_list_of_an_installed_matplotlib_is_known_without_importing_it() {
        let packages = tempfile::tempdir().unwrap();
        assert_eq!(expected_list(packages.path()), None);
        fs_err::create_dir(packages.path().join("matplotlib")).unwrap();
        let source = "class FontManager:\n    __version__ = '3.11.0'\n";
        fs_err::write(packages.path().join("matplotlib/font_manager.py"), source).unwrap();
        assert_eq!(expected_list(packages.path()).as_deref(), Some("fontlist-v3.11.0.json"));
    }
}
