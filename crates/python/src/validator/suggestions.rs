//! What to say to somebody who imports what is not there.

/// Allowed modules that a hint lists.
const LISTED: usize = 12;

/// Names of packages, and of things near them, with the name that is imported.
const PACKAGES: &[(&str, &str)] = &[
    ("beautifulsoup", "bs4"),
    ("beautifulsoup4", "bs4"),
    ("BeautifulSoup", "bs4"),
    ("charset-normalizer", "charset_normalizer"),
    ("fonttools", "fontTools"),
    ("matplotlib_inline", "matplotlib"),
    ("opencv", "cv2"),
    ("opencv_python", "cv2"),
    ("Pillow", "PIL"),
    ("pillow", "PIL"),
    ("pil", "PIL"),
    ("python_dateutil", "dateutil"),
    ("dateparser", "dateutil"),
    ("pyyaml", "yaml"),
    ("PyYAML", "yaml"),
    ("scikit_learn", "sklearn"),
    ("scikitlearn", "sklearn"),
    ("np", "numpy"),
    ("pd", "pandas"),
    ("plt", "matplotlib.pyplot"),
    ("sp", "scipy"),
];

/// What does much the same: of a module that is often wished for, one that may be there.
const REPLACEMENTS: &[(&str, &[&str])] = &[
    ("cv2", &["PIL", "skimage"]),
    ("httpx", &["requests", "urllib3"]),
    ("aiohttp", &["requests"]),
    ("polars", &["pandas"]),
    ("seaborn", &["matplotlib"]),
    ("plotly", &["matplotlib"]),
    ("statsmodels", &["scipy", "sklearn"]),
    ("torch", &["sklearn", "numpy"]),
    ("tensorflow", &["sklearn", "numpy"]),
    ("keras", &["sklearn"]),
    ("xgboost", &["sklearn"]),
    ("lightgbm", &["sklearn"]),
    ("lxml", &["bs4"]),
    ("sympy", &["scipy", "numpy"]),
];

/// In the standard library, for what is not.
const STANDARD: &[(&str, &str)] = &[
    ("simplejson", "json"),
    ("ujson", "json"),
    ("orjson", "json"),
    ("yaml", "json or tomllib"),
    ("toml", "tomllib"),
    ("tomli", "tomllib"),
    ("mock", "unittest.mock"),
    ("pathlib2", "pathlib"),
    ("urllib2", "urllib.request"),
    ("ConfigParser", "configparser"),
    ("Queue", "queue"),
    ("StringIO", "io"),
    ("cStringIO", "io"),
    ("cPickle", "pickle"),
    ("Tkinter", "tkinter"),
    ("pytest", "unittest"),
    ("lxml", "xml.etree.ElementTree"),
    ("httpx", "urllib.request"),
];

/// A hint for a blocked module.
pub(super) fn instead_of_blocked(module: &str) -> String {
    let first = first_part(module);
    if matches!(first, "ctypes" | "_ctypes" | "cffi") {
        return "call no foreign functions: use `struct`, `array`, or `numpy` for binary data".to_owned();
    }
    "leave this import out, or ask the operator of the sandbox to take it off the list of blocked modules".to_owned()
}

/// A hint for a module that is neither in the standard library nor allowed.
pub(super) fn instead_of_unknown(module: &str, allowed: &[String]) -> String {
    let first = first_part(module);
    let has = |name: &str| allowed.iter().any(|entry| first_part(entry) == first_part(name));
    if let Some((_, import)) = PACKAGES.iter().find(|(package, import)| *package == first && has(import)) {
        return format!("the module is called `{import}`: `import {import}`");
    }
    if let Some(near) = nearest(first, allowed) {
        return format!("did you mean `{near}`?");
    }
    let replacement = REPLACEMENTS.iter().filter(|(wished, _)| *wished == first).flat_map(|(_, names)| *names);
    if let Some(name) = replacement.into_iter().find(|name| has(name)) {
        return format!("it is not installed; `{name}` is, and may do");
    }
    if let Some((_, name)) = STANDARD.iter().find(|(wished, _)| *wished == first) {
        return format!("it is not installed; the standard library has {name}");
    }
    available(allowed)
}

fn available(allowed: &[String]) -> String {
    if allowed.is_empty() {
        return "only the standard library is available".to_owned();
    }
    let mut names: Vec<&str> = allowed.iter().map(String::as_str).filter(|name| !name.starts_with('_')).collect();
    names.sort_by_key(|name| name.to_lowercase());
    let more = if names.len() > LISTED { ", …" } else { "" };
    names.truncate(LISTED);
    format!("besides the standard library there are: {}{more}", names.join(", "))
}

fn first_part(module: &str) -> &str {
    module.split_once('.').map_or(module, |(first, _)| first)
}

/// The allowed name that this one is a slip of.
fn nearest<'a>(name: &str, allowed: &'a [String]) -> Option<&'a str> {
    let length = name.chars().count();
    if !(3..=40).contains(&length) {
        return None;
    }
    let most = if length < 5 { 1 } else { 2 };
    let near = allowed.iter().map(|entry| first_part(entry)).filter(|entry| entry.len() <= 40);
    let near = near.map(|entry| (distance(&name.to_lowercase(), &entry.to_lowercase()), entry));
    let (distance, entry) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= most).then_some(entry)
}

/// Letters to insert, remove, replace or swap.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, candidate) in other.iter().enumerate() {
            let at = |list: &[usize], index: usize| list.get(index).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&last, column) + usize::from(letter != candidate);
            let mut cost = replaced.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let is_swap = row > 0 && column > 0 && one.get(row - 1) == Some(candidate);
            if is_swap && other.get(column - 1) == Some(letter) {
                cost = cost.min(at(&before, column - 1) + 1);
            }
            current.push(cost);
        }
        before = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::DEFAULT_ALLOWED_MODULES, *};

    #[test]
    fn hints_name_what_was_meant() {
        let allowed: Vec<String> = DEFAULT_ALLOWED_MODULES.iter().map(|name| (*name).to_owned()).collect();
        for (module, expected) in [
            ("nunpy", "did you mean `numpy`?"),
            ("pnadas", "did you mean `pandas`?"),
            ("request", "did you mean `requests`?"),
            ("scikit_learn", "the module is called `sklearn`"),
            ("beautifulsoup4", "the module is called `bs4`"),
            ("pillow", "the module is called `PIL`"),
            ("cv2", "`PIL` is, and may do"),
            ("torch.nn", "`sklearn` is, and may do"),
            ("yaml", "the standard library has json or tomllib"),
            ("left_pad_forever", "besides the standard library there are: bs4, certifi"),
        ] {
            let hint = instead_of_unknown(module, &allowed);
            assert!(hint.contains(expected), "{module}: {hint}");
        }
        assert_eq!(instead_of_unknown("left_pad_forever", &[]), "only the standard library is available");
    }
}
