import { setTimeout as sleep } from "node:timers/promises";
import { type AdminClient, AdminProblem, digestOf } from "@holdfast/admin";
import { fingerprintOf } from "@holdfast/server/certificates";
import { OperatorError } from "@holdfast/server/operator-error";
import { ask, canAsk } from "../terminal/ask.ts";
import { Failure } from "../terminal/failure.ts";
import { say } from "../terminal/output.ts";
import { type Step, stepsFor, stepText, type Wanted } from "./connect-plan.ts";
import { inventoryOf } from "./inventory.ts";
import {
  type KeyProvider,
  KeyProviders,
  type KmsServer,
  type ProviderStatus,
} from "./key-provider.ts";
import { certificateIn, type Vcenter } from "./vi-json.ts";

/** What is connected, and how. */
export interface Connecting extends Wanted {
  /** The instance's identifier. */
  readonly instance: string;
  /** How long vCenter's certificate is valid, days. */
  readonly days: number;
  /** The approved request, if the approval policy asks for one. */
  readonly approval: string | undefined;
  readonly dryRun: boolean;
}

/** vCenter looks again every few minutes by itself; a status that is asked for is looked for at once. */
const checkEveryMs = 2000;
const checksMax = 30;

/** Makes a vCenter and an instance trust each other; says each step. What is done already is not done again. */
export async function connect(
  client: AdminClient,
  vcenter: Vcenter,
  wanted: Connecting,
): Promise<void> {
  const providers = new KeyProviders(vcenter);
  const known = await providers.find(wanted.provider);
  const status = known === undefined ? undefined : await providers.status(known);
  const steps = stepsFor(wanted, known, status);
  const nothing = `nothing to do for provider ${wanted.provider}`;
  say(...(steps.length === 0 ? [nothing] : steps.map((step) => stepText(step, wanted.provider))));
  const { items: shown } = await client.call("listServerCertificates", {});
  const nodes = new Set(shown.map(({ region, node }) => `${region} ${node}`)).size;
  if (nodes > wanted.endpoints.length) {
    say(
      `note: the service has ${nodes} nodes and names ${wanted.endpoints.length} endpoints: unless load balancers are before the nodes, set kmip.endpoints in each node's configuration first`,
    );
  }
  if (wanted.dryRun) return;
  if (steps.length === 0) return await checked(providers, wanted.provider);
  const trusted = new Set(shown.map(({ sha256 }) => sha256));
  for (const [at, step] of steps.entries()) {
    try {
      await carryOut(step, { client, vcenter, providers, wanted, trusted });
    } catch (error) {
      say(`${at} of ${steps.length} steps are done; give the same command again to continue`);
      throw error;
    }
    say(`done: ${stepText(step, wanted.provider)}`);
  }
  await checked(providers, wanted.provider);
}

interface Work {
  readonly client: AdminClient;
  readonly vcenter: Vcenter;
  readonly providers: KeyProviders;
  readonly wanted: Connecting;
  /** SHA-256 of the certificates of this service's nodes. */
  readonly trusted: ReadonlySet<string>;
}

async function carryOut(step: Step, work: Work): Promise<void> {
  const { providers, wanted } = work;
  switch (step.does) {
    case "register":
      return await providers.register(wanted.provider, step.server);
    case "trust":
      return await trust(step.server, work);
    case "sign":
      return await sign(work);
    case "default":
      return await providers.markDefault(wanted.provider);
  }
}

/** Has vCenter trust the certificate that it sees, if a node of this service has that certificate. */
async function trust(server: KmsServer, { providers, wanted, trusted }: Work): Promise<void> {
  const place = `${server.name} at ${server.address}:${server.port}`;
  const pem = await providers.serverCertificate(wanted.provider, server);
  const certificate = certificateIn(pem);
  if (certificate === undefined) {
    throw new OperatorError(
      `vCenter cannot reach ${place}: open the port from vCenter, and see that its name can be resolved there`,
      "again",
    );
  }
  const shown = fingerprintOf(certificate);
  if (!trusted.has(shown)) {
    throw new Failure(
      `${place} shows vCenter the certificate ${shown}, which no node of this service has: something else answers at this address; nothing was trusted`,
    );
  }
  await providers.trust(wanted.provider, certificate.toString());
}

/**
 * Signs vCenter's request. The certificate's name and the call's idempotency key come from the request, so that a second
 * run after a failure gets the same certificate. A request whose certificate has ended or was deleted is not signed
 * again: vCenter makes a new one.
 */
async function sign(work: Work): Promise<void> {
  const { providers, wanted } = work;
  const pem =
    (await signed(await providers.signingRequest(wanted.provider), work)) ??
    (await signed(await providers.newSigningRequest(wanted.provider), work));
  if (pem === undefined)
    throw new Failure("the certificate was deleted while it was made: give the command again");
  await providers.useCertificate(wanted.provider, pem);
}

