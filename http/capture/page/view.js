// What the page shows. It knows nothing of the server or of the camera; everything it writes is text, never markup.
//
// data-state of the body is what the page is doing (loading, intro, camera, step, sending, checking, note, failed, done), data-code which
// note it is, data-step and data-hint what a step asks for and says, data-cue which movement or moment is shown, data-mood how it goes
// (good, warn, done), and data-net that requests don't get through (lost, full).

import * as texts from "./texts.js";

const $ = (id) => document.getElementById(id);
const body = document.body;
const show = (id) => { for (const panel of document.querySelectorAll(".panel")) panel.hidden = panel.id !== id; };

let name = "";
let again = () => {}; // says what is shown once more, in the language that was chosen
let spoken = "";
let spokenAt = 0;
let waiting = 0; // the timer of a hint that is to be told
const heardMs = 2500; // how long a line takes to be heard

// words is texts.text with the client's name in it, or what stands for it, which may come first in a sentence.
function words(key, values) {
  const line = texts.text(key, { name: name || texts.text("page.somebody"), ...values });
  return name ? line : line.charAt(0).toUpperCase() + line.slice(1);
}

// prepare fills in what stands still. cancel is what the cross does once the person has confirmed it.
export function prepare(cancel) {
  const choice = $("language");
  choice.replaceChildren(...texts.languages().map(([code, own]) => option(code, own, code === texts.current())));
  choice.onchange = () => {
    texts.remember(choice.value);
    still();
    again();
  };
  $("cancel").onclick = () => confirm(cancel);
  $("ask-keep").onclick = () => $("ask").close();
  still();
}

function still() {
  for (const e of document.querySelectorAll("[data-text]")) e.textContent = words(e.dataset.text);
  for (const e of document.querySelectorAll("[data-label]")) e.setAttribute("aria-label", words(e.dataset.label));
  $("ask-text").textContent = words("cancel.text");
  $("name").textContent = name || words("page.plain");
  $("language").value = texts.current();
}

export function client(itsName) {
  name = itsName;
  still();
}

// paint shows a state by f, and remembers f for another language.
function paint(state, f) {
  again = f;
  for (const key of ["code", "step", "hint", "cue", "mood", "hurry"]) delete body.dataset[key];
  body.dataset.state = state;
  $("cancel").hidden = ["loading", "done"].includes(state);
  f();
}

// heading puts the title in the heading and the window, and leads a screen reader there.
function heading(id, title) {
  const e = $(id);
  e.textContent = title;
  document.title = words("page.title", { heading: title, name: name || words("page.plain") });
  if (!$("ask").open) e.focus({ preventScroll: true });
  scrollTo(0, 0);
}

// say tells a screen reader, once, in place of a hint that waits.
export function say(line) {
  clearTimeout(waiting);
  if (line === spoken) return;
  spokenAt = performance.now();
  spoken = line;
  $("say").textContent = line;
}

// saySoon tells a hint as soon as what was told last may have been heard; of those that come meanwhile, the last.
function saySoon(line) {
  clearTimeout(waiting);
  waiting = setTimeout(() => say(line), Math.max(0, spokenAt + heardMs - performance.now()));
}

export const loading = () => paint("loading", () => {
  show("loading");
  $("loading-text").textContent = words("page.loading");
  document.title = words("page.plain");
});

const titles = {
  enroll: "intro.enroll_title", verify: "intro.verify_title", identify: "intro.identify_title", update: "intro.update_title", liveness: "intro.liveness_title",
};
const leads = {
  enroll: "intro.enroll_lead", verify: "intro.verify_lead", identify: "intro.identify_lead", update: "intro.update_lead", liveness: "intro.liveness_lead",
};

// intro says what will happen; it resolves when the person begins.
export const intro = (flow, begun) => new Promise((resolve) => paint("intro", () => {
  show("intro");
  $("intro-lead").textContent = words(leads[flow] ?? leads.liveness);
  $("intro-private").textContent = words(["enroll", "update"].includes(flow) ? "intro.private_template" : "intro.private_text");
  $("start").textContent = words(begun ? "intro.again" : "intro.start");
  $("start").onclick = resolve;
  heading("intro-title", words(begun ? "intro.again_title" : titles[flow] ?? titles.liveness));
}));

