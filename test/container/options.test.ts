import { CommandService, Container, Service } from "forkmap/container";
import { describe, expect, it } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { contained } from "../support/contained.js";
import { rejection } from "../support/rejection.js";

const service = new Performs(["ready"]);
const command = new CommandService({ argv: ["true"] });

describe("options", () => {
  it.each<[unknown, RegExp]>([
    [{ policy: {} }, /^Expected `policy` to be an instance of Policy, got /],
    [{ sockets: 80 }, /^Expected `sockets` to be an object of sockets by name, got 80( \(.*\))?$/],
    [
      { startMethod: "forks" },
      /^Expected `startMethod` to be "fork" or "spawn" or "thread", got "forks"( \(.*\))?$/,
    ],
    [{ env: 1 }, /^Expected `env` to be .*, got 1( \(.*\))?$/],
    [{ cwd: 1 }, /^Expected `cwd` to be .*, got 1( \(.*\))?$/],
    [{ execArgv: "--x" }, /^Expected `execArgv` to be .*, got "--x"( \(.*\))?$/],
    [{ output: "pipe" }, /^Expected `output` to be "inherit" or "tag", got "pipe"( \(.*\))?$/],
    [{ count: 3 }, /^Unknown option `count` of Container\. There are: policy, sockets, /],
    [null, /got null( \(.*\))?$/],
  ])("of a container are checked: %j", (options, message) => {
    expect(() => new Container(options as object)).toThrow(TypeError);
    expect(() => new Container(options as object)).toThrow(message);
  });

  it.each<[unknown, RegExp]>([
    [
      { restart: "yes" },
      /^Expected `restart` to be "never" or "on-failure" or "always", got "yes"( \(.*\))?$/,
    ],
    [{ name: "" }, /^Expected `name` to be a string that is not empty, got ""( \(.*\))?$/],
    [{ key: 5 }, /^Expected `key` to be a string that is not empty, got 5( \(.*\))?$/],
    [{ backoff: { min: -1 } }, /^Expected `backoff\.min` to be .*, got -1( \(.*\))?$/],
    [
      { backoff: { reset: 1 } },
      /^Unknown option `backoff\.reset`\. There are: min, max, factor, resetAfter$/,
    ],
    [
      { intensity: { restarts: 1.5 } },
      /^Expected `intensity\.restarts` to be a whole number .*, got 1\.5( \(.*\))?$/,
    ],
    [{ startupTimeout: 0 }, /^Expected `startupTimeout` to be .*, got 0( \(.*\))?$/],
    [{ healthCheckTimeout: "1s" }, /^Expected `healthCheckTimeout` to be .*, got "1s"( \(.*\))?$/],
    [{ limits: { ram: 1 } }, /^Unknown option `limits\.ram`/],
    [{ count: 2 }, /^The option `count` is one of `run`\. There are: name, key, /],
    [{ threads: 2 }, /^The option `threads` is one of `run`\. There are: name, key, /],
    [{ restarts: 2 }, /^Unknown option `restarts` of `spawn`\. There are: name, key, restart, /],
  ])("of spawn are checked: %j", (options, message) => {
    const { container } = contained();
    expect(() => container.spawn(service, options as object)).toThrow(TypeError);
    expect(() => container.spawn(service, options as object)).toThrow(message);
    expect(container.size).toBe(0);
  });

  it.each<[unknown, RegExp]>([
    [{ count: 0 }, /^Expected `count` to be a whole number from 1 to 1024, got 0( \(.*\))?$/],
    [
      { threads: 1.5 },
      /^Expected `threads` to be a whole number from 1 to 1024, got 1\.5( \(.*\))?$/,
    ],
    [
      { key: "a" },
      /^The option `key` is one of `spawn`: only one instance has it\. There are: name, restart, /,
    ],
    [{ size: 1 }, /^Unknown option `size` of `run`\. There are: name, restart, /],
  ])("of run are checked: %j", (options, message) => {
    const { container } = contained();
    expect(() => container.run(service, options as object)).toThrow(message);
    expect(container.size).toBe(0);
  });

  it("may be undefined, which is as if they were not given", async () => {
    const { container } = contained({ startMethod: undefined, env: undefined, output: undefined });
    const options = {
      name: undefined,
      restart: undefined,
      backoff: { min: undefined },
      limits: undefined,
    };
    container.spawn(service, options as object);
    expect(container.instances[0]!.name).toBe("Performs");
    await container.waitUntilReady();
  });

  it("of restart are checked", async () => {
    const { container } = contained();
    for (const maxUnavailable of [0, 1.5, "1"]) {
      const error = await rejection(container.restart({ maxUnavailable } as object));
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(/`maxUnavailable` to be a whole number from 1 to 1024/);
    }
    await container.restart();
  });

  it("of one service must name one module", async () => {
    const { container } = contained();
    const service = new Performs(["ready", "stay"]);
    const module = new URL("../fixtures/services/performs.mjs", import.meta.url);
    container.run(service, { count: 1 });
    expect(() => container.run(service, { module })).toThrow(
      /^Expected the `module` that this service has in the container already \(none\), got file:.+performs\.mjs: one from another module needs an object of its own$/,
    );
    container.run(service, { count: 1 });
    expect(container.size).toBe(2);
    await container.stop();
  });

  it.each<[object, RegExp]>([
    [
      { limits: { memory: 1 } },
      /^The option `limits` is not for a CommandService: begin `argv` with "prlimit"/,
    ],
    [
      { module: "./x.mjs" },
      /^The option `module` is not for a CommandService: its program is named by `argv`$/,
    ],
    [
      { threads: 1 },
      /^The option `threads` is not for a CommandService: a program manages its own threads$/,
    ],
  ])("that no program can have are rejected: %j", (options, message) => {
    const { container } = contained();
    expect(() => container.run(command, options)).toThrow(message);
    expect(container.size).toBe(0);
  });
});

