//! The one place where errors become exit codes.

use std::process::ExitCode;

use super::output;
use crate::config::ConfigError;
use crate::failure::chain_of;

/// How a program ended, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A failure.
    Failure = 1,
    /// Usage or configuration.
    Usage = 2,
    /// Done in part.
    Partial = 3,
    /// Refused without confirmation.
    Unconfirmed = 4,
    /// Kafka is not reachable.
    Unreachable = 5,
    /// Integrity violated.
    Integrity = 6,
}

impl Exit {
    /// Every code.
    pub const ALL: [Self; 7] = [
        Self::Done,
        Self::Failure,
        Self::Usage,
        Self::Partial,
        Self::Unconfirmed,
        Self::Unreachable,
        Self::Integrity,
    ];

    /// What it says, for the manual.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failure => "a failure",
            Self::Usage => "a wrong flag or setting",
            Self::Partial => "done in part: the output says what is left, and why",
            Self::Unconfirmed => "refused without confirmation; --yes gives it",
            Self::Unreachable => "Kafka is not reachable",
            Self::Integrity => "integrity violated: the audit log or a topic is not what was written",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a role ended before its work was done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The arguments, or a request for help or the version.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Kafka.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] crate::kafka::KafkaError),
    /// The tracker.
    #[cfg(feature = "tracker")]
    #[error(transparent)]
    Pipeline(#[from] crate::pipeline::PipelineError),
    /// The producer.
    #[cfg(feature = "producer")]
    #[error(transparent)]
    Producer(#[from] crate::producer::ProducerError),
    /// The demonstration broker.
    #[cfg(feature = "embedded")]
    #[error(transparent)]
    Broker(#[from] crate::kafka::embedded::EmbeddedError),
    /// Dead letters could not be read or shown.
    #[cfg(feature = "dlq")]
    #[error(transparent)]
    DeadLetters(#[from] crate::dlq::ReadError),
    /// Dead letters could not be imported.
    #[cfg(feature = "dlq")]
    #[error(transparent)]
    Import(#[from] crate::dlq::ImportError),
    /// The audit log is not what was written.
    #[cfg(feature = "audit")]
    #[error(transparent)]
    Verify(#[from] crate::audit::VerifyError),
    /// The audit log could not be held against Kafka.
    #[cfg(feature = "audit")]
    #[error(transparent)]
    Prove(#[from] crate::audit::prove::ProveError),
    /// The live segment of the audit log was not sealed.
    #[cfg(feature = "audit")]
    #[error(transparent)]
    Rotate(#[from] crate::audit::RotateError),
    /// Lines of the audit log could not be passed on.
    #[cfg(feature = "audit")]
    #[error(transparent)]
    Cat(#[from] crate::audit::cat::CatError),
    /// Dead letters could not be replayed, or settled.
    #[cfg(feature = "dlq")]
    #[error(transparent)]
    Replay(#[from] crate::dlq::replay::ReplayError),
    /// The metrics cannot be served.
    #[cfg(feature = "dlq")]
    #[error(transparent)]
    Listen(#[from] crate::metrics::ListenError),
    /// Nobody said yes.
    #[error("not confirmed: {what}")]
    Unconfirmed {
        /// What was asked, or what came of it.
        what: String,
    },
    /// The monitor.
    #[cfg(feature = "monitor")]
    #[error(transparent)]
    Monitor(#[from] crate::monitor::MonitorError),
    /// Reading or writing.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl RunError {
    /// Names what was being done.
    pub fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Arguments(error) if error.use_stderr() => Exit::Usage,
            Self::Arguments(_) => Exit::Done,
            Self::Config(_) => Exit::Usage,
            #[cfg(feature = "kafka")]
            Self::Kafka(error) => kafka_exit(error),
            #[cfg(feature = "tracker")]
            Self::Pipeline(error) => pipeline_exit(error),
            #[cfg(feature = "producer")]
            Self::Producer(error) => producer_exit(error),
            #[cfg(feature = "embedded")]
            Self::Broker(error) => broker_exit(error),
            #[cfg(feature = "dlq")]
            Self::DeadLetters(error) => dead_letters_exit(error),
            #[cfg(feature = "dlq")]
            Self::Import(error) => import_exit(error),
            #[cfg(feature = "audit")]
            Self::Verify(error) => verify_exit(error),
            #[cfg(feature = "audit")]
            Self::Prove(error) => prove_exit(error),
            #[cfg(feature = "audit")]
            Self::Rotate(error) => rotate_exit(error),
            #[cfg(feature = "audit")]
            Self::Cat(crate::audit::cat::CatError::File(error)) => verify_exit(error),
            #[cfg(feature = "audit")]
            Self::Cat(crate::audit::cat::CatError::Write(source)) => output_exit(source),
            #[cfg(feature = "dlq")]
            Self::Replay(error) => replay_exit(error),
            #[cfg(feature = "dlq")]
            Self::Listen(_) => Exit::Failure,
            Self::Unconfirmed { .. } => Exit::Unconfirmed,
            #[cfg(feature = "monitor")]
            Self::Monitor(error) => monitor_exit(error),
            Self::Io { source, .. } => output_exit(source),
        }
    }

    /// Says once what went wrong: with its causes, to the standard error. Help and version go to the standard output.
    pub fn report(&self) {
        match self {
            Self::Arguments(error) if error.use_stderr() => {
                output::complain_lines(&error.render().to_string());
            }
            Self::Arguments(error) => output::print_text(&error.render().to_string()),
            _ if self.exit() == Exit::Done => {}
            _ => output::complain(&format!("error: {}", chain_of(self))),
        }
    }
}

/// Whoever read the results and went away has enough of them.
fn output_exit(error: &std::io::Error) -> Exit {
    if error.kind() == std::io::ErrorKind::BrokenPipe { Exit::Done } else { Exit::Failure }
}

#[cfg(feature = "tracker")]
fn pipeline_exit(error: &crate::pipeline::PipelineError) -> Exit {
    use crate::pipeline::PipelineError;
    match error {
        PipelineError::Kafka(error) => kafka_exit(error),
        PipelineError::Audit(error) => audit_exit(error),
        PipelineError::Target { .. } | PipelineError::Trace(_) => Exit::Usage,
        PipelineError::BeyondEnd { .. }
        | PipelineError::TopicReplaced { .. }
        | PipelineError::RolledBack { .. } => Exit::Integrity,
        PipelineError::TopicUntold { .. }
        | PipelineError::Crashed { .. }
        | PipelineError::Thread(_)
        | PipelineError::StartPanicked
        | PipelineError::Listen(_) => Exit::Failure,
    }
}

#[cfg(any(feature = "tracker", feature = "audit"))]
fn audit_exit(error: &crate::audit::AuditError) -> Exit {
    use crate::audit::AuditError;
    match error {
        AuditError::Locked { .. } | AuditError::Key(_) | AuditError::OtherGroup { .. } => Exit::Usage,
        AuditError::Damaged { .. } | AuditError::Touched { .. } => Exit::Integrity,
        AuditError::Io { .. }
        | AuditError::NoRoom { .. }
        | AuditError::WriterGone { .. }
        | AuditError::Sync { .. } => Exit::Failure,
    }
}

#[cfg(feature = "audit")]
fn rotate_exit(error: &crate::audit::RotateError) -> Exit {
    use crate::audit::RotateError;
    match error {
        RotateError::NoLog { .. } => Exit::Usage,
        RotateError::Audit(error) => audit_exit(error),
        RotateError::NoAnswer { .. } => Exit::Failure,
    }
}

#[cfg(feature = "dlq")]
fn replay_exit(error: &crate::dlq::replay::ReplayError) -> Exit {
    use crate::dlq::replay::ReplayError;
    match error {
        ReplayError::Kafka(error) => kafka_exit(error),
        ReplayError::NoPlan { .. } | ReplayError::Edit(_) | ReplayError::Target(_) => Exit::Usage,
        ReplayError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Usage,
        ReplayError::File { .. }
        | ReplayError::Transaction { .. }
        | ReplayError::AuditLog(_)
        | ReplayError::NoSuchLetter { .. }
        | ReplayError::Status { .. }
        | ReplayError::Stuck
        | ReplayError::Thread
        | ReplayError::Json(_) => Exit::Failure,
    }
}

#[cfg(feature = "audit")]
fn verify_exit(error: &crate::audit::VerifyError) -> Exit {
    use crate::audit::VerifyError;
    match error {
        VerifyError::Read { .. } => Exit::Failure,
        VerifyError::Key(_) => Exit::Usage,
        VerifyError::Broken { .. } | VerifyError::Apart { .. } | VerifyError::Unpack { .. } => {
            Exit::Integrity
        }
    }
}

#[cfg(feature = "audit")]
fn prove_exit(error: &crate::audit::prove::ProveError) -> Exit {
    use crate::audit::prove::ProveError;
    match error {
        ProveError::Verify(error) => verify_exit(error),
        ProveError::Kafka(error) => kafka_exit(error),
        ProveError::OtherGroup { .. } | ProveError::Twice { .. } => Exit::Usage,
        ProveError::Unreadable { .. } => Exit::Integrity,
        ProveError::Runtime(_) => Exit::Failure,
    }
}

#[cfg(feature = "dlq")]
fn dead_letters_exit(error: &crate::dlq::ReadError) -> Exit {
    use crate::dlq::ReadError;
    match error {
        ReadError::Kafka(error) => kafka_exit(error),
        ReadError::Output(source) => output_exit(source),
        ReadError::NotFound { .. } => Exit::Failure,
        ReadError::Ambiguous { .. } => Exit::Usage,
    }
}

#[cfg(feature = "dlq")]
fn import_exit(error: &crate::dlq::ImportError) -> Exit {
    use crate::dlq::{ImportError, LineError};
    match error {
        ImportError::Line(LineError::Malformed { .. }) | ImportError::Expired { .. } => Exit::Usage,
        ImportError::Line(LineError::Io(_)) | ImportError::Runtime(_) => Exit::Failure,
        ImportError::Kafka(error) => kafka_exit(error),
        ImportError::Send { imported: 0, .. } => Exit::Failure,
        ImportError::Send { .. } => Exit::Partial,
    }
}

#[cfg(feature = "monitor")]
fn monitor_exit(error: &crate::monitor::MonitorError) -> Exit {
    use crate::monitor::MonitorError;
    match error {
        MonitorError::NoTerminal => Exit::Usage,
        MonitorError::Output(source) => output_exit(source),
        MonitorError::Read { .. }
        | MonitorError::Nothing { .. }
        | MonitorError::NoOutcome(_)
        | MonitorError::Terminal(_)
        | MonitorError::Listen { .. }
        | MonitorError::Write { .. }
        | MonitorError::Plot(_) => Exit::Failure,
    }
}

#[cfg(feature = "producer")]
fn producer_exit(error: &crate::producer::ProducerError) -> Exit {
    use crate::producer::ProducerError;
    match error {
        ProducerError::Kafka(error) => kafka_exit(error),
        ProducerError::Input { summary, .. } if summary.acknowledged > 0 => Exit::Partial,
        ProducerError::Input { source, .. } => match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory => Exit::Usage,
            _ => Exit::Failure,
        },
        ProducerError::Trace(_) => Exit::Usage,
        ProducerError::Start(_) | ProducerError::Listen(_) => Exit::Failure,
    }
}

#[cfg(feature = "embedded")]
fn broker_exit(error: &crate::kafka::embedded::EmbeddedError) -> Exit {
    use crate::kafka::embedded::EmbeddedError;
    match error {
        EmbeddedError::Topic { .. } => Exit::Usage,
        EmbeddedError::Listen { .. }
        | EmbeddedError::Cluster(_)
        | EmbeddedError::Address(_)
        | EmbeddedError::Thread(_) => Exit::Failure,
    }
}

#[cfg(feature = "kafka")]
fn kafka_exit(error: &crate::kafka::KafkaError) -> Exit {
    use crate::kafka::KafkaError;
    match error {
        KafkaError::Unreachable { .. } => Exit::Unreachable,
        KafkaError::Refused { refusal, .. } if refusal.is_certain() => Exit::Usage,
        KafkaError::Refused { .. } => Exit::Unreachable,
        KafkaError::Config(_) => Exit::Usage,
        KafkaError::Gap { .. } => Exit::Integrity,
        KafkaError::UnknownTopic { .. }
        | KafkaError::MayNotCreate { .. }
        | KafkaError::Topic { .. }
        | KafkaError::CreateTopic { .. }
        | KafkaError::Request { .. }
        | KafkaError::Thread(_)
        | KafkaError::Fatal(_) => Exit::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_the_exit_codes_of_the_documentation() {
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        for (error, exit) in [
            (RunError::from(ConfigError::value("--topic", "x")), Exit::Usage),
            (RunError::Unconfirmed { what: "it".to_owned() }, Exit::Unconfirmed),
            (RunError::io("print")(std::io::Error::other("x")), Exit::Failure),
            (RunError::io("print")(pipe), Exit::Done),
        ] {
            assert_eq!(error.exit(), exit, "{error}");
        }
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn kafka_errors_become_exit_codes_too() {
        use crate::kafka::KafkaError;
        let gap = KafkaError::Gap { partition: "orders/0".to_owned(), committed: 1, log_start: 2 };
        let missing = KafkaError::UnknownTopic { topic: "t".to_owned(), bootstrap_servers: "b".to_owned() };
        assert_eq!(RunError::from(gap).exit(), Exit::Integrity);
        assert_eq!(RunError::from(missing).exit(), Exit::Failure);
    }
}