/** The certificate of a request, PEM; undefined if the one that it got earlier gives no access any more. */
async function signed(csr: string, { client, vcenter, wanted }: Work): Promise<string | undefined> {
  const params = { instance: wanted.instance };
  const digest = digestOf(csr);
  const { days } = wanted;
  const body = { name: nameOf(vcenter.host, `${digest.slice(0, 8)}-${days}`), csr, days };
  const { approval } = wanted;
  const options = {
    idempotencyKey: `vcenter-${digest}-${wanted.days}`,
    ...(approval && { approval }),
  };
  try {
    const made = await client.call<"signRequest">("signRequest", { params, body }, options);
    for await (const { id, expiry } of client.items("listCertificates", { params, query: {} })) {
      if (id === made.certificate.id && expiry !== "expired") return made.pem;
    }
    return undefined;
  } catch (error) {
    if (error instanceof AdminProblem && error.code === "madeAlready") return undefined;
    throw error;
  }
}

/** At most 64 characters: a long host name is cut. */
function nameOf(host: string, suffix: string): string {
  const plain = host.replaceAll(/[^A-Za-z0-9.-]/g, "-").slice(0, 40);
  return `vcenter-${plain}-${suffix}`;
}

/** Waits until vCenter itself says that both sides trust each other. */
async function checked(providers: KeyProviders, provider: string): Promise<void> {
  let status: ProviderStatus | undefined;
  for (let check = 0; check < checksMax; check++) {
    const known = await providers.find(provider);
    if (known === undefined) throw new Failure(`vCenter has no provider ${provider} any more`);
    status = await providers.status(known);
    if (status.overall === "green") {
      say(`${provider} is green: vCenter and every endpoint trust each other`);
      return;
    }
    await sleep(checkEveryMs);
  }
  const wrong = (status?.servers ?? []).filter((one) => one.status !== "green");
  const words = wrong.map(({ name, connectionStatus }) => `${name}: ${connectionStatus}`);
  throw new OperatorError(
    `all is set up, but vCenter does not call ${provider} green yet (${words.join("; ")}): look with \`holdfast vcenter status\` in five minutes, and at \`holdfast refused list\``,
    "again",
  );
}

/** Removes a provider that nothing uses. */
export async function disconnect(
  vcenter: Vcenter,
  given: {
    readonly provider: string;
    readonly confirm?: string;
    readonly dryRun: boolean;
  },
): Promise<void> {
  const { provider, confirm, dryRun } = given;
  const providers = new KeyProviders(vcenter);
  const known = await providers.find(provider);
  if (known === undefined) {
    say(`nothing to do: this vCenter has no key provider ${provider}`);
    return;
  }
  refuseDefault(known);
  await refuseInUse(vcenter, provider);
  say(...known.servers.map(({ name }) => `remove key server ${name} from provider ${provider}`));
  if (dryRun) return;
  await confirmed(provider, confirm);
  for (const server of known.servers) {
    await providers.remove(provider, server);
    say(`done: remove key server ${server.name} from provider ${provider}`);
  }
  say(
    "vCenter's certificate still gives access to the instance: delete it with `holdfast certificate delete`",
  );
}

/** vCenter removes a provider also while something needs it. */
async function refuseInUse(vcenter: Vcenter, provider: string): Promise<void> {
  const { uses, unread } = await inventoryOf(vcenter);
  const left = uses.filter((use) => use.provider === provider);
  const [first] = left;
  if (first !== undefined) {
    throw new OperatorError(
      `${provider}: ${left.length} things use it, such as ${first.kind} ${first.name}, and could not be opened without it: re-key them to another provider first (holdfast vcenter audit)`,
      "conflicting",
    );
  }
  if (unread.length > 0) {
    throw new OperatorError(
      `not everything could be read, so something may use ${provider}: ${unread[0]}; nothing was removed`,
    );
  }
}

function refuseDefault({ id, isDefault }: KeyProvider): void {
  if (!isDefault) return;
  throw new OperatorError(
    `${id} is the default provider of this vCenter: make another one the default first`,
    "conflicting",
  );
}

async function confirmed(provider: string, confirm: string | undefined): Promise<void> {
  const says =
    "machines that are not registered now, such as those in backups, will need this provider again.";
  if (confirm === undefined && !canAsk()) {
    throw new Failure(`${says} Give --confirm ${provider}`);
  }
  const typed = confirm ?? (await ask(`${says} Type the provider's name to continue:`));
  if (typed !== provider) throw new Failure("not the provider's name: nothing was removed");
}
