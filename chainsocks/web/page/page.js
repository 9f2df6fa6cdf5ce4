// The page: it reads the views that the server sends each second, and draws them. Text is only ever set as text.
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, kind = "", text = "") => {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== "") node.textContent = text;
  return node;
};

// --- words and numbers -----------------------------------------------------------------------------------------------

const bytes = (count) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${count >= 100 || unit === 0 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
};
const rate = (count) => `${bytes(count)}/s`;
const duration = (seconds) => {
  if (seconds < 0.00005) return "< 0.1 ms";
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)}m${String(whole % 60).padStart(2, "0")}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${String(Math.floor(whole / 60) % 60).padStart(2, "0")}m`;
  return `${Math.floor(whole / 86400)}d${String(Math.floor(whole / 3600) % 24).padStart(2, "0")}h`;
};
const where = (place) => {
  if (place.phase !== "dial") return place.phase;
  const at = place.hop === null ? "destination" : place.hop;
  return `${at}: ${place.step}`;
};

// --- the state of the page -------------------------------------------------------------------------------------------

let view = null;
let listedAt = 0;  // when the sessions were as they are shown, in seconds
let paused = false;
let token = "";
let before = new Map();  // bytes and rates of the sessions in the last view
let sort = { key: "left", down: false };
const now = () => performance.now() / 1000;

const COLUMNS = [
  { key: "destination", title: "Destination", value: (row) => row.destination ?? "" },
  { key: "where", title: "Where", value: (row) => where(row.place) },
  { key: "left", title: "Left", number: true, value: (row) => row.place.left ?? Infinity },
  { key: "client", title: "Client", value: (row) => row.client ?? "" },
  { key: "user", title: "User", value: (row) => row.user ?? "" },
  { key: "command", title: "Command", value: (row) => row.command ?? "" },
  { key: "chain", title: "Chain", value: (row) => row.chain ?? "" },
  { key: "age", title: "Age", number: true, value: (row) => row.age },
  { key: "up", title: "Up", number: true, value: (row) => row.up },
  { key: "down", title: "Down", number: true, value: (row) => row.down },
  { key: "rate", title: "Rate", number: true, value: (row) => row.rate },
  { key: "id", title: "Id", value: (row) => row.id },
];

// --- drawing ---------------------------------------------------------------------------------------------------------

function drawTotals() {
  const { server, rates } = view;
  setState(server.state, server.state);
  document.title = `${server.sessions} sessions · chainsocks`;
  const pairs = [
    ["Sessions", `${server.sessions} of ${server.max_sessions}`],
    ["Ended", `${rates.sessions.toFixed(1)}/s`],
    ["Failed attempts", `${rates.failures.toFixed(1)}/s`],
    ["Up", rate(rates.up)],
    ["Down", rate(rates.down)],
    ["Uptime", duration(server.uptime)],
  ];
  if (server.waiting) pairs.splice(1, 0, ["Waiting", String(server.waiting)]);
  $("totals").replaceChildren(...pairs.map(([title, value]) => {
    const pair = make("div");
    pair.append(make("dt", "", title), make("dd", "", value));
    return pair;
  }));
  say(server.trouble.join("\n"));
}

function setState(text, kind) {
  const state = $("state");
  if (state.textContent !== text) state.textContent = text;  // it is read aloud when it changes
  state.className = `badge ${kind}`;
}

function say(trouble) {
  const line = $("trouble");
  if (line.textContent !== trouble) line.textContent = trouble;
  line.hidden = !trouble;
}

function drawChains() {
  const hops = new Map(view.hops.map((hop) => [hop.name, hop]));
  $("chains").replaceChildren(...view.chains.map((chain) => {
    const box = make("article", "chain");
    const title = make("h3", "", chain.name);
    const facts = `${chain.open} open · ${rate(chain.up)} up · ${rate(chain.down)} down`;
    title.append(make("span", "note", facts));
    const way = make("ol", "way");
    const places = chain.places.map((place) => drawPlace(place, hops));
    for (const part of [make("span", "end", "client"), ...places, make("span", "end", "destination")]) {
      const item = make("li");
      item.append(part);
      way.append(item);
    }
    box.append(title, way);
    return box;
  }));
}

function drawPlace(place, hops) {
  if (place.hop !== null) return drawHop(hops.get(place.hop), place.hop);
  const group = make("fieldset", "group");
  group.append(make("legend", "", `${place.group}: ${place.pick}`), ...place.members.map((each) => drawPlace(each, hops)));
  return group;
}

function drawHop(hop, name) {
  const box = make("div", `hop ${hop ? hop.state : "unknown"}`);
  box.append(make("span", "name", name));
  if (!hop) return box;
  const told = { well: "", unknown: "no success yet", failing: "fails", backoff: "in backoff", rested: "rested by hand" }[hop.state];
  if (told) box.append(" ", make("span", "told", told));
  const facts = [];
  if (hop.dial_time !== null) facts.push(`dial ${duration(hop.dial_time)}`);
  for (const step of hop.steps) facts.push(`${step.step} ${duration(step.seconds)}`);
  if (hop.sessions) facts.push(`${hop.sessions} sessions`);
  const whole = facts.map((fact) => fact.replaceAll(" ", "\u00a0"));  // no line break within one
  if (whole.length) box.append(make("span", "facts", whole.join(" · ")));
  if (hop.why) {
    const again = hop.retry === null ? "" : hop.retry > 0 ? ` · tried again in ${duration(hop.retry)}` : " · tried next";
    box.append(make("span", "facts", `${hop.why}${again}`));
  }
  if (token) {
    const avoided = hop.state === "backoff" || hop.state === "rested";
    const button = make("button", "", avoided ? "wake" : "rest");
    button.type = "button";
    button.dataset.focus = `hop ${hop.name}`;
    button.setAttribute("aria-label", `${avoided ? "wake" : "rest"} ${hop.name}`);
    button.addEventListener("click", () => order(avoided ? "wake" : "rest", { hop: hop.name }));
    box.append(button);
  }
  return box;
}

function drawHead() {
  const cells = COLUMNS.map((column) => {
    const cell = make("th", column.number ? "number" : "");
    cell.scope = "col";
    if (column.key === sort.key) cell.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
    const button = make("button", "", column.title);
    button.type = "button";
    button.dataset.focus = `sort ${column.key}`;
    button.addEventListener("click", () => {
      sort = { key: column.key, down: sort.key === column.key ? !sort.down : Boolean(column.number) };
      keepFocus(drawHead);
      drawRows();
    });
    cell.append(button);
    return cell;
  });
  if (token) cells.push(make("th"));
  $("head").replaceChildren(...cells);
}

function drawRows() {
  if (!view) return;
  const wanted = $("filter").value.trim().toLowerCase();
  const column = COLUMNS.find((each) => each.key === sort.key);
  const rows = view.sessions
    .filter((row) => !wanted || COLUMNS.some((each) => !each.number && each.value(row).toLowerCase().includes(wanted)))
    .sort((one, other) => compare(column.value(one), column.value(other)) * (sort.down ? -1 : 1));
  keepFocus(() => $("rows").replaceChildren(...rows.map(drawRow)));
  $("empty").hidden = rows.length > 0;
  const shown = rows.length === view.sessions_in_all ? "" : `${rows.length} of `;
  $("count").textContent = `${shown}${view.sessions_in_all}`;
}

const compare = (one, other) => (typeof one === "number" ? (one === other ? 0 : one - other) : one.localeCompare(other));

function drawRow(row) {
  const line = make("tr");
  const texts = {
    destination: row.destination ?? "", where: where(row.place), client: row.client ?? "", user: row.user ?? "",
    command: row.command ?? "", chain: row.chain ?? "", age: duration(row.age), up: bytes(row.up), down: bytes(row.down),
    rate: row.rate ? rate(row.rate) : "", id: row.id,
  };
  for (const column of COLUMNS) {
    const cell = make("td", column.number ? "number" : "", texts[column.key] ?? "");
    cell.dataset.key = column.key;
    cell.dataset.title = column.title;
    if (column.key === "destination" || column.key === "where") cell.title = texts[column.key];
    if (column.key === "left" && row.place.left !== null) {
      cell.dataset.ends = listedAt + row.place.left;
      cell.dataset.waits = row.place.phase === "relay" ? "" : "1";
      countDown(cell);
    }
    line.append(cell);
  }
  if (token) {
    const cell = make("td");
    cell.dataset.key = "end";
    const button = make("button", "", "end");
    button.type = "button";
    button.dataset.focus = `end ${row.id}`;
    button.setAttribute("aria-label", `end session ${row.id}`);
    button.addEventListener("click", () => {
      if (confirm(`End session ${row.id} to ${row.destination ?? "no destination yet"}?`)) order("kill", { session: row.id });
    });
    cell.append(button);
    line.append(cell);
  }
  return line;
}

function countDown(cell) {
  const left = Math.max(0, Number(cell.dataset.ends) - now());
  cell.textContent = left < 60 ? `${left.toFixed(1)} s` : duration(left);
  cell.classList.toggle("soon", Boolean(cell.dataset.waits) && left < 3);
}

function drawFailures() {
  $("failures").replaceChildren(...view.failures.slice(0, 20).map((failure) => {
    const item = make("li", "", failure.outcome);
    const chain = failure.chain === null ? "" : `, chain ${failure.chain}`;
    item.append(" ", make("span", "note", `${duration(failure.ago)} ago, session ${failure.session}${chain}`));
    return item;
  }));
  $("no-failures").hidden = view.failures.length > 0;
}

function keepFocus(draw) {
  const focused = document.activeElement?.dataset?.focus;
  draw();
  if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function draw() {
  drawTotals();
  keepFocus(drawChains);
  drawRows();
  drawFailures();
}

function take(next) {
  if (paused) return;
  const seconds = view ? next.sessions_at - view.sessions_at : 0;
  const counted = new Map();
  for (const row of next.sessions) {
    const sum = row.up + row.down;
    const last = before.get(row.id);
    row.rate = !last ? 0 : seconds > 0 ? Math.max(0, sum - last.sum) / seconds : last.rate;
    counted.set(row.id, { sum, rate: row.rate });
  }
  before = counted;
  view = next;
  listedAt = now() - next.sessions_ago;
  draw();
}

// --- talking to the server -------------------------------------------------------------------------------------------

const headers = () => (token ? { authorization: `Bearer ${token}` } : {});

async function watch() {
  // Not an EventSource: that cannot send the token.
  for (;;) {
    try {
      const response = await fetch("/api/v1/events", { headers: headers(), cache: "no-store" });
      if (response.status === 401) {
        lost("the server wants its token");
        $("access").open = true;
        $("token").focus();
        await new Promise((resolve) => { watch.again = resolve; });
        continue;
      }
      if (!response.ok) throw new Error((await response.text()).trim());
      await readEvents(response.body.pipeThrough(new TextDecoderStream()).getReader());
      lost("the connection has ended; trying again");
    } catch (error) {
      lost(error instanceof TypeError ? "no connection; trying again" : error.message);
    }
    await new Promise((resolve) => { setTimeout(resolve, 2000); });
  }
}

async function readEvents(reader) {
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, kind, data] = /^event: (\w+)\ndata: (.*)$/s.exec(event) ?? [];
      if (kind === "view") take(JSON.parse(data));
      else if (kind === "trouble") lost(JSON.parse(data));
    }
  }
}

function lost(why) {
  setState("no view", "gone");
  say(why);
}

async function order(what, given) {
  try {
    const response = await fetch(`/api/v1/${what}`, {
      method: "POST", headers: { ...headers(), "content-type": "application/json" }, body: JSON.stringify(given),
    });
    if (!response.ok) say((await response.text()).trim());
  } catch {
    say("no connection");
  }
}

// --- keys and controls -----------------------------------------------------------------------------------------------

function pause() {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Paused" : "Pause";
}

document.addEventListener("keydown", (event) => {
  const types = event.target instanceof HTMLInputElement;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !types) {
    event.preventDefault();
    $("filter").focus();
  } else if (event.key === "p" && !types) {
    pause();
  } else if (event.key === "Escape" && event.target === $("filter")) {
    $("filter").value = "";
    drawRows();
    $("filter").blur();
  }
});
$("pause").addEventListener("click", pause);
$("filter").addEventListener("input", drawRows);
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  $("access").open = false;
  drawHead();
  if (view) draw();
  watch.again?.();
});
setInterval(() => {
  if (!paused) for (const cell of document.querySelectorAll("td[data-ends]")) countDown(cell);
}, 200);
drawHead();
watch();
