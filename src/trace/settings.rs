//! What the environment asks for, in the variables that OpenTelemetry has for every program.

use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::otlp::{KeyValue, attribute};

/// The endpoint for traces alone, which goes before the one for all that is told.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long the collector may take for a batch, where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The export cannot be set up. Nothing of what the variables hold is shown: it may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// An endpoint that is not supported.
    #[error(
        "{variable}: an address such as http://localhost:4318 is needed, without TLS and without credentials (those go \
         into OTEL_EXPORTER_OTLP_HEADERS); run a collector beside this program to send further"
    )]
    Endpoint {
        /// Which variable.
        variable: &'static str,
    },
    /// Another variable.
    #[error("{variable}: {needed}")]
    Value {
        /// Which variable.
        variable: &'static str,
        /// What it may be.
        needed: &'static str,
    },
}

/// Where spans go, and which.
#[derive(Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) endpoint: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Duration,
    pub(super) sampler: Sampler,
    /// What is told of the program.
    pub(super) resource: Vec<KeyValue>,
}

/// Which traces are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampler {
    /// Whether whoever began the trace has decided.
    asks_parent: bool,
    /// The share of the others, 0 to 1.
    share: f64,
}

impl Sampler {
    /// Whether a span is told: of this trace, below a parent that is told or not.
    pub(super) fn takes(&self, trace_id: [u8; 16], parent: Option<bool>) -> bool {
        match parent {
            Some(sampled) if self.asks_parent => sampled,
            _ if self.share >= 1.0 => true,
            // Every program comes to the same decision on a trace: by the part of its id that the W3C wants random.
            _ => (low_bits(trace_id) >> 1) < (self.share * (1_u64 << 63) as f64) as u64,
        }
    }
}

fn low_bits(trace_id: [u8; 16]) -> u64 {
    u128::from_be_bytes(trace_id) as u64
}

impl Settings {
    /// What the variables say; `None` where they ask for no traces. `service` names the program where they do not.
    ///
    /// # Errors
    /// [`TraceError`] for what is not supported.
    pub(super) fn read(
        service: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, TraceError> {
        let set = |name| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let is = |name, wanted: &str| set(name).is_some_and(|text| text.eq_ignore_ascii_case(wanted));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let endpoint = match (set(TRACES_ENDPOINT), set(ENDPOINT)) {
            (Some(whole), _) => endpoint(TRACES_ENDPOINT, &whole)?,
            (None, Some(base)) => endpoint(ENDPOINT, &format!("{}/v1/traces", base.trim_end_matches('/')))?,
            (None, None) => return Ok(None),
        };
        let special = |own: &'static str, all: &'static str| {
            set(own).map(|text| (own, text)).or_else(|| Some((all, set(all)?)))
        };
        if let Some((variable, protocol)) =
            special("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
            && protocol != "http/protobuf"
        {
            return Err(TraceError::Value { variable, needed: "http/protobuf is the one that is supported" });
        }
        let mut headers = Vec::new();
        if let Some((variable, text)) =
            special("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
        {
            let wrong = TraceError::Value { variable, needed: "headers as name=value,name=value are needed" };
            let header = |(name, value): (String, String)| {
                let mut value = HeaderValue::from_str(&value).ok()?;
                value.set_sensitive(true);
                Some((HeaderName::try_from(name).ok()?, value))
            };
            let all = pairs(&text).map(|all| all.into_iter().map(header).collect::<Option<Vec<_>>>());
            headers = all.flatten().ok_or(wrong)?;
        }
        let timeout = match special("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT") {
            None => TIMEOUT,
            Some((variable, text)) => match text.parse() {
                Ok(millis) if millis > 0 => Duration::from_millis(millis),
                _ => return Err(TraceError::Value { variable, needed: "milliseconds are needed" }),
            },
        };
        let sampler = sampler(set("OTEL_TRACES_SAMPLER"), set("OTEL_TRACES_SAMPLER_ARG"))?;
        let mut resource: Vec<_> = match set("OTEL_RESOURCE_ATTRIBUTES") {
            None => Vec::new(),
            Some(text) => pairs(&text).ok_or(TraceError::Value {
                variable: "OTEL_RESOURCE_ATTRIBUTES",
                needed: "attributes as name=value,name=value are needed",
            })?,
        };
        let named = resource.iter().position(|(name, _)| name == "service.name");
        let named = named.map(|at| resource.swap_remove(at).1);
        resource.retain(|(name, _)| name != "service.version");
        let service = set("OTEL_SERVICE_NAME").or(named).unwrap_or_else(|| service.to_owned());
        let mut attributes =
            vec![attribute("service.name", service), attribute("service.version", env!("CARGO_PKG_VERSION"))];
        attributes.extend(resource.into_iter().map(|(name, value)| attribute(name, value)));
        Ok(Some(Self { endpoint, headers, timeout, sampler, resource: attributes }))
    }
}

fn endpoint(variable: &'static str, text: &str) -> Result<Uri, TraceError> {
    let uri: Option<Uri> = text.parse().ok();
    let is_supported = |uri: &Uri| {
        uri.scheme_str() == Some("http")
            && uri
                .authority()
                .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'))
    };
    uri.filter(is_supported).ok_or(TraceError::Endpoint { variable })
}

/// `name=value,name=value`, percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let plain = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(String::from);
    let all = text.split(',').filter(|pair| !pair.trim().is_empty());
    all.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((plain(name).filter(|name| !name.is_empty())?, plain(value)?))
    })
    .collect()
}

