/**
 * A network of machines whose connections to the server a test can cut: no packet passes, and no connection is closed. Real ones, of network
 * namespaces, where this user may make them; else proxies of TCP that stand still.
 */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export interface Network {
  /** Of the server, for its `bind`. */
  readonly addresses: readonly string[];
  /** For the place with this number: the URL of the server, and what starts a program there. */
  url(place: number): string;
  command(place: number): readonly string[];
  cut(place: number): void;
  heal(place: number): void;
  remove(): void;
}

/** Why there can be no network namespaces, or `undefined` if there can. */
export function whyNoNamespaces(): string | undefined {
  if (process.platform !== "linux" || process.getuid!() !== 0) return "this user is not root";
  const name = `fmtry${process.pid}`;
  try {
    ip("netns", "add", name);
    ip("link", "add", name, "type", "bridge");
  } catch (error) {
    return (error as Error).message.trim().replaceAll("\n", ": ");
  } finally {
    tryIp("link", "del", name);
    tryIp("netns", "del", name);
  }
  return undefined;
}

/** Each place is a namespace, joined to the others and to this one by a bridge. */
export class NamespaceNetwork implements Network {
  readonly addresses: readonly string[];
  readonly #address: string;
  readonly #port: () => number;
  readonly #bridge = `fmb${process.pid}`;
  readonly #places: number;
  readonly #removeAtExit = () => this.remove();

  /** @param port - of the server, which is started after this */
  constructor(places: number, port: () => number) {
    this.#places = places;
    this.#port = port;
    const net = `10.${200 + (process.pid % 50)}.${(process.pid >> 6) % 250}`;
    this.#address = `${net}.1`;
    this.addresses = ["127.0.0.1", this.#address];
    process.on("exit", this.#removeAtExit);
    ip("link", "add", this.#bridge, "type", "bridge");
    ip("addr", "add", `${this.#address}/24`, "dev", this.#bridge);
    ip("link", "set", this.#bridge, "up");
    for (let place = 0; place < places; place += 1) {
      const [name, cable] = [this.#name(place), this.#cable(place)];
      ip("netns", "add", name);
      ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name);
      ip("link", "set", cable, "master", this.#bridge, "up");
      ip("-n", name, "addr", "add", `${net}.${place + 2}/24`, "dev", "eth0");
      ip("-n", name, "link", "set", "eth0", "up");
      ip("-n", name, "link", "set", "lo", "up");
    }
  }

  url(): string {
    return `redis://${this.#address}:${this.#port()}`;
  }

  command(place: number): readonly string[] {
    return ["ip", "netns", "exec", this.#name(place)];
  }

  /** The cable stays plugged in at its machine. */
  cut(place: number): void {
    ip("link", "set", this.#cable(place), "nomaster");
  }

  heal(place: number): void {
    ip("link", "set", this.#cable(place), "master", this.#bridge);
  }

  remove(): void {
    process.off("exit", this.#removeAtExit);
    for (let place = 0; place < this.#places; place += 1) {
      tryIp("netns", "del", this.#name(place));
      tryIp("link", "del", this.#cable(place));
    }
    tryIp("link", "del", this.#bridge);
  }

  #name(place: number): string {
    return `fm${process.pid}-${place}`;
  }

  #cable(place: number): string {
    return `fm${process.pid}v${place}`;
  }
}

/** Each place is a proxy of this process. */
export class ProxyNetwork implements Network {
  readonly addresses = ["127.0.0.1"];
  readonly #proxies: Proxy[];

  private constructor(proxies: Proxy[]) {
    this.#proxies = proxies;
  }

  static async open(places: number, port: () => number): Promise<ProxyNetwork> {
    const proxies = Array.from({ length: places }, () => new Proxy(port));
    await Promise.all(proxies.map((each) => each.open()));
    return new ProxyNetwork(proxies);
  }

  url(place: number): string {
    return `redis://127.0.0.1:${this.#proxies[place]!.port}`;
  }

  command(): readonly string[] {
    return [];
  }

  cut(place: number): void {
    this.#proxies[place]!.stand(true);
  }

  heal(place: number): void {
    this.#proxies[place]!.stand(false);
  }

  remove(): void {
    for (const each of this.#proxies) each.close();
  }
}

class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #stands = false;

  constructor(port: () => number) {
    this.#server = createServer({ pauseOnConnect: true }, (near) => {
      const far = connect(port(), "127.0.0.1");
      this.#join(near, far);
      this.#join(far, near);
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async open(): Promise<void> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
  }

  /** What arrives is not read; what ends is not told. */
  stand(stands: boolean): void {
    this.#stands = stands;
    for (const socket of this.#sockets) {
      if (stands) socket.pause();
      else socket.resume();
    }
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    if (this.#stands) from.pause();
    else from.resume();
    from.on("data", (data) => to.write(data));
    from.on("end", () => to.end());
    from.on("error", () => to.destroy());
    from.on("close", () => this.#sockets.delete(from));
  }
}

function ip(...words: string[]): void {
  execFileSync("ip", words, { stdio: ["ignore", "ignore", "pipe"] });
}

function tryIp(...words: string[]): void {
  try {
    ip(...words);
  } catch {
    // It is not there.
  }
}
