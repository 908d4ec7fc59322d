import { signal } from "@preact/signals";
import { repeat } from "./work.ts";

/** The regions of this service, for fields that a person fills in once for each. */
export const regions = signal<readonly string[]>([]);
/** Whether these are all of them; before that they are the one of the node that is asked. */
export const knowsRegions = signal(false);

const againMs = 2000;

/** Asks for the names of all regions, again until there is an answer; returns what ends that. */
export function findRegions(ask: () => Promise<readonly string[]>): () => void {
  const end = repeat(againMs, async () => {
    try {
      regions.value = (await ask()).toSorted();
      knowsRegions.value = true;
      end();
    } catch {
      // The forms say that the regions are not known yet.
    }
  });
  return () => end();
}
