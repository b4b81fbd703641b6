//! Secondary targets: each outcome is posted to them as well, once its audit line is on disk. Nothing waits for them, and
//! nothing depends on them: what has no room, or whose target is out, is dropped and counted.

mod desk;
mod service;

pub(super) use desk::{Desk, Dropped};
pub(super) use service::{Notify, Outlet};
