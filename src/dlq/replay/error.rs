//! Why a plan could not be made, applied or followed up as a whole. What concerns a single dead letter is no error here:
//! it is told, and the rest goes on.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use uuid::Uuid;

use super::EditError;
use crate::kafka::{KafkaError, TransactionError};

/// An error of planning, applying or following up.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A transaction failed for good.
    #[error("replay under the transactional id {id}")]
    Transaction {
        /// The id.
        id: String,
        /// What happened.
        #[source]
        source: TransactionError,
    },
    /// A file of ours cannot be read or written.
    #[error("{what} {}", path.display())]
    File {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is no plan.
    #[error("{} is no plan of this tool: {why}", path.display())]
    NoPlan {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The audit log cannot be read.
    #[error("read the audit log")]
    AuditLog(#[source] Box<dyn Error + Send + Sync>),
    /// There is no such dead letter.
    #[error("the topic {topic} has no dead letter {id}")]
    NoSuchLetter {
        /// What was looked for.
        id: Uuid,
        /// Where.
        topic: String,
    },
    /// The change that was asked for is none.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A topic that nothing may be replayed to.
    #[error("{0}")]
    Target(String),
    /// What was done cannot be noted for others.
    #[error("write to the topic {topic}")]
    Status {
        /// The topic of the statuses.
        topic: String,
        /// Why not.
        #[source]
        source: crate::kafka::SendError,
    },
    /// Transactions fail again and again, and nobody says why.
    #[error("Kafka does not take the transactions; what is not committed can be sent by another run")]
    Stuck,
    /// A thread of ours ended without a word.
    #[error("a thread ended unexpectedly")]
    Thread,
    /// A value that cannot be written as JSON.
    #[error("write as JSON")]
    Json(#[from] serde_json::Error),
}

impl ReplayError {
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
