//! The program as a table of contents: what is asked, who answers, how it ended.

use std::process::ExitCode;

use docker_artifact::cli;
use docker_artifact::plugin::{self, Call};

fn main() -> ExitCode {
    let exit = match Call::parse(std::env::args_os()) {
        Ok(Call::Metadata) => cli::print(&plugin::metadata()),
        Ok(Call::Complete(line)) => cli::print(&cli::completion::answer(line)),
        Ok(Call::Hook(request)) => cli::print(&plugin::hook::answer(&request.to_string_lossy()).unwrap_or_default()),
        Ok(Call::Command(invocation)) => cli::run(invocation),
        Ok(Call::CopyBinary(words)) => cli::copy_binary(&words),
        Err(invalid) => cli::refuse("docker-artifact", &invalid.to_string()),
    };
    exit.into()
}
