import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { packagesAreThere } from "../../scripts/setup/packages.mjs";

const root = join(import.meta.dirname, "../..");
const node = process.execPath;

/** A separate checkout, in which only the programs below are on PATH. */
let checkout: string;

beforeEach(() => {
  checkout = mkdtempSync(join(tmpdir(), "holdfast-setup-"));
  cpSync(join(root, "scripts"), join(checkout, "scripts"), { recursive: true });
  mkdirSync(join(checkout, "packages"));
  mkdirSync(join(checkout, "path"));
  writeFileSync(join(checkout, "package.json"), "{}");
  writeFileSync(join(checkout, "pnpm-lock.yaml"), "");
});

afterEach(() => {
  rmSync(checkout, { recursive: true, force: true });
});

function program(name: string, script: string): void {
  const file = join(checkout, "path", name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

function setUp(...nodeArgs: string[]): { code: number | null; lines: string[] } {
  const script = nodeArgs.length > 0 ? nodeArgs : ["scripts/setup.mjs"];
  const { status, stdout, stderr } = spawnSync(node, script, {
    cwd: checkout,
    env: { PATH: join(checkout, "path") },
    encoding: "utf8",
  });
  expect(stdout).toBe("");
  return { code: status, lines: stderr.trim().split("\n") };
}

/** An `npm` that installs a `pnpm` which runs this script. */
function npmThatInstalls(script: string): void {
  program(
    "npm",
    `case "$1" in ci) ;; *) exit 1 ;; esac
     /bin/mkdir -p node_modules/pnpm node_modules/@pnpm/exe.linux-${process.arch}
     /bin/cp ${join(checkout, "path/pnpm")} node_modules/@pnpm/exe.linux-${process.arch}/pnpm
     echo {} >node_modules/.package-lock.json`,
  );
  program("pnpm", script);
}

/** An `npm` whose `pnpm` installs only a Node, and records its calls. */
function pnpmThatInstalls(): void {
  const bin = `node_modules/node-linux-${process.arch}/bin`;
  npmThatInstalls(`echo "$@" >>calls; /bin/mkdir -p ${bin}; /bin/ln -sf ${node} ${bin}/node`);
}

function redis(version: string): void {
  program("redis-server", `echo "Redis server v=${version} sha=00000000:0 malloc=libc bits=64"`);
  program("redis-sentinel", "");
}

function calls(): number {
  const file = join(checkout, "calls");
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n").length : 0;
}

describe("a missing part is reported in one line with how to get it, and the exit code is 1:", () => {
  test("a Node that is too old", () => {
    const pretend = `Object.defineProperty(process.versions, "node", { value: "18.20.4" });`;
    const { code, lines } = setUp("-e", `${pretend} import("./scripts/setup.mjs")`);
    expect(lines).toEqual([
      "set-up: Node 20 or newer is needed, this is 18.20.4: install a newer Node and try again",
    ]);
    expect(code).toBe(1);
  });

  test("npm", () => {
    expect(setUp()).toEqual({
      code: 1,
      lines: [
        "set-up: installing packages (the first time this takes up to a minute)",
        "set-up: npm is not on PATH: install npm (Debian: apt-get install npm)",
      ],
    });
  });

  test("the network", () => {
    program("npm", `echo "npm error code ENOTFOUND"; echo "    at Socket.emit"; exit 1`);
    const { code, lines } = setUp();
    expect(lines.at(-1)).toBe(
      "set-up: pnpm could not be installed: npm error code ENOTFOUND (see .holdfast/log/pnpm.log)",
    );
    expect([code, lines.length]).toEqual([1, 2]);
  });

  test("the network, after pnpm", () => {
    npmThatInstalls(`echo "ERR_PNPM_META_FETCH_FAIL  GET: connect ECONNREFUSED"; exit 1`);
    const { code, lines } = setUp();
    expect(lines.at(-1)).toBe(
      "set-up: packages could not be installed: ERR_PNPM_META_FETCH_FAIL  GET: connect ECONNREFUSED (see .holdfast/log/packages.log)",
    );
    expect([code, lines.length]).toEqual([1, 2]);
  });

  test("Node 24 after an install that left it out", () => {
    npmThatInstalls("");
    const { code, lines } = setUp();
    expect(lines.at(-1)).toMatch(/^set-up: the package with Node 24 was not installed/);
    expect(code).toBe(1);
  });

  test("Redis, without apt", () => {
    pnpmThatInstalls();
    const { code, lines } = setUp();
    expect(lines.at(-1)).toMatch(/^set-up: Redis 7\.2 or newer is needed: put .* on PATH$/);
    expect(code).toBe(1);
  });

  test("a Redis without WAITAOF, where apt cannot help", () => {
    pnpmThatInstalls();
    redis("7.0.15");
    program("apt-get", `echo "E: Unable to fetch"; exit 100`);
    const { code, lines } = setUp();
    expect(lines.at(-1)).toMatch(
      /^set-up: Redis 7\.2 .*; run: sudo apt-get update && sudo apt-get/,
    );
    expect(code).toBe(1);
  });

  test("a Sentinel", () => {
    pnpmThatInstalls();
    redis("8.0.2");
    rmSync(join(checkout, "path/redis-sentinel"));
    expect(setUp().code).toBe(1);
  });
});

describe("packages are installed once", () => {
  beforeEach(() => {
    pnpmThatInstalls();
    redis("7.10.1");
  });

  test("and a second run prints and does nothing", () => {
    expect(setUp().code).toBe(0);
    expect(readFileSync(join(checkout, "calls"), "utf8")).toBe("install --frozen-lockfile\n");
    expect(setUp()).toEqual({ code: 0, lines: [""] });
    expect(calls()).toBe(1);
  });

  test.each([
    ["the lock file", () => writeFileSync(join(checkout, "pnpm-lock.yaml"), "changed")],
    ["a manifest", () => writeFileSync(join(checkout, "package.json"), `{ "private": true }`)],
    ["node_modules", () => rmSync(join(checkout, "node_modules"), { recursive: true })],
  ])("until %s changes", (_name, change) => {
    setUp();
    change();
    expect(setUp().code).toBe(0);
    expect(calls()).toBe(2);
  });

  test("even if a killed set-up left its lock", () => {
    mkdirSync(join(checkout, ".holdfast"));
    // Above the largest process ID of Linux.
    writeFileSync(join(checkout, ".holdfast/setup.lock"), "4194305");
    expect(setUp().code).toBe(0);
    expect(readdirSync(join(checkout, ".holdfast"))).not.toContain("setup.lock");
  });
});

describe("a program that Debian installs as a service", () => {
  const launcher = () => join(checkout, ".holdfast/tools/bin/prometheus");

  beforeEach(() => {
    pnpmThatInstalls();
    redis("8.0.2");
    const download = "for file in prometheus promtool libmissing1; do : >$file.deb; done";
    program(
      "apt-get",
      `echo "$@" >>${checkout}/apt
       case "$*" in
         *--simulate*) echo "Inst promtool (1)"; echo "Inst libmissing1 (2)"; echo "Inst libjs-jquery (3)" ;;
         *download*) ${download} ;;
         *) exit 100 ;;
       esac`,
    );
    const unpacked = `printf '#!/bin/sh\\necho "$0 $LD_LIBRARY_PATH"\\n' >"$3/usr/bin/prometheus"`;
    program(
      "dpkg-deb",
      `/bin/mkdir -p "$3/usr/bin" "$3/usr/lib/x86_64-linux-gnu"
       ${unpacked}
       /bin/chmod 755 "$3/usr/bin/prometheus"`,
    );
  });

  test("is unpacked, not installed, with its missing libraries, and needs no root", () => {
    expect(setUp("scripts/setup.mjs", "--for=dashboards").code).toBe(0);
    const asked = readFileSync(join(checkout, "apt"), "utf8").trim().split("\n");
    expect(asked.filter((line) => !line.includes("--simulate"))).toEqual([
      "-qq download prometheus promtool libmissing1",
    ]);
    const { stdout } = spawnSync(launcher(), { encoding: "utf8" });
    const [named = "", libraries] = stdout.trim().split(" ");
    expect(named).toMatch(/\/prometheus$/);
    expect(libraries).toBe(join(checkout, ".holdfast/tools/files/usr/lib/x86_64-linux-gnu"));
  });

  test("is downloaded only once", () => {
    setUp("scripts/setup.mjs", "--for=dashboards");
    rmSync(join(checkout, "apt"));
    expect(setUp("scripts/setup.mjs", "--for=dashboards")).toEqual({ code: 0, lines: [""] });
    expect(existsSync(join(checkout, "apt"))).toBe(false);
  });

  test("is not downloaded if it is installed", () => {
    program("prometheus", "");
    expect(setUp("scripts/setup.mjs", "--for=dashboards").code).toBe(0);
    expect(existsSync(launcher())).toBe(false);
  });
});

describe("the scripts", () => {
  test("need no packages: they import only from Node and from each other", () => {
    const seen = new Set<string>();
    const foreign: string[] = [];
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      const text = readFileSync(file, "utf8");
      for (const [, specifier = ""] of text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
        if (specifier.startsWith(".")) visit(join(dirname(file), specifier));
        else if (!specifier.startsWith("node:")) foreign.push(`${file} -> ${specifier}`);
      }
    };
    for (const name of readdirSync(join(root, "scripts"))) {
      if (name.endsWith(".mjs")) visit(join(root, "scripts", name));
    }
    expect(foreign).toEqual([]);
    expect([...seen]).toContain(join(root, "scripts/setup/unpack.mjs"));
  });

  // A checkout that was installed by hand has no stamp; a test must not overwrite it.
  test.skipIf(!packagesAreThere())(
    "print and install nothing if everything is installed (needs a set-up checkout)",
    () => {
      const { status, stderr } = spawnSync(node, ["scripts/setup.mjs"], {
        cwd: root,
        encoding: "utf8",
      });
      expect([status, stderr]).toEqual([0, ""]);
    },
  );
});
