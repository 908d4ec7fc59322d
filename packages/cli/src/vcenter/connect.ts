import type { X509Certificate } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type AdminClient, AdminProblem, digestOf } from "@holdfast/admin";
import { fingerprintOf } from "@holdfast/server/certificates";
import { OperatorError } from "@holdfast/server/operator-error";
import { Failure } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { addressOf, isAt, type Step, stepsFor, stepText, type Wanted } from "./connect-plan.ts";
import {
  isReached,
  KeyProviders,
  type KmsServer,
  type ServerStatus,
  serverText,
} from "./key-provider.ts";
import { certificateIn, type Vcenter } from "./vi-json.ts";

/** What is connected, and how. */
export interface Connecting extends Wanted {
  /** The instance's identifier. */
  readonly instance: string;
  /** The approved request, if the approval policy asks for one. */
  readonly approval: string | undefined;
  /** The region of each endpoint. */
  readonly regionOf: ReadonlyMap<string, string>;
  /** How long to wait until vCenter shows that both sides trust each other. */
  readonly patienceMs: number;
  readonly monotonicMs: () => number;
  readonly dryRun: boolean;
}

/** vCenter looks again every few minutes by itself; a status that is asked for is looked for at once. */
const checkEveryMs = 2000;
/** One that vCenter cannot reach is seldom back a moment later. */
const unreachedChecksMax = 5;

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
  if (steps.length === 0) return await checked(providers, wanted);
  const trusted = new Set(shown.map(({ sha256 }) => sha256));
  let left = 0;
  for (const [at, step] of steps.entries()) {
    let why: string | undefined;
    try {
      // Machines get keys of the default provider: it must be complete.
      const waits = left > 0 && step.does === "default";
      why = waits
        ? "not every server is trusted yet"
        : await carryOut(step, { client, vcenter, providers, wanted, trusted });
    } catch (error) {
      say(
        `${at - left} of ${steps.length} steps are done; give the same command again to continue`,
      );
      throw error;
    }
    const text = stepText(step, wanted.provider);
    if (why !== undefined) left += 1;
    say(why === undefined ? `done: ${text}` : `left for the next run: ${text} (${why})`);
  }
  await checked(providers, wanted);
}

interface Work {
  readonly client: AdminClient;
  readonly vcenter: Vcenter;
  readonly providers: KeyProviders;
  readonly wanted: Connecting;
  /** SHA-256 of the certificates of this service's nodes. */
  readonly trusted: ReadonlySet<string>;
}

/** Does a step; answers why it has to be left, if it has. */
async function carryOut(step: Step, work: Work): Promise<string | undefined> {
  const { providers, wanted } = work;
  switch (step.does) {
    case "register":
      await providers.register(wanted.provider, step.server);
      return undefined;
    case "trust":
      return await trust(step.server, work);
    case "sign":
      await sign(work);
      return undefined;
    case "renew":
      await renew(work);
      return undefined;
    case "default":
      await providers.markDefault(wanted.provider);
      return undefined;
  }
}

/**
 * Has vCenter trust the certificate that it sees, if a node of this service has that certificate. A server that vCenter
 * cannot reach is left: a region that is down must not keep the other one from being connected.
 */
async function trust(
  server: KmsServer,
  { providers, wanted, trusted }: Work,
): Promise<string | undefined> {
  const place = `${server.name} at ${server.address}:${server.port}`;
  const pem = await providers.serverCertificate(wanted.provider, server);
  const certificate = certificateIn(pem);
  if (certificate === undefined) {
    return `vCenter cannot reach ${place}: see that the node runs, open the port from vCenter, and see that its name can be resolved there`;
  }
  const shown = fingerprintOf(certificate);
  if (!trusted.has(shown)) {
    throw new Failure(
      `${place} shows vCenter the certificate ${shown}, which no node of this service has: something else answers at this address; nothing was trusted`,
    );
  }
  await providers.trust(wanted.provider, certificate.toString());
  return undefined;
}

/**
 * Signs vCenter's request. The certificate's name and the call's idempotency key come from the request, so that a second
 * run after a failure gets the same certificate. A request whose certificate has ended or was deleted is not signed
 * again: vCenter makes a new one.
 */
