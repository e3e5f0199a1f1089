//! `nearside completions`.

use clap::Args;
use clap_complete::Shell;

use super::output;

/// Arguments of `completions`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Arguments {
    /// Which shell
    pub shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::tree(), "nearside", &mut script);
    output::text(&String::from_utf8_lossy(&script))
}
