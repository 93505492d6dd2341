// The page: files in, a list of outcomes, one of them shown.
import { answer, line, warnings } from "./answer.js";
import { describe, megabytes } from "./classifier.js";
import { byId, element, visible } from "./dom.js";
import { asCsv, asJson, save } from "./download.js";
import { ofDrop, ofFolder } from "./files.js";
import * as service from "./service.js";
import { empty, keep, view } from "./viewer.js";

/** Files per request; what is chosen at once and not more comes with its pictures, other pictures when looked at. */
const GROUP = 4;
/** Bytes of a request beside its files. */
const FORM = 4096;

const entries = []; // { number, file, name, state, result, reason, picture, button }
let about = null;
let chosen = null;
let running = null; // AbortController of the requests in progress
let over = 0; // files of folders that were passed over

const say = words => { byId("status").textContent = words; };

// ---- files in

/** Add files to the list, and have them scored. */
async function add({ files, passedOver }) {
  if (!about) {
    say("The server has not said which classifier it has; reload the page.");
    return;
  }
  over += passedOver;
  if (!files.length) {
    if (!running) say(`No radiograph found${passed()}.`);
    return;
  }
  byId("results").hidden = false;
  for (const file of files) {
    const entry = { number: entries.length + 1, file, name: visible(file.name), state: "waiting" };
    entries.push(entry);
    entry.button = element("button", { type: "button", tabindex: entries.length > 1 ? -1 : 0 });
    entry.button.addEventListener("click", () => {
      say(`Shown: ${entry.number}. ${entry.name}: ${line(entry, about).words}`);
      choose(entry);
    });
    byId("list").append(element("li", {}, entry.button));
    relabel(entry);
  }
  if (!running) await run();
}

/** What was passed over since this was last said. */
function passed() {
  const words = over ? `; ${over} other file${over > 1 ? "s" : ""} passed over` : "";
  over = 0;
  return words;
}

async function run() {
  running = new AbortController();
  const first = entries.find(entry => entry.state === "waiting").number;
  byId("progress").hidden = false;
  advance(first);
  const { signal } = running;
  for (let group = next(); group.length && !signal.aborted; group = next()) {
    for (const entry of group) update(entry, { state: "asking" });
    await scored(group, entries.length - first < GROUP, signal);
    advance(first);
  }
  if (document.activeElement === byId("cancel")) byId("choose-files").focus(); // else the focus would be lost
  byId("progress").hidden = true;
  running = null;
  if (entries.some(entry => entry.state === "waiting")) { // added after a cancelled run
    await run();
    return;
  }
  const now = entries.slice(first - 1);
  const without = now.filter(entry => entry.reason || entry.result.left_out).length;
  if (now.length) say(`${now.length} done: ${now.length - without} scored, ${without} without an answer${passed()}.`);
}

/** The next files to ask about, within the limits of a request. */
function next() {
  const group = [];
  const room = about.limits.bytes - FORM;
  let bytes = 0;
  for (const entry of entries) {
    if (entry.state !== "waiting") continue;
    if (entry.file.size > room) {
      const most = megabytes(about.limits.bytes);
      update(entry, { state: "done", reason: `The file is larger than the ${most} that this server takes.` });
      continue;
    }
    bytes += entry.file.size;
    if (group.length && (group.length >= Math.min(GROUP, about.limits.files) || bytes > room)) break;
    group.push(entry);
  }
  return group;
}

function advance(first) {
  const now = entries.slice(first - 1);
  const done = now.filter(entry => entry.state === "done").length;
  Object.assign(byId("bar"), { max: now.length, value: done });
  if (now.length) say(`${done} of ${now.length} done.`);
}

/** Ask about some files. If together they are refused, ask about each: one keeps no other from its answer. */
async function scored(group, look, signal) {
  try {
    const results = await service.score(group.map(entry => entry.file), look, signal);
    for (const [at, { look: seen, ...result }] of results.entries()) {
      if (seen) await keep(group[at], seen);
      update(group[at], { state: "done", result });
    }
  } catch (error) {
    if (signal.aborted) return; // what it leaves is marked as cancelled
    if (group.length > 1 && error.status !== 401) {
      for (const entry of group) if (!signal.aborted) await scored([entry], look, signal);
    } else {
      for (const entry of group) update(entry, { state: "done", reason: service.told(error) });
    }
  }
}

/** Stop asking; what has no answer yet stays listed. */
function cancel() {
  running?.abort();
  for (const entry of entries) {
    if (entry.state !== "done") update(entry, { state: "done", reason: "Cancelled before it was scored." });
  }
}

