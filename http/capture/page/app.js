// The capture page: it leads a person through a session, from the link to the redirect. The protocol is that of ../doc.go.
//
//	open ─▶ intro ─▶ camera ─▶ start ─▶ step … step ─▶ done
//	                   ▲                  │
//	                   └── failed try ◀───┘
//
// The page decides nothing: it shows what the server asks for, sends the pictures of each step, and forgets them. Whatever fails ends in
// trouble(), which says in plain words what happened and what to do.

import * as api from "./api.js";
import * as texts from "./texts.js";
import * as view from "./view.js";
import { Camera, CameraError } from "./camera.js";
import { Chain, choose } from "./chain.js";

const lookEveryMs = 250; // pictures that guide: at most four a second, and never two under way
const settleMs = 1300; // between two steps, to look straight ahead again
const doneMs = 900; // how long "well done" stays
const reserveMs = 1500; // of a step's time, kept for sending it
const hurryMs = 6000;
const hintMs = 700; // a hint stays at least so long, and one that is new must come twice
const colourMs = 600; // a colour of the flash step stays: less than two changes a second (WCAG 2.3.1)

class Restart extends Error {} // the try can't go on where it was: begin a new one
class Stopped extends Error {} // the person stopped: something else is shown already

const camera = new Camera(document.getElementById("video"));
const now = () => performance.now();

let state = null; // the session, as the server told it last
let life = new AbortController(); // of the try that is on
let slow = false; // the person asked for more time
let colours = null; // the person's answer to whether colours may change: null is not asked
let resumedAt = 0;
let over = false;

main();

async function main() {
  view.loading();
  api.onTrouble(view.banner);
  try {
    await texts.load();
  } catch {
    setTimeout(() => location.reload(), 3000); // without words there is nothing to say
    return;
  }
  view.prepare(stop);
  view.loading();
  const token = new URLSearchParams(location.search).get("t");
  if (!window.isSecureContext) return trouble({ code: "insecure" });
  if (!navigator.mediaDevices?.getUserMedia || !crypto.subtle) return trouble({ code: "unsupported" }); // the link is still good elsewhere
  await enter(token);
}

// enter opens the session by the link's token, or goes on with the one of the cookie. The token leaves the address once the server has answered;
// until then a reload may try it again.
async function enter(token, ending) {
  try {
    state = await (token ? api.open(token) : api.session());
    forget();
  } catch (failure) {
    if (failure instanceof api.Problem) forget();
    return trouble(failure, () => enter(token));
  }
  view.client(state.name ?? "");
  if (state.status === "expired") return trouble({ code: "session_expired", redirect: state.redirect });
  if (state.status === "over") return finish(state.redirect, ending);
  setTimeout(expire, Math.min(state.seconds_left ?? 3600, 3600) * 1000);
  await view.intro(state.flow, state.status === "in_progress" && !token);
  await attempt();
}

// expire ends the session's time where nothing is asked of the server, which says so everywhere else.
function expire() {
  if (["intro", "failed"].includes(document.body.dataset.state)) trouble({ code: "session_expired" });
}

function forget() {
  history.replaceState(null, "", location.pathname);
}

// attempt is one try: the camera, then the steps one after the other.
async function attempt() {
  life.abort(new Stopped());
  life = new AbortController();
  const { signal } = life;
  try {
    if (state.flash && colours === null) colours = await askForColours();
    view.camera();
    await openCamera();
    const { key, step } = await api.post("start", { camera: camera.describe() }, signal);
    const chain = await Chain.make(key);
    let next = { step };
    while (next.step) next = await perform(next.step, next.again, chain, signal);
    if (next.done) return finish(next.redirect);
    await failed(next.failed);
  } catch (failure) {
    if (failure instanceof Stopped || signal.reason instanceof Stopped) return;
    const cause = signal.aborted ? signal.reason : failure;
    if (cause instanceof Restart) return attempt();
    if (cause.code === "try_missing") return failed({ reason: "interrupted" }); // another tab began one, or the server began anew
    trouble(cause, attempt);
  }
}

const askForColours = () => view.note({
  code: "colours", icon: "colours", title: "flash.title", text: "flash.text", actions: [["flash.yes", true], ["flash.no", false]],
});

async function openCamera(device) {
  await camera.open(device);
  view.live(true);
  if (matchMedia("(hover: hover) and (pointer: fine)").matches) view.cameras(await camera.list(), camera.device, changeCamera);
}

function changeCamera(device) {
  view.live(false);
  openCamera(device).catch((failure) => life.abort(failure));
}

