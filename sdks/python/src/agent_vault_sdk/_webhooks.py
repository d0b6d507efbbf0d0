"""Webhooks of a vault, or of the instance: what is answered, and the calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Sequence

from . import _read
from ._calls import Call, segment


@dataclass(frozen=True)
class Webhook:
    """A webhook."""

    created_at: str
    delivered_at: str | None
    description: str
    #: Events that found its queue full.
    dropped: int
    #: Empty for all.
    events: list[str]
    failing_since: str | None
    #: Failed attempts since the last good one.
    failures: int
    former_secret_until: str | None
    id: str
    #: Why the last attempt failed; empty after a good one.
    last_error: str
    parked_at: str | None
    #: What waits to be sent.
    pending: int
    #: `active`; `parked` when it did not answer for long; `off`.
    state: str
    updated_at: str
    url: str


def read_webhook(value: Any, path: str) -> Webhook:
    of = _read.fields(value, path)
    return Webhook(
        created_at=of("created_at", _read.text),
        delivered_at=of("delivered_at", _read.or_none(_read.text)),
        description=of("description", _read.text),
        dropped=of("dropped", _read.integer),
        events=of("events", _read.items(_read.text)),
        failing_since=of("failing_since", _read.or_none(_read.text)),
        failures=of("failures", _read.integer),
        former_secret_until=of("former_secret_until", _read.or_none(_read.text)),
        id=of("id", _read.text),
        last_error=of("last_error", _read.text),
        parked_at=of("parked_at", _read.or_none(_read.text)),
        pending=of("pending", _read.integer),
        state=of("state", _read.text),
        updated_at=of("updated_at", _read.text),
        url=of("url", _read.text),
    )


@dataclass(frozen=True)
class WebhookDelivery:
    """An event for a webhook."""

    attempts: int
    created_at: str
    ended_at: str | None
    #: Why the last attempt failed; empty when it did not.
    error: str
    event: str
    event_id: str
    next_attempt_at: str | None
    #: Status of the last answer, if there was one.
    response_status: int | None
    #: `pending`, `delivered` or `failed`.
    status: str


def read_webhook_delivery(value: Any, path: str) -> WebhookDelivery:
    of = _read.fields(value, path)
    return WebhookDelivery(
        attempts=of("attempts", _read.integer),
        created_at=of("created_at", _read.text),
        ended_at=of("ended_at", _read.or_none(_read.text)),
        error=of("error", _read.text),
        event=of("event", _read.text),
        event_id=of("event_id", _read.text),
        next_attempt_at=of("next_attempt_at", _read.or_none(_read.text)),
        response_status=of("response_status", _read.or_none(_read.integer)),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class WebhookWithSecret:
    """A webhook and its signing secret, which is shown this once."""

    created_at: str
    delivered_at: str | None
    description: str
    #: Events that found its queue full.
    dropped: int
    #: Empty for all.
    events: list[str]
    failing_since: str | None
    #: Failed attempts since the last good one.
    failures: int
    former_secret_until: str | None
    id: str
    #: Why the last attempt failed; empty after a good one.
    last_error: str
    parked_at: str | None
    #: What waits to be sent.
    pending: int
    #: `active`; `parked` when it did not answer for long; `off`.
    state: str
    updated_at: str
    url: str
    #: `whsec_` and base64. Shown once.
    secret: str = field(repr=False)


def read_webhook_with_secret(value: Any, path: str) -> WebhookWithSecret:
    of = _read.fields(value, path)
    return WebhookWithSecret(
        created_at=of("created_at", _read.text),
        delivered_at=of("delivered_at", _read.or_none(_read.text)),
        description=of("description", _read.text),
        dropped=of("dropped", _read.integer),
        events=of("events", _read.items(_read.text)),
        failing_since=of("failing_since", _read.or_none(_read.text)),
        failures=of("failures", _read.integer),
        former_secret_until=of("former_secret_until", _read.or_none(_read.text)),
        id=of("id", _read.text),
        last_error=of("last_error", _read.text),
        parked_at=of("parked_at", _read.or_none(_read.text)),
        pending=of("pending", _read.integer),
        state=of("state", _read.text),
        updated_at=of("updated_at", _read.text),
        url=of("url", _read.text),
        secret=of("secret", _read.text),
    )


def list_webhooks(path: str) -> Call[list[Webhook]]:
    return Call("GET", path, _read.at("webhooks", _read.items(read_webhook)))


def get_webhook(path: str, id: str) -> Call[Webhook]:
    return Call("GET", _one(path, id), read_webhook)


def create_webhook(
    path: str, url: str, description: str | None, events: Sequence[str] | None
) -> Call[WebhookWithSecret]:
    body = {"url": url, "description": description, "events": None if events is None else list(events)}
    return Call("POST", path, read_webhook_with_secret, body=body)


def change_webhook(
    path: str,
    id: str,
    url: str | None,
    description: str | None,
    events: Sequence[str] | None,
    enabled: bool | None,
) -> Call[Webhook]:
    listed = None if events is None else list(events)
    body = {"url": url, "description": description, "events": listed, "enabled": enabled}
    return Call("PATCH", _one(path, id), read_webhook, body=body)


def remove_webhook(path: str, id: str) -> Call[None]:
    return Call("DELETE", _one(path, id), _read.nothing)


def rotate_webhook(path: str, id: str, overlap_seconds: int | None) -> Call[WebhookWithSecret]:
    body = {"overlap_seconds": overlap_seconds}
    return Call("POST", f"{_one(path, id)}/rotate", read_webhook_with_secret, body=body)


def test_webhook(path: str, id: str) -> Call[str]:
    return Call("POST", f"{_one(path, id)}/test", _read.at("event_id", _read.text))


def deliveries(path: str, id: str, limit: int | None) -> Call[list[WebhookDelivery]]:
    read = _read.at("deliveries", _read.items(read_webhook_delivery))
    return Call("GET", f"{_one(path, id)}/deliveries", read, query={"limit": limit})


def _one(path: str, id: str) -> str:
    return f"{path}/{segment(id, 'a webhook')}"
