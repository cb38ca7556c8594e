/**
 * Joins the modules in dist/ that run together into a few files, as Node takes half a ms to load each and a program
 * would load some 150 before its first result. Nothing is renamed or minified: comments, names and stack traces stay
 * those of src/. The entries in dist/ are replaced; the separate modules stay beside them for the tests, and are not published.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rollup } from "rollup";

const DIST = fileURLToPath(new URL("../dist", import.meta.url));
const ENTRIES = [
  "index",
  "container/index",
  "supervisor/index",
  "queue/index",
  "child/fork-server",
  "child/spawned-child",
  "child/thread-child",
  "cli/main",
  "queue/bullmq/lock-keeper-thread",
];
/**
 * Which modules share a file: the first pattern that fits a module's path. A child loads `base` and `parallel` too, with
 * the worker's module. Modules without a group are loaded on demand.
 */
const GROUPS = {
  // Apart, as node:crypto and node:net take 3 and 2 ms to load.
  names: /^(system\/owner|wire\/(output-mark|socket-path)|child\/items\/output-marks)$/,
  base: /^(errors|options|option-rules|observe\/diagnostics|launch\/(choices|outside|loop-hold|child-kill|deadline)|system\/(?!koffi).*|worker\/.*|wire\/(stack-frames|protocol|run-over|items|json-value|short-bytes|structured-clone|task|value-check|value-problem))$/,
  parallel:
    /^(parallel|check-options|call\/(?!known-tasks).*|observe\/(stats|histogram)|pool\/batching)$/,
  wire: /^wire\/(error-record|check-message|breach|payload|lines|ledger|child-files|result-buffers)$/,
  heap: /^(system\/koffi|child\/(libc|fork\/(pack-heap|collect-garbage|young-generation)))$/,
  forks: /^child\/fork\/(?!fork-server-boot)/,
  child: /^child\/(items|find)\//,
  service: /^child\/service\/(?!threaded)/,
  // A child loads it with the module of its service.
  container: /^container\/(?!index|program-starter|instance-output)/,
  // What a supervised child needs; diagnostics are loaded on demand.
  supervised:
    /^(child\/supervised\/(supervise|metrics-file|supervisor-link|interrupts|interrupt-calls|current-stack|time-limits)|wire\/(calls|call-errors|line-writer|metrics-file|supervisor-directory))$/,
  // What a program that has a supervisor loads, and a module of monitors.
  supervisor:
    /^supervisor\/(supervisor|monitor|monitor-sources|private-directory|client|answers|memory-monitor|process-monitor|utilization-monitor|growth|patience|totals|cpu-totals|process-memory|process-table|monitor-warning)$/,
  // Loaded with the first page.
  dashboard: /^supervisor\/dashboard(\/|$)/,
  watching:
    /^supervisor\/(supervisor-process|supervisor-server|registry|instance-metrics|left-metrics|metric-families|metric-names|family-page|serve-metrics|prometheus|open-telemetry|stack-request|kernel-threads|child-facts|operations|ask|safe-file|sampler|monitor-loop|diagnostic-rules)$/,
  // What a child loads with a worker's module that serves it.
  queue:
    /^queue\/(queue-worker|configure|resolve-options|environment|worker-options|logger|middleware|job-counts|served-worker|serve-session|stop-signals|bullmq\/(engine|engine-options))$/,
  // Loaded by the first call and by `run`.
  queued: /^queue\/(?!index$|bullmq\/lock-keeper-thread$).*/,
  // Apart, so that the fork server is started before the pool is loaded.
  pool: /^(pool\/(?!inline-pool).*|launch\/(fork\/(fork-room|fifo-pipes)|(ledger|scratch)-room|item-files|output-pipes)|wire\/(scratch|ledger-reader))$/,
  launch: /^(launch\/(?!spawn\/|thread\/|program\/|socket-pipes).*|wire\/(?!stable-json).*)$/,
};
/** The constant with the place of its module; see src/wire/stack-frames.ts. */
const PLACE = '"wire/stack-frames.js"';

const bundle = await rollup({
  input: Object.fromEntries(ENTRIES.map((entry) => [entry, join(DIST, `${entry}.js`)])),
  external: (id) => !/^[./]/.test(id),
  // Modules are loaded for what they do, too.
  treeshake: false,
  onwarn: (warning) => {
    throw new Error(warning.message);
  },
});
const { output } = await bundle.write({
  dir: DIST,
  format: "es",
  chunkFileNames: "chunks/[name].js",
  manualChunks: (id) => groupOf(relative(DIST, id).replace(/\.js$/, "")),
  hoistTransitiveImports: false,
  minifyInternalExports: false,
  plugins: [{ name: "builtins", renderChunk: withoutFacades }],
});
await bundle.close();
for (const { fileName } of output) {
  const file = join(DIST, fileName);
  const code = readFileSync(file, "utf8");
  if (code.includes(PLACE)) writeFileSync(file, code.replace(PLACE, JSON.stringify(fileName)));
}

function groupOf(module) {
  return Object.entries(GROUPS).find(([, pattern]) => pattern.test(module))?.[0];
}

/**
 * Takes Node's own modules from `process.getBuiltinModule`. An `import` of one makes a second set of all its exports,
 * and so runs getters that load more: streams for `node:fs`, promises for `node:timers`.
 */
function withoutFacades(code) {
  return code.replaceAll(/^import (.+) from '(node:[\w/]+)';$/gm, (_, what, id) => {
    const [, whole, named] = /^(?:\* as )?([\w$]+)?(?:, )?(?:\{ (.+) \})?$/.exec(what);
    const get = `process.getBuiltinModule("${id}")`;
    return [
      ...(whole ? [`const ${whole} = ${get};`] : []),
      ...(named ? [`const { ${named.replaceAll(" as ", ": ")} } = ${get};`] : []),
    ].join("\n");
  });
}
