//! Everything that touches the Kafka client: the only room that names its types. Knows nothing of orders, outcomes or
//! the audit log.

mod admin;
mod arena;
mod client;
mod consumer;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
#[cfg(feature = "dlq")]
mod follower;
mod native;
#[cfg(feature = "dlq")]
mod offsets;
mod producer;
mod reader;
mod refusal;
mod reports;
#[cfg(feature = "dlq")]
mod transactional;

pub use admin::{Admin, TopicInfo, TopicSpec};
pub use client::wait_until_reachable;
pub use consumer::{Commit, CommitReport, Consumer, ConsumerOptions, Event, GroupOffset, Position};
pub use error::KafkaError;
#[cfg(feature = "dlq")]
pub use follower::Follower;
pub use producer::{Delivered, Delivery, Outgoing, Producer, ProducerOptions, SendError};
pub use reader::{Reader, committed_offsets};
pub use refusal::{Reason, Refusal};
#[cfg(feature = "dlq")]
pub use transactional::{Fault, Report, TransactionError, TransactionalProducer};