async function sign(work: Work): Promise<void> {
  await certify(await work.providers.signingRequest(work.wanted.provider), work);
}

/**
 * Has vCenter make a new key, and signs its request: the old request has the old certificate. A request that an earlier run
 * made, and could not sign or give back, is used.
 */
async function renew(work: Work): Promise<void> {
  const { providers, wanted } = work;
  const last = await providers.signingRequest(wanted.provider);
  const shown = await providers.clientCertificate(wanted.provider);
  const waits = shown !== undefined && !isOf(last, shown);
  await certify(waits ? last : undefined, work);
  say(
    "the certificate before gives access until its end: delete it with `holdfast certificate delete` once the provider is green",
  );
}

/**
 * Gives vCenter the certificate of its signing request. Without a request, or if its certificate gives no access any more,
 * vCenter makes a new request first.
 */
async function certify(csr: string | undefined, work: Work): Promise<void> {
  const { providers, wanted } = work;
  const pem =
    (csr === undefined ? undefined : await signed(csr, work)) ??
    (await signed(await providers.newSigningRequest(wanted.provider), work));
  if (pem === undefined) {
    throw new Failure("the certificate was deleted while it was made: give the command again");
  }
  await providers.useCertificate(wanted.provider, pem);
}

/** Whether a signing request has the key of a certificate. */
function isOf(csr: string, { publicKey }: X509Certificate): boolean {
  const request = Buffer.from(csr.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  return request.includes(publicKey.export({ type: "spki", format: "der" }));
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

/** An endpoint as vCenter sees it. */
interface Seen {
  /** Such as `region a: kms-1 at kms.example:5696`. */
  readonly place: string;
  /** Undefined while vCenter has no such server. */
  readonly server: ServerStatus | undefined;
}

/** Waits until vCenter itself says that it and every server of every region trust each other; shows each. */
async function checked(providers: KeyProviders, wanted: Connecting): Promise<void> {
  const { provider, patienceMs, monotonicMs } = wanted;
  const untilMs = monotonicMs() + patienceMs;
  for (let checks = 1; ; checks++) {
    const { overall, seen } = await lookAt(providers, wanted);
    const open = seen.filter(({ server }) => !isDone(server));
    const isGreen = open.length === 0 && isWorking(overall);
    const isReachable = open.some(({ server }) => server !== undefined && isReached(server));
    const waits = monotonicMs() < untilMs && (isReachable || checks < unreachedChecksMax);
    if (!isGreen && waits) {
      await sleep(checkEveryMs);
      continue;
    }
    say(...seen.map(seenText));
    if (isGreen) {
      say(`${provider} is ${overall}: vCenter and every server of every region trust each other`);
      return;
    }
    const which = open.map(({ place }) => place).join("; ") || `${provider} itself is ${overall}`;
    throw new OperatorError(
      `not complete: vCenter and these servers do not trust each other yet: ${which}; give the same command again once vCenter reaches them, and look at \`holdfast refused list\` if it does`,
      "again",
    );
  }
}

async function lookAt(
  providers: KeyProviders,
  { provider, endpoints, regionOf }: Connecting,
): Promise<{ readonly overall: string; readonly seen: readonly Seen[] }> {
  const known = await providers.find(provider);
  if (known === undefined) throw new Failure(`vCenter has no provider ${provider} any more`);
  const { overall, servers } = await providers.status(known);
  const seen = endpoints.map((endpoint): Seen => {
    const registered = known.servers.find((one) => isAt(one, addressOf(endpoint)));
    const region = regionOf.get(endpoint) ?? "";
    return {
      place: `region ${region}: ${registered?.name ?? "no server"} at ${endpoint}`,
      server: servers.find(({ name }) => name === registered?.name),
    };
  });
  return { overall, seen };
}

/** Yellow is a warning, such as a certificate that ends soon. */
function isWorking(status: string): boolean {
  return status === "green" || status === "yellow";
}

function isDone(server: ServerStatus | undefined): boolean {
  return server?.trustsServer === true && server.isTrusted && isWorking(server.status);
}

function seenText({ place, server }: Seen): string {
  return `${place}: ${server === undefined ? "vCenter does not show it" : serverText(server)}`;
}
