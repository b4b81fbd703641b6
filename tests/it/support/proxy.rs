//! A TCP proxy in front of a broker that fails as networks do: it holds everything back, delays, drips, resets, or loses
//! the answers to produce requests. It reads Kafka's frames (a length, then so many bytes) and nothing else of them than
//! which request an answer belongs to.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It works.
    Pass,
    /// Nothing comes through any more, and nothing says so.
    Hold,
    /// Each frame is late.
    Delay(Duration),
    /// A few bytes at a time.
    Drip,
    /// Connections are reset, and new ones as well.
    Reset,
    /// Every second produce request is carried out by the broker, and its answer lost with the connection.
    LoseProduceAnswers,
}

/// A running proxy; it ends with the runtime.
pub struct Proxy {
    /// Where clients connect.
    pub addr: SocketAddr,
    mode: watch::Sender<Mode>,
    lost: Arc<AtomicU64>,
}

/// What the connections share.
#[derive(Clone)]
struct Network {
    mode: watch::Receiver<Mode>,
    answers: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

const PRODUCE: i16 = 0;
const DRIP: (usize, Duration) = (64, Duration::from_millis(1));

impl Proxy {
    /// Starts one on a free port; the broker need not be there yet.
    pub fn start(runtime: &Handle, broker: SocketAddr) -> io::Result<Self> {
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let addr = listener.local_addr()?;
        let (mode, receiver) = watch::channel(Mode::Pass);
        let lost = Arc::new(AtomicU64::new(0));
        let network = Network { mode: receiver, answers: Arc::default(), lost: Arc::clone(&lost) };
        runtime.spawn(accept(listener, broker, network));
        Ok(Self { addr, mode, lost })
    }

    /// Changes what the network does, for open connections too.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many answers were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, broker: SocketAddr, network: Network) {
    while let Ok((client, _)) = listener.accept().await {
        let network = network.clone();
        tokio::spawn(async move {
            if network.is(Mode::Reset) {
                reset(&client);
            } else if let Ok(server) = TcpStream::connect(broker).await {
                connection(client, server, network).await;
            }
        });
    }
}

/// A closed connection with this set sends a reset.
fn reset(stream: &TcpStream) {
    drop(stream.set_zero_linger());
}

async fn connection(mut client: TcpStream, mut server: TcpStream, mut network: Network) {
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let produces = Mutex::default();
    let own = network.clone();
    let is_reset = {
        let ((client_in, client_out), (server_in, server_out)) = (client.split(), server.split());
        tokio::select! {
            ended = requests(client_in, server_out, &own, &produces) => is_reset(&ended),
            ended = answers(server_in, client_out, &own, &produces) => is_reset(&ended),
            _ = network.mode.wait_for(|mode| *mode == Mode::Reset) => true,
        }
    };
    if is_reset {
        reset(&client);
    }
}

fn is_reset(ended: &io::Result<()>) -> bool {
    ended.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

type Produces = Mutex<HashSet<i32>>;

async fn requests(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    network: &Network,
    produces: &Produces,
) -> io::Result<()> {
    loop {
        let frame = read(&mut from).await?;
        if let [_, _, _, _, a, b, _, _, c, d, e, f, ..] = frame[..]
            && i16::from_be_bytes([a, b]) == PRODUCE
        {
            produces.lock().expect("no panic").insert(i32::from_be_bytes([c, d, e, f]));
        }
        network.write(&mut to, &frame).await?;
    }
}

async fn answers(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    network: &Network,
    produces: &Produces,
) -> io::Result<()> {
    loop {
        let frame = read(&mut from).await?;
        let of_produce = match frame[..] {
            [_, _, _, _, a, b, c, d, ..] => {
                produces.lock().expect("no panic").remove(&i32::from_be_bytes([a, b, c, d]))
            }
            _ => false,
        };
        if of_produce && network.loses_this() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        network.write(&mut to, &frame).await?;
    }
}

/// One frame, with its length.
async fn read(from: &mut ReadHalf<'_>) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let mut frame = length.to_vec();
    let wanted = u64::from(u32::from_be_bytes(length));
    if from.take(wanted).read_to_end(&mut frame).await? as u64 != wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame)
}

impl Network {
    fn is(&self, mode: Mode) -> bool {
        *self.mode.borrow() == mode
    }

    fn loses_this(&self) -> bool {
        let loses = self.is(Mode::LoseProduceAnswers)
            && self.answers.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if loses {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        loses
    }

    /// Hands a frame on, as the network is in that moment.
    async fn write(&self, to: &mut WriteHalf<'_>, frame: &[u8]) -> io::Result<()> {
        let mut left = frame;
        let mode = *self.mode.borrow();
        if let Mode::Delay(time) = mode {
            tokio::time::sleep(time).await;
        }
        while !left.is_empty() {
            // A sender that is gone has ended with the test.
            drop(self.mode.clone().wait_for(|mode| *mode != Mode::Hold).await);
            let now = if self.is(Mode::Drip) { left.len().min(DRIP.0) } else { left.len() };
            to.write_all(&left[..now]).await?;
            left = &left[now..];
            if !left.is_empty() {
                tokio::time::sleep(DRIP.1).await;
            }
        }
        Ok(())
    }
}
