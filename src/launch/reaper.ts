/**
 * Cleans up after a killed parent where no fork server does: a shell that waits for the end of its standard input,
 * which the kernel closes with the parent, however the parent ends. The shell then kills the process groups and removes
 * the scratch directories on its list, which it keeps in memory only. It costs one small process per `Parallel`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Writable } from "node:stream";
import { LEDGER_SUFFIX } from "../wire/child-files.js";

/**
 * POSIX sh. Reads `+ pid`, `- pid` (watch, forget), `d directory`, `f directory` (guard, unguard); a directory is the
 * rest of its line, spaces and all.
 */
const SCRIPT = `
trap '' INT TERM HUP
pids=' '
while IFS= read -r line; do
  word=\${line#??}
  case $line in
    '+ '*) pids="$pids$word " ;;
    '- '*) case $pids in *" $word "*) pids="\${pids%% $word *} \${pids#* $word }" ;; esac ;;
    'd '*) set -- "$@" "$word" ;;
    'f '*) n=$#
      while [ "$n" -gt 0 ]; do
        [ "$1" = "$word" ] || set -- "$@" "$1"
        shift; n=$((n - 1))
      done ;;
  esac
done
for pid in $pids; do kill -s KILL -- "-$pid"; done
for directory in "$@"; do rm -rf -- "$directory" "$directory${LEDGER_SUFFIX}"; done
# A child may have been writing when the first one ran.
for directory in "$@"; do rm -rf -- "$directory"; done
`;

export class Reaper {
  readonly #shell: ChildProcess | undefined;
  readonly #input: Writable | undefined;

  constructor() {
    // Windows has no process groups; there a child ends with its channel, unless it never yields.
    if (process.platform === "win32") return;
    this.#shell = spawn("/bin/sh", ["-c", SCRIPT], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
      cwd: "/",
      // The script needs `rm`, whatever PATH this program was started with.
      env: { PATH: `${process.env["PATH"] ?? ""}:/usr/bin:/bin` },
    });
    this.#input = this.#shell.stdin!;
    this.#input.on("error", () => {});
    this.#shell.on("error", () => {});
    this.#shell.unref();
    (this.#input as unknown as { unref(): void }).unref();
  }

  get pid(): number | undefined {
    return this.#shell?.pid;
  }

  watch(pid: number): void {
    this.#input?.write(`+ ${pid}\n`);
  }

  forget(pid: number): void {
    this.#input?.write(`- ${pid}\n`);
  }

  guard(directory: string): void {
    this.#input?.write(`d ${directory}\n`);
  }

  unguard(directory: string): void {
    this.#input?.write(`f ${directory}\n`);
  }

  async close(): Promise<void> {
    const shell = this.#shell;
    if (!shell || shell.exitCode !== null || shell.signalCode !== null) return;
    const gone = new Promise((resolve) => shell.once("close", resolve));
    this.#input!.end();
    await gone;
  }
}
