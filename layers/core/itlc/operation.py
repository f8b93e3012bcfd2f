"""The seam to Chalice, and the only module that imports it: one operation is one app with one view.

A view is declared with everything that holds for it: path, method, what it accepts and returns, its status,
who may call it, the store that it commits to. The seam reads and checks the request, calls the view, and turns
what it returns or raises into the response; it serves idempotency keys, signs cursors, and logs one line per call.
The app itself is the Lambda handler for every kind of event, so each `Handler` in the template is `<file>.app`.
"""

import inspect
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, get_type_hints

from chalice.app import Chalice, Request, Response
from pydantic import TypeAdapter

from itlc import events, limits, telemetry
from itlc.access import Caller, Rule
from itlc.answers import Reply, answer, problem, with_standing_headers
from itlc.errors import (
    Conflict,
    Forbidden,
    InsufficientTokens,
    Invalid,
    ItlcError,
    KeyReused,
    Malformed,
    NotFound,
    Passing,
    Poison,
    StoreAway,
    Unauthenticated,
)
from itlc.idempotency import Answer, Key, Replayed, Store, fingerprint, slow_fingerprint
from itlc.negotiation import preferred
from itlc.paging import PageQuery, read_cursor
from itlc.preconditions import IfMatch
from itlc.pseudonyms import of_address
from itlc.reading import NoBody, read_body, read_json, read_path, read_query
from itlc.settings import settings

P = ParamSpec("P")
R = TypeVar("R")
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
KeyUse = Literal["none", "optional", "required"]

KEY_FORM = re.compile(r"[\x20-\x7e]{1,255}")
UUID_FORM = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
LAST_TRY_BUT_ONE = 4
"""A queue has five tries for a message (`maxReceiveCount`)."""
REMEMBERED_REFUSALS = (NotFound, Forbidden, Conflict, Invalid, InsufficientTokens)

__all__ = ["Deadline", "Operation", "Reply", "Route"]


@dataclass(frozen=True)
class Route:
    """Everything that is true of an operation over HTTP; the contract test and the OpenAPI document read it."""

    path: str
    method: Method
    allow: Rule
    view: Callable[..., Any]
    accepts: Any = None
    query: Any = None
    returns: Any = None
    status: int = 200
    key: KeyUse = "none"
    store: Store | None = None
    location: str | None = None
    live_session: bool = False
    secret_body: bool = False
    also: tuple[int, ...] = ()
    content_types: tuple[str, ...] = ("application/json",)

    @cached_property
    def body(self) -> TypeAdapter[Any]:
        """How the body is validated."""
        return TypeAdapter(self.accepts or NoBody)

    @cached_property
    def parameters(self) -> TypeAdapter[Any]:
        """How the query is validated."""
        return TypeAdapter(self.query or NoBody)

    @cached_property
    def result(self) -> TypeAdapter[Any] | None:
        """How the result is written."""
        return None if self.returns is None else TypeAdapter(self.returns)

    @cached_property
    def path_kinds(self) -> dict[str, Any]:
        """The declared types of the view's parameters, by name."""
        return get_type_hints(self.view)

    @cached_property
    def takes(self) -> frozenset[str]:
        """The names of the view's parameters."""
        return frozenset(inspect.signature(self.view).parameters)


@dataclass
class Call:
    """The request at hand."""

    route: Route
    request_id: str
    path: str
    caller: Caller
    if_match: IfMatch
    key: Key | None = None
    scope: str = ""

    def answer(self, result: Any) -> Answer:
        """The response to what the view returns."""
        route = self.route
        return answer(
            result, adapter=route.result, status=route.status, location=route.location, path=self.path, scope=self.scope
        )


@dataclass(frozen=True)
class Deadline:
    """When a job has to stop so that it ends before the function's limit; it goes on the next time."""

    at: float = field(default_factory=lambda: time.monotonic() + 10)

    @property
    def passed(self) -> bool:
        """Whether no further batch should be begun."""
        return self.seconds_left <= 0

    @property
    def seconds_left(self) -> float:
        """How long it is until then."""
        return self.at - time.monotonic()


