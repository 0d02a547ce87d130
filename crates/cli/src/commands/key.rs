//! `aevatar-sandbox key`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use aevatar_sandbox::{
    Allowance, ByteQuantity, CpuQuantity, ErrorCode, KeyStore as _, LimitMaxima, SandboxError, StoreError, StoredKey,
    configuration::Configuration,
};
use aevatar_sandbox_server::ApiKey;
use aevatar_sandbox_store::Store;
use anyhow::Context;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};

use super::{configured, records, run::seconds};

/// What a secret begins with, so that it is known for one where it turns up.
const PREFIX: &str = "avs_";
/// Random bytes of a secret.
const SECRET: usize = 32;
/// Random bytes of a public name.
const NAME: usize = 9;

#[derive(Debug, Args)]
pub(crate) struct KeyArguments {
    #[command(subcommand)]
    command: KeyCommand,

    /// Configuration: the section `PythonSandbox` of a JSON file [default: appsettings.json, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// The server's data folder [default: the user's cache]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,

    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key. Its secret is shown once
    Create(Box<CreateArguments>),
    /// List the keys, without their secrets
    List,
    /// Revoke a key: within two seconds no server takes it any more
    Revoke {
        /// Its public name, as `list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
struct CreateArguments {
    /// What it is for
    #[arg(value_name = "NAME")]
    name: String,

    /// Executions that it may ask for in a minute [default: no limit]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    per_minute: Option<u32>,

    /// Executions of it that may run at the same time [default: as many as the server runs]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    concurrent: Option<u32>,

    /// Its share of the queue: 2 gets two turns where 1 gets one [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100))]
    priority: Option<u32>,

    /// The largest CPU share that it may ask for [default: the server's]
    #[arg(long, value_name = "QUANTITY")]
    max_cpu: Option<CpuQuantity>,

    /// The most memory [default: the server's]
    #[arg(long, value_name = "QUANTITY")]
    max_memory: Option<ByteQuantity>,

    /// The largest disk [default: the server's]
    #[arg(long, value_name = "QUANTITY")]
    max_disk: Option<ByteQuantity>,

    /// The most processes and threads [default: the server's]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    max_processes: Option<u32>,

    /// The longest timeout [default: the server's]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    max_timeout: Option<Duration>,

    /// A module outside the standard library that its programs may import; may be given more than once, and then only
    /// these may be [default: the server's]
    #[arg(long = "allow-module", value_name = "MODULE")]
    allowed_modules: Vec<String>,
}

impl CreateArguments {
    fn allowance(&self, configuration: &Configuration) -> Allowance {
        let most = &configuration.maxima;
        let maxima = LimitMaxima {
            cpu_limit: self.max_cpu.unwrap_or(most.cpu_limit),
            memory_limit: self.max_memory.unwrap_or(most.memory_limit),
            disk_limit: self.max_disk.unwrap_or(most.disk_limit),
            process_limit: self.max_processes.unwrap_or(most.process_limit),
            timeout: self.max_timeout.unwrap_or(most.timeout),
        };
        Allowance {
            per_minute: self.per_minute,
            concurrent: self.concurrent,
            priority: self.priority,
            // Where it says nothing, it goes with the server's when they change.
            maxima: (maxima != *most).then_some(maxima),
            allowed_modules: (!self.allowed_modules.is_empty()).then(|| self.allowed_modules.clone()),
        }
    }
}

pub(crate) fn run(arguments: KeyArguments) -> anyhow::Result<ExitCode> {
    let KeyArguments { command, config, data_dir, json } = arguments;
    let mut configuration = configured::load_for_server(config, Vec::new())?;
    configuration.data_folder = data_dir.or(configuration.data_folder);
    let folder = configured::data_folder(&configuration)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start the runtime")?;
    runtime.block_on(async {
        let store = records::open(&configuration, &folder).await?;
        let outcome = match command {
            KeyCommand::Create(arguments) => create(&store, &arguments, &configuration, json).await,
            KeyCommand::List => list(&store, json).await,
            KeyCommand::Revoke { id } => revoke(&store, &id).await,
        };
        store.close().await;
        outcome
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn create(
    store: &Store,
    arguments: &CreateArguments,
    configuration: &Configuration,
    json: bool,
) -> anyhow::Result<()> {
    let secret = format!("{PREFIX}{}", random::<SECRET>()?);
    let key = StoredKey {
        id: format!("k_{}", random::<NAME>()?),
        name: arguments.name.clone(),
        digest: ApiKey::new(&secret).digest(),
        allowance: arguments.allowance(configuration),
        created_at: aevatar_sandbox::now(),
        revoked_at: None,
    };
    store.add_key(&key).await.map_err(failed)?;
    let mut out = io::stdout().lock();
    if json {
        let mut shown = public(&key);
        shown["secret"] = secret.into();
        writeln!(out, "{shown}")?;
    } else {
        writeln!(out, "{secret}")?;
        drop(out);
        let words = format!("key {} for `{}`: this is the only time that its secret is shown", key.id, key.name);
        writeln!(io::stderr(), "{words}")?;
    }
    Ok(())
}

async fn list(store: &Store, json: bool) -> anyhow::Result<()> {
    let keys = store.keys().await.map_err(failed)?;
    let mut out = io::stdout().lock();
    for key in keys {
        if json {
            writeln!(out, "{}", public(&key))?;
            continue;
        }
        let state = key.revoked_at.map_or_else(|| "valid".to_owned(), |at| format!("revoked {at:.0}"));
        let name: String = key.name.chars().flat_map(char::escape_debug).collect();
        let allowance = serde_json::to_string(&key.allowance)?;
        writeln!(out, "{}\t{name}\tmade {:.0}\t{state}\t{allowance}", key.id, key.created_at)?;
    }
    Ok(())
}

async fn revoke(store: &Store, id: &str) -> anyhow::Result<()> {
    if store.revoke_key(id, aevatar_sandbox::now()).await.map_err(failed)? {
        return Ok(());
    }
    let shown: String = id.chars().take(64).flat_map(char::escape_debug).collect();
    Err(SandboxError::new(ErrorCode::NotFound, format!("there is no valid key `{shown}`"))
        .with_hint("`aevatar-sandbox key list` shows the keys; one that is revoked stays so")
        .into())
}

/// A key without what could be used to guess its secret.
fn public(key: &StoredKey) -> serde_json::Value {
    serde_json::json!({
        "id": key.id,
        "name": key.name,
        "allowance": key.allowance,
        "createdAt": key.created_at,
        "revokedAt": key.revoked_at,
    })
}

fn random<const BYTES: usize>() -> anyhow::Result<String> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).context("the kernel gave no random bytes")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn failed(error: StoreError) -> SandboxError {
    SandboxError::new(ErrorCode::StoreUnavailable, error.to_string())
        .with_hint("check the data folder or the database")
        .with_source(error)
}
