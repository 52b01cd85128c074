//! The `sockeye` binary.

use clap::Parser;
use sockeye::config::{Cli, Command};
use sockeye::driver::Allocator;
use std::fmt::Display;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Bench(args)) => {
            sockeye::bench::run(args).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
        None => sockeye::server::run(cli.serve).unwrap_or_else(|error| failed(&error)),
    }
}

fn failed(error: &dyn Display) -> ExitCode {
    eprintln!("sockeye: {error}");
    ExitCode::FAILURE
}
