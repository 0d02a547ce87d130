//! Runs one program in a sandbox.
#![expect(clippy::print_stdout, reason = "an example prints")]

use aevatar_sandbox::{IsolationTier, SandboxExecutionRequest};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    aevatar_sandbox::enter_if_requested();
    tokio::runtime::Runtime::new()?.block_on(async {
        let service = aevatar_sandbox::local_service(IsolationTier::Default)?;
        let result = service.execute(SandboxExecutionRequest::new("print(6 * 7)")).await?;
        println!("{:?}: {}", result.termination.reason, result.stdout);
        Ok(())
    })
}
