// The start page: one queue of the broker that served it, to try out. Everything it does goes through the public client and the
// HTTP calls of docs/protocol.md.
import { connect } from "/client.js";

const CREDIT = 5;
// A tab that is hidden for long may run its timers once a minute: leases must outlast that.
const LEASE_MS = 180_000;
const STATS_MS = 1_000;
/** The same for a queue that does not exist yet. */
const NO_STATS_MS = 5_000;
const MAX_LISTED = 30;
const MAX_SHOWN_CHARS = 4_000;

const byId = (id) => document.getElementById(id);
const namespace = new URL(location.href).searchParams.get("ns") ?? undefined;

let dunlin;
let token;
let queueName = decodeHash() || "jobs";
/** The iterator of the running consumer, undefined when nothing is received. */
let consumer;
let statsTimer;

byId("address").textContent = location.origin;
byId("queue").value = queueName;
byId("queue-form").addEventListener("submit", openQueue);
byId("token-form").addEventListener("submit", useToken);
byId("send-form").addEventListener("submit", send);
byId("body").addEventListener("input", showCommands);
byId("receive").addEventListener("click", () => (consumer === undefined ? receive() : stopReceiving()));
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", copy);
document.addEventListener("visibilitychange", () => document.hidden || showStats());
addEventListener("hashchange", () => {
  byId("queue").value = decodeHash() || queueName;
  openQueue();
});

start();
showCommands();
showStats();

function start() {
  const connection = connect(location.origin, {
    ...(token === undefined ? {} : { token }),
    ...(namespace === undefined ? {} : { namespace }),
  });
  dunlin = connection;
  connection.on("state", (state) => {
    if (connection !== dunlin) return;
    byId("state").dataset.state = state;
    byId("state").textContent = state;
    if (state === "open") notice("");
    if (state === "closed") connection.ready().catch((error) => refused(error));
  });
}

function refused(error) {
  notice(error.message);
  byId("token-form").hidden = false;
}

function useToken(event) {
  event.preventDefault();
  token = byId("token").value;
  byId("token-form").hidden = true;
  notice("");
  start();
  showCommands();
  showStats();
}

function openQueue(event) {
  event?.preventDefault();
  const name = byId("queue").value;
  if (name === "" || name === queueName) return;
  stopReceiving();
  byId("messages").replaceChildren();
  queueName = name;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  note("receipt", "");
  showCommands();
  showStats();
}

async function send(event) {
  event.preventDefault();
  note("receipt", "sending");
  const { value, contentType } = payload();
  try {
    const { seq } = await dunlin
      .queue(queueName)
      .send(value, contentType === "text/plain" ? { contentType } : {});
    note("receipt", `Message ${seq} is on disk.`);
    showStats();
  } catch (error) {
    note("receipt", error.message, true);
  }
}

async function receive() {
  const messages = dunlin.queue(queueName).consume({ credit: CREDIT, leaseMs: LEASE_MS });
  consumer = messages;
  byId("receive").textContent = "Stop receiving";
  setTimeout(showStats, STATS_MS);
  note("receive-note", `Up to ${CREDIT} messages are leased to this page until you settle them.`);
  try {
    for await (const message of messages) list(message);
  } catch (error) {
    note("receive-note", error.message, true);
  }
  if (consumer === messages) stopReceiving();
}

/** Ends the consumer: what it did not settle goes back to the queue. */
function stopReceiving() {
  if (consumer === undefined) return;
  const ending = consumer;
  consumer = undefined;
  ending.return();
  byId("receive").textContent = "Start receiving";
  if (!byId("receive-note").classList.contains("bad")) note("receive-note", "");
  for (const item of document.querySelectorAll("#messages li:not(.done)")) finish(item, "given back");
}

