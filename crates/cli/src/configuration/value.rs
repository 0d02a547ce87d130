//! From texts to values in their ranges.

use std::{net::Ipv6Addr, path::PathBuf, time::Duration};

use aevatar_sandbox_local::{BARE, ZygoteProfile};

use super::{
    Configuration,
    settings::{Entry, Kind, Setting},
};

/// What is shown of a secret.
pub(super) const HIDDEN: &str = "***";

/// A value that is not allowed.
#[derive(Debug)]
pub(super) struct NotAllowed;

/// Sets a setting that is no list from a text.
///
/// # Errors
/// The text is no value of this setting, or out of range; nothing is set then.
pub(super) fn set(setting: &Setting, text: &str, to: &mut Configuration) -> Result<(), NotAllowed> {
    if text.is_empty()
        && let Some(unset) = setting.empty
    {
        unset(to);
        return Ok(());
    }
    match &setting.kind {
        Kind::Text(set) => {
            let is_text = !text.is_empty() && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control());
            set(to, is_text.then(|| text.to_owned()).ok_or(NotAllowed)?);
        }
        Kind::Line(set) => {
            let is_line = !text.trim().is_empty() && !text.contains(char::is_control);
            set(to, is_line.then(|| text.trim().to_owned()).ok_or(NotAllowed)?);
        }
        Kind::Path(set) => {
            let is_path = !text.is_empty() && !text.contains(char::is_control);
            set(to, is_path.then(|| PathBuf::from(text)).ok_or(NotAllowed)?);
        }
        Kind::Address(set) => set(to, text.parse().map_err(|_| NotAllowed)?),
        Kind::Switch(set) if text.eq_ignore_ascii_case("true") => set(to, true),
        Kind::Switch(set) if text.eq_ignore_ascii_case("false") => set(to, false),
        Kind::Word(words) => {
            let (_, set) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).ok_or(NotAllowed)?;
            set(to);
        }
        Kind::Whole { least, most, set } => {
            let number = whole(text).filter(|number| (least..=most).contains(&number));
            set(to, number.ok_or(NotAllowed)?);
        }
        Kind::Seconds { zero, most, set } => {
            let time = seconds(text)
                .filter(|time| *time <= Duration::from_secs(*most))
                .filter(|time| *zero || !time.is_zero());
            set(to, time.ok_or(NotAllowed)?);
        }
        Kind::Cpu(set) => set(to, text.parse().map_err(|_| NotAllowed)?),
        Kind::Bytes { least, most, set } => {
            let size = text.parse().ok().filter(|size| (least..=most).contains(&size));
            set(to, size.ok_or(NotAllowed)?);
        }
        Kind::List { set, .. } if text.is_empty() => set(to, Vec::new()),
        Kind::Switch(_) | Kind::List { .. } => return Err(NotAllowed),
    }
    Ok(())
}

/// An entry of a list as it is kept.
///
/// # Errors
/// The text is no such entry.
pub(super) fn entry(of: Entry, text: &str) -> Result<String, NotAllowed> {
    match of {
        Entry::ModuleOrStar | Entry::Host if text == "*" => Ok(text.to_owned()),
        Entry::Module | Entry::ModuleOrStar if is_module(text) => Ok(text.to_owned()),
        Entry::Host if is_host(text) => Ok(text.to_ascii_lowercase()),
        Entry::Profile if profile(text).is_some() => Ok(text.to_owned()),
        Entry::Key if text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err(NotAllowed),
    }
}

/// A profile of warm interpreters: `NAME=PARENT:MODULE,MODULE`, or `NAME=MODULE,MODULE`. Whether it fits to others is
/// not looked at.
pub(super) fn profile(text: &str) -> Option<ZygoteProfile> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let (name, rest) = text.split_once('=')?;
    let (parent, modules) = match rest.split_once(':') {
        Some((parent, modules)) => (parent, modules),
        None => (BARE, rest),
    };
    let modules: Vec<String> = modules.split(',').map(str::to_owned).collect();
    (is_name(name) && is_name(parent) && modules.iter().all(|module| is_module(module))).then(|| ZygoteProfile {
        name: name.to_owned(),
        parent: Some(parent.to_owned()),
        modules,
    })
}

/// What a message shows of a text that may be long, or have characters that harm a terminal.
pub(super) fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown = String::new();
    for letter in text.chars().take(SHOWN) {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn whole(text: &str) -> Option<u64> {
    // `parse` alone would accept a plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Digits with an optional fraction of at most nine, so that nothing is rounded: no sign, no exponent.
fn seconds(text: &str) -> Option<Duration> {
    let (seconds, fraction) = match text.split_once('.') {
        Some((seconds, fraction)) => (seconds, Some(fraction)),
        None => (text, None),
    };
    let nanoseconds = match fraction {
        Some(digits) if (1..=9).contains(&digits.len()) => u32::try_from(whole(&format!("{digits:0<9}"))?).ok()?,
        Some(_) => return None,
        None => 0,
    };
    Some(Duration::new(whole(seconds)?, nanoseconds))
}

/// Whether it is identifiers with dots between them.
fn is_module(text: &str) -> bool {
    text.split('.').all(|part| {
        part.chars().next().is_some_and(|first| first == '_' || first.is_alphabetic())
            && part.chars().all(|letter| letter == '_' || letter.is_alphanumeric())
    })
}

/// Whether it is a name of DNS or an address, as a `Host` header has it without the port.
fn is_host(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.unwrap_or(text).parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}
