//! [`Prometheus`]: a reader of metrics that renders them as the text that Prometheus scrapes.
//!
//! The names follow the specification *Prometheus and `OpenMetrics` compatibility*: characters that
//! Prometheus does not know become `_`, the unit is appended (`_seconds`), a counter ends in
//! `_total`, and the resource is a metric of its own, `target_info`.
//!
//! # Invariants
//! 1. All lines of one metric name stand together, and no series comes twice: either would make
//!    Prometheus refuse the whole page.
//! 2. The order of the lines depends on names and labels only, so two pages can be compared.

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, HistogramDataPoint, Metric, MetricData, ResourceMetrics,
};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, Temporality};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Write as _};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A reader of metrics that renders them as Prometheus text.
///
/// It is given to the provider of meters and to the endpoint that is scraped; a clone is one
/// reference count. Metrics can be sent over OTLP by another reader at the same time.
///
/// # Examples
/// ```
/// use opentelemetry::metrics::MeterProvider as _;
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
/// use ripcord_otel::Prometheus;
///
/// let prometheus = Prometheus::new();
/// let meters = SdkMeterProvider::builder().with_reader(prometheus.clone()).build();
/// meters.meter("shop").u64_counter("orders").build().add(3, &[]);
///
/// // In the handler of /metrics, with the content type `Prometheus::CONTENT_TYPE`:
/// let page = prometheus.render();
/// assert!(page.contains("orders_total{otel_scope_name=\"shop\"} 3\n"));
/// ```
///
/// # Costs
/// Linear in the number of series; nothing between two pages. Instruments pay what they pay for any
/// other reader of the SDK.
///
/// # Limitations
/// Exponential histograms, which the text format does not know, are shown with their sum and count
/// only. Exemplars are left out, as the format has none.
#[derive(Clone, Debug)]
pub struct Prometheus {
    reader: Arc<ManualReader>,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self::new()
    }
}

impl Prometheus {
    /// The content type of the page.
    ///
    /// Prometheus guesses without it; other scrapers refuse the page.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Makes one; it belongs to one provider.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry_sdk::metrics::SdkMeterProvider;
    /// use ripcord_otel::{Prometheus, Telemetry};
    ///
    /// let prometheus = Prometheus::new();
    /// let meters = SdkMeterProvider::builder().with_reader(prometheus.clone()).build();
    /// let telemetry = Telemetry::builder().meter_provider(&meters).build();
    /// # drop(telemetry);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        let reader = ManualReader::builder()
            .with_temporality(Temporality::Cumulative)
            .build();
        Self {
            reader: Arc::new(reader),
        }
    }

    /// The page.
    ///
    /// Empty before the reader was given to a provider, and after that was shut down.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::Prometheus;
    ///
    /// assert_eq!(Prometheus::new().render(), "", "it belongs to no provider");
    /// ```
    ///
    /// # Costs
    /// Collects all metrics, callbacks of observable instruments included, on the calling thread.
    #[must_use]
    pub fn render(&self) -> String {
        let mut metrics = ResourceMetrics::default();
        match self.reader.collect(&mut metrics) {
            Ok(()) => page(&metrics),
            Err(_) => String::new(),
        }
    }
}

impl MetricReader for Prometheus {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.reader.register_pipeline(pipeline);
    }

    fn collect(&self, rm: &mut ResourceMetrics) -> OTelSdkResult {
        self.reader.collect(rm)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.reader.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.reader.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.reader.temporality(kind)
    }
}

/// All lines of one metric name.
///
/// Metrics of one name from several scopes are one family, told apart by the labels of their
/// scopes.
struct Family {
    kind: &'static str,
    help: String,
    /// By labels; a series is one line, or the lines of one histogram.
    series: BTreeMap<String, String>,
}

