"""What the client does by itself, with answers of the test's."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import runpy
from pathlib import Path
from typing import Any, Callable, Iterator

import httpx
import pytest

import agent_vault_sdk as sdk
from agent_vault_sdk import AgentVault, AgentVaultError, ApiError, AsyncAgentVault, NetworkError, VaultClient

TOKEN = "av_agt_secret-token"
HERE = Path(__file__).parents[1]
Answer = Any


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body of these pieces, which then ends or breaks."""

    def __init__(self, *parts: str | bytes, broken: bool = False) -> None:
        self.parts = [part.encode() if isinstance(part, str) else part for part in parts]
        self.broken = broken
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self.parts
        if self.broken:
            raise httpx.RemoteProtocolError("peer closed connection")

    async def __aiter__(self) -> Any:
        for part in self:
            yield part

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


def scripted(*answers: Answer) -> tuple[Callable[[httpx.Request], httpx.Response], list[httpx.Request]]:
    """Gives these answers in turn, the last for ever, and keeps the requests."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Pieces):
            return httpx.Response(200, stream=answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return handle, seen


def client(*answers: Answer, address: str = "http://vault.test/", retries: int = 2) -> tuple[AgentVault, list[httpx.Request]]:
    handle, seen = scripted(*answers)
    http = httpx.Client(transport=httpx.MockTransport(handle))
    return AgentVault(TOKEN, address=address, client=http, retries=retries), seen


VAULTS = httpx.Response(200, json={"vaults": []})
BUSY = httpx.Response(503, json={"error": "busy"})


def test_versions_and_the_async_half_are_up_to_date() -> None:
    assert f'version = "{sdk.VERSION}"' in (HERE / "pyproject.toml").read_text()
    made = runpy.run_path(str(HERE / "scripts" / "make_async.py"))["made"]()
    assert made == (HERE / "src/agent_vault_sdk/_async.py").read_text(), "run scripts/make_async.py"


def test_token_and_address_come_from_arguments_then_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENT_VAULT_TOKEN", raising=False)
    with pytest.raises(AgentVaultError, match="token is required"):
        AgentVault()
    monkeypatch.setenv("AGENT_VAULT_TOKEN", "from-environment")
    monkeypatch.setenv("AGENT_VAULT_ADDR", "http://from.environment//")
    monkeypatch.setenv("AGENT_VAULT_VAULT", "chosen")
    with pytest.raises(AgentVaultError, match="token is required"):
        AgentVault("")
    handle, seen = scripted(httpx.Response(200, json={"keys": []}))
    VaultClient(client=httpx.Client(transport=httpx.MockTransport(handle))).credentials.list()
    assert str(seen[0].url) == "http://from.environment/v1/credentials?vault=chosen"
    assert (seen[0].headers["authorization"], seen[0].headers["x-vault"]) == ("Bearer from-environment", "chosen")
    assert seen[0].headers["user-agent"] == f"agent-vault-sdk-python/{sdk.VERSION}"


def test_only_reads_are_tried_again() -> None:
    av, seen = client(httpx.ConnectError("refused"), BUSY, VAULTS)
    assert av.list_vaults() == [] and len(seen) == 3
    av, seen = client(BUSY)
    with pytest.raises(ApiError):
        av.create_vault("a")
    assert len(seen) == 1
    av, seen = client(httpx.ConnectError("refused"))
    with pytest.raises(NetworkError):
        av.create_vault("a")
    assert len(seen) == 1
    # With a 429 nothing was done.
    av, seen = client(httpx.Response(429), httpx.Response(201, json={"id": "i", "name": "a", "created_at": "t"}))
    assert av.create_vault("a").id == "i" and len(seen) == 2
    av, seen = client(httpx.Response(429, headers={"retry-after": "60"}))
    with pytest.raises(ApiError) as caught:
        av.list_vaults()
    assert caught.value.retry_after == 60 and len(seen) == 1


def test_so_it_is_without_blocking() -> None:
    async def reads() -> None:
        handle, seen = scripted(httpx.ConnectError("refused"), BUSY, VAULTS)
        http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
        av = AsyncAgentVault(TOKEN, address="http://vault.test", client=http)
        assert await av.list_vaults() == [] and len(seen) == 3

        async def never(_: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

        endless = httpx.AsyncClient(transport=httpx.MockTransport(never))
        av = AsyncAgentVault(TOKEN, address="http://vault.test", client=endless, timeout=0.03)
        with pytest.raises(sdk.TimeoutError, match=r"GET /v1/vaults timed out after 0.03 s"):
            await av.list_vaults()

    asyncio.run(reads())


def test_errors_are_typed() -> None:
    cause = httpx.ConnectError("refused")
    av, _ = client(cause, retries=0)
    with pytest.raises(NetworkError, match="refused") as lost:
        av.list_vaults()
    assert lost.value.__cause__ is cause
    av, _ = client(httpx.ReadTimeout("slow"))
    with pytest.raises(sdk.TimeoutError):
        av.list_vaults()
    candidates = [{"name": "a", "host": "x"}]
    body = {"error": "ambiguous", "message": "which?", "hint": "say the name", "candidates": candidates}
    av, _ = client(httpx.Response(409, json=body))
    with pytest.raises(ApiError) as caught:
        av.vault("v").services.remove("x")
    error = caught.value
    assert (error.status, error.code, error.message, error.hint) == (409, "ambiguous", "which?", "say the name")
    assert list(error.candidates) == candidates and isinstance(error, sdk.ConflictError)
    assert str(error) == "which? (say the name)" and str(pickle.loads(pickle.dumps(error))) == str(error)
    kinds = {
        401: sdk.UnauthorizedError,
        403: sdk.ForbiddenError,
        404: sdk.NotFoundError,
        412: sdk.VersionConflictError,
        429: sdk.RateLimitedError,
    }
    for status, kind in kinds.items():
        av, _ = client(httpx.Response(status, json={}), retries=0)
        with pytest.raises(kind):
            av.create_vault("a")
    av, _ = client(httpx.Response(500, text="<html>"))
    with pytest.raises(ApiError, match="Internal Server Error"):
        av.list_vaults()
    # What is wrong with an answer is said without a part of it, or a cause that has one.
    for wrong, said in (("hello", "is not JSON"), ('{"vaults": [{"id": "secret"}]}', r"`vaults\[0\]\.created_at` is not text")):
        av, _ = client(httpx.Response(200, text=wrong))
        with pytest.raises(AgentVaultError, match=said) as odd:
            av.list_vaults()
        assert odd.value.__cause__ is None and odd.value.__suppress_context__ and "secret" not in str(odd.value)


def test_tokens_and_values_show_nowhere() -> None:
    minted = httpx.Response(200, json={"id": "i", "token": "av_sess_secret", "expires_at": "t", "av_addr": "a"})
    av, _ = client(httpx.Response(200, text="PEM"), minted, httpx.Response(401, json={"error": "unauthorized"}))
    session = av.vault("v").sessions.create()
    with pytest.raises(ApiError) as caught:
        av.list_vaults()
    shown = f"{session!r} {session.container_config!r} {av!r} {av.vault('v')!r} {caught.value!r} {caught.value}"
    assert session.token == "av_sess_secret" and "secret" not in shown
    assert "secret" not in repr(sdk.Credentials(["K"], {"K": "secret"}))
    listed = {"keys": ["K"], "credentials": [{"key": "K", "type": "static", "value": "not-shown", "version": 1}]}
    av, _ = client(httpx.Response(200, json=listed))
    (described,) = av.vault("v").credentials.describe()
    assert described.value == "not-shown" and "not-shown" not in repr(described)
    made = {"name": "a", "role": "member", "av_agent_token": "secret", "created_at": "t", "vaults": []}
    av, _ = client(httpx.Response(201, json=made))
    agent = av.agents.create("a")
    assert agent.token == "secret" and "secret" not in repr(agent)

    for token in ("secret\n", "secret token", "secr\u00e9t"):
        with pytest.raises(AgentVaultError) as bad:
            AgentVault(token)
        assert "secr" not in repr(bad.value)
    for address in ("http://user:secret@vault.test", "secret", "ftp://secret", "http://vault.test?secret", "http://v:secret"):
        with pytest.raises(AgentVaultError) as bad:
            AgentVault(TOKEN, address=address)
        assert "secret" not in repr(bad.value) and bad.value.__cause__ is None
    # Another server may answer with what it was sent.
    echo = {"error": "bad", "message": f"Bearer {TOKEN}", "hint": TOKEN}
    av, _ = client(httpx.Response(400, json=echo))
    with pytest.raises(ApiError) as echoed:
        av.list_vaults()
    assert echoed.value.message == "Bearer [token]" and TOKEN not in repr(vars(echoed.value))


def test_a_name_is_one_segment_of_the_path() -> None:
    both = {"name": "n", "deleted": True, "vault": "v", "removed": "n", "removed_host": "h", "services_count": 0}
    av, seen = client(httpx.Response(200, json=both))
    av.delete_vault("a b/c")
    av.vault("v").services.remove("*.example.com")
    assert [r.url.raw_path for r in seen] == [b"/v1/vaults/a%20b%2Fc", b"/v1/vaults/v/services/*.example.com"]
    for name in ("", ".", ".."):
        with pytest.raises(AgentVaultError):
            av.delete_vault(name)
    assert len(seen) == 2
    misspelt: Any = {"colour": "red"}
    for narrowed in (av.vault("v").logs.list, av.audit.list):
        with pytest.raises(TypeError, match="colour"):
            narrowed(**misspelt)
    with pytest.raises(TypeError, match="colour"):
        list(av.vault("v").logs.export(**misspelt))
    assert len(seen) == 2


def test_a_failed_read_of_the_ca_leaves_no_token_and_is_not_remembered() -> None:
    minted = httpx.Response(200, json={"id": "i", "token": "a/b", "expires_at": "t", "av_addr": "a"})
    pem = httpx.Response(200, text="PEM", headers={"x-mitm-port": "15000"})
    failed = httpx.Response(500, json={"error": "internal"})
    av, seen = client(failed, httpx.Response(404), minted, pem, minted, minted, address="http://[::1]:14321")
    sessions = av.vault("v w").sessions
    with pytest.raises(ApiError):
        sessions.create()
    assert len(seen) == 1
    assert sessions.create().container_config is None
    config = sessions.create().container_config
    assert config == sdk.ContainerConfig("http://a%2Fb:v%20w@[::1]:15000", "localhost,127.0.0.1,::1", "PEM")
    elsewhere = sessions.create(proxy_host="host.docker.internal").container_config
    assert elsewhere is not None and elsewhere.proxy_url.endswith("@host.docker.internal:15000")
    assert len(seen) == 6


def test_writes_say_what_they_rest_on_and_dry_runs_what_they_would_do() -> None:
    done = httpx.Response(200, json={"vault": "v", "upserted": ["n"], "services_count": 1}, headers={"etag": '"4"'})
    av, seen = client(done, httpx.Response(412, json={"error": "stale", "message": "changed"}))
    services = av.vault("v").services
    one: sdk.Service = {"name": "n", "host": "h", "auth": {"type": "passthrough"}}
    assert services.set([one], if_revision=3, expected={"n": None}).revision == 4
    assert json.loads(seen[0].content) == {"services": [one], "expected": {"n": None}}
    with pytest.raises(sdk.VersionConflictError):
        services.remove("n", if_version="abc")
    assert [request.headers["if-match"] for request in seen] == ['"3"', '"abc"']

    before, after = {**one, "enabled": True}, {**one, "host": "g"}
    change = {"name": "n", "change": "changed", "before": before, "after": after}
    plan = {"vault": "v", "dry_run": True, "services_count": 1, "revision": 3, "changes": [change]}
    av, seen = client(httpx.Response(200, json=plan))
    (planned,) = av.vault("v").services.dry_run.replace_all([one]).changes
    assert seen[0].url.params["dry_run"] == "true"
    assert sdk.diff_service(planned.before, planned.after) == [
        sdk.FieldChange("host", "h", "g"),
        sdk.FieldChange("enabled", True, None),
    ]
    assert len(sdk.diff_service(None, one)) == 3


def row(id: int) -> str:
    texts = "created_at method host ingress decision matched_service actor_type actor_id actor_name session label error_code"
    made: dict[str, Any] = dict.fromkeys(texts.split(), "t")
    made |= {"credential_keys": [], "credential_versions": [], "warnings": []}
    made |= {"id": id, "path": "/\u2028", "status": 200, "latency_ms": 1, "scrubs": 0}
    return json.dumps(made, ensure_ascii=False)


def line(id: int) -> str:
    return f"{row(id)}\n"


def event(id: int) -> str:
    return f"id: {id}\nevent: log\ndata: {row(id)}\n\n"


def searches(seen: list[httpx.Request]) -> list[str]:
    return [request.url.query.decode() for request in seen]


def test_an_export_that_breaks_off_goes_on_and_a_cut_one_is_not_taken_for_whole() -> None:
    text = f"{line(1)}{line(2)}".encode()
    split = [text[index : index + 1] for index in range(len(text))]
    av, seen = client(Pieces(*split, '{"id":3'), Pieces(line(3), broken=True), Pieces(line(4)))
    rows = [(found.id, found.path) for found in av.vault("v").logs.export(host="h")]
    assert rows == [(id, "/\u2028") for id in (1, 2, 3, 4)]
    assert searches(seen) == ["host=h", "host=h&after=2", "host=h&after=3"]
    av, seen = client(Pieces("{"), retries=1)
    with pytest.raises(NetworkError, match="broke off"):
        list(av.vault("v").logs.export())
    assert len(seen) == 2
    av, seen = client(Pieces('{"head": 1}\n{"seq":1, "x": 1}\n', broken=True), Pieces('{"seq":2}\n'))
    assert list(av.audit.export(limit=2)) == ['{"head": 1}', '{"seq":1, "x": 1}', '{"seq":2}']
    assert searches(seen) == ["limit=2", "after=1&limit=1"]


def stream_answers() -> list[Answer]:
    return [
        httpx.Response(200, json={"logs": [], "latest_id": 5}),
        Pieces("retry: 1\n\n:\n\n", broken=True),
        BUSY,
        Pieces(f"retry: 1\r\n\r\n{event(6)[:30]}", event(6)[30:], event(7).replace("\n", "\r\n"), "id: 8\nevent: log\nda"),
        httpx.ConnectError("refused"),
        Pieces(event(7), event(8), 'event: end\ndata: {"error":"not a member"}\n\n'),
    ]


def check_stream(ids: list[int], seen: list[httpx.Request]) -> None:
    assert ids == [6, 7, 8]
    assert [request.headers.get("last-event-id") for request in seen] == [None, "5", "5", "5", "7", "7"]
    assert searches(seen)[1:] == ["host=h"] * 5


def test_a_stream_goes_on_after_every_kind_of_break_without_a_gap_and_without_a_row_twice() -> None:
    av, seen = client(*stream_answers())
    ids = []
    with pytest.raises(sdk.StreamEndedError, match="not a member"):
        for found in av.vault("v").logs.follow(host="h"):
            ids.append(found.id)
    check_stream(ids, seen)
    # Leaving the loop closes the answer; a refusal is not waited out.
    body = Pieces(event(1), event(2))
    av, _ = client(body)
    follow = av.vault("v").logs.follow(after=0)
    assert next(iter(follow)).id == 1
    del follow
    assert body.closed == 1
    av, seen = client(httpx.Response(403, json={"error": "forbidden"}))
    with pytest.raises(sdk.ForbiddenError):
        next(iter(av.vault("v").logs.follow(after=0)))
    assert len(seen) == 1


def test_so_does_one_without_blocking() -> None:
    async def follow() -> None:
        handle, seen = scripted(*stream_answers())
        http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
        av = AsyncAgentVault(TOKEN, address="http://vault.test", client=http)
        ids = []
        with pytest.raises(sdk.StreamEndedError, match="not a member"):
            async for found in av.vault("v").logs.follow(host="h"):
                ids.append(found.id)
        check_stream(ids, seen)
        handle, seen = scripted(Pieces(line(1), broken=True), Pieces(line(2)))
        http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
        av = AsyncAgentVault(TOKEN, address="http://vault.test", client=http)
        assert [found.id async for found in av.vault("v").logs.export()] == [1, 2]
        assert searches(seen) == ["", "after=1"]

    asyncio.run(follow())


def proposal(status: str) -> httpx.Response:
    texts = dict.fromkeys(("message", "created_at", "expires_at", "review_note"), "t")
    return httpx.Response(200, json={**texts, "id": 1, "status": status, "services": [], "credentials": []})


def test_a_wait_for_a_decision_outlasts_failures_that_pass_and_no_others() -> None:
    av, seen = client(proposal("pending"), BUSY, httpx.ConnectError("refused"), proposal("applied"), retries=0)
    assert av.vault("v").proposals.wait(1, interval=0.01).status == "applied"
    assert len(seen) == 4
    av, _ = client(httpx.Response(404, json={}))
    with pytest.raises(sdk.NotFoundError):
        av.vault("v").proposals.wait(1)
    av, _ = client(proposal("pending"))
    with pytest.raises(sdk.TimeoutError, match="nobody has decided"):
        av.vault("v").proposals.wait(1, interval=0.01, timeout=0.03)


def test_pages_follow_each_other_until_there_is_none_in_both_directions() -> None:
    def page(id: int, next: int | None) -> httpx.Response:
        return httpx.Response(200, json={"logs": [json.loads(row(id))], "next_cursor": next, "latest_id": 9})

    av, seen = client(page(3, 3), page(2, None))
    assert [found.id for found in av.vault("v").logs.all()] == [3, 2]
    assert searches(seen) == ["", "before=3"]
    av, seen = client(page(3, 3), page(4, None))
    assert [found.id for found in av.vault("v").logs.all(after=1)] == [3, 4]
    assert searches(seen) == ["after=1", "after=3"]


def test_the_childs_environment() -> None:
    env = sdk.build_proxy_env(sdk.ContainerConfig("p", "n", "PEM"), "/ca.pem")
    assert list(env) == [
        *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "NODE_USE_ENV_PROXY", "OPENCLAW_PROXY_URL", "SSL_CERT_FILE"),
        *("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "DENO_CERT"),
    ]
    # Every spelling that `agent-vault run` knows.
    source = (HERE.parents[1] / "crates/agent-vault/src/run/environment.rs").read_text()
    wanted = {"NODE_USE_ENV_PROXY"}
    for name in ("PROXY", "NO_PROXY", "BUNDLE"):
        found = re.search(rf"\nconst {name}: &\[&str\] = &\[(.*?)\];", source, re.S)
        assert found is not None
        wanted.update(re.findall(r'"(\w+)"', found[1]))
    assert set(sdk.build_proxy_env(sdk.ContainerConfig("p", "n", "PEM"), "/ca.pem", every_runtime=True)) == wanted
