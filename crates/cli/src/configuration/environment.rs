//! Environment variables in the convention of .NET: `PythonSandbox__DefaultResources__MemoryLimit`.

use std::ffi::OsString;

use super::{
    CONNECTION_NAME, CONNECTION_SETTING, CONNECTION_STRINGS, SECTION,
    problem::{ConfigurationProblem, Origin},
    resolve::{Given, Raw, is_nearly_the_section},
};

/// What variables say about the section, by name.
pub(super) fn given(environment: &[(OsString, OsString)], problems: &mut Vec<ConfigurationProblem>) -> Vec<Given> {
    let mut given = Vec::new();
    let mut variables: Vec<_> = environment.iter().map(|(name, value)| (name.to_string_lossy(), value)).collect();
    // An environment has no order that anybody chose; messages should have one.
    variables.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, value) in variables {
        // .NET takes a colon in the name as well.
        let path = name.replace("__", ":");
        let Some((section, key)) = path.split_once(':') else { continue };
        let origin = Origin::Environment { name: name.clone().into_owned() };
        if is_nearly_the_section(section) {
            let what = format!("is read by nobody: did you mean `{}`?", origin.spelling(key));
            problems.push(ConfigurationProblem::of_setting(key, &origin, &what));
            continue;
        }
        let is_connection =
            section.eq_ignore_ascii_case(CONNECTION_STRINGS) && key.eq_ignore_ascii_case(CONNECTION_NAME);
        let key = if is_connection { CONNECTION_SETTING } else { key };
        if is_connection || section.eq_ignore_ascii_case(SECTION) {
            match value.to_str() {
                Some(text) => given.push(Given { key: key.to_owned(), raw: Raw::Text(text.to_owned()), origin }),
                None => problems.push(ConfigurationProblem::of_setting(
                    key,
                    &origin,
                    "is not UTF-8: write its value anew, or unset it",
                )),
            }
        }
    }
    given
}
