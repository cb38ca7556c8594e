/** A supervisor among those who send anything: what it is sent costs it and its instances nothing that lasts. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type SupervisionState, SupervisorClient } from "forkmap/supervisor";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { isAlive } from "../support/leftovers.js";
import { malformed } from "../support/malformed.js";
import { seeded } from "../support/seeded.js";
import { SOON } from "../support/soon.js";
import {
  Raw,
  runOf,
  supervisedProgram,
  type SupervisedProgram,
  supervisorPid,
  tokenOf,
} from "../support/supervised-program.js";
import { temporaryDirectory } from "../support/temporary.js";

const MIB = 2 ** 20;
const MESSAGES = 10_000;
const WARM_UP_MESSAGES = 3000;
/** By which it may differ from one time to the next. */
const GROWTH_BYTES = 150 * MIB;
const CONNECTIONS = 30;
const SEED = 20_261_130;
const LAST_ID = 99_999;
/** On a machine that does other things as well. */
const PROMPT_MS = 5000;

let root: string;
let program: SupervisedProgram;
let bystander: ReturnType<typeof spawn>;
let pids: { readonly supervisor: number; readonly instances: readonly number[] };
let before: { readonly files: Map<string, string>; readonly descriptors: number };
const answered = { finished: 0, failed: 0 };

beforeEach(async () => {
  root = temporaryDirectory();
  for (const name of ["cwd", "files", "outside"]) mkdirSync(path.join(root, name));
  program = await supervisedProgram({
    supervisor: { directory: path.join(root, "supervisor"), files: path.join(root, "files") },
    cwd: path.join(root, "cwd"),
  });
  bystander = spawn("/bin/sleep", ["600"], { stdio: "ignore" });
  pids = await vi.waitFor(pidsNow, SOON);
  before = { files: tree(root), descriptors: descriptors(pids.supervisor) };
});

afterEach(async () => {
  bystander.kill("SIGKILL");
  const { code, stderr } = await program.end();
  expect(stderr).not.toMatch(/Error|Warning|uncaught/i);
  expect(code).toBe(0);
});

/** Once all instances have introduced themselves. */
async function pidsNow(): Promise<typeof pids> {
  const { instances } = await status();
  const services = instances.filter(({ name }) => name !== "supervisor").slice(0, 2);
  expect(services.map(({ isSupervised }) => isSupervised)).toEqual([true, true]);
  expect(runOf(program.directory)).toBeTypeOf("string");
  return {
    supervisor: await supervisorPid(program.directory),
    instances: services.map(({ pid }) => pid!),
  };
}

async function status(): Promise<SupervisionState> {
  await using client = await SupervisorClient.connect(program.directory);
  return (await client.call({ do: "status" }, {}, { timeout: PROMPT_MS })) as SupervisionState;
}

/** Names and contents, without those of metrics, which change by themselves. */
function tree(directory: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (/^metrics-|^totals/.test(entry.name)) continue;
    const file = path.join(entry.parentPath, entry.name);
    found.set(
      file,
      entry.isFile() ? createHash("sha1").update(readFileSync(file)).digest("hex") : "",
    );
  }
  return found;
}

function rss(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) * 1024;
}

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Once all connections have gone. */
async function settled(): Promise<void> {
  await vi.waitFor(
    () => expect(descriptors(pids.supervisor)).toBeLessThanOrEqual(before.descriptors),
    SOON,
  );
}

/** The supervisor and its instances are who they were, and have what they had. */
async function expectAsBefore(memory: number): Promise<void> {
  expect(await pidsNow()).toEqual(pids);
  await settled();
  await vi.waitFor(() => expect(rss(pids.supervisor) - memory).toBeLessThan(GROWTH_BYTES), SOON);
  expect(tree(root)).toEqual(before.files);
  expect(isAlive(bystander.pid!)).toBe(true);
}

/** Opens connections until all messages are sent: each sends some, with or without the token, in any pieces, and reads or does not. */
async function throwAt(directory: string, seed: number, messages: number): Promise<void> {
  const random = seeded(seed);
  const strange = {
    pids: [1, 2, process.pid, program.pid, bystander.pid!, 2 ** 31, ...pids.instances],
    paths: ["../outside/a", `${root}/outside/b`, "a/../../outside/c", "..", ".", "a//b", "\0"],
  };
  for (let sent = 0; sent < messages;) {
    const raw = await Raw.connect(directory).catch(() => undefined);
    if (!raw) continue;
    if (random(8) === 0) raw.socket.pause();
    const kind = random(10);
    const token = kind < 7 ? tokenOf(directory) : kind === 7 ? "f".repeat(64) : undefined;
    if (token !== undefined) raw.send({ id: 1, do: "hello", token });
    for (let left = 1 + random(40); left > 0 && sent < messages && !raw.isClosed; left -= 1) {
      sent += 1;
      const text = malformed(random, strange);
      const cut = random(text.length + 1);
      raw.send(text.slice(0, cut));
      if (random(4) === 0) await sleep(0);
      raw.send(text.slice(cut));
      if (random(10) === 0) await sleep(random(3));
    }
    // Some wait until all was answered, or refused.
    if (random(3) > 0) {
      raw.send({ id: LAST_ID, do: "hello" });
      const isOver = () => raw.isClosed || raw.lines.some(({ id }) => id === LAST_ID);
      for (let i = 0; i < 100 && !isOver(); i += 1) await sleep(5);
    }
    for (const { finished, failed } of raw.lines) {
      if (finished) answered.finished += 1;
      if (failed) answered.failed += 1;
    }
    if (random(2) === 0) raw.socket.end();
    else raw.close();
    setTimeout(() => raw.close(), 1000).unref();
  }
}

