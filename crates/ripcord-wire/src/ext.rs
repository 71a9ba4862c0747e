//! Business values that go along with a request, signed or not, in header `x-context-ext`.
//!
//! Baggage is text that everybody on the way reads and passes on; this is for values with types,
//! and for a receiver that has to know who set them. There is no standard for it. The form is
//! ripcord's own:
//!
//! ```text
//! 1.<values>
//! 1.<values>.<key id>.<issued at>.<tag>
//! ```
//!
//! `1` is the version. The values are a JSON object, in base64url without padding (RFC 4648 §5), so
//! that no byte of them can end a line, a list or a field. The key id is 1 to 32 of
//! `A-Z a-z 0-9 _ -`, the time seconds since 1970 in decimal, the tag 32 bytes in base64url. All of
//! it has one spelling: padding, leading zeros and bits left over are refused.
//!
//! # What is signed
//! The tag covers these parts, in this order, each preceded by its length in bytes as 64 bits, big
//! end first, so that no two lists of parts are the same message:
//!
//! 1. `ripcord-ext-1`, so that a tag made for another purpose with the same key is worth nothing;
//! 2. the key id;
//! 3. the trace id, the request id and the audience of the [`Binding`], so that the values cannot
//!    be replayed on another request or at another service;
//! 4. the time of issue, in seconds since 1970, as 64 bits, big end first;
//! 5. the JSON text.
//!
//! # What a signature is worth
//! It says that a holder of the key set these values, for this request and this audience, not long
//! ago. It hides nothing, and it does not say that the values are true: who signs what came from
//! outside vouches for it. Keys are shared between sender and receiver, so a receiver can sign as
//! well; give each pair of trust domains a key of its own.
//!
//! Strip the header where requests come in from outside, unless it is verified there, and send it
//! to hosts that are meant to read it.
//!
//! # Where to read next
//! `ext/wire.rs`: the fields of the header. `json.rs`: what of JSON is accepted.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod error;
mod wire;

pub use crate::json::Json;
pub use error::ExtError;

use crate::base64url;
use crate::json::{Bounds, read, write};
use std::fmt;
use wire::Fields;

/// How many values are taken in or sent.
///
/// More than [`Limits::HARD`] is treated as that.
///
/// # Examples
/// ```
/// use ripcord_wire::ext::{Ext, ExtError, Limits};
///
/// let flat = Limits { depth_max: 1, ..Limits::default() };
/// assert!(Ext::from_json(br#"{"a":1}"#, &flat).is_ok());
/// let error = Ext::from_json(br#"{"a":[1]}"#, &flat).unwrap_err();
/// assert_eq!(error, ExtError::TooDeep { offset: 5, limit: 1 });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Bytes of the JSON text; the header has four thirds of it.
    pub bytes_max: usize,
    /// Keys of one object, at any depth.
    pub keys_max: usize,
    /// Objects and lists inside each other; the outermost object counts.
    pub depth_max: usize,
}

impl Limits {
    /// What no setting goes beyond: 6144 bytes (8192 in base64), 256 keys, depth 16.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::{Ext, ExtError, Limits};
    ///
    /// let bold = Limits { bytes_max: 1 << 20, ..Limits::default() };
    /// let error = Ext::from_json(&[b' '; 6145], &bold);
    /// assert_eq!(error, Err(ExtError::TooLong { bytes: 6145, limit: 6144 }));
    /// ```
    ///
    /// # Limitations
    /// Servers and proxies commonly refuse a request with more than 8 to 16 KiB of headers.
    pub const HARD: Self = Self {
        bytes_max: 6144,
        keys_max: 256,
        depth_max: 16,
    };

    /// As it is applied.
    fn bytes_max(&self) -> usize {
        self.bytes_max.min(Self::HARD.bytes_max)
    }

    /// As they are applied to what is in the JSON text.
    fn bounds(&self) -> Bounds {
        Bounds {
            depth_max: self.depth_max.min(Self::HARD.depth_max),
            keys_max: self.keys_max.min(Self::HARD.keys_max),
        }
    }
}

impl Default for Limits {
    /// 2048 bytes, 32 keys, depth 4.
    fn default() -> Self {
        Self {
            bytes_max: 2048,
            keys_max: 32,
            depth_max: 4,
        }
    }
}

