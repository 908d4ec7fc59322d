import type { AdminClient } from "@holdfast/admin";
import type { Command } from "commander";
import { addSiteOptions, type SiteOptions, withAdmin } from "../sites/site.ts";
import { Failure } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { sayJson } from "../terminal/output.ts";
import { connect } from "./connect.ts";
import { disconnect } from "./disconnect.ts";
import { addInventoryCommands } from "./inventory-commands.ts";
import { KeyProviders, namesOf, type ProviderStatus, serverText } from "./key-provider.ts";
import { addVcenterSite, type VcenterSite, withVcenter } from "./vcenter-site.ts";

interface Disconnect extends VcenterSite, SiteOptions {
  readonly provider: string;
  readonly instance?: string;
  readonly confirm?: string;
  readonly dryRun?: true;
}

interface Connect extends VcenterSite, SiteOptions {
  readonly instance: string;
  readonly provider?: string;
  readonly days: string;
  readonly default?: true;
  readonly approval?: string;
  readonly timeout: string;
  readonly dryRun?: true;
}

/** `holdfast vcenter`: key providers of a vCenter, over its VI JSON API. */
export function addVcenterCommands(program: Command): void {
  const parent = program
    .command("vcenter")
    .summary("connect a vCenter, and see how it is connected")
    .description("Set up and check the key provider in a vCenter (vSphere 8.0 U1 and later).");
  const connecting = parent
    .command("connect")
    .argument("<url>", "https:// address of the vCenter")
    .summary("make vCenter and an instance trust each other")
    .description(
      "Add a standard key provider with every endpoint of both regions to a vCenter, have both sides trust each other, and check the result at every server of both regions. Given again, it does what is left, and renews vCenter's certificate in its last 45 days. It prints what it will do first. A server that vCenter cannot reach is left out, and it ends with exit code 3.",
    )
    .requiredOption("--instance <name>", "the instance that gives vCenter its keys")
    .option(
      "--provider <name>",
      "the provider's name in vCenter, the same in every vCenter that shares keys; the instance's name unless given",
    )
    .option("--days <number>", "how long vCenter's certificate is valid", "365")
    .option("--default", "make it the default provider of this vCenter")
    .option("--approval <id>", "the approved request, if the approval policy asks for one")
    .option("--timeout <seconds>", "how long to wait until vCenter shows trust", "60")
    .option("--dry-run", "print what it would do, and change nothing");
  addVcenterSite(connecting);
  addSiteOptions(connecting);
  connecting.action((url: string, given: Connect) => runConnect(url, given));

  const showing = parent
    .command("status")
    .argument("<url>", "https:// address of the vCenter")
    .summary("show the key providers of a vCenter, in its own words")
    .description(
      "Show the key providers of a vCenter with their servers, certificates and trust, as vCenter sees them. It ends with exit code 1 if one is not green.",
    )
    .option("--provider <name>", "only this one")
    .option("--json", "print JSON");
  addVcenterSite(showing);
  showing.action(async (url: string, given: VcenterSite & { provider?: string; json?: true }) => {
    await withVcenter(url, given, async (vcenter) => {
      await showStatus(new KeyProviders(vcenter), given);
    });
  });

  addInventoryCommands(parent);

  const removing = parent
    .command("disconnect")
    .argument("<url>", "https:// address of the vCenter")
    .summary("remove a key provider from a vCenter")
    .description(
      "Remove a provider's key servers from a vCenter. It refuses while a machine or host that is registered there uses a key of it, or while it is the default.",
    )
    .requiredOption("--provider <name>", "the provider to remove")
    .option(
      "--instance <name>",
      "delete the certificate that vCenter shows for this provider from this instance, so that it gives no access any more",
    )
    .option("--confirm <name>", "the provider's name again, to remove it without a question")
    .option("--dry-run", "print what it would do, and change nothing");
  addVcenterSite(removing);
  addSiteOptions(removing);
  removing.action((url: string, given: Disconnect) => runDisconnect(url, given));
}

