/** A worker that cannot be loaded is reported soon, as one clear error that names its module, and leaves nothing behind. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Parallel, WorkerModuleError } from "forkmap";
import { Broken } from "../../fixtures/broken.mjs";

const MODULE = new URL("../../fixtures/broken.mjs", import.meta.url).href;
const STARTUP_TIMEOUT_MS = 1500;
/** Far below the default of 30 s, but long enough for a slow machine. */
const SOON_MS = 15_000;

describe.each(["fork", "spawn"] as const)("for children made by %s", (startMethod) => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(path.join(tmpdir(), "broken-"));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  async function failure(options: object): Promise<WorkerModuleError> {
    const parallel = new Parallel(new Broken() as never, { startMethod, ...options });
    const startedAt = Date.now();
    try {
      await parallel.mapProcesses(["a", "b", "c"] as never);
    } catch (error) {
      expect(error).toBeInstanceOf(WorkerModuleError);
      expect(Date.now() - startedAt).toBeLessThan(SOON_MS);
      return error as WorkerModuleError;
    } finally {
      await parallel.close();
      expect(parallel.stats().pids).toEqual([]);
    }
    throw new Error("Expected the call to fail");
  }

  const broken = (how: string, options: object = {}) =>
    failure({ env: { ...process.env, FORKMAP_TEST_BREAK: how }, ...options });

  test.each(["throws", "throws later"])("%s", async (how) => {
    const error = await broken(how);
    expect(error.module).toBe(MODULE);
    expect(error.message).toContain(MODULE);
    expect(error.message).toContain("RangeError: the module is broken");
    expect(error.cause).toBeInstanceOf(RangeError);
  });

  test("calls process.exit", async () => {
    const error = await broken("exits");
    expect(error.module).toBe(MODULE);
    expect(error.message).toContain(MODULE);
    expect(error.message).toContain("7");
  });

  test.each(["loops", "never settles", "preload hangs"])("%s", async (how) => {
    const error = await broken(how, { startupTimeout: STARTUP_TIMEOUT_MS });
    expect(error.module).toBe(MODULE);
    expect(error.message).toContain(MODULE);
    expect(error.message).toContain(`${STARTUP_TIMEOUT_MS} ms`);
  });

  test("awaits a promise that can never settle", async () => {
    const error = await broken("waits for nothing");
    expect(error.module).toBe(MODULE);
    expect(error.message).toContain(MODULE);
  });

  test("preload throws", async () => {
    const error = await broken("preload throws");
    expect(error.module).toBe(MODULE);
    expect(error.message).toContain("preload() of Broken failed: TypeError: preload is broken");
    expect(error.cause).toBeInstanceOf(TypeError);
  });

  test("preload awaits a promise that can never settle", async () => {
    const { message } = await broken("preload waits for nothing");
    expect(message).toContain("preload() of Broken never settled: its promise is pending");
  });

  test("preload ends the process", async () => {
    const { message } = await broken("preload exits");
    expect(message).toBe("preload() of Broken called process.exit(3)");
  });

  test("preload leaves something behind that throws", async () => {
    const { message, cause } = await broken("preload throws later");
    expect(message).toContain(
      "preload() of Broken failed: something it started threw an uncaught error: ",
    );
    expect(cause).toMatchObject({ message: "preload is broken later" });
  });

  test("does not exist", async () => {
    const module = path.join(directory, "missing.mjs");
    const error = await failure({ module });
    expect(error.module).toBe(pathToFileURL(module).href);
    expect(error.message).toContain("missing.mjs");
    expect(error.cause).toMatchObject({ code: "ERR_MODULE_NOT_FOUND" });
  });

  test("is not JavaScript", async () => {
    const module = path.join(directory, "syntax-error.mjs");
    writeFileSync(module, "export class Broken {\n");
    const error = await failure({ module });
    expect(error.message).toContain("syntax-error.mjs");
    expect(error.cause).toBeInstanceOf(SyntaxError);
  });

  test("is loaded again by the next call", async () => {
    const parallel = new Parallel(new Broken() as never, {
      startMethod,
      module: path.join(directory, "repaired.mjs"),
    });
    await expect(parallel.mapProcesses(["a"] as never)).rejects.toBeInstanceOf(WorkerModuleError);
    writeFileSync(
      path.join(directory, "repaired.mjs"),
      "export class Broken { process(item) { return `repaired ${item}`; } }\n",
    );
    expect(await parallel.mapProcesses(["a"] as never)).toEqual(["repaired a"]);
    await parallel.close();
  });
});
