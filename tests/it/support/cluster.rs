//! A Kafka of one or three real brokers, each behind a proxy of its own, and each to be killed, stopped and started.
//! Clients of the proxies' addresses are told of these alone; the brokers talk to each other, and whoever checks the
//! result to them, without.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::runtime::Handle;

use super::proxy::{Mode, Proxy};
use super::watchdog::watch;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh");
/// Ports of one cluster: from the base on the brokers', then their controllers', then those that the proxies connect to.
const CONTROLLERS: u16 = 10;
const CLIENTS: u16 = 20;

/// A running cluster; it ends with this value, or with this process, however that ends.
pub struct Cluster {
    /// How many brokers; their numbers begin at 1.
    pub brokers: u16,
    /// The proxies, in the order of the brokers.
    pub proxies: Vec<Proxy>,
    base: u16,
    home: PathBuf,
    watchdog: Child,
}

impl Cluster {
    /// Starts one in `home`, which its end removes, and waits until it answers.
    pub fn start(runtime: &Handle, home: &Path, brokers: u16) -> Self {
        let base = free_base(brokers);
        let proxy = |n| Proxy::start(runtime, local(base + CLIENTS + n)).expect("a proxy");
        let proxies: Vec<_> = (0..brokers).map(proxy).collect();
        std::fs::create_dir_all(home).expect("a folder for Kafka");
        std::fs::write(home.join("extra"), "").expect("written");
        for (n, proxy) in (0..brokers).zip(&proxies) {
            let (own, controller, clients) = (base + n, base + CONTROLLERS + n, base + CLIENTS + n);
            let text = format!(
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:PLAINTEXT\n\
                 listeners=PLAINTEXT://127.0.0.1:{own},CONTROLLER://127.0.0.1:{controller},CLIENTS://127.0.0.1:{clients}\n\
                 advertised.listeners=PLAINTEXT://127.0.0.1:{own},CLIENTS://{}\n",
                proxy.addr
            );
            std::fs::write(home.join(format!("extra.{}", n + 1)), text).expect("written");
        }
        let cluster = Self { brokers, proxies, base, watchdog: watch(SCRIPT, home), home: home.to_owned() };
        cluster.script(&["start", "--brokers", &brokers.to_string()]);
        cluster
    }

    /// Where clients connect: the proxies.
    pub fn servers(&self) -> String {
        joined(self.proxies.iter().map(|proxy| proxy.addr))
    }

    /// The brokers themselves.
    pub fn direct(&self) -> String {
        joined((0..self.brokers).map(|n| local(self.base + n)))
    }

    /// What the network of every broker does.
    pub fn network(&self, mode: Mode) {
        self.proxies.iter().for_each(|proxy| proxy.set(mode));
    }

    /// Sends a signal to a broker: KILL as a crash, STOP as a pause, CONT after it.
    pub fn signal(&self, broker: u16, name: &str) {
        let output = command(&self.home, self.base, &["pid", "--broker", &broker.to_string()]).output();
        let pid = String::from_utf8(output.expect("bash runs").stdout).expect("a number");
        let status = Command::new("kill").args([&format!("-{name}"), pid.trim()]).status();
        assert!(status.expect("kill runs").success(), "broker {broker} does not run");
    }

    /// Starts the brokers that do not run, and waits until all answer.
    pub fn heal(&self) {
        self.script(&["start"]);
    }

    fn script(&self, arguments: &[&str]) {
        let mut said = String::new();
        // On a busy machine a broker may give up on its controllers while all of them start.
        for _ in 0..3 {
            let output = command(&self.home, self.base, arguments).output().expect("bash runs");
            if output.status.success() {
                return;
            }
            said = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        panic!("kafka.sh: {said}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        drop(self.watchdog.wait());
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn joined(addresses: impl Iterator<Item = SocketAddr>) -> String {
    addresses.map(|addr| addr.to_string()).collect::<Vec<_>>().join(",")
}

/// Ports that nobody listens on, below those that the system gives to clients.
fn free_base(brokers: u16) -> u16 {
    let free = |port| TcpListener::bind(local(port)).is_ok();
    let all_free = |base: &u16| {
        (0..brokers).all(|n| free(base + n) && free(base + CONTROLLERS + n) && free(base + CLIENTS + n))
    };
    let first = 12_000 + u16::try_from(std::process::id() % 300).expect("a small number") * 30;
    (first..32_000).step_by(30).find(all_free).expect("free ports")
}

fn command(home: &Path, base: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command
        .arg(SCRIPT)
        .args(arguments)
        .env("KAFKA_HOME_DIR", home)
        .env("KAFKA_PORT", base.to_string())
        .env("KAFKA_CONTROLLER_PORT", (base + CONTROLLERS).to_string())
        .env("KAFKA_EXTRA_PROPERTIES", home.join("extra"))
        .env("KAFKA_START_TIMEOUT", "120")
        .stdin(Stdio::null());
    command
}
