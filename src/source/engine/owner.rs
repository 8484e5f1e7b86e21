//! Whose a container is: the process that made it, told in a label, so that another run can see whether it still lives.

use std::time::{Duration, SystemTime};

/// The label of every container that is made here. It does not begin as an artifact's label does: a container bears its image's
/// labels too.
pub const LABEL: &str = "docker-artifact.owner";

/// No run takes as long as this. Of a process that another machine or another PID namespace has, nothing else can be told.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A process of some machine that runs Linux.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    /// The machine's boot, a UUID of the kernel.
    boot: String,
    /// The inode of the PID namespace in which `pid` counts.
    namespace: String,
    pid: u32,
    /// When it began, in clock ticks since the boot: a PID is given again.
    start: u64,
}

/// The label's value for this process; where that cannot be told, one that says so.
pub fn this() -> String {
    match Process::of(std::process::id()) {
        Some(Process { boot, namespace, pid, start }) => format!("{boot}/{namespace}/{pid}/{start}"),
        None => "unknown".to_owned(),
    }
}

/// Whether the process that a label's value tells of has ended, or, where that cannot be told, must have. `created` is when the
/// container was made, in seconds since the Unix epoch.
pub fn has_ended(value: &str, created: i64) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    has_ended_as_of(value, created, now, Process::of)
}

fn has_ended_as_of(value: &str, created: i64, now: Duration, process: impl Fn(u32) -> Option<Process>) -> bool {
    let created = Duration::from_secs(u64::try_from(created).unwrap_or(u64::MAX));
    let is_old = now.saturating_sub(created) > LONGEST;
    let (Some(owner), Some(this)) = (Process::parse(value), process(std::process::id())) else { return is_old };
    match owner.boot == this.boot && owner.namespace == this.namespace {
        true => process(owner.pid).as_ref() != Some(&owner),
        false => is_old,
    }
}

impl Process {
    /// The process of this number in this PID namespace; `None` where there is none, or no `/proc` (proc(5)).
    fn of(pid: u32) -> Option<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let namespace = namespace.to_str()?.trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses, which may have any characters; `starttime` is the 22nd.
        let start = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some(Process { boot, namespace, pid, start })
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('/');
        let (boot, namespace) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Process { boot, namespace, pid, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);
    const JUST_NOW: i64 = 999_000;
    const LONG_AGO: i64 = 900_000;

    fn process(pid: u32) -> Option<Process> {
        let start = if pid == std::process::id() { 5 } else { u64::from(pid) };
        (pid != 404).then(|| Process { boot: "boot".to_owned(), namespace: "7".to_owned(), pid, start })
    }

    fn is_over(value: &str, created: i64) -> bool {
        has_ended_as_of(value, created, NOW, process)
    }

    #[test]
    fn a_process_that_lives_keeps_its_container_however_old() {
        assert!(!is_over("boot/7/12/12", LONG_AGO));
    }

    #[test]
    fn a_process_that_is_gone_or_whose_number_is_anothers_now_has_ended() {
        assert!(is_over("boot/7/404/404", JUST_NOW));
        assert!(is_over("boot/7/12/11", JUST_NOW));
    }

    #[test]
    fn of_a_process_elsewhere_only_age_can_tell() {
        for value in ["other/7/404/404", "boot/8/404/404", "unknown", "", "/app/bin", "boot/7/12/12/1"] {
            assert!(!is_over(value, JUST_NOW), "{value}");
            assert!(is_over(value, LONG_AGO), "{value}");
        }
        assert!(!is_over("unknown", i64::MAX));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_lives_and_another_with_its_number_does_not() {
        let this = this();
        assert!(!has_ended(&this, 0), "{this}");
        assert!(has_ended(&format!("{this}0"), i64::MAX), "{this}");
    }
}
