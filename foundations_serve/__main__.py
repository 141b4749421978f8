"""``python -m foundations_serve``: run the server, check a model, call one of its functions, or predict a file."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from typing import Any, Dict, List, Optional

from foundations_serve import loaders
from foundations_serve.calling import log_trace, words_of
from foundations_serve.errors import CannotLoad, ServeError
from foundations_serve.manifest import Manifest

_CANNOT_LOAD = 78
"""EX_CONFIG, sysexits(3)."""
_MOST_BESIDE = 200
"""Connections beside those that may wait: probes, and callers that are told that there is no room."""
_RECORDS_VARIABLE = "FOUNDATIONS_RECORDS_DIR"
"""Holds where the records of this attempt lie."""
_STUCK = 70
"""EX_SOFTWARE."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Carry out one command; return its exit code."""
    parser = argparse.ArgumentParser(prog="foundations_serve", description="Serve a registered model.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="answer requests")
    run.add_argument("--socket", default="", help="path of a Unix socket")
    run.add_argument("--port", type=int, default=0, help="a port of 127.0.0.1")
    check = commands.add_parser("check", help="run the example, and write down what came of it")
    check.add_argument("--out", required=True, help="a JSON file")
    check.add_argument("--evaluate", action="store_true", help="call evaluate, too: numbers by name")
    call = commands.add_parser("call", help="call evaluate or recalibrate with the arguments of standard input")
    call.add_argument("function", choices=("evaluate", "recalibrate"))
    predict = commands.add_parser("predict", help="answer for each row of a file")
    predict.add_argument("--in", dest="source", required=True)
    predict.add_argument("--out", default="predictions", help="a folder")
    predict.add_argument("--keep", default=os.environ.get("FOUNDATIONS_CHECKPOINT_DIR", ""), help="where it goes on")
    predict.add_argument("--shard", default="1/1", help="which part of the rows: 2/8")
    predict.add_argument("--chunk", type=int, default=1024, help="rows that are computed together")
    options = parser.parse_args(arguments)
    try:
        manifest = Manifest.of_process()
        return int(_COMMANDS[options.command](manifest, options) or 0)
    except (CannotLoad, ServeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _CANNOT_LOAD


def _run(manifest: Manifest, options: argparse.Namespace) -> int:
    try:
        import uvicorn

        from foundations_serve.app import Server
    except ModuleNotFoundError as error:
        raise CannotLoad(
            f"the environment of this model has no {error.name}: the server needs uvicorn and starlette"
        ) from None
    from foundations_serve.background import Background
    from foundations_serve.calling import Worker
    from foundations_serve.metrics import Metrics
    from foundations_serve.request_log import RequestLog

    metrics = Metrics()
    predict = loaders.load(manifest)
    worker = Worker(predict, manifest.batch, manifest.queue, _give_up, metrics.count_batch)
    log = RequestLog(manifest.log, os.environ.get(_RECORDS_VARIABLE, ""))
    app = Server(manifest, worker, metrics, Background(), log).app()
    place = {"uds": options.socket} if options.socket else {"host": "127.0.0.1", "port": options.port}
    quiet: Dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False}
    config = uvicorn.Config(app, **place, **quiet, lifespan="on", limit_concurrency=_MOST_BESIDE + manifest.queue)
    print(f"{manifest.name} {manifest.version}: loaded", flush=True)
    uvicorn.Server(config).run()
    return 0


def _give_up(why: str) -> None:
    print(f"error: {why}; this replica ends", file=sys.stderr, flush=True)
    os._exit(_STUCK)  # the thread that is stuck cannot be ended otherwise


def _check(manifest: Manifest, options: argparse.Namespace) -> int:
    from foundations_serve.checking import checked

    out = os.path.abspath(options.out)  # the model may go elsewhere
    result = checked(manifest, options.evaluate)
    with open(f"{out}.tmp", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(f"{out}.tmp", out)
    for line in result["notes"]:
        print(line)
    if result["error"]:
        print(f"error: {result['error']}", file=sys.stderr)
        return 1
    return 0


def _call(manifest: Manifest, options: argparse.Namespace) -> int:
    loaders.look_where_we_are()
    reference = getattr(manifest, options.function)
    target = loaders.function(reference, options.function.capitalize())
    arguments: Any = json.loads(sys.stdin.buffer.read() or b"{}")
    try:
        result = target(**arguments)
    except Exception as error:
        log_trace(error)
        print(f"{options.function}: {words_of(error)}", file=sys.stderr)
        return 1
    print(f"{options.function}: done" + (f": {result}" if result is not None else ""))
    return 0


def _predict(manifest: Manifest, options: argparse.Namespace) -> int:
    from foundations_serve.batch import predict_file

    predict_file(manifest, options.source, options.keep or options.out, options.shard, options.chunk)
    if options.keep:
        os.makedirs(options.out, exist_ok=True)
        for name in os.listdir(options.keep):
            if name.endswith(".jsonl"):
                shutil.copy(os.path.join(options.keep, name), options.out)
    return 0


_COMMANDS = {"run": _run, "check": _check, "call": _call, "predict": _predict}

if __name__ == "__main__":
    sys.exit(main())
