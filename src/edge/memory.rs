//! The memory of this process, which holds secrets.
//!
//! In: keeping it from being written to disk when the process crashes. Out: what is secret
//! (`proto::secret`), how it ends (`main`).

/// No core dump of this process from now on, and on Linux no look into its memory by other
/// processes of the same user. What the system refuses stays as it was: that is no reason not to
/// work. Elsewhere than on Unix there is nothing to do.
pub fn keep_off_disk() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let limit = Rlimit {
            current: Some(0),
            ..getrlimit(Resource::Core)
        };
        let _ = setrlimit(Resource::Core, limit);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
