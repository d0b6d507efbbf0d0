// The page on which a person decides on a proposal. Everything that is shown is set as text.
"use strict";

const part = (id) => document.getElementById(id);
const say = (text) => { part("message").textContent = text; };
const query = new URLSearchParams(location.search);
const id = location.pathname.split("/").pop();
const token = query.get("token") || "";
let vault = query.get("vault") || "";
let revision;

async function ask(method, path, body) {
  const request = { method, headers: {}, credentials: "same-origin" };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  const response = await fetch(path, request);
  const answer = await response.json().catch(() => ({}));
  return { ok: response.ok, status: response.status, answer };
}

const wrong = (answer) => [answer.message || answer.error || "Something went wrong.", answer.hint].filter(Boolean).join(" – ");

function list(where, lines, kind) {
  part(where).replaceChildren(...lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    if (kind) item.className = kind;
    return item;
  }));
}

function show(found) {
  part("author").textContent = found.agent_name;
  part("vault").textContent = found.vault;
  part("number").textContent = id;
  part("words").textContent = [found.message, found.user_message].filter(Boolean).join("\n\n");
  const preview = found.preview || { changes: [], flows: [], warnings: [] };
  revision = preview.revision;
  list("flows", preview.flows.map((flow) =>
    flow.key + " → " + flow.host + (flow.stored ? ", the stored value" : ", the value given here") + (flow.new ? ", new" : "")));
  list("warnings", preview.warnings.concat(preview.conflict ? ["It cannot be approved: " + preview.conflict] : []), "warning");
  part("services").replaceChildren(...preview.changes.map((change) => {
    const block = document.createElement("pre");
    const text = (service) => JSON.stringify(service, null, 1);
    block.textContent = change.name + " (" + change.change + ")"
      + (change.before ? "\n- " + text(change.before) : "") + (change.after ? "\n+ " + text(change.after) : "");
    return block;
  }));
  list("credentials", found.credentials.map((slot) =>
    slot.action + " " + slot.key + (slot.has_value ? ", the agent gave a value" : "")
    + (slot.oauth ? ", by OAuth from " + new URL(slot.oauth.token_url).host + ": connect it with `agent-vault vault credential oauth connect " + slot.key + "`" : "")
    + (slot.description ? ": " + slot.description : "")));
  part("values").replaceChildren(...found.credentials.filter((slot) => slot.action === "set" && !slot.oauth).map((slot) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    label.textContent = "Value of " + slot.key + (slot.has_value ? " (empty: the agent's)" : "")
      + [slot.obtain, slot.obtain_instructions].filter(Boolean).map((text) => " – " + text).join("");
    input.type = "password";
    input.autocomplete = "off";
    input.name = "value:" + slot.key;
    input.required = !slot.has_value;
    label.append(input);
    return label;
  }));
  part("proposal").hidden = false;
}

async function load() {
  const me = await ask("GET", "/v1/auth/me");
  const path = token
    ? "/v1/proposals/approve-details?token=" + encodeURIComponent(token) + "&id=" + encodeURIComponent(id)
    : "/v1/admin/proposals/" + encodeURIComponent(id) + "?vault=" + encodeURIComponent(vault || "default");
  if (!token && !me.ok) {
    part("login").hidden = false;
    return say("");
  }
  const found = await ask("GET", path);
  part("login").hidden = me.ok;
  if (!found.ok) return say(wrong(found.answer));
  if (found.answer.error) return say(found.answer.error_message);
  vault = found.answer.vault;
  show(found.answer);
  const open = found.answer.status === "pending";
  say(open ? "" : "This proposal is " + found.answer.status + ".");
  part("decide").hidden = !open || !me.ok || found.answer.can_approve === false;
  if (open && me.ok && found.answer.can_approve === false) say("You may look at it. An admin of the vault decides.");
}

part("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const body = { email: form.email.value, password: form.password.value, device_label: "browser" };
  if (form.totp_code.value) body.totp_code = form.totp_code.value;
  const done = await ask("POST", "/v1/auth/login", body);
  if (done.answer.error === "second_factor_required") part("factor").hidden = false;
  if (!done.ok) return say(wrong(done.answer));
  form.reset();
  await load();
});

async function decide(word, body, text) {
  const done = await ask("POST", "/v1/admin/proposals/" + encodeURIComponent(id) + "/" + word, { vault, ...body });
  if (!done.ok) {
    if (done.status === 412) await load();
    return say(wrong(done.answer));
  }
  part("decide").hidden = true;
  say(text);
}

part("decide").addEventListener("submit", async (event) => {
  event.preventDefault();
  const credentials = {};
  for (const input of part("values").querySelectorAll("input")) {
    if (input.value) credentials[input.name.slice("value:".length)] = input.value;
  }
  await decide("approve", { credentials, revision }, "Approved. The agent can go on; you can close this page.");
  part("values").replaceChildren();
});

part("reject").addEventListener("click", () =>
  decide("reject", { reason: part("decide").reason.value }, "Rejected. The agent is told; you can close this page."));

load();