fn sampler(name: Option<String>, argument: Option<String>) -> Result<Sampler, TraceError> {
    let name = name.unwrap_or_else(|| "parentbased_always_on".to_owned());
    let (asks_parent, rest) = match name.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, name.as_str()),
    };
    let share = match rest {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => argument
            .map_or(Some(1.0), |text| text.parse().ok())
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or(TraceError::Value {
                variable: "OTEL_TRACES_SAMPLER_ARG",
                needed: "a share from 0 to 1 is needed",
            })?,
        _ => {
            return Err(TraceError::Value {
                variable: "OTEL_TRACES_SAMPLER",
                needed: "always_on, always_off or traceidratio is needed, each also with parentbased_ before it",
            });
        }
    };
    Ok(Sampler { asks_parent, share })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'v> = &'v [(&'v str, &'v str)];

    fn read(variables: Variables<'_>) -> Result<Option<Settings>, TraceError> {
        Settings::read("order-tracker", &|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn with(more: Variables<'_>) -> Result<Option<Settings>, TraceError> {
        read(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/")], more].concat())
    }

    fn good(more: Variables<'_>) -> Settings {
        with(more).expect("good").expect("asked for")
    }

    #[test]
    fn an_endpoint_asks_for_traces_and_nothing_else_does() {
        for silent in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "always_on")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x"), ("OTEL_SDK_DISABLED", "TRUE")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x"), ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(read(silent).expect("no error"), None, "{silent:?}");
        }
        assert_eq!(good(&[]).endpoint, "http://localhost:4318/v1/traces");
        let own = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]:9/x")];
        assert_eq!(good(&own).endpoint, "http://[::1]:9/x");
    }

    #[test]
    fn what_is_not_supported_is_named_without_being_shown() {
        for wrong in
            ["localhost:4318", "https://hunter2.example", "http://", "http://u:hunter2@otel:4318/", "x y"]
        {
            let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)]).expect_err(wrong).to_string();
            assert!(
                error.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: ") && !error.contains("hunter2"),
                "{error}"
            );
        }
        for (name, wrong) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0Ab"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_RESOURCE_ATTRIBUTES", "hunter2"),
        ] {
            let error = with(&[(name, wrong)]).expect_err(wrong).to_string();
            assert!(error.starts_with(name) && !error.contains("hunter2"), "{error}");
        }
        for share in ["2", "-0.1", "x", "NaN"] {
            let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", share)];
            assert!(with(&ratio).is_err(), "{share}");
        }
    }

    #[test]
    fn the_other_variables_are_heeded() {
        let settings = good(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, x-other=c,"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,deployment.environment.name=test"),
        ]);
        let headers: Vec<_> =
            settings.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("x-key", &b"a b"[..]), ("x-other", b"c")]);
        assert!(!format!("{:?}", settings.headers).contains("a b"));
        assert_eq!(settings.timeout, Duration::from_millis(1500));
        assert_eq!(settings.resource[0], attribute("service.name", "shop"));
        assert_eq!(settings.resource[2], attribute("deployment.environment.name", "test"));
        assert_eq!(good(&[]).resource[0], attribute("service.name", "order-tracker"));
        let named = [("OTEL_SERVICE_NAME", "x"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop")];
        assert_eq!(good(&named).resource[0], attribute("service.name", "x"));
    }

    #[test]
    fn whoever_began_the_trace_decides_unless_told_otherwise() {
        let takes = |variables: Variables<'_>, id: u128, parent| {
            good(variables).sampler.takes(id.to_be_bytes(), parent)
        };
        assert!(takes(&[], 1, None) && takes(&[], 1, Some(true)) && !takes(&[], 1, Some(false)));
        let off = [("OTEL_TRACES_SAMPLER", "always_off")];
        assert!(!takes(&off, 1, None) && !takes(&off, 1, Some(true)));
        let half = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
        assert!(takes(&half, u128::MAX, Some(true)) && !takes(&half, 0, Some(false)));
        let ids = (0..1000_u128).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let taken = ids.filter(|id| takes(&half, *id, None)).count();
        assert!((400..600).contains(&taken), "{taken}");
    }
}
