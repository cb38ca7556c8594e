/** Files that diagnostics are written to are below the directory that was given, whatever a client asks for and whatever is exchanged meanwhile. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { InstanceAnswer, SupervisorClient } from "forkmap/supervisor";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { SafeFile } from "../../src/supervisor/safe-file.js";
import { SOON } from "../support/soon.js";
import {
  connected,
  Raw,
  supervisedProgram,
  type SupervisedProgram,
  tokenOf,
} from "../support/supervised-program.js";
import { dirSync } from "tmp-promise";

const root = dirSync({ prefix: "test-of-forkmap", unsafeCleanup: true });
const files = path.join(root.name, "files");
const outside = path.join(root.name, "outside");
const disk = path.join(root.name, "disk");
let isMounted = false;
let program: SupervisedProgram;
let client: SupervisorClient;
let nums: number[];

beforeAll(async () => {
  mkdirSync(outside);
  mkdirSync(disk);
  program = await supervisedProgram({ supervisor: { files } });
  client = await connected(program.directory);
  nums = await vi.waitFor(async () => {
    const { instances } = await client.call({ do: "status" });
    const known = instances.filter(({ isSupervised }) => isSupervised);
    expect(known).toHaveLength(2);
    return known.map(({ num }) => num);
  }, SOON);
});

afterAll(async () => {
  await client.close();
  const { stderr } = await program.end();
  if (isMounted) execFileSync("umount", [path.join(files, "disk")]);
  root.removeCallback();
  expect(stderr).toBe("");
});

function write(file: string): Promise<unknown> {
  return client.call({ do: "scheduler_dump", file }, { num: nums[0]! });
}

function mode(file: string): string {
  return (lstatSync(file).mode & 0o777).toString(8);
}

it("are made with their directories, for this user alone", async () => {
  const answer = (await write("some/where/dump.json")) as { file: string; bytes: number };
  const file = path.join(files, "some/where/dump.json");
  expect(answer).toEqual({ file, bytes: lstatSync(file).size });
  expect(JSON.parse(readFileSync(file, "utf8"))).toBeTypeOf("object");
  expect(["", "some", "some/where"].map((name) => mode(path.join(files, name)))).toEqual([
    "700",
    "700",
    "700",
  ]);
  expect(mode(file)).toBe("600");
});

it("have all of a text that comes in pieces", async () => {
  const answer = (await client.call(
    { do: "cpu_profile", duration: 300, file: "profile.cpuprofile" },
    { num: nums[0]! },
  )) as { file: string; bytes: number };
  const text = readFileSync(answer.file, "utf8");
  expect(Buffer.byteLength(text)).toBe(answer.bytes);
  expect(JSON.parse(text)).toHaveProperty("nodes");
  const dump = (await client.call({ do: "memory_dump", file: "heap" }, { num: nums[1]! })) as {
    file: string;
    bytes: number;
  };
  expect(lstatSync(dump.file).size).toBe(dump.bytes);
  expect(JSON.parse(readFileSync(dump.file, "utf8"))).toHaveProperty("snapshot");
});

it("of several instances have the num of each in their names", async () => {
  const answers = (await client.call({
    do: "scheduler_dump",
    file: "all/{num}/{num}.json",
  })) as InstanceAnswer[];
  expect(answers.map(({ answer }) => (answer as { file: string }).file)).toEqual(
    nums.map((num) => path.join(files, `all/${num}/${num}.json`)),
  );
  await expect(client.call({ do: "scheduler_dump", file: "one" })).rejects.toThrow("{num}");
  expect(existsSync(path.join(files, "one"))).toBe(false);
});

it.each([
  ["..", "`..`"],
  ["../evil", "`..`"],
  ["a/../../outside/evil", "`..`"],
  ["a/..", "`..`"],
  [".", "`..`"],
  ["./evil", "`..`"],
  ["", "Expected `file`"],
  ["a//evil", "Expected `file`"],
  ["evil/", "Expected `file`"],
  [`${outside}/evil`, "not absolute"],
  ["ev\0il", "Expected `file`"],
  ["../{num}", "`..`"],
  ["a".repeat(256), "could not be made (ENAMETOOLONG)"],
  [`${"a/".repeat(600)}evil`, "Expected `file`"],
])("%j is refused", async (name, why) => {
  await expect(write(name)).rejects.toThrow(why);
  expect(readdirSync(outside)).toEqual([]);
});

it.each([7, null, true, ["a"], { toString: "a" }])("%j is no name", async (name) => {
  await expect(write(name as never)).rejects.toThrow("Expected `file` to be a path");
});

it("are never written over, nor through what is not a directory", async () => {
  mkdirSync(path.join(files, "taken"));
  writeFileSync(path.join(files, "taken/file"), "mine");
  await expect(write("taken/file")).rejects.toThrow("is there already");
  await expect(write("taken")).rejects.toThrow("is there already");
  await expect(write("taken/file/more")).rejects.toThrow("leads over a link or a file");
  expect(readFileSync(path.join(files, "taken/file"), "utf8")).toBe("mine");
});

it("do not follow a link at any level, whether it leads anywhere or not", async () => {
  const links = path.join(files, "links/deep");
  mkdirSync(links, { recursive: true });
  symlinkSync(outside, path.join(links, "out"));
  symlinkSync(path.join(outside, "evil"), path.join(links, "file"));
  symlinkSync("/nowhere/at/all", path.join(links, "nowhere"));
  symlinkSync("../../links", path.join(links, "inside"));
  symlinkSync(outside, path.join(files, "first"));
  for (const name of ["out/evil", "out", "file", "nowhere", "nowhere/evil", "inside/evil"])
    await expect(write(`links/deep/${name}`)).rejects.toMatchObject({ reason: "refused" });
  await expect(write("first/evil")).rejects.toMatchObject({ reason: "refused" });
  await expect(write("first/sub/evil")).rejects.toMatchObject({ reason: "refused" });
  expect(readdirSync(outside)).toEqual([]);
});

it("are never outside while another process exchanges their directory for a link", async () => {
  const swaps = `
    const fs = require("fs");
    const at = ${JSON.stringify(path.join(files, "swapped"))};
    fs.mkdirSync(at);
    console.log("ready");
    // The supervisor may have made the directory between any two steps.
    const tries = (step) => { try { step(); } catch {} };
    for (let i = 0; ; i += 1) {
      tries(() => fs.renameSync(at, at + "-kept-" + i));
      tries(() => fs.symlinkSync(${JSON.stringify(outside)}, at));
      tries(() => fs.unlinkSync(at));
      tries(() => fs.mkdirSync(at));
    }`;
  const swapper = spawn(process.execPath, ["-e", swaps], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await once(swapper.stdout, "data");
    let made = 0;
    for (let i = 0; i < 150; i += 1) {
      const ended = await write(`swapped/file-${i}`).catch((error: unknown) => error);
      if (ended instanceof Error) expect(ended.message).toMatch(/link or a file|could not be made/);
      else made += 1;
    }
    expect(made).toBeGreaterThan(0);
  } finally {
    swapper.kill("SIGKILL");
  }
  expect(readdirSync(outside)).toEqual([]);
});

it("that are abandoned are removed where they are, and nothing else is", async () => {
  const at = path.join(files, "moved");
  const file = SafeFile.create(files, "moved/half");
  await file.write("half");
  execFileSync("mv", [at, `${at}-away`]);
  mkdirSync(at);
  writeFileSync(path.join(at, "half"), "of somebody else");
  await file.abandon();
  expect(readdirSync(`${at}-away`)).toEqual([]);
  expect(readFileSync(path.join(at, "half"), "utf8")).toBe("of somebody else");
  const exchanged = SafeFile.create(files, "exchanged");
  execFileSync("rm", [path.join(files, "exchanged")]);
  writeFileSync(path.join(files, "exchanged"), "of somebody else");
  // Without a wait: the write is under way.
  void exchanged.write("x".repeat(1_000_000));
  await exchanged.abandon();
  expect(existsSync(path.join(files, "exchanged"))).toBe(true);
});

it("do not remain when their client goes away in the middle", async () => {
  const raw = await Raw.connect(program.directory);
  raw.send({ id: 1, do: "hello", token: tokenOf(program.directory) });
  raw.send({
    id: 3,
    do: "cpu_profile",
    args: { duration: 60_000 },
    target: { num: nums[0] },
    file: "half",
  });
  await vi.waitFor(() => expect(existsSync(path.join(files, "half"))).toBe(true), SOON);
  raw.close();
  await vi.waitFor(() => expect(existsSync(path.join(files, "half"))).toBe(false), SOON);
  await vi.waitFor(async () => {
    await client.call({ do: "cpu_profile", duration: 10, file: "whole" }, { num: nums[0]! });
  }, SOON);
  expect(existsSync(path.join(files, "whole"))).toBe(true);
});

it("do not remain when their operation fails", async () => {
  const running = client.call({ do: "cpu_profile", duration: 500 }, { num: nums[0]! });
  await sleep(100);
  await expect(
    client.call({ do: "cpu_profile", duration: 10, file: "second" }, { num: nums[0]! }),
  ).rejects.toThrow("Expected no other cpu_profile");
  await running;
  expect(existsSync(path.join(files, "second"))).toBe(false);
});

describe.runIf(process.getuid?.() === 0)("on a full disk", () => {
  beforeAll(() => {
    mkdirSync(path.join(files, "disk"), { recursive: true });
    try {
      execFileSync(
        "mount",
        ["-t", "tmpfs", "-o", "size=65536", "tmpfs", path.join(files, "disk")],
        { stdio: "ignore" },
      );
      isMounted = true;
    } catch {
      // Not in every container.
    }
  });

  it("fail with its name, and leave nothing", async ({ skip }) => {
    if (!isMounted) skip();
    await expect(
      client.call({ do: "memory_dump", file: "disk/heap" }, { num: nums[0]! }),
    ).rejects.toThrow("disk/heap could not be written (ENOSPC)");
    expect(readdirSync(path.join(files, "disk"))).toEqual([]);
    await vi.waitFor(
      async () => await client.call({ do: "memory_dump", file: "heap-2" }, { num: nums[0]! }),
      SOON,
    );
  });
});

it("need a directory that was given", async () => {
  const without = await supervisedProgram();
  await using other = await connected(without.directory);
  await vi.waitFor(
    async () =>
      await expect(
        other.call({ do: "scheduler_dump", file: "a" }, { num: nums[0]! }),
      ).rejects.toThrow("Expected the supervisor to have a directory for files"),
    SOON,
  );
  await without.end();
});
