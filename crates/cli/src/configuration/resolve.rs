//! From what all sources give to one configuration, or to all that is wrong with it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsString,
    path::Path,
};

use super::{
    Configuration, ConfigurationError, ConfigurationOverride, OverrideValue, SECTION, checks, environment, file,
    problem::{ConfigurationProblem, Origin},
    settings::{Kind, SETTINGS, Setting},
    value::{self, HIDDEN, shown},
};

/// What became of the file.
pub(super) enum File<'a> {
    /// There is none.
    None,
    /// It was read.
    Text { path: &'a Path, text: String },
    /// It could not be read.
    Unusable(ConfigurationProblem),
}

/// A value as a source gives it. No `Debug`: it may be secret.
pub(super) enum Raw {
    /// Not set.
    Null,
    /// A text, a number or a boolean, as it was written.
    Text(String),
    /// A list, with the place of each entry.
    List(Vec<(Self, Origin)>),
    /// An object where none is looked into.
    Object,
}

impl Raw {
    /// What it is, as a message shows it.
    fn shown(&self, secret: bool) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Text(text) if text.is_empty() => "empty".to_owned(),
            Self::Text(_) if secret => format!("`{HIDDEN}`"),
            Self::Text(text) => format!("`{}`", shown(text)),
            Self::List(_) => "a list".to_owned(),
            Self::Object => "an object".to_owned(),
        }
    }
}

/// One key of the section, and what a source gives for it.
pub(super) struct Given {
    /// Below the section, as it was written: `DefaultResources:MemoryLimit`, `AllowedModules:0`.
    pub(super) key: String,
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// A configuration with the origin of every value.
pub(super) struct Resolved {
    pub(super) configuration: Configuration,
    origins: BTreeMap<&'static str, Origin>,
    /// Settings of which some source gave a wrong value: what they are now means nothing.
    wrong: BTreeSet<&'static str>,
}

impl Resolved {
    /// Where the value of a setting came from.
    pub(super) fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Whether all these settings have a meaning.
    pub(super) fn are_right(&self, keys: &[&str]) -> bool {
        !keys.iter().any(|key| self.wrong.contains(key))
    }
}

/// Takes all sources in order.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn resolve(
    file: File,
    variables: &[(OsString, OsString)],
    overrides: &[ConfigurationOverride],
) -> Result<Configuration, ConfigurationError> {
    let mut problems = Vec::new();
    let mut resolved =
        Resolved { configuration: Configuration::default(), origins: BTreeMap::new(), wrong: BTreeSet::new() };

    let from_file = match file {
        File::None => Ok(Vec::new()),
        File::Text { path, text } => file::given(path, &text, &mut problems),
        File::Unusable(problem) => Err(problem),
    };
    let file_is_usable = from_file.is_ok();
    match from_file {
        Ok(given) => take(given, &mut resolved, &mut problems),
        Err(problem) => problems.push(problem),
    }
    problems.sort_by_key(|problem| match problem.origin() {
        Origin::File { line, .. } => *line,
        _ => None,
    });

    let given = environment::given(variables, &mut problems);
    take(given, &mut resolved, &mut problems);
    let given = overrides.iter().map(from_caller).collect();
    take(given, &mut resolved, &mut problems);

    // What a file that cannot be read would have said is unknown, and so is what it would agree with.
    if file_is_usable {
        checks::check(&resolved, &mut problems);
    }
    if problems.is_empty() { Ok(resolved.configuration) } else { Err(ConfigurationError::new(problems)) }
}

/// Whether a name is so near to the section's that it must be a typing mistake. It is not when it is the section's.
pub(super) fn is_nearly_the_section(name: &str) -> bool {
    let length = SECTION.len();
    (length - 2..=length + 2).contains(&name.len())
        && (1..=2).contains(&strsim::damerau_levenshtein(&name.to_ascii_lowercase(), &SECTION.to_ascii_lowercase()))
}

fn from_caller(given: &ConfigurationOverride) -> Given {
    let origin = Origin::Caller { name: given.origin.clone() };
    let raw = match &given.value {
        OverrideValue::Text(text) => Raw::Text(text.clone()),
        OverrideValue::List(list) => {
            Raw::List(list.iter().map(|entry| (Raw::Text(entry.clone()), origin.clone())).collect())
        }
    };
    Given { key: given.key.clone(), raw, origin }
}

