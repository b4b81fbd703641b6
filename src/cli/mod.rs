//! The command line: arguments become settings, errors become exit codes, signals become a token. The roles' work is
//! done in the other rooms; here they are only started.

mod common;
#[cfg(feature = "dlq")]
mod confirm;
mod exit;
pub mod logging;
mod man;
pub mod output;
mod panics;
#[cfg(any(feature = "audit", feature = "dlq"))]
mod progress;
pub mod roles;
mod run;
pub mod signals;

pub use common::Common;
#[cfg(feature = "dlq")]
pub use confirm::confirm;
pub use exit::{Exit, RunError};
pub use run::{Role, dispatch, run_role};
