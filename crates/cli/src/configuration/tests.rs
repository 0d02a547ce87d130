use std::{fmt::Write as _, os::unix::ffi::OsStringExt as _, path::Path};

use aevatar_sandbox_local::ZygoteProfile;
use aevatar_sandbox_python::DangerousConstructs;
use proptest::prelude::*;

use super::{
    resolve::{File, resolve},
    settings::{DefaultValue, Entry, Kind},
    *,
};

const SECRET: &str = "0123456789abcdefSECRET";

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect()
}

fn from_text(text: &str) -> Result<Configuration, ConfigurationError> {
    resolve(File::Text { path: Path::new("appsettings.json"), text: text.to_owned() }, &[], &[])
}

/// `section` is what stands between the braces of the section.
fn from_section(section: &str) -> Result<Configuration, ConfigurationError> {
    from_text(&format!("{{ \"PythonSandbox\": {{\n{section}\n}} }}"))
}

fn from_variables(pairs: &[(&str, &str)]) -> Result<Configuration, ConfigurationError> {
    resolve(File::None, &variables(pairs), &[])
}

fn from_flags(flags: &[ConfigurationOverride]) -> Result<Configuration, ConfigurationError> {
    resolve(File::None, &[], flags)
}

/// Inputs with what is said of each, for a snapshot.
fn told<T: std::fmt::Debug + Clone>(
    inputs: impl IntoIterator<Item = T>,
    load: impl Fn(T) -> Result<Configuration, ConfigurationError>,
) -> String {
    let mut text = String::new();
    for input in inputs {
        let outcome = match load(input.clone()) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        writeln!(text, "{input:?}\n{outcome}\n").unwrap();
    }
    assert!(!text.lines().any(|line| line.starts_with("  ") && line.contains("SECRET")), "{text}");
    text
}

#[test]
fn no_source_gives_the_defaults() {
    assert_eq!(Configuration::load(&ConfigurationSources::default()).unwrap(), Configuration::default());
    assert_eq!(from_text("{}").unwrap(), Configuration::default());
    assert_eq!(from_text("{ \"PythonSandbox\": null }").unwrap(), Configuration::default());
    assert_eq!(from_section("\"Port\": null, \"DefaultResources\": {}, ").unwrap(), Configuration::default());
}

#[test]
fn the_defaults_of_the_table_are_the_defaults() {
    for setting in SETTINGS {
        let value = match setting.default {
            DefaultValue::Text(text) => OverrideValue::from(text),
            DefaultValue::List(entries) => entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>().into(),
            DefaultValue::Words(_) => continue,
        };
        let configured = from_flags(&[ConfigurationOverride::new(setting.key(), value, "--flag")]);
        assert_eq!(configured.unwrap(), Configuration::default(), "{}", setting.key());
    }
}

#[test]
fn the_table_is_in_order() {
    for (index, setting) in SETTINGS.iter().enumerate() {
        let key = setting.key();
        assert!(key.split(':').all(|part| part.starts_with(|letter: char| letter.is_ascii_uppercase())), "{key}");
        assert!(setting.description().ends_with('.') && !setting.description().contains('|'), "{key}");
        assert!(SETTINGS.iter().skip(index + 1).all(|other| !other.key.eq_ignore_ascii_case(key)), "{key}");
    }
}

/// Every setting with a value that is not its default.
const ALL: &str = r#"
    "Image": "registry.example.com/sandbox:1",
    "Python": "python3.12",
    "DataDir": "/var/lib/aevatar",
    "Host": "0.0.0.0",
    "Port": 8080,
    "ApiKeys": ["0123456789abcdefSECRET"],
    "AllowUnauthenticated": true,
    "AllowedHosts": ["Sandbox.example.com", "[::1]", "*"],
    "DefaultTimeout": 0.5,
    "MaxTimeout": "60",
    "MaxCodeLength": 5000,
    "MaxRequestBytes": 65536,
    "AllowedModules": ["numpy", "a.b", "*"],
    "BlockedModules": [],
    "ImportPolicy": "off",
    "DangerousConstructs": "REJECT",
    "DefaultResources": {
        "CpuLimit": 0.5, "MemoryLimit": "64Mi", "DiskLimit": "2Mi", "ProcessLimit": "8", "CpuTime": 7
    },
    "MaxResources": { "CpuLimit": "1500m", "MemoryLimit": "128Mi", "DiskLimit": "4Mi", "ProcessLimit": 16 },
    "MaxConcurrentExecutions": 3,
    "MaxQueueLength": 4,
    "MaxQueueBytes": "1Mi",
    "QueueTimeout": 1.5,
    "ConnectionString": "Host=db;Password=SECRET",
    "RetentionTime": 60,
    "RetentionBytes": "1Mi",
    "StoreCode": true,
    "LogFormat": "json",
    "OtlpEndpoint": "http://127.0.0.1:4318",
    "MaxOutputBytes": "2Ki",
    "OutputLimit": "4Ki",
    "IsolationTier": "reduced",
    "Zygote": "off",
    "ZygoteProfiles": ["numpy=numpy", "graphs=numpy:networkx,networkx.algorithms"],
    "ParkedMin": 0,
    "ParkedMax": "3",
    "ParkedMemory": "1Gi",
    "ZygoteMaxAge": 0.5,
    "ZygoteMaxForks": 7,
    "BodyTimeout": 2,
    "ShutdownGrace": 0
