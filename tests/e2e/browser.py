"""A headless Chromium, driven over its DevTools protocol. Remembers every URL a page asked for."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import urllib.parse

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from wire import PATIENCE, eventually

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1280,1400",
)


class Browser:
    """One browser with one page. `hosts` are names that lead to this machine; no other name leads
    anywhere."""

    def __init__(self, profile, hosts=()):
        command = next(filter(None, map(shutil.which, NAMES)), None)
        assert command, f"none of {', '.join(NAMES)} is installed (make deps installs one)"
        rules = [f"MAP {host} 127.0.0.1" for host in hosts] + ["MAP * ~NOTFOUND"]
        self.requested = []
        self._last_id = 0
        self._ends = contextlib.ExitStack()
        self._process = subprocess.Popen(
            [
                command,
                *FLAGS,
                f"--user-data-dir={profile}",
                f"--host-resolver-rules={', '.join(rules)}, EXCLUDE 127.0.0.1",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._ends.callback(self._process.wait)
        self._ends.callback(self._process.kill)
        try:
            self._attach(pathlib.Path(profile, "DevToolsActivePort"))
        except BaseException:
            self._ends.close()
            raise

    def _attach(self, port_file):
        eventually(lambda: port_file.exists() and port_file.read_text().count("\n"), port_file)
        port, path = port_file.read_text().split("\n")[:2]
        url = f"ws://127.0.0.1:{port}{path}"
        self._socket = self._ends.enter_context(connect(url, max_size=None, proxy=None))
        self._session = None
        targets = self.command("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.command("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        self._watch(self._session)

    def _watch(self, session):
        """Listens to a page, and to the workers and frames that it starts."""
        self._send("Network.enable", session)
        self._send("Page.enable", session)
        self._send(
            "Target.setAutoAttach",
            session,
            autoAttach=True,
            waitForDebuggerOnStart=False,
            flatten=True,
        )

    def _send(self, method, session, **params):
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        return self._last_id

    def command(self, method, **params):
        """Sends a command and returns its result; what happens meanwhile is noted."""
        sent = self._send(method, self._session, **params)
        while True:
            message = json.loads(self._socket.recv(PATIENCE))
            if message.get("id") == sent:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            elif message.get("method") == "Target.attachedToTarget":
                self._watch(message["params"]["sessionId"])

    def hosts(self):
        """The hosts that were asked for anything."""
        urls = map(urllib.parse.urlsplit, self.requested)
        return {url.hostname for url in urls if url.scheme not in ("data", "blob", "about")}

    # The page

    def open(self, url):
        result = self.command("Page.navigate", url=url)
        assert "errorText" not in result, result

    def evaluate(self, script):
        """The value of a JavaScript expression."""
        result = self.command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, script):
        """Waits until an expression is true, and returns its value."""
        return eventually(lambda: self.evaluate(script), f"{script}\n{self.text()}")

    def text(self, css="body"):
        """What can be read of an element; "" while there is none."""
        return self.evaluate(f"document.querySelector({json.dumps(css)})?.innerText ?? ''")

    def wait_for_text(self, text, css="body"):
        query = json.dumps(css)
        self.wait_for(f"document.querySelector({query})?.innerText?.includes({json.dumps(text)})")

    def click(self, css):
        query = json.dumps(css)
        self.wait_for(f"document.querySelector({query}) !== null")
        self.evaluate(f"document.querySelector({query}).click()")

    def fill(self, css, text):
        """Types into a field, in place of what is there, and leaves it."""
        query = json.dumps(css)
        self.wait_for(f"document.querySelector({query}) !== null")
        self.evaluate(f"document.querySelector({query}).focus()")
        self.evaluate(f"document.querySelector({query}).select()")
        self.command("Input.insertText", text=text)
        self.evaluate(f"document.querySelector({query}).blur()")

    def screenshot(self):
        """The page as PNG, in Base64."""
        return self.command("Page.captureScreenshot")["data"]

    def close(self):
        self._session = None
        with contextlib.suppress(ConnectionClosed):  # it may have gone before it has answered
            self.command("Browser.close")
        self._ends.close()