async function runDisconnect(url: string, given: Disconnect): Promise<void> {
  const { provider, instance, confirm } = given;
  const wanted = {
    ...{ provider, dryRun: given.dryRun === true },
    ...(confirm === undefined ? {} : { confirm }),
  };
  const run = async (client?: AdminClient) =>
    await withVcenter(url, given, async (vcenter) => {
      const access = client && instance !== undefined ? { client, instance } : undefined;
      await disconnect(vcenter, { ...wanted, access });
    });
  if (instance === undefined) await run();
  else await withAdmin(given, run);
}

async function runConnect(url: string, given: Connect): Promise<void> {
  const { instance, provider = instance, days } = given;
  if (!/^\d{1,4}$/.test(days) || Number(days) < 1 || Number(days) > 3650) {
    throw new Failure(`--days ${days}: give a number from 1 to 3650`);
  }
  if (!/^[1-9]\d{0,3}$/.test(given.timeout)) {
    throw new Failure(`--timeout ${given.timeout}: give a number of seconds from 1 to 9999`);
  }
  await withAdmin(given, async (client) => {
    // The service first: a wrong token must not cost a login at vCenter.
    const params = { instance };
    const { id, status, regions, users } = await client.call("readInstance", { params });
    if (status !== "Installed") {
      throw new Failure(`instance ${instance} is ${status}: wait until it is Installed`);
    }
    if (users > 0) {
      throw new Failure(
        `instance ${instance} has users, which this command does not give vCenter: add the provider in vCenter by hand`,
      );
    }
    const regionOf = new Map(
      Object.entries(regions).flatMap(([region, one]) =>
        one.endpoints.map((endpoint) => [endpoint, region] as const),
      ),
    );
    const endpoints = [...regionOf.keys()];
    if (endpoints.length === 0) {
      throw new Failure(
        `instance ${instance} has no endpoints: set kmip.endpoints in each node's configuration`,
      );
    }
    await withVcenter(url, given, async (vcenter) => {
      await connect(client, vcenter, {
        ...{ instance: id, provider, endpoints, regionOf, days: Number(days), nowMs: Date.now() },
        patienceMs: Number(given.timeout) * 1000,
        monotonicMs: () => performance.now(),
        isDefault: given.default === true,
        approval: given.approval,
        dryRun: given.dryRun === true,
      });
    });
  });
}

async function showStatus(
  providers: KeyProviders,
  { provider, json }: { readonly provider?: string; readonly json?: true },
): Promise<void> {
  const known = await providers.list();
  const chosen = known.filter(({ id }) => provider === undefined || id === provider);
  if (provider !== undefined && chosen.length === 0) {
    throw new Failure(
      `--provider ${provider}: this vCenter has no such key provider; it has ${namesOf(known)}`,
    );
  }
  const found: (ProviderStatus & { readonly isDefault: boolean })[] = [];
  for (const one of chosen) {
    found.push({ ...(await providers.status(one)), isDefault: one.isDefault });
  }
  if (json === true) sayJson(found as never);
  else say(...(found.length === 0 ? ["no key providers"] : found.flatMap(linesOf)));
  if (found.some(({ overall }) => overall !== "green")) process.exitCode = 1;
}

function linesOf(one: ProviderStatus & { readonly isDefault: boolean }): readonly string[] {
  const own = daysLeft("vCenter's certificate", one.clientCertificateEnds);
  return [
    `${one.id}: ${one.overall}${one.isDefault ? ", the default" : ""}${own}`,
    ...one.servers.map(
      (server) =>
        `  ${server.name}: ${serverText(server)}${daysLeft("its certificate", server.serverCertificateEnds)}`,
    ),
  ];
}

const dayMs = 86_400_000;

function daysLeft(what: string, ends: string | undefined): string {
  const left =
    ends === undefined ? Number.NaN : Math.floor((Date.parse(ends) - Date.now()) / dayMs);
  if (Number.isNaN(left)) return "";
  return left < 0 ? `; ${what} has expired` : `; ${what} ends in ${left} days`;
}