/// Values by key, in the order in which they were set.
///
/// A key is a lower-case letter and up to 63 of `a-z 0-9 _ . -`.
///
/// # Examples
/// ```
/// use ripcord_wire::ext::{Ext, Json, Limits};
///
/// let limits = Limits::default();
/// let mut ext = Ext::default();
/// ext.insert("tenant", "acme", &limits)?;
/// ext.insert("seats", 12, &limits)?;
/// let header = ext.encode(&limits)?;
/// assert_eq!(header, "1.eyJ0ZW5hbnQiOiJhY21lIiwic2VhdHMiOjEyfQ");
///
/// let received = Ext::parse(header.as_bytes(), &limits)?;
/// assert_eq!(received.get("seats").and_then(Json::as_int), Some(12));
/// # Ok::<(), ripcord_wire::ext::ExtError>(())
/// ```
///
/// # Limitations
/// Signed values are not secret: whoever sees the header reads them. `Debug` and `Display` show
/// them, too.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Ext {
    entries: Vec<(String, Json)>,
}

/// What a signature is bound to; a receiver with other values refuses it.
///
/// Both ends have to fill in the same bytes, so take what arrives with the request: the ids as they
/// stand in their headers. An empty part binds to nothing.
///
/// # Examples
/// ```
/// use ripcord_wire::ext::Binding;
///
/// let binding = Binding {
///     trace_id: b"0af7651916cd43dd8448eb211c80319c",
///     request_id: b"0192d0c4-6d5f-7cc1-9a3b-2f7d1c1e8a10",
///     audience: b"billing.internal",
/// };
/// assert_ne!(binding, Binding { audience: b"mail.internal", ..binding });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Binding<'a> {
    /// The trace.
    pub trace_id: &'a [u8],
    /// The request.
    pub request_id: &'a [u8],
    /// Who is meant to read the values: a service, a trust domain.
    pub audience: &'a [u8],
}

/// Makes and checks tags: a message authentication code with its keys.
///
/// The message of a list of parts is, for each part, its length in bytes as `u64` with the big end
/// first, and then the part itself. An implementation that leaves out the lengths lets parts be
/// shifted into each other, and its tags are not understood by other implementations.
///
/// The standard choice is HMAC-SHA256, with a random key of 32 bytes. Keys are rotated by giving
/// receivers the new key first; the id in the header says which one to check with.
///
/// # Examples
/// ```
/// use ripcord_wire::ext::{Binding, Ext, ExtError, Limits, Mac};
///
/// /// Shows the shape; it is not secure. Use HMAC-SHA256.
/// struct Sum(u8);
/// impl Mac for Sum {
///     fn key_id(&self) -> &str {
///         "2026-11"
///     }
///     fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
///         let framed = parts.iter().flat_map(|p| [&(p.len() as u64).to_be_bytes(), *p].concat());
///         [framed.fold(self.0, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)); 32]
///     }
///     fn verify(&self, key_id: &str, parts: &[&[u8]], tag: &[u8; 32]) -> Option<bool> {
///         (key_id == self.key_id()).then(|| self.sign(parts) == *tag)
///     }
/// }
/// let here = Binding { trace_id: b"t1", request_id: b"r1", audience: b"billing" };
/// let (limits, now) = (Limits::default(), 1_800_000_000);
/// let header = Ext::default().encode_signed(&limits, &Sum(7), &here, now)?;
/// let other = Ext::parse_signed(header.as_bytes(), &limits, &Sum(8), &here, now, 60);
/// assert_eq!(other, Err(ExtError::BadSignature));
/// # Ok::<(), ExtError>(())
/// ```
pub trait Mac {
    /// The id of the key that [`sign`](Self::sign) uses: 1 to 32 of `A-Z a-z 0-9 _ -`.
    ///
    /// It goes with the tag, so the two have to agree: to rotate, make another `Mac`.
    fn key_id(&self) -> &str;

    /// The tag of the parts, each preceded by its length, under the signing key.
    fn sign(&self, parts: &[&[u8]]) -> [u8; 32];

    /// Whether the tag is that of the parts under the key with this id; `None`: no such key.
    ///
    /// The implementation compares in constant time: how long it takes tells nothing about where
    /// the tags differ.
    fn verify(&self, key_id: &str, parts: &[&[u8]], tag: &[u8; 32]) -> Option<bool>;
}