// perform leads through one step and gives what comes next: {step}, {step, again}, {failed} or {done, redirect}.
async function perform(step, again, chain, signal) {
  const turn = new AbortController(); // of the watching: a button may end it
  const follow = () => turn.abort(signal.reason);
  signal.addEventListener("abort", follow, { signal: turn.signal });
  const s = { step, began: now(), until: now() + step.seconds * 1000 - reserveMs, signal: turn.signal };
  const ask = (what) => () => turn.abort(what);
  view.step(step);
  view.tools({ slower: slow ? undefined : ask("slower"), other: step.n > 0 ? ask("alternative") : undefined });
  let frames;
  try {
    if (step.kind === "flash" && (colours === false || step.colours.some(isGlaring))) return await otherwise("alternative", step, signal);
    const anchor = step.n > 0 || again ? await settle(s, again) : null;
    frames = step.kind === "flash" ? await flash(s) : await watch(s, anchor);
  } catch (failure) {
    if (turn.signal.reason === "slower" || turn.signal.reason === "alternative") return otherwise(turn.signal.reason, step, signal);
    throw failure;
  } finally {
    view.colour("");
  }
  turn.abort(new Stopped());
  const shown = now() + doneMs;
  view.tools({});
  view.finished(step);
  const sending = api.sendStep(await chain.form(step, frames, step.alternative ?? false), signal);
  sending.catch(() => {}); // it is awaited below
  await sleep(shown - now(), signal);
  if (step.n === step.of - 1) view.checking();
  const answer = await sending;
  if (answer.again) return { step: { ...answer.again, alternative: step.alternative }, again: answer.hints ?? [] };
  return answer;
}

// otherwise asks for more time or for another movement, and gives the step that comes of it.
async function otherwise(what, step, signal) {
  try {
    const answer = await api.post(what, {}, signal);
    if (what === "slower") slow = true;
    view.toast(what === "slower" ? "tool.slower_done" : "tool.other_done");
    return { step: { ...answer.step, alternative: what === "alternative" || step.alternative } };
  } catch (failure) {
    if (!(failure instanceof api.Problem) || isOver(failure)) throw failure;
    if (what === "slower") throw new Restart();
    await view.note({ code: "no_alternative", icon: "retry", title: "tool.other", text: "tool.other_none", actions: [["failed.retry", 0]] });
    throw new Restart();
  }
}

// settle lets the person see what comes and look straight ahead, and gives the last frame before the movement.
async function settle(s, again) {
  const ms = settleMs * (slow ? 2 : 1);
  if (again) {
    view.moment("again", again[0]);
    await sleep(ms, s.signal);
  }
  if (s.step.kind === "centre") return null;
  view.moment("straight");
  await sleep(ms, s.signal);
  const { frame } = await camera.next(s.signal);
  view.step(s.step);
  return frame;
}

// watch shows the server small pictures and the person its hints, until the step is seen or its time is over, and gives the frames to send.
async function watch(s, anchor) {
  const { step } = s;
  const advice = steady();
  let since = null; // the first picture of those in a row on which all was well
  let misses = 0;
  for (;;) {
    const begun = now();
    await unasked(s);
    const { frame, small } = await camera.next(s.signal);
    if (begun > s.until && resumedAt > s.began) throw new Restart(); // the page was hidden for too long
    const answer = await api.look(step.n, small, s.signal).catch((failure) => {
      if (s.signal.aborted || isOver(failure) || ++misses > 20) throw failure;
      view.banner(failure instanceof api.Problem ? (failure.status === 503 ? "full" : "") : "lost");
      return null;
    });
    if (answer) {
      misses = 0;
      view.banner("");
      since = answer.ready ? since ?? frame : null;
      const first = anchor ?? since ?? frame;
      const held = step.kind === "centre" ? frame.t - first.t : Infinity;
      const needed = Math.max(step.min_ms, 700);
      if (answer.ready) {
        advice("good");
        view.progress(step.n, step.of, Math.min(0.9, held / needed));
        if (step.kind === "blink") await opened(s);
        if (held >= needed && now() - s.began >= step.min_ms) return choose(step, camera.frames, first, frame);
      } else {
        view.progress(step.n, step.of);
        advice(answer.hints?.[0] ?? "");
      }
    }
    if (now() > s.until) return choose(step, camera.frames, anchor ?? camera.frames[0] ?? frame, frame); // the server says what was missing
    if (s.until - now() < hurryMs) view.hurry(Math.max(1, Math.ceil((s.until - now()) / 1000)));
    await sleep(Math.max(begun + lookEveryMs - now(), misses * 300), s.signal);
  }
}

