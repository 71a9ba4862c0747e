//! Writing: from a context to the headers of a call.
//!
//! *Order*: (1) is there time for the call? If not, nothing is touched. (2) Every header of ours is
//! taken out, whether or not another is written in its place: what an application has copied from its
//! own request is stale, and to a peer that may not have it, it would be a leak. (3) What the peer may
//! have is written.
//!
//! # What stays here first
//! Headers have limits, and the last hop before one of them should not be the one that fails. So there
//! is an order in which things stay behind, each whole:
//!
//! | header | goes first | never |
//! |---|---|---|
//! | `x-context-ext` | values that are only passed on; then registered ones, the last first; large before small | |
//! | `baggage` | members that the peer may not have; then the last ones | |
//! | `tracestate` | members of more than 128 bytes, then any, from the right | |
//! | the rest | | a deadline, a trace or an id is a few bytes, and goes out |
//!
//! All of it but vendors' entries is counted in [`Sent`].

use crate::carried::Carried;
use crate::carrier::CarrierMut;
use crate::peer::{Allowed, PeerPolicy};
use crate::propagation::{Config, Signatures, TRACESTATE_BYTES_MAX, TraceFormat};
use ripcord_core::{Cancelled, Cause, Ctx, Kind};
use ripcord_wire::b3::{B3, Sampling};
use ripcord_wire::baggage::Baggage;
use ripcord_wire::ext::{Binding, Ext};
use ripcord_wire::timeout::Encoded;
use std::time::Duration;

/// What went out with a call, and what stayed here.
///
/// # Examples
/// For a metric: what a service adds to baggage, and its callees never see.
///
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{CtxCarried as _, PeerPolicy, Propagation};
/// use ripcord_wire::baggage::Baggage;
///
/// let propagation = Propagation::default();
/// let ctx = propagation.originate().context(&Ctx::background());
/// let ctx = ctx.with_baggage(Baggage::try_from_iter([("job", "nightly"), ("rows", "17")])?);
/// let mut headers = http::HeaderMap::new();
/// let sent = propagation.inject(&ctx, &PeerPolicy::external(), &mut headers)?;
/// assert_eq!((sent.baggage_dropped, sent.values_dropped), (2, 0));
/// assert_eq!(sent.timeout, None, "a context without a deadline sends none");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Sent {
    /// The time that the callee was told.
    ///
    /// It is rounded up to what the header can say, so that the callee never gives up before the
    /// caller, whose own deadline stays the one that counts. Of several headers it is the first's.
    pub timeout: Option<Encoded>,
    /// How much time the callee has: what is left less the reserve. `None` without a deadline.
    pub budget: Option<Duration>,
    /// Members of baggage that stayed here: not allowed, or beyond a limit.
    pub baggage_dropped: usize,
    /// Business values that stayed here, because they do not fit, or could not be verified.
    pub values_dropped: usize,
}

pub(crate) fn inject(
    config: &Config,
    ctx: &Ctx,
    carried: Option<&Carried>,
    peer: &PeerPolicy,
    headers: &mut dyn CarrierMut,
) -> Result<Sent, Cancelled> {
    let budget = budget(ctx, peer)?;
    headers.strip(&|name| config.owns(name) || is_timeout_of(peer, name));
    headers.reserve(LINES);
    let mut sent = Sent {
        timeout: None,
        budget,
        baggage_dropped: 0,
        values_dropped: 0,
    };
    if let Some(budget) = budget {
        for header in &peer.timeouts {
            let encoded = header.encode(budget);
            if let Some(encoded) = &encoded {
                headers.set(header.name(), encoded.as_str());
            }
            sent.timeout = sent.timeout.or(encoded);
        }
    }
    if let Some(carried) = carried {
        write(config, ctx, carried, peer, headers, &mut sent);
    }
    Ok(sent)
}

/// What a call usually carries: deadline, trace and its state, request id, baggage, values.
const LINES: usize = 6;

fn is_timeout_of(peer: &PeerPolicy, name: &str) -> bool {
    peer.timeouts.iter().any(|header| header.name() == name)
}

/// What the callee has; an error if that is nothing.
///
/// The error is made here and not the context's: that has time left, though not enough for this peer.
fn budget(ctx: &Ctx, peer: &PeerPolicy) -> Result<Option<Duration>, Cancelled> {
    let Some(left) = ctx.check_remaining()? else {
        return Ok(None);
    };
    match left.checked_sub(peer.reserve) {
        Some(budget) if !budget.is_zero() => Ok(Some(budget)),
        _ => Err(Cancelled::new(
            Cause::new(Kind::DeadlineExceeded).with_message(format!(
                "not sent: {left:?} are left, and {:?} are reserved for the answer",
                peer.reserve
            )),
        )),
    }
}