"#;

fn profile(name: &str, parent: &str, modules: &[&str]) -> ZygoteProfile {
    ZygoteProfile {
        name: name.to_owned(),
        parent: Some(parent.to_owned()),
        modules: modules.iter().map(|&module| module.to_owned()).collect(),
    }
}

fn all() -> Configuration {
    Configuration {
        image: "registry.example.com/sandbox:1".into(),
        python: Some("python3.12".into()),
        data_folder: Some("/var/lib/aevatar".into()),
        host: "0.0.0.0".parse().unwrap(),
        port: 8080,
        api_keys: vec![ApiKey(SECRET.into())],
        allow_unauthenticated: true,
        allowed_hosts: vec!["sandbox.example.com".into(), "[::1]".into(), "*".into()],
        default_limits: ResourceLimits {
            cpu_limit: "500m".parse().unwrap(),
            memory_limit: "64Mi".parse().unwrap(),
            disk_limit: "2Mi".parse().unwrap(),
            process_limit: 8,
            timeout: Duration::from_millis(500),
            cpu_time: Some(Duration::from_secs(7)),
            max_output_bytes: 2048,
            output_limit: "4Ki".parse().unwrap(),
            ..DEFAULT_LIMITS
        },
        maxima: LimitMaxima {
            cpu_limit: "1.5".parse().unwrap(),
            memory_limit: "128Mi".parse().unwrap(),
            disk_limit: "4Mi".parse().unwrap(),
            process_limit: 16,
            timeout: Duration::from_mins(1),
        },
        max_request_bytes: "64Ki".parse().unwrap(),
        max_concurrent_executions: 3,
        max_queue_length: 4,
        max_queue_bytes: "1Mi".parse().unwrap(),
        queue_timeout: Duration::from_millis(1500),
        connection_string: Some(ConnectionSetting("Host=db;Password=SECRET".into())),
        retention: Retention { max_age: Duration::from_mins(1), max_bytes: 1 << 20 },
        store_code: true,
        log_format: LogFormat::Json,
        otlp_endpoint: Some("http://127.0.0.1:4318".into()),
        validator: ValidatorOptions { max_code_length: 5000, dangerous_constructs: DangerousConstructs::Reject },
        imports: ImportRules {
            enforced: false,
            allowed: Some(vec!["numpy".into(), "a.b".into(), "*".into()]),
            blocked: Vec::new(),
        },
        isolation: IsolationTier::Reduced,
        zygote: ZygoteMode::Off,
        zygotes: ZygoteOptions {
            profiles: vec![
                profile("numpy", "bare", &["numpy"]),
                profile("graphs", "numpy", &["networkx", "networkx.algorithms"]),
            ],
            parked_min: 0,
            parked_max: 3,
            parked_memory: 1 << 30,
            max_age: Duration::from_millis(500),
            max_forks: 7,
        },
        body_timeout: Duration::from_secs(2),
        shutdown_grace: Duration::ZERO,
    }
}

#[test]
fn a_file_sets_everything() {
    let configuration = from_section(ALL).unwrap();
    assert_eq!(configuration, all());
    let options = configuration.service_options();
    assert_eq!(options.maxima, Some(configuration.maxima.clone()));
    assert_eq!(options.default_limits, configuration.default_limits);
    assert_eq!(options.python, configuration.python);
    assert_eq!((options.zygote, configuration.zygote_options()), (ZygoteMode::Off, None));
    let on = Configuration { zygote: ZygoteMode::On, ..configuration };
    assert_eq!((on.service_options().zygote, on.zygote_options()), (ZygoteMode::On, Some(on.zygotes)));
    for setting in SETTINGS {
        let name = setting.key().rsplit(':').next().unwrap();
        assert!(ALL.contains(&format!("\"{name}\"")), "{}", setting.key());
    }
}

