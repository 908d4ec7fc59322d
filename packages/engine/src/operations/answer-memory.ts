/** What one message's answers have taken of `AnswerMemory`. */
export interface AnswerShare {
  /** False if there is too little. */
  take(bytes: number): boolean;
  /** Gives everything back: the message is answered, or begins again. */
  giveBack(): void;
}

/**
 * Bounds the memory of answers that are being built, of all messages together; one instance has half of it. Nothing
 * waits for it: a message that holds some would keep it from others meanwhile.
 */
export class AnswerMemory {
  readonly #bytesMax: number;
  readonly #of = new Map<string, number>();
  #usedBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The share of one message. */
  share(instance: string): AnswerShare {
    let taken = 0;
    return {
      take: (bytes) => {
        const own = (this.#of.get(instance) ?? 0) + bytes;
        if (own > this.#bytesMax / 2 || this.#usedBytes + bytes > this.#bytesMax) return false;
        this.#note(instance, bytes);
        taken += bytes;
        return true;
      },
      giveBack: () => {
        this.#note(instance, -taken);
        taken = 0;
      },
    };
  }

  #note(instance: string, bytes: number): void {
    if (bytes === 0) return;
    const own = (this.#of.get(instance) ?? 0) + bytes;
    if (own === 0) this.#of.delete(instance);
    else this.#of.set(instance, own);
    this.#usedBytes += bytes;
  }
}
