/** Calls over a real socket pair: both ends call, answers come in pieces, and whoever does not read, does not answer or goes away costs little. */
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Calls, type CallsOptions, type IncomingCall } from "../../src/wire/calls.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const MIB = 2 ** 20;
/** Of a socket, both ways, and of the stream at each end. */
const BUFFERS_BYTES = 2 * MIB;

const closed: (() => void)[] = [];
afterEach(() => closed.splice(0).forEach((close) => close()));

interface Pair {
  readonly one: Calls;
  readonly other: Calls;
  readonly oneSocket: net.Socket;
  readonly otherSocket: net.Socket;
}

type Options = Partial<Omit<CallsOptions, "side">>;
const nothing = async () => undefined;

async function sockets(): Promise<[net.Socket, net.Socket]> {
  const path = `${temporaryDirectory()}/socket`;
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen({ path }, resolve));
  const accepted = new Promise<net.Socket>((resolve) => server.once("connection", resolve));
  const oneSocket = net.connect({ path });
  const otherSocket = await accepted;
  closed.push(() => {
    oneSocket.destroy();
    otherSocket.destroy();
    server.close();
  });
  return [oneSocket, otherSocket];
}

async function pair(one: Options, other: Options): Promise<Pair> {
  const [oneSocket, otherSocket] = await sockets();
  return {
    one: new Calls(oneSocket, { side: "connected", onCall: nothing, ...one }),
    other: new Calls(otherSocket, { side: "accepted", onCall: nothing, ...other }),
    oneSocket,
    otherSocket,
  };
}

/** One end as it is on the wire. */
async function raw(
  other: Options,
): Promise<{ socket: net.Socket; calls: Calls; accepted: net.Socket; lines: any[] }> {
  const [socket, accepted] = await sockets();
  const lines: any[] = [];
  let rest = "";
  socket.on("error", () => {});
  socket.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    lines.push(...parts.map((part) => JSON.parse(part)));
  });
  const calls = new Calls(accepted, { side: "accepted", onCall: nothing, ...other });
  return { socket, calls, accepted, lines };
}

