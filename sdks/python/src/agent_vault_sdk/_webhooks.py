"""Webhooks of a vault, or of the instance: the calls."""

from __future__ import annotations

from typing import Sequence

from . import _models as m
from . import _read
from ._calls import Call, segment


def list_webhooks(path: str) -> Call[list[m.Webhook]]:
    return Call("GET", path, _read.at("webhooks", _read.items(m.read_webhook)))


def get_webhook(path: str, id: str) -> Call[m.Webhook]:
    return Call("GET", _one(path, id), m.read_webhook)


def create_webhook(
    path: str, url: str, description: str | None, events: Sequence[str] | None
) -> Call[m.WebhookWithSecret]:
    body = {"url": url, "description": description, "events": None if events is None else list(events)}
    return Call("POST", path, m.read_webhook_with_secret, body=body)


def change_webhook(
    path: str,
    id: str,
    url: str | None,
    description: str | None,
    events: Sequence[str] | None,
    enabled: bool | None,
) -> Call[m.Webhook]:
    listed = None if events is None else list(events)
    body = {"url": url, "description": description, "events": listed, "enabled": enabled}
    return Call("PATCH", _one(path, id), m.read_webhook, body=body)


def remove_webhook(path: str, id: str) -> Call[None]:
    return Call("DELETE", _one(path, id), _read.nothing)


def rotate_webhook(path: str, id: str, overlap_seconds: int | None) -> Call[m.WebhookWithSecret]:
    body = {"overlap_seconds": overlap_seconds}
    return Call("POST", f"{_one(path, id)}/rotate", m.read_webhook_with_secret, body=body)


def test_webhook(path: str, id: str) -> Call[str]:
    return Call("POST", f"{_one(path, id)}/test", _read.at("event_id", _read.text))


def deliveries(path: str, id: str, limit: int | None) -> Call[list[m.WebhookDelivery]]:
    read = _read.at("deliveries", _read.items(m.read_webhook_delivery))
    return Call("GET", f"{_one(path, id)}/deliveries", read, query={"limit": limit})


def _one(path: str, id: str) -> str:
    return f"{path}/{segment(id, 'a webhook')}"
