// The page: files in, a list of outcomes, one of them shown.
import { answer, line, warnings } from "./answer.js";
import { byId, element, probability, sentence, visible } from "./dom.js";
import { asCsv, asJson, save } from "./download.js";
import { ofDrop, ofFolder } from "./files.js";
import { markdown } from "./markdown.js";
import { Pane } from "./pane.js";
import { decoded } from "./picture.js";
import * as service from "./service.js";

/** Files per request; what is chosen at once and not more comes with its pictures, other pictures when looked at. */
const GROUP = 4;
/** Bytes of a request beside its files. */
const FORM = 4096;
/** Pictures that are kept decoded, each some ten megabytes. */
const KEPT = 6;
/** A sign beside each verdict, as in audit/words.py, so that colour is never alone. */
const SIGNS = { "shortcut found": "✗", "no shortcut found": "✓", "cannot be told": "?", "does not apply": "–", yes: "✓" };

const entries = []; // { number, file, name, state, result, reason, picture, button }
const viewed = []; // entries whose picture is kept, the last one last
let about = null;
let chosen = null;
let running = null; // AbortController of the requests in progress
let over = 0; // files of folders that the run passes over
const panes = [new Pane(pane => follow(pane)), new Pane(pane => follow(pane))];

const say = words => { byId("status").textContent = words; };

// ---- files in

async function add(found) {
  const { files, passedOver } = await found;
  if (!about) return say("The server has not said which classifier it has; reload the page.");
  over += passedOver;
  if (!files.length && !running) return say(`No radiograph found${passed()}.`);
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
  return undefined;
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
  for (let group = next(); group.length; group = next()) {
    for (const entry of group) update(entry, { state: "asking" });
    await scored(group, entries.length - first < GROUP, running.signal);
    advance(first);
  }
  if (document.activeElement === byId("cancel")) byId("choose-files").focus(); // else the focus would be lost
  byId("progress").hidden = true;
  running = null;
  const now = entries.slice(first - 1);
  const without = now.filter(entry => entry.reason || entry.result.left_out).length;
  say(`${now.length} done: ${now.length - without} scored, ${without} without an answer${passed()}.`);
}

/** The next files to ask about, within the limits of a request. */
function next() {
  const group = [];
  const room = about.limits.bytes - FORM;
  let bytes = 0;
  for (const entry of entries) {
    if (entry.state !== "waiting") continue;
    if (entry.file.size > room) {
      update(entry, { state: "done", reason: `The file is larger than the ${megabytes(about.limits.bytes)} that this server takes.` });
      continue;
    }
    bytes += entry.file.size;
    if (group.length && (group.length >= Math.min(GROUP, about.limits.files) || bytes > room)) break;
    group.push(entry);
  }
  return group;
}

const megabytes = bytes => `${Math.floor(bytes / 2 ** 20)} MiB`;

function advance(first) {
  const now = entries.slice(first - 1);
  const done = now.filter(entry => entry.state === "done").length;
  Object.assign(byId("bar"), { max: now.length, value: done });
  say(`${done} of ${now.length} done.`);
}

/** Ask about some files. If together they are refused, ask about each, so that one cannot keep others from an answer. */
async function scored(group, look, signal) {
  try {
    const results = await service.score(group.map(entry => entry.file), look, signal);
    for (const [at, result] of results.entries()) await answered(group[at], result);
  } catch (error) {
    if (error.name === "AbortError") {
      for (const entry of entries) {
        if (entry.state !== "done") update(entry, { state: "done", reason: "Cancelled before it was scored." });
      }
    } else if (group.length > 1 && error.status !== 401) {
      for (const entry of group) if (!signal.aborted) await scored([entry], look, signal);
    } else {
      for (const entry of group) update(entry, { state: "done", reason: told(error) });
    }
  }
}

/** What an error says to a person; what is not the server's refusal is a mistake in this page, and goes to its console. */
function told(error) {
  if (error instanceof service.Refused) return sentence(error.message);
  console.error(error);
  return "This browser could not show what the server answered.";
}

async function answered(entry, { look, ...result }) {
  if (look) keep(entry, await decoded(look));
  update(entry, { state: "done", result });
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
    element("span", { class: "file" }, `${entry.number}. `, element("bdi", {}, entry.name)), element("span", { class: "said" }, words));
  if (entry.state !== "done" || entry.option || !entry.result?.scores || entry.result.left_out) return;
  entry.option = element("option", { value: entry.number }, `${entry.number}. ${entry.name}`);
  byId("compare").append(entry.option);
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

async function choose(entry) {
  chosen = entry;
  tabTo(entry);
  for (const each of entries) each.button.toggleAttribute("aria-current", each === entry);
  byId("chosen").hidden = false;
  byId("chosen-title").replaceChildren(`${entry.number}. `, element("bdi", {}, entry.name));
  const answerable = entry.result && !entry.result.left_out;
  byId("warnings").replaceChildren(...(entry.state === "done" ? warnings(entry) : []));
  byId("answer").replaceChildren(...(answerable ? answer(entry, about) : []));
  byId("panes").hidden = !answerable;
  byId("comparing").hidden = !answerable || byId("compare").options.length < 3; // nothing, and itself
  for (const option of byId("compare").options) option.disabled = option.value === String(entry.number);
  if (byId("compare").value === String(entry.number)) byId("compare").value = "";
  if (answerable) await Promise.all([show(panes[0], entry), compare()]);
}

