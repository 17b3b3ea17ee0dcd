// Writes a file to storage block by block, and shows how far it is. Without it the form posts the file to the app.
"use strict";

const form = document.getElementById("upload");
const box = form.querySelector("input[type=file]");
const drop = document.getElementById("drop");
const status = document.getElementById("progress");
const BLOCK = 8 * 1024 * 1024;
const unreachable = new Error("Storage did not take the file. Check your connection, and the network rules of the account.");
const RENEW = 10 * 60 * 1000;

for (const event of ["dragenter", "dragover"]) {
  drop.addEventListener(event, (given) => {
    given.preventDefault();
    drop.classList.add("over");
  });
}
for (const event of ["dragleave", "drop"]) {
  drop.addEventListener(event, () => drop.classList.remove("over"));
}
drop.addEventListener("drop", (given) => {
  given.preventDefault();
  if (given.dataTransfer.files.length) box.files = given.dataTransfer.files;
});

// Not form.action: a button of that name hides it.
async function ask(fields) {
  const body = new URLSearchParams({ token: form.elements.token.value, ...fields });
  const answer = await fetch(form.getAttribute("action"), { method: "POST", body, headers: { Accept: "application/json" } });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

async function put(url, body, headers) {
  for (let attempt = 1; ; attempt++) {
    const answer = await fetch(url, { method: "PUT", body, headers }).catch(() => null);
    if (answer && answer.ok) return;
    if (attempt === 5) throw unreachable;
    await new Promise((resolve) => setTimeout(resolve, 1000 * 2 ** attempt));
  }
}

async function send(file) {
  let link = await ask({
    action: "link", feed: form.elements.feed.value, name: file.name, full: form.elements.full.checked ? "yes" : "",
  });
  const ids = [];
  let since = Date.now();
  for (let start = 0; start < file.size; start += BLOCK) {
    if (Date.now() - since > RENEW) {
      link = await ask({ action: "link", id: link.upload });
      since = Date.now();
    }
    const id = btoa(String(ids.length).padStart(8, "0"));
    await put(`${link.url}&comp=block&blockid=${encodeURIComponent(id)}`, file.slice(start, start + BLOCK));
    ids.push(id);
    status.textContent = `${Math.floor((100 * Math.min(start + BLOCK, file.size)) / file.size)} % sent`;
  }
  const list = `<?xml version="1.0" encoding="utf-8"?><BlockList>${ids.map((id) => `<Latest>${id}</Latest>`).join("")}</BlockList>`;
  await put(`${link.url}&comp=blocklist`, list, { "Content-Type": "text/plain" });
  status.textContent = "Reading the file";
  location.assign((await ask({ action: "check", id: link.upload })).page);
}

form.addEventListener("submit", (given) => {
  const file = box.files[0];
  if (!file || !("direct" in form.dataset)) return;
  given.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  send(file).catch((error) => {
    if (error === unreachable && file.size < 32e6) return form.submit(); // through the app instead
    status.textContent = error.message;
    button.disabled = false;
  });
});
