//! What settings must agree on.

use std::collections::BTreeSet;

use aevatar_sandbox_local::{BARE, ZygoteOptions};

use super::{
    problem::{ConfigurationProblem, Origin},
    resolve::Resolved,
};

/// Complains of settings that contradict each other.
pub(super) fn check(resolved: &Resolved, problems: &mut Vec<ConfigurationProblem>) {
    let configuration = &resolved.configuration;
    let (limits, maxima) = (&configuration.default_limits, &configuration.maxima);
    let mut ordered = |(small, is): (&str, String), (large, at_most): (&str, String), holds: bool| {
        if !holds && resolved.are_right(&[small, large]) {
            let (key, origin, other) = blame(resolved, small, large);
            let (value, relation, limit) = if key == small { (is, "above", at_most) } else { (at_most, "below", is) };
            let what = format!(
                "is `{value}`, {relation} {}, which is `{limit}`: lower {small} or raise {large}",
                resolved.origin(other).describe(other)
            );
            problems.push(ConfigurationProblem::of_setting(key, origin, &what));
        }
    };
    ordered(
        ("DefaultTimeout", limits.timeout.as_secs_f64().to_string()),
        ("MaxTimeout", maxima.timeout.as_secs_f64().to_string()),
        limits.timeout <= maxima.timeout,
    );
    ordered(
        ("DefaultResources:CpuLimit", limits.cpu_limit.to_string()),
        ("MaxResources:CpuLimit", maxima.cpu_limit.to_string()),
        limits.cpu_limit <= maxima.cpu_limit,
    );
    ordered(
        ("DefaultResources:MemoryLimit", limits.memory_limit.to_string()),
        ("MaxResources:MemoryLimit", maxima.memory_limit.to_string()),
        limits.memory_limit <= maxima.memory_limit,
    );
    ordered(
        ("DefaultResources:DiskLimit", limits.disk_limit.to_string()),
        ("MaxResources:DiskLimit", maxima.disk_limit.to_string()),
        limits.disk_limit <= maxima.disk_limit,
    );
    ordered(
        ("DefaultResources:ProcessLimit", limits.process_limit.to_string()),
        ("MaxResources:ProcessLimit", maxima.process_limit.to_string()),
        limits.process_limit <= maxima.process_limit,
    );
    let code = configuration.validator.max_code_length;
    ordered(
        ("MaxCodeLength", code.to_string()),
        ("MaxRequestBytes", configuration.max_request_bytes.to_string()),
        u64::try_from(code).is_ok_and(|code| code <= configuration.max_request_bytes.bytes()),
    );
    let zygotes = &configuration.zygotes;
    ordered(
        ("ParkedMin", zygotes.parked_min.to_string()),
        ("ParkedMax", zygotes.parked_max.to_string()),
        zygotes.parked_min <= zygotes.parked_max,
    );
    check_modules(resolved, problems);
    check_profiles(resolved, problems);
}

/// Which of two settings a message is about: the one that somebody set, for a default is nobody's mistake.
fn blame<'a, 'b>(resolved: &'a Resolved, small: &'b str, large: &'b str) -> (&'b str, &'a Origin, &'b str) {
    match (resolved.origin(small), resolved.origin(large)) {
        (Origin::Default, origin) => (large, origin, small),
        (origin, _) => (small, origin, large),
    }
}

fn check_modules(resolved: &Resolved, problems: &mut Vec<ConfigurationProblem>) {
    const ALLOWED: &str = "AllowedModules";
    const BLOCKED: &str = "BlockedModules";
    let imports = &resolved.configuration.imports;
    let Some(allowed) = imports.allowed.as_ref().filter(|_| resolved.are_right(&[ALLOWED, BLOCKED])) else { return };
    let blocked: BTreeSet<&String> = imports.blocked.iter().collect();
    let both: BTreeSet<&String> = allowed.iter().filter(|module| blocked.contains(module)).collect();
    for module in both {
        let hint = match resolved.origin(BLOCKED) {
            Origin::Default => "take it out, or give BlockedModules without it, which replaces the default list",
            _ => "take it out of one of them",
        };
        let what = format!("allows `{module}`, which {} blocks: {hint}", resolved.origin(BLOCKED).describe(BLOCKED));
        problems.push(ConfigurationProblem::of_setting(ALLOWED, resolved.origin(ALLOWED), &what));
    }
}

fn check_profiles(resolved: &Resolved, problems: &mut Vec<ConfigurationProblem>) {
    const PROFILES: &str = "ZygoteProfiles";
    // The rest has settings of its own.
    let profiles = ZygoteOptions { profiles: resolved.configuration.zygotes.profiles.clone(), ..Default::default() };
    if resolved.are_right(&[PROFILES])
        && let Err(why) = profiles.check()
    {
        let what = format!(
            "gives profiles that make no sense: {why}; write a parent before its children, and each name once \
             (`{BARE}` is there already)"
        );
        problems.push(ConfigurationProblem::of_setting(PROFILES, resolved.origin(PROFILES), &what));
    }
}
