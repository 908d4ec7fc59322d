/** Orders contenders for one resource. Saves wasted work; correctness depends on the record's tag. */
export interface Locks {
  /**
   * Runs `body` while holding the lock on `resource`. Waits a bounded time for it; if the lock masters cannot be
   * reached, or the time is over, runs `body` anyway (the tag decides) and reports to the observer.
   */
  withLock<Result>(resource: string, body: () => Promise<Result>): Promise<Result>;
}
