//! Who may be told what: [`Peers`].
//!
//! *Invariant*: rows are in lower case, and the longest stands first. A name is looked for from the
//! front, so that the first match is the most specific one: whatever matches a name is a part of its
//! end, and of two such parts the longer is the more specific.

use ripcord_propagation::PeerPolicy;

/// Policies by host.
///
/// The most specific entry counts: a host before the domains it is in, a longer domain before a
/// shorter one, and the default for everybody else.
///
/// # Examples
/// ```
/// use ripcord_http::Peers;
/// use ripcord_propagation::PeerPolicy;
///
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let peers = Peers::new(PeerPolicy::silent())
///     // Our own, which may know everything and answers 5 ms before we have to.
///     .domain("svc.cluster.local", PeerPolicy::internal().with_reserve(ms(5)))
///     // One of our own that is far away.
///     .host("search.svc.cluster.local", PeerPolicy::internal().with_reserve(ms(80)))
///     .host("api.partner.example", PeerPolicy::external().with_baggage(["region"]));
///
/// let reserve = |host| peers.policy(host).reserve();
/// assert_eq!(reserve("stock.svc.cluster.local"), ms(5));
/// assert_eq!(reserve("Search.svc.cluster.local."), ms(80));
/// assert_eq!(reserve("svc.cluster.local.attacker.example"), ms(0));
/// ```
///
/// # Costs
/// A call compares its host with the entries, one after the other: meant for tens of them. With a
/// single policy for everybody nothing is compared.
///
/// # Limitations
/// It goes by the name in the URL, which is what the connection is made to; an address stands for
/// itself, and no name is looked up. Ports are not told apart. Whoever lets users choose URLs should
/// leave the default at `silent` or `external`.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    default: PeerPolicy,
    /// Lower-case names; a domain begins with a dot. The longest first.
    rows: Vec<(String, PeerPolicy)>,
}

/// One policy for everybody, so that [`ClientLayer::new`](crate::ClientLayer::new) takes a policy, too.
impl From<PeerPolicy> for Peers {
    fn from(default: PeerPolicy) -> Self {
        Self::new(default)
    }
}

impl Peers {
    /// This policy for everybody, until others are added; the one for strangers.
    #[must_use]
    pub fn new(default: PeerPolicy) -> Self {
        Self {
            default,
            rows: Vec::new(),
        }
    }

    /// Another policy for one host; a name or an address, without port.
    ///
    /// Case does not count, nor does a dot at the end. An address of IPv6 is written as in a URL, in
    /// brackets: `[::1]`. A second policy for the same host replaces the first.
    #[must_use]
    pub fn host(self, host: &str, policy: PeerPolicy) -> Self {
        self.row(host.to_ascii_lowercase(), policy)
    }

    /// Another policy for all hosts below a domain, and not for the host of that name itself.
    ///
    /// At any depth: `domain("svc.local", ..)` holds for `a.svc.local` and for `b.a.svc.local`, and not
    /// for `svc.local` or `notsvc.local`.
    #[must_use]
    pub fn domain(self, domain: &str, policy: PeerPolicy) -> Self {
        let domain = domain.trim_start_matches('.').to_ascii_lowercase();
        self.row(format!(".{domain}"), policy)
    }

    fn row(mut self, name: String, policy: PeerPolicy) -> Self {
        self.rows.retain(|(known, _)| *known != name);
        self.rows.push((name, policy));
        self.rows
            .sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        self
    }

    /// The policy for a host, as a call to it would find it: for a test of one's own table.
    #[must_use]
    pub fn policy(&self, host: &str) -> &PeerPolicy {
        if self.rows.is_empty() {
            return &self.default;
        }
        // A trailing dot is the root of the name system and names the same host.
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_of = |name: &str| host == name || (name.starts_with('.') && host.ends_with(name));
        self.rows
            .iter()
            .find(|(name, _)| is_of(name))
            .map_or(&self.default, |(_, policy)| policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Tells policies apart by their reserve.
    fn policy(ms: u64) -> PeerPolicy {
        PeerPolicy::external().with_reserve(Duration::from_millis(ms))
    }

    #[test]
    fn the_most_specific_entry_counts() {
        let peers = Peers::new(policy(0))
            .domain("local", policy(1))
            .domain(".svc.local", policy(2))
            .host("DB.svc.local", policy(3));
        for (host, expect) in [
            ("example.org", 0),
            ("local", 0),
            ("a.local", 1),
            ("A.LOCAL.", 1),
            ("svc.local", 1),
            ("a.svc.local", 2),
            ("notsvc.local", 1),
            ("evil-svc.local", 1),
            ("db.svc.local", 3),
            ("", 0),
        ] {
            let found = peers.policy(host).reserve();
            assert_eq!(found, Duration::from_millis(expect), "{host:?}");
        }
    }

    #[test]
    fn a_later_entry_of_the_same_name_replaces_the_earlier() {
        let peers = Peers::new(policy(0))
            .host("a", policy(1))
            .host("A", policy(2));
        assert_eq!(peers.policy("a").reserve(), Duration::from_millis(2));
    }
}