/// How far ahead the sender's clock may be, in seconds.
///
/// More is refused: a tag from the future would stay valid beyond its age. It is ample for clocks
/// that are kept by NTP, and for a host that has lost its time source for a while.
pub const SKEW_S_MAX: u64 = 30;

impl Ext {
    /// Reads a header without checking a signature: whatever it says is hearsay.
    ///
    /// For values that nothing depends on but what is shown or counted, from peers that are trusted
    /// anyway. A signature is looked at for its form only, whether it is good or not.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::{Ext, Json, Limits};
    ///
    /// let ext = Ext::parse(b"1.eyJwbGFuIjoicHJvIn0", &Limits::default())?;
    /// assert_eq!(ext.get("plan").and_then(Json::as_str), Some("pro"));
    /// assert!(Ext::parse(b"{\"plan\":\"pro\"}", &Limits::default()).is_err());
    /// # Ok::<(), ripcord_wire::ext::ExtError>(())
    /// ```
    ///
    /// # Errors
    /// * [`ExtError::Version`], [`ExtError::Shape`], [`ExtError::Base64`] for what is not the
    ///   header's form;
    /// * the errors of [`from_json`](Self::from_json) for what is in it.
    ///
    /// # Costs
    /// Linear in the length of the header; one that is too long is refused before it is decoded.
    pub fn parse(value: &[u8], limits: &Limits) -> Result<Self, ExtError> {
        let fields = Fields::split(value)?;
        Self::from_json(&fields.decode_values(limits)?, limits)
    }

    /// Reads a header only if its signature is good, for this request, and fresh.
    ///
    /// `now_s` is the time in seconds since 1970. A signature is fresh for `age_s_max` seconds after
    /// it was issued, and if it was issued at most [`SKEW_S_MAX`] seconds in the future. The values
    /// are not parsed before the signature was checked: what an outsider sends reaches the
    /// base64 decoder and no further.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::{Binding, Ext, ExtError, Limits, Mac};
    ///
    /// fn tenant(header: &[u8], mac: &dyn Mac, request_id: &[u8], now_s: u64) -> Option<String> {
    ///     let here = Binding { trace_id: b"", request_id, audience: b"billing" };
    ///     match Ext::parse_signed(header, &Limits::default(), mac, &here, now_s, 300) {
    ///         Ok(ext) => Some(ext.get("tenant")?.as_str()?.to_owned()),
    ///         // The request goes on without the values; the error says why.
    ///         Err(error) => {
    ///             eprintln!("failed to {error}");
    ///             None
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// In the order of the checks:
    /// * those of [`parse`](Self::parse) on the header's form and length;
    /// * [`ExtError::Unsigned`] if there is no signature;
    /// * [`ExtError::UnknownKey`] if `mac` does not know the key;
    /// * [`ExtError::BadSignature`] if the tag is not that of this message;
    /// * [`ExtError::Stale`] if it is too old, or from the future;
    /// * the errors of [`from_json`](Self::from_json).
    ///
    /// # Limitations
    /// Within its age a header can be sent again with the same request id and trace id: who has to
    /// notice that remembers the request ids.
    pub fn parse_signed(
        value: &[u8],
        limits: &Limits,
        mac: &dyn Mac,
        binding: &Binding<'_>,
        now_s: u64,
        age_s_max: u64,
    ) -> Result<Self, ExtError> {
        let fields = Fields::split(value)?;
        let signature = fields.signature.ok_or(ExtError::Unsigned)?;
        let json = fields.decode_values(limits)?;
        let issued_s = signature.issued_s;
        let verdict = with_parts(signature.key_id, binding, issued_s, &json, |parts| {
            mac.verify(signature.key_id, parts, &signature.tag)
        });
        match verdict {
            None => return Err(ExtError::UnknownKey),
            Some(false) => return Err(ExtError::BadSignature),
            Some(true) => {}
        }
        let is_old = now_s.saturating_sub(issued_s) > age_s_max;
        if is_old || issued_s.saturating_sub(now_s) > SKEW_S_MAX {
            return Err(ExtError::Stale { issued_s, now_s });
        }
        Self::from_json(&json, limits)
    }

