import { type Signal, useSignal } from "@preact/signals";

/** Work that a person starts: whether it runs, and why it failed the last time. */
export interface Attempt {
  readonly busy: Signal<boolean>;
  readonly error: Signal<unknown>;
  readonly run: () => Promise<void>;
}

/** Keeps the state of work that a button of a page starts. */
export function useAttempt(work: () => Promise<void>): Attempt {
  const busy = useSignal(false);
  const error = useSignal<unknown>(undefined);
  const run = async () => {
    busy.value = true;
    error.value = undefined;
    try {
      await work();
    } catch (reason) {
      error.value = reason;
    } finally {
      busy.value = false;
    }
  };
  return { busy, error, run };
}