// note fills the page with a message: {code, state, icon, mood, title, text, advice, more, actions: [[key, value]], final}, its lines keys
// of texts or [key, values]; final: there is no session to stop. It resolves to the value of the action that is chosen; the first is the main one.
export const note = (n) => new Promise((resolve) => paint(n.state ?? "note", () => {
  const of = (line) => (Array.isArray(line) ? words(...line) : line ? words(line) : "");
  show("note");
  body.dataset.code = n.code;
  if (n.final) $("cancel").hidden = true;
  $("note-badge").className = "badge " + (n.mood ?? "");
  $("note-icon").setAttribute("href", "#i-" + n.icon);
  $("note-text").textContent = of(n.text);
  $("note-advice").replaceChildren(...(n.advice ?? []).map((line) => item(of(line))));
  $("note-more").textContent = of(n.more);
  $("note-actions").replaceChildren(...(n.actions ?? []).map(([key, value], i) => button(of(key), i ? "plain" : "main", () => resolve(value))));
  heading("note-title", of(n.title));
  say([of(n.text), of(n.more)].filter(Boolean).join(" "));
}));

// camera shows the stage while the browser asks for the camera.
export const camera = () => paint("camera", () => {
  show("stage");
  body.classList.remove("live");
  tools({});
  progress(0, 1);
  $("steps").replaceChildren();
  $("count").textContent = "";
  hint("");
  heading("instruction", words("step.camera"));
  hint("step.allow");
});

export const live = (on) => body.classList.toggle("live", on);

const instructions = {
  centre: "step.centre", turn_left: "step.turn_left", turn_right: "step.turn_right", look_up: "step.look_up", blink: "step.blink", flash: "step.flash",
};

// step shows what a step asks for.
export const step = (s) => paint("step", () => {
  show("stage");
  body.dataset.step = s.kind;
  $("count").textContent = words("step.count", { n: s.n + 1, of: s.of });
  $("steps").replaceChildren(...Array.from({ length: s.of }, (_, i) => span(i < s.n ? "past" : i === s.n ? "on" : "")));
  progress(s.n, s.of);
  order(instructions[s.kind] ?? instructions.centre, s.kind);
  if (document.activeElement === body) $("instruction").focus({ preventScroll: true }); // the button that was pressed is gone
});

const moments = { straight: "step.straight", open_eyes: "step.open_eyes", again: "step.again" };

// moment shows what is between: straight, open_eyes, again; why is the hint that goes with it, said in one breath.
export const moment = (name, why) => {
  const f = () => {
    order(moments[name], name);
    if (!hints[why]) return;
    guide(why);
    say(words(moments[name]) + " " + words(hints[why]));
  };
  const whole = again;
  again = () => { whole(); f(); };
  f();
};

function order(key, cue) {
  body.dataset.cue = cue;
  hint("");
  const line = words(key);
  $("instruction").textContent = line;
  document.title = words("page.title", { heading: line, name: name || words("page.plain") });
  say(line);
}

const hints = {
  no_face: "hint.no_face", several_faces: "hint.several_faces", closer: "hint.closer", further: "hint.further", left: "hint.left", right: "hint.right",
  up: "hint.up", down: "hint.down", more_light: "hint.more_light", less_light: "hint.less_light", even_light: "hint.even_light",
  hold_still: "hint.hold_still", look_straight: "hint.look_straight", turn_more: "hint.turn_more", turn_other_way: "hint.turn_other_way",
  turn_less: "hint.turn_less", look_up_more: "hint.look_up_more", close_eyes: "hint.close_eyes", uncover_eyes: "hint.uncover_eyes", good: "hint.good",
};