    /// Reads the values from JSON text: what is inside the header, before base64.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::{Ext, Limits};
    ///
    /// let ext = Ext::from_json(br#" { "tenant" : "acme" } "#, &Limits::default())?;
    /// assert_eq!(ext.to_string(), r#"{"tenant":"acme"}"#);
    /// let error = Ext::from_json(br#"{"share":0.5}"#, &Limits::default()).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "accept context values: expected an integer, without fraction or exponent at byte 10 \
    ///      of the JSON text"
    /// );
    /// # Ok::<(), ripcord_wire::ext::ExtError>(())
    /// ```
    ///
    /// # Errors
    /// * [`ExtError::TooLong`], [`ExtError::TooManyKeys`], [`ExtError::TooDeep`] beyond the limits;
    /// * [`ExtError::Json`] for what is not JSON without floats, or not an object;
    /// * [`ExtError::Key`] for a key of the outermost object that is none;
    /// * [`ExtError::DuplicateKey`] for a key that an object has twice, at any depth.
    pub fn from_json(text: &[u8], limits: &Limits) -> Result<Self, ExtError> {
        check_len(text.len(), limits)?;
        let bounds = limits.bounds();
        let is_key = |key: &str| key_flaw(key).is_none();
        let entries =
            read::object(text, &bounds, is_key).map_err(|flaw| ExtError::of(flaw, &bounds))?;
        Ok(Self { entries })
    }

    /// Sets a value; one that is there already is replaced in its place.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::{Ext, ExtError, Limits};
    ///
    /// let mut ext = Ext::default();
    /// let error = ext.insert("Tenant", "acme", &Limits::default());
    /// assert_eq!(error, Err(ExtError::Key { offset: 0 }));
    /// assert!(ext.is_empty());
    /// ```
    ///
    /// # Errors
    /// The values stay as they were, and the error is
    /// * [`ExtError::Key`] for a key that is none;
    /// * [`ExtError::DuplicateKey`] if a map inside of the value has a key twice;
    /// * [`ExtError::TooLong`], [`ExtError::TooManyKeys`], [`ExtError::TooDeep`] if all values
    ///   together would go beyond the limits: better to learn it here than when they are sent.
    pub fn insert(
        &mut self,
        key: &str,
        value: impl Into<Json>,
        limits: &Limits,
    ) -> Result<(), ExtError> {
        if let Some(offset) = key_flaw(key) {
            return Err(ExtError::Key { offset });
        }
        let value = value.into();
        let at = self.entries.iter().position(|(known, _)| known == key);
        let added = at.is_none().then_some((key, &value));
        let changed = self.iter().map(|(known, old)| {
            let json = if known == key { &value } else { old };
            (known, json)
        });
        check(changed.chain(added), limits)?;
        match at.and_then(|at| self.entries.get_mut(at)) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.to_owned(), value)),
        }
        Ok(())
    }

    /// Takes a value out, if it is there.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::{Ext, Json, Limits};
    ///
    /// let mut ext = Ext::from_json(br#"{"trial":true}"#, &Limits::default())?;
    /// assert_eq!(ext.remove("trial"), Some(Json::Bool(true)));
    /// assert!(ext.is_empty());
    /// # Ok::<(), ripcord_wire::ext::ExtError>(())
    /// ```
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        let at = self.entries.iter().position(|(known, _)| known == key)?;
        let (_, value) = self.entries.remove(at);
        Some(value)
    }

    /// The value of a key.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::{Ext, Json, Limits};
    ///
    /// let ext = Ext::from_json(br#"{"plan":{"seats":12}}"#, &Limits::default())?;
    /// let seats = ext.get("plan").and_then(|plan| plan.get("seats"));
    /// assert_eq!(seats.and_then(Json::as_int), Some(12));
    /// # Ok::<(), ripcord_wire::ext::ExtError>(())
    /// ```
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.iter()
            .find(|&(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// The keys and values in their order.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::{Ext, Limits};
    ///
    /// let ext = Ext::from_json(br#"{"b":1,"a":[true]}"#, &Limits::default())?;
    /// let shown: Vec<_> = ext.iter().map(|(key, value)| format!("{key}={value}")).collect();
    /// assert_eq!(shown, ["b=1", "a=[true]"]);
    /// # Ok::<(), ripcord_wire::ext::ExtError>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Json)> + Clone {
        self.entries.iter().map(|(key, value)| (&**key, value))
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Writes the header without a signature: `1.<values>`.
    ///
    /// The same values in the same order are the same text. Where there is no value, no header
    /// should be sent.
    ///
    /// # Errors
    /// [`ExtError::TooLong`], [`ExtError::TooManyKeys`], [`ExtError::TooDeep`] beyond the limits,
    /// where these are tighter than those the values were set under.
    ///
    /// # Costs
    /// Two allocations, of the JSON text and the header.
    pub fn encode(&self, limits: &Limits) -> Result<String, ExtError> {
        let json = self.to_json(limits)?;
        Ok(wire::unsigned(json.as_bytes()))
    }

    /// Writes the header with a signature: `1.<values>.<key id>.<issued at>.<tag>`.
    ///
    /// `issued_s` is the time in seconds since 1970. See [`Mac`] for an example.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode), and [`ExtError::KeyId`] if `mac` names its key with other
    /// characters than it may.
    pub fn encode_signed(
        &self,
        limits: &Limits,
        mac: &dyn Mac,
        binding: &Binding<'_>,
        issued_s: u64,
    ) -> Result<String, ExtError> {
        let key_id = mac.key_id();
        if let Some(offset) = wire::key_id_flaw(key_id.as_bytes()) {
            return Err(ExtError::KeyId { offset });
        }
        let json = self.to_json(limits)?;
        let json = json.as_bytes();
        let tag = with_parts(key_id, binding, issued_s, json, |parts| mac.sign(parts));
        Ok(wire::signed(json, key_id, issued_s, &tag))
    }

    /// The JSON text, checked; one allocation.
    fn to_json(&self, limits: &Limits) -> Result<String, ExtError> {
        let len = check(self.iter(), limits)?;
        let mut text = String::with_capacity(len);
        // A string takes whatever is written.
        write::object(&self.entries, &mut text).unwrap_or_default();
        Ok(text)
    }
}

impl fmt::Display for Ext {
    /// Writes the values as JSON text without white space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write::object(&self.entries, f)
    }
}

