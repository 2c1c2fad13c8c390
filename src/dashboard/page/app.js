"use strict";
// The page as the server tells it, written into the document as text: nothing that comes over the line is ever markup.
// What stands on the page already is changed where it stands, so that whoever reads it with a screen reader, or has
// marked a word of it, keeps the place.

const byId = (id) => document.getElementById(id);

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

const setHidden = (node, isHidden) => {
  if (node.hidden !== isHidden) node.hidden = isHidden;
};

const setSaid = (node, state) => {
  if (node.className !== state.mark) node.className = state.mark;
  setText(node, state.words);
};

// A table without rows is not shown: heads above nothing look like a page that is broken.
const showTable = (rows) => setHidden(rows.closest("table"), rows.children.length === 0);

// Gives a parent one child for each item. A child that is there already stays the same one.
const keep = (parent, items, keyOf, make, fill) => {
  const wanted = new Set(items.map(keyOf));
  const known = new Map();
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) known.set(child.dataset.key, child);
    else child.remove();
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const child = known.get(key) ?? make();
    child.dataset.key = key;
    fill(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
};

const lasting = (seconds) => {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
};

const ago = (ms) => {
  const seconds = Math.floor(ms / 1000);
  return seconds < 2 ? "now" : `${lasting(seconds)} ago`;
};

const size = (bytes) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (bytes >= 1024 && place < units.length - 1) {
    bytes /= 1024;
    place += 1;
  }
  return `${place === 0 ? bytes : bytes.toFixed(1)} ${units[place]}`;
};

const MARKS = ["good", "look", "bad"];
const worst = (device) => Math.max(MARKS.indexOf(device.link.mark), MARKS.indexOf(device.security.mark));

let view = null;
let received = 0;
let isLost = false;

const showState = () => {
  const several = (name, states) => states.map((state, place) => [name, state, `${name} ${place}`]);
  const one = (name, state) => several(name, [state]);
  const lines = [
    ...one("Daemon", view.daemon), ...one("Broker", view.uplink), ...one("Certificate", view.certificate),
    ...one("Clock", view.clock), ...one("Store", view.store), ...one("Fleet", view.fleet),
    ...several("Radio", view.radios), ...several("Warning", view.warnings),
  ].filter(([, state]) => state && state.words !== "");
  const make = () => element("div", {}, element("dt"), element("dd", {}, element("span")));
  keep(byId("state"), lines, ([, , key]) => key, make, (line, [name, state]) => {
    setText(line.firstElementChild, name);
    setSaid(line.lastElementChild.firstElementChild, state);
  });
};

const cell = (name, attributes = {}) => element("td", { role: "cell", "data-name": name, ...attributes }, element("span"));

const makeDevice = () => element("tr", { role: "row" },
  element("th", { role: "rowheader", scope: "row" }, element("span"), element("span", { class: "driver" })),
  cell("Link"), cell("Last reading"), cell("Security"),
  cell("Admitted", { class: "number" }), cell("Refused", { class: "number" }), cell("Faults", { class: "number" }));

const fillDevice = (row, device) => {
  const [name, link, reading, security, admitted, refused, faults] = row.children;
  setText(name.firstElementChild, device.id);
  setText(name.lastElementChild, device.driver);
  setSaid(link.firstElementChild, device.link);
  setText(reading.firstElementChild, device.last_reading_age_ms === null ? "none yet" : ago(device.last_reading_age_ms));
  setSaid(security.firstElementChild, device.security);
  setText(admitted.firstElementChild, String(device.admitted));
  setText(refused.firstElementChild, String(device.refused));
  setText(faults.firstElementChild, String(device.faults));
};

const showDevices = () => {
  const wanted = byId("find").value.trim().toLowerCase();
  const onlyTrouble = byId("trouble").checked;
  const shown = view.devices
    .filter((device) => `${device.id} ${device.driver}`.toLowerCase().includes(wanted))
    .filter((device) => !onlyTrouble || worst(device) > 0)
    .sort((a, b) => worst(b) - worst(a) || a.id.localeCompare(b.id, undefined, { numeric: true }));
  keep(byId("rows"), shown, (device) => device.id, makeDevice, fillDevice);
  showTable(byId("rows"));
  setText(byId("none"), view.daemon.mark === "bad" ? "Nothing is known while the daemon is away."
    : view.devices.length === 0 ? "No device is listed." : "No device matches.");
  setHidden(byId("none"), shown.length > 0);
  setText(byId("unlisted"), `${view.unlisted} BLE device(s) that are not listed are heard. None is connected to.`);
  setHidden(byId("unlisted"), view.unlisted === 0);
};

const makeLane = () => element("tr", { role: "row" }, element("th", { role: "rowheader", scope: "row" }),
  element("td", { role: "cell", class: "number" }), element("td", { role: "cell", class: "number" }), element("td", { role: "cell" }));

const fillLane = (row, lane) => {
  const [name, records, bytes, oldest] = row.children;
  setText(name, lane.lane);
  setText(records, String(lane.records));
  setText(bytes, size(lane.bytes));
  setText(oldest, lane.oldest_age_ms === null ? "-" : ago(lane.oldest_age_ms));
};