// guide shows one of the server's hints, "good", or nothing.
export function guide(name) {
  const known = hints[name];
  if (known) body.dataset.hint = name; else delete body.dataset.hint;
  hint(known ?? "");
  mood(!known ? "" : name === "good" ? "good" : "warn");
}

function hint(key) {
  $("hint").classList.toggle("none", !key);
  if (!key) return clearTimeout(waiting);
  $("hint-text").textContent = words(key);
  saySoon(words(key));
}

export function mood(m) {
  if (m) body.dataset.mood = m; else delete body.dataset.mood;
}

// progress fills the ring: n of so many steps are done, and part of the one that is on.
export function progress(n, of, part = 0) {
  const share = Math.min(1, (n + part) / of);
  $("arc").classList.toggle("none", share === 0);
  $("arc").style.strokeDasharray = share * 100 + " 200";
}

// finished marks a step as done for a moment.
export function finished(s) {
  body.dataset.state = "sending";
  body.dataset.cue = "done";
  mood("done");
  hint("");
  progress(s.n, s.of, 1);
  $("instruction").textContent = words("step.done");
  say(words("step.done"));
  navigator.vibrate?.(40);
}

export const checking = () => paint("checking", () => {
  $("count").textContent = "";
  for (const e of $("steps").children) e.className = "past";
  progress(1, 1);
  tools({});
  $("instruction").textContent = words("step.checking");
  hint("step.checking_text");
  say(words("step.checking") + " " + words("step.checking_text"));
});

// tools shows the buttons that are given: {slower, other}, each what it does.
export function tools({ slower, other }) {
  for (const [id, f] of [["slower", slower], ["other", other]]) {
    $(id).hidden = !f;
    $(id).disabled = false;
    $(id).onclick = f && (() => {
      $(id).disabled = true;
      f();
    });
    $(id).classList.remove("urgent");
  }
}

// hurry marks the way to more time, and says how much is left.
export function hurry(seconds) {
  const line = words("tool.time", { n: seconds });
  if (!body.dataset.hurry) say(line);
  body.dataset.hurry = "yes";
  $("slower").classList.add("urgent");
  $("count").textContent = line;
}

// cameras offers the list to choose from, if there is a choice.
export function cameras(list, device, choose) {
  $("cameras").hidden = list.length < 2;
  $("camera").replaceChildren(...list.map((c, i) => option(c.id, c.label || words("tool.camera_n", { n: i + 1 }), c.id === device)));
  $("camera").onchange = () => choose($("camera").value);
}

let toastTimer = 0;
export function toast(key) {
  $("toast").textContent = words(key);
  $("toast").hidden = false;
  say(words(key));
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 4000);
}

const banners = { lost: "net.lost", full: "net.full" };

// banner shows that requests do not get through ("lost", "full"), and that they do again ("").
export function banner(which) {
  if (!which && $("banner").hidden) return;
  $("banner").hidden = !which;
  if (which) $("banner-text").textContent = words(banners[which]);
  if (which) body.dataset.net = which; else delete body.dataset.net;
  say(words(banners[which] ?? "net.back"));
}

// colour lights the whole page with one, or takes it away.
export function colour(c) {
  document.documentElement.classList.toggle("flash", !!c);
  if (c) document.documentElement.style.setProperty("--flash", c); else document.documentElement.style.removeProperty("--flash");
}

// bright makes the page white, as a lamp.
export const bright = (on) => document.documentElement.classList.toggle("bright", on);

export const asking = () => $("ask").open;

function confirm(cancel) {
  $("ask-stop").onclick = () => {
    $("ask").close();
    cancel();
  };
  $("ask").showModal();
}

function option(value, label, selected) {
  return new Option(label, value, selected, selected);
}

function item(line) {
  const e = document.createElement("li");
  e.textContent = line;
  return e;
}

function span(name) {
  const e = document.createElement("span");
  e.className = name;
  return e;
}

function button(label, name, f) {
  const e = document.createElement("button");
  e.type = "button";
  e.className = name;
  e.textContent = label;
  e.onclick = f;
  return e;
}
