/** The server of the dashboard: who may ask, what it streams, and what its operations do. */
import { once } from "node:events";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Dashboard, DashboardOptions } from "forkmap/supervisor";
import { serveDashboard } from "../../dist/supervisor/dashboard.js";
import { FakeSupervision } from "../support/fake-supervision.js";
import { SOON } from "../support/soon.js";

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

const opened: Dashboard[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
});

/** A dashboard, and what a browser does with it. */
async function served(source = new FakeSupervision(), options: DashboardOptions = {}) {
  const dashboard = await serveDashboard(source, options);
  opened.push(dashboard);
  const url = new URL(dashboard.url);
  const { headers } = await ask(url);
  const cookie = headers["set-cookie"]![0]!.split(";")[0]!;
  const own = { cookie, origin: url.origin, "x-forkmap-dashboard": "1" };
  const at = (path: string): URL => new URL(path, `${url.origin}${url.pathname}`);
  return {
    dashboard,
    url,
    at,
    own,
    get: (path: string, more = {}) => ask(at(path), { headers: { cookie, ...more } }),
    post: (path: string, body: unknown, more = {}) =>
      ask(at(path), { method: "POST", headers: { ...own, ...more } }, JSON.stringify(body)),
    events: () => listen(at("events"), cookie),
  };
}

/** Not `fetch`, which refuses to send some of these headers. */
async function ask(url: URL, options: http.RequestOptions = {}, body?: string): Promise<Answer> {
  const request = http.request(url, { agent: false, ...options });
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk as string;
  return { status: response.statusCode!, headers: response.headers, body: text };
}

interface Message {
  readonly event: string;
  readonly data: any;
}

interface Listener {
  readonly messages: Message[];
  readonly response: http.IncomingMessage;
  of(event: string): any[];
}

async function listen(url: URL, cookie: string): Promise<Listener> {
  const request = http.request(url, { agent: false, headers: { cookie } }).end();
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  const messages: Message[] = [];
  let text = "";
  response.on("error", () => {});
  response.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    const parts = text.split("\n\n");
    text = parts.pop()!;
    for (const part of parts) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(part) ?? [];
      if (event) messages.push({ event, data: JSON.parse(data!) });
    }
  });
  const of = (event: string) =>
    messages.filter((message) => message.event === event).map(({ data }) => data as unknown);
  return { messages, response, of };
}

describe("who may ask", () => {
  test("whoever has the token, which becomes a cookie that scripts cannot read", async () => {
    const { url, get } = await served();
    const { status, headers, body } = await ask(url);
    expect(status).toBe(200);
    expect(body).toContain("<h1>Instances</h1>");
    expect(headers["set-cookie"]![0]).toMatch(
      /^forkmap-\d+=[\w-]{43}; Path=\/[0-9a-f]{16}\/; HttpOnly; SameSite=Strict$/,
    );
    expect((await get("")).status).toBe(200);
    expect((await get("page.js")).headers["content-type"]).toContain("text/javascript");
  });

  test.each(["", "page.js", "events", "heap/1", "nothing"])("nobody else, for %j", async (path) => {
    const { at } = await served();
    const answer = await ask(at(path));
    expect(answer.status).toBe(401);
    expect(answer.body).toContain("open the address that `client.dashboard()` returned");
  });

  test("not with another token, nor with that of another dashboard", async () => {
    const [one, other] = [await served(), await served()];
    for (const token of ["", "x", other.url.searchParams.get("token")!]) {
      expect((await ask(one.at(`?token=${token}`))).status).toBe(401);
    }
    const { cookie } = other.own;
    expect((await ask(one.at(""), { headers: { cookie } })).status).toBe(401);
  });

  test("not under another name, as after DNS rebinding", async () => {
    const { get, url } = await served();
    for (const host of ["evil.example", `evil.example:${url.port}`, "127.0.0.1", "127.0.0.1:1"]) {
      const answer = await get("", { host });
      expect(answer.status).toBe(403);
    }
  });

  test("not another origin, nor a form: only the page posts", async () => {
    const source = new FakeSupervision();
    source.add({ num: 0 });
    const { post, own, at } = await served(source);
    const { origin } = own;
    for (const headers of [
      { origin: "http://evil.example" },
      { origin: "null" },
      { origin: `${origin}.evil.example` },
    ]) {
      expect((await post("restart", {}, headers)).status).toBe(403);
    }
    const { cookie } = own;
    const without = { method: "POST", headers: { cookie, origin } };
    expect((await ask(at("restart"), without, "{}")).status).toBe(403);
    const noOrigin = { method: "POST", headers: { cookie, "x-forkmap-dashboard": "1" } };
    expect((await ask(at("restart"), noOrigin, "{}")).status).toBe(403);
    expect(source.calls).toEqual([]);
  });

  test("a token in the address is not enough to post", async () => {
    const { url, at } = await served();
    const headers = { origin: url.origin, "x-forkmap-dashboard": "1" };
    const answer = await ask(at(`restart${url.search}`), { method: "POST", headers }, "{}");
    expect(answer.status).toBe(401);
  });

  test("only by GET and POST", async () => {
    const { at, own } = await served();
    for (const method of ["PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"]) {
      const answer = await ask(at(""), { method, headers: own });
      expect([method, answer.status]).toEqual([method, 405]);
    }
  });

  test("only on this machine", async () => {
    for (const host of ["0.0.0.0", "::", "192.168.0.1", "localhost", "example.org", "", 1]) {
      await expect(serveDashboard(new FakeSupervision(), { host: host as string })).rejects.toThrow(
        TypeError,
      );
    }
    const { url } = await served(new FakeSupervision(), { host: "127.0.0.2" });
    expect(url.hostname).toBe("127.0.0.2");
  });

  test("a port that is taken is an error, and no option is unknown", async () => {
    const { url } = await served();
    const port = Number(url.port);
    await expect(serveDashboard(new FakeSupervision(), { port })).rejects.toThrow("EADDRINUSE");
    await expect(serveDashboard(new FakeSupervision(), { prot: 1 } as never)).rejects.toThrow(
      "Unknown option `prot` of a dashboard",
    );
  });
});

