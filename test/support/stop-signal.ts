/** Aborts when this process is told to end, so that a run can end in order. */
export function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => stopping.abort());
  }
  return stopping.signal;
}
