/** Finds what this test process has left behind: processes, at any depth, and scratch directories. */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";

/** Set in the environment of every process that this one starts: the mark stays when session and parent change. */
const MARK = "FORKMAP_TEST_PROCESS";
const value = `${process.pid}-${process.hrtime.bigint()}`;
process.env[MARK] = value;

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly session: number;
  /** One letter, as in ps(1): `Z` is a zombie. */
  readonly state: string;
  readonly command: string;
}

/** Returns the processes that descend from this one, belong to a session of such a descendant, or carry the mark. */
export function descendants(): Process[] {
  const rest = new Set(
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => look(Number(name))),
  );
  const found = new Map<number, Process>();
  const take = (isOurs: (each: Process) => boolean) => {
    const ours = [...rest].filter(isOurs);
    for (const each of ours) {
      rest.delete(each);
      if (each.pid !== process.pid) found.set(each.pid, each);
    }
    return ours.length > 0;
  };
  take(({ pid }) => pid === process.pid || isMarked(pid));
  while (
    take(({ parent, session }) => parent === process.pid || found.has(parent) || found.has(session))
  );
  return [...found.values()];
}

/** Returns those of `descendants` that are children in slots, or were started by one. */
export function children(machinery: readonly number[] = []): Process[] {
  return descendants().filter(({ pid }) => !machinery.includes(pid));
}

/** Returns the scratch directories of this process, and the ledgers beside them. */
export function scratchDirectories(root = tmpdir()): string[] {
  return readdirSync(root).filter((name) => name.startsWith(`forkmap-${process.pid}-`));
}

/** Removes what a test has left behind, so that only that test fails. */
export function removeLeftovers(): void {
  for (const { pid } of descendants()) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended in the meantime.
    }
  }
  for (const name of scratchDirectories())
    rmSync(`${tmpdir()}/${name}`, { recursive: true, force: true });
}

export function isAlive(pid: number): boolean {
  return look(pid).some(({ state }) => state !== "Z");
}

function look(pid: number): Process[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [state, parent, , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
    return [{ pid, parent: Number(parent), session: Number(session), state: state, command }];
  } catch {
    return [];
  }
}

function isMarked(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`${MARK}=${value}`);
  } catch {
    return false;
  }
}