// opened lets the eyes open again before the frames are chosen.
async function opened(s) {
  navigator.vibrate?.([60, 60, 60]);
  view.moment("open_eyes");
  await sleep(1100, s.signal);
  await camera.next(s.signal);
}

// flash waits for the face, then lights it with the step's colours, one frame for each at its end.
async function flash(s) {
  const { step } = s;
  const until = s.until - step.colours.length * colourMs;
  const [before] = await watch({ ...s, until, step: { ...step, kind: "centre", frames: 1 } }, null);
  const frames = step.frames > step.colours.length ? [before] : [];
  for (const [i, c] of step.colours.entries()) {
    view.colour(c);
    const until = now() + colourMs;
    await sleep(colourMs - 200, s.signal);
    const { frame } = await camera.next(s.signal);
    frames.push({ ...frame, colour: i });
    await sleep(until - now(), s.signal);
  }
  return frames;
}

// isGlaring tells a saturated red, which may not flash (WCAG 2.3.1: R / (R + G + B) ≥ 0.8).
function isGlaring(c) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(c.slice(at, at + 2), 16));
  return r / (r + g + b) >= 0.8;
}

// steady keeps hints from flickering: a new one is shown when it has come twice and what was shown before it, at first what to do, was seen.
function steady() {
  let shown = "", candidate = "", since = now();
  return (hint) => {
    const again = hint === candidate;
    candidate = hint;
    if (hint === shown || now() - since < hintMs || !(again || hint === "good" || shown === "")) return;
    shown = hint;
    since = now();
    view.guide(hint);
    if (hint === "more_light") view.bright(true);
  };
}

// unasked waits while the person is being asked whether to stop, or the page is hidden.
async function unasked(s) {
  while (view.asking()) await sleep(200, s.signal);
}

const advices = {
  too_slow: ["failed.too_slow", "advice.time", "advice.other"],
  too_fast: ["failed.too_fast", "advice.slow"],
  frames_damaged: ["failed.frames_damaged", "advice.own", "advice.tab"],
  several_people: ["failed.several_people", "advice.alone"],
  face_lost: ["failed.face_lost", "advice.slow", "advice.level"],
  no_challenge: ["failed.no_challenge", "advice.slow", "advice.other"],
  quality: ["failed.quality", "advice.light", "advice.uncover", "advice.still"],
  not_live: ["failed.not_live", "advice.own", "advice.light", "advice.level"],
  uncertain: ["failed.uncertain", "advice.light", "advice.uncover", "advice.level"],
  interrupted: ["failed.interrupted", "advice.tab"],
};

// failed tells why a try failed and what helps, and begins the next.
async function failed({ reason, tries_left: left }) {
  release();
  if (left <= 0) return enter("", endings.last);
  const [text, ...advice] = advices[reason] ?? advices.uncertain;
  await view.note({
    code: reason, state: "failed", icon: "retry", mood: "warn", title: "failed.title", text, advice,
    more: left === 1 ? "failed.left_one" : left ? ["failed.left", { n: left }] : "", actions: [["failed.retry", 0]],
  });
  await attempt();
}

// endings are how the page's work ends, as far as the person knows it already: what was decided is not for the page to tell.
const endings = {
  done: { icon: "tick", title: "done.title" },
  last: { icon: "retry", title: "done.last" },
  stopped: { icon: "stop", title: "done.stopped" },
};

// finish ends the page's work: the browser goes back where it came from, or may be closed.
async function finish(redirect, ending = endings.done) {
  over = true;
  life.abort(new Stopped());
  release();
  const where = target(redirect);
  const go = () => location.replace(where);
  if (where) setTimeout(go, 1800);
  await view.note({
    code: where ? "redirect" : "close", state: "done", ...ending, text: where ? "done.back" : "done.close", actions: where ? [["done.go", 0]] : [],
  });
  go();
}

// target is the redirect if it is an address of the web, and "" otherwise.
function target(redirect) {
  if (!redirect) return "";
  const { protocol, href } = new URL(redirect, location.href);
  return ["https:", "http:"].includes(protocol) ? href : "";
}

// stop is the person's wish to end the session.
async function stop(reason = "cancelled") {
  life.abort(new Stopped());
  release();
  view.loading();
  try {
    const { redirect } = await api.post("cancel", { reason });
    finish(redirect, endings.stopped);
  } catch (failure) {
    trouble(failure, () => stop(reason));
  }
}

const isOver = (failure) => failure instanceof api.Problem && ["session_over", "session_expired", "link_unknown", "link_used"].includes(failure.code);

