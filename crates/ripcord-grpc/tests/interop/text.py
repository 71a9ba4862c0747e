"""The message of test.Test, one string, without generated code."""

import grpc

SERVICE = "test.Test"


def encode(text: str) -> bytes:
    data = text.encode()
    assert len(data) < 128, "one byte of length is enough for the tests"
    return bytes([0x0A, len(data)]) + data


def decode(data: bytes) -> str:
    if not data:
        return ""
    assert data[0] == 0x0A and data[1] == len(data) - 2, data
    return data[2:].decode()


def method(channel: grpc.Channel, kind: str, name: str):
    """A stub of one of the four kinds, as unary_unary."""
    make = getattr(channel, kind)
    return make(f"/{SERVICE}/{name}", request_serializer=encode, response_deserializer=decode)
