import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";
import { Failure, reasonOf } from "../terminal/failure.ts";

const profile = z
  .object({
    url: z.array(z.string()).min(1),
    ca: z.string().optional(),
    token: z.string().optional(),
    tokenFile: z.string().optional(),
  })
  .strict();
const profiles = z
  .object({ current: z.string().optional(), profiles: z.record(z.string(), profile) })
  .strict();

/** A site: its nodes' admin addresses, their authority, and a token or the file that holds it. */
export type Profile = z.output<typeof profile>;

/** All sites of a user, and the one that commands use by default. */
export type Profiles = z.output<typeof profiles>;

/** The file of the profiles: `$XDG_CONFIG_HOME/holdfast/profiles.json`, mode 0600. */
export function profilesFile(): string {
  const home = process.env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config");
  return join(home, "holdfast", "profiles.json");
}

/** Reads the profiles; a missing file has no profiles. */
export function readProfiles(file = profilesFile()): Profiles {
  if (!existsSync(file)) return { profiles: {} };
  try {
    return profiles.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (error) {
    throw new Failure(`${file}: ${faultOf(error)}; correct or delete it`);
  }
}

/** Without the words of JSON's parser: they show what is around the fault, which may be a token. */
function faultOf(error: unknown): string {
  if (error instanceof z.ZodError) return "holds no profiles";
  return error instanceof SyntaxError ? "is not JSON" : reasonOf(error);
}

/** Writes the profiles atomically. */
export function writeProfiles(all: Profiles, file = profilesFile()): void {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, `${JSON.stringify(all, undefined, 2)}\n`, { mode: 0o600 });
    renameSync(draft, file);
  } catch (error) {
    throw new Failure(`${file}: cannot be written: ${reasonOf(error)}`);
  }
}
