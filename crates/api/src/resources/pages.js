// What the pages share. Everything that is shown is set as text.
"use strict";

const part = (id) => document.getElementById(id);

function say(text, kind = "") {
  part("message").className = kind;
  part("message").textContent = text;
}

async function ask(method, path, body) {
  const request = { method, headers: {}, credentials: "same-origin" };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(path, request);
    const answer = await response.json().catch(() => ({}));
    return { ok: response.ok, status: response.status, answer };
  } catch {
    return { ok: false, status: 0, answer: { error: "The server does not answer", hint: "try again" } };
  }
}

const wrong = (answer) => say([answer.message || answer.error || "Something went wrong", answer.hint].filter(Boolean).join(": ") + ".", "bad");

// Text and pieces of code, one after the other: code where a piece is a list of one.
function line(tag, pieces, kind) {
  const made = document.createElement(tag);
  for (const piece of pieces) {
    if (Array.isArray(piece)) {
      const code = document.createElement("code");
      code.textContent = piece[0];
      made.append(code);
    } else {
      made.append(piece);
    }
  }
  if (kind) made.className = kind;
  return made;
}

// Shows a part and puts the keyboard into it.
function reveal(id) {
  part(id).hidden = false;
  const first = [...part(id).querySelectorAll("input, button")].find((each) => each.offsetParent !== null && !each.readOnly);
  if (first) first.focus();
}

// Nothing is sent twice by a second click.
async function once(work) {
  const buttons = document.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  try {
    await work();
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

// The login form, on the pages that have one.
function onLogin(after) {
  part("login").addEventListener("submit", (event) => {
    event.preventDefault();
    once(async () => {
      const form = event.target;
      const body = { email: form.email.value, password: form.password.value, device_label: "browser" };
      if (form.totp_code.value) body.totp_code = form.totp_code.value;
      const done = await ask("POST", "/v1/auth/login", body);
      if (done.answer.error === "second_factor_required") {
        part("factor").hidden = false;
        wrong(done.answer);
        return;
      }
      form.password.value = "";
      form.totp_code.value = "";
      if (!done.ok) {
        wrong(done.answer);
        return;
      }
      form.reset();
      part("login").hidden = true;
      say("");
      await after();
    });
  });
}
