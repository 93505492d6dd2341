// The list of results as CSV and JSON, in the columns and fields of `cxrflow predict`, made in the browser.
import { element } from "./dom.js";

/** Fields of a result that are for this page alone. */
const ONLY_HERE = ["look", "words", "path"];

/** A result for each entry of the list, also for those that got no answer; `path` is the file's name if asked for. */
function rows(entries, about, names) {
  return entries.map(({ file, result, reason }, at) => {
    const none = { image: "", scores: {}, flags: [], left_out: reason ?? "Not scored.", bundle: about.bundle };
    const known = result ?? none;
    const kept = Object.fromEntries(Object.entries(known).filter(([field]) => !ONLY_HERE.includes(field)));
    const image = /^sha256:/.test(known.image) ? known.image : `file:${at + 1}`;
    return { ...kept, image, ...(names ? { path: file.name } : {}) };
  });
}

export function asJson(entries, about, names) {
  return `${JSON.stringify(rows(entries, about, names), null, 1)}\n`;
}

export function asCsv(entries, about, names) {
  const classes = about.classes.map(each => each.name);
  const points = about.operating_points.map(each => each.name);
  const sets = about.coverage === null ? [] : ["prediction_set"];
  const named = names ? ["image", "path"] : ["image"];
  const at = points.map(each => `positive_at_${each}`);
  const text = about.burned_in_text ? ["text_places"] : [];
  const last = ["frontal", "as_far", ...text, "flag", "note", "left_out"];
  const head = [...named, ...classes, "prediction", ...at, ...sets, ...last];
  const lines = rows(entries, about, names).map(row => [
    ...named.map(name => row[name]),
    ...classes.map(name => row.scores?.[name]),
    row.prediction,
    ...points.map(name => row.positive_at?.[name]),
    ...sets.map(() => row.prediction_set?.join(" ")),
    row.frontal,
    row.as_far,
    ...text.map(() => row.text_places?.toString()),
    row.flags?.join("; "),
    row.note,
    row.left_out,
  ]);
  return [head, ...lines].map(line => `${line.map(cell).join(",")}\n`).join("");
}

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return value.toFixed(6);
  if (typeof value === "boolean") return value ? "True" : "False";
  // What a spreadsheet would run as a formula gets an apostrophe in front, as in cxrflow/text.py.
  const inert = /^'*(?:\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

/** Let the browser save `text` as a file. */
export function save(text, name, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url));
}
