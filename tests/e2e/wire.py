"""A client that speaks HTTP/1.1 byte by byte.

Unlike a real client it sends whatever it is told to, and unlike one it forgives nothing in the
answer: a field line that is not exactly RFC 9112, two framings at once, or a body where none may be
is an AssertionError. No test waits for time to pass: PATIENCE only ends a test that has failed.
"""

import re
import select
import socket
import struct
import time

PATIENCE = 60.0
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\0]*?)[ \t]*")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([^\r\n\0]*)")


class Answer:
    """One response as it stood on the wire."""

    def __init__(self, status, fields):
        self.status = status
        self.fields = fields  # [(lower case name, value)], in order
        self.body = b""

    def all(self, name):
        return [value for key, value in self.fields if key == name]

    def header(self, name):
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands {len(values)} times in {self.fields}"
        return values[0] if values else None

    def __repr__(self):
        return f"<Answer {self.status} {self.fields} {self.body[:200]!r}>"


class Conn:
    """One TCP connection to the server. A context manager: closed at the end."""

    def __init__(self, port, receive_buffer=None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()  # cheap to cut at the front

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Sending

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def request(self, method, target, *fields, body=b"", version="1.1"):
        """Sends a proper request. `fields` are whole lines; a body brings its Content-Length."""
        lines = [f"{method} {target} HTTP/{version}", "Host: perigee.test", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def get(self, target, *fields):
        """Asks and reads the answer; the connection stays open."""
        self.request("GET", target, *fields)
        return self.answer()

    def send_until_full(self, data, limit, still_working):
        """Sends copies of `data` until the server takes no more, or `limit` bytes are out.

        The server counts as unwilling when the socket stays full over many calls of
        `still_working`, which proves each time that the server goes on with its other work.
        Returns the number of bytes sent, the last copy possibly in part.
        """
        sent = refused = 0
        self.sock.setblocking(False)
        try:
            while sent < limit and refused < 50:
                try:
                    sent += self.sock.send(data[sent % len(data) :])
                    refused = 0
                except BlockingIOError:
                    refused += 1
                    still_working()
        finally:
            self.sock.settimeout(PATIENCE)
        return sent

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends the connection with an RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    @property
    def port(self):
        return self.sock.getsockname()[1]

    # Reading

    def readable(self, seconds=0):
        return bool(self.buffer) or bool(select.select([self.sock], [], [], seconds)[0])

    def _more(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise EOFError(f"the server closed the connection after {bytes(self.buffer[:200])!r}")
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self._more()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def take_line(self):
        while (end := self.buffer.find(b"\r\n")) < 0:
            self._more()
        return self.take(end + 2)[:-2]

    def head(self):
        """Reads the status line and the fields of the next response, interim ones included."""
        line = self.take_line()
        status = STATUS_LINE.fullmatch(line)
        assert status, f"not a status line: {line!r}"
        fields = []
        while line := self.take_line():
            field = FIELD_LINE.fullmatch(line)
            assert field, f"not a field line: {line!r}"
            fields.append((field[1].decode().lower(), field[2].decode("latin-1")))
        return Answer(int(status[1]), fields)

    def answer(self, method="GET"):
        """Reads the next whole response, which must not be an interim one."""
        answer = self.head()
        length, coding = answer.header("content-length"), answer.header("transfer-encoding")
        assert length is None or coding is None, f"two framings: {answer}"
        assert answer.status >= 200, f"unexpected interim response: {answer}"
        if answer.status in (204, 304) or method == "HEAD":
            if answer.status == 204:
                assert length is None and coding is None, f"framing on a 204: {answer}"
        elif coding is not None:
            assert coding == "chunked"
            answer.body = self.rest_of_chunks()
        elif length is not None:
            answer.body = self.take(int(length))
        else:
            assert "close" in (answer.header("connection") or ""), f"no framing: {answer}"
            answer.body = self.rest()
        return answer

    def rest_of_chunks(self):
        chunks = []
        while size := int(self.take_line(), 16):
            chunks.append(self.take(size))
            assert self.take(2) == b"\r\n", "a chunk is longer than its size"
        assert self.take_line() == b"", "the server sent trailers"
        return b"".join(chunks)

    def rest(self):
        """Reads up to the end of the connection, which must be a clean one."""
        try:
            while True:
                self._more()
        except EOFError:
            return self.take(len(self.buffer))

    def expect_end(self):
        """The server has nothing more to say and closed the connection, without a reset."""
        rest = self.rest()
        assert rest == b"", f"more than expected: {rest[:500]!r}"


def eventually(condition, what):
    """Waits until `condition()` is true, and returns its value."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.005)
    return value