// ---- the list

function update(entry, change) {
  if (entries[entry.number - 1] !== entry) return; // the list has been cleared meanwhile
  Object.assign(entry, change);
  relabel(entry);
  if (entry.state === "done" && !chosen && !entry.reason) {
    choose(entry);
    byId("results").scrollIntoView();
  } else if (entry === chosen) choose(entry);
}

function relabel(entry) {
  const { kind, words } = line(entry, about);
  entry.button.className = kind;
  entry.button.replaceChildren(
    element("span", { class: "file" }, `${entry.number}. `, element("bdi", {}, entry.name)),
    element("span", { class: "said" }, words),
  );
  if (entry.state !== "done" || entry.option || !entry.result?.scores || entry.result.left_out) return;
  entry.option = element("option", { value: entry.number }, `${entry.number}. ${entry.name}`);
  byId("compare").append(entry.option);
  offer();
}

/** Offer to compare, if there is something else to compare with. */
function offer() {
  byId("comparing").hidden = !chosen || !answerable(chosen) || byId("compare").options.length < 3; // nothing, itself
}

byId("list").addEventListener("keydown", event => {
  const at = entries.findIndex(entry => entry.button === document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
  if (at < 0 || !entries[to]) return;
  event.preventDefault();
  tabTo(entries[to]);
  entries[to].button.focus();
});

/** Of the list, only one button is reached by Tab; arrow keys reach the others. */
function tabTo(entry) {
  for (const each of entries) each.button.tabIndex = each === entry ? 0 : -1;
}

// ---- one outcome, or two

/** Show what is known of an entry. */
function choose(entry) {
  chosen = entry;
  tabTo(entry);
  for (const each of entries) each.button.toggleAttribute("aria-current", each === entry);
  byId("chosen").hidden = false;
  fill(byId("case"), entry);
  offer();
  for (const option of byId("compare").options) option.disabled = option.value === String(entry.number);
  if (byId("compare").value === String(entry.number)) byId("compare").value = "";
  compare();
}

/** Show the entry that the chosen one is to be compared with, if both have an answer. */
function compare() {
  const other = answerable(chosen) ? entries[Number(byId("compare").value) - 1] : undefined;
  byId("cases").classList.toggle("two", Boolean(other));
  byId("other").hidden = byId("link").hidden = !other;
  if (other) fill(byId("other"), other);
  if (answerable(chosen)) view(chosen, other, about);
}

const answerable = entry => Boolean(entry.result && !entry.result.left_out);

/** Name, warnings and answer of an entry, into the elements of a case. */
function fill(place, entry) {
  place.querySelector("h3").replaceChildren(`${entry.number}. `, element("bdi", {}, entry.name));
  place.querySelector(".warnings").replaceChildren(...(entry.state === "done" ? warnings(entry) : []));
  place.querySelector(".answer").replaceChildren(...(answerable(entry) ? answer(entry, about) : []));
  place.querySelector(".place").hidden = !answerable(entry);
}

// ---- events

const singly = files => ({ files: [...files], passedOver: 0 });
const picked = (input, found) => {
  const files = found(input.files);
  input.value = ""; // so that the same can be chosen again
  add(files);
};
byId("choose-files").addEventListener("click", () => byId("files").click());
byId("choose-folder").addEventListener("click", () => byId("folder").click());
byId("files").addEventListener("change", event => picked(event.target, singly));
byId("folder").addEventListener("change", event => picked(event.target, ofFolder));
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  addEventListener(name, event => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    byId("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") ofDrop(event.dataTransfer).then(add, () => say("What was dropped cannot be read."));
  });
}
byId("cancel").addEventListener("click", cancel);
byId("compare").addEventListener("change", compare);
for (const [name, written, type] of [["csv", asCsv, "text/csv"], ["json", asJson, "application/json"]]) {
  byId(name).addEventListener("click", () => {
    save(written(entries, about, byId("names").checked), `results.${name}`, type);
  });
}
byId("clear").addEventListener("click", () => {
  cancel();
  entries.length = 0;
  chosen = null;
  empty();
  byId("list").replaceChildren();
  byId("compare").replaceChildren(byId("compare").options[0]);
  byId("results").hidden = byId("chosen").hidden = true;
  say("The list is empty.");
  byId("choose-files").focus();
});

try {
  about = await service.about();
  describe(about, each => service.sample(each).then(file => add(singly([file])), error => say(service.told(error))));
} catch (error) {
  byId("lead").textContent = service.told(error);
}
