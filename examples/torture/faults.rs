//! How each fault is brought about, and healed. Every function returns when all is well again; what happens until the
//! outcomes go on is measured by the caller.

use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataPartition;

use crate::cluster::Cluster;
use crate::plan::{Kind, Step};
use crate::proxy::{Mode, Proxy};
use crate::round::{GUESTS, Round, SESSION, STOP, TRACKERS};
use crate::target::Mood;

/// A failpoint that was not reached in this time was not injected.
const REACHED: Duration = Duration::from_secs(60);
/// A kill takes effect in this time.
const DEATH: Duration = Duration::from_secs(10);
const KILLED: Option<i32> = Some(-9);

impl Round<'_> {
    /// Brings a fault about and heals it; says whether it took place.
    pub fn inject(&mut self, step: &Step) -> bool {
        let name = TRACKERS[step.who % TRACKERS.len()];
        let cluster = self.ground.cluster;
        let broker = u16::try_from(step.who).unwrap_or(0) % cluster.brokers + 1;
        match step.kind {
            Kind::Kill => self.kill(&[name]),
            Kind::KillAll => self.kill(&TRACKERS),
            Kind::AfterPublish
            | Kind::AfterAppend
            | Kind::AfterSync
            | Kind::BeforeCommit
            | Kind::AfterSeal
            | Kind::AfterRename
            | Kind::PowerCut
            | Kind::SyncError => return self.failpoint(name, step),
            Kind::FullDisk => self.full_disk(name, step.lasts),
            Kind::Freeze => {
                self.signal(name, "STOP");
                std::thread::sleep(SESSION + step.lasts);
                self.signal(name, "CONT");
            }
            Kind::TermInRetry => return self.term_in_retry(name),
            Kind::RebalanceStorm => self.rebalance_storm(step.lasts),
            Kind::ClockStep => return self.clock_step(step),
            Kind::TargetFails => self.target_is(Mood::Fails, step.lasts),
            Kind::TargetHangs => self.target_is(Mood::Hangs, step.lasts),
            Kind::LeaderKilled => {
                let leader = leader(cluster, &self.topic, step.who);
                self.broker_down(leader, step.lasts);
            }
            Kind::CoordinatorKilled => {
                let group = format!("{}-group", self.topic);
                let leader = leader(cluster, "__consumer_offsets", group_partition(&group, 8));
                self.broker_down(leader, step.lasts);
            }
            Kind::BelowMinIsr => self.below_min_isr(broker, step.lasts),
            Kind::BrokerFrozen => {
                cluster.signal(broker, "STOP");
                std::thread::sleep(step.lasts + Duration::from_secs(4));
                cluster.signal(broker, "CONT");
            }
            Kind::AllDown => {
                (1..=cluster.brokers).for_each(|n| cluster.signal(n, "KILL"));
                std::thread::sleep(step.lasts);
                cluster.heal();
            }
            Kind::NetHold => self.network(Mode::Hold, step, Duration::from_secs(6)),
            Kind::NetDelay => self.network(Mode::Delay(Duration::from_millis(400)), step, Duration::ZERO),
            Kind::NetDrip => self.network(Mode::Drip, step, Duration::ZERO),
            Kind::NetReset => self.network(Mode::Reset, step, Duration::ZERO),
            Kind::NetLoses => {
                let lost = |cluster: &Cluster| cluster.proxies.iter().map(Proxy::lost).sum::<u64>();
                let before = lost(cluster);
                self.network(Mode::LoseProduceAnswers, step, Duration::ZERO);
                return lost(cluster) > before;
            }
        }
        true
    }

    fn signal(&mut self, name: &str, signal: &str) {
        if let Some(program) = self.trackers.get(name) {
            program.signal(signal);
        }
    }

    fn kill(&mut self, names: &[&'static str]) {
        for name in names {
            self.signal(name, "KILL");
        }
        for name in names {
            self.expect_end(name, KILLED, DEATH);
        }
        for name in names {
            self.start_tracker(name, None);
        }
    }

    fn expect_end(&mut self, name: &str, expected: Option<i32>, patience: Duration) -> bool {
        let Some(mut program) = self.trackers.remove(name) else { return false };
        let ended = program.ended_within(patience);
        if ended.is_some() && ended != expected {
            self.complain(format!(
                "{name} ended with {ended:?}, not {expected:?}: {}",
                self.last_words(name)
            ));
        }
        ended == expected
    }

    fn failpoint(&mut self, name: &'static str, step: &Step) -> bool {
        let Some((point, _)) = step.kind.failpoint() else { return false };
        self.stop_tracker(name);
        self.start_tracker(name, Some(format!("{point}:{}", step.nth)));
        let expected = if step.kind == Kind::SyncError { Some(1) } else { KILLED };
        let reached = self.expect_end(name, expected, REACHED);
        self.start_tracker(name, None);
        reached
    }

    /// The live audit log may grow by a little, and not more.
    fn full_disk(&mut self, name: &str, lasts: Duration) {
        let path = self.folder.join(format!("{name}.events"));
        let size = std::fs::metadata(path).map_or(0, |file| file.len());
        self.limit_files(name, &format!("{}:", size + 20_000));
        std::thread::sleep(lasts);
        self.limit_files(name, "unlimited:");
    }

    fn limit_files(&mut self, name: &str, limit: &str) {
        let Some(program) = self.trackers.get(name) else { return };
        let status = Command::new("prlimit")
            .args(["--pid", &program.pid().to_string(), &format!("--fsize={limit}")])
            .status();
        assert!(status.expect("prlimit runs").success(), "the limit of {name} was not set");
    }

    fn term_in_retry(&mut self, name: &'static str) -> bool {
        let target = self.ground.target;
        let (before, begun) = (target.refused(), Instant::now());
        target.be(Mood::Fails);
        while target.refused() < before + 8 && begun.elapsed() < REACHED {
            std::thread::sleep(Duration::from_millis(10));
        }
        let in_retry = target.refused() >= before + 8;
        self.stop_tracker(name);
        target.be(Mood::Well);
        self.start_tracker(name, None);
        in_retry
    }

    /// Members join and leave, some of them without a word.
    fn rebalance_storm(&mut self, lasts: Duration) {
        let begun = Instant::now();
        let mut turn = 0;
        while begun.elapsed() < lasts * 2 {
            let name = GUESTS[turn % GUESTS.len()];
            match self.trackers.remove(name) {
                None => self.start_tracker(name, None),
                Some(mut program) => {
                    let (signal, code) = if turn.is_multiple_of(3) { ("KILL", -9) } else { ("TERM", 0) };
                    program.signal(signal);
                    let ended = program.ended_within(STOP);
                    if ended != Some(code) {
                        self.complain(format!(
                            "{name} ended with {ended:?} after SIG{signal}: {}",
                            self.last_words(name)
                        ));
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(700));
            turn += 1;
        }
        GUESTS.iter().for_each(|name| self.stop_tracker(name));
    }

    fn clock_step(&mut self, step: &Step) -> bool {
        let Some((_, file)) = self.ground.clock.clone() else { return false };
        let seconds: i64 = if step.who.is_multiple_of(2) { 3_600 } else { -3_600 };
        set_clock(&file, seconds);
        std::thread::sleep(step.lasts);
        set_clock(&file, 0);
        true
    }

    fn target_is(&mut self, mood: Mood, lasts: Duration) {
        self.ground.target.be(mood);
        std::thread::sleep(lasts);
        self.ground.target.be(Mood::Well);
    }

    fn network(&mut self, mode: Mode, step: &Step, longer: Duration) {
        let cluster = self.ground.cluster;
        match cluster.proxies.get(step.who) {
            Some(proxy) if cluster.brokers > 1 => proxy.set(mode),
            _ => cluster.network(mode),
        }
        std::thread::sleep(step.lasts + longer);
        cluster.network(Mode::Pass);
    }

    fn broker_down(&mut self, broker: u16, lasts: Duration) {
        self.ground.cluster.signal(broker, "KILL");
        std::thread::sleep(lasts);
        self.ground.cluster.heal();
    }

    /// With one broker of three gone, and three replicas asked for, nothing is acknowledged.
    fn below_min_isr(&mut self, broker: u16, lasts: Duration) {
        self.min_isr("3");
        self.ground.cluster.signal(broker, "KILL");
        std::thread::sleep(lasts + Duration::from_secs(5));
        self.ground.cluster.heal();
        self.min_isr("2");
    }

    fn min_isr(&mut self, value: &str) {
        let admin: AdminClient<DefaultClientContext> = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", self.ground.cluster.direct())
            .create()
            .expect("an admin client");
        let change =
            |topic| AlterConfig::new(ResourceSpecifier::Topic(topic)).set("min.insync.replicas", value);
        let changes = [change(&self.topic), change(&self.dlq)];
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
        let answers = self.ground.runtime.block_on(admin.alter_configs(&changes, &options));
        for answer in answers.expect("an answer") {
            answer.expect("the setting is changed");
        }
    }
}

/// Writes the number of seconds by which the trackers' wall clocks are wrong.
pub fn set_clock(file: &std::path::Path, seconds: i64) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().create(true).write(true).truncate(false).open(file).expect("a file");
    file.write_all_at(&seconds.to_ne_bytes(), 0).expect("written");
}

/// The broker that leads a partition.
fn leader(cluster: &Cluster, topic: &str, partition: usize) -> u16 {
    let client: BaseConsumer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", cluster.direct()).create().expect("a client");
    let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(30)).expect("metadata");
    let partitions = metadata.topics()[0].partitions();
    let leader = partitions
        .iter()
        .find(|p| usize::try_from(p.id()) == Ok(partition))
        .map_or(-1, MetadataPartition::leader);
    u16::try_from(leader).ok().filter(|leader| *leader > 0).unwrap_or(1)
}

/// The partition of `__consumer_offsets` that keeps a group: Java's hash of its name.
fn group_partition(group: &str, partitions: i32) -> usize {
    let hash = group.encode_utf16().fold(0i32, |hash, c| hash.wrapping_mul(31).wrapping_add(i32::from(c)));
    usize::try_from((hash & i32::MAX) % partitions).unwrap_or(0)
}
