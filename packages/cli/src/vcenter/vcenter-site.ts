import type { Command } from "commander";
import { collect } from "../admin/build.ts";
import { firstLine } from "../sites/root-option.ts";
import { askHidden, canAsk } from "../terminal/ask.ts";
import { Failure, readCertificate } from "../terminal/failure.ts";
import { Vcenter } from "./vi-json.ts";

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
      "vCenter's certificate itself, in place of an authority; once for each vCenter",
      collect,
    );
}

/** Runs `work` with a session at a vCenter. */
export async function withVcenter(
  url: string,
  given: VcenterSite,
  work: (vcenter: Vcenter) => Promise<void>,
): Promise<void> {
  if (!URL.canParse(url) || new URL(url).protocol !== "https:") {
    throw new Failure(`${url}: is not an address such as https://vcenter.example`);
  }
  const { user, vcenterCa, vcenterFingerprint } = given;
  const fingerprints = vcenterFingerprint?.map(fingerprintIn);
  const reached = {
    url,
    ...(vcenterCa === undefined ? {} : { ca: readCertificate("--vcenter-ca", vcenterCa) }),
    ...(fingerprints === undefined ? {} : { fingerprints }),
  };
  const password = await passwordOf(given);
  await using vcenter = await Vcenter.open(reached, { userName: user, password });
  await work(vcenter);
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
