//! Who may administrate over HTTP: whoever can read the token that lies in the broker's data folder.
//!
//! **Where it sits.** In front of all that is served beside probes and metrics; those stay open.
//!
//! **What it decides.** Whether a request comes from a page in a browser, which has no business here, and whether whoever sends it
//! has the token. Both before a byte of its body is read. A page that had its name lead to this machine would still send that
//! name: a request names us by an address, or is not answered.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use brooklet_auth::Secret;
use tokio::net::TcpListener;

use crate::secrets::{self, SecretError};

/// Where the token is kept.
const TOKEN: &str = "admin-token";
/// What stands in front of it in a request.
const SCHEME: &[u8] = b"Bearer ";
/// Random bytes in it; each is two digits.
const TOKEN_BYTES: usize = 32;

/// The token that lies in a data folder, made on the first start.
pub(crate) fn token(folder: &Path) -> Result<Secret, SecretError> {
    let make = || {
        let random = brooklet_io::entropy::bytes::<TOKEN_BYTES>();
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        (digits + "\n").into_bytes()
    };
    let kept = secrets::read_or_make(folder, TOKEN, make)?;
    let text = String::from_utf8(kept).unwrap_or_default();
    let digits = text.trim_end();
    let is_whole =
        digits.len() == 2 * TOKEN_BYTES && digits.bytes().all(|it| it.is_ascii_hexdigit());
    is_whole.then(|| Secret::new(digits)).ok_or(SecretError::Damaged { name: TOKEN })
}

/// Has `routes` serve only who has the token.
pub(crate) fn guarded(routes: Router, token: Secret) -> Router {
    routes.layer(from_fn_with_state(Arc::new(token), guard))
}

/// The address of ours that a client has come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached(IpAddr);

impl Connected<IncomingStream<'_, TcpListener>> for Reached {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Reached {
        let local = stream.io().local_addr().map(|address| address.ip().to_canonical());
        // One that is gone already is told nothing; loopback is ours in any case.
        Reached(local.unwrap_or(Ipv4Addr::LOCALHOST.into()))
    }
}

/// Why a request is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("administration is not for pages in a browser")]
    Page,
    #[error(
        "administration is asked for by the broker's own address, as in 127.0.0.1:9644, or as localhost"
    )]
    Name,
    #[error(
        "administration needs `Authorization: Bearer` with the token in the file admin-token of the broker's data folder; \
         the command line takes the folder with --data, or the file with --admin-token"
    )]
    Token,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // In the shape of all answers here. There is nothing in the texts that would have to be escaped.
        let body = format!("{{\"error\":\"{self}\"}}");
        let content = (header::CONTENT_TYPE, "application/json");
        match self {
            Refusal::Page | Refusal::Name => {
                (StatusCode::FORBIDDEN, [content], body).into_response()
            }
            Refusal::Token => {
                let ask = (header::WWW_AUTHENTICATE, "Bearer");
                (StatusCode::UNAUTHORIZED, [content, ask], body).into_response()
            }
        }
    }
}

async fn guard(
    State(token): State<Arc<Secret>>,
    ConnectInfo(Reached(reached)): ConnectInfo<Reached>,
    request: Request,
    next: Next,
) -> Response {
    let authority = request.uri().authority();
    match judge(&token, reached, authority, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            tracing::debug!(%refusal, "administration refused");
            refusal.into_response()
        }
    }
}

/// `authority` is what stands in front of the path, where a client says it all at once.
fn judge(
    token: &Secret,
    reached: IpAddr,
    authority: Option<&Authority>,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    if headers.contains_key(header::ORIGIN) {
        return Err(Refusal::Page);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Refusal::Name) };
    let host: Option<Authority> = host.to_str().ok().and_then(|host| host.parse().ok());
    let is_ours = |name: &Authority| is_ours(name.host(), reached);
    if !host.is_some_and(|host| is_ours(&host)) || !authority.is_none_or(is_ours) {
        return Err(Refusal::Name);
    }
    let said = headers.get(header::AUTHORIZATION).map_or(&b""[..], |said| said.as_bytes());
    match said.split_first_chunk::<{ SCHEME.len() }>() {
        Some((scheme, said)) if scheme.eq_ignore_ascii_case(SCHEME) && token.is(said) => Ok(()),
        Some(_) | None => Err(Refusal::Token),
    }
}

