/** A directory of `supervised` in which none runs is told of; one in which one runs is not. */
import path from "node:path";
import { Parallel } from "forkmap";
import { Supervisor } from "forkmap/supervisor";
import { expect, test } from "vitest";
import { Keeps, Turns } from "../fixtures/supervised/turns.mjs";
import { contained, soon } from "../support/contained.js";
import { temporaryDirectory } from "../support/temporary.js";
import { warned } from "../support/warned.js";

const warnings = warned();

test("that no supervisor runs where `supervised` says is warned of, once for each directory", async () => {
  const own = temporaryDirectory();
  const { container } = contained();
  container.spawn(new Supervisor({ directory: own }), { name: "supervisor" });
  await container.waitUntilReady();
  const missing = path.join(temporaryDirectory(), "missing");
  const [empty, closed] = [temporaryDirectory(), temporaryDirectory()];
  const pools = [own, missing, missing, closed].map(
    (supervised) => new Parallel(new Keeps(), { pool: 1, supervised }),
  );
  for (const pool of pools) await pool.mapProcesses([0]);
  await pools.pop()!.close();
  container.run(new Turns(), { count: 2, supervised: empty });
  await soon(() => expect(warnings).toHaveLength(2));
  expect(warnings).toEqual(
    [missing, empty].map((directory) => ({
      code: "FORKMAP_SUPERVISOR",
      message: expect.stringMatching(
        `^No supervisor runs in ${directory}, the directory that \`supervised\` names: children are not watched`,
      ),
    })),
  );
  await Promise.all(pools.map((pool) => pool.close()));
});