/// The resource first, then the families in the order of their names.
fn page(metrics: &ResourceMetrics) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for scope in metrics.scope_metrics() {
        for metric in scope.metrics() {
            add(&mut families, scope.scope(), metric);
        }
    }
    let mut page = target_info(metrics.resource());
    for (name, family) in &families {
        header(&mut page, name, family.kind, &family.help);
        for lines in family.series.values() {
            page.push_str(lines);
        }
    }
    page
}

/// A `String` takes everything that is written to it.
fn line(page: &mut String, line: fmt::Arguments<'_>) {
    let _ = page.write_fmt(line);
    page.push('\n');
}

/// A metric without a description has no `HELP`: an empty one is refused by some readers.
fn header(page: &mut String, name: &str, kind: &str, help: &str) {
    if !help.is_empty() {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        line(page, format_args!("# HELP {name} {help}"));
    }
    line(page, format_args!("# TYPE {name} {kind}"));
}

/// What all series of the process have in common, as a metric with the value 1: to be joined, where
/// it is asked for, instead of standing on each line.
fn target_info(resource: &Resource) -> String {
    let mut page = String::new();
    if !resource.is_empty() {
        let labels = resource
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str().into_owned()));
        let labels = labels_of(labels);
        header(&mut page, "target_info", "gauge", "What is scraped.");
        line(&mut page, format_args!("target_info{{{labels}}} 1"));
    }
    page
}

/// Adds one metric of one scope; a name that is taken by another type is left out (invariant 1).
fn add(families: &mut BTreeMap<String, Family>, scope: &InstrumentationScope, metric: &Metric) {
    let kind = kind_of(metric.data());
    let name = name_of(metric.name(), metric.unit(), kind);
    let family = families.entry(name.clone()).or_insert_with(|| Family {
        kind,
        help: metric.description().to_owned(),
        series: BTreeMap::new(),
    });
    if family.kind != kind {
        return;
    }
    match metric.data() {
        AggregatedMetrics::F64(data) => points(family, &name, scope, data),
        AggregatedMetrics::U64(data) => points(family, &name, scope, data),
        AggregatedMetrics::I64(data) => points(family, &name, scope, data),
    }
}

/// A sum that can fall is a gauge to Prometheus, which takes a counter that falls for a restart.
fn kind_of(data: &AggregatedMetrics) -> &'static str {
    fn of<T>(data: &MetricData<T>) -> &'static str {
        match data {
            MetricData::Sum(sum) if sum.is_monotonic() => "counter",
            MetricData::Sum(_) | MetricData::Gauge(_) => "gauge",
            MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => "histogram",
        }
    }
    match data {
        AggregatedMetrics::F64(data) => of(data),
        AggregatedMetrics::U64(data) => of(data),
        AggregatedMetrics::I64(data) => of(data),
    }
}

/// One series for each set of labels.
fn points<T: Copy + Number>(
    family: &mut Family,
    name: &str,
    scope: &InstrumentationScope,
    data: &MetricData<T>,
) {
    let mut put = |labels: String, lines: &dyn Fn(&str) -> String| {
        // A series that is there already stays (invariant 1).
        let text = lines(&labels);
        family.series.entry(labels).or_insert(text);
    };
    match data {
        MetricData::Gauge(gauge) => {
            for point in gauge.data_points() {
                let labels = series_labels(scope, point.attributes());
                put(labels, &|labels| {
                    sample(name, labels, &point.value().show())
                });
            }
        }
        MetricData::Sum(sum) => {
            for point in sum.data_points() {
                let labels = series_labels(scope, point.attributes());
                put(labels, &|labels| {
                    sample(name, labels, &point.value().show())
                });
            }
        }
        MetricData::Histogram(histogram) => {
            for point in histogram.data_points() {
                let labels = series_labels(scope, point.attributes());
                put(labels, &|labels| buckets(name, labels, point));
            }
        }
        MetricData::ExponentialHistogram(histogram) => {
            for point in histogram.data_points() {
                let labels = series_labels(scope, point.attributes());
                let count = u64::try_from(point.count()).unwrap_or(u64::MAX);
                put(labels, &|labels| {
                    let mut text = bucket(name, labels, "+Inf", count);
                    text += &sample(&format!("{name}_sum"), labels, &point.sum().show());
                    text += &sample(&format!("{name}_count"), labels, &count);
                    text
                });
            }
        }
    }
}

