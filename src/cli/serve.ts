/**
 * `forkmap serve`: what a machine runs to serve jobs from queues. Here are its help and its name; the rest is in serve/, and loaded when
 * it is needed, so that `forkmap --help` is quick.
 */
import type { CliCommand } from "./cli-command.js";

const HELP = `Usage: forkmap serve [options] module...

Runs the workers that the modules export on jobs from queues in Redis or Valkey, which calls of
Parallel with \`engine: bullmq(...)\` and programs that use BullMQ have put there. It needs the
packages bullmq and ioredis.

A worker is an instance of a class, a class without parameters, or a function, that has a name:
static workerName = "resize@1" in the class, resize.workerName = "resize@1" below the function.

Options:
  --queue NAME         a queue to take jobs from; may be given more than once (default: one for
                       each worker, with its name)
  --processes N        how many processes run items at once (default: one for each processor)
  --fibers N           items at once in each process (default: 1)
  --prefetch N         the most jobs taken at once (default: 2 x processes x fibers)
  --connection URL     the server: redis://user:password@host:6379/0, or rediss:// for TLS
                       (default: redis://127.0.0.1:6379). Others on this machine can see what a
                       command line has: put passwords into the variable FORKMAP_CONNECTION
  --prefix TEXT        what the server's keys begin with (default: bull)
  --pool, --no-pool    whether processes stay for many items (default), or each item has a fresh one
  --timeout MS         the time for one item, in ms (default: none)
  --health [HOST:]PORT answers GET /health with 200 while jobs are taken, else 503, and GET /live
                       with 200 (default host: 127.0.0.1)
  --supervised DIR     the directory of a supervisor that watches the processes
  --import MODULE      load it before the modules, here and in the processes, such as tsx
  --help               print this text

An option that is not given is read from the environment: FORKMAP_QUEUES, FORKMAP_PROCESSES,
FORKMAP_CONNECTION and so on. Node runs TypeScript by itself from 22.18; on older ones, install tsx
and add --import tsx.

The first SIGINT or SIGTERM takes no more jobs, ends those that run, and gives them back after 30
seconds; the second gives them back at once.

Exit code: 0 if it was stopped, 1 if it could not serve or was stopped by a second signal, 2 if the
command line is wrong.

Example: forkmap serve worker.ts --processes 4 --health 8080
`;

export const serve: CliCommand = {
  name: "serve",
  summary: "run workers on jobs from queues in Redis",
  help: HELP,
  async run(args, signal) {
    const { readArguments } = await import("./serve/serve-arguments.js");
    const wanted = readArguments(args);
    const { serveQueues } = await import("./serve/serve-queues.js");
    return await serveQueues(wanted, signal);
  },
};
