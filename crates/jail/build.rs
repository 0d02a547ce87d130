//! Compiles the native half of a zygote, which the jail embeds: an extension module of the interpreter.

use std::{env, path::PathBuf, process::Command};

const SOURCES: [&str; 5] = ["lib.rs", "enter.rs", "kernel.rs", "python.rs", "wire.rs"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from("src/sys/worker");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", folder.join(source).display());
    }
    let variable = |name: &str| env::var_os(name).ok_or(format!("cargo sets {name}"));
    let library = PathBuf::from(variable("OUT_DIR")?).join("_sandbox_native.so");
    let mut compiler = Command::new(variable("RUSTC")?);
    compiler
        .arg(folder.join("lib.rs"))
        .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=_sandbox_native"])
        // Always optimised and checked alike: it is the same code in every build of the binary.
        .args(["-Cpanic=abort", "-Copt-level=s", "-Cdebuginfo=0", "-Cstrip=symbols", "-Coverflow-checks=no"])
        // It needs nothing but the interpreter, which has the symbols it asks for.
        .args(["-Clink-arg=-nostdlib", "-Ctarget-feature=-crt-static", "-Clink-arg=-Wl,-z,relro,-z,now,-z,noexecstack"])
        .arg("--target")
        .arg(variable("TARGET")?)
        .arg("-o")
        .arg(&library);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut argument = std::ffi::OsString::from("-Clinker=");
        argument.push(linker);
        compiler.arg(argument);
    }
    let status = compiler.status().map_err(|error| format!("could not start {compiler:?}: {error}"))?;
    if !status.success() {
        return Err(format!("the native half of a zygote does not compile: {status}").into());
    }
    println!("cargo::rustc-env=SANDBOX_NATIVE_MODULE={}", library.display());
    Ok(())
}
