//! From what a request asks for to the limits that will be enforced.

use std::time::Duration;

use aevatar_sandbox_contract::{
    ByteQuantity, ErrorCode, LimitMaxima, ResourceLimits, SandboxError, SandboxExecutionRequest,
};

/// Below this no interpreter starts.
const MIN_MEMORY: ByteQuantity = ByteQuantity::from_mebibytes(16);
/// The smallest disk that holds the program itself.
const MIN_DISK: u64 = 1 << 20;
/// The longest time; beyond it a typing mistake is likelier than a wish.
const MAX_TIMEOUT: Duration = Duration::from_hours(24);
/// What a request's arguments and environment may weigh together.
const MAX_ARGUMENTS: usize = 64 * 1024;

/// Fills in `defaults` where `request` is silent, and checks that the outcome makes sense.
///
/// # Errors
/// `InvalidRequest`, with what is allowed.
pub(crate) fn resolve(
    request: &SandboxExecutionRequest,
    defaults: &ResourceLimits,
    maxima: Option<&LimitMaxima>,
) -> Result<ResourceLimits, SandboxError> {
    let asked = &request.resources;
    let mut limits = defaults.clone();
    limits.cpu_limit = asked.cpu_limit.unwrap_or(limits.cpu_limit);
    limits.memory_limit = asked.memory_limit.unwrap_or(limits.memory_limit);
    limits.disk_limit = asked.disk_limit.unwrap_or(limits.disk_limit);
    limits.process_limit = asked.process_limit.unwrap_or(limits.process_limit);
    limits.cpu_time = asked.cpu_time.or(limits.cpu_time);
    limits.timeout = request.timeout.unwrap_or(limits.timeout);

    let refuse =
        |what: String, hint: &str| Err(SandboxError::new(ErrorCode::InvalidRequest, what).with_hint(hint.to_owned()));
    if limits.memory_limit < MIN_MEMORY {
        return refuse(
            format!("a memory limit of {} is too small for a Python interpreter", limits.memory_limit),
            "ask for at least 16Mi; numpy and pandas want 128Mi",
        );
    }
    if limits.disk_limit.bytes() < MIN_DISK {
        return refuse(
            format!("a disk limit of {} bytes is too small for the program itself", limits.disk_limit.bytes()),
            "ask for at least 1Mi",
        );
    }
    if limits.timeout.is_zero() || limits.timeout > MAX_TIMEOUT {
        return refuse(
            format!("a timeout of {} s is out of range", limits.timeout.as_secs_f64()),
            "ask for more than 0 seconds and at most 24 hours",
        );
    }
    if limits.cpu_time.is_some_and(|time| time.is_zero() || time > MAX_TIMEOUT) {
        return refuse(
            "the CPU time limit is out of range".to_owned(),
            "ask for more than 0 seconds and at most 24 hours",
        );
    }
    if !(1..=32_768).contains(&limits.process_limit) {
        return refuse(
            format!("a limit of {} processes is out of range", limits.process_limit),
            "ask for 1 to 32768 processes and threads",
        );
    }
    if let Some(maxima) = maxima {
        check_maxima(&limits, maxima)?;
    }
    check_arguments(request)?;
    Ok(limits)
}

/// # Errors
/// The first limit that is above its maximum.
fn check_maxima(limits: &ResourceLimits, maxima: &LimitMaxima) -> Result<(), SandboxError> {
    let seconds = |duration: Duration| format!("{} s", duration.as_secs_f64());
    let LimitMaxima { cpu_limit, memory_limit, disk_limit, process_limit, timeout } = maxima;
    let compared = [
        ("cpuLimit", limits.cpu_limit > *cpu_limit, limits.cpu_limit.to_string(), cpu_limit.to_string()),
        ("memoryLimit", limits.memory_limit > *memory_limit, limits.memory_limit.to_string(), memory_limit.to_string()),
        ("diskLimit", limits.disk_limit > *disk_limit, limits.disk_limit.to_string(), disk_limit.to_string()),
        (
            "processLimit",
            limits.process_limit > *process_limit,
            limits.process_limit.to_string(),
            process_limit.to_string(),
        ),
        ("timeout", limits.timeout > *timeout, seconds(limits.timeout), seconds(*timeout)),
    ];
    for (name, above, asked, maximum) in compared {
        if above {
            return Err(SandboxError::new(
                ErrorCode::InvalidRequest,
                format!("a `{name}` of {asked} is above the maximum of {maximum}"),
            )
            .with_hint(format!("ask for at most {maximum}, or leave it out for the default")));
        }
    }
    Ok(())
}