async function compare() {
  const other = entries[Number(byId("compare").value) - 1];
  byId("panes").replaceChildren(panes[0].figure, ...(other ? [panes[1].figure] : []));
  byId("panes").classList.toggle("two", Boolean(other));
  if (other) await show(panes[1], other);
  if (other) follow(panes[0]);
}

function follow(pane) {
  const other = panes.find(each => each !== pane);
  if (byId("linked").checked && other?.figure.isConnected) other.follow(pane);
}

/** Show the picture of an entry, asking for it if it is not kept. */
async function show(pane, entry) {
  if (pane.entry === entry && pane.picture && pane.picture === entry.picture) return;
  pane.entry = entry;
  if (!entry.picture) {
    pane.show(null, entry.name, "", "Loading the picture …");
    try {
      const [{ look }] = await service.score([entry.file], true);
      if (look) keep(entry, await decoded(look));
      else entry.why = "There is no heat map of this radiograph.";
    } catch (error) {
      entry.why = `No picture: ${told(error)}`;
    }
  } else keep(entry, entry.picture);
  if (pane.entry !== entry) return; // another was chosen meanwhile
  const { prediction, scores } = entry.result;
  const label = about.classes.find(each => each.name === prediction).shown;
  const caption = `${entry.number}. ${entry.name}. Most probable: ${label}, ${probability(scores[prediction])}. Colours show where ` +
    `evidence for ${label} was found: what moved the score, not whether that was right.`;
  pane.show(entry.picture ?? null, `${entry.number}. ${entry.name}`, caption, entry.picture ? "" : entry.why);
}

function keep(entry, picture) {
  entry.picture = picture;
  if (viewed.includes(entry)) viewed.splice(viewed.indexOf(entry), 1);
  viewed.push(entry);
  while (viewed.length > KEPT) viewed.shift().picture = null;
}

// ---- what the page says of the classifier

function describe() {
  const names = about.classes.map(each => each.shown);
  byId("lead").replaceChildren(element("b", {}, visible(about.name)), ` tells ${names.slice(0, -1).join(", ")} and ${names.at(-1)} apart on ` +
    "frontal chest radiographs. Each answer comes with what speaks against it.");
  byId("drawn").hidden = !about.drawn;
  byId("limits").textContent += ` Up to ${megabytes(about.limits.bytes)} and ${Math.round(about.limits.pixels / 1e6)} megapixels each. ` +
    "They are sent to this server alone, without their names, and are not stored.";
  for (const each of about.samples) {
    const button = element("button", { type: "button" }, each.said);
    button.addEventListener("click", async () => {
      try {
        await add({ files: [await service.sample(each)], passedOver: 0 });
      } catch (error) {
        say(told(error));
      }
    });
    byId("samples").append(button);
  }
  byId("samples").hidden = !about.samples.length;
  byId("card").lastElementChild.replaceChildren(about.model_card ? markdown(about.model_card, 3) : "This bundle has no model card.");
  byId("audit").lastElementChild.replaceChildren(about.audit ? verdicts() : "No audit of this bundle is at hand: nothing is known " +
    "of whether it sees the disease or the hospital.");
  byId("foot").textContent = `cxrflow ${about.cxrflow}, bundle ${about.bundle.slice(0, 12)}. ${about.purpose}`;
}

function verdicts() {
  const rows = about.audit.map(({ test, verdict, text }) => element("tr", {},
    element("th", { scope: "row" }, visible(test.replaceAll("_", " "))),
    element("td", {}, element("span", { class: `verdict ${verdict.replaceAll(" ", "-")}` }, `${SIGNS[verdict] ?? "?"} ${verdict}`)),
    element("td", {}, visible(text))));
  const head = element("tr", {}, ...["Question", "Verdict", "Why"].map(word => element("th", { scope: "col" }, word)));
  return element("table", { class: "verdicts" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

// ---- events

const chosenFiles = (input, found) => {
  const picked = found(input.files);
  input.value = "";
  add(picked);
};
byId("choose-files").addEventListener("click", () => byId("files").click());
byId("choose-folder").addEventListener("click", () => byId("folder").click());
byId("files").addEventListener("change", event => chosenFiles(event.target, files => ({ files: [...files], passedOver: 0 })));
byId("folder").addEventListener("change", event => chosenFiles(event.target, ofFolder));
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  addEventListener(name, event => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    byId("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") add(ofDrop(event.dataTransfer));
  });
}
byId("cancel").addEventListener("click", () => running?.abort(new DOMException("cancelled", "AbortError")));
byId("compare").addEventListener("change", compare);
byId("csv").addEventListener("click", () => save(asCsv(entries, about, byId("names").checked), "results.csv", "text/csv"));
byId("json").addEventListener("click", () => save(asJson(entries, about, byId("names").checked), "results.json", "application/json"));
byId("clear").addEventListener("click", () => {
  running?.abort(new DOMException("cancelled", "AbortError"));
  entries.length = viewed.length = 0;
  chosen = null;
  for (const pane of panes) pane.show(null, "");
  byId("list").replaceChildren();
  byId("compare").replaceChildren(byId("compare").options[0]);
  byId("results").hidden = byId("chosen").hidden = true;
  say("The list is empty.");
  byId("choose-files").focus();
});

try {
  about = await service.about();
  describe();
} catch (error) {
  byId("lead").textContent = told(error);
}
