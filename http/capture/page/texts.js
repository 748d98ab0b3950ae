// The page's words: texts.json, in the browser's language until the person chooses another.

let all = {};
let language = "en";
const kept = "mien-capture-language"; // in this tab only

// load fetches the words and picks the first of the browser's languages that is among them.
export async function load() {
  const answer = await fetch("texts.json", { credentials: "omit" });
  if (!answer.ok) throw new Error("texts.json: " + answer.status);
  all = await answer.json();
  const wanted = [remembered(), ...(navigator.languages ?? [navigator.language])].filter(Boolean);
  choose(wanted.map((name) => name.toLowerCase().split("-")[0]).find((name) => name in all) ?? "en");
}

// languages lists [code, own name] of all.
export const languages = () => Object.entries(all).map(([code, words]) => [code, words["language.own"]]);
export const current = () => language;

export function choose(code) {
  language = code;
  document.documentElement.lang = code;
}

export function remember(code) {
  choose(code);
  try { sessionStorage.setItem(kept, code); } catch { /* the choice then lasts until the page is left */ }
}

function remembered() {
  try { return sessionStorage.getItem(kept); } catch { return null; }
}

// text gives the words of key with {placeholders} filled in. An unknown key is shown as it is, so that it is seen.
export function text(key, values = {}) {
  const words = all[language]?.[key] ?? all.en?.[key] ?? key;
  return words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
