// The frames of a step: which of the ring are sent, and the chain of tags that ties them together.
//
//	m_i = HMAC-SHA-256(key, m_{i-1} ‖ nonce ‖ u32be i ‖ f64be t_ms ‖ sha256(frame)); m_{-1} is 32 zero bytes
//
// i counts through the whole try. The chain shows loss, order and mixing of sessions; it does not show what camera a frame is from.

export class Chain {
  #key;
  #last = new Uint8Array(32);
  #count = 0;

  // make takes the try's key, base64.
  static async make(key) {
    const chain = new Chain();
    chain.#key = await crypto.subtle.importKey("raw", bytes(key), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    return chain;
  }

  // form gives the body of a step: meta, and the frames in order.
  async form(step, frames, alternative) {
    const form = new FormData();
    const meta = { step: step.n, nonce: step.nonce, frames: [], alternative };
    for (const { t, blob, colour = -1 } of frames) {
      const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
      const i = this.#count++;
      const head = new DataView(new ArrayBuffer(12));
      head.setUint32(0, i);
      head.setFloat64(4, t);
      this.#last = new Uint8Array(await crypto.subtle.sign("HMAC", this.#key, join(this.#last, bytes(step.nonce), new Uint8Array(head.buffer), sum)));
      meta.frames.push({ i, t_ms: t, sha256: hex(sum), tag: hex(this.#last), colour });
    }
    form.append("meta", JSON.stringify(meta));
    frames.forEach(({ blob }, i) => form.append("frame", blob, i + ".jpg"));
    return form;
  }
}

// choose gives the step's frames of ring, oldest first, no two the same: anchor is the frame before the movement, peak the one on which
// the server saw what it asked for.
export function choose(step, ring, anchor, peak) {
  const after = ring.filter((frame) => frame.t > anchor.t);
  const late = after.length ? after[after.length - 1].t : peak.t;
  const times = step.kind === "blink"
    ? [anchor.t, peak.t, late, peak.t - 600, peak.t + 200] // open, shut, open; then what is between
    : [anchor.t, peak.t, ...spread(Math.max(anchor.t, peak.t - 2000), peak.t, step.frames)];
  const left = [...new Set([anchor, ...after, peak])];
  const chosen = [];
  for (const t of times.slice(0, step.frames)) {
    if (!left.length) break;
    const nearest = left.reduce((a, b) => (Math.abs(b.t - t) < Math.abs(a.t - t) ? b : a));
    left.splice(left.indexOf(nearest), 1);
    chosen.push(nearest);
  }
  return chosen.sort((a, b) => a.t - b.t);
}

// spread gives the times between from and to that part the way into count - 1.
const spread = (from, to, count) => Array.from({ length: Math.max(0, count - 2) }, (_, i) => from + ((to - from) * (i + 1)) / (count - 1));

const bytes = (base64) => Uint8Array.from(atob(base64.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));

const hex = (data) => Array.from(data, (b) => b.toString(16).padStart(2, "0")).join("");

function join(...parts) {
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
