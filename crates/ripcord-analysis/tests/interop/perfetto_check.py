"""Reads a Perfetto trace by Perfetto's own schema, and tells what is in it as JSON.

The trace processor would be the better judge. The package downloads it when it is first used, and so it
is asked only where RIPCORD_TRACE_PROCESSOR names one.
"""

import json
import os
import sys

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent


def unknown_fields(message):
    """Fields that the real schema does not have, in the message and in all below it."""
    count = len(UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            several = value if field.is_repeated else [value]
            count += sum(unknown_fields(each) for each in several)
    return count


def by_schema(data):
    trace = Trace()
    trace.ParseFromString(data)
    names, tracks, open_slices, slices = {}, {}, {}, []
    begins, ends, last = set(), set(), 0
    for packet in trace.packet:
        if packet.sequence_flags & 1:
            names.clear()
        for entry in packet.interned_data.event_names:
            names[entry.iid] = entry.name
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            tracks[track.uuid] = track.thread.thread_name or track.process.process_name or track.name
            assert not track.parent_uuid or track.parent_uuid in tracks, "a parent comes first"
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        assert event.track_uuid in tracks, "a track is described before it is used"
        begins.update(event.flow_ids)
        ends.update(event.terminating_flow_ids)
        last = max(last, packet.timestamp)
        stack = open_slices.setdefault(event.track_uuid, [])
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            stack.append((names[event.name_iid], packet.timestamp))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            name, begun = stack.pop()
            slices.append([tracks[event.track_uuid], name, begun, packet.timestamp - begun])
    return {
        "unknown_fields": unknown_fields(trace),
        "open_slices": sum(len(stack) for stack in open_slices.values()),
        "flows": sorted(begins & ends),
        "flows_without_begin": sorted(ends - begins),
        "slices": sorted(slices, key=lambda row: (row[2], row[0], row[1])),
    }


def by_processor(path, binary):
    from perfetto.trace_processor import TraceProcessor, TraceProcessorConfig

    with TraceProcessor(trace=path, config=TraceProcessorConfig(bin_path=binary)) as processor:
        rows = processor.query("select count(*) as n from slice")
        errors = processor.query("select sum(value) as n from stats where severity = 'error'")
        return {"slices": next(iter(rows)).n, "errors": next(iter(errors)).n}


def main():
    path = sys.argv[1]
    with open(path, "rb") as file:
        answer = by_schema(file.read())
    binary = os.environ.get("RIPCORD_TRACE_PROCESSOR")
    answer["processor"] = by_processor(path, binary) if binary else None
    print(json.dumps(answer))


main()