test("each answer says that nothing from elsewhere runs in the page, and that it is not kept", async () => {
  const { get, at, post } = await served();
  const answers = [
    await get(""),
    await get("nothing"),
    await ask(at("")),
    await post("restart", 1),
  ];
  for (const { headers } of answers) {
    expect(headers["content-security-policy"]).toContain("default-src 'none'; script-src 'self';");
    expect(headers["content-security-policy"]).not.toContain("unsafe");
    expect(headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
    });
  }
});

test.each([
  "nothing",
  "../package.json",
  "%2e%2e/index.js",
  "page.js/..%2f",
  "uPlot.LICENSE",
  "tsconfig.json",
])("there is no %s", async (path) => {
  const { at, own } = await served();
  const { pathname } = at("");
  const answer = await ask(at(""), { path: `${pathname}${path}`, headers: own });
  expect(answer.status).toBe(404);
});

describe("the live state", () => {
  test("is one watch for all pages, which ends some time after the last has gone", async () => {
    const source = new FakeSupervision();
    source.add({ num: 0 });
    const { events } = await served(source);
    const pages = [await events(), await events(), await events()];
    for (const page of pages)
      await vi.waitFor(() => expect(page.of("state").length).toBeGreaterThan(1), SOON);
    expect(source.watches).toBe(1);
    for (const page of pages) page.response.destroy();
    await sleep(500);
    expect(source.watches).toBe(1);
    await vi.waitFor(() => expect(source.watches).toBe(0), SOON);
  });

  test("has changes at once, and what a page has missed", async () => {
    const source = new FakeSupervision();
    const instance = source.add({ num: 3 });
    const { events } = await served(source);
    const first = await events();
    await vi.waitFor(() => expect(first.of("state")).toHaveLength(2), SOON);
    source.restart(instance);
    const has = (page: Listener) =>
      page
        .of("state")
        .some(({ events }: any) =>
          events.some(({ num, what }: any) => num === 3 && what === "replaced"),
        );
    await vi.waitFor(() => expect(has(first)).toBe(true), SOON);
    const second = await events();
    await vi.waitFor(() => expect(has(second)).toBe(true), SOON);
    const [{ samples }] = second.of("history");
    expect(samples.length).toBeGreaterThan(1);
    expect(samples[0].values["/3"][0]).toBe(1);
  });

  test("is not kept without bound for a page that does not read", async () => {
    const source = new FakeSupervision();
    // Much more than the buffers of the two sockets hold.
    for (let num = 0; num < 16; num += 1) source.add({ num, status: "x".repeat(100_000) });
    const { events } = await served(source);
    const [slow, fast] = [await events(), await events()];
    slow.response.pause();
    const before = process.memoryUsage().rss;
    for (let state = 0; state < 20; state += 1) {
      source.tell(source.instances[0]!, "note", `note ${state}`);
      await sleep(250);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(500e6);
    const seen = (page: Listener): string[] =>
      page.of("state").flatMap(({ events }: any) => events.map(({ text }: any) => text as string));
    await vi.waitFor(() => expect(seen(fast)).toContain("note 19"), SOON);
    slow.response.resume();
    await vi.waitFor(() => expect(seen(slow)).toContain("note 19"), SOON);
    expect(slow.of("state").length).toBeLessThan(fast.of("state").length);
    // Events of the states between have come with the last.
    for (let state = 0; state < 20; state += 1) expect(seen(slow)).toContain(`note ${state}`);
  });

  test("tells that the supervisor does not answer, and when it does again", async () => {
    const source = new FakeSupervision();
    source.add({ num: 0 });
    const { events } = await served(source);
    const page = await events();
    await vi.waitFor(() => expect(page.of("state")).not.toEqual([]), SOON);
    source.failure = new Error("it has gone");
    await vi.waitFor(
      () => expect(page.of("problem")).toContainEqual({ text: "it has gone" }),
      SOON,
    );
    source.failure = undefined;
    const seen = page.of("state").length;
    await vi.waitFor(() => expect(page.of("state").length).toBeGreaterThan(seen), SOON);
  });

  test("is heard even if nothing happens", async () => {
    const source = new FakeSupervision();
    source.watch = async function* () {
      yield source.state();
      await new Promise<never>(() => {});
    };
    const { events } = await served(source);
    const page = await events();
    await vi.waitFor(() => expect(page.of("beat").length).toBeGreaterThan(0), SOON);
  });
});

describe("the operations", () => {
  test("restart one, one of a pool, and all", async () => {
    const source = new FakeSupervision();
    source.add({ num: 0 });
    const { post } = await served(source);
    expect((await post("restart", { num: 0 })).status).toBe(200);
    expect((await post("restart", { num: 2, pool: "Resize" })).status).toBe(200);
    expect((await post("restart", {})).status).toBe(200);
    expect(source.calls).toEqual([
      { operation: "restart", target: { num: 0 } },
      { operation: "restart", target: { num: 2, pool: "Resize" } },
      { operation: "restart", target: {} },
    ]);
  });

  test("take stacks", async () => {
    const source = new FakeSupervision();
    const { post } = await served(source);
    const { body } = await post("stacks", { num: 0 });
    expect(JSON.parse(body).result).toContain("at work");
  });

  test("say why they fail", async () => {
    const source = new FakeSupervision();
    const { post } = await served(source);
    source.failure = new Error("instance 7 does not answer");
    const answer = await post("stacks", { num: 7 });
    expect([answer.status, answer.body]).toEqual([502, "instance 7 does not answer\n"]);
  });

  test.each([
    ["restart", "no JSON", 400],
    ["restart", "null", 400],
    ["restart", '{"num":-1}', 400],
    ["restart", '{"num":"0"}', 400],
    ["restart", '{"num":0,"pool":1}', 400],
    ["stacks", "{}", 400],
    ["heap", "{}", 400],
    ["nothing", "{}", 404],
    ["restart", "too long", 413],
  ])("refuse %s %j", async (path, text, status) => {
    const body = text === "too long" ? JSON.stringify({ pool: "x".repeat(5000) }) : text;
    const source = new FakeSupervision();
    const { at, own } = await served(source);
    const answer = await ask(at(path), { method: "POST", headers: own }, body);
    expect(answer.status).toBe(status);
    expect(source.calls).toEqual([]);
  });

  test("a heap snapshot is downloaded once, piece by piece, as fast as it is read", async () => {
    const source = new FakeSupervision();
    let made = 0;
    source.heap = function* () {
      for (made = 0; made < 400; made += 1) yield "x".repeat(250_000);
    };
    const { post, at, own, get, events } = await served(source);
    const page = await events();
    const { path } = JSON.parse((await post("heap", { num: 3, pool: 'a"\n/b' })).body);
    const request = http.request(at(path), { agent: false, headers: own }).end();
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    expect(response.headers["content-disposition"]).toMatch(
      /^attachment; filename="forkmap-a___b-3-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.heapsnapshot"$/,
    );
    await sleep(500);
    expect(made).toBeLessThan(200);
    let length = 0;
    for await (const chunk of response) length += (chunk as Buffer).length;
    expect(length).toBe(100e6);
    expect((await get(path)).status).toBe(404);
    await vi.waitFor(
      () =>
        expect(page.of("notice")).toContainEqual({
          text: 'Heap snapshot of a"\n/b, child 3: 100.0 MB.',
          isError: false,
        }),
      SOON,
    );
  });

  test("a snapshot that fails on its way is no file", async () => {
    const source = new FakeSupervision();
    source.heap = function* () {
      yield "{";
      throw new Error("the child has ended");
    };
    const { post, get, events } = await served(source);
    const page = await events();
    const { path } = JSON.parse((await post("heap", { num: 3 })).body);
    await expect(get(path)).rejects.toThrow("aborted");
    await vi.waitFor(() => expect(page.of("notice")[0]).toMatchObject({ isError: true }), SOON);
  });

  test("a download that is given up ends what makes it", async () => {
    const source = new FakeSupervision();
    let isOver = false;
    source.heap = function* () {
      try {
        for (;;) yield "x".repeat(250_000);
      } finally {
        isOver = true;
      }
    };
    const { post, at, own } = await served(source);
    const { path } = JSON.parse((await post("heap", { num: 3 })).body);
    const request = http.request(at(path), { agent: false, headers: own }).end();
    request.on("error", () => {});
    await once(request, "response");
    request.destroy();
    await vi.waitFor(() => expect(isOver).toBe(true), SOON);
  });
});

test("close ends all connections and the watch, and can be called again", async () => {
  const source = new FakeSupervision();
  source.add({ num: 0 });
  const { dashboard, events, url } = await served(source);
  const page = await events();
  await vi.waitFor(() => expect(page.of("state")).not.toEqual([]), SOON);
  const closed = once(page.response, "close");
  await Promise.all([dashboard.close(), dashboard.close()]);
  await closed;
  await dashboard[Symbol.asyncDispose]();
  await vi.waitFor(() => expect(source.watches).toBe(0), SOON);
  await expect(ask(url)).rejects.toThrow("ECONNREFUSED");
});