describe("calls", () => {
  it("go both ways at once, and each answer finds its call", async () => {
    const { one, other } = await pair(
      { onCall: async ({ message }) => `one ${String(message["text"])}` },
      {
        onCall: async ({ message }) => {
          await sleep(Number(message["text"]) % 7);
          return `other ${String(message["text"])}`;
        },
      },
    );
    const texts = Array.from({ length: 200 }, (_, i) => `${i}`);
    const [there, back] = await Promise.all([
      Promise.all(texts.map((text) => one.call({ do: "echo", text }))),
      Promise.all(texts.map((text) => other.call({ do: "echo", text }))),
    ]);
    expect(there).toEqual(texts.map((text) => `other ${text}`));
    expect(back).toEqual(texts.map((text) => `one ${text}`));
  });

  it("fail with the name and the text of what was thrown", async () => {
    const { one } = await pair(
      {},
      {
        onCall: async ({ message }) => {
          if (message.do === "type") throw new TypeError("Expected a duck");
          throw new RangeError("x".repeat(10 * MIB));
        },
      },
    );
    await expect(one.call({ do: "type" })).rejects.toThrow(new TypeError("Expected a duck"));
    const long = await one.call({ do: "range" }).catch((error: unknown) => error as Error);
    expect((long as Error).name).toBe("SupervisorError");
    expect((long as Error).message.length).toBeLessThan(100_000);
  });

  it("end without an answer in time, and a late one harms nobody", async () => {
    let answer!: () => void;
    const asked = new Promise<void>((resolve) => (answer = resolve));
    const aborted = vi.fn();
    const { one } = await pair(
      {},
      {
        onCall: async ({ message, signal }) => {
          if (message.do !== "slow") return "at once";
          signal.addEventListener("abort", aborted);
          await asked;
          return "late";
        },
      },
    );
    await expect(one.call({ do: "slow" }, { timeout: 50 })).rejects.toMatchObject({
      reason: "timeout",
      message: "slow was not answered within 50 ms",
    });
    await vi.waitFor(() => expect(aborted).toHaveBeenCalledOnce(), SOON);
    answer();
    expect(await one.call({ do: "fast" })).toBe("at once");
  });

  it("end with the reason of their signal, which the other end is told of", async () => {
    const aborted = vi.fn();
    const { one } = await pair(
      {},
      {
        onCall: ({ signal }) =>
          new Promise(() => signal.addEventListener("abort", aborted, { once: true })),
      },
    );
    const controller = new AbortController();
    const call = one.call({ do: "wait" }, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
    await vi.waitFor(() => expect(aborted).toHaveBeenCalledOnce(), SOON);
    await expect(one.call({ do: "wait" }, { signal: controller.signal })).rejects.toThrow("enough");
  });

  it("fail when the connection closes in the middle, at both ends", async () => {
    const aborted = vi.fn();
    const { one, other, oneSocket } = await pair(
      { onCall: () => new Promise(() => {}) },
      {
        onCall: ({ signal }) =>
          new Promise(() => signal.addEventListener("abort", aborted, { once: true })),
      },
    );
    const ends = Promise.allSettled([one.call({ do: "wait" }), other.call({ do: "wait" })]);
    await sleep(20);
    oneSocket.destroy();
    const rejected = { status: "rejected", reason: { reason: "disconnected" } };
    expect(await ends).toMatchObject([rejected, rejected]);
    await vi.waitFor(() => expect(aborted).toHaveBeenCalledOnce(), SOON);
    await Promise.all([one.closed, other.closed]);
    await expect(one.call({ do: "wait" })).rejects.toMatchObject({ reason: "disconnected" });
  });

  it("of which the message or the answer is too long fail alone", async () => {
    const { one } = await pair(
      {},
      { onCall: async ({ message }) => (message.do === "long" ? "x".repeat(2 * MIB) : "short") },
    );
    await expect(one.call({ do: "long" })).rejects.toThrow(
      /Expected a message of at most 1048576 bytes/,
    );
    await expect(one.call({ do: "say", text: "é".repeat(MIB) })).rejects.toThrow(
      /Expected a message of at most/,
    );
    expect(await one.call({ do: "short" })).toBe("short");
  });
});

describe("partial answers", () => {
  it("are taken one after another, and all before the last", async () => {
    const { one } = await pair(
      {},
      {
        onCall: async ({ answer }) => {
          for (let i = 0; i < 100; i += 1) await answer(i);
          return "last";
        },
      },
    );
    const taken: number[] = [];
    let atOnce = 0;
    const last = await one.call(
      { do: "count" },
      {
        async onAnswer(value) {
          atOnce += 1;
          expect(atOnce).toBe(1);
          await sleep(Number(value) % 3);
          taken.push(value as number);
          atOnce -= 1;
        },
      },
    );
    expect(last).toBe("last");
    expect(taken).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  it("wait for a slow reader at the other end, and take little memory until then", async () => {
    let sent = 0;
    const { one, otherSocket } = await pair(
      {},
      {
        onCall: async ({ answer }) => {
          for (let i = 0; i < 200; i += 1) {
            await answer("x".repeat(65_536));
            sent += 65_536;
          }
        },
      },
    );
    let release!: () => void;
    const hold = new Promise<void>((resolve) => (release = resolve));
    let got = 0;
    let most = 0;
    const call = one.call(
      { do: "dump" },
      {
        async onAnswer(value) {
          got += (value as string).length;
          most = Math.max(most, sent - got);
          await hold;
        },
      },
    );
    await sleep(300);
    expect(sent).toBeLessThan(BUFFERS_BYTES);
    expect(otherSocket.writableLength).toBeLessThan(MIB);
    release();
    await call;
    expect(got).toBe(200 * 65_536);
    expect(most).toBeLessThan(BUFFERS_BYTES);
  });

  it("of many calls at once to one who does not read take the memory of few, and nothing warns", async () => {
    const warned = vi.fn();
    process.on("warning", warned);
    const sent = new Set<number>();
    const { one, otherSocket, oneSocket } = await pair(
      {},
      {
        onCall: async ({ message, answer }) => {
          for (let i = 0; i < 10; i += 1) await answer("x".repeat(65_536));
          sent.add(message["number"] as number);
        },
      },
    );
    oneSocket.pause();
    const calls = Array.from({ length: 200 }, (_, number) => one.call({ do: "dump", number }));
    await sleep(500);
    expect(otherSocket.writableLength).toBeLessThan(BUFFERS_BYTES);
    expect(sent.size).toBeLessThan(200);
    oneSocket.resume();
    await Promise.all(calls);
    expect(sent.size).toBe(200);
    process.off("warning", warned);
    expect(warned).not.toHaveBeenCalled();
  });

  it("that cannot be taken end the call, and cancel it at the other end", async () => {
    const aborted = vi.fn();
    const onCall = async ({ answer, signal }: IncomingCall) => {
      signal.addEventListener("abort", aborted, { once: true });
      while (!signal.aborted) {
        await answer("more");
        await sleep(5);
      }
    };
    const { one } = await pair({}, { onCall });
    const rejects = one.call(
      { do: "dump" },
      { onAnswer: () => Promise.reject(new Error("the disk is full")) },
    );
    await expect(rejects).rejects.toThrow("the disk is full");
    await vi.waitFor(() => expect(aborted).toHaveBeenCalledTimes(1), SOON);
    const throws = one.call(
      { do: "dump" },
      {
        onAnswer() {
          throw new Error("no room");
        },
      },
    );
    await expect(throws).rejects.toThrow("no room");
    await vi.waitFor(() => expect(aborted).toHaveBeenCalledTimes(2), SOON);
  });

  it("that one does not read for too long cost it the connection", async () => {
    const { one, oneSocket } = await pair(
      {},
      {
        unreadFor: 200,
        onCall: async ({ answer }) => {
          for (;;) await answer("x".repeat(65_536));
        },
      },
    );
    oneSocket.pause();
    const call = one.call({ do: "dump" });
    call.catch(() => {});
    await sleep(600);
    oneSocket.resume();
    await expect(call).rejects.toMatchObject({ reason: "disconnected" });
  });
});

describe("the other end", () => {
  it("may not call more than 256 times before it reads answers, whether they succeed or fail", async () => {
    for (const name of ["succeeds", "fails"]) {
      const onCall = async () => {
        if (name === "fails") throw new Error("y".repeat(15_000));
        return "x".repeat(15_000);
      };
      const { socket, calls, accepted } = await raw({ onCall });
      socket.pause();
      for (let i = 0; i < 5000; i += 1) socket.write(`{"id":${2 * i + 1},"do":"${name}"}\n`);
      await vi.waitFor(() => expect(accepted.destroyed).toBe(true), SOON);
      await calls.closed;
    }
  });

  it.each([
    ["no JSON", "{]", "Expected a line that is a JSON object"],
    ["a list", "[1]", "Expected a line that is a JSON object"],
    ["null", "null", "Expected a line that is a JSON object"],
    ["no id", '{"do":"x"}', "Expected an `id`"],
    ["an id that is a text", '{"id":"1","do":"x"}', "Expected an `id`"],
    ["a negative id", '{"id":-1,"do":"x"}', "Expected an `id`"],
    ["a huge id", '{"id":1e300,"do":"x"}', "Expected an `id`"],
    ["nothing to do", '{"id":1}', "Expected `do`"],
    ["an odd name", '{"id":1,"do":{"__proto__":1}}', "Expected `do`"],
    [
      "a long line",
      `{"id":1,"do":"${"x".repeat(MIB)}"}`,
      "Expected lines of at most 1048576 bytes",
    ],
    ["a line without an end", "x".repeat(MIB + 100_000), "Expected lines of at most"],
  ])("is refused with %s", async (name, line, why) => {
    const onCall = vi.fn(nothing);
    const { socket, calls, lines } = await raw({ onCall });
    socket.write(name === "a line without an end" ? line : `${line}\n{"id":3,"do":"more"}\n`);
    await calls.closed;
    await vi.waitFor(() => expect(lines).toHaveLength(1), SOON);
    expect(lines[0]).toMatchObject({ failed: true, error: { reason: "refused" } });
    expect(lines[0].error.message).toContain(why);
    expect(onCall).not.toHaveBeenCalled();
  });

  it("is refused when it uses the id of a call under way again", async () => {
    const { socket, calls, lines } = await raw({ onCall: () => new Promise(() => {}) });
    socket.write('{"id":1,"do":"wait"}\n{"id":1,"do":"wait"}\n');
    await calls.closed;
    expect(lines).toEqual([expect.objectContaining({ id: 1, failed: true })]);
  });

  it("may cancel and answer what was never called", async () => {
    const { socket, lines } = await raw({ onCall: async () => "fine" });
    socket.write('{"id":7,"cancel":true}\n{"id":2,"answer":1}\n{"id":4,"finished":true}\n');
    socket.write('{"id":6,"failed":true,"error":{"name":{"a":1}}}\n{"id":9,"do":"x"}\n');
    await vi.waitFor(
      () => expect(lines).toEqual([{ id: 9, finished: true, answer: "fine" }]),
      SOON,
    );
  });

  it("has to call before anything else, and in short lines, until it is trusted", async () => {
    const first = await raw({ maxLine: 100 });
    first.socket.write('{"id":2,"answer":1}\n');
    await first.calls.closed;
    const long = await raw({ maxLine: 100 });
    long.socket.write("x".repeat(101));
    await long.calls.closed;
    let trusted!: Calls;
    const { socket, calls, lines } = await raw({
      maxLine: 100,
      onCall: async () => trusted.trust(),
    });
    trusted = calls;
    socket.write(`{"id":1,"do":"hello"}\n{"id":3,"do":"say","text":"${"x".repeat(1000)}"}\n`);
    await vi.waitFor(() => expect(lines).toHaveLength(2), SOON);
  });

  it("may answer in odd ways, which are errors with a text", async () => {
    for (const error of ['"text"', "null", "[]", '{"message":{"toString":1}}', '{"reason":{}}']) {
      const { socket, calls } = await raw({});
      const call = calls.call({ do: "status" });
      socket.write(`{"id":2,"failed":true,"error":${error}}\n`);
      await expect(call).rejects.toMatchObject({ name: "SupervisorError", reason: "failed" });
    }
  });

  it("does not keep a connection that is closed by not reading", async () => {
    const { socket, calls, accepted } = await raw({
      onCall: async ({ answer }) => {
        for (;;) await answer("x".repeat(65_536));
      },
    });
    socket.pause();
    socket.write('{"id":1,"do":"dump"}\n');
    await vi.waitFor(() => expect(accepted.writableNeedDrain).toBe(true), SOON);
    calls.close();
    await calls.closed;
  });
});
