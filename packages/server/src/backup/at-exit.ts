/**
 * Has `work` done when the process exits before it was taken back: what a signal would leave behind is taken away. Nothing
 * can be awaited then.
 */
export function atExit(work: () => void): Disposable {
  process.on("exit", work);
  return { [Symbol.dispose]: () => void process.off("exit", work) };
}

/** Lets a signal end the process in order, so that `atExit` comes to its turn; a second one ends it at once. */
export function exitOnSignals(): void {
  const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
  for (const [name, code] of Object.entries(codes)) process.once(name, () => process.exit(code));
}
