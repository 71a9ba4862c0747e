"""The propagators of OpenTelemetry for Python, as an oracle: JSON lines in, JSON lines out.

A line has a `format` (`w3c`, `b3`, `b3multi`), and either `headers`, which are extracted, or `values`,
which are taken as they are. The answer has the `values` and the `headers` that are injected for them:
{"trace": [trace id, span id, flags, [[key, value], ...]], "baggage": [[key, value], ...]}
"""

import json
import logging
import sys

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.span import TraceState

FORMATS = {
    "w3c": CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()]),
    "b3": B3SingleFormat(),
    "b3multi": B3MultiFormat(),
}


def context_of(values):
    trace_id, span_id, flags, state = values["trace"]
    span = trace.SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        True,
        trace.TraceFlags(flags),
        TraceState([(key, value) for key, value in state]),
    )
    context = trace.set_span_in_context(trace.NonRecordingSpan(span), Context())
    for key, value in values["baggage"]:
        context = baggage.set_baggage(key, value, context)
    return context


def values_of(context):
    span = trace.get_current_span(context).get_span_context()
    return {
        "trace": [
            trace.format_trace_id(span.trace_id),
            trace.format_span_id(span.span_id),
            int(span.trace_flags),
            [[key, value] for key, value in span.trace_state.items()],
        ],
        "baggage": [[key, value] for key, value in baggage.get_all(context).items()],
    }


def answer(line):
    propagator = FORMATS[line["format"]]
    if "headers" in line:
        context = propagator.extract(line["headers"], Context())
    else:
        context = context_of(line["values"])
    headers = {}
    propagator.inject(headers, context)
    return {"headers": headers, "values": values_of(context)}


# What it refuses shows in the answers.
logging.disable(logging.CRITICAL)
for text in sys.stdin:
    print(json.dumps(answer(json.loads(text))))
