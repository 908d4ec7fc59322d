import { Failure } from "../terminal/failure.ts";
import {
  isReached,
  type KeyProvider,
  type KmsServer,
  type ProviderStatus,
} from "./key-provider.ts";

/** What `holdfast vcenter connect` is to reach. */
export interface Wanted {
  readonly provider: string;
  /** `HOST:PORT` of every endpoint of both regions. */
  readonly endpoints: readonly string[];
  readonly isDefault: boolean;
  /** How long a new certificate of vCenter is valid. */
  readonly days: number;
  readonly nowMs: number;
}

/** One change in vCenter. */
export type Step =
  | { readonly does: "register"; readonly server: KmsServer }
  | { readonly does: "trust"; readonly server: KmsServer }
  | { readonly does: "sign" }
  /** The days that the present certificate is still valid. */
  | { readonly does: "renew"; readonly left: number }
  | { readonly does: "default" };

/** Holdfast itself warns so many days before the end of a certificate, and vCenter at 30. */
const renewalDays = 45;
const dayMs = 86_400_000;

/**
 * The changes that vCenter needs, in their order; empty if all is as wanted. Throws if a provider of this name is
 * another one: its machines would lose their keys if it were changed.
 */
export function stepsFor(
  { provider, endpoints, isDefault, days, nowMs }: Wanted,
  known: KeyProvider | undefined,
  status: ProviderStatus | undefined,
): readonly Step[] {
  const addresses = endpoints.map(addressOf);
  if (known !== undefined) refuseForeign(provider, known, addresses);
  const registered = known?.servers ?? [];
  const taken = new Set(registered.map(({ name }) => name));
  const added = addresses
    .filter((one) => !registered.some((server) => isAt(server, one)))
    .map((one) => ({ name: freeName(taken), ...one }));
  const untrusted = registered.filter(
    ({ name }) => status?.servers.find((one) => one.name === name)?.trustsServer !== true,
  );
  const asked = status?.servers ?? [];
  // One that vCenter cannot reach says nothing: a new certificate would not help there.
  const isTrusted =
    asked.some((one) => one.isTrusted) && asked.every((one) => one.isTrusted || !isReached(one));
  const left = Math.floor((Date.parse(status?.clientCertificateEnds ?? "") - nowMs) / dayMs);
  // A new one that is valid for hardly longer would be renewed at each run.
  const endsSoon = left < renewalDays && 2 * left < days;
  return [
    ...added.map((server): Step => ({ does: "register", server })),
    ...[...untrusted, ...added].map((server): Step => ({ does: "trust", server })),
    ...(isTrusted ? [] : [{ does: "sign" } as const]),
    ...(isTrusted && endsSoon ? [{ does: "renew", left } as const] : []),
    ...(isDefault && known?.isDefault !== true ? [{ does: "default" } as const] : []),
  ];
}

const signing =
  "a certificate request, sign it with the instance's authority, and give vCenter the certificate";

/** What a step does, in words. */
export function stepText(step: Step, provider: string): string {
  switch (step.does) {
    case "register":
      return `add key server ${step.server.name} at ${step.server.address}:${step.server.port} to provider ${provider}`;
    case "trust":
      return `have vCenter trust the certificate of ${step.server.name}, if it is one of this service`;
    case "sign":
      return `have vCenter make ${signing}`;
    case "renew":
      return `renew vCenter's certificate, which ends in ${step.left} days: have vCenter make ${signing}`;
    case "default":
      return `make ${provider} the default provider of this vCenter`;
  }
}

type Address = Omit<KmsServer, "name">;

/** Host and port of an endpoint. */
export function addressOf(endpoint: string): Address {
  const [, host = "", port = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(endpoint) ?? [];
  return { address: host, port: Number(port) };
}

/** Whether a server is at an address. */
export function isAt(server: Address, { address, port }: Address): boolean {
  return server.port === port && server.address.toLowerCase() === address.toLowerCase();
}

function refuseForeign(provider: string, known: KeyProvider, addresses: readonly Address[]): void {
  if (known.managementType !== "vCenter") {
    throw new Failure(
      `${provider} is a provider of another kind (${known.managementType}) in this vCenter: give another name with --provider`,
    );
  }
  const foreign = known.servers.filter((server) => !addresses.some((one) => isAt(server, one)));
  if (foreign.length === 0) return;
  const names = foreign.map(({ name, address, port }) => `${name} at ${address}:${port}`);
  if (foreign.length < known.servers.length) {
    throw new Failure(
      `provider ${provider} has key servers of this instance, and others (${names.join(", ")}): if these are nodes that were removed, remove them from the provider (vSphere Client: the vCenter, Configure, Key Providers, ${provider}, Edit); its other servers have the same keys. Then give the command again`,
    );
  }
  throw new Failure(
    `provider ${provider} has key servers that are not of this instance (${names.join(", ")}): give another name with --provider, or remove these servers in vCenter if no machine uses them (after \`holdfast migrate\`, keep the name: docs/migrate.md)`,
  );
}

/** `kms-1` and so on, as the console's steps name them. */
function freeName(taken: Set<string>): string {
  for (let number = 1; ; number++) {
    const name = `kms-${number}`;
    if (taken.has(name)) continue;
    taken.add(name);
    return name;
  }
}
