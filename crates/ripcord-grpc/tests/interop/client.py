"""A grpcio client for the tests of ripcord-grpc: client.py <port> <case>.

Prints the code with which its call ended, and what else the case is about. Where a case waits for
the server, it reads a line from its standard input.
"""

import sys
import threading

import grpc
from text import method


def wait() -> None:
    sys.stdin.readline()


def endless():
    """A stream of requests that stays open after the first one."""
    yield "hello"
    threading.Event().wait()


def code_of(call) -> str:
    return call.code().name


def cancel_after_begin(channel) -> str:
    call = method(channel, "stream_unary", "ClientStream").future(endless())
    wait()
    call.cancel()
    return code_of(call)


def cancel_after_first_response(channel) -> str:
    call = method(channel, "stream_stream", "Bidi")(endless())
    first = next(call)
    call.cancel()
    return f"{code_of(call)} {first}"


def timeout_on_sleeping_server(channel) -> str:
    call = method(channel, "stream_stream", "Bidi")(endless(), timeout=0.3)
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        return code_of(error)
    return "no error"


def ended_by_the_server(channel) -> str:
    """The server has a limit of its own, of which this client knows nothing."""
    try:
        method(channel, "unary_unary", "Unary")("hello")
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata())
        kind = trailers.get("ripcord-cancel-kind")
        return f"{code_of(error)} {kind} {trailers.get('ripcord-cancel-name')}"
    return "no error"


def stream_ended_by_the_server(channel) -> str:
    answers = []
    try:
        for answer in method(channel, "unary_stream", "ServerStream")("hello"):
            answers.append(answer)
    except grpc.RpcError as error:
        return f"{code_of(error)} {' '.join(answers)}"
    return "no error"


def hops(channel) -> str:
    return method(channel, "unary_unary", "Unary")("hello", timeout=20)


def main() -> None:
    port, case = sys.argv[1:]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        # A time-out should be spent on the call and not on the connection.
        grpc.channel_ready_future(channel).result()
        print(globals()[case](channel), flush=True)


main()
