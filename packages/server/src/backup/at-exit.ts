/**
 * Has `work` done when the process exits before it was taken back: what a signal would leave behind is taken away. Nothing
 * can be awaited then.
 */
export function atExit(work: () => void): Disposable {
  process.on("exit", work);
  return { [Symbol.dispose]: () => void process.off("exit", work) };
}
