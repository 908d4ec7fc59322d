import type { Connection } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";
import { ConnectionError } from "./errors.ts";

export interface PoolOptions {
  readonly endpoints: readonly Endpoint[];
  readonly open: (endpoint: Endpoint) => Promise<Connection>;
  /** The largest number of simultaneous connections to one endpoint. */
  readonly connectionsMax: number;
  /** The largest number of requests in flight on one connection. */
  readonly pipelining: number;
  /** How long a caller may wait for a connection while all are busy. */
  readonly waitMs: number;
}

/** One endpoint's connections, each with the number of callers that have taken it. */
interface Place {
  readonly endpoint: Endpoint;
  readonly taken: Map<Connection, number>;
  opening: number;
  /** A connection to it failed a moment ago, so the other endpoints are tried first. */
  resting: boolean;
}

/** How long an endpoint is tried last after a connection to it failed. */
const restMs = 1000;

/** Persistent connections to several endpoints, used in turn. */
export class Pool {
  readonly #options: PoolOptions;
  readonly #places: readonly Place[];
  readonly #waiting = new Set<() => void>();
  #turn = 0;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#places = options.endpoints.map((endpoint) => ({
      endpoint,
      taken: new Map(),
      opening: 0,
      resting: false,
    }));
  }

  /**
   * A connection with room for one more request, to the endpoint whose turn it is or the next that
   * can be reached. The caller must release it.
   */
  async take(except: ReadonlySet<Endpoint>): Promise<Connection> {
    const failures = new Map<Endpoint, ConnectionError>();
    for (;;) {
      if (this.#closed) throw new ConnectionError("closed", "the client is closed");
      const places = this.#inTurn().filter(
        ({ endpoint }) => !except.has(endpoint) && !failures.has(endpoint),
      );
      if (places.length === 0) throw unreachable([...failures.values()]);
      const found = await this.#from(places, failures);
      if (found !== undefined) return found;
    }
  }

  /** Returns a taken connection to the pool. */
  release(connection: Connection): void {
    for (const { taken } of this.#places) {
      const count = taken.get(connection);
      if (count !== undefined) taken.set(connection, count - 1);
    }
    this.#wakeOne();
  }

  /** Ends every connection; from then on, no connection can be taken. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const wake of [...this.#waiting]) wake();
    const connections = this.#places.flatMap(({ taken }) => [...taken.keys()]);
    await Promise.all(connections.map((connection) => connection.close()));
  }

  #inTurn(): readonly Place[] {
    const places = [...this.#places.slice(this.#turn), ...this.#places.slice(0, this.#turn)];
    return [
      ...places.filter(({ resting }) => !resting),
      ...places.filter(({ resting }) => resting),
    ];
  }

  /** Undefined if the caller must try again: a connection failed, or one may have become free. */
  async #from(
    places: readonly Place[],
    failures: Map<Endpoint, ConnectionError>,
  ): Promise<Connection | undefined> {
    const { connectionsMax, pipelining } = this.#options;
    for (const place of places) {
      const free = [...place.taken].find(([one, count]) => one.usable && count < pipelining)?.[0];
      const full = place.taken.size + place.opening >= connectionsMax;
      if (free === undefined && full) continue;
      this.#turn = (this.#places.indexOf(place) + 1) % this.#places.length;
      if (free === undefined) return await this.#open(place, failures);
      place.taken.set(free, (place.taken.get(free) ?? 0) + 1);
      return free;
    }
    await this.#room();
    return undefined;
  }

  async #open(
    place: Place,
    failures: Map<Endpoint, ConnectionError>,
  ): Promise<Connection | undefined> {
    place.opening += 1;
    try {
      const connection = await this.#options.open(place.endpoint);
      place.resting = false;
      place.taken.set(connection, 1);
      void connection.closed.then(() => {
        place.taken.delete(connection);
        this.#wakeOne();
      });
      if (!this.#closed) return connection;
      await connection.close();
      return undefined;
    } catch (error) {
      failures.set(place.endpoint, error as ConnectionError);
      this.#rest(place);
      this.#wakeOne();
      return undefined;
    } finally {
      place.opening -= 1;
    }
  }

  #rest(place: Place): void {
    if (place.resting) return;
    place.resting = true;
    setTimeout(() => {
      place.resting = false;
    }, restMs).unref();
  }

  #wakeOne(): void {
    const [wake] = this.#waiting;
    wake?.();
  }

  #room(): Promise<void> {
    const { waitMs } = this.#options;
    return new Promise((resolve, reject) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(wake);
        reject(new ConnectionError("busy", `all connections were busy for ${waitMs} ms`));
      }, waitMs);
      this.#waiting.add(wake);
    });
  }
}

function unreachable(failures: readonly ConnectionError[]): ConnectionError {
  const [first] = failures;
  if (failures.length === 1 && first !== undefined) return first;
  const each = failures.map(({ message }) => message).join("; ");
  const refused = failures.some((failure) => failure.refused);
  const message = `no KMIP server could be reached: ${each}`;
  return new ConnectionError("unreachable", message, first, refused);
}
