import { type Signal, useSignal } from "@preact/signals";
import { mustSignIn } from "./api.ts";

/** Where nothing runs: the other region, or somebody else, may have ordered something. */
export const restMs = 5000;

/** Runs work now and again and again, but not while the person must sign in; returns what ends it. */
export function repeat(everyMs: number, work: () => Promise<void>): () => void {
  let timer: ReturnType<typeof setTimeout>;
  let ended = false;
  const turn = async () => {
    if (!mustSignIn.peek()) await work();
    if (!ended) timer = setTimeout(() => void turn(), everyMs);
  };
  void turn();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

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
