/** A signal that aborts on SIGINT, SIGTERM and SIGHUP, so that a run can stop cleanly. */
export function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => stopping.abort());
  }
  return stopping.signal;
}
