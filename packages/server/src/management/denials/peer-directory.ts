import type { Handlers } from "@holdfast/admin";

/** A node of the link between the regions, by its certificate. */
export interface PeerNode {
  readonly region: string;
  readonly node: string;
  /** SHA-256 of its certificate, lower-case hex. */
  readonly fingerprint: string;
  /** When its certificate ends, milliseconds since the epoch. */
  readonly endsMs: number;
}

export interface PeerDirectoryOptions {
  /** This node itself; undefined if there is no other region. */
  readonly own: () => PeerNode | undefined;
  /** Nodes of the other region that are connected with this one now. */
  readonly connected: () => readonly PeerNode[];
  readonly denies: (fingerprint: string) => boolean;
}

type Listed = Awaited<ReturnType<Handlers["listPeers"]>>["items"][number];

/** Certificates that are remembered, at most: the oldest are forgotten. */
const rememberedMax = 256;

/** The certificates of the link that this node has seen since it started. A denied one stays, so that its node is known. */
export class PeerDirectory {
  readonly #options: PeerDirectoryOptions;
  readonly #seen = new Map<string, PeerNode>();

  constructor(options: PeerDirectoryOptions) {
    this.#options = options;
  }

  /** Remembers the nodes that are connected now; called often. */
  look(): void {
    for (const peer of this.#options.connected()) {
      this.#seen.delete(peer.fingerprint);
      this.#seen.set(peer.fingerprint, peer);
    }
    for (const fingerprint of this.#seen.keys()) {
      if (this.#seen.size <= rememberedMax) break;
      this.#seen.delete(fingerprint);
    }
  }

  /** The node of a certificate, as `NODE of region REGION`. */
  nameOf(fingerprint: string): string | undefined {
    this.look();
    const own = this.#options.own();
    const found = own?.fingerprint === fingerprint ? own : this.#seen.get(fingerprint);
    return found && `${found.node} of region ${found.region}`;
  }

  /** By region and node. */
  list(): readonly Listed[] {
    this.look();
    const { own, connected, denies } = this.#options;
    const now = new Set(connected().map(({ fingerprint }) => fingerprint));
    const mine = own();
    const all = [...(mine === undefined ? [] : [mine]), ...this.#seen.values()];
    return all
      .map(({ region, node, fingerprint, endsMs }) => ({
        ...{ region, node, fingerprint },
        notAfter: new Date(endsMs).toISOString(),
        state: denies(fingerprint)
          ? ("denied" as const)
          : fingerprint === mine?.fingerprint
            ? ("own" as const)
            : now.has(fingerprint)
              ? ("connected" as const)
              : ("gone" as const),
      }))
      .toSorted((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
  }
}

function placeOf({ region, node, fingerprint }: Listed): string {
  return `${region} ${node} ${fingerprint}`;
}

/** The route of the link's certificates. */
export function peerHandlers(directory: PeerDirectory): Pick<Handlers, "listPeers"> {
  return { listPeers: async () => ({ items: [...directory.list()] }) };
}
