"use strict";
// The page as the server tells it, written into the document as text: nothing that comes over the line is ever markup.

const byId = (id) => document.getElementById(id);

const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

const said = (state, name = "span") => element(name, state.words, { class: state.mark });

const age = (ms) => {
  if (ms === null || ms === undefined) return "none yet";
  const seconds = Math.floor(ms / 1000);
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min ago`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h ago`;
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

const worst = (device) => {
  const order = ["good", "look", "bad"];
  return Math.max(order.indexOf(device.link.mark), order.indexOf(device.security.mark));
};

let view = null;
let isOld = false;

const showState = () => {
  const lines = [
    ["Daemon", view.daemon], ["Broker", view.uplink], ["Certificate", view.certificate], ["Clock", view.clock],
    ["Store", view.store], ["Fleet", view.fleet], ...view.radios.map((radio) => ["Radio", radio]),
    ...view.warnings.map((warning) => ["Warning", warning]),
  ].filter(([, state]) => state && state.words !== "");
  byId("state").replaceChildren(...lines.flatMap(([name, state]) => {
    const definition = element("dd");
    definition.append(said(state));
    return [element("dt", name), definition];
  }));
};

const cell = (name, content, attributes = {}) => {
  const made = element("td", undefined, { "data-name": name, ...attributes });
  made.append(content);
  return made;
};

const showDevices = () => {
  const wanted = byId("find").value.trim().toLowerCase();
  const onlyTrouble = byId("trouble").checked;
  const shown = view.devices
    .filter((device) => `${device.id} ${device.driver}`.toLowerCase().includes(wanted))
    .filter((device) => !onlyTrouble || worst(device) > 0)
    .sort((a, b) => worst(b) - worst(a) || a.id.localeCompare(b.id));
  const rows = shown.map((device) => {
    const row = element("tr");
    const name = element("th", device.id, { scope: "row" });
    name.append(element("span", device.driver, { class: "driver" }));
    row.append(name, cell("Link", said(device.link)), cell("Last reading", age(device.last_reading_age_ms)),
      cell("Security", said(device.security)), cell("Admitted", String(device.admitted), { class: "number" }),
      cell("Refused", String(device.refused), { class: "number" }), cell("Faults", String(device.faults), { class: "number" }));
    return row;
  });
  if (rows.length === 0) {
    const row = element("tr");
    row.append(element("td", view.daemon.mark === "bad" ? "Nothing is known while the daemon is away." : view.devices.length === 0 ? "No device is listed." : "No device matches.", { colspan: "7" }));
    rows.push(row);
  }
  byId("rows").replaceChildren(...rows);
  byId("unlisted").textContent = view.unlisted === 0 ? ""
    : `${view.unlisted} BLE device(s) that are not listed are heard. None is connected to.`;
};

const showSpool = () => {
  byId("lanes").replaceChildren(...view.lanes.map((lane) => {
    const row = element("tr");
    row.append(element("th", lane.lane, { scope: "row" }), element("td", String(lane.records), { class: "number" }),
      element("td", size(lane.bytes), { class: "number" }),
      element("td", lane.oldest_age_ms === null ? "-" : age(lane.oldest_age_ms)));
    return row;
  }));
  const points = view.depth;
  const most = Math.max(1, ...points);
  const x = (place) => (points.length < 2 ? 300 : (place * 300) / (points.length - 1));
  const y = (value) => 57 - (value * 54) / most;
  const line = points.map((value, place) => `${place === 0 ? "M" : "L"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  byId("line").setAttribute("d", line);
  byId("area").setAttribute("d", line === "" ? "" : `${line}L300 60L${x(0)} 60Z`);
  const now = points.length === 0 ? 0 : points[points.length - 1];
  const words = view.daemon.mark === "bad" ? "Nothing is known while the daemon is away; the line is from before."
    : `${now} records wait now; at most ${Math.max(0, ...points)} in the last ${Math.max(1, Math.round((points.length * 2) / 60))} min`;
  byId("depth-words").textContent = words;
  byId("depth").setAttribute("aria-label", words);
};

const showEvents = () => {
  const items = view.events.map((event) => {
    const item = element("li");
    item.append(element("time", age(event.age_ms)), " ", said(event));
    return item;
  });
  byId("events").replaceChildren(...(items.length === 0 ? [element("li", "Nothing yet.")] : items));
};

const show = () => {
  document.title = view.gateway === "" ? "Wardline" : `${view.gateway} - Wardline`;
  byId("gateway").textContent = view.gateway === "" ? "Wardline" : view.gateway;
  const trouble = view.devices.filter((device) => worst(device) > 0).length;
  const states = [view.daemon, view.uplink, view.clock, view.store, view.certificate, view.fleet, ...view.radios, ...view.warnings];
  const others = states.filter((state) => state && state.mark !== "good" && state.words !== "").length;
  const bad = isOld || view.daemon.mark === "bad";
  const words = isOld ? "This page has lost its program: what stands below is old"
    : view.daemon.mark === "bad" ? view.daemon.words
      : trouble + others === 0 ? `All ${view.devices.length} devices and the gateway are well`
        : `${trouble} of ${view.devices.length} devices and ${others} things of the gateway need a look`;
  const summary = byId("summary");
  // Told again only when it says something else, so that a reader of the screen is left in peace.
  if (summary.textContent !== words) summary.textContent = words;
  summary.className = bad ? "bad" : trouble + others > 0 ? "look" : "good";
  document.body.classList.toggle("old", isOld);
  showState();
  showDevices();
  showSpool();
  showEvents();
};

byId("find").addEventListener("input", () => view && showDevices());
byId("trouble").addEventListener("change", () => view && showDevices());

// A message is due every two seconds, and a daemon that hangs delays one by ten: after that the line is dead, also where
// the browser was told nothing of it.
const PATIENCE_MS = 20000;
let watchdog = null;
const lose = () => {
  isOld = true;
  if (view) show();
  else byId("summary").textContent = "The program of this page does not answer: is it still running?";
};
const wait = () => {
  clearTimeout(watchdog);
  watchdog = setTimeout(lose, PATIENCE_MS);
};
wait();

const source = new EventSource("/events");
source.addEventListener("message", (message) => {
  const told = JSON.parse(message.data);
  if (!told.daemon) return;
  view = told;
  isOld = false;
  wait();
  show();
});
source.addEventListener("error", lose);
