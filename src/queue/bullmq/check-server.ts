/** Whether a server of Redis can be used: checked once at the start, with a sentence for each cause; then clients reconnect. */
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Redis, RedisOptions } from "ioredis";
import { EngineError } from "../../errors.js";
import { clearInterval, setInterval, setTimeout } from "../../system/timers.js";
import { type Attempt, connectionError } from "./connection-problem.js";
import { type Connection, DEFAULT_PREFIX } from "./engine-options.js";
import { loadIoredis, optionsOf } from "./libraries.js";
import { missingRights } from "./server-rights.js";

/** For all that is asked; the two seconds that are promised have room for the probe of TLS besides. */
const LIMIT_MS = 1400;
const TLS_PROBE_MS = 400;
const LOADING_POLL_MS = 50;
const OLDEST_REDIS = [6, 2] as const;

/**
 * Returns if the server answers, lets us in and is set up as it must be.
 *
 * @param prefix - that of the keys: whether the user has the rights is tried on one of them
 * @throws EngineError within two seconds, with a sentence that names the cause and what to do
 * @throws TypeError if `connection` is no URL of Redis
 */
export async function checkServer(connection: Connection, prefix = DEFAULT_PREFIX): Promise<void> {
  const ioredis = await loadIoredis();
  const options = optionsOf(connection, ioredis);
  const client = new ioredis.Redis({
    ...options,
    lazyConnect: true,
    connectTimeout: 2 * LIMIT_MS,
    enableReadyCheck: false,
    enableOfflineQueue: true,
    disableClientInfo: true,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
  });
  // The first error has the cause: commands are then rejected with others.
  let first: Error | undefined;
  client.on("error", (error: Error) => (first ??= error));
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<"silence">((resolve) => {
    // In steps: if this program's own loop is late, several of them are one, and an answer may be there unread.
    let steps = 0;
    timer = setInterval(() => {
      steps += 1;
      if (steps === STEPS) resolve("silence");
    }, LIMIT_MS / STEPS);
  });
  const attempt = attemptOf(options);
  try {
    const checked = inspect(client, { address: attempt.address, user: attempt.user, prefix });
    const end = await Promise.race([checked, silence]);
    // A database that is not there, for one, fails no command.
    if (first) throw first;
    if (end !== "silence") return;
    const stream = client.stream as Socket | undefined;
    const isConnected = stream !== undefined && !stream.connecting;
    throw await connectionError(attempt, { limit: LIMIT_MS, isConnected });
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw await connectionError(attempt, first ?? (error as Error));
  } finally {
    clearInterval(timer);
    client.disconnect();
    (client.stream as Socket | undefined)?.destroy();
  }
}

const STEPS = 10;

interface Inspection {
  readonly address: string;
  readonly user: string | undefined;
  readonly prefix: string;
}

/** Asks one question after the other, as an answer may make the next meaningless. */
async function inspect(client: Redis, { address, user, prefix }: Inspection): Promise<void> {
  const because = (reason: EngineError["reason"], sentence: string) =>
    new EngineError(`Redis at ${address} ${sentence}`, reason);
  const who = `the user "${user ?? "default"}"`;
  await client.connect();
  const facts = await loadedFacts(client).catch((error: Error) => {
    if (!error.message.startsWith("NOPERM")) throw error;
    throw because("denied", `does not let ${who} run INFO: give the user the right +info`);
  });
  if (facts.get("loading") === "1") {
    const [percent, seconds] = [facts.get("loading_loaded_perc"), facts.get("loading_eta_seconds")];
    const progress = `${percent} %, about ${seconds} s more`;
    throw because("unreachable", `still loads its data (${progress}): try again then`);
  }
  const problem = settingProblem(facts);
  if (problem !== undefined) throw because("unsuitable", problem);
  const missing = await missingRights(client, prefix).catch((error: Error) => {
    // Else the connection was closed meanwhile, and something else is why.
    if (!/^(OOM|MISCONF|READONLY|NOREPLICAS)/.test(error.message)) throw error;
    throw because("unsuitable", `does not take what is written to it: ${error.message}`);
  });
  if (missing.length === 0) return;
  throw because("denied", `refuses ${who} what is needed: give the user ${missing.join(" ")}`);
}

type Facts = ReadonlyMap<string, string>;

/** As soon as the server has loaded its data, or when the time is nearly over. */
async function loadedFacts(client: Redis): Promise<Facts> {
  const end = performance.now() + 0.8 * LIMIT_MS;
  for (;;) {
    const lines = (await client.info()).split("\r\n").map((line) => line.split(":"));
    const facts = new Map(lines.map(([name = "", ...rest]) => [name, rest.join(":")]));
    if (facts.get("loading") !== "1" || performance.now() > end) return facts;
    await new Promise((resolve) => void setTimeout(resolve, LOADING_POLL_MS));
  }
}

/** What of a server's version or settings makes it unfit, as the end of a sentence. Some services do not tell all of them. */
function settingProblem(facts: Facts): string | undefined {
  const version = facts.get("redis_version");
  if (!facts.has("valkey_version") && version !== undefined && isOld(version)) {
    return `has version ${version}, expected ${OLDEST_REDIS.join(".")} or newer, or Valkey: update it`;
  }
  if (facts.get("cluster_enabled") === "1") {
    return "is part of a cluster, which is not supported yet: use a server with `cluster-enabled no`";
  }
  if (facts.get("role") === "slave" && facts.get("slave_read_only") !== "0") {
    const [host, port] = [facts.get("master_host"), facts.get("master_port")];
    return `is a replica that is only read: connect to its primary, ${host}:${port}`;
  }
  const policy = facts.get("maxmemory_policy");
  if (policy !== undefined && policy !== "noeviction") {
    return `may throw jobs away when its memory is full (\`maxmemory-policy ${policy}\`), expected noeviction: set it in redis.conf, and now by CONFIG SET maxmemory-policy noeviction`;
  }
  return undefined;
}

function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < OLDEST_REDIS[0] || (major === OLDEST_REDIS[0] && minor < OLDEST_REDIS[1]);
}

function attemptOf(options: RedisOptions): Attempt {
  const { host = "127.0.0.1", port = 6379, path, sentinels, username, tls } = options;
  const address = sentinels
    ? `the sentinels ${sentinels.map((each) => `${each.host}:${each.port}`).join(", ")}`
    : (path ?? `${host.includes(":") ? `[${host}]` : host}:${port}`);
  return {
    address,
    user: username || undefined,
    usesTls: Boolean(tls),
    speaksTls: async () => !sentinels && !path && (await speaksTls(host, port)),
  };
}

async function speaksTls(host: string, port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    // Nothing is sent through it.
    const socket = connectTls({ host, port, rejectUnauthorized: false });
    const answer = (isSpoken: boolean) => {
      clearInterval(timer);
      socket.destroy();
      resolve(isSpoken);
    };
    const timer = setTimeout(answer, TLS_PROBE_MS, false);
    socket.once("secureConnect", () => answer(true));
    // A server that asks for a certificate of the client may refuse even this; an answer in TLS it is all the same.
    socket.on("error", ({ code }: NodeJS.ErrnoException) => answer(/TLS.*ALERT/.test(code ?? "")));
  });
}
