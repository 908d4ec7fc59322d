import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { profilesFile, writeProfiles } from "./profiles.ts";
import { clientOptionsOf } from "./site.ts";

const lab = { url: ["https://lab.example:8443"], token: "token-of-lab" };
const bare = { url: ["https://bare.example:8443"] };
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-site-"));
  vi.stubEnv("XDG_CONFIG_HOME", folder);
  for (const name of ["URL", "TOKEN", "CA", "PROFILE"]) vi.stubEnv(`HOLDFAST_${name}`, "");
  writeProfiles({ current: "lab", profiles: { lab, bare } }, profilesFile());
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

test("--profile selects the whole site: HOLDFAST_URL, HOLDFAST_CA and HOLDFAST_TOKEN do not count", () => {
  vi.stubEnv("HOLDFAST_URL", "https://production.example:8443");
  vi.stubEnv("HOLDFAST_TOKEN", "token-of-production");
  vi.stubEnv("HOLDFAST_CA", join(folder, "none.pem"));
  expect(clientOptionsOf({ profile: "lab" })).toEqual({ urls: lab.url, token: lab.token });
});

test("--profile with a profile that has no token: the error says how to give one, and does not name HOLDFAST_TOKEN", () => {
  vi.stubEnv("HOLDFAST_TOKEN", "token-of-production");
  expect(() => clientOptionsOf({ profile: "bare" })).toThrow(
    /^--profile bare: the profile has no token: give --token-file, or replace it with `holdfast profile add bare --force`$/,
  );
});

test("the token of a profile is not sent to a site that the environment names", () => {
  expect(clientOptionsOf({})).toEqual({ urls: lab.url, token: lab.token });
  vi.stubEnv("HOLDFAST_URL", "https://production.example:8443");
  vi.stubEnv("HOLDFAST_PROFILE", "lab");
  expect(() => clientOptionsOf({})).toThrow("no token is given");
  vi.stubEnv("HOLDFAST_TOKEN", "token-of-production");
  expect(clientOptionsOf({})).toEqual({
    urls: ["https://production.example:8443"],
    token: "token-of-production",
  });
});