#[test]
fn a_file_may_be_as_dotnet_accepts_it() {
    let text = "\u{feff}// a comment\r\n{\n  /* another */ \"Logging\": { \"LogLevel\": { \"A\": \"Debug\" } },\n  \
                \"AllowedHosts\": \"*\", \"ConnectionStrings\": null, \"Kestrel\": [1, {}],\n  \
                \"pythonsandbox\": { \"DEFAULTTIMEOUT\": \"20\", \"defaultresources:cpulimit\": 2, },\n  \
                \"PythonSandbox:DefaultResources\": { \"memoryLimit\": \"1Gi\" },\n  \
                \"PythonSandbox:DefaultResources:DiskLimit\": 2097152,\n  \
                \"PYTHONSANDBOX:AllowedModules:1\": \"b\", \"PythonSandbox:AllowedModules\": { \"0\": \"a\" },\n}";
    let configuration = from_text(text).unwrap();
    assert_eq!(configuration.default_limits.timeout, Duration::from_secs(20));
    assert_eq!(configuration.default_limits.cpu_limit.millicores(), 2000);
    assert_eq!(configuration.default_limits.memory_limit.bytes(), 1 << 30);
    assert_eq!(configuration.default_limits.disk_limit.bytes(), 2 << 20);
    assert_eq!(configuration.imports.allowed, Some(vec!["a".into(), "b".into()]));
}

