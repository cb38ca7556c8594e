/** Which of the commands that BullMQ and forkmap use a user of Redis may not run, found by running each of them on a key that is not there. */
import type { Redis } from "ioredis";
import { Keys } from "./keys.js";

/** Those that BullMQ's scripts and ours run, with words of which each does nothing but make a key that is then removed. */
const IN_SCRIPTS = `
  exists K | del K | type K | persist K | pexpire K 1 | pttl K
  set K 1 PX 1000 | get K | incr K
  hset K a 1 | hmset K a 1 | hincrby K a 1 | hget K a | hgetall K | hmget K a | hexists K a | hlen K | hdel K a
  lpush K a | rpush K a | lrange K 0 1 | lindex K 0 | llen K | lpos K a | lrem K 0 a | lset K 0 a | ltrim K 0 1 | rpoplpush K K
  lpop K | rpop K
  sadd K a | scard K | sismember K a | smembers K | srem K a
  zadd K 1 a | zcard K | zcount K 0 1 | zrange K 0 1 | zrangebyscore K 0 1 | zrevrange K 0 1 | zrevrangebyscore K 1 0 | zscore K a
  zpopmin K | zrem K a | zremrangebyrank K 0 1 | zremrangebyscore K 0 1
  xadd K NOMKSTREAM * a 1 | xread COUNT 1 STREAMS K 0 | xrange K - + | xlen K | xtrim K MAXLEN 1 | xdel K 1-1
  rename K K | time | publish C x
`
  .split(/[|\n]/)
  .map((line) => line.trim())
  .filter(Boolean);

/** `del` first: without it, nothing may be made that would stay. Returns what is refused. */
const SCRIPT = `
  local function words(line)
    local all = {}
    for word in string.gmatch(line, "%S+") do
      if word == "K" then word = KEYS[1] elseif word == "C" then word = ARGV[1] end
      all[#all + 1] = word
    end
    return all
  end
  local function is_refusal(err)
    return string.find(err, "NOPERM") or string.find(err, "ACL failure") or string.find(err, "executing the script can't")
  end
  local function error_of(line)
    local answer = redis.pcall(unpack(words(line)))
    return type(answer) == "table" and answer.err or ""
  end
  if is_refusal(error_of("del K")) then return {"del"} end
  local missing = {}
  for i = 2, #ARGV do
    if is_refusal(error_of(ARGV[i])) then missing[#missing + 1] = words(ARGV[i])[1] end
    redis.call("del", KEYS[1])
  end
  return missing
`;

/**
 * Returns what the user lacks, as in the rules of Redis: "+zadd", "~bull:*", "&bull:*".
 *
 * @throws Error if the server cannot write for another reason: its memory or its disk may be full
 */
export async function missingRights(client: Redis, prefix: string): Promise<readonly string[]> {
  const keys = new Keys(prefix, "forkmap-check");
  const [key, channel] = [keys.job("rights"), keys.aborts];
  const calls = [
    { right: "+eval", answer: client.eval(SCRIPT, 1, key, channel, ...IN_SCRIPTS) },
    ...DIRECT.map(([right, ...words]) => {
      const [name = "", ...rest] = words.map((word) => (word === "K" ? key : word));
      return { right, answer: client.call(name, ...rest) };
    }),
    // The last, as the connection is then for nothing else.
    { right: "+subscribe", answer: client.subscribe(channel) },
  ];
  const missing = new Set<string>();
  const answers = await Promise.allSettled(calls.map(({ answer }) => answer));
  for (const [place, answer] of answers.entries()) {
    if (answer.status === "fulfilled") continue;
    const { message } = answer.reason as Error;
    const isExpected = /^(NOSCRIPT|EXECABORT)/.test(message);
    if (message.startsWith("NOPERM"))
      missing.add(refusedRight(message, calls[place]!.right, prefix));
    else if (!isExpected) throw answer.reason;
  }
  if (answers[0]!.status === "rejected") return [...missing];
  for (const name of answers[0]!.value as string[]) {
    // Where the channel is refused, this is too, whatever the right to the command.
    if (name !== "publish" || !missing.has(`&${prefix}:*`)) missing.add(`+${name}`);
  }
  return [...missing];
}

function refusedRight(message: string, command: string, prefix: string): string {
  if (/access.*\bkeys?\b/.test(message)) return `~${prefix}:*`;
  if (/access.*\bchannels?\b/.test(message)) return `&${prefix}:*`;
  return command;
}

/** Those that are run outside of scripts, too, or cannot be in them; each with its right. */
const DIRECT: readonly (readonly [right: string, ...words: string[]])[] = [
  // Fails where nothing can be written. In a script, a server that is full refuses nothing after `del`, which makes room.
  ["+set", "set", "K", "1", "PX", "1"],
  // There is no script of this name, which is told to those alone who may run it.
  ["+evalsha", "evalsha", "0000000000000000000000000000000000000000", "0"],
  ["+client|setname", "client", "setname", ""],
  // Blocks nothing within a transaction.
  ["+multi", "multi"],
  ["+bzpopmin", "bzpopmin", "K", "1"],
  ["+exec", "exec"],
];
