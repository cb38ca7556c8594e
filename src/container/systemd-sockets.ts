/** The sockets that systemd, or who speaks its protocol, has opened for this program: sd_listen_fds(3). */

/** The first descriptor after stdin, stdout and stderr: SD_LISTEN_FDS_START. */
const FIRST_FD = 3;

/**
 * Returns the descriptors for sockets of these names: by name (LISTEN_FDNAMES), or in their order if the program was given as many as it
 * names and none has a name that it knows.
 */
export function systemdSockets(
  names: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Map<string, number> {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = "" } = env;
  const count = Number(LISTEN_FDS);
  if (Number(LISTEN_PID) !== process.pid || !Number.isInteger(count) || count < 1) return new Map();
  const given = LISTEN_FDNAMES.split(":");
  const named = names.flatMap((name) => {
    const at = given.indexOf(name);
    return at === -1 || at >= count ? [] : [[name, FIRST_FD + at] as const];
  });
  if (named.length > 0) return new Map(named);
  return count === names.length ? new Map(names.map((name, i) => [name, FIRST_FD + i])) : new Map();
}
