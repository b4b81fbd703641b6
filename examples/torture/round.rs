//! One round: its own topics, group and files; trackers and a producer at work; and at its end everything drained and
//! checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pubsub_kafka::config::KafkaSettings;
use pubsub_kafka::kafka::{Admin, TopicSpec};
use tokio::runtime::Handle;

use crate::check::{Found, Sources, check};
use crate::cluster::Cluster;
use crate::programs::{Program, role};
use crate::target::Target;
use crate::watch::{Reached, Watch};

pub const PARTITIONS: i32 = 6;
pub const SESSION: Duration = Duration::from_secs(6);
/// How long a stop may take: the shutdown timeout, the last commit, and a busy machine.
pub const STOP: Duration = Duration::from_secs(20);
/// Progress has to come back in this time.
pub const PROGRESS: Duration = Duration::from_secs(30);
/// After that there is no point in waiting.
const STUCK: Duration = Duration::from_secs(120);
/// The trackers that always run, and those that come and go.
pub const TRACKERS: [&str; 2] = ["a", "b"];
pub const GUESTS: [&str; 2] = ["c", "d"];

/// What stays the same over all rounds.
pub struct Ground<'a> {
    pub cluster: &'a Cluster,
    pub runtime: Handle,
    pub target: &'a Target,
    /// The clock's shim and its step, where there is a compiler for it.
    pub clock: Option<(PathBuf, PathBuf)>,
    pub rate: u32,
    /// Set when the run is to end early.
    pub stop: Arc<AtomicBool>,
}

impl Ground<'_> {
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// One round at work.
pub struct Round<'a> {
    pub ground: &'a Ground<'a>,
    pub folder: PathBuf,
    pub topic: String,
    pub dlq: String,
    group: String,
    by_key: bool,
    /// Whether a tracker that starts now ends at the end of the topic.
    to_end: bool,
    pub trackers: BTreeMap<&'static str, Program>,
    producer: Program,
    pub watch: Watch,
    /// What went wrong, in words.
    pub trouble: Vec<String>,
}

