// The page on which a person approves the login of a device. Everything that is shown is set as text.
"use strict";

const part = (id) => document.getElementById(id);
const say = (text) => { part("message").textContent = text; };
const show = (id) => { for (const each of ["login", "find", "device"]) part(each).hidden = each !== id; };

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

const wrong = (answer) => answer.message || answer.error || "Something went wrong.";
let code = new URLSearchParams(location.search).get("code") || "";

async function find() {
  if (!code) {
    say("");
    show("find");
    return;
  }
  const found = await ask("GET", "/v1/auth/device/" + encodeURIComponent(code));
  if (found.status === 401) {
    say("");
    show("login");
    return;
  }
  if (!found.ok) {
    say(wrong(found.answer));
    code = "";
    show("find");
    return;
  }
  say("");
  part("code").textContent = found.answer.user_code;
  part("label").textContent = found.answer.device_label || "unknown";
  part("ip").textContent = found.answer.ip || "unknown";
  part("agent").textContent = found.answer.user_agent || "unknown";
  show("device");
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
  await find();
});

part("find").addEventListener("submit", async (event) => {
  event.preventDefault();
  code = event.target.code.value;
  await find();
});

const answer = async (word, text) => {
  const done = await ask("POST", "/v1/auth/device/" + encodeURIComponent(code) + "/" + word);
  if (!done.ok) return say(wrong(done.answer));
  show("none");
  say(text);
};
part("approve").addEventListener("click", () => answer("approve", "Approved. Go back to your device."));
part("deny").addEventListener("click", () => answer("deny", "Denied. Nothing was given to the device."));

// With a code in the address, whoever is logged in sees the device at once.
ask("GET", "/v1/auth/me").then((me) => (me.ok ? find() : (say(""), show("login"))));
