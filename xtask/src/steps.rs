//! Steps that are timed, and the summary at the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What was done, how long it took, and what was left out.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
    left_out: Vec<String>,
}

struct Step {
    name: String,
    took: Duration,
    failed: bool,
}

impl Steps {
    /// Runs one step to its end. A failure is shown at once and remembered; later steps still run.
    pub(crate) fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        eprintln!("\n==> {name}");
        let begun = Instant::now();
        let result = step();
        self.done.push(Step { name: name.to_owned(), took: begun.elapsed(), failed: result.is_err() });
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                eprintln!("xtask: {name}: {error:#}");
                None
            }
        }
    }

    /// Notes what was not run, so that the summary names it.
    pub(crate) fn leave_out(&mut self, what: impl Into<String>) {
        self.left_out.push(what.into());
    }

    /// Shows the summary.
    ///
    /// # Errors
    /// A step failed; or something was left out although `complete` is demanded.
    pub(crate) fn finish(self, complete: bool) -> Result<()> {
        eprint!("{}", self.summary());
        let failed: Vec<&str> =
            self.done.iter().filter(|step| step.failed).map(|step| step.name.as_str()).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        if complete && !self.left_out.is_empty() {
            bail!("left out although CI is set: {}", self.left_out.join(", "));
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let mut text = String::from("\n==> summary\n");
        for step in &self.done {
            let verdict = if step.failed { "FAILED" } else { "ok" };
            // Writing to a `String` cannot fail.
            let _infallible =
                writeln!(text, "{verdict:>8}  {:>7.1} s  {}", step.took.as_secs_f64(), step.name);
        }
        for what in &self.left_out {
            let _infallible = writeln!(text, "LEFT OUT           {what}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_failed_step_fails_the_whole_but_later_steps_run() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("first", || Err::<(), _>(anyhow!("broken"))), None);
        assert_eq!(steps.run("second", || Ok(2)), Some(2));
        assert!(steps.summary().contains("FAILED"));
        assert_eq!(steps.finish(false).unwrap_err().to_string(), "failed: first");
    }

    #[test]
    fn what_is_left_out_is_named_and_fails_where_all_is_demanded() {
        let left_out = || {
            let mut steps = Steps::default();
            steps.leave_out("browser");
            steps
        };
        assert!(left_out().summary().contains("LEFT OUT           browser"));
        assert!(left_out().finish(false).is_ok());
        assert!(left_out().finish(true).unwrap_err().to_string().contains("browser"));
    }
}
