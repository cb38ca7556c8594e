/** Says in a sentence why no connection to a server could be used: the network, TLS, the login. Never holds a password. */
import { EngineError } from "../../errors.js";

/** What is known when a connection fails. */
export interface Attempt {
  /** Of the server, as "127.0.0.1:6379" or a path. */
  readonly address: string;
  readonly user: string | undefined;
  readonly usesTls: boolean;
  /** Whether the server, which was asked without TLS and has not answered, speaks TLS. */
  speaksTls(): Promise<boolean>;
}

/** Nothing was answered in time. */
export interface Silence {
  readonly limit: number;
  /** Whether there was a connection at all. */
  readonly isConnected: boolean;
}

type Problem = readonly [reason: EngineError["reason"], what: string, toDo: string];

export async function connectionError(
  attempt: Attempt,
  error: Error | Silence,
): Promise<EngineError> {
  const [reason, what, toDo] = await problemOf(attempt, error);
  // An answer of the server has the command that it was given to, as AUTH with the password.
  const cause = error instanceof Error && !isAnswer(error) ? { cause: error } : {};
  return new EngineError(`Redis at ${attempt.address} ${what}: ${toDo}`, reason, cause);
}

async function problemOf(attempt: Attempt, error: Error | Silence): Promise<Problem> {
  if (!(error instanceof Error)) return silence(attempt, error);
  const { message } = error;
  const { code = "" } = error as NodeJS.ErrnoException;
  const problem = answered(attempt, message) ?? unreachable(code) ?? tlsProblem(code, message);
  if (problem) return problem;
  if (message.startsWith("All sentinels")) {
    return [
      "unreachable",
      "cannot be reached: none of them answers",
      "start one, or correct `connection`",
    ];
  }
  const isForeign = message.startsWith("Protocol error");
  if (!isForeign && !isClosing(code, message)) {
    return ["unreachable", `cannot be reached (${code || message})`, "check `connection`"];
  }
  if (!attempt.usesTls && (await attempt.speaksTls())) {
    return ["tls", "speaks TLS only", "use a URL that begins with rediss://, or the option `tls`"];
  }
  const what = isForeign
    ? "answers, but not in the protocol of Redis"
    : "closed the connection without an answer";
  return [
    "unreachable",
    what,
    "correct the host and port of `connection`; something else may listen there",
  ];
}

/** What the server itself answers to those it does not let in. */
function answered({ user }: Attempt, message: string): Problem | undefined {
  const who = user ? `the user "${user}"` : "the user default";
  if (/^WRONGPASS|invalid password/.test(message)) {
    return [
      "denied",
      `does not accept the password of ${who}, or does not know the user (WRONGPASS)`,
      "correct `connection`",
    ];
  }
  if (message.startsWith("NOAUTH")) {
    const toDo = "give `connection` one, as in redis://:password@host";
    return ["denied", "needs a password (NOAUTH)", toDo];
  }
  if (message.startsWith("DENIED")) {
    return ["denied", "admits only its own machine (protected mode)", "set a password there"];
  }
  if (/DB index is out of range/.test(message)) {
    return [
      "unsuitable",
      "has no database of this number",
      "use another, or raise its `databases`",
    ];
  }
  if (/max number of clients/.test(message)) {
    return ["unsuitable", "has as many clients as it may", "raise its `maxclients`"];
  }
  return undefined;
}

function unreachable(code: string): Problem | undefined {
  const known: Readonly<Record<string, readonly [what: string, toDo: string]>> = {
    ECONNREFUSED: ["cannot be reached: nothing listens there", "start it, or correct `connection`"],
    ENOENT: ["cannot be reached: there is no such socket", "start it, or correct the path"],
    EACCES: ["cannot be reached: this user may not use the socket", "change the socket's mode"],
    ENOTFOUND: ["cannot be reached: nobody knows the host", "correct the host of `connection`"],
    EAI_AGAIN: [
      "cannot be reached: no name server answers",
      "check the name servers of this machine",
    ],
    ETIMEDOUT: ["does not answer", "correct `connection`, or open the firewall"],
    EHOSTUNREACH: ["cannot be reached: no route leads to the host", "correct `connection`"],
    ENETUNREACH: ["cannot be reached: no route leads to the network", "correct `connection`"],
  };
  const found = known[code];
  return found && ["unreachable", `${found[0]} (${code})`, found[1]];
}

function tlsProblem(code: string, message: string): Problem | undefined {
  const inBrackets = `(${code || message})`;
  if (
    /WRONG_VERSION_NUMBER|PACKET_LENGTH|wrong version number|packet length/.test(code + message)
  ) {
    return [
      "tls",
      "does not speak TLS",
      "use a URL that begins with redis://, or the port for TLS",
    ];
  }
  if (/ALTNAME/.test(code)) {
    const toDo = "use a name that is in it, or the option `tls.servername`";
    return ["tls", `has a certificate for another name ${inBrackets}`, toDo];
  }
  if (/CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE/.test(code)) {
    const toDo = "give it one with the options `tls.cert` and `tls.key`";
    return ["tls", `asks for a certificate of the client ${inBrackets}`, toDo];
  }
  if (/CERT|VERIFY|ISSUER/.test(code)) {
    const toDo =
      "give the certificate of its authority as the option `tls.ca`, or in NODE_EXTRA_CA_CERTS";
    return ["tls", `has a certificate that is not trusted here ${inBrackets}`, toDo];
  }
  if (/^ERR_(SSL|TLS)|EPROTO/.test(code)) {
    return ["tls", `refuses the TLS connection ${inBrackets}`, "check the options `tls`"];
  }
  return undefined;
}

function silence({ usesTls }: Attempt, { limit, isConnected }: Silence): Problem {
  if (!isConnected) {
    const toDo = "correct `connection`, or open the firewall";
    return ["unreachable", `does not answer within ${limit} ms`, toDo];
  }
  if (usesTls) {
    const toDo = "use a URL that begins with redis://, or the port for TLS";
    return ["tls", `does not answer in TLS within ${limit} ms`, toDo];
  }
  const toDo = "it may be stopped, or busy with a long command, or something else listens there";
  return ["unreachable", `takes connections, but does not answer within ${limit} ms`, toDo];
}

function isClosing(code: string, message: string): boolean {
  return code === "ECONNRESET" || code === "EPIPE" || /closed/i.test(message);
}

function isAnswer(error: Error): boolean {
  return error.name === "ReplyError" || "command" in error;
}
