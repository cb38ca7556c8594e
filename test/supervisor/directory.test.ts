/** The directory of a supervisor: who may enter it, what is in it, and what remains of it; and instances, which go on without a supervisor. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type SupervisionState, SupervisorClient } from "forkmap/supervisor";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { descendants, isAlive } from "../support/leftovers.js";
import { SOON } from "../support/soon.js";
import {
  connected,
  Raw,
  supervisedProgram,
  type SupervisedProgram,
  type ProgramOptions,
  supervisorPid,
  tokenOf,
} from "../support/supervised-program.js";
import { temporaryDirectory } from "../support/temporary.js";

const IS_ROOT = process.getuid?.() === 0;

let root: string;
const programs: SupervisedProgram[] = [];

beforeEach(() => {
  root = realpathSync(temporaryDirectory());
});

afterEach(async () => {
  await Promise.all(programs.splice(0).map((each) => each.end("SIGKILL")));
  await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
});

async function started(options?: ProgramOptions): Promise<SupervisedProgram> {
  const program = await supervisedProgram(options);
  programs.push(program);
  return program;
}

function mode(file: string): string {
  return (lstatSync(file).mode & 0o777).toString(8);
}

async function stateOf(directory: string): Promise<SupervisionState> {
  await using client = await SupervisorClient.connect(directory);
  return (await client.call({ do: "status" })) as SupervisionState;
}

/** The pids of the two services, once they have introduced themselves. */
async function services(directory: string): Promise<number[]> {
  return await vi.waitFor(async () => {
    const { instances } = await stateOf(directory);
    const known = instances.filter(({ isSupervised }) => isSupervised);
    expect(known).toHaveLength(2);
    return known.map(({ pid }) => pid!);
  }, SOON);
}

/** Resolves with the last of what an iterator gives. */
async function lastOf<T>(iterator: AsyncIterable<T>): Promise<T | undefined> {
  let last: T | undefined;
  for await (const each of iterator) last = each;
  return last;
}

/** Each makes a directory in which no supervisor may be, and returns its path. */
const BAD: readonly [string, () => string, string][] = [
  [
    "open to others",
    () => {
      mkdirSync(`${root}/open`);
      chmodSync(`${root}/open`, 0o755);
      return `${root}/open`;
    },
    "to be closed to others (0700), and it has 0755: chmod 700",
  ],
  [
    "open to its group",
    () => {
      mkdirSync(`${root}/group`);
      chmodSync(`${root}/group`, 0o710);
      return `${root}/group`;
    },
    "to be closed to others (0700), and it has 0710: chmod 700",
  ],
  [
    "a link",
    () => {
      mkdirSync(`${root}/real`, { mode: 0o700 });
      symlinkSync(`${root}/real`, `${root}/link`);
      return `${root}/link`;
    },
    "to be a directory, and it is a link or a file",
  ],
  [
    "a link that leads nowhere",
    () => {
      symlinkSync(`${root}/nowhere`, `${root}/link`);
      return `${root}/link`;
    },
    "to be a directory, and it is a link or a file",
  ],
  [
    "a file",
    () => {
      writeFileSync(`${root}/file`, "mine");
      return `${root}/file`;
    },
    "to be a directory, and it is a link or a file",
  ],
  [
    "below a file",
    () => {
      writeFileSync(`${root}/file`, "mine");
      return `${root}/file/below`;
    },
    "to be made, got ENOTDIR",
  ],
  ["one that cannot be made", () => "/proc/supervisor", "to be made, got ENOENT"],
];

describe("a directory that is", () => {
  it.each(BAD)("%s is refused in one sentence, and instances go on", async (_, make, why) => {
    const directory = make();
    const before = existsSync(directory) && lstatSync(directory).isDirectory();
    const { stderr, pid, end } = await started({
      supervisor: { directory },
      atOnce: true,
      steps: ["ready", "writeError working\\n", "stay"],
    });
    await vi.waitFor(() => expect(stderr()).toContain(why), SOON);
    const line = stderr()
      .split("\n")
      .find((each) => each.includes(why))!;
    expect(line).toContain("Expected the directory of the supervisor");
    expect(line).toContain(directory);
    if (before)
      expect(readdirSync(directory).filter((name) => !name.startsWith("metrics-"))).toEqual([]);
    await vi.waitFor(() => expect(stderr().match(/^working$/gm)).toHaveLength(2), SOON);
    expect(isAlive(pid)).toBe(true);
    expect((await end()).code).toBe(0);
  });

  it.runIf(IS_ROOT)("somebody else's is refused", async () => {
    const directory = `${root}/foreign`;
    mkdirSync(directory, { mode: 0o700 });
    const { chownSync } = await import("node:fs");
    chownSync(directory, 61_234, 61_234);
    const { stderr } = await started({ supervisor: { directory }, atOnce: true });
    await vi.waitFor(
      () => expect(stderr()).toContain("to belong to this user, and it belongs to user 61234"),
      SOON,
    );
  });

  it("longer than the path of a socket is as good as any", async () => {
    const directory = path.join(root, "d".repeat(100), "é".repeat(60), "supervisor");
    const { pid } = await started({ supervisor: { directory } });
    expect(await services(directory)).toHaveLength(2);
    expect((await stateOf(directory)).instances.every((each) => each.pid !== pid)).toBe(true);
    const supervisor = await supervisorPid(directory);
    process.kill(supervisor, "SIGKILL");
    await vi.waitFor(async () => expect(await supervisorPid(directory)).not.toBe(supervisor), SOON);
    expect(await services(directory)).toHaveLength(2);
  });
});

