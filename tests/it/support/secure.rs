//! A Kafka with TLS and SASL listeners, and an authority of its own that signs the brokers' certificates. Java's own
//! keytool makes both, since a Kafka of one's own needs Java anyway.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::OwnKafka;
use super::broker::free_ports;

/// The one user.
pub const USER: &str = "orders";
/// The user's password; nothing else here looks like it.
pub const PASSWORD: &str = "Xq7-hunter2-Zw9";
/// Of key stores, which live as long as a test.
const STORE: &str = "changeit";

/// The Kafka and the addresses of its listeners.
pub struct SecureKafka {
    /// Without TLS, for the test itself.
    pub plain: OwnKafka,
    /// TLS.
    pub ssl: String,
    /// TLS with SCRAM-SHA-512.
    pub sasl: String,
    /// TLS with SCRAM-SHA-512, and a certificate for another host.
    pub elsewhere: String,
    /// TLS alone, and a certificate for another host.
    pub elsewhere_ssl: String,
    folder: tempfile::TempDir,
}

impl SecureKafka {
    /// Starts one. `Err` says what this machine lacks.
    pub fn start() -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        if !Command::new("keytool").arg("-help").stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
            return Err("it needs Java's keytool".to_owned());
        }
        authority(at, "ca");
        authority(at, "stranger");
        certificate(at, "here", "san=ip:127.0.0.1,dns:localhost");
        certificate(at, "elsewhere", "san=dns:elsewhere.example");
        let ((ssl, sasl), (elsewhere, elsewhere_ssl)) = (free_ports(), free_ports());
        let plain = OwnKafka::start_with(|port, controller| {
            let file = at.join("extra.properties");
            let listeners = [
                ("SSL", "SSL", ssl, "here"),
                ("SASL_SSL", "SASL_SSL", sasl, "here"),
                ("ELSEWHERE", "SASL_SSL", elsewhere, "elsewhere"),
                ("ELSEWHERESSL", "SSL", elsewhere_ssl, "elsewhere"),
            ];
            std::fs::write(&file, properties(at, port, controller, &listeners)).expect("written");
            Some(file)
        })?;
        let add = format!("SCRAM-SHA-512=[iterations=4096,password={PASSWORD}]");
        plain.run(&[
            "kafka.admin.ConfigCommand",
            "--bootstrap-server",
            &plain.servers,
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            USER,
            "--add-config",
            &add,
        ]);
        // A name, as in a certificate that was made for people.
        let address = |port| format!("localhost:{port}");
        Ok(Self {
            plain,
            ssl: address(ssl),
            sasl: address(sasl),
            elsewhere: address(elsewhere),
            elsewhere_ssl: address(elsewhere_ssl),
            folder,
        })
    }

    /// The authority's certificate, or that of an authority that signed nothing here.
    pub fn authority(&self, name: &str) -> String {
        self.folder.path().join(format!("{name}.pem")).display().to_string()
    }

    /// A file with this text that only its owner may read.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

fn properties(at: &Path, port: u16, controller: u16, listeners: &[(&str, &str, u16, &str)]) -> String {
    let mut listen = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
    let mut advertised = format!("PLAINTEXT://127.0.0.1:{port}");
    let mut map = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
    let mut more = String::new();
    for (name, protocol, port, store) in listeners {
        let mut put = |text: std::fmt::Arguments<'_>| more.write_fmt(text).expect("a String takes text");
        listen.push_str(&format!(",{name}://127.0.0.1:{port}"));
        advertised.push_str(&format!(",{name}://localhost:{port}"));
        map.push_str(&format!(",{name}:{protocol}"));
        let prefix = format!("listener.name.{}", name.to_lowercase());
        let store = at.join(format!("{store}.p12"));
        put(format_args!("{prefix}.ssl.keystore.location={}\n", store.display()));
        put(format_args!("{prefix}.ssl.keystore.password={STORE}\n{prefix}.ssl.key.password={STORE}\n"));
        put(format_args!("{prefix}.ssl.keystore.type=PKCS12\n"));
        if protocol.starts_with("SASL") {
            let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
            put(format_args!("{prefix}.sasl.enabled.mechanisms=SCRAM-SHA-512\n"));
            put(format_args!("{prefix}.scram-sha-512.sasl.jaas.config={module} required;\n"));
        }
    }
    format!(
        "listeners={listen}\nadvertised.listeners={advertised}\nlistener.security.protocol.map={map}\n{more}"
    )
}

fn keytool(at: &Path, arguments: &[&str]) {
    let output = Command::new("keytool")
        .args(arguments)
        .args(["-storepass", STORE, "-storetype", "PKCS12"])
        .args(["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"])
        .current_dir(at)
        .stdin(Stdio::null())
        .output()
        .expect("keytool runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
}

const KEY: [&str; 6] = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2"];

/// Makes an authority: `NAME.p12` with its key, `NAME.pem` with its certificate.
fn authority(at: &Path, name: &str) {
    let (store, subject, pem) = (format!("{name}.p12"), format!("CN={name}"), format!("{name}.pem"));
    let make = ["-genkeypair", "-alias", name, "-dname", &subject, "-ext", "bc:c", "-keystore", &store];
    keytool(at, &[&make[..], &KEY].concat());
    keytool(at, &["-exportcert", "-rfc", "-alias", name, "-keystore", &store, "-file", &pem]);
}

/// Makes a broker's key and a certificate that the authority signs: `NAME.p12` with both.
fn certificate(at: &Path, name: &str, names: &str) {
    let store = format!("{name}.p12");
    let (request, signed) = (format!("{name}.csr"), format!("{name}.pem"));
    let make = ["-genkeypair", "-alias", name, "-dname", "CN=broker", "-keystore", &store];
    keytool(at, &[&make[..], &KEY].concat());
    keytool(at, &["-certreq", "-alias", name, "-keystore", &store, "-file", &request]);
    keytool(
        at,
        &[
            "-gencert",
            "-alias",
            "ca",
            "-keystore",
            "ca.p12",
            "-infile",
            &request,
            "-outfile",
            &signed,
            "-rfc",
            "-ext",
            names,
            "-validity",
            "2",
        ],
    );
    for (alias, file) in [("ca", "ca.pem"), (name, signed.as_str())] {
        keytool(at, &["-importcert", "-noprompt", "-alias", alias, "-keystore", &store, "-file", file]);
    }
}
