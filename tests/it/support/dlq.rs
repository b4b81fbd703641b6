//! The dlq tool on a world's dead letters, and dead letters to use it on.

use std::process::Output;
use std::time::Duration;

use pubsub_kafka::dlq::{self, Handler, HandlerConfig, KafkaSink, KafkaSinkConfig};
use pubsub_kafka::failure::{Category, Failure};
use pubsub_kafka::kafka::Reader;
use serde_json::Value;

use super::process::{Running, program, start};
use super::{Raw, World};

/// How one run of the tool ended.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("a code"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Its result, with `--json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    /// One of the counts of its result.
    pub fn count(&self, name: &str) -> u64 {
        self.json()["counts"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.stdout))
    }

    /// It must have ended so.
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }
}

impl World {
    /// The flags that every run of the tool has here.
    pub fn dlq_flags(&self) -> Vec<String> {
        ["-b", &self.servers, "--topic", &self.dlq].map(str::to_owned).to_vec()
    }

    /// Runs the tool to its end.
    pub fn dlq(&self, arguments: &[&str]) -> Ran {
        self.dlq_with(arguments, &[])
    }

    /// The same with variables in its environment.
    pub fn dlq_with(&self, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = program(env!("CARGO_BIN_EXE_dlq"));
        command.args(arguments).args(self.dlq_flags()).envs(env.iter().copied());
        Ran::from(command.current_dir(self.path("")).output().expect("dlq runs"))
    }

    /// Starts the tool.
    pub fn start_dlq(&self, name: &str, arguments: &[&str]) -> Running {
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        all.extend(self.dlq_flags());
        start(env!("CARGO_BIN_EXE_dlq"), &all, &[], &self.path(""), name)
    }

    /// Makes dead letters of every record that is in the source topic from offset `from` on, as a tracker does whose target
    /// refuses them all; the group's offsets stay as they are.
    pub fn bury(&self, from: i64, category: Category) {
        let mut dead = Vec::new();
        for partition in 0..self.partitions {
            let mut reader = Reader::open_partition(&self.settings(), &self.topic, partition, from)
                .expect("the source topic");
            while let Some(record) = reader.read().expect("a record") {
                dead.push(record);
            }
        }
        self.create(&self.dlq, self.partitions, &[]);
        self.run(async {
            let config = KafkaSinkConfig {
                topic: self.dlq.clone(),
                partitions: self.partitions,
                max_message_bytes: 1_000_000,
            };
            let sink = KafkaSink::new(&self.settings(), config).expect("a sink");
            let handler = Handler::new(HandlerConfig::new(self.group.as_str()), sink);
            for chunk in dead.chunks(500) {
                let refuse = |_| async move { Err::<(), _>(Failure::new(category, "the target refused it")) };
                let buried = chunk.iter().map(|record| handler.process_with_retry(record, refuse));
                for outcome in futures_util::future::join_all(buried).await {
                    assert!(matches!(outcome.expect("acknowledged"), dlq::Outcome::DeadLettered(_)));
                }
            }
        });
    }

    /// The times of a topic's records, in milliseconds, partition by partition.
    pub fn timestamps(&self, topic: &str) -> Vec<i64> {
        let mut found = Vec::new();
        for partition in 0..self.partitions {
            let mut reader =
                Reader::open_partition(&self.settings(), topic, partition, 0).expect("the topic");
            while let Some(record) = reader.read().expect("a record") {
                found.push(record.timestamp.expect("a time").millis);
            }
        }
        found
    }

    /// The ids of the dead letters, by partition and offset.
    pub fn dead_letters(&self) -> Vec<String> {
        let id =
            |raw: &Raw| String::from_utf8(raw.header("dlq.id")[0].expect("an id").to_vec()).expect("text");
        self.read(&self.dlq).iter().map(id).collect()
    }

    /// The replays in a topic.
    pub fn replays(&self, topic: &str) -> Vec<Raw> {
        self.read(topic).into_iter().filter(|raw| !raw.header("dlq.replay-id").is_empty()).collect()
    }
}

/// How long a run of the tool may take.
pub const DLQ_PATIENCE: Duration = Duration::from_secs(120);
