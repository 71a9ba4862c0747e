"""A grpcio server for the tests of ripcord-grpc.

Prints its port first, and a line for what its handlers see.
"""

import threading
from concurrent import futures

import grpc
from text import SERVICE, decode, encode

OUTPUT = threading.Lock()


def say(line: str) -> None:
    with OUTPUT:
        print(line, flush=True)


def begin(context: grpc.ServicerContext) -> threading.Event:
    """Says that the call has begun, and when it ends; gives the event of its end."""
    event = threading.Event()

    def end() -> None:
        # Not by the handler: a generator is not resumed once its call is over.
        say("ended")
        event.set()

    say("begun")
    if not context.add_callback(end):
        end()
    return event


def unary(request: str, context: grpc.ServicerContext) -> str:
    """Answers what it was told: time left, and whether the trace is there."""
    metadata = dict(context.invocation_metadata())
    left = context.time_remaining()
    left_ms = "none" if left is None else str(int(left * 1000))
    return f"left_ms={left_ms} trace={metadata.get('traceparent', '')[3:35]}"


def sleep_unary(requests, context: grpc.ServicerContext) -> str:
    begin(context).wait()
    return ""


def sleep_stream(requests, context: grpc.ServicerContext):
    """One answer, and then nothing."""
    end = begin(context)
    yield "one"
    end.wait()


def main() -> None:
    kinds = {
        "Unary": (grpc.unary_unary_rpc_method_handler, unary),
        "ServerStream": (grpc.unary_stream_rpc_method_handler, sleep_stream),
        "ClientStream": (grpc.stream_unary_rpc_method_handler, sleep_unary),
        "Bidi": (grpc.stream_stream_rpc_method_handler, sleep_stream),
    }
    handlers = {
        name: handler(behave, request_deserializer=decode, response_serializer=encode)
        for name, (handler, behave) in kinds.items()
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    say(str(server.add_insecure_port("127.0.0.1:0")))
    server.start()
    server.wait_for_termination()


main()
