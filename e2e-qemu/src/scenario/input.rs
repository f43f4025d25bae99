//! What a command in a guest is given to read.

use anyhow::ensure;

use super::Context;
use crate::command::Command;
use crate::guest::Guest;
use crate::spec::Backend;

/// Much more than a line holds.
const BYTES: usize = 256 << 10;

/// All of it arrives, and commands run afterwards, also one that is long itself.
pub(super) fn arrives(context: &Context, backend: Backend) -> anyhow::Result<()> {
    let guest = Guest::boot(context.spec(backend, "input"))?;
    let text: String = ('a'..='w').cycle().take(BYTES).collect();
    let back = guest.check(Command::new("cat").stdin(text.clone()))?;
    ensure!(back == text, "{} bytes came back", back.len());
    let long = "x".repeat(16 << 10);
    let said = guest.shell(format!("echo {long}"))?;
    ensure!(said == long, "{} bytes were said", said.len());
    Ok(())
}
