//! The web page over HTTP, without Kafka: its headers, who may see it, whose commands it takes, and its figures.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Files, event, figures, health, monitor, now_ms, said};

/// A monitor that serves its page.
pub struct Served {
    child: Child,
    pub addr: SocketAddr,
    /// What it said first.
    pub greeting: String,
}

/// An answer, its head in lower case.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Served {
    /// With the flag `--web` on a free port of this address.
    pub fn on(ip: &str, folder: &Path, flags: &[&str]) -> Self {
        let mut command = monitor(folder);
        command.args(["--web", &format!("{ip}:0")]).args(flags).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("it runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut greeting = String::new();
        stderr.read_line(&mut greeting).expect("a line");
        // Whatever else it says must find a reader.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let addr = greeting.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let addr =
            addr.and_then(|addr| addr.parse().ok()).unwrap_or_else(|| panic!("no address: {greeting}"));
        Self { child, addr, greeting }
    }

    pub fn local(folder: &Path, flags: &[&str]) -> Self {
        Self::on("127.0.0.1", folder, flags)
    }

    fn connect(&self) -> TcpStream {
        let to = SocketAddr::from(([127, 0, 0, 1], self.addr.port()));
        let stream = TcpStream::connect(to).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        stream
    }

    /// One request; a `host` that is not named is this address.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.connect();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if headers.iter().all(|(name, _)| *name != "host") {
            request.push_str(&format!("host: {}\r\n", self.addr));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// A command as the page itself gives it.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let origin = format!("http://{}", self.addr);
        let headers = [("x-monitor", "1"), ("origin", &*origin), ("content-type", "application/json")];
        self.ask("POST", path, &headers, &body.to_string())
    }

    /// Sends SIGTERM; the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(
            std::process::Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success()
        );
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const PATHS: [&str; 7] =
    ["/", "/style.css", "/app.js", "/parts.js", "/letters.js", "/icon.svg", "/api/figures"];

fn files() -> Files {
    let it = Files::new();
    // Old enough for the window, which ends with them, to be past.
    let now = now_ms() - 30_000;
    it.log([health(now - 60_000, "started"), health(now - 1_000, "stopped")]);
    it.events((0..93).map(|n| event(now - 2_000, &format!("o-{n}"), None)));
    it.events((0..7).map(|_| event(now - 1_500, "bad", Some("total must be 7.70, found 9"))));
    it
}

/// Without what says how old something is now.
pub fn lasting(mut figures: Value) -> Value {
    figures["at"] = Value::Null;
    figures["tracker"]["age_ms"] = Value::Null;
    figures
}

#[test]
fn its_figures_are_those_in_print_and_follow_the_files() {
    let it = files();
    let page = Served::local(it.folder.path(), &[]);
    assert_eq!(page.greeting, format!("the page is at http://{}/\n", page.addr));
    let answer = page.get("/api/figures");
    assert!(
        answer.status == 200 && answer.head.contains("content-type: application/json"),
        "{}",
        answer.head
    );
    assert_eq!(lasting(answer.json()), lasting(figures(it.folder.path(), &[])));
    assert_eq!(answer.json()["outcomes"]["total"], 100);

    // The same as events, and again when a line is added.
    let mut stream = page.connect();
    write!(stream, "GET /api/live HTTP/1.1\r\nhost: {}\r\n\r\n", page.addr).expect("asked");
    let mut lines = BufReader::new(stream).lines();
    let mut next = || loop {
        let line = lines.next().expect("a line").expect("text");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str::<Value>(data).expect("JSON");
        }
    };
    assert_eq!(next()["outcomes"]["total"], 100);
    it.events([event(now_ms(), "o-new", None)]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while next()["outcomes"]["total"] != 101 {
        assert!(Instant::now() < deadline, "the new outcome is not told");
    }
    assert_eq!(page.get("/api/figures").json()["newest_outcomes"][0]["key"], "o-new");
    // With a browser that listens still.
    assert_eq!(page.terminate(), Some(0));
}

#[test]
fn every_answer_has_the_headers_that_keep_a_page_apart() {
    let it = files();
    let page = Served::local(it.folder.path(), &[]);
    let mut answers: Vec<Answer> = PATHS.iter().map(|path| page.get(path)).collect();
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert!(answers[0].head.contains("content-type: text/html; charset=utf-8"), "{}", answers[0].head);
    answers.push(page.get("/nothing"));
    answers.push(page.ask("GET", "/", &[("host", "evil.example")], ""));
    answers.push(page.ask("PUT", "/", &[("x-monitor", "1")], ""));
    let statuses: Vec<u16> = answers.iter().skip(PATHS.len()).map(|answer| answer.status).collect();
    assert_eq!(statuses, [404, 421, 405]);
    for answer in answers {
        for header in [
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(answer.head.contains(header), "{header}: {}", answer.head);
        }
        let policy = answer.head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
        let policy = policy.expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!answer.head.contains("access-control-"), "{}", answer.head);
    }
}

