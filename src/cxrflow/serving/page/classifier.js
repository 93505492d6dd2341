// What the page says of the classifier itself: what it tells apart, its limits, its model card, its audit.
import { byId, element, visible } from "./dom.js";
import { markdown } from "./markdown.js";

/** A sign beside each verdict, as in audit/words.py, so that colour is never alone. */
const SIGNS = {
  "shortcut found": "✗", "no shortcut found": "✓", "cannot be told": "?", "does not apply": "–", yes: "✓",
};
const NO_AUDIT = "No audit of this bundle is at hand: nothing is known of whether it sees the disease or the hospital.";

export const megabytes = bytes => `${Math.floor(bytes / 2 ** 20)} MiB`;

/** Describe what `about` says; `tried` is called with a sample when its button is pressed. */
export function describe(about, tried) {
  const names = about.classes.map(each => each.shown);
  const apart = `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  byId("lead").replaceChildren(
    element("b", {}, visible(about.name)),
    ` tells ${apart} apart on frontal chest radiographs. Each answer comes with what speaks against it.`,
  );
  byId("drawn").hidden = !about.drawn;
  byId("limits").textContent += ` Up to ${megabytes(about.limits.bytes)} and ` +
    `${Math.round(about.limits.pixels / 1e6)} megapixels each. They are sent to this server alone, without their ` +
    "names, and are not stored.";
  for (const sample of about.samples) {
    const button = element("button", { type: "button" }, sample.said);
    button.addEventListener("click", () => tried(sample));
    byId("samples").append(button);
  }
  byId("samples").hidden = !about.samples.length;
  const card = about.model_card ? markdown(about.model_card, 3) : "This bundle has no model card.";
  byId("card").lastElementChild.replaceChildren(card);
  byId("audit").lastElementChild.replaceChildren(about.audit ? verdicts(about.audit) : NO_AUDIT);
  byId("foot").textContent = `cxrflow ${about.cxrflow}, bundle ${about.bundle.slice(0, 12)}. ${about.purpose}`;
}

function verdicts(tests) {
  const rows = tests.map(({ question, verdict, text }) => {
    const kind = `verdict ${verdict.replaceAll(" ", "-")}`;
    return element("tr", {},
      element("th", { scope: "row" }, visible(question)),
      element("td", {}, element("span", { class: kind }, `${SIGNS[verdict] ?? "?"} ${verdict}`)),
      element("td", {}, visible(text)));
  });
  const head = ["Test", "Verdict", "What was found"].map(word => element("th", { scope: "col" }, word));
  return element("table", { class: "verdicts" },
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}
