// The models of a template, driven from onnxruntime-node on the inputs that the benchmark of extract left:
//
//	node models.mjs MODELS TENSORS RUNTIME SECONDS
//
// MODELS is the pack's folder, TENSORS that of the inputs (*.in) and of what extract's runs gave for them (*.out), RUNTIME the
// folder of the package. It prints rows of a table: faces a second through detector, landmarks and embedder, with
// nothing around them. No photo is decoded and no crop drawn here, so what extract does for a whole photo stands against less.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { join } from "node:path";

const [models, tensors, runtime, seconds] = process.argv.slice(2);
const ort = createRequire(import.meta.url)(runtime);
const cores = availableParallelism();
const files = JSON.parse(readFileSync(join(models, "manifest.json"))).files;
const roles = { detector: [1, 3, 240, 320], landmarks: [1, 1, 64, 64], embedder: [1, 3, 112, 112] };

const floats = (name) => {
  const b = readFileSync(join(tensors, name));
  return new Float32Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.length));
};

async function load(threads) {
  const steps = [];
  for (const [role, shape] of Object.entries(roles)) {
    const session = await ort.InferenceSession.create(join(models, files[role].file), {
      intraOpNumThreads: threads, interOpNumThreads: 1, graphOptimizationLevel: "all",
    });
    steps.push({ role, session, feeds: { [session.inputNames[0]]: new ort.Tensor("float32", floats(role + ".in"), shape) } });
  }
  return steps;
}

async function face(steps) {
  const out = {};
  for (const s of steps) out[s.role] = await s.session.run(s.feeds);
  return out;
}

const cosine = (a, b) => {
  let ab = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) { ab += a[i] * b[i]; aa += a[i] * a[i]; bb += b[i] * b[i]; }
  return ab / Math.sqrt(aa * bb);
};

async function measure(name, all) {
  let faces = 0;
  const start = performance.now(), end = start + 1000 * seconds;
  await Promise.all(all.map(async (steps) => {
    while (performance.now() < end) { await face(steps); faces++; }
  }));
  console.log(`| onnxruntime-node ${ort.env.versions.node}, ${name} | ${(1000 * faces / (performance.now() - start)).toFixed(1)} |`);
}

const alone = await load(1);
const out = await face(alone);
const same = cosine(Object.values(out.embedder)[0].data, floats("embedder.out"));
if (!(same > 0.9999)) throw new Error(`the embedder's output is at cosine ${same} of extract's`);

console.log("| models of a template | faces/s |\n|---|---|");
const side = [alone];
while (side.length < cores) side.push(await load(1));
await measure(`${cores} chains of runs side by side, a thread each`, side);
await measure(`one chain of runs, ${cores} threads`, [await load(cores)]);
await measure("one chain of runs, as the package is by default", [await load(0)]);
