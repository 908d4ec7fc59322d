/** Runs some work, and counts the turns that the event loop gives to other work meanwhile. */
export async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let [turns, over] = [0, false];
  const turn = (): void => {
    turns += 1;
    if (!over) setImmediate(turn);
  };
  setImmediate(turn);
  await work().finally(() => {
    over = true;
  });
  return turns;
}