/// Takes what one source gives.
fn take(given: Vec<Given>, resolved: &mut Resolved, problems: &mut Vec<ConfigurationProblem>) {
    for (index, (raw, origin)) in by_setting(given, resolved, problems) {
        let Some(setting) = SETTINGS.get(index) else { continue };
        if matches!(raw, Raw::Null) {
            continue;
        }
        let before = problems.len();
        apply(setting, &raw, &origin, &mut resolved.configuration, problems);
        if problems.len() == before {
            resolved.origins.insert(setting.key, origin);
        } else {
            resolved.wrong.insert(setting.key);
        }
    }
}

/// What a key names.
enum Place {
    Setting(usize),
    /// An entry of a list.
    Entry(usize, u32),
    /// Something below a setting that has nothing there.
    Below(usize),
    /// An object of settings.
    Group,
    Unknown,
}

fn locate(key: &str) -> Place {
    let position = |key: &str| SETTINGS.iter().position(|setting| setting.key.eq_ignore_ascii_case(key));
    let starts_with = |long: &str, short: &str| {
        long.get(..short.len()).is_some_and(|start| start.eq_ignore_ascii_case(short))
            && long.as_bytes().get(short.len()) == Some(&b':')
    };
    if let Some(index) = position(key) {
        return Place::Setting(index);
    }
    if let Some((list, number)) = key.rsplit_once(':')
        && let Some(index) = position(list)
        && SETTINGS.get(index).is_some_and(|setting| matches!(setting.kind, Kind::List { .. }))
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = number.parse()
    {
        return Place::Entry(index, number);
    }
    match SETTINGS.iter().position(|setting| starts_with(key, setting.key)) {
        Some(index) => Place::Below(index),
        None if SETTINGS.iter().any(|setting| starts_with(setting.key, key)) => Place::Group,
        None => Place::Unknown,
    }
}

/// Sorts by setting, makes lists of entries, and complains of keys that name no setting or are there twice.
fn by_setting(
    given: Vec<Given>,
    resolved: &mut Resolved,
    problems: &mut Vec<ConfigurationProblem>,
) -> BTreeMap<usize, (Raw, Origin)> {
    let mut whole = BTreeMap::new();
    let mut entries: BTreeMap<usize, BTreeMap<u32, (Raw, Origin)>> = BTreeMap::new();
    let mut seen: HashMap<String, (String, Origin)> = HashMap::new();
    for Given { key, raw, origin } in given {
        let mut complain = |what: &str| problems.push(ConfigurationProblem::of_setting(&key, &origin, what));
        let place = locate(&key);
        // `AllowedModules:0` and `AllowedModules:00` are the same key.
        let same = match place {
            Place::Entry(list, number) => format!("{list}:{number}"),
            _ => key.to_ascii_lowercase(),
        };
        if let Some((key, first)) = seen.get(&same) {
            complain(&format!("is there twice, first as {}: remove one", first.describe(key)));
            if let Place::Setting(index) | Place::Entry(index, _) = place {
                resolved.wrong.extend(SETTINGS.get(index).map(|setting| setting.key));
            }
            continue;
        }
        seen.insert(same, (key.clone(), origin.clone()));
        match place {
            Place::Setting(index) => {
                whole.insert(index, (raw, origin));
            }
            Place::Entry(index, number) => {
                entries.entry(index).or_default().insert(number, (raw, origin));
            }
            Place::Group if matches!(raw, Raw::Null | Raw::Object) => {}
            // Values are not shown here: what has no setting may be a secret under a wrong name.
            Place::Group => complain(&format!("is a group of settings and no value itself; it has {}", members(&key))),
            Place::Below(index) => {
                if let Some(setting) = SETTINGS.get(index) {
                    let what = if matches!(setting.kind, Kind::List { .. }) {
                        "names no entry of a list: entries are numbered from 0, as in"
                    } else {
                        "is below a setting that has nothing below it: write"
                    };
                    let example = match setting.kind {
                        Kind::List { .. } => origin.spelling(&format!("{}:0", setting.key)),
                        _ => origin.spelling(setting.key),
                    };
                    complain(&format!("{what} `{example}`"));
                    resolved.wrong.insert(setting.key);
                }
            }
            Place::Unknown => complain(&match nearest(&key) {
                Some(near) => format!("is no setting: did you mean `{}`?", origin.spelling(near)),
                None => "is no setting; docs/configuration.md lists them all".to_owned(),
            }),
        }
    }
    for (index, entries) in entries {
        let Some(setting) = SETTINGS.get(index) else { continue };
        match assemble(setting, entries, whole.get(&index)) {
            Ok(list) => {
                whole.insert(index, list);
            }
            Err(problem) => {
                problems.push(problem);
                resolved.wrong.insert(setting.key);
                whole.remove(&index);
            }
        }
    }
    whole
}