fn write(
    config: &Config,
    ctx: &Ctx,
    carried: &Carried,
    peer: &PeerPolicy,
    headers: &mut dyn CarrierMut,
    sent: &mut Sent,
) {
    if peer.sends_trace {
        trace(config, carried, headers);
    }
    if peer.sends_request_id {
        headers.set(config.request_id_header(), carried.request_id().as_str());
    }
    sent.baggage_dropped = baggage(config, carried.baggage(), peer, headers);
    if peer.sends_values {
        sent.values_dropped = values(config, ctx, carried, peer, headers);
    }
}

/// Writes the baggage that the peer may have; gives how many members stay here.
fn baggage(
    config: &Config,
    baggage: &Baggage,
    peer: &PeerPolicy,
    headers: &mut dyn CarrierMut,
) -> usize {
    let limits = &config.baggage_limits;
    let fits = || baggage.as_str().len() <= limits.bytes_max && baggage.len() <= limits.members_max;
    match &peer.baggage {
        _ if baggage.is_empty() => 0,
        Allowed::Nothing => baggage.len(),
        // As nearly always: nothing is to be looked at.
        Allowed::Everything if fits() => {
            headers.set("baggage", baggage.as_str());
            0
        }
        _ => {
            let mut refused = 0_usize;
            let (text, dropped) = baggage.encode(limits, |entry| {
                let is_allowed = peer.allows(entry.key());
                refused += usize::from(!is_allowed);
                is_allowed
            });
            if !text.is_empty() {
                headers.set("baggage", &text);
            }
            refused.saturating_add(dropped.total())
        }
    }
}

fn trace(config: &Config, carried: &Carried, headers: &mut dyn CarrierMut) {
    let trace = &carried.trace;
    for format in &config.formats {
        let b3 = || B3 {
            ids: Some((trace.trace_id, trace.span_id)),
            parent: trace.parent_span_id,
            sampling: if trace.flags.is_sampled() {
                Sampling::Accept
            } else {
                Sampling::Deny
            },
        };
        match format {
            TraceFormat::W3c => {
                let text = trace.parent().encode();
                if let Ok(text) = std::str::from_utf8(&text) {
                    headers.set("traceparent", text);
                }
                let state = trace.state.truncated(TRACESTATE_BYTES_MAX);
                if !state.is_empty() {
                    headers.set("tracestate", &state);
                }
            }
            TraceFormat::B3Single => headers.set("b3", &b3().encode_single()),
            TraceFormat::B3Multi => b3().encode_multi(|name, value| headers.set(name, value)),
        }
    }
}

/// Writes `x-context-ext`; gives how many values do not fit.
///
/// Values are put in one after the other, the most important first, and each is asked whether it fits
/// beside those that are there. So one that is too large leaves room to smaller ones behind it.
///
/// Values of registered types go before those that are merely passed on. What does not fit is left
/// out whole, the last first: a service that adds too much hurts itself and not its callers.
fn values(
    config: &Config,
    ctx: &Ctx,
    carried: &Carried,
    peer: &PeerPolicy,
    headers: &mut dyn CarrierMut,
) -> usize {
    if matches!(config.signatures, Signatures::Stripped) {
        return 0;
    }
    if config.values.is_empty() && (carried.ext().is_empty() || !config.forwards_unknown) {
        return 0;
    }
    let mut ext = Ext::default();
    let mut dropped = 0_usize;
    for (key, json) in config.values.written(ctx) {
        dropped += usize::from(ext.insert(key, json, &config.ext_limits).is_err());
    }
    if config.forwards_unknown {
        for (key, json) in carried.ext().iter() {
            if !config.values.is_known(key) {
                let json = json.clone();
                dropped += usize::from(ext.insert(key, json, &config.ext_limits).is_err());
            }
        }
    }
    if ext.is_empty() {
        return dropped;
    }
    let is_signed = matches!(config.signatures, Signatures::Signed { .. });
    // A signature is bound to both ids: without them it could not be verified.
    let is_bound = peer.sends_trace && !config.formats.is_empty() && peer.sends_request_id;
    if is_signed && !is_bound {
        return dropped.saturating_add(ext.len());
    }
    let limits = &config.ext_limits;
    let text = match &config.signatures {
        Signatures::Signed { keys, audience } => {
            let id = carried.trace.trace_id.to_bytes();
            let binding = Binding {
                trace_id: &id,
                request_id: carried.request_id().as_str().as_bytes(),
                audience: audience.as_bytes(),
            };
            ext.encode_signed(limits, &**keys, &binding, config.origin.unix_s())
        }
        _ => ext.encode(limits),
    };
    match text {
        Ok(text) => headers.set("x-context-ext", &text),
        Err(_) => dropped += ext.len(),
    }
    dropped
}
