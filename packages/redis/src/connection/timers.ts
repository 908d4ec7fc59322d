/** How the store waits; the simulation gives it virtual time. */
export interface StoreTimers {
  /**
   * Runs something once after `ms`, unless the function that it returns is called before. A timer in the background
   * keeps no process alive.
   */
  readonly after: (ms: number, run: () => void, background?: boolean) => () => void;
  /** Runs something after everything else that this turn of the event loop runs. */
  readonly soon: (run: () => void) => void;
}

/** Node's timers. */
export const nodeTimers: StoreTimers = {
  after: (ms, run, background = false) => {
    const timer = setTimeout(run, ms);
    if (background) timer.unref();
    return () => clearTimeout(timer);
  },
  soon: (run) => {
    setImmediate(run);
  },
};

/** Resolves after `ms`, or at once when `signal` is aborted. */
export function sleep(
  timers: StoreTimers,
  ms: number,
  { signal, background }: { readonly signal?: AbortSignal; readonly background?: boolean } = {},
): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const stop = (): void => {
      cancel();
      signal?.removeEventListener("abort", stop);
      resolve();
    };
    const cancel = timers.after(ms, stop, background);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Runs something every `ms`, in the background, until the function that it returns is called. */
export function repeat(timers: StoreTimers, ms: number, run: () => void): () => void {
  let cancel: () => void;
  const next = (): void => {
    cancel = timers.after(
      ms,
      () => {
        next();
        run();
      },
      true,
    );
  };
  next();
  return () => cancel();
}