describe("a service", () => {
  class Web extends Service {
    run(): void {}
  }

  it.each<[unknown, RegExp]>([
    [
      Web,
      /^Expected an instance of a class that extends Service and has run\(instance\), got .*: write new Web\(\)( \(.*\))?$/,
    ],
    [
      { run() {} },
      /^Expected an instance of a class that extends Service, got an object literal: another process needs its class( \(.*\))?$/,
    ],
    [
      () => {},
      /^Expected an instance of a class that extends Service and has run\(instance\), got /,
    ],
    [undefined, /, got undefined( \(.*\))?$/],
    [null, /, got null( \(.*\))?$/],
    [new Map(), /, got /],
    ["web", /, got "web"( \(.*\))?$/],
  ])("has to be an instance of a class with run: %s", (value, message) => {
    const { container } = contained();
    expect(() => container.spawn(value as Service)).toThrow(TypeError);
    expect(() => container.spawn(value as Service)).toThrow(message);
    expect(() => container.run(value as Service)).toThrow(message);
    expect(container.size).toBe(0);
  });

  it.each<[unknown, RegExp]>([
    [{}, /`argv`/],
    [{ argv: [] }, /`argv`/],
    [{ argv: ["a", 1] }, /^Expected `argv\[1\]` of a CommandService to be a string/],
    [{ argv: "true" }, /`argv`/],
    [{ argv: ["true"], env: 1 }, /`env`/],
    [{ argv: ["true"], cwd: 1 }, /`cwd`/],
    [undefined, /CommandService/],
  ])("that is a program is checked: %j", (given, message) => {
    expect(() => new CommandService(given as never)).toThrow(TypeError);
    expect(() => new CommandService(given as never)).toThrow(message);
  });

  it("that is a program cannot be run in this process", () => {
    expect(() => command.run()).toThrow(
      'run() of a CommandService cannot be called directly: give it to a Container, which starts "true"',
    );
  });
});
