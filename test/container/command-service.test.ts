import { CommandService, type ServiceCommand } from "forkmap/container";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { contained, soon } from "../support/contained.js";
import { isAlive } from "../support/leftovers.js";
import { rejection } from "../support/rejection.js";
import { fixture } from "../support/run-script.js";
import { temporaryDirectory } from "../support/temporary.js";

const quick = { min: 5, max: 10 };
const speaks = (...steps: string[]) =>
  new CommandService({ argv: [process.execPath, fixture("services/speaks.mjs"), ...steps] });
const shell = (script: string, more: Omit<ServiceCommand, "argv"> = {}) =>
  new CommandService({ argv: ["sh", "-c", script], ...more });

describe("a CommandService", () => {
  it("is told its num and generation, and tells how it is by lines of JSON", async () => {
    const { container, policy } = contained();
    container.run(speaks("heed", "whoami", "ready", "stay"), { count: 2, name: "web" });
    await container.waitUntilReady();
    const infos = container.instances.map(({ num, kind, name, state, status }) => ({
      num,
      kind,
      name,
      state,
      status,
    }));
    expect(infos).toEqual(
      [0, 1].map((num) => ({
        num,
        kind: "command",
        name: "web",
        state: "ready",
        status: `num ${num} generation 1`,
      })),
    );
    await container.stop();
    expect(policy.ends).toEqual([
      expect.objectContaining({ how: "exit code 0", isFailure: false, wasReady: true }),
      expect.objectContaining({ how: "exit code 0", isFailure: false, wasReady: true }),
    ]);
  });

  it("may be a shell script", async () => {
    const { container, policy } = contained();
    const script = `echo '{"status":"soon"}' >&"$NOTIFY_PIPE"
      echo '{"ready":true,"status":"up"}' >&"$NOTIFY_PIPE"
      exec sleep 60`;
    container.spawn(shell(script));
    await container.waitUntilReady();
    expect(container.instances[0]).toMatchObject({ name: "CommandService", status: "up" });
    await container.stop();
    expect(policy.ends[0]).toMatchObject({ signal: "SIGINT", isFailure: false });
  });

  it("has the environment and directory that it is given, and those of the protocol", async () => {
    const directory = temporaryDirectory();
    const { container } = contained();
    const script = "env > env; pwd -P > pwd";
    const env = { PATH: process.env["PATH"], OWN: "yes", GONE: undefined };
    container.spawn(shell(script, { env, cwd: directory }));
    await container.waitUntilReady();
    expect(readFileSync(`${directory}/pwd`, "utf8").trim()).toBe(directory);
    const names = readFileSync(`${directory}/env`, "utf8")
      .split("\n")
      .map((line) => line.split("=")[0]!);
    expect(names).toEqual(
      expect.arrayContaining(["OWN", "PATH", "FORKMAP_NUM", "FORKMAP_GENERATION", "NOTIFY_PIPE"]),
    );
    for (const name of ["GONE", "LISTEN_FDS", "LISTEN_PID", "HOME"])
      expect(names).not.toContain(name);
  });

  it("is restarted, and keeps its num", async () => {
    const { container, policy } = contained();
    const script = `if [ "$FORKMAP_GENERATION" = 1 ]; then exit 3; fi
      echo '{"ready":true}' >&"$NOTIFY_PIPE"; exec sleep 60`;
    container.run(shell(script), { count: 2, restart: "on-failure", backoff: quick });
    await container.waitUntilReady();
    expect(
      container.instances.map(({ num, generation, restarts }) => [num, generation, restarts]),
    ).toEqual([
      [0, 2, 1],
      [1, 2, 1],
    ]);
    expect(policy.ends.map(({ how }) => how)).toEqual(["exit code 3", "exit code 3"]);
    process.kill(container.instances[0]!.pid!, "SIGKILL");
    await soon(() =>
      expect(container.instances[0]).toMatchObject({ generation: 3, state: "ready" }),
    );
    expect(policy.ends[2]).toMatchObject({ signal: "SIGKILL", isFailure: true, wasReady: true });
    await container.stop();
  });

  it("has both clocks", async () => {
    const { container, policy } = contained();
    container.spawn(speaks("beat", "ignore", "linger"), { startupTimeout: 700 });
    await soon(() => expect(container.size).toBe(0));
    container.spawn(speaks("ready", "beat", "sleep 200", "block"), { healthCheckTimeout: 600 });
    await soon(() => expect(container.size).toBe(0));
    expect(policy.ends.map(({ how }) => how)).toEqual([
      "it was not ready after 700 ms",
      "it gave no sign of health for 600 ms",
    ]);
    const hooks = policy.hooks().filter((hook) => hook !== "spawned");
    expect(hooks).toEqual(["startFailed", "exited", "ready", "healthCheckFailed", "exited"]);
  });

  it("is killed with all that it has started when it ignores the request to stop", async () => {
    const { container, policy } = contained();
    const script = `trap '' INT; sleep 300 & echo "{\\"ready\\":true,\\"status\\":\\"$!\\"}" >&"$NOTIFY_PIPE"
      while true; do sleep 300; done`;
    container.spawn(shell(script), { restart: "always" });
    await container.waitUntilReady();
    const grandchild = Number(container.instances[0]!.status);
    expect(isAlive(grandchild)).toBe(true);
    const asked = Date.now();
    await container.stop(400);
    expect(Date.now() - asked).toBeLessThan(1400);
    expect(policy.ends[0]).toMatchObject({ signal: "SIGKILL", isFailure: false });
    await soon(() => expect(isAlive(grandchild)).toBe(false));
  });

  it("is killed when it closes its pipe after use and lives on; a program that never used it may", async () => {
    const { container, policy } = contained();
    const script = `echo '{"ready":true}' >&"$NOTIFY_PIPE"; eval "exec $NOTIFY_PIPE>&-"; exec sleep 300`;
    container.spawn(shell(script), { name: "deaf" });
    container.spawn(shell(`eval "exec $NOTIFY_PIPE>&-"; exec sleep 300`), { name: "unaware" });
    await soon(() => expect(policy.ends).toHaveLength(1));
    expect(policy.ends[0]).toMatchObject({
      how: "it has closed its channel, and lived on",
      isFailure: true,
    });
    expect(container.instances.map(({ name }) => name)).toEqual(["unaware"]);
    await container.stop();
  });

  it.each(["no json", "[1]", '{"ready":"yes"}', '{"status":5}'])(
    "is killed when it writes %s",
    async (line) => {
      const { container, policy } = contained();
      container.spawn(speaks("ready", `raw ${line}`, "linger"));
      await soon(() => expect(policy.ends).toHaveLength(1));
      expect(policy.ends[0]).toMatchObject({ isFailure: true, signal: "SIGKILL" });
      expect(policy.ends[0]!.how).toMatch(/^it wrote /);
    },
  );

  it("that does not exist is given up at once", async () => {
    const { container } = contained();
    const service = new CommandService({ argv: ["no-such-program-anywhere"] });
    container.spawn(service, { restart: "always", name: "none" });
    const error = await rejection(container.waitUntilReady());
    expect(error.message).toMatch(
      /^none num 0 is given up: it ended before it was ready \(.*no-such-program-anywhere/,
    );
    expect(container.statistics.restarts).toBe(0);
  });
});
