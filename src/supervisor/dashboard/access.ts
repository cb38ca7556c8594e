/**
 * Who may use the dashboard: whoever has its address, from a page of its own. All users of a machine can reach its loopback addresses, and
 * so can every web page that one of them has open, through the browser. The folder holds what the server of dashboard.ts does:
 * access.ts, the files of the page, the live state, and the operations behind the buttons.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type AddressInfo, isIPv4 } from "node:net";
import { type Exchange, Refusal } from "./exchange.js";

/** A web page elsewhere cannot send it without asking first, and nobody answers that. */
const OWN_HEADER = "x-forkmap-dashboard";
const TOKEN_BYTES = 32;

const HEADERS = {
  // Nothing inline, and nothing from elsewhere.
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cache-Control": "no-store",
};

export function isLoopback(host: unknown): boolean {
  return typeof host === "string" && (host === "::1" || (isIPv4(host) && host.startsWith("127.")));
}

export class DashboardAccess {
  readonly #token = randomBytes(TOKEN_BYTES).toString("base64url");
  readonly #host: string;
  /**
   * Cookies know no ports: a browser sends them to every server on this address. A path that nobody else knows keeps
   * the cookie from the others.
   */
  readonly #folder = `/${randomBytes(8).toString("hex")}/`;
  readonly #cookie: string;

  constructor({ address, port, family }: AddressInfo) {
    this.#host = family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
    this.#cookie = `forkmap-${port}`;
  }

  get url(): string {
    return `http://${this.#host}${this.#folder}?token=${this.#token}`;
  }

  protect(response: ServerResponse): void {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  }

  /**
   * Returns which path in the dashboard is asked for. A token in the address becomes a cookie, so that the page can drop it there.
   *
   * @throws Refusal
   */
  admit({ request, response }: Exchange): string {
    // A name of the attacker's that now resolves to this address has the browser's permission, but not this header.
    if (request.headers.host !== this.#host) {
      throw new Refusal(403, `Expected the address to be http://${this.#host}, as it was given.`);
    }
    if (request.method !== "GET" && request.method !== "POST") {
      response.setHeader("Allow", "GET, POST");
      throw new Refusal(405, "Expected GET or POST.");
    }
    const { pathname, searchParams } = new URL(request.url ?? "/", `http://${this.#host}`);
    const token = searchParams.get("token");
    if (request.method === "GET" && token !== null && this.#isToken(token)) {
      response.setHeader(
        "Set-Cookie",
        `${this.#cookie}=${this.#token}; Path=${this.#folder}; HttpOnly; SameSite=Strict`,
      );
    } else if (!this.#isToken(this.#tokenIn(request))) {
      throw new Refusal(
        401,
        "This dashboard needs its token: open the address that `client.dashboard()` returned, as a whole.",
      );
    }
    if (request.method === "POST") this.#checkOrigin(request);
    if (!pathname.startsWith(this.#folder)) throw new Refusal(404, "There is no such page here.");
    return pathname.slice(this.#folder.length);
  }

  #checkOrigin({ headers }: IncomingMessage): void {
    if (headers.origin === `http://${this.#host}` && headers[OWN_HEADER] !== undefined) return;
    throw new Refusal(403, "Expected the request to come from the dashboard's own page.");
  }

  #tokenIn({ headers }: IncomingMessage): string {
    const start = `${this.#cookie}=`;
    const cookies = (headers.cookie ?? "").split(/; */);
    return cookies.find((cookie) => cookie.startsWith(start))?.slice(start.length) ?? "";
  }

  #isToken(text: string): boolean {
    const given = Buffer.from(text);
    const expected = Buffer.from(this.#token);
    return given.length === expected.length && timingSafeEqual(given, expected);
  }
}
