//! The server of the page: the one file that names axum.
//!
//! What never happens: it listens on anything but the loopback; it answers a request for another host (a page of
//! elsewhere that resolves its own name to 127.0.0.1); it tells anything of the gateway without the key of this run, as
//! every user of the machine reaches its loopback; the key is in a cookie, which a browser sends to every port of a
//! host; anything is changed by a request; anything of another server is loaded; connections grow without bound.

use std::convert::Infallible;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use futures_util::stream::{Stream, unfold};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::guest::Guest;

/// The most browsers that are told at the same time.
const MAX_VIEWERS: usize = 16;
/// The most connections: a browser opens up to six, and most of them end at once.
const MAX_CONNECTIONS: usize = 64;
/// How often a browser is written to at least.
const ALIVE: Duration = Duration::from_secs(5);
/// After a connection could not be taken (no descriptor is left): at once again would only spin.
const BREATH: Duration = Duration::from_millis(100);
/// Nothing of elsewhere, nothing inline, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What the server knows.
#[derive(Clone)]
pub(super) struct Site {
    /// The key of this run.
    key: Arc<str>,
    /// The page as it is now, JSON.
    view: watch::Receiver<Arc<str>>,
    viewers: Arc<Semaphore>,
}

impl Site {
    pub(super) fn new(key: Arc<str>, view: watch::Receiver<Arc<str>>) -> Self {
        Self { key, view, viewers: Arc::new(Semaphore::new(MAX_VIEWERS)) }
    }

    /// Whether nobody looks.
    pub(super) fn is_idle(&self) -> bool {
        self.viewers.available_permits() == MAX_VIEWERS
    }

    fn knows(&self, key: &str) -> bool {
        let same = |(ours, theirs): (u8, u8)| ours ^ theirs;
        key.len() == self.key.len()
            && self.key.bytes().zip(key.bytes()).map(same).fold(0, |all, one| all | one) == 0
    }

    /// Whether a request has the key, as RFC 6750 (section 2.1) has it: no page of another port can make a browser
    /// send that.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        given.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|key| self.knows(key))
    }
}

/// Takes a port of the loopback; 0: any that is free.
pub(super) async fn bind(port: u16) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let at = listener.local_addr()?;
    Ok((listener, at))
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, site: Site) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    axum::serve(Door { listener, places }, router(site)).await
}

/// Where browsers come in, so many at a time.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Door {
    type Io = Guest<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // It is never closed.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return pending().await };
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => return (Guest::new(stream, place), from),
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn router(site: Site) -> Router {
    Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", include_str!("page/index.html"))))
        .route("/events", get(events))
        .route("/app.js", get(async || file("text/javascript; charset=utf-8", include_str!("page/app.js"))))
        .route("/style.css", get(async || file("text/css; charset=utf-8", include_str!("page/style.css"))))
        .route("/icon.svg", get(async || file("image/svg+xml", include_str!("page/icon.svg"))))
        .with_state(site)
        .layer(from_fn(guard))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

/// Of a request for another host nothing is answered; what is answered may load nothing of elsewhere.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_local(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "this page is reached as 127.0.0.1 or localhost only\n")
            .into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether the request is for the loopback, by whichever port: a tunnel may have another.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name =
        host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    ["127.0.0.1", "localhost", "[::1]"].contains(&name)
}

async fn events(State(site): State<Site>, headers: HeaderMap) -> Response {
    if !site.is_known(&headers) {
        return stranger();
    }
    match Arc::clone(&site.viewers).try_acquire_owned() {
        Ok(place) => {
            let alive = KeepAlive::default().interval(ALIVE);
            Sse::new(stream(site.view, place)).keep_alive(alive).into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "too many browsers look already\n").into_response(),
    }
}

fn stranger() -> Response {
    let text =
        "the key is missing or of an earlier start: open the address that wardline dashboard has printed\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

/// The page as it is at once, and then each time it changes.
fn stream(
    mut view: watch::Receiver<Arc<str>>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    view.mark_changed();
    unfold((view, place), |(mut view, place)| async move {
        view.changed().await.ok()?;
        let text = Arc::clone(&view.borrow_and_update());
        Some((Ok(Event::default().data(&*text)), (view, place)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let (_, view) = watch::channel(Arc::from("{}"));
        Site::new(Arc::from("0123456789abcdef"), view)
    }

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_the_loopback_by_name_or_number_is_this_host() {
        for host in ["127.0.0.1", "127.0.0.1:8470", "localhost:9000", "[::1]", "[::1]:8470"] {
            assert!(is_local(&headers(HOST, host)), "{host}");
        }
        for host in [
            "example.org",
            "127.0.0.1.example.org:80",
            "localhost.example.org",
            "",
            "0.0.0.0:8470",
            "127.0.0.1:80:80",
        ] {
            assert!(!is_local(&headers(HOST, host)), "{host}");
        }
        assert!(!is_local(&HeaderMap::new()));
    }

    #[test]
    fn the_key_is_known_whole_and_where_it_belongs_only() {
        let site = site();
        assert!(site.is_known(&headers(AUTHORIZATION, "Bearer 0123456789abcdef")));
        for wrong in [
            "Bearer ",
            "0123456789abcdef",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcdee",
            "Bearer 0123456789abcdef0",
        ] {
            assert!(!site.is_known(&headers(AUTHORIZATION, wrong)), "{wrong}");
        }
        let cookie = HeaderName::from_static("cookie");
        assert!(!site.is_known(&headers(cookie, "wardline-dashboard=0123456789abcdef")));
    }
}
