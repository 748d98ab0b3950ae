// The camera: a ring of the last frames as JPEG, and a small picture of the newest when one is asked for.
//
// Memory is bounded: keepMs of frames at one in everyMs (some 2 MB), one encoding under way, two canvases. close() empties all.

const everyMs = 100;
const keepMs = 2600;
const frame = { side: 720, quality: 0.9 };
const picture = { side: 480, quality: 0.7 };

// CameraError has a code: camera_missing, camera_denied, camera_busy, camera_lost.
export class CameraError extends Error {
  constructor(code, cause) {
    super(code, { cause });
    this.code = code;
  }
}

const codes = {
  NotFoundError: "camera_missing", DevicesNotFoundError: "camera_missing", OverconstrainedError: "camera_missing",
  NotAllowedError: "camera_denied", PermissionDeniedError: "camera_denied", SecurityError: "camera_denied",
  NotReadableError: "camera_busy", TrackStartError: "camera_busy", AbortError: "camera_busy",
};

export class Camera {
  #video;
  #stream = null;
  #wanted = null; // who waits for a picture
  #large = document.createElement("canvas");
  #small = document.createElement("canvas");
  #encoding = false;
  #last = 0;
  #run = 0; // counts openings: a loop of an earlier one ends
  #device = "";
  frames = []; // {t, blob}: t is performance.now() in ms, oldest first
  onLost = () => {};

  constructor(video) {
    this.#video = video;
  }

  get isOpen() { return this.#stream !== null; }

  // open asks for the camera, deviceId or the one that faces the person, and resolves once it shows a picture. Errors: CameraError.
  async open(deviceId = this.#device) {
    this.suspend();
    const run = this.#run;
    const stream = await ask(deviceId).catch((failure) => {
      if (deviceId && failure.name === "OverconstrainedError") return ask(""); // the chosen one is gone
      throw failure;
    }).catch((failure) => {
      throw new CameraError(codes[failure.name] ?? "camera_busy", failure);
    });
    if (run !== this.#run) { // closed, or opened again, meanwhile
      stop(stream);
      throw new CameraError("camera_lost");
    }
    this.#stream = stream;
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => {
      if (run === this.#run) this.onLost();
    });
    this.#device = track.getSettings().deviceId ?? deviceId;
    this.#video.srcObject = stream;
    try {
      await this.#video.play();
    } catch (failure) {
      if (run !== this.#run) throw new CameraError("camera_lost", failure);
      this.suspend();
      throw new CameraError("camera_busy", failure);
    }
    this.#loop(run);
  }

  // suspend lets the camera go and drops its frames; who waits for a picture goes on waiting.
  suspend() {
    this.#run++;
    if (this.#stream) stop(this.#stream);
    this.#stream = null;
    this.#video.srcObject = null;
    this.frames.length = 0;
  }

  close() {
    this.suspend();
    this.#wanted = null;
    for (const c of [this.#large, this.#small]) c.width = c.height = 1;
  }

  // describe is what the server is told of the camera. It believes none of it.
  describe() {
    const track = this.#stream?.getVideoTracks()[0];
    const set = track?.getSettings() ?? {};
    return { label: (track?.label ?? "").slice(0, 100), width: this.#video.videoWidth, height: this.#video.videoHeight, frame_rate: Math.round(set.frameRate ?? 0) };
  }

  get device() { return this.#device; }

  // list gives the cameras there are as {id, label}.
  async list() {
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    return devices.filter((d) => d.kind === "videoinput" && d.deviceId).map((d) => ({ id: d.deviceId, label: d.label }));
  }

  // next resolves to {frame, small}: the next frame, which is in the ring as well, and the same small. One may wait at a time.
  next(signal) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const give = (value) => {
        signal.removeEventListener("abort", leave);
        resolve(value);
      };
      const leave = () => {
        if (this.#wanted === give) this.#wanted = null;
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#wanted = give;
    });
  }

  #loop(run) {
    const video = this.#video;
    let shown = -1;
    const turn = () => {
      if (run !== this.#run) return;
      const now = performance.now();
      if (video.currentTime !== shown && now - this.#last >= everyMs - 5 && !this.#encoding && video.videoWidth > 0) {
        shown = video.currentTime;
        this.#last = now;
        this.#grab(run, now);
      }
      wait();
    };
    const wait = () => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(turn) : setTimeout(turn, everyMs / 4));
    wait();
  }

  async #grab(run, t) {
    this.#encoding = true;
    try {
      const wanted = this.#wanted;
      this.#wanted = null;
      const large = jpeg(this.#large, this.#video, frame);
      const small = wanted && jpeg(this.#small, this.#video, picture);
      const got = { t: Math.round(t * 10) / 10, blob: await large };
      const seen = small && await small;
      if (run !== this.#run) {
        if (wanted && !this.#wanted) this.#wanted = wanted;
        return;
      }
      this.frames.push(got);
      while (this.frames.length && this.frames[0].t < t - keepMs) this.frames.shift();
      wanted?.({ frame: got, small: seen });
    } finally {
      this.#encoding = false;
    }
  }
}

const ask = (deviceId) => navigator.mediaDevices.getUserMedia({
  audio: false,
  video: {
    width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 },
    ...(deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" }),
  },
});

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());

// jpeg draws the video no larger than to.side and encodes it. The picture is as the camera sees it, not mirrored.
function jpeg(c, video, to) {
  const scale = Math.min(1, to.side / Math.max(video.videoWidth, video.videoHeight));
  const width = Math.round(video.videoWidth * scale);
  const height = Math.round(video.videoHeight * scale);
  if (c.width !== width || c.height !== height) [c.width, c.height] = [width, height];
  c.getContext("2d", { alpha: false }).drawImage(video, 0, 0, width, height);
  return new Promise((resolve, reject) => c.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no JPEG"))), "image/jpeg", to.quality));
}
