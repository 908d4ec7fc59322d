const keptMax = 10_000;

/**
 * When clients connected last, by the certificate or the authority that admitted them. One look-up for each connection,
 * nothing for each request, and nothing is stored: a node answers for itself, since it started.
 */
export class LastConnections {
  /** In the order of the times, so that the oldest is dropped first. */
  readonly #times = new Map<string, number>();

  /** A client was admitted by the certificate with this SHA-256 (lower-case hex), or by such an authority. */
  note(fingerprint: string, timeMs: number): void {
    this.#times.delete(fingerprint);
    this.#times.set(fingerprint, timeMs);
    if (this.#times.size <= keptMax) return;
    const oldest = this.#times.keys().next();
    if (!oldest.done) this.#times.delete(oldest.value);
  }

  /** In milliseconds since the epoch; undefined if it has admitted nobody. */
  of(fingerprint: string): number | undefined {
    return this.#times.get(fingerprint);
  }
}
