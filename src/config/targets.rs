//! Where orders and outcomes are posted to: addresses, and how much may wait for them.

use serde::{Deserialize, Deserializer};

use super::{ConfigError, Secret};

/// Where outcomes are posted to as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySettings {
    /// The targets; without any, nothing is posted.
    pub targets: Vec<DeliverTarget>,
    /// How many outcomes may wait for each.
    pub queue: usize,
    /// How many bytes of records may wait for each, those that are being posted included.
    pub queue_bytes: usize,
    /// How many posts to each may run at once.
    pub concurrency: usize,
}

/// Where valid orders are posted to.
#[derive(Clone, PartialEq, Eq)]
pub struct DeliverTarget {
    /// The address, without credentials. Its query may hold a secret all the same: [`DeliverTarget::shown`] is for people.
    pub url: String,
    /// `user:password` of the address, as it was written (percent-encoded), if there was one.
    pub credentials: Option<Secret>,
}

impl std::fmt::Debug for DeliverTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliverTarget").field("shown", &self.shown()).finish_non_exhaustive()
    }
}

impl DeliverTarget {
    /// The address as it may be shown: scheme, host and path.
    pub fn shown(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }

    /// # Errors
    /// [`ConfigError::Value`] for what is no http address; the message shows no credentials.
    pub(super) fn parse(flag: &str, text: &str) -> Result<Self, ConfigError> {
        let wrong = |message: &str| Err(ConfigError::value(flag, message));
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("an address such as http://localhost:8080/orders is needed");
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "http" => {}
            "https" if cfg!(feature = "tls") => {}
            "https" => {
                return Err(ConfigError::NotCompiled { what: format!("{flag} https://…"), feature: "tls" });
            }
            _ => return wrong("the address must begin with http:// (or https://, with the feature `tls`)"),
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(Secret::new(credentials)), host),
            None => (None, authority),
        };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().ok().filter(|p| *p > 0)),
            _ => (host, Some(80)),
        };
        if name.is_empty() || port.is_none() {
            return wrong("the address needs a host, and its port, if it has one, is 1 to 65535");
        }
        if text.chars().any(|c| !c.is_ascii_graphic()) {
            return wrong("blanks, control characters and letters beyond ASCII must be percent-encoded");
        }
        let path = path.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { url: format!("{scheme}://{host}{slash}{path}"), credentials })
    }
}

/// Reads one address, or several: separated by commas as on the command line, or a list. What is neither is not shown: it
/// may hold credentials.
pub(super) fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an address is needed, or a list of addresses")]
    enum Addresses {
        Text(String),
        List(Vec<String>),
    }
    Ok(Some(match Addresses::deserialize(deserializer)? {
        Addresses::Text(text) => text.split(',').map(str::to_owned).collect(),
        Addresses::List(list) => list,
    }))
}

/// The secondary targets. Those that are shown alike could not be told apart in metrics and logs.
pub(super) fn notify_targets(urls: &[String]) -> Result<Vec<DeliverTarget>, ConfigError> {
    let mut targets: Vec<DeliverTarget> = Vec::new();
    for url in urls {
        let target = DeliverTarget::parse("--notify", url.trim())?;
        if targets.iter().any(|other| other.shown() == target.shown()) {
            let message = format!("{} is given twice; a query alone makes no other target", target.shown());
            return Err(ConfigError::value("--notify", message));
        }
        targets.push(target);
    }
    Ok(targets)
}
