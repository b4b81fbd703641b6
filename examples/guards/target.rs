//! An HTTP target that costs little, and behaves as it is told: for all orders, or for those of partition 0 alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Answers after this time.
    Well(Duration),
    /// Answers 503.
    Fails,
    /// Closes the connection without an answer.
    Gone,
    /// Answers after 30 s.
    Hangs,
    /// Works for a second, fails for the next.
    Flaps,
    /// Answers with a body that does not end.
    Floods,
}

/// Whose orders it treats so; it works well for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    All,
    PartitionZero,
}

/// A running target; it ends with the runtime.
pub struct Target {
    pub url: String,
    pub taken: Arc<AtomicU64>,
    behaves: Arc<AtomicBool>,
}

impl Target {
    pub fn start(runtime: &Handle, mood: Mood, hit: Hit) -> Self {
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a port");
        let url = format!("http://{}/orders", listener.local_addr().expect("an address"));
        let taken = Arc::new(AtomicU64::new(0));
        let (counter, begun) = (Arc::clone(&taken), Instant::now());
        let behaves = Arc::new(AtomicBool::new(false));
        let may = Arc::clone(&behaves);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counter, may) = (Arc::clone(&counter), Arc::clone(&may));
                // A connection that breaks is the other side's right.
                tokio::spawn(async move { drop(serve(stream, mood, hit, begun, &counter, &may).await) });
            }
        });
        Self { url, taken, behaves }
    }

    /// Whether it works well all the same, for now.
    pub fn behave(&self, well: bool) {
        self.behaves.store(well, Ordering::Relaxed);
    }
}

async fn serve(
    mut stream: TcpStream,
    mood: Mood,
    hit: Hit,
    begun: Instant,
    taken: &AtomicU64,
    behaves: &AtomicBool,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(8192);
    loop {
        let Some((head, length)) = request(&mut stream, &mut bytes).await? else { return Ok(()) };
        let is_hit =
            (hit == Hit::All || is_of_partition_zero(&bytes[..head])) && !behaves.load(Ordering::Relaxed);
        bytes.drain(..head + length);
        let well = match if is_hit { mood } else { Mood::Well(Duration::ZERO) } {
            Mood::Well(Duration::ZERO) => true,
            Mood::Well(time) => {
                tokio::time::sleep(time).await;
                true
            }
            Mood::Hangs => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                true
            }
            Mood::Fails => false,
            Mood::Flaps => begun.elapsed().as_secs().is_multiple_of(2),
            Mood::Gone => return Ok(()),
            Mood::Floods => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await?;
                let flood = vec![b'x'; 64 << 10];
                loop {
                    stream.write_all(&flood).await?;
                }
            }
        };
        let answer: &[u8] = if well {
            taken.fetch_add(1, Ordering::Relaxed);
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        } else {
            b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"
        };
        stream.write_all(answer).await?;
    }
}

/// Reads one request; says how long its head and its body are. `None` when the other side has gone.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<Option<(usize, usize)>> {
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let length =
                header(&bytes[..at], "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if bytes.len() >= at + 4 + length {
                return Ok(Some((at + 4, length)));
            }
        }
        if stream.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

fn header<'h>(head: &'h [u8], name: &str) -> Option<&'h str> {
    let text = std::str::from_utf8(head).ok()?;
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn is_of_partition_zero(head: &[u8]) -> bool {
    header(head, "idempotency-key").and_then(|key| key.rsplit('/').nth(1)) == Some("0")
}
