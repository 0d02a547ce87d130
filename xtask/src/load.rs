//! `cargo xtask bench load`: the service under load, from 1 to 256 connections, with `wrk`.

use std::{collections::BTreeMap, process::Command, time::Duration};

use anyhow::{Context, ensure};

use crate::server::Server;

const CONNECTIONS: [u32; 5] = [1, 4, 16, 64, 256];
/// Of one number of connections.
const SECONDS: u32 = 15;
/// For warm interpreters to be made.
const WARM_UP: Duration = Duration::from_secs(8);

/// `cargo xtask bench load`.
pub(crate) fn run() -> anyhow::Result<()> {
    let built = Command::new(env!("CARGO")).args(["build", "--release", "--bin", "aevatar-sandbox"]).status()?;
    ensure!(built.success(), "could not build the server");
    let server = Server::start("target/release/aevatar-sandbox", &[])?;
    std::thread::sleep(WARM_UP);
    println!("| connections | answers per second | p50 | p90 | p99 | longest | 200 | 429 | other |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for connections in CONNECTIONS {
        println!("{}", measure(&server.url, connections)?);
    }
    server.stop().map(drop)
}

fn measure(address: &str, connections: u32) -> anyhow::Result<String> {
    let threads = connections.min(2).to_string();
    let output = Command::new("wrk")
        .args(["--threads", &threads, "--connections", &connections.to_string()])
        .args(["--duration", &format!("{SECONDS}s"), "--timeout", "60s", "--script", "benches/load.lua", address])
        .output()
        .context("could not run `wrk`: install the package of this name")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("LOAD ")).with_context(|| format!("wrk: {text}"))?;
    let values: BTreeMap<&str, f64> = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let value = |name: &str| values.get(name).copied().unwrap_or_default();
    let answers = |wanted: fn(&str) -> bool| -> f64 {
        let statuses = values.iter().filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_digit()) && wanted(name));
        // A sum of nothing is a negative zero.
        statuses.map(|(_, count)| count).sum::<f64>().abs()
    };
    let broken = value("connect") + value("read") + value("write") + value("timeout");
    let rate = answers(|_| true) / (value("duration_us") / 1e6);
    let milliseconds = |name: &str| format!("{:.1} ms", value(name) / 1000.0);
    Ok(format!(
        "| {connections} | {rate:.0} | {} | {} | {} | {} | {:.0} | {:.0} | {:.0} |",
        milliseconds("p50_us"),
        milliseconds("p90_us"),
        milliseconds("p99_us"),
        milliseconds("max_us"),
        answers(|status| status == "200"),
        answers(|status| status == "429"),
        answers(|status| status != "200" && status != "429") + broken,
    ))
}
