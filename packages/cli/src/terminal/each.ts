/** Runs `work` for each of the things, so many at the same time; the first error stops the others. */
export async function eachOf<Thing>(
  things: readonly Thing[],
  atOnce: number,
  work: (thing: Thing) => Promise<void>,
): Promise<void> {
  let at = 0;
  let failed = false;
  const worker = async () => {
    while (!failed) {
      const thing = things[at];
      at += 1;
      if (thing === undefined) return;
      try {
        await work(thing);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: atOnce }, worker));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

/** So many failures in a row have one cause, which the next thing meets too. */
export const failuresMax = 5;

/**
 * The same, but one that fails does not stop the others, unless it is the fifth in a row. `done` and `failed` hear how many
 * were not begun yet. Returns whether it stopped, and how many were not tried.
 */
export async function eachDespiteFailures<Thing>(
  things: readonly Thing[],
  atOnce: number,
  work: (thing: Thing) => Promise<void>,
  heard: {
    readonly done: (thing: Thing, left: number) => void;
    readonly failed: (thing: Thing, error: unknown) => void;
  },
): Promise<{ readonly stopped: boolean; readonly untried: number }> {
  let begun = 0;
  let inRow = 0;
  let stopped = false;
  await eachOf(things, atOnce, async (thing) => {
    if (stopped) return;
    begun += 1;
    try {
      await work(thing);
      inRow = 0;
      heard.done(thing, things.length - begun);
    } catch (error) {
      inRow += 1;
      heard.failed(thing, error);
      stopped ||= inRow >= failuresMax;
    }
  });
  return { stopped, untried: things.length - begun };
}