/// Whether a host is one that nobody else can have named so.
fn is_ours(host: &str, reached: IpAddr) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address = bare.parse().map(|address: IpAddr| address.to_canonical());
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback() || address == reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stays_the_same_and_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let made = token(folder.path()).unwrap();
        assert_eq!(made.reveal().len(), 64);
        assert_eq!(token(folder.path()).unwrap(), made);
        let path = folder.path().join(TOKEN);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", made.reveal()));
        for spoiled in ["", "0123", &"x".repeat(64), &format!("{}00", made.reveal())] {
            std::fs::write(&path, spoiled).unwrap();
            let error = token(folder.path()).unwrap_err();
            assert!(matches!(error, SecretError::Damaged { name: TOKEN }), "{spoiled}: {error}");
        }
    }

    #[test]
    #[rustfmt::skip] // A table is read by columns.
    fn who_is_not_at_the_right_name_or_has_no_token_is_refused() {
        type Case = (&'static [(&'static str, &'static str)], Result<(), Refusal>);
        use Refusal::{Name, Page, Token};
        const GOOD: (&str, &str) = ("authorization", "Bearer 0123abcd");
        let token = Secret::new("0123abcd");
        let table: &[Case] = &[
            (&[("host", "127.0.0.1:9644"), GOOD],                            Ok(())),
            (&[("host", "localhost:9644"), GOOD],                            Ok(())),
            (&[("host", "LOCALHOST"), GOOD],                                 Ok(())),
            (&[("host", "[::1]:9644"), GOOD],                                Ok(())),
            (&[("host", "127.9.9.9"), GOOD],                                 Ok(())),
            (&[("host", "192.0.2.7:9644"), GOOD],                            Ok(())),
            (&[("host", "[::ffff:192.0.2.7]:9644"), GOOD],                   Ok(())),
            (&[("host", "192.0.2.8:9644"), GOOD],                            Err(Name)),
            (&[("host", "edge.example:9644"), GOOD],                         Err(Name)),
            (&[("host", "localhost.example"), GOOD],                         Err(Name)),
            (&[("host", "127.0.0.1.example"), GOOD],                         Err(Name)),
            (&[("host", ""), GOOD],                                          Err(Name)),
            (&[("host", "localhost"), ("host", "localhost"), GOOD],          Err(Name)),
            (&[GOOD],                                                        Err(Name)),
            (&[("host", "localhost"), GOOD, ("origin", "http://localhost")], Err(Page)),
            (&[("host", "localhost"), GOOD, ("origin", "null")],             Err(Page)),
            (&[("host", "localhost")],                                       Err(Token)),
            (&[("host", "localhost"), ("authorization", "Bearer 0123abce")], Err(Token)),
            (&[("host", "localhost"), ("authorization", "Bearer 0123abc")],  Err(Token)),
            (&[("host", "localhost"), ("authorization", "Bearer ")],         Err(Token)),
            (&[("host", "localhost"), ("authorization", "Basic 0123abcd")],  Err(Token)),
            (&[("host", "localhost"), ("authorization", "0123abcd")],        Err(Token)),
            (&[("host", "localhost"), ("authorization", "bearer 0123abcd")], Ok(())),
        ];
        for (headers, expected) in table {
            let mut map = HeaderMap::new();
            for (name, value) in *headers {
                map.append(header::HeaderName::from_static(name), value.parse().unwrap());
            }
            let reached = "192.0.2.7".parse().unwrap();
            assert_eq!(judge(&token, reached, None, &map), *expected, "{headers:?}");
            let elsewhere: Authority = "edge.example".parse().unwrap();
            let judged = judge(&token, reached, Some(&elsewhere), &map);
            assert!(judged.is_err(), "{headers:?}: what stands in front of the path counts too");
        }
    }

    #[test]
    fn a_refusal_is_json() {
        for refusal in [Refusal::Page, Refusal::Name, Refusal::Token] {
            let text = refusal.to_string();
            assert!(!text.contains(['"', '\\']) && !text.contains(char::is_control), "{text}");
        }
    }
}
