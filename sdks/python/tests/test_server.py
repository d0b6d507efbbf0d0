"""The whole journey against the real server and through its proxy, sync and async."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from agent_vault_sdk import (
    AgentVault,
    ApiError,
    AsyncAgentVault,
    AsyncVaultClient,
    ConflictError,
    ContainerConfig,
    CredentialSlot,
    CredentialStore,
    ForbiddenError,
    NotFoundError,
    OAuthSlot,
    Service,
    StreamEndedError,
    VaultClient,
    VersionConflictError,
    build_proxy_env,
    diff_service,
)

from .conftest import PATIENCE, Server

SECRET = "live-key-0123456789abcdef"


def service(server: Server) -> Service:
    return {"name": "demo", "host": server.upstream, "auth": {"type": "bearer", "token": "DEMO_API_KEY"}}


def through_the_proxy(server: Server, config: ContainerConfig, path: str) -> int:
    """The status of the upstream, or of the proxy's refusal."""
    trust = ssl.create_default_context(cadata=config.ca_certificate)
    with httpx.Client(proxy=build_proxy_env(config, "")["HTTPS_PROXY"], verify=trust, trust_env=False) as client:
        try:
            return client.get(f"https://{server.upstream}{path}", timeout=30).status_code
        except httpx.ProxyError as refusal:
            return int(str(refusal)[:3])


def refused(status: int) -> pytest.RaisesExc[ApiError]:
    return pytest.RaisesExc(ApiError, check=lambda error: error.status == status)