class Operation(Chalice):
    """One operation. `name` is its file's name, its function's and its `operationId`."""

    def __init__(self, name: str) -> None:
        super().__init__(app_name=name, configure_logs=False)
        self.api.binary_types = []
        self.name = name
        self.route_spec: Route | None = None
        self.queue: str | None = None
        self.kind: Literal["route", "queue", "schedule", "authorizer"] = "route"
        self._entry: Callable[[Any, Any], Any] | None = None
        self._call: Call | None = None

    # What a view may ask while it runs

    @property
    def caller(self) -> Caller:
        """Who is calling."""
        return self._current.caller

    @property
    def if_match(self) -> IfMatch:
        """The request's `If-Match`, for the service to check once it has locked the object."""
        return self._current.if_match

    @property
    def key(self) -> Key | None:
        """The request's idempotency key, if it has one."""
        return self._current.key

    @property
    def required_key(self) -> Key:
        """The request's idempotency key, on operations that need one, for work that spans several transactions."""
        assert self.key is not None, "this operation does not require a key"  # noqa: S101
        return self.key

    @property
    def source(self) -> str:
        """From where the request comes: the pseudonym of its address (see `itlc.pseudonyms`)."""
        return of_address((self._request.context.get("identity") or {}).get("sourceIp"))

    @property
    def content_type(self) -> str:
        """The one of the route's content types that the request's `Accept` header prefers."""
        return preferred(self._request.headers.get("accept"), self._current.route.content_types)

    @property
    def _request(self) -> Request:
        assert self.current_request is not None, "only while a request is served"  # noqa: S101
        return self.current_request

    @property
    def _current(self) -> Call:
        assert self._call is not None, "only while a request is served"  # noqa: S101
        return self._call

    def commit(self, work: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(handle, *args, **kwargs)` in one transaction of the route's store, and keep the answer under the
        request's idempotency key in that same transaction. `work` may run more than once, so it touches no other
        store."""
        call = self._current
        store, key = call.route.store, call.key
        assert store is not None, "a route that commits names its store"  # noqa: S101

        def transaction(handle: Any) -> R:
            if key is None:
                return work(handle, *args, **kwargs)
            earlier = store.claim(handle, key, call.answer)
            if earlier is not None:
                raise Replayed(earlier)
            result = work(handle, *args, **kwargs)
            store.keep(handle, key, call.answer(result))
            return result

        return store.write(transaction)

    # What an operation is

    def route(  # type: ignore[override] # narrower on purpose: one view, declared in full
        self,
        path: str,
        *,
        methods: list[Method],
        allow: Rule,
        accepts: Any = None,
        query: Any = None,
        returns: Any = None,
        status: int = 200,
        store: Store | None = None,
        key: KeyUse | None = None,
        location: str | None = None,
        live_session: bool = False,
        secret_body: bool = False,
        also: tuple[int, ...] = (),
        content_types: tuple[str, ...] = ("application/json",),
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Declare the operation's one view.

        The view gets the path's ids by their names, the body as `request` and the query as `query`, validated.
        `allow` says who may call (see `itlc.access.Rule`), `store` what the view commits to, `key` whether an
        idempotency key is needed (a POST that names a store may have one), `location` the created resource's path
        (`services/{id}`). `live_session` refuses an access token whose session has ended. `secret_body`
        says that the body holds a password, so that a key's fingerprint is made by a slow hash. `also` lists statuses
        that the view may answer besides, for the OpenAPI document; `content_types` what it may return.
        """
        (method,) = methods

        def declare(view: Callable[P, R]) -> Callable[P, R]:
            keyed: KeyUse = key or ("optional" if method == "POST" and store is not None else "none")
            spec = Route(
                path=path,
                method=method,
                allow=allow,
                view=view,
                accepts=accepts,
                query=query,
                returns=returns,
                status=status,
                key=keyed,
                store=store,
                location=location,
                live_session=live_session,
                secret_body=secret_body,
                also=also,
                content_types=content_types,
            )
            self.route_spec = spec
            _import_rules(spec)
            register = super(Operation, self).route(path, methods=[method], content_types=["*/*"], name=self.name)
            register(lambda **ids: self._serve(spec, ids))
            return view

        return declare

    def consumes(self, queue: str) -> Callable[[Callable[[events.Event], None]], Callable[[events.Event], None]]:
        """Declare that the view applies each event of `queue`. A message for which it raises is tried again, alone;
        one that can never succeed (`Poison`) goes to the dead-letter queue at once, with its reason; one that needs a
        store which is away (`StoreAway`) never becomes a dead letter: before its last try it is put off."""

        def declare(view: Callable[[events.Event], None]) -> Callable[[events.Event], None]:
            self.queue, self.kind = queue, "queue"
            self._entry = lambda event, context: self._consume(queue, view, event["Records"])
            return view

        return declare

    def scheduled(self, view: Callable[[Deadline], dict[str, int]]) -> Callable[[Deadline], dict[str, int]]:
        """Declare a job that runs on the template's schedule. It gets the time by which to stop, and returns what
        it did, as counts for the log. Where one of them is `failed`, and not nought, the run counts as an error."""
        self.kind = "schedule"
        self._entry = lambda event, context: self._run(view, context)
        return view

    def authorizer_of_requests(self, view: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """Declare the API's authorizer (a REQUEST authorizer: it gets the raw event, and returns a policy)."""
        self.kind = "authorizer"
        self._entry = lambda event, context: view(event)
        return view

    def __call__(self, event: Any, context: Any) -> Any:
        """The Lambda handler, for whichever event the operation is declared for."""
        if self._entry is not None:
            return self._entry(event, context)
        return super().__call__(event, context)

    # How a request is served

    def _serve(self, route: Route, ids: dict[str, str]) -> Response:
        request = self._request
        request_id = _request_id(request.headers.get("x-request-id"))
        token = events.request_id.set(request_id)
        with telemetry.call(self.name, "route", request_id) as line:
            try:
                given = self._answer(route, ids, request_id)
            except ItlcError as error:
                given = problem(error, request_id)
                line["problem"] = type(error).__name__
            except Exception as error:
                telemetry.logger(self.name).exception("unexpected", extra={"request_id": request_id})
                given = problem(error, request_id)
                line["problem"] = type(error).__name__
            finally:
                caller = self._call.caller.user_id if self._call else None
                self._call = None
                events.request_id.reset(token)
            line.update(status=given.status, user_id=caller, failed=given.status >= 500)
        return Response(given.body, {**with_standing_headers(given.headers, request_id)}, given.status)

    def _answer(self, route: Route, ids: dict[str, str], request_id: str) -> Answer:
        request = self._request
        path = route.path.format_map(ids)
        caller = _admit(route, request.context.get("authorizer") or {})
        call = self._call = Call(route, request_id, path, caller, IfMatch(request.headers.get("if-match")))
        self._limit(route, caller)
        arguments: dict[str, Any] = read_path(ids, route.path_kinds)
        body = read_json(_bytes(request.raw_body)) if route.method != "GET" else {}
        call.key = self._key(call, request.headers.get("idempotency-key"), body)
        content = read_body(route.body, body)
        if "request" in route.takes:
            arguments["request"] = content
        query = read_query(route.parameters, request.query_params and _all_values(request.query_params))
        if "query" in route.takes:
            arguments["query"] = query
        if isinstance(query, PageQuery):
            call.scope = f"{caller.name} {self.name} {path} {sorted(query.filters.items())}"
            if query.cursor is not None:
                query.begin_after(read_cursor(query.cursor, call.scope))
        return self._once(call, arguments)

    def _limit(self, route: Route, caller: Caller) -> None:
        """Count a write before anything is done for it. Raises TooMany, with when to try again."""
        if route.method == "GET" or route.store is None:
            return
        if caller.user_id is not None:
            limits.check(route.store, caller.name, settings().caller_writes)
        else:
            limits.check(route.store, self.source, settings().address_writes)

    def _once(self, call: Call, arguments: dict[str, Any]) -> Answer:
        key, store = call.key, call.route.store
        try:
            if key is not None and store is not None:
                earlier = store.earlier_answer(key)
                if earlier is not None:
                    raise Replayed(earlier)
            return call.answer(call.route.view(**arguments))
        except Replayed as replayed:
            first = replayed.answer
            return Answer(first.status, first.body, {**first.headers, "Idempotency-Replayed": "true"})
        except (Passing, KeyReused):
            raise
        except REMEMBERED_REFUSALS as error:
            if key is not None and store is not None:
                store.keep_refusal(key, problem(error, call.request_id))
            raise

    def _key(self, call: Call, header: str | None, body: Any) -> Key | None:
        if call.route.key == "none" or (header is None and call.route.key == "optional"):
            return None
        if header is None:
            raise Malformed("This operation moves money: send an Idempotency-Key header, one for each intent.")
        if not KEY_FORM.fullmatch(header):
            raise Malformed("Idempotency-Key: must be 1 to 255 printable ASCII characters.")
        caller = call.caller.name
        if call.route.secret_body:
            hashed = slow_fingerprint(call.path, body, f"{caller} {self.name} {header}")
        else:
            hashed = fingerprint(call.path, body)
        return Key(caller, self.name, header, hashed)

    # How messages and schedules are served

    def _consume(self, queue: str, view: Callable[[events.Event], None], records: list[Any]) -> dict[str, Any]:
        failures = []
        for record in records:
            with telemetry.call(self.name, "message", None) as line:
                line.update(message_id=record["messageId"], receives=record["attributes"]["ApproximateReceiveCount"])
                try:
                    self._apply(queue, view, record, line)
                except Exception as error:
                    line.update(failed=True, problem=type(error).__name__)
                    telemetry.logger(self.name).exception("message failed", extra={"message_id": record["messageId"]})
                    failures.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failures}

    def _apply(
        self, queue: str, view: Callable[[events.Event], None], record: dict[str, Any], line: dict[str, Any]
    ) -> None:
        body = record["body"]
        token = events.request_id.set(None)
        try:
            event = events.read_event(queue, body)
            line.update(event_id=event.id, event_type=event.type, about=event.aggregate, request_id=event.request_id)
            events.request_id.set(event.request_id)
            view(event)
        except Poison as poison:
            line["poison"] = poison.reason
            events.bury(queue, body, poison.reason)
        except StoreAway:
            if int(record["attributes"]["ApproximateReceiveCount"]) < LAST_TRY_BUT_ONE:
                raise
            line["put_off"] = True
            events.put_off(queue, body, _first_sent(record))
            telemetry.count_put_off()
        finally:
            events.request_id.reset(token)

    def _run(self, view: Callable[[Deadline], dict[str, int]], context: Any) -> dict[str, int]:
        with telemetry.call(self.name, "schedule", None) as line:
            seconds_left = context.get_remaining_time_in_millis() / 1000
            done = view(Deadline(time.monotonic() + seconds_left * 0.7))
            line.update(done)
        return done


def _first_sent(record: dict[str, Any]) -> str:
    """When a message was sent, before it was put off for the first time, in milliseconds since 1970."""
    carried = record["messageAttributes"].get(events.FIRST_SENT)
    return str(carried["stringValue"] if carried else record["attributes"]["SentTimestamp"])


def _import_rules(route: Route) -> None:
    """Import, while the function starts, what admission will need of other domains."""
    if route.allow in ("provider", "admin") or route.live_session:
        import itlc.admission  # noqa: F401


def _admit(route: Route, identity: dict[str, str]) -> Caller:
    """The caller, once the route's rule admits them. The authorizer's context holds strings only."""
    caller = Caller()
    if identity.get("user_id"):
        if int(identity["expires_at"]) <= time.time():
            raise Unauthenticated("The access token has expired: refresh it, or sign in.")
        caller = Caller(int(identity["user_id"]), identity["session_id"], identity.get("is_admin") == "true")
    if route.allow == "anyone":
        return caller
    if caller.user_id is None:
        raise Unauthenticated("Sign in, and send the access token as `Authorization: Bearer …`.")
    if route.allow in ("provider", "admin") or route.live_session:
        from itlc.admission import admit

        return admit(caller, route.allow, live_session=route.live_session)
    return caller


def _request_id(given: str | None) -> str:
    """The id that came in, to the letter, where it is a UUID; else a new one."""
    return given if given and UUID_FORM.fullmatch(given) else str(uuid.uuid4())


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _all_values(parameters: Any) -> dict[str, list[str]]:
    return {name: parameters.getlist(name) for name in parameters}