/// One line: a series without labels has no braces.
fn sample(name: &str, labels: &str, value: &dyn Display) -> String {
    if labels.is_empty() {
        format!("{name} {value}\n")
    } else {
        format!("{name}{{{labels}}} {value}\n")
    }
}

/// One line of a histogram.
fn bucket(name: &str, labels: &str, bound: &str, count: u64) -> String {
    let comma = if labels.is_empty() { "" } else { "," };
    format!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}\n")
}

/// The buckets of the SDK count each value once, those of Prometheus all up to their bound.
fn buckets<T: Copy + Number>(name: &str, labels: &str, point: &HistogramDataPoint<T>) -> String {
    let mut text = String::new();
    let mut total: u64 = 0;
    for (bound, count) in point.bounds().zip(point.bucket_counts()) {
        total = total.saturating_add(count);
        text += &bucket(name, labels, &bound.show(), total);
    }
    text += &bucket(name, labels, "+Inf", point.count());
    text += &sample(&format!("{name}_sum"), labels, &point.sum().show());
    text += &sample(&format!("{name}_count"), labels, &point.count());
    text
}

/// A value as Prometheus reads it.
///
/// The SDK keeps values as the type that their instrument has.
trait Number {
    fn show(&self) -> String;
}

impl Number for f64 {
    fn show(&self) -> String {
        if self.is_nan() {
            "NaN".to_owned()
        } else if self.is_infinite() {
            if *self > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
        } else {
            self.to_string()
        }
    }
}

impl Number for u64 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Number for i64 {
    fn show(&self) -> String {
        self.to_string()
    }
}

/// Labels of the point and of its scope. The scope is always there: without it, two libraries that
/// use one name would give one series twice.
fn series_labels<'a>(
    scope: &InstrumentationScope,
    attributes: impl Iterator<Item = &'a KeyValue>,
) -> String {
    let own = attributes.map(|label| (label.key.as_str(), label.value.as_str().into_owned()));
    let name = Some(("otel_scope_name", scope.name().to_owned()));
    let version = scope.version();
    let version = version.map(|version| ("otel_scope_version", version.to_owned()));
    labels_of(own.chain(name).chain(version))
}

/// Labels in the order of their names; the values of names that become one are joined by `;`.
fn labels_of<'a>(labels: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut sorted: BTreeMap<String, BTreeSet<(&str, String)>> = BTreeMap::new();
    for (key, value) in labels {
        let name = match sanitized(key, false) {
            // Prometheus's own, of the buckets.
            own if own == "le" => "exported_le".to_owned(),
            name => name,
        };
        sorted.entry(name).or_default().insert((key, value));
    }
    let mut text = String::new();
    for (name, values) in sorted {
        if !text.is_empty() {
            text.push(',');
        }
        let values: Vec<_> = values
            .into_iter()
            .map(|(_, value)| escaped(&value))
            .collect();
        let _ = write!(text, "{name}=\"{}\"", values.join(";"));
    }
    text
}

/// Of a label's value: backslash, quote and line feed (Prometheus, text format details).
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// A name of Prometheus: letters, digits, `_`, and `:` for metrics; no digit first.
fn sanitized(name: &str, has_colon: bool) -> String {
    let mut text = String::with_capacity(name.len() + 1);
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        text.push('_');
    }
    for char in name.chars() {
        let is_kept = char.is_ascii_alphanumeric() || (has_colon && char == ':');
        // Several characters in a row that are not kept become one `_`.
        if is_kept {
            text.push(char);
        } else if !text.ends_with('_') || char == '_' {
            text.push('_');
        }
    }
    text
}

/// Units as words, from the specification's table.
const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
];