const retry = ["failed.retry", "retry"];
const giveUp = ["error.give_up", "give up"];
const troubles = {
  insecure: { icon: "warning", mood: "bad", title: "error.insecure_title", text: "error.insecure_text" },
  unsupported: { icon: "nocamera", mood: "warn", title: "error.unsupported_title", text: "error.unsupported_text", advice: ["error.unsupported_advice"] },
  camera_denied: {
    icon: "nocamera", mood: "warn", title: "error.denied_title", text: "error.denied_text", advice: ["error.denied_address", "error.denied_phone"], actions: [retry, giveUp],
  },
  camera_missing: {
    icon: "nocamera", mood: "warn", title: "error.missing_title", text: "error.missing_text", advice: ["error.missing_advice", "error.missing_other"], actions: [retry, giveUp],
  },
  camera_busy: { icon: "camera", mood: "warn", title: "error.busy_title", text: "error.busy_text", advice: ["error.busy_advice"], actions: [retry, giveUp] },
  camera_lost: { icon: "nocamera", mood: "warn", title: "error.lost_title", text: "error.lost_text", advice: ["error.missing_advice"], actions: [retry, giveUp] },
  link_used: { icon: "link", mood: "warn", title: "error.used_title", text: "error.used_text" },
  link_unknown: { icon: "link", mood: "warn", title: "error.unknown_title", text: "error.unknown_text" },
  session_expired: { icon: "clock", mood: "warn", title: "error.expired_title", text: "error.expired_text" },
  offline: { icon: "offline", mood: "warn", title: "error.offline_title", text: "error.offline_text", actions: [["intro.again", "retry"]] },
  full: { icon: "clock", mood: "warn", title: "error.full_title", text: "error.full_text", actions: [["intro.again", "retry"]] },
  attempts_exceeded: { icon: "clock", mood: "warn", title: "error.attempts_title", text: "error.attempts_text", actions: [retry] },
  other: { icon: "warning", mood: "warn", title: "error.other_title", text: "error.other_text", actions: [retry] },
};

// trouble says what went wrong and what to do, and does it: again is what to do once more.
async function trouble(failure, again) {
  release();
  if (failure.code === "session_over") return failure.redirect ? finish(failure.redirect) : settleOver();
  const code = failure instanceof api.Unreachable ? (failure.full ? "full" : "offline")
    : failure.code === "link_unknown" && state ? "session_expired" // the cookie ended with it
    : failure.code in troubles ? failure.code : "other";
  const redirect = target(failure.redirect ?? "");
  const note = { code, final: !state || !troubles[code].actions, ...troubles[code] };
  if (redirect) note.actions = [["done.go", "redirect"]];
  const stopWaiting = failure instanceof CameraError ? whenCameraMay(again) : () => {};
  const chosen = await view.note(note);
  stopWaiting();
  if (chosen === "redirect") return location.replace(redirect);
  if (chosen === "give up") return stop("camera_unavailable");
  if (chosen === "retry") return again();
}

// settleOver asks where to go when a session turned out to be over.
async function settleOver() {
  try {
    state = await api.session();
    finish(state.redirect);
  } catch {
    finish("");
  }
}

// whenCameraMay goes on by itself when the person allows the camera in the browser's own settings.
function whenCameraMay(again) {
  const off = new AbortController();
  navigator.permissions?.query({ name: "camera" }).then((permission) => {
    permission.addEventListener("change", () => {
      if (permission.state !== "granted") return;
      off.abort();
      again();
    }, { signal: off.signal });
  }).catch(() => {}); // not every browser tells
  return () => off.abort();
}

// release lets go of the camera and of every picture.
function release() {
  camera.close();
  view.live(false);
  view.bright(false);
  view.colour("");
}

camera.onLost = () => life.abort(new CameraError("camera_lost"));

// A page that is not seen has no camera; the step goes on when it is seen again, if its time has not run out.
document.addEventListener("visibilitychange", async () => {
  if (over || life.signal.aborted) return;
  if (document.hidden) {
    if (!camera.isOpen) return;
    camera.suspend();
    view.live(false);
    return;
  }
  if (camera.isOpen || !["step", "sending"].includes(document.body.dataset.state)) return;
  resumedAt = now();
  try {
    await openCamera();
  } catch (failure) {
    life.abort(failure);
  }
});

// A page that the browser kept and shows again (back button) asks the server where it stands.
addEventListener("pageshow", (event) => event.persisted && location.reload());
addEventListener("pagehide", () => camera.close());

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const leave = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", leave);
      resolve();
    }, Math.max(0, ms));
    signal.addEventListener("abort", leave, { once: true });
  });
}
