import { AdminClient, type AdminClientOptions } from "@holdfast/admin";
import type { Command } from "commander";
import { Failure, readCertificate } from "../terminal/failure.ts";
import { findDevCluster, readDevSite } from "./dev-cluster.ts";
import { type Profile, readProfiles } from "./profiles.ts";
import { firstLine } from "./root-option.ts";

/** Options of every command of the management API. */
export interface SiteOptions {
  readonly profile?: string;
  readonly url?: readonly string[];
  readonly ca?: string;
  readonly tokenFile?: string;
  readonly dev?: string | true;
  readonly json?: true;
}

/** Adds those options to a command. */
export function addSiteOptions(command: Command): void {
  command
    .option("--profile <name>", "a site of `holdfast profile list` (HOLDFAST_PROFILE)")
    .option(
      "--url <https://host:port>",
      "a node's admin address (HOLDFAST_URL); once for each node",
      collectUrl,
    )
    .option("--ca <file>", "authority of the nodes' admin certificates, PEM (HOLDFAST_CA)")
    .option("--token-file <file>", "file with the token (HOLDFAST_TOKEN holds a token itself)")
    .option(
      "--dev [folder]",
      "a development cluster; by default the checkout's, if no other site is given",
    )
    .option("--json", "print JSON");
}

/** Runs `work` with a client of the site that the options, the environment or a profile name. */
export async function withAdmin<Result>(
  options: SiteOptions,
  work: (client: AdminClient) => Promise<Result>,
): Promise<Result> {
  await using client = new AdminClient(clientOptionsOf(options));
  return await work(client);
}

/** The site that the options, the environment or a profile name. */
export function clientOptionsOf(options: SiteOptions): AdminClientOptions {
  const { url, ca, token } = siteOf(options);
  return { urls: url, token, ...(ca === undefined ? {} : { ca }) };
}

interface Site {
  readonly url: readonly string[];
  readonly ca: string | undefined;
  readonly token: string;
}

/**
 * Options come before the environment, then the profile; without these, a development cluster. A profile that is named by
 * an option is all of the site: the environment may be of another one.
 */
function siteOf(options: SiteOptions): Site {
  if (options.dev !== undefined) return devSiteOf(options);
  const profile = profileOf(options);
  const around = options.profile === undefined ? environment : () => undefined;
  const urls = options.url ?? around("URL")?.split(",") ?? profile?.url;
  if (urls === undefined) return devSiteOf(options);
  const ca = options.ca ?? around("CA") ?? profile?.ca;
  return {
    url: urls,
    ca: ca === undefined ? undefined : readCertificate("--ca", ca),
    token: tokenOf(options, around("TOKEN"), profile),
  };
}

function devSiteOf({ dev, url, ca, tokenFile }: SiteOptions): Site {
  const path = typeof dev === "string" ? dev : findDevCluster(process.cwd());
  if (path === undefined) {
    throw new Failure(
      "no site is given and no development cluster runs here: give --url and --token-file, use `holdfast profile add`, or run `npm start`",
    );
  }
  const site = readDevSite(path);
  return {
    url: url ?? site.urls,
    ca: readCertificate("--ca", ca ?? site.ca),
    token: tokenIn(tokenFile ?? site.tokenFile),
  };
}

function profileOf({ profile, url }: SiteOptions): Profile | undefined {
  const all = readProfiles();
  // The token of another site is never sent to the one that is named.
  const elsewhere = url !== undefined || environment("URL") !== undefined;
  const name = profile ?? (elsewhere ? undefined : (environment("PROFILE") ?? all.current));
  if (name === undefined) return undefined;
  const found = all.profiles[name];
  if (found !== undefined) return found;
  const known = Object.keys(all.profiles).join(", ");
  throw new Failure(
    `--profile ${name}: profile not found; ${known === "" ? "add one with `holdfast profile add`" : `known are ${known}`}`,
  );
}

function tokenOf(
  { tokenFile, profile: named }: SiteOptions,
  given: string | undefined,
  profile: Profile | undefined,
): string {
  if (tokenFile !== undefined) return tokenIn(tokenFile);
  if (given !== undefined) return sendable("HOLDFAST_TOKEN", given);
  if (profile?.token !== undefined) return profile.token;
  if (profile?.tokenFile !== undefined) return tokenIn(profile.tokenFile);
  throw new Failure(
    named === undefined
      ? "no token is given: give --token-file, or set HOLDFAST_TOKEN"
      : `--profile ${named}: the profile has no token: give --token-file, or replace it with \`holdfast profile add ${named} --force\``,
  );
}

/** The token in a file. */
export function tokenIn(path: string): string {
  return sendable(`--token-file ${path}`, firstLine("--token-file", path));
}

/** A token is text that a header can carry; anything else is refused without showing it. */
function sendable(place: string, token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new Failure(
    `${place}: is not a token: it has spaces, or characters that are not ASCII; give the text that \`holdfast token create\` made, and nothing else`,
  );
}

function environment(name: string): string | undefined {
  const value = process.env[`HOLDFAST_${name}`];
  return value === "" ? undefined : value;
}

/** Reads `--url`, which may be given several times. */
export function collectUrl(text: string, before: readonly string[] = []): readonly string[] {
  if (!/^https:\/\/[^/\s]+\/?$/.test(text)) {
    throw new Failure(`--url ${text}: is not an address such as https://kms-1.example:8443`);
  }
  return [...before, text.replace(/\/$/, "")];
}
