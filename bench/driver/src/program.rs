//! Running one measured program once. It gets a process group of its own, and whatever it leaves is ended.

use std::fs::{File, create_dir_all, read_to_string, remove_dir_all};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::process::{getpid, kill_process_group, pidfd_open, set_child_subreaper, waitpgid};

/// A run that takes longer hangs; the longest sane one takes a few seconds.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Our program, as the peers' are named in the rows.
pub const OURS: &str = "dvs-bench-ours";

/// The folder of the measured programs, and a scratch folder for their runs (removed when dropped).
pub struct Programs {
    folder: PathBuf,
    scratch: PathBuf,
}

impl Programs {
    /// Those that stand in the folder of this program.
    ///
    /// # Errors
    /// The scratch folder cannot be made.
    pub fn beside_this_one() -> Result<Self> {
        let folder = std::env::current_exe()?.parent().context("a program without folder")?.to_path_buf();
        let scratch = std::env::temp_dir().join(format!("dvs-bench-{}", std::process::id()));
        // What a run leaves behind becomes our child, so that we can end it and know the time it used.
        set_child_subreaper(Some(getpid()))?;
        create_dir_all(&scratch).with_context(|| format!("scratch folder {}", scratch.display()))?;
        Ok(Programs { folder, scratch })
    }

    /// One run: its number, or (inner error) why there is none.
    ///
    /// # Errors
    /// The machine does not let us run programs at all.
    pub fn run(&self, program: &str, words: &str, window: Duration) -> Result<Result<f64, String>> {
        let path = self.folder.join(program);
        if !path.exists() {
            return Ok(Err(self.why_missing(program)));
        }
        let (out, err) = (self.scratch.join("stdout"), self.scratch.join("stderr"));
        let child = Command::new(path)
            .args(words.split_whitespace())
            .args(["--ms", &window.as_millis().to_string()])
            .env("DVS_BENCH_DIR", &self.scratch)
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .process_group(0)
            .spawn()?;
        let ended = wait_and_sweep(child)?;
        let answer = read_to_string(&out)?;
        Ok(match answer.trim().parse::<f64>() {
            Ok(number) if ended && number.is_finite() => Ok(number),
            _ if !ended => Err(format!("no answer within {} s", WATCHDOG.as_secs())),
            _ => Err(last_line(&read_to_string(&err).unwrap_or_default())),
        })
    }

    fn why_missing(&self, program: &str) -> String {
        let reason = read_to_string(self.folder.join("why").join(program)).unwrap_or_default();
        if reason.trim().is_empty() {
            "not built".into()
        } else {
            format!("not built: {}", last_line(&reason))
        }
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // Scratch files only; a leftover in the temporary folder is harmless.
        let _ = remove_dir_all(&self.scratch);
    }
}

/// Waits for the program, ends and collects what is left of its group, and tells if it ended by itself in
/// time.
fn wait_and_sweep(mut child: Child) -> Result<bool> {
    let pid = Pid::from_child(&child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec { tv_sec: WATCHDOG.as_secs().cast_signed(), tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit))? > 0;
    // Not yet waited for, so the number of its group cannot have been given to others.
    let _ = kill_process_group(pid, Signal::KILL);
    child.wait()?;
    while waitpgid(pid, WaitOptions::empty()).is_ok() {}
    Ok(ended)
}

fn last_line(text: &str) -> String {
    text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said no number").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::last_line;

    #[test]
    fn the_reason_is_the_last_line_that_says_something() {
        assert_eq!(last_line("warning\nno server\n\n"), "no server");
        assert_eq!(last_line(""), "it said no number");
    }
}
