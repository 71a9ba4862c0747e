//! Values of the user's that travel: [`WireValue`] and the table of those that are registered.
//!
//! A context finds values by type, and a header by key. The table has the one function for each
//! direction that knows both, made when the type is registered; so no value is boxed twice, and no
//! type has to be named where a request is served.
//!
//! *Invariant*: keys are unique, and each is one that the codec takes.

use crate::policy::PolicyError;
use ripcord_core::{Ctx, Reach, Value};
use ripcord_wire::ext::Json;
use std::fmt;

/// A context value that goes along to other services, in `x-context-ext`.
///
/// It has to be [`Reach::Wire`] and registered with [`Builder::value`](crate::Builder::value) on
/// both sides. Values of less reach never leave the process, whatever is registered.
///
/// For what a callee decides by: a tenant, a plan, a feature that is switched on. What is only passed
/// on or logged is [baggage](crate::CtxCarried::baggage), which needs no types and which everybody
/// understands. Neither is for secrets.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Reach, Value};
/// use ripcord_propagation::{PeerPolicy, Propagation, WireValue};
/// use ripcord_wire::ext::Json;
/// use http::HeaderMap;
///
/// #[derive(PartialEq, Debug)]
/// struct Tenant(String);
/// impl Value for Tenant {
///     const REACH: Reach = Reach::Wire;
/// }
/// impl WireValue for Tenant {
///     const KEY: &'static str = "tenant";
///     fn to_wire(&self) -> Json {
///         Json::Text(self.0.clone())
///     }
///     fn from_wire(json: &Json) -> Option<Self> {
///         match json {
///             Json::Text(name) => Some(Self(name.clone())),
///             _ => None,
///         }
///     }
/// }
///
/// let mesh = Propagation::builder().value::<Tenant>().trust_unsigned_values().build()?;
/// let here = mesh.extract(&HeaderMap::new()).context(&Ctx::background());
/// let here = here.with(Tenant("acme".into()));
///
/// let mut headers = HeaderMap::new();
/// mesh.inject(&here, &PeerPolicy::internal(), &mut headers)?;
/// let there = mesh.extract(&headers).context(&Ctx::background());
/// assert_eq!(there.get::<Tenant>(), Some(&Tenant("acme".into())));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// `from_wire` is the place to check: it sees what another version of the program has written, or a
/// peer that nobody signed for. Refuse what the type could not have written:
///
/// ```
/// use ripcord_core::{Reach, Value};
/// use ripcord_propagation::WireValue;
/// use ripcord_wire::ext::Json;
///
/// /// At most so many rows: from 1 to 1,000.
/// #[derive(PartialEq, Debug)]
/// struct PageSize(u16);
/// impl Value for PageSize {
///     const REACH: Reach = Reach::Wire;
/// }
/// impl WireValue for PageSize {
///     const KEY: &'static str = "page_size";
///     fn to_wire(&self) -> Json {
///         Json::Int(self.0.into())
///     }
///     fn from_wire(json: &Json) -> Option<Self> {
///         let rows = json.as_int().filter(|rows| (1..=1_000).contains(rows))?;
///         u16::try_from(rows).ok().map(Self)
///     }
/// }
/// assert_eq!(PageSize::from_wire(&Json::Int(50)), Some(PageSize(50)));
/// assert_eq!(PageSize::from_wire(&Json::Int(-1)), None);
/// ```
///
/// A type of less reach cannot be registered:
///
/// ```compile_fail,E0080
/// use ripcord_core::{Reach, Value};
/// use ripcord_propagation::{Propagation, WireValue};
/// use ripcord_wire::ext::Json;
///
/// struct Session;
/// impl Value for Session {
///     const REACH: Reach = Reach::Task;
/// }
/// impl WireValue for Session {
///     const KEY: &'static str = "session";
///     fn to_wire(&self) -> Json {
///         Json::Null
///     }
///     fn from_wire(_json: &Json) -> Option<Self> {
///         Some(Self)
///     }
/// }
/// let _ = Propagation::builder().value::<Session>();
/// ```
///
/// # Costs
/// A value that comes in is one more value of the context, which is copied with it: a handful of small
/// ones, or one struct with all of them. One that is never written costs a look-up for each call.
pub trait WireValue: Value + Sized {
    /// Its key on the wire, `[a-z][a-z0-9_.-]{0,63}`, the same in every service.
    ///
    /// It is a contract: for a value with another meaning take another key, and read both for a while.
    const KEY: &'static str;

    /// What goes out. Called for each call that may carry it, so it should be quick and must not block.
    ///
    /// It should read back to the same value; numbers are whole and fit into an `i64`.
    fn to_wire(&self) -> Json;

    /// What came in; `None` refuses it, which is counted.
    ///
    /// A value that is refused counts as absent: the request goes on without it. Where it is needed,
    /// the handler says so.
    fn from_wire(json: &Json) -> Option<Self>;
}

/// One registered type, without its type: the functions are instances for it.
#[derive(Clone, Copy)]
struct Row {
    key: &'static str,
    /// Reads it from a context.
    write: fn(&Ctx) -> Option<Json>,
    /// Adds it to a context.
    read: fn(&Ctx, &Json) -> Option<Ctx>,
}

/// The registered types.
#[derive(Clone, Default)]
pub(crate) struct Registered {
    rows: Vec<Row>,
}

impl Registered {
    pub(crate) fn add<T: WireValue>(&mut self) -> Result<(), PolicyError> {
        const {
            assert!(
                matches!(T::REACH, Reach::Wire),
                "a wire value needs `const REACH: Reach = Reach::Wire`"
            );
        }
        if !is_key(T::KEY) {
            return Err(PolicyError::ValueKey(T::KEY));
        }
        if self.is_known(T::KEY) {
            return Err(PolicyError::DuplicateValue(T::KEY));
        }
        self.rows.push(Row {
            key: T::KEY,
            write: |ctx| ctx.get::<T>().map(T::to_wire),
            read: |ctx, json| T::from_wire(json).map(|value| ctx.with(value)),
        });
        Ok(())
    }

    pub(crate) fn is_known(&self, key: &str) -> bool {
        self.rows.iter().any(|row| row.key == key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What of the context goes out, in the order of registration.
    pub(crate) fn written<'a>(
        &'a self,
        ctx: &'a Ctx,
    ) -> impl Iterator<Item = (&'static str, Json)> + 'a {
        self.rows
            .iter()
            .filter_map(|row| Some((row.key, (row.write)(ctx)?)))
    }

    /// The context with what came in, and how many values their types refused.
    pub(crate) fn read<'a>(
        &self,
        mut ctx: Ctx,
        mut find: impl FnMut(&str) -> Option<&'a Json>,
    ) -> (Ctx, u32) {
        let mut refused = 0_u32;
        for row in &self.rows {
            let Some(json) = find(row.key) else { continue };
            match (row.read)(&ctx, json) {
                Some(with) => ctx = with,
                None => refused = refused.saturating_add(1),
            }
        }
        (ctx, refused)
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.rows.iter().map(|row| row.key))
            .finish()
    }
}

/// The grammar of keys in `x-context-ext`.
fn is_key(key: &str) -> bool {
    let is_rest = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-')
    };
    key.len() <= 64
        && key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.bytes().all(is_rest)
}
