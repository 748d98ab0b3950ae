// Requests to the server. What fails on the way is tried again, with more and more time between, for as long as a person may be
// expected to wait; what the server refuses is a Problem with its code.

const patienceMs = 45_000; // then the page says that there is no connection, and waits to be told
const answerMs = 30_000;
const waitsMs = [400, 800, 1600, 3000, 5000];

// Problem is a refusal by the server (RFC 9457): code says why; redirect, where given, where the browser goes.
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.code ?? String(status));
    this.status = status;
    this.code = body.code ?? "";
    this.redirect = body.redirect ?? body.where ?? "";
  }
}

// Unreachable: the patience ran out. full says that the server answered, but was busy.
export class Unreachable extends Error {
  constructor(full) {
    super(full ? "the server is busy" : "no connection");
    this.full = full;
  }
}

// trouble is told "lost" or "full" while a request is tried again, and "" once it got through.
let trouble = () => {};
export const onTrouble = (f) => { trouble = f; };

export const open = (token) => patient("open", { method: "POST", headers: { Authorization: "Bearer " + token, ...json }, body: "{}" });
export const session = () => patient("session", { method: "GET" });
export const post = (name, body, signal) => patient(name, { method: "POST", headers: json, body: JSON.stringify(body) }, signal);
export const sendStep = (form, signal) => patient("step", { method: "POST", body: form }, signal);

// look asks once: the next picture is a better question than the same again.
export const look = (n, picture, signal) =>
  once("look?step=" + n, { method: "POST", headers: { "Content-Type": "image/jpeg" }, body: picture }, signal);

const json = { "Content-Type": "application/json" };

async function patient(path, request, signal) {
  const end = performance.now() + patienceMs;
  for (let turn = 0; ; turn++) {
    try {
      const answer = await once(path, request, signal);
      trouble("");
      return answer;
    } catch (failure) {
      if (signal?.aborted || (failure instanceof Problem && !mayPass(failure))) {
        trouble("");
        throw failure;
      }
      const full = failure instanceof Problem;
      if (performance.now() > end) {
        trouble("");
        throw new Unreachable(full);
      }
      trouble(full ? "full" : "lost");
      await waitFor((failure.retryAfterMs ?? waitsMs[Math.min(turn, waitsMs.length - 1)]) * (1 + Math.random() / 4), signal);
    }
  }
}

// mayPass tells refusals of a server that is busy; step_taken is one of a request that was sent again while it was being answered, and
// attempts_exceeded takes longer than anybody waits.
const mayPass = ({ status, code }) => (code === "step_taken" || [408, 429, 502, 503, 504].includes(status)) && code !== "attempts_exceeded";

async function once(path, request, signal) {
  const limit = new AbortController();
  const stop = () => limit.abort(signal.reason);
  const timer = setTimeout(() => limit.abort(new Error("no answer in time")), answerMs);
  signal?.addEventListener("abort", stop);
  if (signal?.aborted) stop();
  try {
    const answer = await fetch("api/" + path, { ...request, signal: limit.signal, credentials: "same-origin", cache: "no-store", redirect: "error" });
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) return body;
    const problem = new Problem(answer.status, body);
    const seconds = Number(answer.headers.get("Retry-After"));
    if (seconds > 0) problem.retryAfterMs = Math.min(seconds, 15) * 1000;
    throw problem;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

// waitFor waits, or less if the connection comes back.
function waitFor(ms, signal) {
  return new Promise((resolve, reject) => {
    const end = (done, value) => {
      clearTimeout(timer);
      removeEventListener("online", onOnline);
      signal?.removeEventListener("abort", onAbort);
      done(value);
    };
    const onOnline = () => end(resolve);
    const onAbort = () => end(reject, signal.reason);
    const timer = setTimeout(() => end(resolve), ms);
    addEventListener("online", onOnline);
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) onAbort();
  });
}