describe("in the directory", () => {
  it("everything is for this user alone, whatever the umask", async () => {
    const directory = `${root}/a/b/supervisor`;
    const { end } = await started({
      supervisor: { directory },
      command: ["/bin/sh", "-c", 'umask 0; exec "$@"', "sh"],
    });
    await services(directory);
    expect(mode(directory)).toBe("700");
    await vi.waitFor(() => {
      const names = readdirSync(directory);
      expect(names.filter((name) => name.startsWith("metrics-"))).not.toEqual([]);
    }, SOON);
    for (const name of readdirSync(directory))
      expect(`${name} ${mode(`${directory}/${name}`)}`).toBe(`${name} 600`);
    await end();
    const left = readdirSync(directory);
    expect(left.filter((name) => /socket|token/.test(name))).toEqual([]);
  });

  it("the token is another with each supervisor, and an earlier one is refused", async () => {
    const directory = `${root}/supervisor`;
    const first = await started({ supervisor: { directory } });
    const instances = await services(directory);
    const tokens = [tokenOf(directory)];
    const pid = await supervisorPid(directory);
    const client = await connected(directory);
    process.kill(pid, "SIGKILL");
    await expect(lastOf(client.watch())).rejects.toMatchObject({ reason: "disconnected" });
    await vi.waitFor(async () => expect(await supervisorPid(directory)).not.toBe(pid), SOON);
    tokens.push(tokenOf(directory));
    // The same ones have introduced themselves again.
    expect(await services(directory)).toEqual(instances);
    await first.end();
    expect(existsSync(`${directory}/token`)).toBe(false);
    await expect(SupervisorClient.connect(directory)).rejects.toMatchObject({
      reason: "disconnected",
      message: expect.stringContaining(`No supervisor runs in ${directory}`),
    });
    await started({ supervisor: { directory } });
    tokens.push(tokenOf(directory));
    expect(new Set(tokens).size).toBe(3);
    for (const token of tokens) expect(token).toMatch(/^[0-9a-f]{64}$/);
    for (const token of [...tokens.slice(0, 2), "", tokens[2]!.slice(0, 63), `${tokens[2]!}0`]) {
      const raw = await Raw.connect(directory);
      raw.send({ id: 1, do: "status", token });
      const { error } = await raw.line(({ failed }) => failed === true);
      expect(error).toMatchObject({ reason: "refused" });
      await vi.waitFor(() => expect(raw.isClosed).toBe(true), SOON);
    }
    expect(await services(directory)).toHaveLength(2);
  });

  it("a supervisor takes the place of another that still runs, which leaves it alone as it ends", async () => {
    const directory = `${root}/supervisor`;
    const first = await started({ supervisor: { directory } });
    await services(directory);
    const pid = await supervisorPid(directory);
    const second = await started({ supervisor: { directory } });
    await vi.waitFor(async () => expect(await supervisorPid(directory)).not.toBe(pid), SOON);
    const token = tokenOf(directory);
    const { code, stderr } = await first.end();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(tokenOf(directory)).toBe(token);
    expect(await services(directory)).toHaveLength(2);
    await second.end();
    expect(readdirSync(directory).filter((name) => /socket|token/.test(name))).toEqual([]);
  });
});

describe("of a directory in the temporary directory", () => {
  const temporary = () => {
    mkdirSync(`${root}/tmp`, { recursive: true });
    return { env: { TMPDIR: `${root}/tmp` } };
  };

  it("nothing remains when the container has stopped", async () => {
    const { directory, end } = await started(temporary());
    expect(path.dirname(directory)).toBe(`${root}/tmp`);
    await services(directory);
    const { code, stderr } = await end();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(readdirSync(`${root}/tmp`)).toEqual([]);
  });

  it("nothing remains after the next run, when the program was killed", async () => {
    const first = await started(temporary());
    await services(first.directory);
    await first.end("SIGKILL");
    await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
    const second = await started(temporary());
    await services(second.directory);
    await vi.waitFor(() => expect(existsSync(first.directory)).toBe(false), SOON);
    await second.end();
    expect(readdirSync(`${root}/tmp`)).toEqual([]);
  });
});

it("a supervisor is stopped at once, whoever does not read what it tells", async () => {
  const { directory, end } = await started();
  await services(directory);
  const raw = await Raw.connect(directory);
  raw.send({ id: 1, do: "hello", token: tokenOf(directory) });
  await raw.line(({ id }) => id === 1);
  raw.socket.pause();
  for (let i = 1; i < 250; i += 1) raw.send({ id: 2 * i + 1, do: i % 2 ? "watch" : "status" });
  await sleep(1000);
  const began = performance.now();
  const { code } = await end();
  expect(code).toBe(0);
  // It would be killed after 10 s.
  expect(performance.now() - began).toBeLessThan(8000);
  raw.close();
});

it("instances go on without a supervisor, and with one that hangs", async () => {
  const { directory, end } = await started();
  const instances = await services(directory);
  const pid = await supervisorPid(directory);
  process.kill(pid, "SIGSTOP");
  await sleep(500);
  expect(instances.every(isAlive)).toBe(true);
  const client = await Raw.connect(directory);
  client.send({ id: 1, do: "hello", token: readFileSync(`${directory}/token`, "latin1") });
  process.kill(pid, "SIGKILL");
  await vi.waitFor(async () => expect(await supervisorPid(directory)).not.toBe(pid), SOON);
  expect(await services(directory)).toEqual(instances);
  expect((await end()).code).toBe(0);
  expect(existsSync(path.join(tmpdir(), path.basename(directory)))).toBe(false);
});
