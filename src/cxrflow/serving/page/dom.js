// Elements made by methods of the DOM alone: what comes from a server or a file becomes text, never markup.

/** An element with attributes (those that are null or false are left out) and children, strings among them. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

export const byId = id => document.getElementById(id);

/** Text whose controls, line breaks and bidirectional overrides are visible as \u202e, as cxrflow/text.py does it. */
export function visible(text) {
  return String(text).replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]/gu, character => {
    if ("\u200c\u200d".includes(character)) return character; // the joiners of emoji and of Persian and Indic words
    const code = character.codePointAt(0).toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

/** A text as a sentence of its own. */
export function sentence(text) {
  const words = visible(text);
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
}

/** A probability with two decimals, as the reports write it; never 0 or 1, which would be certainty. */
export function probability(value) {
  return value < 0.005 ? "< 0.01" : value > 0.995 ? "> 0.99" : value.toFixed(2);
}
