//! The demonstration broker: librdkafka's mock cluster in this process, behind a forwarder on the port that the user
//! chose. It keeps nothing: 5 MiB per partition, in memory, the oldest dropped first. Not a place for data, and never
//! a substitute where a guarantee is shown.
//!
//! The mock cluster listens on a port of its own choosing, so connections to the chosen one are forwarded, and the
//! chosen one is what the cluster tells its clients.

#![expect(
    unsafe_code,
    reason = "the mock cluster's advertised address and join delay exist in librdkafka's C API alone"
)]

use std::ffi::{CStr, CString};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::types::{RDKafkaMockCluster, RDKafkaType};
use rdkafka_sys as native;

use super::client::LoggingContext;

/// The one broker of the cluster.
const BROKER_ID: i32 = 1;

/// How often a running broker asks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// What the demonstration broker works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Where clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The topics that exist from the start, with their numbers of partitions.
    pub topics: Vec<(String, i32)>,
}

/// Why the demonstration broker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The address is taken, or not this machine's.
    #[error("listen on {addr} (is another broker running there?)")]
    Listen {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The mock cluster did not start.
    #[error("start the embedded broker")]
    Cluster(#[source] ClientError),
    /// The mock cluster's own address is not one.
    #[error("the embedded broker says that it listens on {0:?}, which is no address")]
    Address(String),
    /// A topic could not be created.
    #[error("create the topic {topic} with {partitions} partitions in the embedded broker: {code}")]
    Topic {
        /// The topic's name.
        topic: String,
        /// How many partitions were asked for.
        partitions: i32,
        /// The cluster's answer.
        code: RDKafkaErrorCode,
    },
    /// The forwarder's thread could not be started.
    #[error("start the forwarder of the embedded broker")]
    Thread(#[source] io::Error),
}

/// Runs a demonstration broker until `stop` says true, and says on stderr what it is.
///
/// # Errors
/// Those of [`EmbeddedBroker::start`].
pub fn run(settings: &BrokerSettings, stop: &dyn Fn() -> bool) -> Result<(), EmbeddedError> {
    let broker = EmbeddedBroker::start(settings.listen, &settings.topics)?;
    let topics: Vec<_> = settings.topics.iter().map(|(name, count)| format!("{name} ({count})")).collect();
    let notice = format!(
        "embedded broker on {} for demonstration: it keeps nothing (memory only, 5 MiB per partition, the oldest is \
         dropped) and does not serve Java clients; topics: {}\n",
        broker.addr(),
        if topics.is_empty() { "none yet".to_owned() } else { topics.join(", ") },
    );
    // A closed stderr is no reason not to serve.
    drop(io::Write::write_all(&mut io::stderr(), notice.as_bytes()));
    broker.run_until(stop);
    Ok(())
}

/// A running demonstration broker; dropping it ends it and forgets everything.
pub struct EmbeddedBroker {
    // Dropped first: no new bytes reach a cluster that is being taken down.
    forwarder: Forwarder,
    #[cfg_attr(not(test), expect(dead_code, reason = "held for its Drop"))]
    cluster: Cluster,
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

impl EmbeddedBroker {
    /// Starts a broker that answers on `listen`, with these topics (name, number of partitions). It answers when this
    /// returns.
    ///
    /// # Errors
    /// [`EmbeddedError::Listen`] when the port is taken, [`EmbeddedError::Topic`] for a name or a number that the
    /// cluster refuses, the others when the system gives no thread or socket.
    pub fn start(listen: SocketAddr, topics: &[(String, i32)]) -> Result<Self, EmbeddedError> {
        let in_way = |source| EmbeddedError::Listen { addr: listen, source };
        let listener = TcpListener::bind(listen).map_err(in_way)?;
        let addr = listener.local_addr().map_err(in_way)?;
        let cluster = Cluster::new()?;
        let target = cluster.address()?;
        cluster.advertise(&advertised_host(addr.ip()), addr.port());
        cluster.join_without_delay();
        for (name, partitions) in topics {
            cluster.create_topic(name, *partitions)?;
        }
        let forwarder = Forwarder::start(listener, addr, target)?;
        Ok(Self { forwarder, cluster })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.forwarder.addr
    }

    /// Serves until `stop` says true; it is asked at least every 50 ms.
    pub fn run_until(&self, stop: &dyn Fn() -> bool) {
        while !stop() {
            std::thread::sleep(STOP_CHECK);
        }
    }

    /// Makes the next produce requests fail with these errors, in order.
    #[cfg(test)]
    pub(crate) fn fail_next_produce(&self, errors: &[native::rd_kafka_resp_err_t]) {
        const PRODUCE: i16 = 0;
        // SAFETY: the cluster lives as long as `self`; the array is only read during the call.
        unsafe {
            native::rd_kafka_mock_push_request_errors_array(
                self.cluster.mock.as_ptr(),
                PRODUCE,
                errors.len(),
                errors.as_ptr(),
            );
        }
    }
}

/// The host that clients are told: the one that is listened on, or this machine where that is "any".
fn advertised_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => "localhost".to_owned(),
        ip => ip.to_string(),
    }
}

/// The mock cluster and the client that it hangs on.
struct Cluster {
    mock: NonNull<RDKafkaMockCluster>,
    // The cluster's thread belongs to this client, so it outlives the cluster (see `Drop`).
    _client: Client<LoggingContext>,
}

// SAFETY: after `new`, the pointer is used only with functions of the mock API that take the cluster's own lock or post
// to its thread's queue, and once in `Drop`, which has the only reference.
unsafe impl Send for Cluster {}
// SAFETY: as above; no function called through `&self` touches unlocked state.
unsafe impl Sync for Cluster {}

impl Cluster {
    fn new() -> Result<Self, EmbeddedError> {
        let config = ClientConfig::new();
        let native_config = config.create_native_config().map_err(EmbeddedError::Cluster)?;
        let client = Client::new(&config, native_config, RDKafkaType::RD_KAFKA_PRODUCER, LoggingContext)
            .map_err(EmbeddedError::Cluster)?;
        // SAFETY: the handle is valid: `client` owns it and lives in `self`, longer than the cluster.
        let mock = unsafe { native::rd_kafka_mock_cluster_new(client.native_ptr(), BROKER_ID) };
        let mock = NonNull::new(mock)
            .ok_or(EmbeddedError::Cluster(ClientError::MockCluster(RDKafkaErrorCode::Fail)))?;
        Ok(Self { mock, _client: client })
    }

    /// Where the mock cluster itself listens.
    fn address(&self) -> Result<SocketAddr, EmbeddedError> {
        // SAFETY: the string belongs to the cluster and lives as long; it is copied here.
        let text = unsafe { CStr::from_ptr(native::rd_kafka_mock_cluster_bootstraps(self.mock.as_ptr())) };
        let text = text.to_string_lossy().into_owned();
        text.parse().map_err(|_| EmbeddedError::Address(text))
    }

    fn advertise(&self, host: &str, port: u16) {
        // An address or "localhost" holds no NUL.
        let host = CString::new(host).unwrap_or_default();
        // SAFETY: the cluster is alive, the string is copied before the call returns.
        unsafe {
            native::rd_kafka_mock_broker_set_host_port(
                self.mock.as_ptr(),
                BROKER_ID,
                host.as_ptr(),
                i32::from(port),
            );
        }
    }

    /// A consumer group's first member need not wait for others: there is one demonstration, not a fleet.
    fn join_without_delay(&self) {
        // SAFETY: the cluster is alive; a number is set under its lock.
        unsafe { native::rd_kafka_mock_group_initial_rebalance_delay_ms(self.mock.as_ptr(), 0) };
    }

    fn create_topic(&self, name: &str, partitions: i32) -> Result<(), EmbeddedError> {
        let refused = |code| EmbeddedError::Topic { topic: name.to_owned(), partitions, code };
        let c_name = CString::new(name).map_err(|_| refused(RDKafkaErrorCode::InvalidTopic))?;
        // Zero or less makes the C side allocate nonsense.
        if partitions < 1 {
            return Err(refused(RDKafkaErrorCode::InvalidPartitions));
        }
        // SAFETY: the cluster is alive, the name is copied before the call returns.
        let code =
            unsafe { native::rd_kafka_mock_topic_create(self.mock.as_ptr(), c_name.as_ptr(), partitions, 1) };
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => Ok(()),
            code => Err(refused(code)),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SAFETY: nobody else has the pointer, and the client is dropped after this.
        unsafe { native::rd_kafka_mock_cluster_destroy(self.mock.as_ptr()) };
    }
}

/// Accepts on the chosen port and copies both ways to the cluster's own.
struct Forwarder {
    addr: SocketAddr,
    state: Arc<ForwarderState>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct ForwarderState {
    stopped: AtomicBool,
    // Weak: a connection that has ended on its own must not keep its sockets.
    open: Mutex<Vec<Weak<Connection>>>,
}

/// One client's two sockets.
struct Connection {
    client: TcpStream,
    cluster: TcpStream,
}

impl Connection {
    fn close(&self) {
        for socket in [&self.client, &self.cluster] {
            // One that is closed already is what is wanted.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

impl Forwarder {
    fn start(listener: TcpListener, addr: SocketAddr, target: SocketAddr) -> Result<Self, EmbeddedError> {
        let state = Arc::new(ForwarderState::default());
        let shared = Arc::clone(&state);
        let acceptor = std::thread::Builder::new()
            .name("broker-accept".to_owned())
            .spawn(move || accept_all(&listener, target, &shared))
            .map_err(EmbeddedError::Thread)?;
        Ok(Self { addr, state, acceptor: Some(acceptor) })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // `accept` has no timeout: a connection of our own ends its wait.
        let ip = match self.addr.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let woken =
            TcpStream::connect_timeout(&SocketAddr::new(ip, self.addr.port()), Duration::from_secs(1));
        if let (Ok(_), Some(acceptor)) = (woken, self.acceptor.take()) {
            drop(acceptor.join());
        }
        let open = self.state.open.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in open.iter().filter_map(Weak::upgrade) {
            connection.close();
        }
    }
}

fn accept_all(listener: &TcpListener, target: SocketAddr, state: &ForwarderState) {
    for client in listener.incoming() {
        if state.stopped.load(Ordering::SeqCst) {
            return;
        }
        match client.and_then(|client| forward(client, target)) {
            Ok(connection) => {
                let mut open = state.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.retain(|other| other.strong_count() > 0);
                open.push(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "the embedded broker could not serve a connection");
                // Out of file descriptors: trying again at once would only spin.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Starts the two threads of a connection; whichever sees the end of its direction closes both.
fn forward(client: TcpStream, target: SocketAddr) -> io::Result<Weak<Connection>> {
    let cluster = TcpStream::connect(target)?;
    // Requests and answers are small and awaited.
    client.set_nodelay(true)?;
    cluster.set_nodelay(true)?;
    let connection = Arc::new(Connection { client, cluster });
    for to_cluster in [true, false] {
        let shared = Arc::clone(&connection);
        std::thread::Builder::new().name("broker-forward".to_owned()).spawn(move || {
            let (mut from, mut to) = match to_cluster {
                true => (&shared.client, &shared.cluster),
                false => (&shared.cluster, &shared.client),
            };
            // Kafka clients do not half-close: the end of one direction is the end of the connection.
            if let Err(error) = io::copy(&mut from, &mut to) {
                tracing::debug!(%error, "a connection to the embedded broker ended");
            }
            shared.close();
        })?;
    }
    Ok(Arc::downgrade(&connection))
}

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
