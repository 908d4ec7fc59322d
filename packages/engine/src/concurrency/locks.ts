/** Orders contenders on one resource. Saves wasted work; correctness rests on the record's tag. */
export interface Locks {
  /**
   * Runs `body` while holding the lock on `resource`. Waits a bounded time for it; where the lock masters cannot be
   * asked, or the wait is over, runs `body` all the same (the tag decides) and reports to the observer.
   */
  withLock<Result>(resource: string, body: () => Promise<Result>): Promise<Result>;
}