#[test]
fn whoever_comes_from_elsewhere_needs_the_token() {
    let it = files();
    let page = Served::on("0.0.0.0", it.folder.path(), &[]);
    let token = page.greeting.trim().split("?token=").nth(1).expect("a token is told").to_owned();
    assert!(token.len() >= 32, "{token}");
    for path in PATHS {
        assert_eq!(page.get(path).status, 401, "{path}");
    }
    let wrong = format!("/?token={}", token.replace(|_: char| true, "0"));
    assert_eq!(page.get(&wrong).status, 401);
    let let_in = page.get(&format!("/?token={token}"));
    assert!(let_in.status == 303 && let_in.head.contains("\r\nlocation: /\r\n"), "{let_in:?}");
    let cookie = let_in.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.ends_with("; path=/; httponly; samesite=strict"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair").to_owned();
    let again = page.ask("GET", &format!("/?token={token}"), &[("cookie", pair.as_str())], "");
    assert_eq!(again.status, 303, "the token does not stay in the address");
    for path in PATHS {
        let answer = page.ask("GET", path, &[("cookie", pair.as_str()), ("host", "monitor.example")], "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains(&token), "{path}");
    }
    assert_eq!(page.terminate(), Some(0));

    // One of one's own, also on loopback; it is not written anywhere.
    std::fs::write(it.path("token"), "0123456789abcdef0123\n").expect("written");
    let page = Served::local(it.folder.path(), &["--web-token-file", "token"]);
    assert!(!page.greeting.contains("0123456789"), "{}", page.greeting);
    assert_eq!(page.get("/").status, 401);
    assert_eq!(page.get("/?token=0123456789abcdef0123").status, 303);
}

#[test]
fn nothing_hostile_can_be_taken_for_markup() {
    let it = Files::new();
    let evil = "<script>alert(1)</script><img src=x onerror=alert(2)>&lt;\u{1b}[2J\u{202e}\u{9b}'\"";
    it.log([health(now_ms(), evil)]);
    it.events([event(now_ms(), evil, Some(evil))]);
    let page = Served::local(it.folder.path(), &[]);
    for path in PATHS {
        let answer = page.get(path);
        assert!(
            !answer.body.contains("<script>alert(") && !answer.body.contains("<img src=x"),
            "{path}: raw"
        );
        let own = |c: char| pubsub_kafka::models::is_unsafe(c) && c != '\n';
        assert!(!answer.body.contains(own), "{path}");
    }
    let answer = page.get("/api/figures");
    assert!(!answer.body.contains(['<', '>', '&']), "{}", answer.body);
    assert_eq!(answer.json()["newest_outcomes"][0]["error"], evil, "its meaning is as it was");
    let asked = page.get("/%3Cscript%3Ealert(1)%3C/script%3E?%3Cb%3E");
    assert!(asked.status == 404 && !asked.body.contains("script"), "{asked:?}");
}

#[test]
fn commands_are_taken_from_the_page_alone_and_only_where_they_are_allowed() {
    let it = files();
    // Where nothing answers: whoever is refused is refused before Kafka is asked.
    let kafka =
        if cfg!(feature = "dlq") { &["-b", "127.0.0.1:1", "--connect-timeout", "100ms"][..] } else { &[] };
    let page = Served::local(it.folder.path(), kafka);
    let own = format!("http://{}", page.addr);
    for path in ["/api/plans", "/api/plans/00000000-0000-0000-0000-000000000000/apply", "/api/job/stop"] {
        for headers in [
            &[][..],
            &[("origin", own.as_str())],
            &[("x-monitor", "1"), ("origin", "http://evil.example")],
            &[("x-monitor", "1"), ("origin", "null")],
            &[("x-monitor", "1"), ("sec-fetch-site", "cross-site")],
        ] {
            let answer = page.ask("POST", path, headers, "{}");
            assert_eq!(answer.status, 403, "{path} {headers:?}");
            assert!(!answer.body.contains("read-only"), "{path} {headers:?}: {}", answer.body);
        }
        let answer = page.post(path, &serde_json::json!({ "status": "open" }));
        if cfg!(feature = "dlq") {
            assert!(answer.status == 403 && answer.body.contains("read-only"), "{path}: {answer:?}");
        } else {
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    let about = page.get("/api/about").json();
    assert_eq!(
        (about["dlq_topic"].is_string(), &about["allow_replay"]),
        (cfg!(feature = "dlq"), &false.into())
    );
    if cfg!(feature = "dlq") {
        let answer = page.post("/api/letters/list", &serde_json::json!({}));
        assert_eq!(answer.status, 502, "{answer:?}");
        assert!(answer.json()["error"].as_str().expect("why").contains("127.0.0.1:1"), "{answer:?}");
    }
    let files: Vec<_> = std::fs::read_dir(it.folder.path()).expect("a folder").collect();
    assert_eq!(files.len(), 2, "nothing was written");
}

#[test]
fn what_cannot_be_served_is_refused_with_its_reason() {
    let it = Files::new();
    std::fs::write(it.path("short"), "secret\n").expect("written");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    for (flags, code, expected) in [
        (&["--allow-replay"][..], 2, "--web ADDR"),
        (&["--web", "127.0.0.1:0", "--once"], 2, "only one of them"),
        (&["--web", "8080"], 2, "an address with its port is needed"),
        (&["--web", "127.0.0.1:0", "--web-token-file", "none"], 2, "--web-token-file: read none"),
        (&["--web", "127.0.0.1:0", "--web-token-file", "short"], 2, "holds no token: 16 to 256"),
        (&["--web", &taken], 1, "listen on --web 127.0.0.1:"),
        (&["--web", "127.0.0.1:0", "--log-file", "."], 1, "read ."),
    ] {
        let (found, stdout, stderr) = said(&monitor(it.folder.path()).args(flags).output().expect("it runs"));
        assert_eq!((found, stdout.as_str()), (Some(code), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(expected) && !stderr.contains("secret"), "{flags:?}: {stderr}");
    }
}
