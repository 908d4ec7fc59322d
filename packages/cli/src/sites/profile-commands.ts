import { resolve } from "node:path";
import { AdminClient } from "@holdfast/admin";
import type { Command } from "commander";
import { Failure, readCertificate, reasonOf } from "../terminal/failure.ts";
import { complain, say } from "../terminal/lines.ts";
import { sayJson } from "../terminal/output.ts";
import { type Profiles, readProfiles, writeProfiles } from "./profiles.ts";
import { collectUrl, tokenIn } from "./site.ts";

interface AddOptions {
  readonly url: readonly string[];
  readonly ca?: string;
  readonly tokenFile: string;
  readonly force?: true;
  readonly test: boolean;
}

/** `holdfast profile …`: named sites, for --profile. */
export function addProfileCommands(program: Command): void {
  const parent = program.command("profile").summary("named sites, for --profile");
  parent
    .command("add")
    .summary("add a site, once its nodes answer; the first one is used from then on")
    .argument("<name>")
    .requiredOption(
      "--url <https://host:port>",
      "a node's admin address; once for each node",
      collectUrl,
    )
    .option("--ca <file>", "authority of the nodes' admin certificates, PEM")
    .requiredOption("--token-file <file>", "file with the token; each command reads it")
    .option("--force", "replace a site of that name")
    .option("--no-test", "do not check that the nodes answer")
    .action(add);
  parent
    .command("use")
    .summary("use this site when a command names no other")
    .argument("<name>")
    .action((name: string) => {
      const all = readProfiles();
      known(all, name);
      writeProfiles({ ...all, current: name });
      say(`profile ${name} is used from now on`);
    });
  parent
    .command("remove")
    .summary("forget a site")
    .argument("<name>")
    .action((name: string) => {
      const all = readProfiles();
      known(all, name);
      const { [name]: _gone, ...profiles } = all.profiles;
      writeProfiles({ profiles, ...(all.current === name ? {} : { current: all.current }) });
      say(`profile ${name} is forgotten`);
    });
  parent
    .command("list")
    .summary("list the sites; never their tokens")
    .option("--json", "print JSON")
    .action(({ json }: { readonly json?: true }) => {
      const { current, profiles } = readProfiles();
      const rows = Object.entries(profiles).map(([name, { url }]) => ({
        name,
        url,
        used: name === current,
      }));
      if (json === true) sayJson(rows);
      else
        for (const { name, url, used } of rows)
          say(`${used ? "*" : " "} ${name}  ${url.join(" ")}`);
      if (rows.length === 0 && json !== true) complain("no profiles");
    });
}

async function add(name: string, options: AddOptions): Promise<void> {
  const { url, ca, tokenFile, force, test } = options;
  const all = readProfiles();
  if (all.profiles[name] !== undefined && force !== true) {
    throw new Failure(`${name}: the profile exists already; give --force to replace it`);
  }
  // Absolute: the profile is used from any folder.
  const made = {
    url: [...url],
    tokenFile: resolve(tokenFile),
    ...(ca === undefined ? {} : { ca: resolve(ca) }),
  };
  const given = {
    token: tokenIn(made.tokenFile),
    ...(made.ca === undefined ? {} : { ca: readCertificate("--ca", made.ca) }),
  };
  if (test) await askEach(url, given);
  writeProfiles({ current: all.current ?? name, profiles: { ...all.profiles, [name]: made } });
  say(`profile ${name} is stored`);
}

/** Asks every node whose token this is; throws if no node answers. */
async function askEach(
  urls: readonly string[],
  given: { readonly token: string; readonly ca?: string },
): Promise<void> {
  const answers = await Promise.allSettled(
    urls.map(async (url) => {
      await using client = new AdminClient({ urls: [url], ...given });
      return await client.call("whoAmI", {});
    }),
  );
  const faults = answers.flatMap((one) =>
    one.status === "rejected" ? [one.reason as unknown] : [],
  );
  if (faults.length === urls.length) throw faults[0];
  for (const [at, answer] of answers.entries()) {
    if (answer.status === "fulfilled") {
      const { node, region, name, roles } = answer.value;
      say(
        `${urls[at]}: node ${node} of region ${region}; the token is ${name}, ${roles.join(", ")}`,
      );
    } else complain(`${urls[at]} does not answer: ${reasonOf(answer.reason)}`);
  }
}

function known({ profiles }: Profiles, name: string): void {
  if (profiles[name] === undefined) throw new Failure(`${name}: profile not found`);
}
