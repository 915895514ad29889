"""Servers that a client under test talks to: one that behaves, and raw ones that do not."""

import contextlib
import pathlib
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from wire import PATIENCE


class RawServer:
    """Hands each connection to `serve(sock)` in a thread of its own. Counts them."""

    def __init__(self, serve, context=None, path=None):
        self.serve = serve
        self.context = context
        self.accepted = 0
        self.failures = []
        self._threads = []
        self._conns = []
        self._lock = threading.Lock()
        if path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(str(path))
        else:
            self.sock = socket.socket()
            self.sock.bind(("127.0.0.1", 0))
            self.port = self.sock.getsockname()[1]
        self.sock.listen(128)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def _accept(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            with self._lock:
                self.accepted += 1
                self._conns.append(conn)
            thread = threading.Thread(target=self._handle, args=(conn,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _handle(self, conn):
        conn.settimeout(PATIENCE)
        try:
            if self.context:
                conn = self.context.wrap_socket(conn, server_side=True)
            with conn:
                self.serve(conn)
        except (OSError, ssl.SSLError) as error:
            self.failures.append(error)

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for conn in self._conns:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)


def read_head(sock):
    """The bytes of one request's head; b"" when the client is gone."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            return b""
        head += byte
    return head


def answering(*answers):
    """Serves one answer after the other, each to a request without a body, then closes."""

    def serve(sock):
        for answer in answers:
            if not read_head(sock):
                return
            sock.sendall(answer)

    return serve


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status=200, body=b"", **fields):
        self.send_response(status)
        for name, value in fields.items():
            for one in value if isinstance(value, list) else [value]:
                self.send_header(name.replace("_", "-"), one)
        if "Transfer_Encoding" not in fields:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def any_method(self):
        self.body = self.read_body()
        self.server.requests.append(
            {
                "method": self.command,
                "target": self.path,
                "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": self.body,
                "port": self.client_address[1] if self.client_address else None,
            }
        )
        self.server.route(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = any_method


class HttpServer:
    """A server that behaves: `route(handler)` answers. Records the requests."""

    def __init__(self, route, context=None, host="127.0.0.1"):
        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.server.requests = self.requests = []
        self.server.route = route
        if context:
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self.server.server_address[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Authority:
    """A certificate authority in a folder, and what it signs, by the openssl command."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=Test-CA"
            f" -days 2 -keyout {folder}/ca.key -out {self.ca}"
        )

    @staticmethod
    def _run(command):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)

    def sign(self, name, alternatives, days=2):
        """Returns the paths of a certificate and its key."""
        at = self.folder / name
        pathlib.Path(f"{at}.ext").write_text(f"subjectAltName={alternatives}\n")
        self._run(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
            f" -subj /CN={name} -keyout {at}.key -out {at}.csr"
        )
        validity = ("-days", str(days))
        self._run(
            f"x509 -req -in {at}.csr -CA {self.ca} -CAkey {self.folder}/ca.key -CAcreateserial"
            f" {' '.join(validity)} -extfile {at}.ext -out {at}.pem"
        )
        return f"{at}.pem", f"{at}.key"

    def context(self, name, alternatives, **options):
        cert, key = self.sign(name, alternatives, **options)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        return context