def test_a_vault_from_its_making_to_a_request_its_log_and_the_tokens_end(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as owner:
        assert owner.create_vault("journey").name == "journey"
        assert "journey" in [vault.name for vault in owner.list_vaults()]
        agent = owner.agents.create("orchestrator", vaults={"journey": "admin"})

    with AgentVault(agent.token, address=server.url) as av:
        vault = av.vault("journey")
        assert vault.credentials.set({"DEMO_API_KEY": SECRET, "OTHER": "short"}).set == ["DEMO_API_KEY", "OTHER"]
        assert vault.credentials.list().values is None
        assert vault.credentials.list(reveal=True, key="DEMO_API_KEY").values == {"DEMO_API_KEY": SECRET}
        assert vault.credentials.delete(["OTHER"]) == ["OTHER"]
        assert vault.credentials.list().keys == ["DEMO_API_KEY"]

        assert vault.services.set([service(server)]).upserted == ["demo"]
        assert vault.services.get("demo").service["auth"] == service(server)["auth"]
        assert [used.name for used in vault.services.credential_usage("DEMO_API_KEY")] == ["demo"]

        session = vault.sessions.create(ttl_seconds=600, label="job 7")
        config = session.container_config
        assert config is not None and config.no_proxy == "localhost,127.0.0.1,127.0.0.1"
        assert config.proxy_url.endswith(f"@127.0.0.1:{server.proxy_port}")
        assert through_the_proxy(server, config, "/sync") == 200
        assert [r["headers"]["authorization"] for r in server.received() if r["path"] == "/sync"] == [f"Bearer {SECRET}"]

        with VaultClient(session.token, address=server.url) as scoped:
            assert scoped.credentials.list().keys == ["DEMO_API_KEY"]
            assert scoped.discover().available_credentials == ["DEMO_API_KEY"]
            assert [(s.id, s.label) for s in vault.sessions.list()] == [(session.id, "job 7")]

            # Rows are written behind the requests.
            end = time.monotonic() + PATIENCE
            rows = list(vault.logs.all(session=session.id, limit=1))
            while not rows and time.monotonic() < end:
                rows = list(vault.logs.all(session=session.id, limit=1))
            assert [(r.path, r.status, r.matched_service, r.credential_keys) for r in rows] == [
                ("/sync", 200, "demo", ["DEMO_API_KEY"])
            ]

            vault.sessions.revoke(session.id)
            assert vault.sessions.list() == []
            assert through_the_proxy(server, config, "/after") == 407
            with refused(401):
                scoped.credentials.list()

        assert vault.services.set_enabled("demo", False).name == "demo"
        assert vault.services.remove("demo").services_count == 0
        with refused(404):
            vault.services.remove("demo")
        assert vault.services.replace_all([service(server)]).services_count == 1
        vault.services.clear()
        assert vault.services.list().services == []


def test_the_same_without_blocking(server: Server) -> None:
    async def journey() -> None:
        async with AsyncAgentVault(server.token, address=server.url) as av:
            await av.create_vault("async")
            vault = av.vault("async")
            await vault.credentials.set({"DEMO_API_KEY": SECRET})
            await vault.services.set([service(server)])
            first, second = await asyncio.gather(vault.sessions.create(label="a"), vault.sessions.create(label="b"))
            assert {s.label for s in await vault.sessions.list()} == {"a", "b"}
            config = first.container_config
            assert config is not None
            assert await asyncio.to_thread(through_the_proxy, server, config, "/async") == 200
            end = time.monotonic() + PATIENCE
            rows = [row async for row in vault.logs.all(session=first.id)]
            while not rows and time.monotonic() < end:
                rows = [row async for row in vault.logs.all(session=first.id)]
            assert [(row.path, row.label) for row in rows] == [("/async", "a")]
            await vault.sessions.revoke(first.id)
            assert await asyncio.to_thread(through_the_proxy, server, config, "/after") == 407
            assert [s.id for s in await vault.sessions.list()] == [second.id]
            with refused(404):
                await vault.services.get("nothing")

    asyncio.run(journey())
    received = [r["headers"]["authorization"] for r in server.received() if r["path"] == "/async"]
    assert received == [f"Bearer {SECRET}"]


def test_who_writes_on_old_ground_is_told_so_and_dry_runs_show_what_would_change(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("ground")
        vault = av.vault("ground")
        vault.credentials.set({"A": "first-0123456789", "B": "second-0123456789"})
        one: Service = {"name": "one", "host": "api.example.com", "auth": {"type": "bearer", "token": "A"}}
        other: Service = {"name": "other", "host": "api.example.org", "auth": {"type": "bearer", "token": "B"}}
        services = vault.services
        first = services.set([one], expected={"one": None})
        with pytest.raises(VersionConflictError):
            services.set([one], expected={"one": None})
        version = services.get("one").version
        assert services.list().versions == {"one": version}
        plan = services.dry_run.set([{**one, "auth": {"type": "bearer", "token": "B"}}, other])
        assert [(c.name, c.change) for c in plan.changes] == [("one", "changed"), ("other", "added")]
        assert [d.field for d in diff_service(plan.changes[0].before, plan.changes[0].after)] == ["auth"]
        assert plan.revision == first.revision and len(services.list().services) == 1
        services.set([other], if_revision=plan.revision)
        with pytest.raises(VersionConflictError):
            services.replace_all([], if_revision=plan.revision)
        assert [c.change for c in services.dry_run.clear().changes] == ["removed", "removed"]
        assert not services.set_enabled("one", False, if_version=version).enabled
        with pytest.raises(VersionConflictError):
            services.remove("one", if_version=version)
        tested = services.test("https://api.example.org/v1?q=1", headers={"accept": "text/plain"})
        assert tested.service is not None and (tested.decision, tested.service.name) == ("inject", "other")
        assert all("second" not in sent.value for sent in tested.sets)
        with pytest.raises(ConflictError):
            av.create_vault("ground")


def test_former_values_of_a_credential_come_back_and_end(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("versions")
        credentials = av.vault("versions").credentials
        credentials.set({"K": "first-0123456789"})
        credentials.set({"K": "second-0123456789"}, expires_at="2099-01-01T00:00:00Z")
        (former,) = [v.version for v in credentials.versions("K").versions if not v.current]
        version = credentials.roll_back("K", former).version
        assert credentials.list(reveal=True, key="K").values == {"K": "first-0123456789"}
        (described,) = credentials.describe(key="K")
        assert (described.key, described.version, described.value) == ("K", version, None)
        assert (credentials.expire("K", "2099-01-01T00:00:00Z").expires_at or "").startswith("2099")
        assert credentials.expire("K", None).expires_at is None
        assert credentials.delete_version("K", former).deleted == former


def test_an_agent_proposes_a_person_decides_the_agent_hears_of_it(server: Server) -> None:
    async def ask(token: str, decide: AgentVault) -> None:
        person = decide.vault("asked")
        async with AsyncVaultClient(token, address=server.url, vault="asked") as asker:
            raised = await asker.proposals.create(
                services=[
                    {
                        "action": "set",
                        "name": "wanted",
                        "host": "api.example.com",
                        "auth": {"type": "bearer", "token": "WANTED"},
                    }
                ],
                credentials=[{"action": "set", "key": "WANTED", "obtain_instructions": "ask"}],
                message="for a job",
                user_message="Please.",
            )
            assert raised.approval_url.startswith(server.url) and raised.approval_url not in repr(raised)
            assert [p.id for p in await asker.proposals.list(status="pending")] == [raised.id]
            review = person.proposals.review(raised.id)
            assert review.preview is not None
            assert [(f.key, f.host) for f in review.preview.flows] == [("WANTED", "api.example.com")]
            with pytest.raises(ForbiddenError):
                await asker.proposals.approve(raised.id)
            waiting = asyncio.create_task(asker.proposals.wait(raised.id, interval=0.02, timeout=60))
            person.services.set([{"name": "meanwhile", "host": "api.example.org", "auth": {"type": "passthrough"}}])
            values = {"WANTED": "wanted-0123456789"}
            with pytest.raises(VersionConflictError):
                person.proposals.approve(raised.id, credentials=values, revision=review.preview.revision)
            assert person.proposals.approve(raised.id, credentials=values).status == "applied"
            assert (await waiting).status == "applied"
            assert (await asker.discover()).available_credentials == ["WANTED"]
            second = await asker.proposals.create(credentials=[{"action": "set", "key": "MORE"}])
            assert [p.id for p in person.proposals.reviews(status="pending")] == [second.id]
            person.proposals.reject(second.id, reason="enough")
            rejected = await asker.proposals.wait(second.id)
            assert (rejected.status, rejected.review_note) == ("rejected", "enough")

    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("asked")
        agent = av.agents.create("asker", vaults={"asked": "proxy"})
        asyncio.run(ask(agent.token, av))


def test_the_log_is_exported_and_followed_until_the_right_to_read_it_ends(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("told")
        reader = av.agents.create("log-reader", vaults={"told": "admin"})
        with VaultClient(reader.token, address=server.url, vault="told") as vault:
            vault.services.set([{"name": "open", "host": server.upstream, "auth": {"type": "passthrough"}}])
            config = vault.sessions.create(label="told").container_config
            assert config is not None
            assert through_the_proxy(server, config, "/one") == 200
            exported = list(vault.logs.export(label="told"))
            assert [(r.path, r.label) for r in exported] == [("/one", "told")]
            follow = iter(vault.logs.follow(label="told", after=exported[0].id))
            assert through_the_proxy(server, config, "/two") == 200
            assert next(follow).path == "/two"
            assert through_the_proxy(server, config, "/three") == 200
            assert next(follow).path == "/three"
            hosts = vault.logs.hosts(limit=10)
            assert hosts.total == len(hosts.hosts)
            av.vault("told").agents.remove("log-reader")
            with pytest.raises((StreamEndedError, ApiError)):
                next(follow)


def test_the_operators_side(server: Server, tmp_path: Path) -> None:
    with AgentVault(server.token, address=server.url) as av:
        assert av.me().email == "owner@example.com" and av.status().initialized
        assert (av.health(), av.ready().status) == ("ok", "ready")
        assert "agent-vault" in av.skill() and "github" in [t.id for t in av.catalog()]
        assert "builtin" in av.credential_stores()
        invite = av.invites.create("guest@example.com", vaults={"default": "member"})
        assert [(g.vault, g.role) for g in invite.vaults] == [("default", "member")]
        av.invites.revoke(av.invites.again(invite.id).id)
        assert av.invites.list(status="pending") == []
        assert [(u.email, u.role) for u in av.users.list()] == [("owner@example.com", "owner")]
        with pytest.raises(ConflictError):
            av.users.set_role("owner@example.com", "member")
        av.create_vault("mine")
        assert av.vault_context("mine").vault_role == "admin"
        assert av.vault("mine").settings.set(unmatched_host_policy="deny").unmatched_host_policy == "deny"
        assert [u.email for u in av.vault("mine").users.list()] == ["owner@example.com"]
        assert av.rename_vault("mine", "ours").new_name == "ours"
        assert "ours" in [v.name for v in av.list_all_vaults()]
        changed = av.settings.set(invite_only=True, logs_retention={"max_rows_per_vault": 5000})
        assert (changed.invite_only, changed.logs_retention.max_rows_per_vault) == (True, 5000)
        av.settings.set(invite_only=False)
        assert av.keys.state().key_id
        page = av.audit.list(action="vault.rename", limit=1)
        assert page.records[0].actor_name == "owner@example.com"
        seqs = [record.seq for record in av.audit.all(action="vault", limit=2)]
        assert len(seqs) > 2 and seqs == sorted(seqs, reverse=True)
        # What is written like this is what the command checks, offline.
        written = tmp_path / "audit.jsonl"
        written.write_text("".join(f"{line}\n" for line in av.audit.export()))
        assert av.audit.verify().intact
        subprocess.run([server.binary, "audit", "verify", "--export", written], check=True, capture_output=True)


def test_agents_come_change_and_go(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("crew")
        first = av.agents.create("worker", ttl_seconds=3600)
        assert first.token_expires_at is not None
        agents = av.vault("crew").agents
        agents.add("worker")
        assert [(a.name, a.role) for a in agents.list()] == [("worker", "proxy")]
        change = agents.set_role("worker", "member")
        assert (change.old_role, change.new_role) == ("proxy", "member")
        assert [(g.vault, g.role) for g in av.agents.get("worker").vaults] == [("crew", "member")]
        agents.remove("worker")
        assert agents.list() == []
        second = av.agents.rotate("worker")
        with AgentVault(first.token, address=server.url) as old, refused(401):
            old.list_vaults()
        with AgentVault(second.token, address=server.url) as new:
            new.list_vaults()
        assert av.agents.rename("worker", "worked").new_name == "worked"
        av.agents.rename("worked", "worker")
        assert av.agents.set_role("worker", "member").new_role == "member"
        av.agents.revoke("worker")
        assert [a.revoked_at is None for a in av.agents.list() if a.name == "worker"] == [False]
        av.agents.delete("worker")
        with refused(404):
            av.agents.get("worker")
        av.delete_vault("crew")
        assert "crew" not in [vault.name for vault in av.list_vaults()]


def test_a_rotation_with_an_overlap_leaves_the_former_token_good_until_it_is_ended(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        first = av.agents.create("overlapping", role="member", label="first")
        second = av.agents.rotate("overlapping", overlap_seconds=3600, label="second")
        assert second.former_tokens_end_at is not None
        tokens = {token.label: token for token in av.agents.tokens("overlapping")}
        assert set(tokens) == {"first", "second"}
        assert tokens["first"].expires_at is not None and tokens["second"].expires_at is None
        with AgentVault(first.token, address=server.url) as former:
            assert former.me().agent_name == "overlapping"
            av.agents.revoke_token("overlapping", tokens["first"].id)
            with refused(401):
                former.me()
        assert [token.label for token in av.agents.tokens("overlapping")] == ["second"]


def test_a_session_has_its_services_its_budget_and_its_sources(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("bounded")
        vault = av.vault("bounded")
        paths: list[Service] = [
            {"name": name, "host": server.upstream, "path": f"/{name}/*", "auth": {"type": "passthrough"}}
            for name in ("mine", "other")
        ]
        vault.services.set(paths)
        session = vault.sessions.create(services=["mine"], request_budget=2, sources=["127.0.0.0/8"])
        config = session.container_config
        assert config is not None
        assert through_the_proxy(server, config, "/mine/1") == 200
        (listed,) = vault.sessions.list()
        assert (listed.services, listed.request_budget, listed.requests_left) == (["mine"], 2, 1)
        assert listed.sources == ["127.0.0.0/8"]
        with VaultClient(session.token, address=server.url) as scoped:
            found = scoped.discover()
            assert ([s.name for s in found.services], found.request_budget, found.requests_left) == (["mine"], 2, 1)
        assert through_the_proxy(server, config, "/mine/2") == 200
        assert [s.requests_left for s in vault.sessions.list()] == [0]
        assert through_the_proxy(server, config, "/mine/3") >= 400
        narrow = vault.sessions.create(services=["mine"]).container_config
        assert narrow is not None and through_the_proxy(server, narrow, "/other/1") >= 400
        elsewhere = vault.sessions.create(sources=["192.0.2.0/24"]).container_config
        assert elsewhere is not None and through_the_proxy(server, elsewhere, "/mine/4") >= 400
        came = [r["path"] for r in server.received() if re.match("/(mine|other)/", r["path"])]
        assert came == ["/mine/1", "/mine/2"]
        with refused(400):
            vault.sessions.create(services=["nothing"])


def test_a_webhook_is_told_and_says_what_became_of_it(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("hooked")
        for path, hooks in (("/hooks/vault", av.vault("hooked").webhooks), ("/hooks/instance", av.webhooks)):
            url = f"https://{server.upstream}{path}"
            made = hooks.create(url, description="a test's", events=["limit.hit"])
            assert made.secret.startswith("whsec_") and made.secret not in repr(made)
            assert [(h.id, h.url, h.events, h.state) for h in hooks.list()] == [(made.id, url, ["limit.hit"], "active")]
            event = hooks.test(made.id)
            end = time.monotonic() + PATIENCE
            (delivery,) = hooks.deliveries(made.id, limit=1)
            while delivery.status != "delivered" and time.monotonic() < end:
                (delivery,) = hooks.deliveries(made.id, limit=1)
            assert (delivery.event_id, delivery.event, delivery.status) == (event, "webhook.test", "delivered")
            assert delivery.response_status == 200
            assert [r["headers"]["webhook-id"] for r in server.received() if r["path"] == path] == [event]
            assert hooks.change(made.id, description="another", enabled=False).state == "off"
            rotated = hooks.rotate(made.id, overlap_seconds=60)
            assert rotated.former_secret_until is not None and rotated.secret != made.secret
            assert hooks.get(made.id).description == "another"
            hooks.remove(made.id)
            with pytest.raises(NotFoundError):
                hooks.get(made.id)
            with refused(400):
                hooks.create("http://plain.example.com/")


def test_a_credential_is_connected_by_oauth(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("granted")
        oauth = av.vault("granted").oauth
        connecting = oauth.connect(
            "PROVIDER",
            authorization_url="https://provider.example.com/authorize",
            token_url="https://provider.example.com/token",
            client_id="client-7",
            client_secret="a-client-secret",
            scopes="read write",
        )
        assert connecting.start_url.startswith(f"{server.url}/")
        way = httpx.URL(connecting.authorization_url)
        assert (way.host, way.path) == ("provider.example.com", "/authorize")
        wanted = ("client_id", "scope", "redirect_uri", "code_challenge_method")
        callback = f"{server.url}/v1/oauth/callback"
        assert [way.params.get(name) for name in wanted] == ["client-7", "read write", callback, "S256"]
        state = way.params["state"]
        assert len(state) >= 32
        assert state not in repr(connecting) and connecting.start_url not in repr(connecting)
        again = oauth.connect("PROVIDER")
        assert httpx.URL(again.authorization_url).params["state"] != state
        waiting = oauth.status("PROVIDER", consent=again.consent)
        assert waiting.consent is not None and not waiting.connected
        assert (waiting.consent.id, waiting.consent.status) == (again.consent, "pending")
        connected = oauth.set_tokens("GIVEN", access_token="an-access-token-0123456789")
        assert (connected.connected, connected.refreshable) == (True, False)
        assert oauth.status("GIVEN").connected
        (described,) = av.vault("granted").credentials.describe(key="GIVEN")
        assert described.type == "oauth" and described.connected_at is not None
        assert "an-access-token" not in str(vars(described))


def test_an_agent_asks_for_a_credential_by_oauth_and_names_the_client(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("wished")
        agent = av.agents.create("wisher", vaults={"wished": "proxy"})
        client: OAuthSlot = {
            "authorization_url": "https://provider.example.com/authorize",
            "token_url": "https://provider.example.com/token",
            "scopes": "read",
        }
        with VaultClient(agent.token, address=server.url, vault="wished") as asker:
            wanted: CredentialSlot = {"action": "set", "key": "BY_OAUTH", "type": "oauth", "oauth": client}
            raised = asker.proposals.create(credentials=[wanted])
        (slot,) = av.vault("wished").proposals.review(raised.id).credentials
        assert slot.type == "oauth" and slot.oauth is not None
        assert slot.oauth.authorization_url == client["authorization_url"]
        assert (slot.oauth.token_url, slot.oauth.scopes) == (client["token_url"], "read")


def test_a_vault_has_its_credentials_from_an_external_store_until_it_is_disconnected(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("external")
        store, credentials = av.vault("external").store, av.vault("external").credentials
        assert store.get() is None
        with pytest.raises(ApiError, match="no external"):
            store.sync()
        wanted: CredentialStore = {
            "kind": "infisical",
            "config": {"project_id": "project-1", "environment": "dev", "secret_path": "/"},
            "poll_interval_seconds": 3600,
        }
        elsewhere: CredentialStore = {**wanted, "config": {**wanted["config"], "project_id": "another"}}
        with pytest.raises(ApiError):
            store.connect(elsewhere)
        assert store.get() is None

        connected = store.connect(wanted)
        assert (connected.kind, connected.poll_interval_seconds, connected.last_sync_status) == ("infisical", 3600, "ok")
        assert connected.config is not None and vars(connected.config) == wanted["config"]
        assert credentials.list().keys == ["FROM_STORE"]
        with pytest.raises(ConflictError) as read_only:
            credentials.set({"MINE": "mine-0123456789"})
        assert read_only.value.code == "external_credential_store"
        synced = store.sync()
        assert synced.last_success_at is not None and connected.last_success_at is not None
        assert synced.last_success_at >= connected.last_success_at
        listed = next(v.credential_store for v in av.list_vaults() if v.name == "external")
        assert listed is not None and listed.kind == "infisical"

        assert store.disconnect().kind == "builtin"
        assert store.get() is None
        credentials.set({"MINE": "mine-0123456789"})
        assert credentials.list().keys == ["FROM_STORE", "MINE"]
        made = av.create_vault("external-too", credential_store=wanted).credential_store
        assert made is not None and (made.kind, made.stale) == ("infisical", connected.stale)


def test_the_examples_of_the_readme_run(server: Server, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert len(examples) == 2
    with AgentVault(server.token, address=server.url) as av:
        token = av.agents.create("reader", vaults={"default": "admin"}).token
    script = tmp_path / "example.py"
    script.write_text("\n".join(examples))
    env = {**os.environ, "AGENT_VAULT_ADDR": server.url, "AGENT_VAULT_TOKEN": token}
    done = subprocess.run([sys.executable, script], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "ended" in done.stdout, done
