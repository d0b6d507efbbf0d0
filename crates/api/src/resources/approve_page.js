// The page on which a person decides on a proposal. Everything that is shown is set as text.
"use strict";

const query = new URLSearchParams(location.search);
const id = location.pathname.split("/").pop();
const token = query.get("token") || "";
let vault = query.get("vault") || "";
let revision;

function list(where, items) {
  part(where).replaceChildren(...items);
  const whole = part(where + "-part");
  if (whole) whole.hidden = items.length === 0;
}

function show(found) {
  part("author").textContent = found.agent_name;
  part("vault").textContent = found.vault;
  part("number").textContent = id;
  part("words").textContent = [found.message, found.user_message].filter(Boolean).join("\n\n");
  part("words").hidden = !part("words").textContent;
  const preview = found.preview || { changes: [], flows: [], warnings: [] };
  revision = preview.revision;
  list("flows", preview.flows.map((flow) => line("li", [
    [flow.key], " → ", [flow.host], (flow.stored ? ", the stored value" : ", the value given here") + (flow.new ? ", new" : ""),
  ])));
  list("warnings", preview.warnings.concat(preview.conflict ? ["It cannot be approved: " + preview.conflict] : [])
    .map((text) => line("li", [text])));
  list("services", preview.changes.map((change) => {
    const text = (sign, service) => JSON.stringify(service, null, 1).replace(/^/gm, sign + " ");
    const block = line("pre", [change.name + " (" + change.change + ")"]);
    if (change.before) block.append(line("span", [text("-", change.before)], "gone"));
    if (change.after) block.append(line("span", [text("+", change.after)], "new"));
    return block;
  }));
  list("credentials", found.credentials.map((slot) => line("li", [
    slot.action + " ", [slot.key], (slot.has_value ? ", the agent gave a value" : "")
      + (slot.oauth ? ", by OAuth from " + new URL(slot.oauth.token_url).host + ": connect it with `agent-vault vault credential oauth connect " + slot.key + "`" : "")
      + (slot.description ? ": " + slot.description : ""),
  ])));
  part("values").replaceChildren(...found.credentials.filter((slot) => slot.action === "set" && !slot.oauth).map((slot) => {
    const label = line("label", ["Value of ", [slot.key], slot.has_value ? " (empty: the agent's)" : ""]);
    const how = [slot.obtain, slot.obtain_instructions].filter(Boolean).join(" – ");
    if (how) label.append(line("span", [how], "soft"));
    const input = document.createElement("input");
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
    reveal("login");
    return;
  }
  const found = await ask("GET", path);
  if (!found.ok) {
    wrong(found.answer);
    return;
  }
  if (found.answer.error) {
    say(found.answer.error_message);
    return;
  }
  vault = found.answer.vault;
  show(found.answer);
  const pending = found.answer.status === "pending";
  const decides = pending && me.ok && found.answer.can_approve !== false;
  part("decide").hidden = !decides;
  if (!pending) {
    say("This proposal is " + found.answer.status + ".");
  } else if (!me.ok) {
    reveal("login");
  } else if (decides) {
    // What is asked for wants to be read before a value is typed.
    part("proposal").focus();
  } else {
    say("You may look at it. An admin of the vault decides.");
  }
}

async function decide(word, body, text) {
  const done = await ask("POST", "/v1/admin/proposals/" + encodeURIComponent(id) + "/" + word, { vault, ...body });
  if (!done.ok) {
    // What is shown is no longer what would be applied: it is read again, and values are entered again.
    if (done.status === 412) await load();
    wrong(done.answer);
    return;
  }
  part("values").replaceChildren();
  part("decide").hidden = true;
  say(text, "good");
}

onLogin(load);

part("decide").addEventListener("submit", (event) => {
  event.preventDefault();
  const credentials = {};
  for (const input of part("values").querySelectorAll("input")) {
    if (input.value) credentials[input.name.slice("value:".length)] = input.value;
  }
  once(() => decide("approve", { credentials, revision }, "Approved. The agent can go on; you can close this page."));
});

part("reject").addEventListener("click", () =>
  once(() => decide("reject", { reason: part("decide").reason.value }, "Rejected. The agent is told; you can close this page.")));

load();
