//! Methods and routes as labels: few values, whatever a peer sends.
//!
//! # Invariants
//! 1. A label of a metric is a name from a list, a name that this process chose, or `_OTHER`.
//! 2. At most [`LEARNED_MAX`] methods of gRPC are learned; the rest share `_OTHER`.

use crate::names::HTTP_METHODS;
use opentelemetry::StringValue;
use ripcord_propagation::{GrpcCode, Side};
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

/// A service has some dozen methods; a program that calls more services than this lists them.
const LEARNED_MAX: usize = 512;
/// What is longer is no method that anybody declared.
const NAME_MAX: usize = 256;

/// Which methods are known by name.
///
/// The sets are looked up with the peer's own text, and give back a label that is shared: a known
/// method costs no allocation.
#[derive(Debug)]
pub(crate) struct Methods {
    http: Vec<StringValue>,
    /// Given by the program; then nothing is learned on a server.
    listed: Option<HashSet<Arc<str>>>,
    learned: RwLock<HashSet<Arc<str>>>,
}

impl Methods {
    pub(crate) fn new(http: Option<Vec<String>>, rpc: Option<Vec<String>>) -> Self {
        Self {
            http: match http {
                Some(names) => names.into_iter().map(StringValue::from).collect(),
                None => HTTP_METHODS.iter().copied().map(Into::into).collect(),
            },
            listed: rpc.map(|names| names.iter().map(|name| bare(name).into()).collect()),
            learned: RwLock::default(),
        }
    }

    /// The method itself if it is a known one.
    ///
    /// A scan of some ten short texts.
    pub(crate) fn http(&self, method: &str) -> Option<StringValue> {
        let mut known = self.http.iter();
        known.find(|known| known.as_str() == method).cloned()
    }

    /// The method of gRPC as a label, if it may be one.
    ///
    /// A client's methods are those that the program calls. A server hears any name that a peer
    /// makes up, so it takes those that are listed or that were answered by a handler once.
    pub(crate) fn rpc(&self, side: Side, method: &str) -> Option<Arc<str>> {
        let listed = self.listed.as_ref();
        if let Some(listed) = listed.and_then(|listed| listed.get(method)) {
            return Some(Arc::clone(listed));
        }
        if self.is_closed(side) {
            return None;
        }
        let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
        learned.get(method).cloned()
    }

    /// Learns a method from the end of a call; the label, if it is known now.
    ///
    /// Takes the write lock once for each method in the life of a process, and never for names that
    /// a handler did not answer for.
    pub(crate) fn learn_rpc(&self, side: Side, method: &str, code: GrpcCode) -> Option<Arc<str>> {
        if let Some(known) = self.rpc(side, method) {
            return Some(known);
        }
        let is_guess = side == Side::Server && is_before_handler(code);
        if self.is_closed(side) || is_guess || !is_name(method) {
            return None;
        }
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        if learned.len() >= LEARNED_MAX {
            return learned.get(method).cloned();
        }
        let method: Arc<str> = method.into();
        learned.insert(Arc::clone(&method));
        Some(method)
    }

    /// Whether the list is all that this side may know.
    fn is_closed(&self, side: Side) -> bool {
        self.listed.is_some() && side == Side::Server
    }
}

/// `package.Service/Method`: the path without its first slash.
pub(crate) fn bare(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

/// Codes that a router or a guard in front of the handlers answers with for a name that is
/// nobody's.
fn is_before_handler(code: GrpcCode) -> bool {
    matches!(
        code,
        GrpcCode::Unimplemented
            | GrpcCode::Unauthenticated
            | GrpcCode::PermissionDenied
            | GrpcCode::ResourceExhausted
            | GrpcCode::Unavailable
            | GrpcCode::Cancelled
            | GrpcCode::DeadlineExceeded
    )
}

/// What a `.proto` file can declare (protobuf language specification, identifiers), with room for
/// dashes.
fn is_name(method: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    let parts = method.split_once('/');
    method.len() <= NAME_MAX
        && parts.is_some_and(|(service, name)| is_part(service) && is_part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = "shop.v1.Orders/Get";

    fn http<'a>(methods: &Methods, method: &'a str) -> Option<&'a str> {
        methods.http(method).map(|known| {
            assert_eq!(known.as_str(), method);
            method
        })
    }

    #[test]
    fn methods_of_http_are_from_the_list() {
        let methods = Methods::new(None, None);
        assert_eq!(http(&methods, "GET"), Some("GET"));
        for other in ["get", "PROPFIND", "", "GET ", "G\u{0}"] {
            assert_eq!(http(&methods, other), None, "{other:?}");
        }
        let webdav = Methods::new(Some(vec!["PROPFIND".into()]), None);
        assert_eq!(http(&webdav, "PROPFIND"), Some("PROPFIND"));
        assert_eq!(http(&webdav, "GET"), None);
    }

    #[test]
    fn a_server_learns_what_a_handler_answered() {
        for (code, expect) in [
            (GrpcCode::Ok, true),
            (GrpcCode::NotFound, true),
            (GrpcCode::Internal, true),
            (GrpcCode::Unimplemented, false),
            (GrpcCode::Unauthenticated, false),
            (GrpcCode::PermissionDenied, false),
            (GrpcCode::DeadlineExceeded, false),
        ] {
            let methods = Methods::new(None, None);
            assert!(methods.rpc(Side::Server, REAL).is_none());
            let learned = methods.learn_rpc(Side::Server, REAL, code);
            assert_eq!(learned.is_some(), expect, "{code:?}");
            assert_eq!(methods.rpc(Side::Server, REAL), learned, "{code:?}");
        }
    }

    #[test]
    fn a_known_method_stays_known_whatever_it_answers() {
        let methods = Methods::new(None, None);
        for code in [GrpcCode::Ok, GrpcCode::Unauthenticated] {
            let label = methods.learn_rpc(Side::Server, REAL, code);
            assert_eq!(label.as_deref(), Some(REAL));
        }
    }

    #[test]
    fn a_list_closes_a_server_and_not_a_client() {
        let methods = Methods::new(None, Some(vec![format!("/{REAL}")]));
        assert_eq!(methods.rpc(Side::Server, REAL).as_deref(), Some(REAL));
        let other = "other.Service/Call";
        assert_eq!(
            methods
                .learn_rpc(Side::Client, other, GrpcCode::Unavailable)
                .as_deref(),
            Some(other)
        );
        assert_eq!(methods.learn_rpc(Side::Server, other, GrpcCode::Ok), None);
    }

    #[test]
    fn names_that_nobody_declares_are_never_learned() {
        let methods = Methods::new(None, None);
        let long = format!("a/{}", "b".repeat(NAME_MAX));
        for bad in [
            "", "/", "a", "a/", "/a", "a/b/c", "a/b c", "a/\u{e9}", &long,
        ] {
            assert_eq!(
                methods.learn_rpc(Side::Client, bad, GrpcCode::Ok),
                None,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_flood_of_names_does_not_grow_the_set() {
        let methods = Methods::new(None, None);
        for number in 0..2 * LEARNED_MAX {
            methods.learn_rpc(Side::Client, &format!("a.B/M{number}"), GrpcCode::Ok);
        }
        assert_eq!(methods.learned.read().unwrap().len(), LEARNED_MAX);
        assert!(methods.rpc(Side::Client, "a.B/M0").is_some());
        let beyond = format!("a.B/M{LEARNED_MAX}");
        assert_eq!(methods.rpc(Side::Client, &beyond), None);
    }
}
