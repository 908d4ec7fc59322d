/**
 * Does `work` if the process exits before this is disposed, to remove what a signal would leave
 * behind. `work` must be synchronous.
 */
export function atExit(work: () => void): Disposable {
  process.on("exit", work);
  return { [Symbol.dispose]: () => void process.off("exit", work) };
}
