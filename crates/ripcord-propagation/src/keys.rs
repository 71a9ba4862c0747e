//! HMAC-SHA256 keys for signed values: [`Keys`], with rotation.
//!
//! *Invariants*: (1) no two keys of one value have the same id, so an id names one secret. (2) Ids are
//! words that fit into the header without quoting. (3) Tags are compared in constant time, by the
//! `hmac` crate.
//!
//! *Costs*: a key is hashed once, when it is made; a tag clones that state, 100-odd bytes, and hashes
//! the parts.

use hmac::{Hmac, KeyInit as _, Mac as _};
use ripcord_wire::ext::Mac;
use sha2::Sha256;
use std::fmt;

/// The shortest secret that is accepted: HMAC keeps its strength only with a key as long as half
/// of its hash (RFC 2104 §3 advises the whole length, 32 bytes).
///
/// It is a bound on mistakes, as an empty variable of the environment, and not advice: take 32 bytes
/// of a random generator.
pub const SECRET_BYTES_MIN: usize = 16;

/// Keys that sign what goes out and verify what comes in.
///
/// One key signs; any number is accepted. To rotate: accept the new key everywhere, then sign with
/// it everywhere, then stop accepting the old one.
///
/// # Examples
/// ```
/// use ripcord_propagation::Keys;
///
/// let keys = Keys::new("2026-11", b"sixteen bytes and more")?
///     .accepting("2026-10", b"the one of last month")?;
/// assert_eq!(format!("{keys:?}"), r#"Keys { signs: "2026-11", accepts: ["2026-11", "2026-10"] }"#);
/// # Ok::<_, ripcord_propagation::KeyError>(())
/// ```
///
/// A rotation in three deployments. At each moment of one, services of the version before and of this
/// one talk to each other, and every such pair understands itself:
///
/// ```
/// use ripcord_propagation::{KeyError, Keys};
/// use ripcord_wire::ext::Mac as _;
///
/// let (old, new) = (&b"the secret of october ......... "[..], &b"the secret of november ........ "[..]);
/// let before = Keys::new("oct", old)?;
/// let first = Keys::new("oct", old)?.accepting("nov", new)?; // 1. Everybody can read the new one.
/// let second = Keys::new("nov", new)?.accepting("oct", old)?; // 2. Everybody writes it.
/// let third = Keys::new("nov", new)?; // 3. After the age of signatures: the old one is worth nothing.
///
/// let understands = |reader: &Keys, writer: &Keys| {
///     let tag = writer.sign(&[b"values"]);
///     reader.verify(writer.key_id(), &[b"values"], &tag) == Some(true)
/// };
/// for (one, next) in [(&before, &first), (&first, &second), (&second, &third)] {
///     assert!(understands(one, next) && understands(next, one));
/// }
/// assert!(!understands(&third, &before), "whoever skips a step is not understood");
/// # Ok::<_, KeyError>(())
/// ```
///
/// A secret that has leaked is not rotated but replaced: in one deployment, and what is signed with it
/// meanwhile is refused.
///
/// # Costs
/// A verification looks for its key from the first to the last: have two, not hundreds.
///
/// # Limitations
/// Secrets stay in memory for as long as the keys do, and are not wiped. Whoever can verify can
/// also sign: the keys belong inside one trust domain. A running process does not change its keys;
/// build another [`Propagation`](crate::Propagation) for that, or restart it.
#[derive(Clone)]
pub struct Keys {
    signs: Key,
    /// Those that only verify.
    accepts: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    mac: Hmac<Sha256>,
}

impl Keys {
    /// A key that signs and is accepted.
    ///
    /// The id goes out with each signature, so it should say when the key came and nothing else. The
    /// secret is read as bytes: decode it first, if it is stored as text.
    ///
    /// # Errors
    /// [`KeyError`] if the id or the secret is unusable.
    pub fn new(id: impl Into<String>, secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self {
            signs: Key::new(id.into(), secret)?,
            accepts: Vec::new(),
        })
    }

    /// Also accepts what was signed with this key, and never signs with it.
    ///
    /// # Errors
    /// [`KeyError`] if the id or the secret is unusable, or the id is there already.
    pub fn accepting(mut self, id: impl Into<String>, secret: &[u8]) -> Result<Self, KeyError> {
        let key = Key::new(id.into(), secret)?;
        if self.all().any(|known| known.id == key.id) {
            return Err(KeyError::Duplicate(key.id));
        }
        self.accepts.push(key);
        Ok(self)
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.signs).chain(&self.accepts)
    }
}

