/** A time in which a client had no success, although it tried endpoint after endpoint. */
export interface Gap {
  readonly kind: "read" | "write";
  readonly fromMs: number;
  readonly toMs: number;
}

/** A fault that was made, and when everything was healthy again. */
export interface Made {
  readonly kind: string;
  /** Whether no other fault overlapped with this one. */
  readonly single: boolean;
  readonly fromMs: number;
  readonly recoveredMs: number;
}

/** The longest gap of each kind, in milliseconds. */
export interface Longest {
  readonly writeMs: number;
  readonly readMs: number;
}

/** Shorter times are normal request times. */
const gapMinMs = 100;

/** Records the times between one success and the next. */
export class Gaps {
  readonly all: Gap[] = [];
  readonly #last = new Map<string, number>();

  /** A client begins or rests now; a gap is counted from here. */
  rests(client: string, atMs: number): void {
    this.#last.set(client, atMs);
  }

  /** A client had a success. */
  succeeded(client: string, kind: Gap["kind"], atMs: number): void {
    const last = this.#last.get(client);
    if (last !== undefined && atMs - last >= gapMinMs) {
      this.all.push({ kind, fromMs: last, toMs: atMs });
    }
    this.#last.set(client, atMs);
  }

  /** Ends all open gaps. */
  ended(kinds: ReadonlyMap<string, Gap["kind"]>, atMs: number): void {
    for (const [client, kind] of kinds) this.succeeded(client, kind, atMs);
  }
}

/** The longest of the gaps that pass the filter. */
export function longest(gaps: readonly Gap[], passes: (gap: Gap) => boolean = () => true): Longest {
  const of = (kind: Gap["kind"]) =>
    Math.round(
      Math.max(
        0,
        ...gaps
          .filter((gap) => gap.kind === kind && passes(gap))
          .map(({ fromMs, toMs }) => toMs - fromMs),
      ),
    );
  return { writeMs: of("write"), readMs: of("read") };
}

/** The longest gaps by kind of fault; only faults without overlap show the cost of one. */
export function longestByFault(
  gaps: readonly Gap[],
  made: readonly Made[],
): Readonly<Record<string, Longest>> {
  const kinds = [...new Set(made.filter(({ single }) => single).map(({ kind }) => kind))].sort();
  return Object.fromEntries(
    kinds.map((kind) => {
      const times = made.filter((one) => one.single && one.kind === kind);
      const within = ({ fromMs, toMs }: Gap) =>
        times.some((one) => one.fromMs <= toMs && one.recoveredMs >= fromMs);
      return [kind, longest(gaps, within)];
    }),
  );
}
