//! `payonce completions` and `payonce man`: the command line, for shells and for `man`. Made from the same words.

use std::{io::Write, process::ExitCode};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{args::Args, exit};

const COMPLETIONS: &str = "\
Examples:
  payonce completions bash > /etc/bash_completion.d/payonce
  payonce completions zsh > ~/.zfunc/_payonce
  payonce completions fish > ~/.config/fish/completions/payonce.fish";

const MAN: &str = "\
Examples:
  payonce man > /usr/local/share/man/man1/payonce.1
  payonce man serve | man -l -";

/// The flags of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// Whose
    shell: Shell,
}

/// The flags of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = MAN)]
pub(crate) struct ManArgs {
    /// The command that it is about; without one, payonce itself
    command: Option<String>,
}

/// Prints a shell's completions.
pub(crate) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "payonce", &mut text);
    print(&text)
}

/// Prints a manual page.
pub(crate) fn man(args: &ManArgs) -> ExitCode {
    let mut whole = Args::command();
    whole.build();
    let page = match &args.command {
        None => Some(&whole),
        Some(name) => whole.get_subcommands().find(|command| command.get_name() == name),
    };
    let Some(page) = page else {
        eprintln!("payonce: there is no such command; `payonce --help` lists them");
        return exit::usage();
    };
    let mut text = Vec::new();
    match clap_mangen::Man::new(page.clone()).render(&mut text) {
        Ok(()) => print(&text),
        Err(error) => {
            eprintln!("payonce: {error}");
            exit::failed()
        }
    }
}

/// A reader that has gone away, as `head` does, is no failure.
fn print(text: &[u8]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text).and_then(|()| out.flush());
    ExitCode::SUCCESS
}
