/** Figures of a child, and what its event loop waits for. */
import { describe, expect, test } from "vitest";
import { CHILDREN, diagnosed } from "../../support/diagnosed.js";

describe.each(CHILDREN)("in %s", (name, options) => {
  test("status", async () => {
    const [{ value }] = await diagnosed(options, { operation: "status" });
    expect(value.version).toBe(process.version);
    expect(value.thread === null).toBe(name !== "a thread");
    expect(value.pid).not.toBe(process.pid);
    expect(value.memory.rss).toBeGreaterThan(value.memory.heapUsed);
    expect(value.heap.used).toBeGreaterThan(1_000_000);
    expect(value.heap.limit).toBeGreaterThan(value.heap.used);
    expect(value.cpu.user + value.cpu.system).toBeGreaterThan(0);
    expect(value.resourceUsage.maxRSS).toBeGreaterThan(0);
    expect(JSON.stringify(value).length).toBeLessThan(2000);
  });

  test("scheduler_dump", async () => {
    const [port, first, , , , second] = await diagnosed(
      options,
      { does: "listens" },
      { operation: "scheduler_dump" },
      { does: "sleeps", detail: 100 },
      { does: "blocks" },
      { does: "sleeps", detail: 100 },
      { operation: "scheduler_dump", args: { top: 1 } },
    );
    const { resources, timers, handles, requests, eventLoop } = first.value;
    expect(resources).toMatchObject({ TCPServerWrap: 1, TCPSocketWrap: 2 });
    expect(timers).toBe(resources.Timeout);
    expect(timers).toBeGreaterThanOrEqual(2);
    expect(handles.top).toContainEqual(
      expect.objectContaining({ type: "Server", address: `127.0.0.1:${port}`, listening: true }),
    );
    expect(handles.top).toContainEqual(
      expect.objectContaining({
        type: "Socket",
        fd: expect.any(Number),
        localAddress: "127.0.0.1",
        localPort: expect.any(Number),
        remoteAddress: "127.0.0.1",
        remotePort: port,
      }),
    );
    expect(requests.top).toBeInstanceOf(Array);
    expect(eventLoop.delay).toBeNull();

    const { handles: some, eventLoop: later } = second.value;
    expect(some.top).toHaveLength(1);
    expect(some.omitted).toBeGreaterThanOrEqual(2);
    expect(later.duration).toBeGreaterThanOrEqual(300);
    expect(later.active).toBeGreaterThan(150);
    // It has been blocked for 200 ms.
    expect(later.delay.max).toBeGreaterThan(100);
    expect(later.delay.max).toBeGreaterThanOrEqual(later.delay.mean);
  });
});