/// A list of its numbered entries.
fn assemble(
    setting: &Setting,
    entries: BTreeMap<u32, (Raw, Origin)>,
    whole: Option<&(Raw, Origin)>,
) -> Result<(Raw, Origin), ConfigurationProblem> {
    let mut list = Vec::new();
    for (expected, (number, (raw, origin))) in (0_u32..).zip(entries) {
        let key = format!("{}:{number}", setting.key);
        if let Some((_, whole)) = whole {
            let what = format!("is there beside {}: give the whole list or its entries", whole.describe(setting.key));
            return Err(ConfigurationProblem::of_setting(&key, &origin, &what));
        }
        if number != expected {
            let missing = origin.spelling(&format!("{}:{expected}", setting.key));
            let what = format!("leaves a gap in the list: `{missing}` is missing; number the entries from 0");
            return Err(ConfigurationProblem::of_setting(&key, &origin, &what));
        }
        list.push((raw, origin));
    }
    let origin = list.first().map_or(Origin::Default, |(_, origin)| origin.clone());
    Ok((Raw::List(list), origin))
}

/// Sets one setting.
fn apply(
    setting: &Setting,
    raw: &Raw,
    origin: &Origin,
    to: &mut Configuration,
    problems: &mut Vec<ConfigurationProblem>,
) {
    match (&setting.kind, raw) {
        (Kind::List { of, set }, Raw::List(entries)) => {
            let mut list = Vec::new();
            for (index, (raw, origin)) in entries.iter().enumerate() {
                let entry = match raw {
                    Raw::Text(text) => value::entry(*of, text).ok(),
                    _ => None,
                };
                match entry {
                    Some(entry) => list.push(entry),
                    None => problems.push(ConfigurationProblem::of_setting(
                        &format!("{}:{index}", setting.key),
                        origin,
                        &format!("is {}: expected {}", raw.shown(setting.secret), of.allowed()),
                    )),
                }
            }
            set(to, list);
        }
        (_, Raw::Text(text)) if value::set(setting, text, to).is_ok() => {}
        _ => {
            let what = format!(
                "is {}: expected {}{}; when left out: {}",
                raw.shown(setting.secret),
                setting.allowed(),
                how_to_write(setting, origin),
                setting.default_text()
            );
            problems.push(ConfigurationProblem::of_setting(setting.key, origin, &what));
        }
    }
}

/// How a list is written where it was tried to write one.
fn how_to_write(setting: &Setting, origin: &Origin) -> String {
    match (&setting.kind, origin) {
        (Kind::List { .. }, Origin::Environment { .. }) => {
            format!("; write `{}=…` for the first", setting.environment_variable())
        }
        (Kind::List { .. }, Origin::File { .. }) => "; write `[\"…\", \"…\"]`".to_owned(),
        _ => String::new(),
    }
}

/// The settings of a group.
fn members(group: &str) -> String {
    let below = |setting: &Setting| {
        let (start, name) = setting.key.split_once(':')?;
        start.eq_ignore_ascii_case(group).then(|| format!("`{name}`"))
    };
    SETTINGS.iter().filter_map(below).collect::<Vec<_>>().join(", ")
}

/// The setting that was probably meant.
fn nearest(key: &str) -> Option<&'static str> {
    /// Longer than every key with some mistakes in it, and short enough to compare quickly.
    const LONGEST: usize = 64;
    if key.len() > LONGEST {
        return None;
    }
    let key = key.to_ascii_lowercase();
    let distance = |setting: &Setting| {
        let whole = setting.key.to_ascii_lowercase();
        // `MemoryLimit` for `DefaultResources:MemoryLimit`, too; but rather a setting that is near as a whole.
        let last = whole.rsplit(':').next().unwrap_or(&whole);
        strsim::damerau_levenshtein(&key, &whole).min(strsim::damerau_levenshtein(&key, last).saturating_add(1))
    };
    SETTINGS
        .iter()
        .map(|setting| (distance(setting), setting.key))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (key.chars().count() / 3).max(1))
        .map(|(_, key)| key)
}
