// What a bundle says of one radiograph, in words; and the same of all, as lines of the list.
import { element, probability, sentence, visible } from "./dom.js";

const shownName = (about, name) => about.classes.find(each => each.name === name)?.shown ?? name;

/** One line for the list: `kind` is also said in words, so that its colour is never alone. */
export function line(entry, about) {
  const { result, reason, state } = entry;
  if (state === "waiting") return { kind: "waiting", words: "waiting" };
  if (state === "asking") return { kind: "waiting", words: "being scored …" };
  if (reason) return { kind: "failed", words: `No answer: ${visible(reason)}` };
  if (result.left_out) return { kind: "failed", words: `No answer: ${visible(result.left_out)}` };
  const words = `${shownName(about, result.prediction)} ${probability(result.scores[result.prediction])}`;
  const warned = result.flags.length;
  if (!warned) return { kind: "scored", words };
  return { kind: "warned", words: `${words} · ${warned} warning${warned > 1 ? "s" : ""}` };
}

/** The warnings about a radiograph: of its flags, its header, and that there is no answer. */
export function warnings({ result, reason }) {
  if (reason || result.left_out) {
    return [alarm("No answer.", sentence(reason ?? result.left_out))];
  }
  const made = result.flags.map(flag => alarm("Warning.", `This image ${visible(flag)}.`));
  if (!result.note) return made;
  made.push(element("p", { class: "aside" }, element("b", {}, "File header: "), sentence(result.note)));
  return made;
}

function alarm(word, text) {
  return element("p", { class: "warning" }, element("b", {}, word), ` ${text}`);
}

/** Probabilities, decisions and prediction set of an answered radiograph, as sections. */
export function answer({ result }, about) {
  const parts = [probabilities(result, about)];
  if (about.operating_points.length) parts.push(decisions(result, about));
  if (result.prediction_set) parts.push(set(result, about));
  parts.push(identity(result));
  return parts;
}

function section(title, ...children) {
  return element("section", {}, element("h4", {}, title), ...children);
}

function probabilities(result, about) {
  const sorted = [...about.classes].sort((one, other) => result.scores[other.name] - result.scores[one.name]);
  const rows = sorted.map(({ name, shown, color }) => {
    const bar = element("span", { class: "bar" }, element("span"));
    bar.firstChild.style.setProperty("--share", result.scores[name]);
    bar.firstChild.style.setProperty("--class", color);
    const number = element("b", {}, probability(result.scores[name]));
    return element("li", {}, element("span", { class: "name" }, shown), bar, number);
  });
  const first = result.scores[sorted[0].name];
  const share = first > 0.995 ? "nearly all" : `about ${Math.round(100 * first)}`;
  const meaning = `Calibrated: of 100 radiographs like those it was fitted on that get ${probability(first)} for a ` +
    `class, ${share} belong to that class. The probabilities add up to 1, because it always chooses among these ` +
    `${sorted.length} classes, whatever a picture shows.${result.flags.length ? " See the warning above." : ""}`;
  const imported = !about.operating_points.length && about.coverage === null; // nothing was fitted on images here
  const note = imported ? "Whether these probabilities are calibrated is not known." : meaning;
  return section("Probabilities", element("ul", { class: "bars" }, ...rows), element("p", { class: "note" }, note));
}

function decisions(result, about) {
  const positive = shownName(about, about.positive);
  const score = result.scores[about.positive];
  const rows = about.operating_points.map(point => {
    const is = result.positive_at[point.name];
    const [threshold, sensitivity, specificity] = [point.threshold, point.sensitivity, point.specificity].map(
      each => each.toFixed(2));
    const called = element("span", { class: is ? "called positive" : "called" }, is ? "● positive" : "○ negative");
    const why = `${probability(score)} is ${is ? "at least" : "below"} the threshold ${threshold}, ${point.words}.`;
    const onVal = ` On val: sensitivity ${sensitivity}, specificity ${specificity}; optimistic, because selected ` +
      "there.";
    return element("li", {}, called, ` for ${positive}: ${why}`, element("small", {}, onVal));
  });
  return section(`${positive}: positive or negative`, element("ul", { class: "points" }, ...rows));
}

function set(result, about) {
  const held = result.prediction_set.map(name => shownName(about, name));
  const none = "no class: each is less probable here than for nearly all radiographs of that class";
  const meaning = `A list made like this holds the right class for ${Math.round(100 * about.coverage)} % of new ` +
    "patients, if they are like those it was fitted on.";
  return section("Cannot be ruled out",
    element("p", { class: "set" }, held.join(", ") || none), element("p", { class: "note" }, meaning));
}

/** As `as_far_in_words` of outputs/words.py. */
function asFar(share) {
  if (share === null) return "not known: the bundle does not say";
  const of = Math.round(100 * share) ? 100 : 1000;
  const count = Math.round(of * share);
  const said = count === 1 ? "1 is" : count ? `${count} are` : "less than 1 is";
  return `of ${of} images of new patients like those of val, ${said} at least as far`;
}

function identity(result) {
  const frontal = result.frontal === null ? "not known" : `score ${result.frontal.toFixed(2)} of 0 to 1`;
  const rows = [
    ["Image", result.image],
    ["Looks like a frontal chest radiograph", frontal],
    ["Distance from the training images", asFar(result.as_far)],
    ...(result.text_places === null ? [] : [["Places with text burned in", result.text_places]]),
    ["Bundle", result.bundle],
  ].map(([term, words]) => [element("dt", {}, term), element("dd", {}, words)]);
  const summary = element("summary", {}, "Digests, frontal score, distance from the training images");
  return element("details", { class: "identity" }, summary, element("dl", {}, ...rows.flat()));
}
