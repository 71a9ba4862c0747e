//! The JSON of OTLP, as far as an export needs it.
//!
//! By `opentelemetry/proto/trace/v1/trace.proto` and the OTLP specification: ids are hex digits, and
//! numbers of 64 bits are texts.

use serde::{Serialize, Serializer};

/// `TracesData`: one line of the file.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Traces<'a> {
    pub(super) resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceSpans<'a> {
    pub(super) resource: Resource<'a>,
    pub(super) scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize, Debug)]
pub(super) struct Resource<'a> {
    pub(super) attributes: &'a [Attribute],
}

#[derive(Serialize, Debug)]
pub(super) struct ScopeSpans<'a> {
    pub(super) scope: Scope,
    pub(super) spans: &'a [Span],
}

#[derive(Serialize, Debug)]
pub(super) struct Scope {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

#[allow(
    clippy::struct_field_names,
    reason = "the names are those of the protocol"
)]
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) parent_span_id: String,
    pub(super) name: String,
    /// 1 is internal: nobody knows which context is that of a served request.
    pub(super) kind: u8,
    pub(super) start_time_unix_nano: Text,
    pub(super) end_time_unix_nano: Text,
    pub(super) attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) events: Vec<SpanEvent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) links: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpanEvent {
    pub(super) time_unix_nano: Text,
    pub(super) name: &'static str,
    pub(super) attributes: Vec<Attribute>,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) attributes: Vec<Attribute>,
}

/// 2 is an error.
#[derive(Serialize, Debug)]
pub(super) struct Status {
    pub(super) code: u8,
    pub(super) message: String,
}

#[derive(Serialize, Debug)]
pub(super) struct Attribute {
    pub(super) key: String,
    pub(super) value: Value,
}

#[derive(Serialize, Debug)]
pub(super) enum Value {
    #[serde(rename = "stringValue")]
    Text(String),
    #[serde(rename = "intValue")]
    Number(Text),
    #[serde(rename = "boolValue")]
    Truth(bool),
}

/// A number of 64 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text(pub(super) i128);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Attribute {
    pub(super) fn text(key: &str, value: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            value: Value::Text(value.into()),
        }
    }

    pub(super) fn number(key: &str, value: impl Into<i128>) -> Self {
        Self {
            key: key.to_owned(),
            value: Value::Number(Text(value.into())),
        }
    }

    pub(super) fn truth(key: &str, value: bool) -> Self {
        Self {
            key: key.to_owned(),
            value: Value::Truth(value),
        }
    }
}
