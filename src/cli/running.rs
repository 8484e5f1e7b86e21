//! Other programs that run in this one's place, and end before it: whoever asks this program to stop asks them.
//!
//! A program is listed from before it starts until it has ended and its number may be another's: so no signal gets lost, and none
//! reaches a stranger. One that is only asked something ([`ask`]) is not waited for: it ends because this program does.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process, waitid};
use rustix::termios::tcgetpgrp;

use super::exit::Exit;
use crate::plugin::Stop;

/// What runs now.
static RUNNING: Running = Running::new();

/// Runs `command` until it ends, and gives how: by its exit code, 128 plus the signal where one ended it. `started` is called once it
/// runs. It is meant for a thread that may wait.
///
/// A program that was asked to stop has not succeeded, even where it had done all: then this one ends as if nothing had run.
///
/// # Errors
///
/// It cannot be started, or waited for.
pub fn run(command: &mut Command, started: impl FnOnce(&mut Child)) -> io::Result<Exit> {
    RUNNING.run(command, started)
}

/// Runs `command` until it ends, and gives what it says on standard output, and how it ended. It gets no input, and what it says on
/// standard error is not read. It is meant for a thread that may wait.
///
/// # Errors
///
/// It cannot be started, read, or waited for.
pub fn ask(command: &mut Command) -> io::Result<(Vec<u8>, ExitStatus)> {
    RUNNING.ask(command)
}

/// Ends all that is asked something.
pub fn stop_asking() {
    RUNNING.lock().stop_asking();
}

/// Passes on that this program was asked to stop, and gives whether there is anything that it was passed on to. If not, this program
/// is about to end, and nothing is started any more.
pub fn pass_on(why: Stop) -> bool {
    RUNNING.pass_on(why, is_from_terminal(why))
}

/// The programs that run.
struct Running(Mutex<List>);

struct List {
    programs: Vec<Program>,
    /// Those that are asked something.
    asked: Vec<Pid>,
    /// Whether this program is about to end.
    is_closed: bool,
}

struct Program {
    pid: Pid,
    asked: Asked,
}

/// How a program was asked to stop.
#[derive(Default)]
struct Asked {
    first: Option<Stop>,
    signals: u32,
    by_docker: bool,
}

impl Running {
    const fn new() -> Self {
        Running(Mutex::new(List { programs: Vec::new(), asked: Vec::new(), is_closed: false }))
    }

    fn run(&self, command: &mut Command, started: impl FnOnce(&mut Child)) -> io::Result<Exit> {
        let (mut child, pid) = self.start(command, |list, pid| {
            list.programs.push(Program { pid, asked: Asked::default() });
        })?;
        started(&mut child);
        let ended = end(pid);
        let asked = {
            let programs = &mut self.lock().programs;
            let at = programs.iter().position(|program| program.pid == pid);
            at.and_then(|at| programs.swap_remove(at).asked.first)
        };
        ended?;
        let status = child.wait()?;
        let code = status.code().or(status.signal().map(|signal| signal.saturating_add(128)));
        Ok(match code.map(u8::try_from) {
            Some(Ok(0)) => asked.map_or(Exit::Done, Exit::from),
            Some(Ok(code)) => Exit::Build(code),
            _ => Exit::Failed,
        })
    }

    fn ask(&self, command: &mut Command) -> io::Result<(Vec<u8>, ExitStatus)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let (mut child, pid) = self.start(command, |list, pid| list.asked.push(pid))?;
        let mut said = Vec::new();
        let read = child.stdout.take().map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut said));
        let ended = end(pid);
        self.lock().asked.retain(|asked| *asked != pid);
        let status = ended.and_then(|()| child.wait())?;
        read.map(|_| (said, status))
    }

    /// Starts a program that is on the list by then.
    fn start(&self, command: &mut Command, list_it: impl FnOnce(&mut List, Pid)) -> io::Result<(Child, Pid)> {
        let mut list = self.lock();
        while list.is_closed {
            drop(list);
            // Nobody is left who waits for an answer.
            std::thread::park();
            list = self.lock();
        }
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        list_it(&mut list, pid);
        Ok((child, pid))
    }

    /// `is_known`: whether the programs have been told already.
    fn pass_on(&self, why: Stop, is_known: bool) -> bool {
        let mut list = self.lock();
        for program in &mut list.programs {
            let signal = program.asked.again(why).filter(|_| !is_known);
            if let Some(signal) = signal {
                // One that has ended needs none.
                let _ = kill_process(program.pid, signal);
            }
        }
        list.is_closed = list.programs.is_empty();
        if list.is_closed {
            list.stop_asking();
        }
        !list.is_closed
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn stop_asking(&self) {
        for pid in &self.asked {
            // One that has ended needs none.
            let _ = kill_process(*pid, Signal::TERM);
        }
    }
}

/// Waits until a program has ended. Its number stays its own until it is waited for once more.
fn end(pid: Pid) -> io::Result<()> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    retry_on_intr(|| waitid(WaitId::Pid(pid), options))?;
    Ok(())
}

