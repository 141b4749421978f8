"""The server's paths: what each answers."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Optional, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from foundations_serve import invocations, openapi, protocol_v2, signature, tensors
from foundations_serve.background import Background
from foundations_serve.calling import Stream, Worker, log_trace, words_of
from foundations_serve.errors import BadInput, CallerLeft, Failed, Late, ServeError, Unknown
from foundations_serve.loaders import Inputs
from foundations_serve.manifest import Manifest
from foundations_serve.metrics import Metrics
from foundations_serve.request_log import RequestLog
from foundations_serve.requests import body_of, encoded, error_response, json_response, parsed

_PROBE_SECONDS = 10.0
"""A request that was answered well so long ago counts as a probe."""
_LOOK_SECONDS = 1.0
_LARGE_BODY = 256 << 10
"""Bytes from which it takes a while to read a body."""
T = TypeVar("T")
Answer = Callable[[Request], Awaitable[Response]]


class Server:
    """The answers of one model."""

    def __init__(
        self, manifest: Manifest, worker: Worker, metrics: Metrics, background: Background, log: RequestLog
    ) -> None:
        self._manifest = manifest
        self._worker = worker
        self._metrics = metrics
        self._background = background
        self._log = log

    def app(self) -> Starlette:
        """Return the application that an ASGI server runs."""
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
        get: Dict[str, Answer] = {
            **dict.fromkeys(("/v2", "/v2/"), self._server_metadata),
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            "/": self._still_alive,
            "/predict": self._still_alive,
            "/ping": self._ready,
            "/metrics": self._counters,
            "/openapi.json": self._description,
            "/example": self._example,
            **dict.fromkeys((model, version), self._model_metadata),
            **{f"{path}/ready": self._model_ready for path in (model, version)},
        }
        post: Dict[str, Answer] = {
            **dict.fromkeys(("/", "/predict"), self._counted("predict", self._predict)),
            "/invocations": self._counted("invocations", self._invocations),
            "/evaluate": self._evaluate,
            "/recalibrate": self._recalibrate,
            **{f"{path}/infer": self._counted("infer", self._infer) for path in (model, version)},
            **{f"{path}/generate": self._counted("generate", self._generate) for path in (model, version)},
            **{
                f"{path}/generate_stream": self._counted("generate", self._generate_stream) for path in (model, version)
            },
        }
        routes = [Route(path, _caught(answer), methods=["GET"]) for path, answer in get.items()]
        routes += [Route(path, _caught(answer), methods=["POST"]) for path, answer in post.items()]
        return Starlette(routes=routes, exception_handlers={HTTPException: _no_such_path}, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        look = asyncio.ensure_future(self._look())
        try:
            yield
        finally:
            look.cancel()
            self._worker.close()
            self._background.close()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._worker.look()

    # --- how it is ------------------------------------------------------------------------------------------------

    async def _server_metadata(self, request: Request) -> Response:
        version = str(self._manifest.version)
        return json_response({"name": "foundations", "version": version, "extensions": protocol_v2.EXTENSIONS})

    async def _live(self, request: Request) -> Response:
        return json_response({"live": True})

    async def _ready(self, request: Request) -> Response:
        await self._probe()
        return json_response({"ready": True})

    async def _model_ready(self, request: Request) -> Response:
        self._check_model(request)
        await self._probe()
        return json_response({"name": self._manifest.name, "ready": True})

    async def _probe(self) -> None:
        """Make sure that the model answers: by a request that it has just answered, else by its example.

        Raises:
            ServeError: it does not.
        """
        if self._manifest.example is None or time.monotonic() - self._worker.answered_at < _PROBE_SECONDS:
            return
        result = await self._worker.call(signature.inputs_of(self._manifest.example), self._manifest.deadline)
        if isinstance(result, Stream):
            try:
                async for _ in result.items():
                    break
            finally:
                result.leave()

    async def _model_metadata(self, request: Request) -> Response:
        self._check_model(request)
        return json_response(protocol_v2.metadata(self._manifest))

    async def _still_alive(self, request: Request) -> Response:
        return json_response({"message": "still alive"})

    async def _counters(self, request: Request) -> Response:
        return PlainTextResponse(self._metrics.text(self._worker.waiting), media_type="text/plain; version=0.0.4")

    async def _description(self, request: Request) -> Response:
        return json_response(openapi.document(self._manifest))

    async def _example(self, request: Request) -> Response:
        if self._manifest.example is None:
            raise Unknown("the model has no example")
        return json_response(self._manifest.example)

    # --- what the model answers -----------------------------------------------------------------------------------

    async def _infer(self, request: Request) -> Response:
        self._check_model(request)
        body = await body_of(request, self._manifest.max_body)
        asked = await _beside(body, protocol_v2.infer_of, body, request.headers.get(protocol_v2.HEADER_LENGTH))
        result = await self._result(request, {tensor.name: tensor.data for tensor in asked.inputs})
        if isinstance(result, Stream):
            result = {f"output-{place}": item for place, item in enumerate(await self._collected(result))}
        content, head = await _beside(
            body, lambda: protocol_v2.answer(self._manifest, asked, tensors.of_result(result))
        )
        if head is None:
            return Response(content, media_type="application/json")
        return Response(content, 200, {protocol_v2.HEADER_LENGTH: str(head)}, "application/octet-stream")

    async def _predict(self, request: Request) -> Response:
        body = await body_of(request, self._manifest.max_body)
        told = await _beside(body, parsed, body)
        if not isinstance(told, dict):
            raise BadInput("the body must be an object: inputs by name")
        return await self._answered(request, signature.inputs_of(told), lambda result: result)

    async def _invocations(self, request: Request) -> Response:
        body = await body_of(request, self._manifest.max_body)
        inputs = await _beside(body, invocations.inputs_of, body, request.headers.get("content-type", ""))
        return await self._answered(request, inputs, lambda result: {"predictions": result})

    async def _generate(self, request: Request) -> Response:
        """Answer with all of a text at once."""
        result = await self._result(request, await self._text_inputs(request))
        if isinstance(result, Stream):
            result = "".join(protocol_v2.generated(item) for item in await self._collected(result))
        return json_response(self._text(result))

    async def _generate_stream(self, request: Request) -> Response:
        """Answer with a text as it comes."""
        result = await self._result(request, await self._text_inputs(request))
        events = _events(result, self._text) if isinstance(result, Stream) else _one_event(self._text(result))
        return StreamingResponse(events, media_type="text/event-stream")

    async def _text_inputs(self, request: Request) -> Inputs:
        """Return the inputs of a request for a text: parameters, and what stands beside them."""
        self._check_model(request)
        told = parsed(await body_of(request, self._manifest.max_body))
        if not isinstance(told, dict) or not isinstance(told.get("text_input"), str):
            raise BadInput("the body must be an object with text_input")
        parameters = told.pop("parameters", {})
        if not isinstance(parameters, dict):
            raise BadInput("parameters must be an object")
        inputs = {**parameters, **told}
        for name in ("id", "stream"):  # of the protocol, not of the model
            inputs.pop(name, None)
        return inputs

    def _text(self, result: Any) -> Dict[str, Any]:
        version = str(self._manifest.version)
        text = protocol_v2.generated(result)
        return {"model_name": self._manifest.name, "model_version": version, "text_output": text}

    async def _collected(self, stream: Stream) -> List[Any]:
        """Return all that a stream gives, within the deadline of a request."""

        async def collect() -> List[Any]:
            return [item async for item in stream.items()]

        try:
            return await asyncio.wait_for(collect(), self._manifest.deadline)
        except asyncio.TimeoutError:
            raise Late(f"the model has not come to an end within {self._manifest.deadline:g} s") from None
        finally:
            stream.leave()

    async def _answered(self, request: Request, inputs: Inputs, shown: Callable[[Any], Any]) -> Response:
        result = await self._result(request, inputs)
        if isinstance(result, Stream):
            return StreamingResponse(_events(result, shown), media_type="text/event-stream")
        return json_response(tensors.plain(shown(result)))

    async def _result(self, request: Request, inputs: Inputs) -> Any:
        """Return the model's result; while it is awaited, a caller that leaves is noticed.

        Raises:
            CallerLeft: nobody waits for it any more.
        """
        inputs = signature.fitted(self._manifest.signature, inputs)
        request.state.inputs = inputs
        call = asyncio.ensure_future(self._worker.call(inputs, self._manifest.deadline))
        left = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({call, left}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                raise CallerLeft("the caller has left")
            result = call.result()
            request.state.result = None if isinstance(result, Stream) else result
            return result
        finally:
            call.cancel()
            left.cancel()

    def _counted(self, route: str, answer: Answer) -> Answer:
        async def counted(request: Request) -> Response:
            began, status = time.monotonic(), 500
            self._metrics.in_flight += 1
            try:
                response = await answer(request)
                status = response.status_code
                return response
            except ServeError as error:
                status = error.status
                raise
            finally:
                self._metrics.in_flight -= 1
                seconds = time.monotonic() - began
                self._metrics.count(route, status, seconds)
                if self._log.draw():
                    told = request.state
                    self._log.take(route, status, seconds, getattr(told, "inputs", None), getattr(told, "result", None))

        return counted

    def _check_model(self, request: Request) -> None:
        """Raise Unknown when a path names another model, or another version."""
        model, version = request.path_params["model"], request.path_params.get("version")
        if model != self._manifest.name:
            raise Unknown(f"there is no model {model[:100]!r} here; {self._manifest.name} is served")
        if version is not None and version != str(self._manifest.version):
            raise Unknown(f"version {version[:20]!r} is not served; {self._manifest.version} is")

    # --- work behind it -------------------------------------------------------------------------------------------

    async def _evaluate(self, request: Request) -> Response:
        return await self._begun(request, "evaluate", self._manifest.evaluate)

    async def _recalibrate(self, request: Request) -> Response:
        return await self._begun(request, "recalibrate", self._manifest.recalibrate)

    async def _begun(self, request: Request, name: str, reference: str) -> Response:
        if not reference:
            raise Unknown(f"{name} not set in manifest")
        body = await body_of(request, self._manifest.max_body)
        told = parsed(body) if body.strip() else {}
        if not isinstance(told, dict):
            raise BadInput("the body must be an object: arguments by name")
        number = self._background.begin(name, told)
        return json_response({} if name == "evaluate" else {"run": number}, 202)


async def _beside(body: bytes, function: Callable[..., T], *arguments: Any) -> T:
    """Return what a function gives: of a large body in a thread, so that others are answered meanwhile."""
    if len(body) < _LARGE_BODY:
        return function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


async def _left(request: Request) -> None:
    """Return when the caller has left; the body has been read."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


async def _events(stream: Stream, shown: Callable[[Any], Any]) -> AsyncIterator[bytes]:
    """Yield what a generator gives as server-sent events (html.spec.whatwg.org, "Server-sent events")."""
    try:
        async for item in stream.items():
            yield b"data: " + encoded(tensors.plain(shown(item))) + b"\n\n"
    except ServeError as error:
        yield b"event: error\ndata: " + encoded({"error": str(error)}) + b"\n\n"
    finally:
        stream.leave()


async def _one_event(value: Any) -> AsyncIterator[bytes]:
    """Yield the only event of a stream."""
    yield b"data: " + encoded(tensors.plain(value)) + b"\n\n"


def _caught(answer: Answer) -> Answer:
    async def caught(request: Request) -> Response:
        try:
            return await answer(request)
        except ServeError as error:
            return error_response(error)
        except Exception as error:  # what a model gave cannot be sent
            log_trace(error)
            return error_response(Failed(f"the answer cannot be sent: {words_of(error)}"))

    return caught


async def _no_such_path(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    words = {404: "there is no such path", 405: "this path takes another method"}
    headers: Optional[Dict[str, str]] = getattr(error, "headers", None)
    return json_response({"error": words.get(status, str(error))}, status, headers)
