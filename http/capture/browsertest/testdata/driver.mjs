// Drives Chromium for the tests: node driver.mjs PLAYWRIGHT CHROMIUM. Reads a command a line from standard input and answers a line each.
//
//   {"do": "launch", "camera": FILE}     Chromium, with a camera that takes FILE; without FILE it has none
//   {"do": "open", "options": {…}}       a context of its own, as of an incognito window, with one page; options are newContext's
//   {"do": "page", "call": M, "args": […]}      page.M(…), or page.keyboard.M(…) for "keyboard.M"; context.M(…) for "context"
//   {"do": "problems"}                   what went wrong in the context since "open", and is forgotten: see problems
//   {"do": "close"}                      the context
//
// An answer is {"value": …} or {"error": "…"}. It ends with its input.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const [playwright, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwright);

let browser, context, page;

// problems are what a page in use never shows: errors in the console, exceptions, violations of the content security policy, and hosts that
// were asked for anything.
let problems;
const fresh = () => ({ console: [], exceptions: [], policy: [], hosts: [] });

const commands = {
  async launch({ camera }) {
    const args = ["--no-sandbox", "--disable-dev-shm-usage"];
    if (camera) args.push("--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${camera}`);
    browser = await chromium.launch({ executablePath, args });
    return browser.version();
  },
  async open({ options }) {
    await context?.close();
    context = await browser.newContext(options);
    context.setDefaultTimeout(120_000);
    problems = fresh();
    await context.exposeBinding("policyViolation", (_, text) => { problems.policy.push(text); });
    await context.addInitScript(() => addEventListener("securitypolicyviolation", (e) =>
      window.policyViolation(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`)));
    context.on("request", (r) => {
      const url = new URL(r.url());
      if (!["data:", "blob:"].includes(url.protocol) && !problems.hosts.includes(url.host)) problems.hosts.push(url.host);
    });
    page = await context.newPage();
    page.on("console", (m) => {
      if (["error", "warning"].includes(m.type())) problems.console.push(`${m.type()}: ${m.text()} (${m.location().url})`);
    });
    page.on("pageerror", (e) => problems.exceptions.push(String(e.stack ?? e)));
  },
  page: ({ call, args }) => run(page, call, args),
  context: ({ call, args }) => run(context, call, args),
  problems() {
    const all = problems;
    problems = fresh();
    return all;
  },
  async close() {
    await context?.close();
    context = page = undefined;
  },
};

// run calls a method, and keeps of what it gives only what is data.
async function run(object, call, args = []) {
  const path = call.split(".");
  const method = path.pop();
  for (const name of path) object = object[name];
  const value = await object[method](...args);
  return ["string", "number", "boolean"].includes(typeof value) || value?.constructor === Object || Array.isArray(value) ? value : null;
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[command.do](command)) ?? null };
  } catch (e) {
    answer = { error: String(e.message ?? e) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser?.close();