fn check_arguments(request: &SandboxExecutionRequest) -> Result<(), SandboxError> {
    let refuse =
        |what: &str, hint: &str| Err(SandboxError::new(ErrorCode::InvalidRequest, what).with_hint(hint.to_owned()));
    let pairs = request.env.iter();
    if request.args.iter().any(|argument| argument.contains('\0'))
        || pairs.clone().any(|(name, value)| name.contains('\0') || value.contains('\0'))
    {
        return refuse(
            "an argument or an environment variable contains a NUL character",
            "remove it: no program can receive one",
        );
    }
    if pairs.clone().any(|(name, _)| name.is_empty() || name.contains('=')) {
        return refuse("an environment variable has no name, or a name with `=`", "name it as `NAME`");
    }
    let weight: usize = request.args.iter().map(|argument| argument.len() + 1).sum::<usize>()
        + pairs.map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    if weight > MAX_ARGUMENTS {
        return refuse(
            "arguments and environment variables together are larger than 64 KiB",
            "send large data through stdin",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aevatar_sandbox_contract::{DEFAULT_LIMITS, SandboxResources};

    use super::*;

    #[test]
    fn a_silent_request_takes_the_defaults() {
        assert_eq!(resolve(&SandboxExecutionRequest::new(""), &DEFAULT_LIMITS, None).unwrap(), DEFAULT_LIMITS);
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        let with = |change: fn(&mut SandboxExecutionRequest)| {
            let mut request = SandboxExecutionRequest::new("");
            change(&mut request);
            let error = resolve(&request, &DEFAULT_LIMITS, None).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidRequest);
            assert!(error.hint.is_some(), "{error}");
        };
        with(|request| request.timeout = Some(Duration::ZERO));
        with(|request| request.timeout = Some(Duration::from_secs(u64::MAX)));
        with(|request| {
            request.resources = SandboxResources { memory_limit: "1Mi".parse().ok(), ..SandboxResources::default() }
        });
        with(|request| {
            request.resources = SandboxResources { disk_limit: "1".parse().ok(), ..SandboxResources::default() }
        });
        with(|request| request.resources = SandboxResources { process_limit: Some(0), ..SandboxResources::default() });
        with(|request| {
            request.resources = SandboxResources { cpu_time: Some(Duration::ZERO), ..SandboxResources::default() }
        });
        with(|request| request.args = vec!["a\0b".into()]);
        with(|request| request.args = vec!["a".repeat(MAX_ARGUMENTS)]);
        with(|request| drop(request.env.insert("A=B".into(), String::new())));
        with(|request| drop(request.env.insert("A".into(), "\0".into())));
    }

    #[test]
    fn what_is_above_a_maximum_is_refused_by_name() {
        let maxima = LimitMaxima {
            cpu_limit: "2".parse().unwrap(),
            memory_limit: "1Gi".parse().unwrap(),
            disk_limit: "2Gi".parse().unwrap(),
            process_limit: 100,
            timeout: Duration::from_mins(1),
        };
        let refused = |change: fn(&mut SandboxExecutionRequest)| {
            let mut request = SandboxExecutionRequest::new("");
            change(&mut request);
            resolve(&request, &DEFAULT_LIMITS, Some(&maxima)).map_err(|error| error.to_string())
        };
        assert_eq!(refused(|_| ()).unwrap(), DEFAULT_LIMITS);
        assert_eq!(
            refused(|request| request.resources.memory_limit = "8Gi".parse().ok()).unwrap_err(),
            "a `memoryLimit` of 8Gi is above the maximum of 1Gi"
        );
        assert_eq!(
            refused(|request| request.timeout = Some(Duration::from_millis(60_500))).unwrap_err(),
            "a `timeout` of 60.5 s is above the maximum of 60 s"
        );
        for change in [
            |request: &mut SandboxExecutionRequest| request.resources.cpu_limit = "2001m".parse().ok(),
            |request: &mut SandboxExecutionRequest| request.resources.disk_limit = "3Gi".parse().ok(),
            |request: &mut SandboxExecutionRequest| request.resources.process_limit = Some(101),
        ] {
            assert!(refused(change).unwrap_err().contains("above the maximum"));
        }
    }
}
