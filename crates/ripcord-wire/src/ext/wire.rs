//! The fields of the header, split and joined; what is in the values is not looked at.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::ExtError;
use crate::base64url;
use std::fmt::Write;

/// The header, split at its dots.
pub(super) struct Fields<'a> {
    /// In base64url, at [`VALUES_AT`].
    pub(super) values: &'a [u8],
    pub(super) signature: Option<Signature<'a>>,
}

/// What follows the values.
#[derive(Clone, Copy)]
pub(super) struct Signature<'a> {
    pub(super) key_id: &'a str,
    pub(super) issued_s: u64,
    pub(super) tag: [u8; 32],
}

/// Where the values begin: behind `1.`.
pub(super) const VALUES_AT: usize = 2;

impl<'a> Fields<'a> {
    /// Splits and checks the form; the values are decoded later, when their length was checked.
    pub(super) fn split(header: &'a [u8]) -> Result<Self, ExtError> {
        let mut fields = header.split(|&byte| byte == b'.');
        if fields.next() != Some(b"1") {
            return Err(ExtError::Version);
        }
        let offset = header.len();
        let values = fields.next().ok_or(ExtError::Shape { offset })?;
        let Some(key_id) = fields.next() else {
            let signature = None;
            return Ok(Self { values, signature });
        };
        let (Some(issued), Some(tag), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(ExtError::Shape { offset });
        };
        let after =
            |start: usize, field: &[u8]| start.saturating_add(field.len()).saturating_add(1);
        let key_id_at = after(VALUES_AT, values);
        let issued_at = after(key_id_at, key_id);
        let tag_at = after(issued_at, issued);
        let shape = |offset| ExtError::Shape { offset };
        if let Some(at) = key_id_flaw(key_id) {
            return Err(shape(key_id_at.saturating_add(at)));
        }
        let key_id = std::str::from_utf8(key_id).map_err(|_| shape(key_id_at))?;
        let issued_s = seconds(issued).ok_or(shape(issued_at))?;
        // Checked before it is decoded: a tag of another length costs nothing.
        if tag.len() != TAG_LEN {
            return Err(shape(tag_at));
        }
        let tag = decode(tag, tag_at)?.try_into();
        let tag = tag.map_err(|_| shape(tag_at))?;
        let signature = Some(Signature {
            key_id,
            issued_s,
            tag,
        });
        Ok(Self { values, signature })
    }
}

/// Decodes a field that begins at `start`.
pub(super) fn decode(field: &[u8], start: usize) -> Result<Vec<u8>, ExtError> {
    base64url::decode(field).map_err(|at| ExtError::Base64 {
        offset: start.saturating_add(at),
    })
}

/// Joins the header without a signature.
pub(super) fn unsigned(json: &[u8]) -> String {
    let len = base64url::encoded_len(json.len()).saturating_add(VALUES_AT);
    let mut header = String::with_capacity(len);
    header.push_str("1.");
    base64url::encode_into(json, &mut header);
    header
}

/// Joins the header with a signature.
pub(super) fn signed(json: &[u8], key_id: &str, issued_s: u64, tag: &[u8; 32]) -> String {
    let mut header = unsigned(json);
    header.reserve_exact(key_id.len().saturating_add(SIGNATURE_LEN));
    // A string takes whatever is written.
    write!(header, ".{key_id}.{issued_s}.").unwrap_or_default();
    base64url::encode_into(tag, &mut header);
    header
}

/// The offset of what keeps `id` from being the id of a key.
pub(super) fn key_id_flaw(id: &[u8]) -> Option<usize> {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let flaw = id.iter().position(|byte| !is_good(byte));
    let is_long = id.len() > KEY_ID_BYTES_MAX;
    flaw.or(is_long.then_some(KEY_ID_BYTES_MAX))
        .or(id.is_empty().then_some(0))
}

/// Decimal, without sign or leading zeros.
fn seconds(text: &[u8]) -> Option<u64> {
    let is_canonical = matches!(text, [b'0'] | [b'1'..=b'9', ..]);
    let is_number = is_canonical && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().filter(|_| is_number)
}

const KEY_ID_BYTES_MAX: usize = 32;
/// 32 bytes in base64url.
const TAG_LEN: usize = 43;
/// Three dots, a time, a tag.
const SIGNATURE_LEN: usize = 3 + 20 + TAG_LEN;
