//! Who may ask the process to end from outside: signals, and the death of the program that started
//! it.
//!
//! In: waiting for either. Out: what is done then (`proto`).

use tokio::sync::mpsc;

use crate::proto::StopReason;

/// Reports every request to end. Nothing here polls.
///
/// # Errors
///
/// When signal handlers cannot be installed.
pub fn watch() -> std::io::Result<mpsc::Receiver<StopReason>> {
    let (sender, receiver) = mpsc::channel(4);
    watch_signals(&sender)?;
    watch_parent(sender);
    Ok(receiver)
}

#[cfg(unix)]
fn watch_signals(sender: &mpsc::Sender<StopReason>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() && sender.send(StopReason::Signal).await.is_ok() {}
        });
    }
    Ok(())
}

#[cfg(windows)]
fn watch_signals(sender: &mpsc::Sender<StopReason>) -> std::io::Result<()> {
    use tokio::signal::windows;

    macro_rules! watch {
        ($signals:expr) => {
            let mut signals = $signals?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some()
                    && sender.send(StopReason::Signal).await.is_ok()
                {}
            });
        };
    }
    watch!(windows::ctrl_c());
    watch!(windows::ctrl_break());
    watch!(windows::ctrl_close());
    watch!(windows::ctrl_shutdown());
    Ok(())
}

/// The parent's death closes our stdin as a rule; another process that inherited the pipe can
/// keep it open. Linux tells of the death itself (`pidfd_open(2)`), to a thread that sleeps until
/// then.
#[cfg(target_os = "linux")]
fn watch_parent(sender: mpsc::Sender<StopReason>) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{PidfdFlags, getppid, pidfd_open};

    let Some(parent) = getppid() else { return };
    let Ok(parent_fd) = pidfd_open(parent, PidfdFlags::empty()) else {
        return;
    };
    // It may have died in between, and its number may be another's by now.
    if getppid() != Some(parent) {
        let _ = sender.try_send(StopReason::ParentGone);
        return;
    }
    let wait = move || {
        let mut fds = [PollFd::new(&parent_fd, PollFlags::IN)];
        while matches!(poll(&mut fds, None), Err(rustix::io::Errno::INTR) | Ok(0)) {}
        let _ = sender.blocking_send(StopReason::ParentGone);
    };
    // Without the thread the end of stdin has to do.
    let _ = std::thread::Builder::new()
        .name("parent".to_owned())
        .stack_size(PARENT_STACK)
        .spawn(wait);
}

/// The thread that waits for the parent's end does nothing else.
#[cfg(target_os = "linux")]
const PARENT_STACK: usize = 64 << 10;

/// Elsewhere the end of stdin has to do.
#[cfg(not(target_os = "linux"))]
fn watch_parent(_: mpsc::Sender<StopReason>) {}
