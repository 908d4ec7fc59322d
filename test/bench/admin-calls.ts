import { type Contract, contract, type Route } from "@holdfast/admin";

/** A request of the management API. */
export interface AdminCall {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number>>;
  readonly body?: unknown;
  /** A dry run: nothing is written. */
  readonly dryRun?: true;
}

/** The objects that calls ask for. */
export interface AdminTargets {
  /** The instance with many keys. */
  readonly instance: string;
  /** Another instance, which calls may change in any way. */
  readonly spare: string;
  /** Identifiers of keys that may be revoked and destroyed. */
  readonly keys: readonly string[];
  /** PEM of a client certificate and of a signing request. */
  readonly certificate: string;
  readonly csr: string;
}

/** The heaviest calls of a route; `number` makes them differ from earlier calls. */
type Heaviest = (targets: AdminTargets, number: number) => readonly AdminCall[];

const pageMax = 1_000;
/** The largest body, unless a route sets another size. */
const bodyMax = 262_144;
const identifiersMax = 1_000_000;

const longText = "x".repeat(1_024);
const labels = Object.fromEntries(
  Array.from({ length: 32 }, (_, at) => [`label-${at}`, "x".repeat(256)]),
);
/** A PEM text of about the maximum size. */
const longPem = `-----BEGIN CERTIFICATE-----\n${"A".repeat(65_000)}\n-----END CERTIFICATE-----\n`;
const local = { regions: { a: { type: "local" } } };
const nobody = "nobody";

let inUse: readonly string[] | undefined;
/** The maximum number of identifiers in a call; made once. */
function identifiers(): readonly string[] {
  inUse ??= Array.from(
    { length: identifiersMax },
    (_, at) => `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`,
  );
  return inUse;
}

/** Routes whose heaviest calls are not just the largest page or the largest body. */
export const heaviest: Readonly<Partial<Record<keyof Contract, Heaviest>>> = {
  listKeys: () => [
    { query: { limit: pageMax } },
    { query: { limit: pageMax, createdBefore: "2001-01-01T00:00:00Z" } },
  ],
  listEvents: () => [
    { query: { limit: pageMax } },
    { query: { limit: pageMax, initiator: nobody } },
  ],
  createInstance: () => [
    { body: { description: longText, labels, rootOfTrust: local }, dryRun: true },
  ],
  updateInstance: ({ spare }, number) => [
    { params: { instance: spare }, body: { description: `${number} ${longText}`.slice(0, 1_024) } },
    { params: { instance: spare }, body: { labels } },
  ],
  deleteInstance: ({ spare }) => [
    { params: { instance: spare }, query: { force: "true", name: spare }, dryRun: true },
  ],
  retrieveRootKeys: () => [{ body: { root: { type: "local" } } }],
  configureRoot: ({ spare }) => [{ params: { instance: spare }, body: local, dryRun: true }],
  shredInstance: () => [{ body: { name: nobody } }],
  addCertificate: ({ spare, certificate }, number) => {
    const params = { instance: spare };
    const name = `heavy-${number}`;
    return [
      { params, body: { name, kind: "client", pem: certificate }, dryRun: true },
      { params, body: { name, kind: "client", pem: longPem } },
    ];
  },
  adoptCertificate: ({ spare }) => [
    { params: { instance: spare }, body: { name: nobody, fingerprint: "0".repeat(64) } },
  ],
  signRequest: ({ spare, csr }, number) => [
    { params: { instance: spare }, body: { name: `signed-${number}`, csr, days: 1 } },
  ],
  issuePair: ({ spare }, number) => [
    { params: { instance: spare }, body: { name: `issued-${number}`, days: 1 } },
  ],
  listCertificates: ({ spare }) => [{ params: { instance: spare }, query: { limit: pageMax } }],
  setUser: ({ spare }) => [
    { params: { instance: spare, user: "heavy" }, body: { password: longText } },
  ],
  deleteUser: ({ spare }) => [{ params: { instance: spare, user: "heavy" } }],
  revokeKey: ({ keys }, number) => [
    {
      params: { key: half(keys, 0)[number] ?? nobodysKey },
      body: { reason: "CessationOfOperation", message: "x".repeat(512) },
    },
  ],
  destroyKey: ({ keys }, number) => {
    const key = half(keys, 1)[number] ?? nobodysKey;
    return [{ params: { key }, query: { force: "true", confirm: key } }];
  },
  reportOrphans: () => [{ query: { limit: pageMax }, body: { inUse: identifiers() } }],
  createToken: ({ instance }, number) => {
    const instances = Array.from({ length: 100 }, () => instance);
    return [{ body: { name: `heavy-${number}`, roles: ["viewer"], instances, days: 1 } }];
  },
  revokeToken: (_, number) => [{ params: { token: `heavy-${number}` } }],
};

const nobodysKey = "00000000-0000-4000-8000-000000000000";

function half(keys: readonly string[], which: 0 | 1): readonly string[] {
  const middle = keys.length >> 1;
  return which === 0 ? keys.slice(0, middle) : keys.slice(middle);
}

/** An operation's heaviest calls, and one with the largest body; this includes new routes. */
export function callsOf(
  operation: keyof Contract,
  targets: AdminTargets,
  number: number,
): readonly AdminCall[] {
  const route: Route = contract[operation];
  const limit = route.query !== undefined && "limit" in route.query.shape;
  const own = heaviest[operation]?.(targets, number) ?? [
    limit ? { query: { limit: pageMax } } : {},
  ];
  const common = {
    instance: targets.instance,
    key: targets.keys[number % targets.keys.length] ?? nobodysKey,
  };
  const calls = own.map((call) => ({ ...call, params: { ...common, ...call.params } }));
  if (route.body === undefined || route.bodyMax !== undefined) return calls;
  const padding = "x".repeat(bodyMax - 100);
  return [...calls, { ...calls[0], params: calls[0]?.params ?? common, body: { padding } }];
}

/** Path and query of a call; parameters that it lacks get a value that does not exist. */
export function pathOf(operation: keyof Contract, { params = {}, query = {} }: AdminCall): string {
  const { path }: Route = contract[operation];
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(params[name] ?? nobody),
  );
  const pairs = Object.entries(query).map(
    ([name, value]) => `${name}=${encodeURIComponent(String(value))}`,
  );
  return pairs.length === 0 ? filled : `${filled}?${pairs.join("&")}`;
}