function list(message) {
  const item = byId("message").content.firstElementChild.cloneNode(true);
  const attempt = message.attempt > 1 ? `, attempt ${message.attempt}` : "";
  const at = new Date(message.time).toLocaleTimeString();
  item.querySelector(".facts").textContent = `Message ${message.seq}${attempt}, accepted ${at}`;
  item.querySelector("pre").textContent = shown(message.body);
  for (const button of item.querySelectorAll("button")) {
    button.setAttribute("aria-label", `${button.textContent} message ${message.seq}`);
    button.addEventListener("click", () => settle(item, message, button.dataset.settle));
  }
  const all = byId("messages");
  all.prepend(item);
  const done = all.querySelectorAll("li.done");
  if (all.childElementCount > MAX_LISTED && done.length > 0) done[done.length - 1].remove();
}

async function settle(item, message, how) {
  for (const button of item.querySelectorAll("button")) button.disabled = true;
  const words = { ack: "acked", fail: "failed", release: "given back" };
  const held = await (how === "fail" ? message.fail({ reason: "failed on the start page" }) : message[how]());
  finish(item, held ? words[how] : "no longer leased to this page: it was or will be delivered again");
}

function finish(item, what) {
  if (item.classList.contains("done")) return;
  item.classList.add("done");
  item.querySelector(".actions").remove();
  item.querySelector(".facts").append(`: ${what}`);
}

async function showStats() {
  clearTimeout(statsTimer);
  const name = queueName;
  let nextMs = STATS_MS;
  try {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const answer = await fetch(queueUrl(""), { headers });
    if (name !== queueName) return;
    const { stats, detail } = await answer.json();
    for (const field of document.querySelectorAll("[data-stat]")) {
      field.textContent = stats === undefined ? "–" : stats[field.dataset.stat].toLocaleString();
    }
    if (stats === undefined) nextMs = NO_STATS_MS;
    if (answer.status === 404) note("queue-note", "It does not exist yet: the first message makes it.");
    else note("queue-note", answer.ok ? "" : detail, !answer.ok);
  } catch {
    note("queue-note", "The broker cannot be reached.", true);
  }
  clearTimeout(statsTimer);
  if (!document.hidden) statsTimer = setTimeout(showStats, nextMs);
}

function showCommands() {
  const { contentType } = payload();
  const auth = token === undefined ? "" : ` \\\n  -H "Authorization: Bearer $TOKEN"`;
  byId("send-command").textContent =
    `curl ${quoted(queueUrl("/messages"))}${auth} \\\n  -H 'Content-Type: ${contentType}' \\\n` +
    `  --data-binary ${quoted(byId("body").value)}`;
  byId("receive-command").textContent =
    `curl ${quoted(queueUrl("/receive"))}${auth} \\\n  -d '{"max": 1, "waitMs": 10000}'\n\n` +
    `# then, with the "delivery" that came:\ncurl ${quoted(queueUrl("/settle"))}${auth} \\\n` +
    `  -d '{"ack": ["DELIVERY"]}'`;
}

async function copy({ currentTarget: button }) {
  const source = byId(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // Without leave for the clipboard the text is at least selected.
    getSelection().selectAllChildren(source);
    button.textContent = "Selected";
  }
  setTimeout(() => {
    button.textContent = "Copy";
  }, 2_000);
}

/** What is typed, as JSON if it is some, else as text. */
function payload() {
  const text = byId("body").value;
  try {
    return { value: JSON.parse(text), contentType: "application/json" };
  } catch {
    return { value: text, contentType: "text/plain" };
  }
}

function shown(body) {
  const text =
    body instanceof Uint8Array
      ? `${body.length} bytes`
      : typeof body === "string"
        ? body
        : JSON.stringify(body, undefined, 2);
  return text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}…` : text;
}

function queueUrl(call) {
  const query = namespace === undefined ? "" : `?ns=${encodeURIComponent(namespace)}`;
  return `${location.origin}/v1/queues/${encodeURIComponent(queueName)}${call}${query}`;
}

/** A word for the shell. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function decodeHash() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = text === "";
}

function note(id, text, isBad = false) {
  byId(id).textContent = text;
  byId(id).classList.toggle("bad", isBad);
}