async function throwAll(seed: number, messages: number): Promise<void> {
  await Promise.all(
    Array.from({ length: CONNECTIONS }, (_, i) =>
      throwAt(program.directory, seed + i, messages / CONNECTIONS),
    ),
  );
}

it("10,000 messages that nobody should send, over many connections at once, change nothing", async () => {
  const { directory } = program;
  const open = (count: number) =>
    Promise.all(Array.from({ length: count }, () => Raw.connect(directory)));
  // A heap grows with the first that comes, and is not given back.
  await throwAll(SEED, WARM_UP_MESSAGES);
  await settled();
  const memory = rss(pids.supervisor);
  const silent = await open(300);
  const deaf = await open(10);
  for (const raw of deaf) {
    raw.socket.pause();
    raw.send({ id: 1, do: "hello", token: tokenOf(directory) });
    for (let i = 1; i < 200; i += 1) raw.send({ id: 2 * i + 1, do: i < 4 ? "watch" : "status" });
  }
  let isOver = false;
  const thrown = throwAll(SEED + CONNECTIONS, MESSAGES).finally(() => (isOver = true));
  while (!isOver) {
    const began = performance.now();
    await status();
    expect(performance.now() - began).toBeLessThan(PROMPT_MS);
    await sleep(200);
  }
  await thrown;
  // Not all of it in vain.
  expect(answered.finished).toBeGreaterThan(100);
  expect(answered.failed).toBeGreaterThan(100);
  for (const raw of [...silent, ...deaf]) raw.close();
  await expectAsBefore(memory);
}, 300_000);

it("a forger who has the token is believed nothing that harms others", async () => {
  const { directory } = program;
  const memory = rss(pids.supervisor);
  const token = tokenOf(directory);
  const run = runOf(directory);
  const { instances } = await status();
  const real = instances.find(({ pid }) => pid === pids.instances[0])!;
  const facts = { name: "forged", kind: "fork", startedAt: 1e15, version: "v0" };
  const forge = async (child: object) => {
    const raw = await Raw.connect(directory);
    raw.send({ id: 1, do: "register", token, child: { ...facts, generation: 1, ...child } });
    return raw;
  };
  // An instance of the container, with the pid of somebody else.
  const one = await forge({ run, num: real.num, pid: bystander.pid });
  expect((await one.line(({ id }) => id === 1))["error"].reason).toBe("refused");
  // Its next generation, of which the container has not told.
  const next = await forge({ run, num: real.num, generation: 2, pid: bystander.pid });
  const alike = await forge({ run: "1-1", num: real.num, pid: bystander.pid });
  const victims = [1, program.pid, process.pid, bystander.pid!, pids.supervisor, 2 ** 40];
  const others = await Promise.all(
    victims.map((pid, i) => forge({ run: "1-1", num: 1000 + i, pid })),
  );
  for (const raw of others) await raw.line(({ id }) => id === 1);
  await using client = await SupervisorClient.connect(directory);
  for (const [i, raw] of others.entries()) {
    const asked = client.call({ do: "signal", signal: "SIGTERM" }, { num: 1000 + i });
    const { id, ...message } = await raw.line((line) => line["do"] === "signal");
    expect(message).toEqual({ do: "signal", signal: "SIGTERM" });
    raw.send({ id, finished: true });
    expect(await asked).toEqual({ signalled: 1 });
    void client.call({ do: "restart" }, { num: 1000 + i });
    await raw.line((line) => line["do"] === "replace");
    // Cannot be another as well, nor anybody's interrupts.
    raw.send({
      id: 3,
      do: "register",
      child: { ...facts, run, num: real.num, generation: 1, pid: real.pid },
    });
    expect((await raw.line(({ id }) => id === 3))["failed"]).toBe(true);
  }
  const thief = await Raw.connect(directory);
  thief.send({ id: 1, do: "interrupts", token, run, num: real.num });
  const confused = await Raw.connect(directory);
  confused.send({ id: 1, do: "interrupts", token, run: { toString: 1 }, num: [] });
  const answer = (await client.call({ do: "status" }, { num: real.num })) as { pid?: number };
  expect(alike.lines.some((line) => line["do"] === "status")).toBe(false);
  expect(answer).toBeTypeOf("object");
  for (const pid of [program.pid, bystander.pid!]) expect(isAlive(pid)).toBe(true);
  await client.close();
  for (const raw of [one, next, alike, thief, confused, ...others]) raw.close();
  await expectAsBefore(memory);
});

it("a child that answers without an end costs its client no more than it wants, and the supervisor nothing", async () => {
  const { directory } = program;
  const memory = rss(pids.supervisor);
  const raw = await Raw.connect(directory);
  const child = { run: "1-1", num: 1000, generation: 1, pid: process.pid, startedAt: 0 };
  raw.send({
    id: 1,
    do: "register",
    token: tokenOf(directory),
    child: { ...child, name: "floods", kind: "fork", version: "v0" },
  });
  await raw.line(({ id }) => id === 1);
  const client = await Raw.connect(directory);
  client.send({ id: 1, do: "hello", token: tokenOf(directory) });
  await client.line(({ id }) => id === 1);
  client.socket.pause();
  client.send({ id: 3, do: "scheduler_dump", target: { num: 1000 } });
  const { id } = await raw.line((line) => line["do"] === "scheduler_dump");
  const piece = `${JSON.stringify({ id, answer: "x".repeat(60_000) })}\n`;
  for (let i = 0; i < 2000; i += 1) {
    if (!raw.socket.writableNeedDrain) raw.send(piece);
    await sleep(1);
  }
  expect(rss(pids.supervisor) - memory).toBeLessThan(GROWTH_BYTES);
  await status();
  client.close();
  raw.close();
  await expectAsBefore(memory);
});