const showSpool = () => {
  keep(byId("lanes"), view.lanes, (lane) => lane.lane, makeLane, fillLane);
  showTable(byId("lanes"));
  const points = view.depth;
  const most = Math.max(1, ...points);
  const x = (place) => (points.length < 2 ? 300 : (place * 300) / (points.length - 1));
  const y = (value) => 57 - (value * 54) / most;
  const line = points.map((value, place) => `${place === 0 ? "M" : "L"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  byId("line").setAttribute("d", line);
  byId("area").setAttribute("d", line === "" ? "" : `${line}L300 60L${x(0)} 60Z`);
  const now = points.length === 0 ? 0 : points[points.length - 1];
  const minutes = Math.max(1, Math.round((points.length * 2) / 60));
  setText(byId("depth-words"), view.daemon.mark === "bad" ? "Nothing is known while the daemon is away; the line is from before."
    : `${now} ${now === 1 ? "record waits" : "records wait"} now; at most ${Math.max(0, ...points)} in the last ${minutes} min`);
};

const showEvents = () => {
  const make = () => element("li", {}, element("time"), " ", element("span"));
  keep(byId("events"), view.events, (event) => String(event.number), make, (item, event) => {
    setText(item.firstElementChild, ago(event.age_ms));
    setSaid(item.lastElementChild, event);
  });
  setHidden(byId("calm"), view.events.length > 0);
};

// Told by a screen reader when its words change, and no word of it tells an age: in peace until something matters.
const showSummary = (state) => setSaid(byId("summary"), state);

// How old the figures are, every second. Calm while they are as new as they can be.
const FRESH_MS = 5000;
const showAge = () => {
  if (!view) return;
  const known = view.answer_age_ms;
  const old = known === null ? null : known + (performance.now() - received);
  const isOld = isLost || old === null || old > FRESH_MS || view.daemon.mark !== "good";
  document.body.classList.toggle("old", isOld);
  setText(byId("fresh"), !isOld ? "Live: looked at every 2 s"
    : old === null ? "The daemon has told nothing yet"
      : view.daemon.mark === "bad" ? `The last answer of the daemon came ${lasting(Math.floor(old / 1000))} ago`
        : `What stands here is ${lasting(Math.floor(old / 1000))} old`);
};

const show = () => {
  document.title = view.gateway === "" ? "Wardline" : `${view.gateway} - Wardline`;
  setText(byId("gateway"), view.gateway === "" ? "Wardline" : view.gateway);
  setText(byId("about"), view.version === "" ? ""
    : view.daemon.mark === "bad" ? `wardline ${view.version}`
      : `wardline ${view.version}, running for ${lasting(Math.floor(view.uptime_ms / 1000))}`);
  showSummary(view.summary);
  showState();
  showDevices();
  showSpool();
  showEvents();
  showAge();
};

const lose = (words) => {
  clearTimeout(watchdog);
  isLost = true;
  showSummary({ mark: "bad", words });
  setHidden(byId("lost"), false);
  showAge();
};

// A message is due every two seconds, also while the daemon hangs: after so long the line is dead, also where the browser
// was told nothing of it.
const PATIENCE_MS = 8000;
let watchdog = null;
let line = null;
const wait = () => {
  clearTimeout(watchdog);
  watchdog = setTimeout(() => line?.abort(), PATIENCE_MS);
};

const take = (told) => {
  wait();
  if (!told.daemon) return;
  view = told;
  received = performance.now();
  show();
};

const ADDRESS = "open the address that wardline dashboard has printed";

// The key comes with the address, after its `#`, which no browser sends to anybody, and stays with this page alone.
const takeKey = () => {
  const given = location.hash.slice(1);
  if (/^[0-9a-f]{32}$/.test(given)) {
    sessionStorage.setItem("key", given);
    history.replaceState(null, "", "/");
    return true;
  }
  return false;
};

const follow = async (key) => {
  line = new AbortController();
  wait();
  const answer = await fetch("/events", { headers: { Authorization: `Bearer ${key}` }, signal: line.signal });
  if (answer.status === 403) return `The key is of an earlier start: ${ADDRESS}`;
  if (answer.status === 503) return "Too many browsers look already: close one";
  if (!answer.ok) return `The program of this page answers ${answer.status}`;
  isLost = false;
  setHidden(byId("lost"), true);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return "";
    const messages = (text + value).split("\n\n");
    text = messages.pop();
    for (const message of messages) {
      const lines = message.split("\n").filter((one) => one.startsWith("data: ")).map((one) => one.slice(6));
      if (lines.length > 0) take(JSON.parse(lines.join("\n")));
      else wait();
    }
  }
};

const look = async () => {
  const key = sessionStorage.getItem("key");
  if (!key) return lose(`The key is missing: ${ADDRESS}`);
  let words = "";
  try {
    words = await follow(key);
  } catch {
    words = "";
  }
  lose(words || (view ? "This page has lost its program: what stands below is old" : "The program of this page does not answer"));
};

byId("find").addEventListener("input", () => view && showDevices());
byId("trouble").addEventListener("change", () => view && showDevices());
byId("again").addEventListener("click", () => {
  showSummary({ mark: "look", words: "Looking again" });
  setHidden(byId("lost"), true);
  look();
});
window.addEventListener("hashchange", () => takeKey() && location.reload());
setInterval(showAge, 1000);
takeKey();
look();
