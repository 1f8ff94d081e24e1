"""A service that follows Wattlease: fewer requests at once when asked, and a smaller model while watts are short.

The model writes text letter by letter from what it has read; the large one looks back further than the small one.
Ask it: curl 'http://127.0.0.1:8000/?words=12'
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import wattlease_hints

AT_ONCE = 16
LOOKS_BACK = {"large": 4, "small": 2}
TEXT = " ".join(str(said) for said in (__doc__, wattlease_hints.__doc__, threading.__doc__, random.__doc__)).split()


def learned(order: int) -> dict[str, list[str]]:
    """After so many letters, which letters came."""
    text, found = " ".join(TEXT), defaultdict(list)
    for i in range(len(text) - order):
        found[text[i : i + order]].append(text[i + order])
    return dict(found)


MODELS = {name: learned(order) for name, order in LOOKS_BACK.items()}


class Room:
    """How many requests are served at once, and how many have been."""

    def __init__(self) -> None:
        self._changed, self._inside, self.served = threading.Condition(), 0, 0

    def enter(self) -> None:
        """Wait until the hint leaves room for one more."""
        with self._changed:
            while self._inside >= max(1, round(AT_ONCE * wattlease_hints.read().batch_frac)):
                self._changed.wait(timeout=0.2)
            self._inside += 1

    def leave(self) -> None:
        """Let the next one in."""
        with self._changed:
            self._inside, self.served = self._inside - 1, self.served + 1
            self._changed.notify()


ROOM = Room()


class Answers(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        """Write as many words as were asked for."""
        words = parse_qs(urlparse(self.path).query).get("words", ["20"])[0]
        ROOM.enter()
        try:
            name = wattlease_hints.read().variant or "large"
            said = written(MODELS.get(name, MODELS["large"]), min(int(words), 500) if words.isdigit() else 20)
        finally:
            ROOM.leave()
        body = f"{name}: {said}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The loop below says how it goes."""


def written(model: dict[str, list[str]], words: int) -> str:
    """Text of so many words."""
    text = random.choice(list(model))
    order = len(text)
    while text.count(" ") < words:
        text += random.choice(model.get(text[-order:], [" "]))
    return text.strip()


def main() -> None:
    """Serve until the job ends, and tell the agent each second how many requests a second that was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free port")
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"serves at {server.server_address[1]}", flush=True)
    while True:
        before = ROOM.served
        time.sleep(1.0)
        wattlease_hints.report(speed=float(ROOM.served - before))


if __name__ == "__main__":
    main()
