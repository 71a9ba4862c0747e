// The propagators of OpenTelemetry for JavaScript, as an oracle: JSON lines in, JSON lines out.
//
// A line has either `headers`, which are extracted, or `values`, which are taken as they are. The
// answer has the `values` and the `headers` that are injected for them:
// {"trace": [trace id, span id, flags, [[key, value], ...]], "baggage": [[key, value], ...]}

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.RIPCORD_INTEROP_NODE_MODULES}/`);
const api = require("@opentelemetry/api");
const core = require("@opentelemetry/core");

const propagator = new core.CompositePropagator({
  propagators: [new core.W3CTraceContextPropagator(), new core.W3CBaggagePropagator()],
});

function contextOf(values) {
  const [traceId, spanId, traceFlags, state] = values.trace;
  const text = state.map(([key, value]) => `${key}=${value}`).join(",");
  const traceState = text === "" ? undefined : new core.TraceState(text);
  const span = { traceId, spanId, traceFlags, traceState, isRemote: true };
  const context = api.trace.setSpanContext(api.ROOT_CONTEXT, span);
  const entries = values.baggage.map(([key, value]) => [key, { value }]);
  const baggage = api.propagation.createBaggage(Object.fromEntries(entries));
  return api.propagation.setBaggage(context, baggage);
}

function valuesOf(context) {
  const span = api.trace.getSpanContext(context);
  const entries = api.propagation.getBaggage(context)?.getAllEntries() ?? [];
  const state = span.traceState?.serialize() ?? "";
  const members = state === "" ? [] : state.split(",");
  const pair = (member) => [
    member.slice(0, member.indexOf("=")),
    member.slice(member.indexOf("=") + 1),
  ];
  return {
    trace: [span.traceId, span.spanId, span.traceFlags, members.map(pair)],
    baggage: entries.map(([key, { value }]) => [key, value]),
  };
}

for await (const text of createInterface({ input: process.stdin })) {
  const line = JSON.parse(text);
  const context = line.headers
    ? propagator.extract(api.ROOT_CONTEXT, line.headers, api.defaultTextMapGetter)
    : contextOf(line.values);
  const headers = {};
  propagator.inject(context, headers, api.defaultTextMapSetter);
  console.log(JSON.stringify({ headers, values: valuesOf(context) }));
}
