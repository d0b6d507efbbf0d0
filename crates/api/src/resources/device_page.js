// The page on which a person approves the login of a device. Everything that is shown is set as text.
"use strict";

function show(id) {
  for (const each of ["login", "find", "device"]) part(each).hidden = true;
  if (id) reveal(id);
}

let code = new URLSearchParams(location.search).get("code") || "";

async function find() {
  if (!code) {
    show("find");
    return;
  }
  const found = await ask("GET", "/v1/auth/device/" + encodeURIComponent(code));
  if (found.status === 401) {
    show("login");
    return;
  }
  if (!found.ok) {
    code = "";
    show("find");
    wrong(found.answer);
    return;
  }
  say("");
  part("code").textContent = found.answer.user_code;
  part("label").textContent = found.answer.device_label || "unknown";
  part("ip").textContent = found.answer.ip || "unknown";
  part("agent").textContent = found.answer.user_agent || "unknown";
  // The keyboard stays above the buttons: this wants to be read first.
  show("");
  part("device").hidden = false;
  part("device").focus();
}

onLogin(find);

part("find").addEventListener("submit", (event) => {
  event.preventDefault();
  code = event.target.code.value;
  once(find);
});

const answer = (word, text) => once(async () => {
  const done = await ask("POST", "/v1/auth/device/" + encodeURIComponent(code) + "/" + word);
  if (!done.ok) {
    wrong(done.answer);
    return;
  }
  show("");
  say(text, "good");
});
part("approve").addEventListener("click", () => answer("approve", "Approved. Go back to your device."));
part("deny").addEventListener("click", () => answer("deny", "Denied. Nothing was given to the device."));

// With a code in the address, whoever is logged in sees the device at once.
ask("GET", "/v1/auth/me").then((me) => (me.ok ? find() : show("login")));
