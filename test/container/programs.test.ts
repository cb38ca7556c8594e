import { describe, expect, it, vi } from "vitest";
import { notesIn, type Place, PLACES, soon } from "../support/contained.js";
import { descendants, isAlive } from "../support/leftovers.js";
import { program } from "../support/program.js";
import { fixture, runScript } from "../support/run-script.js";
import { PROMISED } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

function contains(
  { options, run }: Place,
  steps: readonly string[],
  more: { last?: string; run?: object; options?: object; file?: string } = {},
) {
  const how = {
    options: { ...options, ...more.options },
    run: { ...run, ...more.run },
    last: more.last,
  };
  return program("contains.mjs", [JSON.stringify(how), more.file ?? "", ...steps]);
}

describe.each(PLACES)("a program with instances: $name", (place) => {
  it("lives as long as they do, and ends by itself", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const started = contains(place, ["ready", "sleep 700", "note end"], { file });
    const ended = await started.ended;
    expect(ended).toMatchObject({ code: 0, signal: null, stdout: "last line\n", stderr: "" });
    expect(notesIn(file).map(({ text }) => text)).toEqual(["end", "end"]);
  });

  it("ends after it has stopped them", async () => {
    const started = contains(place, ["ready", "stay"], { last: "stop" });
    expect(await started.ended).toMatchObject({ code: 0, stdout: "last line\n", stderr: "" });
  });

  it("lives while they wait for their restart", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const steps = ["note run", `until ${file}`, "exit 1"];
    const run = {
      count: 1,
      restart: "on-failure",
      backoff: { min: 300, max: 300 },
      intensity: { restarts: 2 },
    };
    const { code, stderr } = await contains(place, steps, { file, run }).ended;
    expect(code).toBe(0);
    expect(stderr).toContain("is given up");
    // Threads are restarted by their process; it is restarted in its turn.
    expect(notesIn(file)).toHaveLength(place.run.threads ? 9 : 3);
  });

  it("that is killed leaves nothing two seconds later", async () => {
    const file = `${temporaryDirectory()}/notes`;
    // What a thread of the program starts is started by the program itself.
    const grandchild = place.kind === "thread" ? [] : ["grandchild"];
    const steps = ["heed", "note me", ...grandchild, "ready", "linger"];
    const started = contains(place, steps, { file });
    await soon(() => expect(notesIn(file)).toHaveLength(grandchild.length * 2 + 2));
    const pids = notesIn(file).map(({ pid, grandchild }) => pid ?? grandchild);
    expect(pids.every(isAlive)).toBe(true);
    started.kill("SIGKILL");
    await started.ended;
    await vi.waitFor(() => {
      expect(descendants()).toEqual([]);
      expect(pids.filter(isAlive)).toEqual([]);
    }, PROMISED);
  });

  it("prints what run threw", async () => {
    const { code, stdout, stderr } = await contains(place, ["ready", "throw so it goes"], {
      run: { count: 1 },
    }).ended;
    expect([code, stdout]).toEqual([0, "last line\n"]);
    expect(stderr).toContain("Uncaught RangeError: so it goes");
    expect(stderr).toContain("performs.mjs");
    expect(stderr).toMatch(
      /ForkmapWarning: web num 0 \(pid \d+\) ended: exit code 1: .*so it goes\. It is not restarted/,
    );
  });

  it("fails when it waits for an instance that failed", async () => {
    const { code, stdout, stderr } = await contains(place, ["throw so it goes"], {
      run: { count: 1 },
      last: "wait",
    }).ended;
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(
      /InstanceError: web num 0 has failed and is not restarted: it ended before it was ready \(exit code 1: .*so it goes/,
    );
    expect(stderr).toContain("[cause]");
  });
});

describe.each(PLACES.slice(0, 2))("output: $name", (place) => {
  it("is tagged in whole lines by name and num", async () => {
    const steps = ["heed", "write one\\ntw", "sleep 30", "write o\\n", "writeError bad", "ready"];
    const { code, stdout, stderr } = await contains(place, steps, { options: { output: "tag" } })
      .ended;
    expect(code, stderr).toBe(0);
    const lines = stdout.trimEnd().split("\n").toSorted();
    expect(lines).toEqual(["last line", "web 0: one", "web 0: two", "web 1: one", "web 1: two"]);
    expect(stderr.trimEnd().split("\n").toSorted()).toEqual(["web 0: bad", "web 1: bad"]);
  });

  it("of an instance that fails is tagged too", async () => {
    const { stderr } = await contains(place, ["ready", "throw so it goes"], {
      run: { count: 1 },
      options: { output: "tag" },
    }).ended;
    expect(stderr).toContain("web 0: Uncaught RangeError: so it goes");
  });

  it("is that of the program by default", async () => {
    const { stdout, stderr } = await contains(place, [
      "write plain\\n",
      "writeError too\\n",
      "ready",
    ]).ended;
    expect(stdout.split("\n").toSorted()).toEqual(["", "last line", "plain", "plain"]);
    expect(stderr).toBe("too\ntoo\n");
  });
});

describe.each([
  ["fork", ""],
  ["spawn", ""],
  ["thread", ""],
  ["fork", "yes"],
])("a program of one file with two services, by %s (threads within: %s)", (start, threads) => {
  it("needs no exported class, and opens its sockets once", async () => {
    const env = { FORKMAP_TEST_START: start, FORKMAP_TEST_THREADS: threads };
    const { code, stdout, stderr } = await runScript(fixture("one-file/services.mjs"), { env });
    expect([code, stderr]).toEqual([0, ""]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.filter((line) => line !== "top")).toEqual([
      "0 Greets hello from Greets",
      "1 Greets hello from Greets",
      threads ? "2 Shouts " : "2 Shouts HELLO! from Shouts",
      "end",
    ]);
  });
});
