// The panes: the radiograph of the chosen entry, and of one that it is compared with.
import { byId, probability } from "./dom.js";
import { Pane } from "./pane.js";
import { decoded } from "./picture.js";
import { score, told } from "./service.js";

/** Pictures that are kept decoded, each some ten megabytes. */
const KEPT = 6;
const viewed = []; // entries whose picture is kept, the last one last
const panes = [new Pane(pane => follow(pane)), new Pane(pane => follow(pane))];

/** Show an entry that was answered, and beside it `other`, unless that is undefined. */
export async function view(entry, other, about) {
  const place = name => byId(name).querySelector(".place");
  place("case").replaceChildren(panes[0].figure);
  place("other").replaceChildren(...(other ? [panes[1].figure] : []));
  await Promise.all([show(panes[0], entry, about), other && show(panes[1], other, about)]);
  follow(panes[0]);
}

/** Zoom and move the other pane as this one, if both are shown and linked. */
function follow(pane) {
  const other = panes.find(each => each !== pane);
  if (byId("linked").checked && other?.figure.isConnected) other.follow(pane);
}

/** Show the picture of an entry, asking for it if it is not kept. */
async function show(pane, entry, about) {
  if (pane.entry === entry && pane.picture) return;
  pane.entry = entry;
  const name = `${entry.number}. ${entry.name}`;
  let why = "There is no heat map of this radiograph.";
  if (!entry.picture) {
    pane.show(null, name, "", "Loading the picture …");
    try {
      const [{ look }] = await score([entry.file], true);
      if (look) await keep(entry, look);
    } catch (error) {
      why = `No picture: ${told(error)}`;
    }
  }
  if (pane.entry !== entry) return; // another was chosen meanwhile
  const { prediction, scores } = entry.result;
  const label = about.classes.find(each => each.name === prediction).shown;
  const caption = `${name}. Most probable: ${label}, ${probability(scores[prediction])}. Colours show where evidence ` +
    `for ${label} was found: what moved the score, not whether that was right.`;
  pane.show(entry.picture ?? null, name, caption, entry.picture ? "" : why);
}

/** Decode and keep the picture of an entry, and let go of the one that was first looked at. */
export async function keep(entry, look) {
  entry.picture = await decoded(look);
  viewed.push(entry);
  while (viewed.length > KEPT) viewed.shift().picture = null;
}

/** Let go of every picture. */
export function empty() {
  for (const entry of viewed.splice(0)) entry.picture = null;
  for (const pane of panes) {
    pane.entry = null;
    pane.show(null, "");
  }
}
