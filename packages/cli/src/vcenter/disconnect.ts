import { type AdminClient, AdminProblem } from "@holdfast/admin";
import { fingerprintOf } from "@holdfast/server/certificates";
import { OperatorError } from "@holdfast/server/operator-error";
import { ask, canAsk } from "../terminal/ask.ts";
import { Failure, reasonOf } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { inventoryOf } from "./inventory.ts";
import { type KeyProvider, KeyProviders } from "./key-provider.ts";
import type { Vcenter } from "./vi-json.ts";

/** The instance that lets vCenter in. */
interface Access {
  readonly client: AdminClient;
  /** The instance's name. */
  readonly instance: string;
}

/** A certificate of an instance. */
interface Certificate {
  readonly id: string;
  readonly name: string;
}

/** Removes a provider that nothing uses; with `access` also the certificate that it shows, from the instance. */
export async function disconnect(
  vcenter: Vcenter,
  given: {
    readonly provider: string;
    readonly confirm?: string;
    readonly dryRun: boolean;
    readonly access: Access | undefined;
  },
): Promise<void> {
  const { provider, confirm, dryRun, access } = given;
  const providers = new KeyProviders(vcenter);
  const known = await providers.find(provider);
  if (known === undefined) {
    say(`nothing to do: this vCenter has no key provider ${provider}`);
    return;
  }
  refuseDefault(known);
  await refuseInUse(vcenter, provider);
  // vCenter forgets it with the provider.
  const certificate = access && (await certificateOf(providers, provider, access));
  say(...known.servers.map(({ name }) => `remove key server ${name} from provider ${provider}`));
  if (access !== undefined) say(deletionText(access, certificate));
  if (dryRun) return;
  await confirmed(provider, confirm);
  for (const server of known.servers) {
    await providers.remove(provider, server);
    say(`done: remove key server ${server.name} from provider ${provider}`);
  }
  if (access === undefined) {
    say(
      "vCenter's certificate still gives access to the instance: delete it with `holdfast certificate delete` (`connect` names it vcenter-HOST-…), or give --instance next time",
    );
  } else if (certificate !== undefined) {
    await deleteCertificate(access, certificate);
  }
}

/** The certificate that vCenter shows for a provider, as the instance has it; undefined if it does not have it. */
async function certificateOf(
  providers: KeyProviders,
  provider: string,
  { client, instance }: Access,
): Promise<Certificate | undefined> {
  const shown = await providers.clientCertificate(provider);
  if (shown === undefined) return undefined;
  const params = { instance, certificate: fingerprintOf(shown) };
  try {
    return await client.call<"readCertificate">("readCertificate", { params });
  } catch (error) {
    if (!(error instanceof AdminProblem) || error.code !== "notFound") throw error;
    // Throws if it is the instance that is not there.
    await client.call("readInstance", { params: { instance } });
    return undefined;
  }
}

function deletionText({ instance }: Access, certificate: Certificate | undefined): string {
  return certificate === undefined
    ? `instance ${instance} does not have the certificate that vCenter shows for this provider: none is deleted`
    : `delete certificate ${certificate.name} of instance ${instance}: who has it loses access`;
}

async function deleteCertificate(
  { client, instance }: Access,
  { id, name }: Certificate,
): Promise<void> {
  try {
    await client.call("deleteCertificate", { params: { instance, certificate: id } });
  } catch (error) {
    throw new OperatorError(
      `the provider is removed, and certificate ${name} still gives access (${reasonOf(error)}): give \`holdfast certificate delete ${instance} ${name}\``,
      "again",
    );
  }
  say(`done: delete certificate ${name} of instance ${instance}`);
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
      "failed",
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