/// Bytes of the JSON text of the entries, if it can be sent; nothing is allocated.
fn check<'a>(
    entries: impl Iterator<Item = (&'a str, &'a Json)> + Clone,
    limits: &Limits,
) -> Result<usize, ExtError> {
    let bounds = limits.bounds();
    let len = write::measure(entries, &bounds).map_err(|flaw| ExtError::of(flaw, &bounds))?;
    check_len(len, limits)?;
    Ok(len)
}

fn check_len(bytes: usize, limits: &Limits) -> Result<(), ExtError> {
    let limit = limits.bytes_max();
    if bytes > limit {
        return Err(ExtError::TooLong { bytes, limit });
    }
    Ok(())
}

/// The parts of the signed message, see the top of this file.
///
/// The only place that knows their order, so that both ends agree.
fn with_parts<R>(
    key_id: &str,
    binding: &Binding<'_>,
    issued_s: u64,
    json: &[u8],
    act: impl FnOnce(&[&[u8]]) -> R,
) -> R {
    act(&[
        DOMAIN,
        key_id.as_bytes(),
        binding.trace_id,
        binding.request_id,
        binding.audience,
        &issued_s.to_be_bytes(),
        json,
    ])
}

/// The offset of what keeps `key` from being one.
fn key_flaw(key: &str) -> Option<usize> {
    let is_good = |(at, byte): (usize, u8)| match byte {
        b'a'..=b'z' => at < KEY_BYTES_MAX,
        b'0'..=b'9' | b'_' | b'.' | b'-' => (1..KEY_BYTES_MAX).contains(&at),
        _ => false,
    };
    let flaw = key.bytes().enumerate().find(|&place| !is_good(place));
    flaw.map(|(at, _)| at).or(key.is_empty().then_some(0))
}

impl Fields<'_> {
    /// The JSON text; its length is checked before anything is allocated for it.
    fn decode_values(&self, limits: &Limits) -> Result<Vec<u8>, ExtError> {
        check_len(base64url::decoded_len(self.values.len()), limits)?;
        wire::decode(self.values, wire::VALUES_AT)
    }
}

const DOMAIN: &[u8] = b"ripcord-ext-1";
const KEY_BYTES_MAX: usize = 64;