impl Key {
    fn new(id: String, secret: &[u8]) -> Result<Self, KeyError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if id.is_empty() || id.len() > 32 || !id.bytes().all(is_word) {
            return Err(KeyError::Id(id));
        }
        if secret.len() < SECRET_BYTES_MIN {
            let bytes = secret.len();
            return Err(KeyError::Short { id, bytes });
        }
        let mac = Hmac::new_from_slice(secret).expect("HMAC takes keys of every length");
        Ok(Self { id, mac })
    }

    /// Each part after its length, so that no two lists of parts give the same bytes.
    fn fed(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

impl Mac for Keys {
    fn key_id(&self) -> &str {
        &self.signs.id
    }

    fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.signs.fed(parts).finalize().into_bytes().into()
    }

    fn verify(&self, key_id: &str, parts: &[&[u8]], tag: &[u8; 32]) -> Option<bool> {
        let key = self.all().find(|key| key.id == key_id)?;
        Some(key.fed(parts).verify_slice(tag).is_ok())
    }
}

/// Shows ids, never secrets.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.all().map(|key| key.id.as_str()).collect();
        f.debug_struct("Keys")
            .field("signs", &self.key_id())
            .field("accepts", &ids)
            .finish()
    }
}

/// Why a key is refused. The message names the id and never the secret.
///
/// # Examples
/// ```
/// use ripcord_propagation::{KeyError, Keys};
///
/// let empty = std::env::var("A_VARIABLE_THAT_IS_NOT_SET").unwrap_or_default();
/// let error = Keys::new("2026-11", empty.as_bytes()).unwrap_err();
/// assert_eq!(error, KeyError::Short { id: "2026-11".into(), bytes: 0 });
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The id is not 1 to 32 letters, digits, `-` or `_`.
    Id(String),
    /// The secret is shorter than [`SECRET_BYTES_MIN`].
    Short {
        /// The key's id.
        id: String,
        /// Length of the secret.
        bytes: usize,
    },
    /// There is a key with this id already.
    Duplicate(String),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(
                f,
                "use {id:?} as the id of a key: ids are 1 to 32 letters, digits, '-' or '_'"
            ),
            Self::Short { id, bytes } => write!(
                f,
                "use a secret of {bytes} bytes for the key {id:?}: at least {SECRET_BYTES_MIN} are needed"
            ),
            Self::Duplicate(id) => write!(f, "use the id {id:?} for two keys"),
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 1, with the framing of the parts taken into account: one part that is
    /// preceded by its length is the same as the plain HMAC of those bytes.
    #[test]
    fn the_tag_is_hmac_sha256_over_framed_parts() {
        let secret = [0x0b; 20];
        let keys = Keys::new("k", &secret).unwrap();
        let mut plain = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        plain.update(b"\0\0\0\0\0\0\0\x08Hi There");
        let expect: [u8; 32] = plain.finalize().into_bytes().into();
        assert_eq!(keys.sign(&[b"Hi There"]), expect);
        let mut known = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        known.update(b"Hi There");
        let tag = known.finalize().into_bytes();
        let prefix = u128::from_be_bytes(tag[..16].try_into().unwrap());
        assert_eq!(prefix, 0xb034_4c61_d8db_3853_5ca8_afce_af0b_f12b);
    }

    #[test]
    fn parts_cannot_be_moved_into_each_other() {
        let keys = Keys::new("k", b"sixteen bytes ok").unwrap();
        assert_ne!(keys.sign(&[b"ab", b"c"]), keys.sign(&[b"a", b"bc"]));
        assert_ne!(keys.sign(&[b"abc"]), keys.sign(&[b"abc", b""]));
    }

    #[test]
    fn an_old_key_verifies_and_does_not_sign() {
        let old = Keys::new("old", b"the one of last month").unwrap();
        let tag = old.sign(&[b"x"]);
        let new = Keys::new("new", b"the one of this month")
            .and_then(|keys| keys.accepting("old", b"the one of last month"))
            .unwrap();
        assert_eq!(new.key_id(), "new");
        assert_eq!(new.verify("old", &[b"x"], &tag), Some(true));
        assert_eq!(new.verify("new", &[b"x"], &tag), Some(false));
        assert_eq!(new.verify("older", &[b"x"], &tag), None);
        assert_eq!(old.verify("old", &[b"y"], &tag), Some(false));
    }

    #[test]
    fn unusable_keys_are_refused() {
        let secret = b"sixteen bytes ok";
        for id in ["", "a b", "a.b", "ä", &"k".repeat(33)] {
            assert_eq!(
                Keys::new(id, secret).unwrap_err(),
                KeyError::Id(id.to_owned())
            );
        }
        assert!(matches!(
            Keys::new("k", &secret[..15]).unwrap_err(),
            KeyError::Short { bytes: 15, .. }
        ));
        let twice = Keys::new("k", secret).and_then(|keys| keys.accepting("k", secret));
        assert_eq!(twice.unwrap_err(), KeyError::Duplicate("k".to_owned()));
    }
}
