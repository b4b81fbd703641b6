//! Who may see the page, and whose commands it takes. Three things stand before every answer: the name by which it was
//! asked for (another site's name that leads to this address is refused), the token (anything but loopback has one), and,
//! for what changes something, that the page itself asks and not another site in the same browser. Every answer leaves
//! with headers that let it load nothing from elsewhere and run nothing that is not a file of ours.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use constant_time_eq::constant_time_eq;
use uuid::Uuid;

use super::answer::refused;
use crate::config::Secret;

/// What the page's own scripts send with every command; another site cannot send it without asking first.
const OURS: HeaderName = HeaderName::from_static("x-monitor");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The headers of every answer.
const HEADERS: [(&str, &str); 9] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("x-robots-tag", "noindex"),
    ("cache-control", "no-store"),
];

/// The rules of one page.
#[derive(Debug)]
pub(super) struct Guard {
    is_loopback: bool,
    token: Option<Secret>,
    /// Of its own for each port, since browsers do not tell the ports of a host apart.
    cookie: String,
}

impl Guard {
    /// The rules of a page at this address; without a token of the settings anything but loopback gets one. True when it
    /// was made.
    pub(super) fn new(addr: SocketAddr, token: Option<Secret>) -> (Self, bool) {
        let is_loopback = addr.ip().is_loopback();
        let is_made = token.is_none() && !is_loopback;
        let token = token.or_else(|| is_made.then(make_token));
        (Self { is_loopback, token, cookie: format!("monitor-{}", addr.port()) }, is_made)
    }

    pub(super) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Whether it was asked for by a name that is ours. With a token any name will do: a browser shows its cookie to
    /// the name alone that it got it from.
    fn knows_name(&self, headers: &HeaderMap) -> bool {
        let Some(host) = only(headers, &HOST) else { return false };
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_own =
            name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        !self.is_loopback || is_own
    }

    fn is(&self, shown: &str) -> bool {
        self.token.as_ref().is_some_and(|token| constant_time_eq(token.expose().as_bytes(), shown.as_bytes()))
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        if self.token.is_none() {
            return true;
        }
        let bearer = only(headers, &AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        bearer.is_some_and(|token| self.is(token))
            || pairs.any(|(name, value)| name == self.cookie && self.is(value))
    }

    /// The answer instead of the one that was asked for, if there has to be one.
    fn objection(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        if !self.knows_name(headers) {
            let why = "this page is for localhost: another name that leads here is refused";
            return Some(refused(StatusCode::MISDIRECTED_REQUEST, why));
        }
        let is_page = request.uri().path() == "/" && request.method() == Method::GET;
        // Also for whoever is in already: the token does not stay in the address.
        let query = request.uri().query().unwrap_or_default();
        let mut shown = query.split('&').filter_map(|pair| pair.strip_prefix("token="));
        if is_page && shown.any(|token| self.is(token)) {
            return Some(self.let_in());
        }
        if !self.has_token(headers) {
            let why = "a token is needed: open the address that the monitor wrote to its standard error";
            return Some(refused(StatusCode::UNAUTHORIZED, why));
        }
        // From elsewhere a page may be opened, and nothing else be asked for.
        let site = only(headers, &FETCH_SITE);
        let is_foreign = site.is_some_and(|site| site != "same-origin" && site != "none");
        if is_foreign && !is_page {
            return Some(refused(StatusCode::FORBIDDEN, "another site may not ask for this"));
        }
        if request.method() != Method::GET && request.method() != Method::HEAD && !is_command(headers) {
            return Some(refused(
                StatusCode::FORBIDDEN,
                "only the page itself may ask for this (header x-monitor)",
            ));
        }
        None
    }

    /// The token moves from the address into a cookie that no script can read.
    fn let_in(&self) -> Response {
        let token = self.token.as_ref().map_or("", Secret::expose);
        let cookie = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict", self.cookie);
        (StatusCode::SEE_OTHER, [(LOCATION, "/"), (SET_COOKIE, cookie.as_str())]).into_response()
    }
}

/// Two random ids: 244 bits.
fn make_token() -> Secret {
    Secret::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// Whether a command comes from the page itself, or from a program that says so.
fn is_command(headers: &HeaderMap) -> bool {
    let is_same = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some() && host == only(headers, &HOST)
    };
    only(headers, &OURS) == Some("1") && headers.get_all(ORIGIN).iter().all(is_same)
}

/// Stands before every route.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.objection(&request) {
        Some(objection) => objection,
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn guard(addr: &str, token: Option<&str>) -> Guard {
        Guard::new(addr.parse().expect("an address"), token.map(Secret::new)).0
    }