#[test]
fn variables_are_those_of_dotnet() {
    let configuration = from_variables(&[
        ("PythonSandbox__DefaultTimeout", "20"),
        ("PYTHONSANDBOX__DEFAULTRESOURCES__MEMORYLIMIT", "1Gi"),
        ("PythonSandbox:MaxTimeout", "40"),
        ("PythonSandbox__BlockedModules__1", "b"),
        ("PythonSandbox__BlockedModules__0", "a"),
        ("PythonSandbox__AllowedModules", ""),
        ("PythonSandbox__DefaultResources__CpuTime", ""),
        ("PythonSandbox__Zygote", "off"),
        ("PythonSandbox__ZygoteProfiles__0", "tables=pandas,numpy"),
        ("PythonSandbox__ZygoteProfiles__1", "plots=tables:matplotlib.pyplot"),
        ("PythonSandbox__ParkedMemory", "64Mi"),
        // Not ours: Kubernetes sets the first two for a service of the name pythonsandbox.
        ("PYTHONSANDBOX_PORT", "tcp://10.0.0.1:80"),
        ("PYTHONSANDBOX_SERVICE_HOST", "10.0.0.1"),
        ("PythonSandbox", "1"),
        ("Logging__LogLevel__Default", "Debug"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    let mut expected = Configuration::default();
    expected.default_limits.timeout = Duration::from_secs(20);
    expected.default_limits.memory_limit = ByteQuantity::from_mebibytes(1024);
    expected.maxima.timeout = Duration::from_secs(40);
    expected.imports.blocked = vec!["a".into(), "b".into()];
    expected.imports.allowed = Some(Vec::new());
    expected.zygote = ZygoteMode::Off;
    expected.zygotes.profiles =
        vec![profile("tables", "bare", &["pandas", "numpy"]), profile("plots", "tables", &["matplotlib.pyplot"])];
    expected.zygotes.parked_memory = 64 << 20;
    assert_eq!(configuration, expected);
}

#[test]
fn a_later_source_wins() {
    let file = || File::Text {
        path: Path::new("appsettings.json"),
        text: r#"{ "PythonSandbox": { "Port": 1, "DefaultTimeout": 1, "Image": "file", "Python": "python3",
                   "AllowedModules": ["a", "b", "c"] } }"#
            .to_owned(),
    };
    let variables = variables(&[
        ("PythonSandbox__Port", "2"),
        ("PythonSandbox__DefaultTimeout", "2"),
        ("PythonSandbox__AllowedModules__0", "d"),
        ("PythonSandbox__Python", ""),
    ]);
    let flags = [ConfigurationOverride::new("port", "3", "--port")];
    let configuration = resolve(file(), &variables, &flags).unwrap();
    assert_eq!(configuration.port, 3);
    assert_eq!(configuration.default_limits.timeout, Duration::from_secs(2));
    assert_eq!(configuration.image, "file");
    assert_eq!(configuration.python, None, "an empty value takes one back");
    assert_eq!(configuration.imports.allowed, Some(vec!["d".into()]), "a list is replaced as a whole");
    let list = [ConfigurationOverride::new("AllowedModules", vec!["e".to_owned()], "--allow")];
    assert_eq!(resolve(file(), &variables, &list).unwrap().imports.allowed, Some(vec!["e".into()]));
}

#[test]
fn an_empty_list_of_profiles_stands_for_the_default_ones() {
    let file = || File::Text {
        path: Path::new("appsettings.json"),
        text: r#"{ "PythonSandbox": { "ZygoteProfiles": ["a=json"] } }"#.to_owned(),
    };
    let given = resolve(file(), &[], &[]).unwrap().zygotes.profiles;
    assert_eq!(given, [profile("a", "bare", &["json"])], "a list is replaced as a whole");
    let taken_back = variables(&[("PythonSandbox__ZygoteProfiles", "")]);
    assert_eq!(resolve(file(), &taken_back, &[]).unwrap(), Configuration::default());
    assert_eq!(from_section(r#""ZygoteProfiles": []"#).unwrap(), Configuration::default());
}

#[test]
fn all_problems_are_told_with_key_value_and_what_is_allowed() {
    let file = File::Text {
        path: Path::new("appsettings.json"),
        text: "{ \"PythonSandbox\": {\n  \"DefaultTimout\": 5,\n  \"Port\": \"http\",\n  \"MaxResources\": \
               { \"CpuLimit\": 0 } } }"
            .to_owned(),
    };
    let variables = variables(&[
        ("PythonSandbox__DefaultTimeout", "soon"),
        ("PythonSandbox__DefaultResources__MemoryLimit", "8Gi"),
    ]);
    let flags = [ConfigurationOverride::new("MaxTimeout", "-1", "--max-timeout")];
    let error = resolve(file, &variables, &flags).unwrap_err();
    assert_eq!(error.problems().len(), 6);
    insta::assert_snapshot!(error);
}

#[test]
fn what_is_wrong_with_a_value() {
    let told = SETTINGS.iter().flat_map(|setting| {
        let name = setting.key();
        let values: &[&str] = match setting.kind {
            Kind::Text(_) => &["\"\"", "\"a b\"", "[]"],
            Kind::Line(_) => &["\" \"", "\"a\\u0007b\"", "{}"],
            Kind::Path(_) => &["\"a\\u0007b\"", "{}"],
            Kind::Address(_) => &["\"localhost\"", "1"],
            Kind::Switch(_) => &["1", "\"yes\""],
            Kind::Word(_) => &["\"maybe\"", "true"],
            Kind::Whole { .. } => &["-1", "1e3", "99999999999999999999", "1.5"],
            Kind::Seconds { .. } => &["-1", "86401", "\"00:00:30\"", "\"1.\"", "0.0000000001", "[\"30\"]"],
            Kind::Cpu(_) => &["0", "2000", "\"two\""],
            Kind::Bytes { .. } => &["1", "\"1EiB\"", "true", "\"8Ei\""],
            Kind::List { .. } if !setting.secret => &["\"numpy\"", "[\"scikit-learn\", null, []]", "{}"],
            Kind::List { .. } => &["\"SECRET\"", "[\"a SECRET\", null, []]", "{}"],
        };
        values.iter().map(move |value| format!("\"{name}\": {value}"))
    });
    insta::assert_snapshot!(self::told(told, |line| from_section(&line)));
}

#[test]
fn entries_of_lists_are_what_they_say() {
    for (of, right, wrong) in [
        (
            Entry::Host,
            &["*", "a", "a-b.example.com", "10.0.0.1", "::1", "[::1]"][..],
            &["", "a:80", "http://a", "*.a", "a..b", "a b", "[a]", "b\u{fc}cher.de"][..],
        ),
        (
            Entry::Module,
            &["numpy", "_a.b2", "\u{e9}t\u{e9}"],
            &["*", "", "a.", ".a", "a..b", "2a", "a-b", "a b", "a\n"],
        ),
        (Entry::ModuleOrStar, &["*", "numpy"], &["a.*", "**"]),
        (
            Entry::Profile,
            &["numpy=numpy", "A_b-2=bare:a.b,_c", "x=y:z", "x=\u{e9}t\u{e9}"],
            &[
                "", "numpy", "=numpy", "x=", "x=y:", "x=:z", "x=y:z:a", "x=a,", "x=a,,b", "x=a, b", "x =a", "x=y=z",
                "x=a-b", "x=*", "\u{e9}=a", "x=a\n",
            ],
        ),
        (Entry::Key, &["0123456789abcdef"], &["0123456789abcde", "0123456789abcdef ", "0123456789abcd\u{e9}"]),
    ] {
        for text in right {
            assert_eq!(value::entry(of, text).unwrap(), *text);
        }
        for text in wrong {
            assert!(value::entry(of, text).is_err(), "{of:?} {text:?}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_key() {
    insta::assert_snapshot!(told(
        [
            r#""AllowedModule": []"#,
            r#""MemoryLimit": "1Gi""#,
            r#""ApiKey": "0123456789abcdefSECRET""#,
            r#""Frobnicate": 1"#,
            r#""": 1"#,
            r#""DefaultResources": "1Gi SECRET""#,
            r#""DefaultResources": []"#,
            r#""DefaultResources": { "Memory": "1Gi" }"#,
            r#""DefaultTimeout": { "Seconds": 30 }"#,
            r#""AllowedModules": { "first": "numpy" }"#,
            r#""AllowedModules": { "99999999999": "numpy" }"#,
            r#""AllowedModules:1": "numpy""#,
            r#""AllowedModules:0": "a", "AllowedModules:00": "b""#,
            r#""AllowedModules": [], "AllowedModules:0": "a""#,
            "\"Port\": 1,\n\"port\": 2",
            "\"DefaultResources\": { \"CpuLimit\": 1 },\n\"DefaultResources:CpuLimit\": null",
            "\"Image\": \"a\nb\"",
            r#""A": {"B": {"C": {"D": {"E": 1}}}}"#,
        ],
        from_section
    ));
}

#[test]
fn what_is_wrong_with_a_file() {
    insta::assert_snapshot!(told(
        [
            "",
            "// nothing",
            "[]",
            "\"SECRET\"",
            r#"{ "PythonSandbox": "SECRET" }"#,
            r#"{ "PythonSandbox": [] }"#,
            r#"{ "PythonSanbox": {} }"#,
            r#"{ "Python_Sandbox:Port": 1 }"#,
            "{ \"PythonSandbox\": {\n  \"Port\": 1\n  \"Host\": \"::1\" } }",
            "{ \"PythonSandbox\": { 'Port': 1 } }",
            "{ \"PythonSandbox\": { Port: 1 } }",
            "{ \"PythonSandbox\": { \"Port\": 0x10 } }",
            "{ \"PythonSandbox\": { \"Port\": +1 } }",
            "{ \"PythonSandbox\": { \"Port\": 01 } }",
            "{ \"PythonSandbox\": { \"Port\": .5 } }",
            "{ \"PythonSandbox\": { \"Port\": NaN } }",
            "{ \"PythonSandbox\": { \"Image\": \"\\x41\" } }",
            "{ \"PythonSandbox\": { \"Image\": \"\\uD800\" } }",
            "{ \"PythonSandbox\": { \"Image\": \"a } }",
            "{} {}",
            "{ /* }",
        ],
        from_text
    ));
}

#[test]
fn what_is_wrong_with_variables() {
    let long = "x".repeat(200);
    insta::assert_snapshot!(told(
        [
            vec![("PythonSandbox__DefaultTimeout", "soon")],
            vec![("PythonSandbox__DefaultTimeout", "")],
            vec![("PythonSandbox__Port", "80\n")],
            vec![("PythonSandbox__Port", long.as_str())],
            vec![("PythonSandbox__AllowedModules", "numpy,pandas")],
            vec![("PythonSandbox__AllowedModules__0", "numpy"), ("PythonSandbox__AllowedModules__2", "pandas")],
            vec![("PythonSandbox__AllowedModules", ""), ("PythonSandbox__AllowedModules__0", "numpy")],
            vec![("PythonSandbox__ApiKeys__0", "short SECRET")],
            vec![("PythonSandbox__ApiKeys__0", "0123456789abcdefSECRET\n")],
            vec![("PythonSandbox__ApiKeys", "0123456789abcdefSECRET")],
            vec![("PythonSandbox__Ports", "1")],
            vec![("PythonSandbox__Port", "1"), ("PYTHONSANDBOX__PORT", "1")],
            vec![("PythonSandbox__Port__0", "1")],
            vec![("PythonSandbox__ZygoteProfiles", "pandas=numpy:pandas")],
            vec![("PythonSandbox__ZygoteProfiles__0", "pandas: numpy pandas")],
            vec![("PythonSandbox__ZygoteProfiles__0", "pandas=numpy:pandas")],
            vec![("PythonSandbox__DefaultResources", "1Gi")],
            vec![("PYTHON_SANDBOX__PORT", "1")],
            vec![("PythonSandbox__", "1")],
        ],
        |pairs| from_variables(&pairs)
    ));
}

#[test]
fn a_variable_that_is_not_utf8_is_named() {
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let environment = [
        (OsString::from("PythonSandbox__Image"), bytes(b"a\xff")),
        (bytes(b"PythonSandbox__Im\xffage"), "a".into()),
        (bytes(b"\xff"), bytes(b"\xff")),
        (OsString::from("OTHER"), bytes(b"\xff")),
    ];
    insta::assert_snapshot!(resolve(File::None, &environment, &[]).unwrap_err());
}

#[test]
fn what_settings_must_agree_on() {
    insta::assert_snapshot!(told(
        [
            r#""DefaultTimeout": 400"#,
            r#""MaxTimeout": 0.5"#,
            r#""DefaultTimeout": 20, "MaxTimeout": 10"#,
            r#""DefaultResources": { "CpuLimit": 8, "MemoryLimit": "8Gi", "DiskLimit": "20Gi", "ProcessLimit": 2000 }"#,
            r#""MaxCodeLength": 16000000"#,
            r#""MaxRequestBytes": "1Ki""#,
            r#""AllowedModules": ["ctypes", "numpy"]"#,
            r#""AllowedModules": ["ctypes.util", "*"]"#,
            r#""AllowedModules": ["a", "b", "a"], "BlockedModules": ["b", "a"]"#,
            r#""DefaultTimeout": "long", "MaxTimeout": 1"#,
            r#""ParkedMin": 17"#,
            r#""ParkedMax": 0"#,
            r#""ParkedMin": 3, "ParkedMax": 2"#,
            r#""ZygoteProfiles": ["a=json", "a=re"]"#,
            r#""ZygoteProfiles": ["bare=json"]"#,
            r#""ZygoteProfiles": ["b=a:json", "a=re"]"#,
            r#""ZygoteProfiles": ["plots=pandas:matplotlib"], "Zygote": "off""#,
            r#""ZygoteProfiles": ["a=json", "b c=json"]"#,
        ],
        from_section
    ));
}

#[test]
fn flags_are_told_by_their_names() {
    let flag = |key: &str, value: &str, origin: &str| ConfigurationOverride::new(key, value, origin);
    let list = |key: &str, value: &str, origin: &str| ConfigurationOverride::new(key, vec![value.to_owned()], origin);
    insta::assert_snapshot!(told(
        [
            flag("Port", "70000", "--port"),
            list("Port", "1", "--port"),
            flag("Prot", "1", "--port"),
            flag("DefaultTimeout", "500", "--timeout"),
            flag("Zygote", "maybe", "--zygote"),
            list("AllowedModules", "a b", "--allow"),
            list("ApiKeys", "SECRET", "--api-key"),
        ],
        |flag| from_flags(&[flag])
    ));
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("appsettings.json");
    let load = |optional| {
        let sources = ConfigurationSources {
            file: Some(path.clone()),
            file_is_optional: optional,
            environment: variables(&[("PythonSandbox__Port", "x"), ("PythonSandbox__MaxTimeout", "1")]),
            overrides: Vec::new(),
        };
        let text = Configuration::load(&sources).unwrap_err().to_string();
        text.replace(folder.path().to_str().unwrap(), "/folder")
    };
    let mut told = format!("missing: {}\n\nmissing, optional: {}\n", load(false), load(true));
    fs_err::write(&path, b"{\n\"a\": \"\xff\" }").unwrap();
    writeln!(told, "\nnot UTF-8: {}", load(true)).unwrap();
    fs_err::write(&path, b"\xff\xfe{\0}\0").unwrap();
    writeln!(told, "\nUTF-16: {}", load(true)).unwrap();
    fs_err::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    writeln!(told, "\nlarge: {}", load(true)).unwrap();
    fs_err::remove_file(&path).unwrap();
    fs_err::create_dir(&path).unwrap();
    writeln!(told, "\nfolder: {}", load(true)).unwrap();
    insta::assert_snapshot!(told);
}

#[test]
fn many_problems_are_counted() {
    let section: Vec<String> = (0..60).map(|number| format!("\"Unknown{number}\": 1")).collect();
    let error = from_section(&section.join(", ")).unwrap_err();
    assert_eq!(error.problems().len(), 60);
    assert!(error.to_string().ends_with("\n  and 10 more"), "{error}");
    assert_eq!(error.to_string().lines().count(), 52);
}

#[test]
fn secrets_are_not_printed() {
    let configuration = from_section(ALL).unwrap();
    assert_eq!(configuration.api_keys.first().map(ApiKey::reveal), Some(SECRET));
    let sources = ConfigurationSources {
        environment: variables(&[("PythonSandbox__ApiKeys__0", SECRET)]),
        overrides: vec![ConfigurationOverride::new("ApiKeys", vec![SECRET.to_owned()], "--api-key")],
        ..ConfigurationSources::default()
    };
    let printed = format!("{configuration:?} {:?} {sources:?} {:?}", configuration.api_keys, sources.overrides);
    assert!(!printed.contains("SECRET"), "{printed}");
    assert!(printed.contains("[***]"), "{printed}");
}

#[test]
fn the_example_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/appsettings.json");
    let sources = ConfigurationSources { file: Some(path), ..ConfigurationSources::default() };
    let configuration = Configuration::load(&sources).unwrap();
    assert_ne!(configuration, Configuration::default());
}

#[test]
fn the_connection_string_is_where_dotnet_has_it() {
    let text = "Host=db;Database=sandbox;Password=SECRET word";
    let expected = Some(ConnectionSetting(text.to_owned()));
    let in_file = format!(r#"{{ "ConnectionStrings": {{ "Other": 5, "sandbox": "{text}" }} }}"#);
    assert_eq!(from_text(&in_file).unwrap().connection_string, expected);
    let flat = format!(r#"{{ "ConnectionStrings:Sandbox": "{text}" }}"#);
    assert_eq!(from_text(&flat).unwrap().connection_string, expected);
    for name in ["ConnectionStrings__Sandbox", "ConnectionStrings:Sandbox", "PythonSandbox__ConnectionString"] {
        assert_eq!(from_variables(&[(name, text)]).unwrap().connection_string, expected, "{name}");
    }
    assert_eq!(from_variables(&[("ConnectionStrings__Other", text)]).unwrap(), Configuration::default());
    let twice =
        r#"{ "ConnectionStrings": { "Sandbox": "SECRET" }, "PythonSandbox": { "ConnectionString": "SECRET" } }"#;
    let error = from_text(twice).unwrap_err().to_string();
    assert!(error.contains("is there twice") && !error.contains("SECRET"), "{error}");
    assert!(!format!("{expected:?}").contains("SECRET"));
}

/// Values that may stand in a source, right ones more often than chance would have them.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9]{1,6}(\\.[0-9]{1,10})?(Mi|Gi|m|k)?",
        prop::sample::select(vec!["", "true", "*", "numpy", "Off", "::1", "0123456789abcdef"]).prop_map(str::to_owned),
    ]
}

fn any_key() -> impl Strategy<Value = String> {
    let keys: Vec<&str> = SETTINGS.iter().map(Setting::key).collect();
    let known = prop::sample::select(keys).prop_map(str::to_owned);
    prop_oneof![
        4 => known.clone(),
        1 => known.prop_map(|key| format!("{key}:0")),
        1 => any::<String>(),
        1 => "[A-Za-z:0-9]{0,20}",
    ]
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any_text().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(any_key(), inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

prop_compose! {
    /// A configuration as it may be, by what is written in its sources.
    fn written()(
        timeout in 1_u64..=86_400_000, above in 0_u64..1000,
        memory in (16_u64 << 20)..(1 << 40), millicores in 1_u32..=1_024_000,
        processes in 1_u32..=32_768, port: u16, grace in 0_u64..=3_600_000_000_000,
        code in 1_usize..=16_000_000, allow: bool, address: std::net::IpAddr,
        modules in prop::collection::vec("[a-z_][a-z0-9_]{0,8}(\\.[a-z]{1,5})?", 0..5),
        zygote: bool, parked in 0_u32..=4096, above_parked in 0_u32..100, age in 1_u64..=86_400_000,
    ) -> Configuration {
        let mut to = Configuration::default();
        to.default_limits.timeout = Duration::from_millis(timeout);
        to.maxima.timeout = Duration::from_millis((timeout + above).min(86_400_000));
        to.default_limits.memory_limit = ByteQuantity::from_bytes(memory).unwrap();
        to.maxima.memory_limit = ByteQuantity::from_bytes(memory + above).unwrap();
        to.default_limits.cpu_limit = CpuQuantity::from_millicores(millicores).unwrap();
        to.maxima.cpu_limit = to.default_limits.cpu_limit;
        to.default_limits.process_limit = processes;
        to.maxima.process_limit = processes;
        to.port = port;
        to.shutdown_grace = Duration::from_nanos(grace);
        to.validator.max_code_length = code;
        to.max_request_bytes = ByteQuantity::from_bytes(u64::try_from(code).unwrap() + 1024).unwrap();
        to.allow_unauthenticated = allow;
        to.host = address;
        to.imports.blocked = Vec::new();
        to.imports.allowed = Some(modules);
        to.zygote = if zygote { ZygoteMode::On } else { ZygoteMode::Off };
        to.zygotes.parked_min = parked;
        to.zygotes.parked_max = (parked + above_parked).min(4096);
        to.zygotes.parked_memory = memory;
        to.zygotes.max_age = Duration::from_millis(age);
        to.zygotes.max_forks = above + 1;
        to
    }
}

/// What is written of a configuration of [`written`], key by key.
fn lines(of: &Configuration) -> Vec<(&'static str, String)> {
    let seconds = |time: Duration| format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
    vec![
        ("DefaultTimeout", seconds(of.default_limits.timeout)),
        ("MaxTimeout", seconds(of.maxima.timeout)),
        ("DefaultResources:MemoryLimit", of.default_limits.memory_limit.to_string()),
        ("MaxResources:MemoryLimit", of.maxima.memory_limit.to_string()),
        ("DefaultResources:CpuLimit", of.default_limits.cpu_limit.to_string()),
        ("MaxResources:CpuLimit", of.maxima.cpu_limit.to_string()),
        ("DefaultResources:ProcessLimit", of.default_limits.process_limit.to_string()),
        ("MaxResources:ProcessLimit", of.maxima.process_limit.to_string()),
        ("Port", of.port.to_string()),
        ("ShutdownGrace", seconds(of.shutdown_grace)),
        ("MaxCodeLength", of.validator.max_code_length.to_string()),
        ("MaxRequestBytes", of.max_request_bytes.to_string()),
        ("AllowUnauthenticated", of.allow_unauthenticated.to_string()),
        ("Host", of.host.to_string()),
        ("Zygote", format!("{:?}", of.zygote)),
        ("ParkedMin", of.zygotes.parked_min.to_string()),
        ("ParkedMax", of.zygotes.parked_max.to_string()),
        ("ParkedMemory", of.zygotes.parked_memory.to_string()),
        ("ZygoteMaxAge", seconds(of.zygotes.max_age)),
        ("ZygoteMaxForks", of.zygotes.max_forks.to_string()),
    ]
}

fn as_file(of: &Configuration) -> File<'static> {
    let mut section: serde_json::Map<_, _> =
        lines(of).into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    section.insert("AllowedModules".into(), of.imports.allowed.clone().into());
    section.insert("BlockedModules".into(), of.imports.blocked.clone().into());
    let text = serde_json::json!({ "PythonSandbox": section }).to_string();
    File::Text { path: Path::new("appsettings.json"), text }
}

fn as_variables(of: &Configuration) -> Vec<(OsString, OsString)> {
    let name = |key: &str| OsString::from(format!("PythonSandbox__{}", key.replace(':', "__")));
    let mut variables: Vec<_> = lines(of).into_iter().map(|(key, value)| (name(key), value.into())).collect();
    variables.push((name("BlockedModules"), OsString::new()));
    let allowed = of.imports.allowed.clone().unwrap_or_default();
    if allowed.is_empty() {
        variables.push((name("AllowedModules"), OsString::new()));
    }
    for (index, module) in allowed.into_iter().enumerate() {
        variables.push((name(&format!("AllowedModules:{index}")), module.into()));
    }
    variables
}

fn as_flags(of: &Configuration) -> Vec<ConfigurationOverride> {
    let mut flags: Vec<_> =
        lines(of).into_iter().map(|(key, value)| ConfigurationOverride::new(key, value, "--flag")).collect();
    flags.push(ConfigurationOverride::new("AllowedModules", of.imports.allowed.clone().unwrap(), "--allow"));
    flags.push(ConfigurationOverride::new("BlockedModules", Vec::new(), "--block"));
    flags
}

proptest! {
    #[test]
    fn what_is_written_is_read(first in written(), second in written(), third in written()) {
        prop_assert_eq!(&resolve(as_file(&first), &[], &[]).unwrap(), &first);
        prop_assert_eq!(&resolve(File::None, &as_variables(&first), &[]).unwrap(), &first);
        prop_assert_eq!(&resolve(File::None, &[], &as_flags(&first)).unwrap(), &first);
        // And a later source wins over an earlier one, whatever both say.
        prop_assert_eq!(&resolve(as_file(&first), &as_variables(&second), &[]).unwrap(), &second);
        prop_assert_eq!(
            &resolve(as_file(&first), &as_variables(&second), &as_flags(&third)).unwrap(),
            &third
        );
    }

    #[test]
    fn no_json_panics(value in any_json(), in_section: bool) {
        let root = if in_section { serde_json::json!({ "PythonSandbox": value }) } else { value };
        drop(from_text(&root.to_string()));
    }

    #[test]
    fn no_text_panics(text in "[\\x00-\\x7f\u{e9}\u{2028}\u{1f600}]{0,40}", plain: String) {
        drop(from_text(&text));
        drop(from_text(&format!("{{\"PythonSandbox\":{{{text}")));
        drop(from_section(&plain));
    }

    #[test]
    fn no_environment_panics(
        pairs in prop::collection::vec((any_key(), prop::collection::vec(any::<u8>(), 0..8), any_text()), 0..8),
    ) {
        let mut environment = Vec::new();
        for (key, bytes, text) in pairs {
            environment.push((format!("PythonSandbox__{}", key.replace(':', "__")).into(), text.into()));
            environment.push((OsString::from_vec(bytes.clone()), OsString::from_vec(bytes)));
            environment.push((format!("PythonSandbox:{key}").into(), OsString::from("1")));
        }
        drop(resolve(File::None, &environment, &[]));
    }
}
