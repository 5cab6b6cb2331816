use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that one connection keeps open: its socket, under two handles.
pub const FILES_PER_CONNECTION: usize = 2;

/// Lets the process open as many files as it is ever allowed to (the hard limit), and answers how many that is.
pub fn raise_open_files() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A limit that cannot be raised stays as it is.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    let current = getrlimit(Resource::Nofile).current;
    current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_hard_limit_says() {
        let raised = raise_open_files();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        assert!(maximum.is_none_or(|maximum| usize::try_from(maximum) == Ok(raised)));
    }
}