/// The unit as the end of a name: nothing for `{request}`, which is an annotation.
fn suffix(unit: &str, kind: &str) -> Option<String> {
    let word = |unit: &str| {
        let known = UNITS.iter().find(|(short, _)| *short == unit);
        known.map_or_else(|| sanitized(unit, false), |(_, word)| (*word).to_owned())
    };
    if unit == "1" {
        return (kind == "gauge").then(|| "ratio".to_owned());
    }
    let unit = unit.split('{').next().unwrap_or_default();
    match unit.split_once('/') {
        _ if unit.is_empty() => None,
        Some((of, per)) => {
            let per = word(per);
            let per = per.strip_suffix('s').unwrap_or(&per);
            Some(match of {
                "" => format!("per_{per}"),
                of => format!("{}_per_{per}", word(of)),
            })
        }
        None => Some(word(unit)),
    }
}

/// `http.server.request.duration` with the unit `s` is `http_server_request_duration_seconds`.
fn name_of(name: &str, unit: &str, kind: &str) -> String {
    let mut name = sanitized(name, true);
    if kind == "counter" {
        // The unit comes before `total`, also where the name has that already.
        name.truncate(name.strip_suffix("_total").unwrap_or(&name).len());
    }
    if let Some(suffix) = suffix(unit, kind).filter(|suffix| !suffix.is_empty()) {
        let has = name == suffix || name.ends_with(&format!("_{suffix}"));
        if !has {
            name = format!("{name}_{suffix}");
        }
    }
    if kind == "counter" {
        name += "_total";
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_specification() {
        for (name, unit, kind, expect) in [
            (
                "http.server.request.duration",
                "s",
                "histogram",
                "http_server_request_duration_seconds",
            ),
            (
                "http.server.active_requests",
                "{request}",
                "gauge",
                "http_server_active_requests",
            ),
            (
                "ripcord.requests.cancelled",
                "{request}",
                "counter",
                "ripcord_requests_cancelled_total",
            ),
            ("orders", "", "counter", "orders_total"),
            ("orders_total", "", "counter", "orders_total"),
            ("sent_bytes_total", "By", "counter", "sent_bytes_total"),
            ("sent", "By", "counter", "sent_bytes_total"),
            ("cpu.share", "1", "gauge", "cpu_share_ratio"),
            ("calls", "1", "counter", "calls_total"),
            ("speed", "m/s", "gauge", "speed_meters_per_second"),
            ("rate", "{request}/s", "gauge", "rate"),
            ("2fast", "", "gauge", "_2fast"),
            ("a..b--c", "", "gauge", "a_b_c"),
            ("a:b", "", "gauge", "a:b"),
            ("size", "furlong", "gauge", "size_furlong"),
            ("seconds", "s", "gauge", "seconds"),
        ] {
            assert_eq!(name_of(name, unit, kind), expect, "{name} {unit} {kind}");
        }
    }

    #[test]
    fn labels_are_sorted_sanitised_and_escaped() {
        for (labels, expect) in [
            (vec![], ""),
            (vec![("b", "2"), ("a", "1")], "a=\"1\",b=\"2\""),
            (vec![("http.route", "/a")], "http_route=\"/a\""),
            (vec![("a.b", "1"), ("a_b", "2")], "a_b=\"1;2\""),
            (vec![("x", "a\"b\\c\nd")], "x=\"a\\\"b\\\\c\\nd\""),
            (vec![("1st", "x")], "_1st=\"x\""),
            (vec![("le", "x")], "exported_le=\"x\""),
            (vec![("\u{e9}t\u{e9}", "x")], "_t_=\"x\""),
        ] {
            let labels = labels
                .into_iter()
                .map(|(key, value)| (key, value.to_owned()));
            assert_eq!(labels_of(labels), expect);
        }
    }

    #[test]
    fn numbers_are_what_prometheus_reads() {
        for (value, expect) in [
            (0.5, "0.5"),
            (3.0, "3"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(value.show(), expect);
        }
    }
}
