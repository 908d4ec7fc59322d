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
