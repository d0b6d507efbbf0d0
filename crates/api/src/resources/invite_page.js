// The page on which a person accepts an invitation. Everything that is shown is set as text.
"use strict";

const part = (id) => document.getElementById(id);
const say = (text) => { part("message").textContent = text; };
const invitation = "/v1/users/invites/" + location.pathname.split("/").pop();

async function ask(method, path, body) {
  const request = { method, headers: {}, credentials: "same-origin" };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  const response = await fetch(path, request);
  const answer = await response.json().catch(() => ({}));
  return { ok: response.ok, answer };
}

const wrong = (answer) => [answer.message || answer.error || "Something went wrong.", answer.hint].filter(Boolean).join(" – ");
let needsAccount = false;

async function open() {
  const found = await ask("GET", invitation + "/details");
  if (!found.ok) return say(wrong(found.answer));
  if (found.answer.error) return say(found.answer.error_message);
  needsAccount = found.answer.needs_account;
  part("email").textContent = found.answer.email;
  part("username").value = found.answer.email;
  part("role").textContent = found.answer.role;
  part("vaults").textContent = found.answer.vaults.map((vault) => vault.vault_name + " (" + vault.vault_role + ")").join(", ") || "none yet";
  part("account").hidden = !needsAccount;
  part("accept").hidden = false;
}

part("accept").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  if (needsAccount && form.password.value !== form.again.value) return say("The two passwords differ.");
  const done = await ask("POST", invitation + "/accept", needsAccount ? { password: form.password.value } : {});
  if (!done.ok) return say(wrong(done.answer));
  form.reset();
  form.hidden = true;
  say(done.answer.message + ".");
  part("login").textContent = "agent-vault auth login --address " + location.origin;
  part("next").hidden = false;
});

open();
