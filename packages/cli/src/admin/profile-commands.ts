import type { Command } from "commander";
import { Failure } from "../failure.ts";
import { say, sayJson } from "../output.ts";
import { type Profiles, readProfiles, writeProfiles } from "./profiles.ts";

interface AddOptions {
  readonly url: readonly string[];
  readonly ca?: string;
  readonly tokenFile: string;
}

/** `holdfast profile …`: sites that are spoken to by name. */
export function addProfileCommands(program: Command): void {
  const parent = program.command("profile").summary("sites that are spoken to by name");
  parent
    .command("add")
    .summary("add a site, or replace it; the first one is used from then on")
    .argument("<name>")
    .requiredOption(
      "--url <https://host:port>",
      "a node's admin address; several times for several",
      (url: string, before: readonly string[] = []) => [...before, url],
    )
    .option("--ca <file>", "authority of the nodes' admin certificates, PEM")
    .requiredOption("--token-file <file>", "file with the token, read at each command")
    .action((name: string, { url, ca, tokenFile }: AddOptions) => {
      const all = readProfiles();
      const made = { url: [...url], tokenFile, ...(ca === undefined ? {} : { ca }) };
      save({ current: all.current ?? name, profiles: { ...all.profiles, [name]: made } });
      say(`profile ${name} is kept`);
    });
  parent
    .command("use")
    .summary("use a site where no other is named")
    .argument("<name>")
    .action((name: string) => {
      const all = readProfiles();
      known(all, name);
      save({ ...all, current: name });
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
      save({ profiles, ...(all.current === name ? {} : { current: all.current }) });
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
      if (rows.length === 0 && json !== true) process.stderr.write("holdfast: there are none\n");
    });
}

function known({ profiles }: Profiles, name: string): void {
  if (profiles[name] === undefined) throw new Failure(`${name}: there is no such profile`);
}

function save(all: Profiles): void {
  writeProfiles(all);
}
