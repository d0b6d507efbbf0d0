// The page on which a person accepts an invitation. Everything that is shown is set as text.
"use strict";

const invitation = "/v1/users/invites/" + location.pathname.split("/").pop();
let needsAccount = false;

async function load() {
  const found = await ask("GET", invitation + "/details");
  if (!found.ok) {
    wrong(found.answer);
    return;
  }
  if (found.answer.error) {
    say(found.answer.error_message);
    return;
  }
  needsAccount = found.answer.needs_account;
  part("email").textContent = found.answer.email;
  part("username").value = found.answer.email;
  part("role").textContent = found.answer.role;
  part("vaults").textContent = found.answer.vaults.map((vault) => vault.vault_name + " (" + vault.vault_role + ")").join(", ") || "none yet";
  part("account").hidden = !needsAccount;
  reveal("accept");
}

part("accept").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  if (needsAccount && form.password.value !== form.again.value) {
    say("The two passwords differ.", "bad");
    return;
  }
  once(async () => {
    const done = await ask("POST", invitation + "/accept", needsAccount ? { password: form.password.value } : {});
    if (!done.ok) {
      wrong(done.answer);
      return;
    }
    form.reset();
    form.hidden = true;
    say(done.answer.message + ".", "good");
    part("login").textContent = "agent-vault auth login --address " + location.origin;
    part("next").hidden = false;
  });
});

load();
