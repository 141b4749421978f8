"""A hostile host: a real sshd, a real login, and an agent that says whatever a test wants."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.support.client import Client
from tests.support.sshd import Sshd

_PYTHON = """#!{python}
import json, os, sys
sys.path[:0] = [{here!r}, {folder!r}]
from remote_agent.protocol import framing
words = sys.argv[1:]
if "-c" in words and "exit(sys.version_info" in words[words.index("-c") + 1]:
    sys.exit(0)
import said

def out(data):
    while data:
        data = data[os.write(1, data):]

if "-c" in words:
    wish = json.loads(words[-1])
    facts = {{"need": False, "root": {folder!r}, "python": sys.argv[0], "version": "3.11.0"}}
    out(("\\n%s %s\\n" % (wish["nonce"], json.dumps(facts))).encode())
    reader = framing.FrameReader()
    while True:
        data = os.read(0, 1 << 16)
        if not data:
            sys.exit(0)
        for frame in reader.feed(data):
            message = frame.message
            answer = said.answer(message["method"], message.get("params") or {{}}, wish)
            if isinstance(answer, bytes):
                out(answer)
                continue
            result, blob = answer if isinstance(answer, tuple) else (answer, b"")
            head = {{"id": message["id"], "result": result}}
            body = json.dumps(head).encode()
            out(framing._HEAD.pack(len(body), len(blob)) + body + blob)
role, root, nonce, *rest = words[words.index("-E") + 2:]
out(said.bulk(role, nonce, rest))
"""
USUAL = """
import json
HELLO = {{"protocol": 1, "version": "0.1.0", "agent": {agent!r}, "journal": "e" * 32, "seq": 5,
    "root": "/r", "host": "evil", "python": "python", "time": 1.0, "active": 0,
    "gpus_age": 0.0, "cpus": 4, "cpus_free": 4, "memory": 1 << 30,
    "memory_free": 1 << 30, "disk_free": 1 << 30, "disk_total": 1 << 31, "disk_jobs": 0, "queued": 0, "paused": [],
    "gpus": [], "problems": []}}
RESOURCES = {{key: HELLO[key] for key in ("cpus", "cpus_free", "memory", "memory_free", "disk_free", "gpus")}}
PAGE = {{"journal": "e" * 32, "seq": 5, "more": False, "jobs": [], "large": [], "deleted": [], "resources": RESOURCES,
    "problems": [], "waits_version": 0}}
ANSWERS = {{"hello": HELLO, "changes": PAGE, "waits": {{"version": 0, "groups": [], "estimates": {{}}, "next": None}},
    "stream_sizes": {{"streams": [], "more": False}}, "samples": {{"offset": 0, "end": 0}}, "watch": {{"grown": []}},
    "read": {{"size": 0}}, "acknowledge": {{}}, "annotate": {{"unknown": []}}, "received": {{}}}}

def answer(method, params, wish):
    HELLO["agent"] = wish["agent"]
    return ANSWERS.get(method, {{}})

def bulk(role, nonce, rest):
    return ("\\n%s %s\\n" % (nonce, json.dumps({{"error": {{"code": "not_found", "message": "no"}}}}))).encode()
"""


class Evil:
    """The host, and what its agent says."""

    def __init__(self, client: Client, sshd: Sshd, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        program = folder / "python"
        program.write_text(_PYTHON.format(python=sys.executable, here=str(Path.cwd()), folder=str(folder)))
        program.chmod(0o755)
        self.says("")
        client.add_host("evil", sshd, python=str(program))

    def says(self, code: str) -> None:
        """Let the agent say what this code makes of the usual answers."""
        (self.folder / "said.py").write_text(USUAL.format(agent="") + "\n" + code)

    def says_answers(self, **answers: Any) -> None:
        """Let the agent give these answers, by request."""
        self.says(f"ANSWERS.update(json.loads({json.dumps(answers)!r}))")
