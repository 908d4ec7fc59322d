import type { Command } from "commander";
import { collect } from "../admin/build.ts";
import { firstLine } from "../sites/root-option.ts";
import { askHidden, canAsk } from "../terminal/ask.ts";
import { Failure, readCertificate } from "../terminal/failure.ts";
import { Vcenter, type VcenterOptions } from "./vi-json.ts";

/** Options of every command that asks a vCenter. */
export interface VcenterSite {
  readonly user: string;
  readonly passwordFile?: string;
  readonly vcenterCa?: string;
  readonly vcenterFingerprint?: readonly string[];
}

/** Adds the options that say how vCenter is reached, and by whom. */
export function addVcenterSite(command: Command): void {
  command
    .requiredOption("--user <name>", "vCenter user, such as administrator@vsphere.local")
    .option(
      "--password-file <file>",
      "its password, on the first line (HOLDFAST_VCENTER_PASSWORD holds a password itself)",
    )
    .option("--vcenter-ca <file>", "authority that issued vCenter's certificate, PEM")
    .option(
      "--vcenter-fingerprint <sha256>",
      "vCenter's certificate itself, in place of an authority; once for each vCenter, in the order of their addresses",
      collect,
    );
}

/** Runs `work` with a session at a vCenter. */
export async function withVcenter(
  url: string,
  given: VcenterSite,
  work: (vcenter: Vcenter) => Promise<void>,
): Promise<void> {
  await withVcenters([url], given, work);
}

/** Runs `work` with a session at each vCenter, one after the other. */
export async function withVcenters(
  urls: readonly string[],
  given: VcenterSite,
  work: (vcenter: Vcenter) => Promise<void>,
): Promise<void> {
  const all = reachedOf(urls, given);
  for (const reached of all) {
    const password = await passwordOf(given);
    await using vcenter = await Vcenter.open(reached, { userName: given.user, password });
    await work(vcenter);
  }
}

/** How each vCenter is reached. A fingerprint is that of one vCenter: no other one may show this certificate in its place. */
export function reachedOf(
  urls: readonly string[],
  { vcenterCa, vcenterFingerprint }: VcenterSite,
): readonly VcenterOptions[] {
  const wrong = urls.find((url) => !URL.canParse(url) || new URL(url).protocol !== "https:");
  if (wrong !== undefined) {
    throw new Failure(`${wrong}: is not an address such as https://vcenter.example`);
  }
  const fingerprints = vcenterFingerprint?.map(fingerprintIn);
  if (fingerprints !== undefined && fingerprints.length !== urls.length) {
    throw new Failure(
      `--vcenter-fingerprint: give it once for each vCenter, in the order of their addresses (addresses: ${urls.length}, fingerprints: ${fingerprints.length})`,
    );
  }
  const ca = vcenterCa === undefined ? {} : { ca: readCertificate("--vcenter-ca", vcenterCa) };
  return urls.map((url, at) => {
    const fingerprint = fingerprints?.[at];
    return { url, ...ca, ...(fingerprint === undefined ? {} : { fingerprint }) };
  });
}

/** A fingerprint as people give it, with or without colons. */
function fingerprintIn(given: string): string {
  const fingerprint = given.replaceAll(":", "").toLowerCase();
  if (/^[0-9a-f]{64}$/.test(fingerprint)) return fingerprint;
  throw new Failure(
    `--vcenter-fingerprint ${given}: give the SHA-256 of the certificate: 64 hexadecimal digits, with or without colons`,
  );
}

async function passwordOf({ user, passwordFile }: VcenterSite): Promise<string> {
  if (passwordFile !== undefined) return firstLine("--password-file", passwordFile);
  const given = process.env["HOLDFAST_VCENTER_PASSWORD"];
  if (given !== undefined && given !== "") return given;
  if (!canAsk()) {
    throw new Failure(
      "no password for vCenter: give --password-file, or set HOLDFAST_VCENTER_PASSWORD",
    );
  }
  return await askHidden(`vCenter password of ${user}`);
}