    fn status(guard: &Guard, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let objection = guard.objection(&request.body(Body::empty()).expect("a request"));
        objection.map_or(200, |response| response.status().as_u16())
    }

    #[test]
    fn names_that_lead_here_by_a_trick_are_refused() {
        let local = guard("127.0.0.1:8080", None);
        for (host, expected) in [
            ("127.0.0.1:8080", 200),
            ("localhost", 200),
            ("LOCALHOST:9", 200),
            ("[::1]:8080", 200),
            ("127.8.9.1", 200),
            ("evil.example:8080", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("10.0.0.1", 421),
            ("", 421),
        ] {
            assert_eq!(status(&local, "GET", "/", &[("host", host)]), expected, "{host}");
        }
        assert_eq!(status(&local, "GET", "/", &[]), 421);
        assert_eq!(status(&local, "GET", "/", &[("host", "localhost"), ("host", "evil.example")]), 421);
    }

    #[test]
    fn anything_but_loopback_has_a_token() {
        for (addr, is_made) in [
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("0.0.0.0:1", true),
            ("10.1.2.3:1", true),
            ("[::]:1", true),
        ] {
            let (guard, made) = Guard::new(addr.parse().expect("an address"), None);
            assert_eq!((made, guard.token.is_some()), (is_made, is_made), "{addr}");
            let other = Guard::new(addr.parse().expect("an address"), None).0;
            assert!(!is_made || guard.token != other.token);
        }
        let open = guard("0.0.0.0:8080", Some(TOKEN));
        let host = ("host", "monitor.example");
        for (path, header, expected) in [
            ("/", ("accept", "*/*"), 401),
            ("/?token=0123456789abcdef", ("accept", "*/*"), 303),
            ("/?token=0123456789abcdeF", ("accept", "*/*"), 401),
            ("/?token=", ("accept", "*/*"), 401),
            ("/api/figures?token=0123456789abcdef", ("accept", "*/*"), 401),
            ("/", ("cookie", "a=b; monitor-8080=0123456789abcdef"), 200),
            ("/", ("cookie", "monitor-8081=0123456789abcdef"), 401),
            ("/", ("cookie", "monitor-8080=0123456789abcde"), 401),
            ("/api/figures", ("authorization", "Bearer 0123456789abcdef"), 200),
            ("/api/figures", ("authorization", "Bearer "), 401),
            ("/api/figures", ("authorization", "0123456789abcdef"), 401),
        ] {
            assert_eq!(status(&open, "GET", path, &[host, header]), expected, "{path} {header:?}");
        }
        let told = open.let_in();
        let cookie = told.headers()[SET_COOKIE].to_str().expect("text");
        assert_eq!(cookie, "monitor-8080=0123456789abcdef; Path=/; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn only_the_page_itself_gives_commands() {
        let local = guard("127.0.0.1:8080", None);
        let host = ("host", "localhost:8080");
        let ours = ("x-monitor", "1");
        for (headers, expected) in [
            (&[host][..], 403),
            (&[host, ours], 200),
            (&[host, ("origin", "http://localhost:8080")], 403),
            (&[host, ours, ("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")], 200),
            (&[host, ours, ("origin", "http://localhost:8081")], 403),
            (&[host, ours, ("origin", "http://evil.example")], 403),
            (&[host, ours, ("origin", "null")], 403),
            (&[host, ours, ("sec-fetch-site", "same-site")], 403),
            (&[host, ours, ("sec-fetch-site", "cross-site")], 403),
        ] {
            assert_eq!(status(&local, "POST", "/api/plans", headers), expected, "{headers:?}");
        }
        let foreign = ("sec-fetch-site", "cross-site");
        assert_eq!(status(&local, "GET", "/", &[host, foreign]), 200);
        assert_eq!(status(&local, "GET", "/api/letters/x", &[host, foreign]), 403);
        assert_eq!(status(&local, "DELETE", "/", &[host]), 403);
    }
}