impl Asked {
    /// Notes that it is asked once more, and gives the signal that says so, if there is something new to say: one Ctrl-C reaches this
    /// program as a signal, and as Docker closing its socket, and Docker counts three as a wish to end at once, come what may.
    fn again(&mut self, why: Stop) -> Option<Signal> {
        self.first.get_or_insert(why);
        match why {
            Stop::Docker => {
                self.by_docker = true;
                (self.signals == 0).then_some(Signal::TERM)
            }
            Stop::Signal(number) => {
                self.signals += 1;
                let is_news = !self.by_docker || self.signals > 1;
                Signal::from_named_raw(number).filter(|_| is_news)
            }
        }
    }
}

/// Whether this signal most likely came from the keyboard: then all that this terminal runs has received it. Programs cannot tell
/// where a signal comes from; one that is sent to this program alone while the terminal is its own counts as typed.
fn is_from_terminal(why: Stop) -> bool {
    let keys = [Signal::INT, Signal::QUIT].map(Signal::as_raw);
    let Stop::Signal(signal) = why else { return false };
    keys.contains(&signal) && File::open("/dev/tty").is_ok_and(|tty| tcgetpgrp(&tty) == Ok(getpgrp()))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    const TERM: Stop = Stop::Signal(Signal::TERM.as_raw());

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// Runs a script that says when it is ready, asks it to stop, and gives its exit code.
    fn stopped(script: &str, why: &[(Stop, bool)]) -> u8 {
        let running = Arc::new(Running::new());
        let (ready, is_ready) = channel();
        let runs = {
            let (running, mut command) = (Arc::clone(&running), shell(script));
            std::thread::spawn(move || {
                let started = |child: &mut Child| {
                    let mut line = String::new();
                    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
                    ready.send(line).unwrap();
                };
                running.run(&mut command, started)
            })
        };
        assert_eq!(is_ready.recv().unwrap(), "ready\n");
        for (why, is_known) in why {
            assert!(running.pass_on(*why, *is_known));
        }
        let code = runs.join().unwrap().unwrap().code();
        assert!(!running.pass_on(TERM, false), "nothing runs any more");
        code
    }

    #[test]
    fn nothing_is_started_once_the_program_is_about_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("trace");
        let running = Arc::new(Running::new());
        assert!(!running.pass_on(TERM, false));
        let mut command = shell("touch \"$TRACE\"");
        command.env("TRACE", &trace);
        // It waits for the end of the program, and so of this test's.
        let waits = std::thread::spawn(move || running.run(&mut command, |_| {}));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!waits.is_finished() && !trace.exists());
    }

    #[test]
    fn the_exit_code_is_the_other_programs() {
        let run = |script| Running::new().run(&mut shell(script), |_| {}).unwrap().code();
        assert_eq!(run("exit 0"), 0);
        assert_eq!(run("exit 7"), 7);
        assert_eq!(run("kill -KILL $$"), 137);
        let absent = Running::new().run(&mut Command::new("/nonexistent/docker"), |_| {});
        assert_eq!(absent.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_asked_something_is_read_to_its_end_and_ended_with_this_program() {
        let running = Arc::new(Running::new());
        let (said, status) = running.ask(&mut shell("head -c 100000 /dev/zero; exit 3")).unwrap();
        assert_eq!((said.len(), status.code()), (100_000, Some(3)));
        let asks = {
            let running = Arc::clone(&running);
            std::thread::spawn(move || running.ask(&mut shell("exec sleep 60")).unwrap().1)
        };
        while running.lock().asked.is_empty() {
            std::thread::yield_now();
        }
        assert!(!running.pass_on(TERM, true), "nobody waits for it");
        assert_eq!(asks.join().unwrap().signal(), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn a_request_to_stop_is_passed_on_and_waited_for() {
        let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
        assert_eq!(stopped(script, &[(TERM, false)]), 7);
        assert_eq!(stopped(script, &[(Stop::Docker, false)]), 7);
        assert_eq!(stopped("echo ready; exec sleep 60", &[(TERM, false)]), 143);
    }

    #[test]
    fn what_was_asked_to_stop_has_not_succeeded() {
        assert_eq!(stopped("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done", &[(TERM, false)]), 143);
        assert_eq!(stopped("echo ready; sleep 0.2", &[(Stop::Signal(Signal::INT.as_raw()), true)]), 130);
    }

    #[test]
    fn one_request_that_comes_by_two_ways_is_passed_on_once() {
        let told = |all: &[Stop]| {
            let mut asked = Asked::default();
            all.iter().filter(|why| asked.again(**why).is_some()).count()
        };
        assert_eq!(told(&[TERM, Stop::Docker]), 1);
        assert_eq!(told(&[Stop::Docker, TERM]), 1);
        assert_eq!(told(&[TERM, Stop::Docker, TERM]), 2);
        assert_eq!(told(&[Stop::Docker, TERM, TERM]), 2);
    }
}
