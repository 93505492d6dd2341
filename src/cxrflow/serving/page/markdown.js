// The part of Markdown that model cards are written in: headings, lists, tables, paragraphs, rules, emphasis, code.
// HTML in it is shown as text, and a link as its words and its address.
import { element, visible } from "./dom.js";

/** A fragment that shows `text`; its first heading has level `top`. */
export function markdown(text, top = 3) {
  const made = document.createDocumentFragment();
  const lines = text.split(/\r?\n/);
  let at = 0;
  const takeWhile = test => {
    const first = at;
    while (at < lines.length && test(lines[at])) at += 1;
    return lines.slice(first, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    if (!line.trim()) at += 1;
    else if (heading) {
      made.append(element(`h${Math.min(6, heading[1].length + top - 1)}`, {}, ...inline(heading[2])));
      at += 1;
    } else if (/^```/.test(line)) {
      at += 1;
      made.append(element("pre", {}, takeWhile(each => !/^```/.test(each)).join("\n")));
      at += 1;
    } else if (isRow(line) && /^\s*\|?[\s:|-]+\|?\s*$/.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) {
      made.append(table(takeWhile(isRow)));
    } else if (isItem(line)) made.append(list(takeWhile(each => isItem(each) || /^\s+\S/.test(each))));
    else if (/^(-{3,}|\*{3,})\s*$/.test(line)) {
      made.append(element("hr"));
      at += 1;
    } else {
      const first = lines[at++]; // at least one line, so that the loop always ends
      const rest = takeWhile(each => each.trim() && !isItem(each) && !/^(#{1,6}\s|```)/.test(each) && !isRow(each));
      made.append(element("p", {}, ...inline([first, ...rest].join(" "))));
    }
  }
  return made;
}

const isRow = line => /^\s*\|/.test(line);
const isItem = line => /^\s*([-*+]|\d+[.)])\s+/.test(line);

function list(lines) {
  const made = element(/^\s*\d/.test(lines[0]) ? "ol" : "ul");
  for (const line of lines) {
    const words = inline(line.replace(/^\s*([-*+]|\d+[.)])\s+/, ""));
    if (isItem(line) || !made.lastChild) made.append(element("li", {}, ...words));
    else made.lastChild.append(" ", ...words);
  }
  return made;
}

function table([head, , ...rows]) {
  const cells = row => row.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/).map(cell => cell.trim());
  const header = cells(head).map(cell => element("th", { scope: "col" }, ...inline(cell)));
  const body = rows.map(row => element("tr", {}, ...cells(row).map((cell, column) => {
    return element("td", { "data-label": cells(head)[column] }, element("div", {}, ...inline(cell)));
  })));
  const made = element("table", {}, element("thead", {}, element("tr", {}, ...header)), element("tbody", {}, ...body));
  return element("div", { class: "scroll" }, made);
}

/** Emphasis, code and links of one line, as nodes. */
function inline(text) {
  const parts = /(`+)(.+?)\1|\*\*(.+?)\*\*|\*(\S(?:.*?\S)?)\*|\[([^\]]*)\]\(([^)\s]+)\)|\\([\\`*_{}[\]()#+.!|~<>-])/gu;
  const made = [];
  let last = 0;
  for (const found of text.matchAll(parts)) {
    made.push(visible(text.slice(last, found.index)));
    const [, , code, strong, slanted, words, address, escaped] = found;
    if (code !== undefined) made.push(element("code", {}, visible(code)));
    else if (strong !== undefined) made.push(element("strong", {}, ...inline(strong)));
    else if (slanted !== undefined) made.push(element("em", {}, ...inline(slanted)));
    else if (words !== undefined) made.push(visible(`${words} (${address})`));
    else made.push(escaped);
    last = found.index + found[0].length;
  }
  made.push(visible(text.slice(last)));
  return made.filter(part => part !== "");
}
