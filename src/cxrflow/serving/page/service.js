// Requests to the server that this page came from; to no other.
import { byId, sentence } from "./dom.js";

/** How often a server that is busy is asked again. */
const TRIES = 8;
let token = null; // in memory only
let asking = null;

/** What the server, or the way to it, refused, as a sentence; `status` is 0 if there was no answer. */
export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** What an error says to a person. What is no refusal is a mistake in this page, and goes to its console. */
export function told(error) {
  if (error instanceof Refused) return sentence(error.message);
  console.error(error);
  return "This browser could not show what the server answered.";
}

/** The response to a request, with the token where one was given; asks for a token if the server wants one. */
async function ask(path, options = {}) {
  for (;;) {
    const used = token;
    const headers = used ? { Authorization: `Bearer ${used}` } : {};
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "same-origin" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused("The server does not answer, or the file cannot be read any more.", 0);
    }
    if (response.status !== 401) return response;
    if (token === used) token = await askForToken(used !== null);
    if (token === null) throw new Refused("The server asks for a token, and none was given; reload the page to try again.", 401);
  }
}

/** The token that the person gives, or null. Several requests that need one at a time ask once. */
function askForToken(again) {
  asking ??= new Promise(resolve => {
    const dialog = byId("token");
    const field = dialog.querySelector("input");
    if (again) byId("token-said").textContent = "The server does not accept that token.";
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" ? field.value.trim() : "";
      field.value = "";
      asking = null;
      resolve(given || null);
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asking;
}

async function refusal(response) {
  try {
    const { detail } = await response.json();
    if (typeof detail === "string") return detail;
  } catch { /* not JSON: a proxy, perhaps */ }
  return `The server answered with status ${response.status}, without a reason.`;
}

export async function about() {
  const response = await ask("about");
  if (!response.ok) throw new Refused(await refusal(response), response.status);
  return response.json();
}

/** A sample as a file, by its address from `about`. */
export async function sample({ url, said }) {
  const response = await ask(url.replace(/^\//, ""));
  if (!response.ok) throw new Refused(await refusal(response), response.status);
  return new File([await response.blob()], said);
}

/** A result for each file, in their order. Names of files stay here: they may be those of patients. */
export async function score(files, look, signal) {
  const body = new FormData();
  files.forEach((file, at) => body.append("files", file, `file-${at + 1}`));
  for (let tried = 1; ; tried += 1) {
    const response = await ask(`predict?look=${look}`, { method: "POST", body, signal });
    if ([429, 503].includes(response.status) && tried < TRIES) {
      await pause(Math.min(Number(response.headers.get("Retry-After")) || 1, 30), signal);
      continue;
    }
    if (response.ok || response.status === 422) {
      const said = await response.clone().json().catch(() => ({}));
      if (said.results?.length === files.length) return said.results;
    }
    throw new Refused(await refusal(response), response.status);
  }
}

const pause = (seconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, seconds * 1000);
  signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});
