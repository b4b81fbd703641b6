//! The address where a program shows its metrics.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// An address that was free a moment ago.
pub fn free_addr() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address")
}

/// The status and the rest of an answer; `None` while nobody listens.
pub fn get(addr: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

/// The values of `/metrics`, by name and labels as they stand there.
pub fn metrics(addr: SocketAddr) -> Option<BTreeMap<String, f64>> {
    let (status, answer) = get(addr, "/metrics")?;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    let (_, page) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(page.ends_with("# EOF\n"), "{page}");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
    };
    Some(lines.map(value).collect())
}
