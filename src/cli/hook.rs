//! `docker-artifact hook on|off`: whether Docker asks this plugin what to say after a `docker cp` that failed.

use super::failure::Failure;
use super::options::HookOptions;
use super::output::{complain, write_out};
use crate::plugin::hook_switch::{HookError, is_off, switch};
use crate::source::docker_config;

/// Does as `options` say, and says what that came to.
pub async fn run(HookOptions { on, folder }: HookOptions) -> Result<(), Failure> {
    let folder = docker_config::folder(folder.as_deref(), &|name| std::env::var_os(name)).ok_or(HookError::NoFolder)?;
    let changed = switch(&folder, on)?;
    if on && is_off(&folder) {
        complain(
            "Docker's config.json has \"features\": {\"hooks\": \"false\"}: set it to \"true\", or Docker asks no plugin\n",
        );
    }
    let said = match (on, changed) {
        (true, true) => "Hints are on: if docker cp finds no container, it shows how to get the file out of an image",
        (true, false) => "Hints are already on",
        (false, true) => "Hints are off",
        (false, false) => "Hints are already off",
    };
    write_out(&format!("{said}\n")).map_err(Failure::Output)
}