impl<'a> Round<'a> {
    /// Starts everything, and waits until every partition has outcomes.
    pub fn start(ground: &'a Ground<'a>, folder: PathBuf, seed: u64, by_key: bool) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("round").to_owned();
        let topic = format!("orders-{name}");
        create(ground, &topic);
        let mut producer = role("producer", &folder);
        producer.args([
            "-b",
            &ground.cluster.servers(),
            "--topic",
            &topic,
            "--rate",
            &ground.rate.to_string(),
        ]);
        producer.args(["--seed", &seed.to_string(), "--invalid-ratio", "0.03", "--malformed-ratio", "0.02"]);
        let producer = Program::start(producer, &folder, "producer");
        let all = TRACKERS.iter().chain(&GUESTS);
        let watch = Watch::new(all.map(|name| folder.join(format!("{name}.events"))));
        let mut round = Self {
            ground,
            dlq: format!("{topic}-dlq"),
            group: format!("{topic}-group"),
            topic,
            folder,
            by_key,
            to_end: false,
            trackers: BTreeMap::new(),
            producer,
            watch,
            trouble: Vec::new(),
        };
        for name in TRACKERS {
            round.start_tracker(name, None);
        }
        round.progress(&Reached::new(), STUCK);
        round
    }

    /// Starts a tracker, with a failpoint armed or without.
    pub fn start_tracker(&mut self, name: &'static str, failpoint: Option<String>) {
        let mut command = role("tracker", &self.folder);
        let (log, events) = (format!("{name}.log"), format!("{name}.events"));
        command.args(["-b", &self.ground.cluster.servers(), "--topic", &self.topic, "--group", &self.group]);
        command.args(["--dlq-topic", &self.dlq, "--log-file", &log, "--events-file", &events]);
        command.args([
            "--deliver-to",
            &self.ground.target.url,
            "--outage-guard",
            "off",
            "--attempt-timeout",
            "1s",
        ]);
        command.args(["--max-retries", "3", "--retry-initial", "200ms", "--retry-max", "1s"]);
        command.args(["--session-timeout", "6s", "--shutdown-timeout", "4s", "--connect-timeout", "90s"]);
        command.args(["--commit-interval", "500ms", "--events-max-bytes", "4MiB"]);
        command.args(["--ordering", if self.by_key { "key" } else { "partition" }]);
        if self.to_end {
            command.arg("--exit-at-end");
        }
        if let Some((shim, step)) = &self.ground.clock {
            command.env("LD_PRELOAD", shim).env("CLOCK_STEP_FILE", step);
        }
        if let Some(failpoint) = failpoint {
            command.env("PUBSUB_KAFKA_FAILPOINT", failpoint);
        }
        let program = Program::start(command, &self.folder, name);
        self.trackers.insert(name, program);
    }

    /// Ends a tracker with SIGTERM; it must end well, and in time.
    pub fn stop_tracker(&mut self, name: &'static str) {
        let Some(mut program) = self.trackers.remove(name) else { return };
        program.signal("TERM");
        let ended = program.ended_within(STOP);
        if ended != Some(0) {
            self.complain(format!("{name} ended with {ended:?} after SIGTERM: {}", self.last_words(name)));
        }
    }

    /// Whoever ended without being told to is a finding, and is started again.
    pub fn supervise(&mut self) {
        for name in TRACKERS {
            match self.trackers.get_mut(name).map(Program::ended) {
                Some(None) => {}
                Some(Some(code)) => {
                    self.complain(format!("{name} ended by itself with {code}: {}", self.last_words(name)));
                    self.start_tracker(name, None);
                }
                None => self.start_tracker(name, None),
            }
        }
        if let Some(code) = self.producer.ended() {
            self.complain(format!(
                "the producer ended by itself with {code}: {}",
                self.last_words("producer")
            ));
        }
    }

    pub fn complain(&mut self, what: String) {
        eprintln!("  !! {what}");
        self.trouble.push(what);
    }

    pub fn last_words(&self, name: &str) -> String {
        let text = std::fs::read(self.folder.join(format!("{name}.err"))).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().last().unwrap_or_default().to_owned()
    }

    /// Looks how far the outcomes are.
    pub fn reached(&mut self) -> Reached {
        self.watch.look();
        self.watch.reached.clone()
    }

    /// Waits until every partition has outcomes beyond those of then, which is to be soon; says how long that took.
    pub fn progress(&mut self, then: &Reached, soon: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            self.watch.look();
            let took = begun.elapsed();
            if self.watch.is_beyond(then, PARTITIONS) {
                if took > soon {
                    self.complain(format!("progress came back only after {took:.1?}"));
                }
                return took;
            }
            if took > STUCK {
                self.complain(format!(
                    "no progress after {took:.1?}: from {then:?} to {:?}",
                    self.watch.reached
                ));
                return took;
            }
            self.supervise();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the load, lets one tracker finish what is left, and checks everything.
    pub fn finish(mut self) -> Ended {
        self.producer.signal("TERM");
        let code = self.producer.ended_within(Duration::from_secs(90));
        let words = std::fs::read_to_string(self.folder.join("producer.out")).unwrap_or_default();
        let (sent, acknowledged) = counts(&words).unwrap_or_default();
        if !matches!(code, Some(0 | 3)) || sent == 0 {
            self.complain(format!("the producer ended with {code:?}: {words}"));
        }
        for name in TRACKERS {
            self.stop_tracker(name);
        }
        self.work_to_end();
        let files: Vec<Vec<PathBuf>> = TRACKERS
            .iter()
            .chain(&GUESTS)
            .map(|name| journal(&self.folder, name))
            .filter(|f| !f.is_empty())
            .collect();
        let proof = self.prove(&files.concat());
        let taken = self.ground.target.take();
        let servers = self.ground.cluster.direct();
        let found = check(&Sources {
            servers: &servers,
            topic: &self.topic,
            dlq: &self.dlq,
            group: &self.group,
            journals: &files,
            taken: &taken,
            by_key: self.by_key,
        });
        let failed: Vec<String> = found.wrong.clone();
        failed.into_iter().for_each(|what| self.complain(what));
        if !(acknowledged..=sent).contains(&found.records) {
            self.complain(format!(
                "{acknowledged} orders acknowledged and {sent} sent, {} in the topic",
                found.records
            ));
        }
        let again = taken.values().map(|times| u64::from(*times) - 1).sum();
        Ended { sent, acknowledged, found, taken_again: again, proof, trouble: self.trouble }
    }

    /// One tracker alone does what is left, to the end of the topic.
    fn work_to_end(&mut self) {
        self.to_end = true;
        self.start_tracker(TRACKERS[0], None);
        let Some(mut program) = self.trackers.remove(TRACKERS[0]) else { return };
        let ended = program.ended_within(Duration::from_secs(240));
        if ended != Some(0) {
            self.complain(format!("--exit-at-end ended with {ended:?}: {}", self.last_words(TRACKERS[0])));
        }
    }

    /// `audit verify` and `audit prove` have to agree.
    fn prove(&mut self, files: &[PathBuf]) -> serde_json::Value {
        let verify = role("audit", &self.folder).arg("verify").args(files).output().expect("audit runs");
        if !verify.status.success() {
            self.complain(format!("audit verify: {}", String::from_utf8_lossy(&verify.stderr)));
        }
        let mut prove: Command = role("audit", &self.folder);
        prove.args(["prove", "--json", "-b", &self.ground.cluster.direct(), "--topic", &self.topic]);
        prove.args(["--group", &self.group, "--dlq-topic", &self.dlq]).args(files);
        let prove = prove.output().expect("audit runs");
        if !prove.status.success() {
            self.complain(format!("audit prove: {}", String::from_utf8_lossy(&prove.stderr)));
        }
        serde_json::from_slice(&prove.stdout).unwrap_or_default()
    }
}

/// What a round came to.
pub struct Ended {
    pub sent: u64,
    pub acknowledged: u64,
    pub found: Found,
    /// Deliveries of what the target had taken already.
    pub taken_again: u64,
    pub proof: serde_json::Value,
    pub trouble: Vec<String>,
}

fn create(ground: &Ground<'_>, topic: &str) {
    let settings = KafkaSettings { bootstrap_servers: ground.cluster.direct(), ..KafkaSettings::default() };
    let admin = Admin::new(&settings).expect("an admin client");
    let three = ground.cluster.brokers == 3;
    let config = if three { vec![("min.insync.replicas".to_owned(), "2".to_owned())] } else { Vec::new() };
    let replication = if three { 3 } else { 1 };
    let spec = TopicSpec { name: topic.to_owned(), partitions: PARTITIONS, replication, config };
    ground.runtime.block_on(admin.create(&spec)).expect("the topic is created");
}

/// The producer's last line: `sent 812, acknowledged 812, failed 0`.
fn counts(words: &str) -> Option<(u64, u64)> {
    let mut numbers =
        words.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The files of one journal: its segments, then the live one.
fn journal(folder: &Path, name: &str) -> Vec<PathBuf> {
    let live = format!("{name}.events");
    let mut segments: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| {
            let number = path
                .file_name()
                .and_then(|file| file.to_str())
                .and_then(|file| file.strip_prefix(&live)?.strip_prefix('.'));
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .collect();
    segments.sort();
    segments.extend(Some(folder.join(live)).filter(|path| path.exists()));
    segments
}
