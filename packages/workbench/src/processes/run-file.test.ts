import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OperatorError } from "@holdfast/server/base";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Folder, folderAt, makeFolder } from "../base/folder.ts";
import { checkFree, freePorts } from "../base/ports.ts";
import { reset } from "../commands/reset.ts";
import { identityOf, isAlive } from "./process-identity.ts";
import { claim, releaseRun, writeRun } from "./run-file.ts";

let folder: Folder;

beforeEach(() => {
  folder = folderAt(mkdtempSync(join(tmpdir(), "holdfast-run-")));
  makeFolder(folder);
});

afterEach(() => {
  rmSync(folder.root, { recursive: true, force: true });
});

function selfIdentity() {
  const identity = identityOf(process.pid);
  if (identity === undefined) throw new Error("no /proc");
  return identity;
}

const dead = { pid: process.pid, started: "1@long-ago" };

async function sleeper() {
  const child = spawn("/bin/sleep", ["60"], { stdio: "ignore" });
  await once(child, "spawn");
  const identity = identityOf(child.pid ?? 0);
  if (identity === undefined) throw new Error("it ended");
  return { identity, ended: once(child, "exit") };
}

describe("a claim to run a cluster", () => {
  test("succeeds for one process; a second one is refused with the first one's process number", async () => {
    await claim(folder);
    await expect(claim(folder)).rejects.toThrow(
      new RegExp(`already runs in .* \\(process ${process.pid}\\): end it with`),
    );
    releaseRun(folder);
    await claim(folder);
  });

  test("ends the processes left by a killed cluster, and no others", async () => {
    const left = await sleeper();
    const foreign = await sleeper();
    writeRun(folder, {
      supervisor: dead,
      processes: [
        { name: "node a1", ...left.identity },
        // A process number that another process has now.
        { name: "node a2", pid: foreign.identity.pid, started: "1@long-ago" },
      ],
    });
    await claim(folder);
    await left.ended;
    expect(isAlive(foreign.identity)).toBe(true);
    process.kill(foreign.identity.pid, "SIGKILL");
    await foreign.ended;
  });

  test("takes over an incomplete file", async () => {
    writeFileSync(folder.run, '{"supervisor":');
    expect((await claim(folder)).supervisor).toEqual(selfIdentity());
  });
});

describe("a folder that cannot be created", () => {
  test.each([
    // The kernel answers ENOENT for a new name here, although the parent exists.
    "/proc/holdfast/deep",
    `${import.meta.filename}/deep`,
    import.meta.filename,
  ])("causes an error of one line that names it: %s", (path) => {
    const make = () => makeFolder(folderAt(path));
    expect(make).toThrow(OperatorError);
    expect(make).toThrow(new RegExp(`^${path.replace("/deep", "")}.*: cannot be made: [^\\n]+$`));
  });
});

describe("dev reset", () => {
  test("deletes only with --yes, and only the cluster's files", async () => {
    writeFileSync(folder.settings, `{"regions":{}}`);
    writeFileSync(join(folder.root, "mine.txt"), "");
    await expect(reset(folder, false, () => {})).rejects.toThrow(/give --yes/);
    expect(existsSync(folder.regions)).toBe(true);
    expect(await reset(folder, true, () => {})).toBe(0);
    expect(existsSync(folder.regions)).toBe(false);
    expect(existsSync(folder.pki)).toBe(false);
    expect(existsSync(join(folder.root, "mine.txt"))).toBe(true);
  });

  test("deletes nothing in a folder that is not a cluster's", async () => {
    writeFileSync(folder.settings, `{"editor":"mine"}`);
    const secrets = join(folder.root, "secrets");
    writeFileSync(secrets, "mine");
    await expect(reset(folder, true, () => {})).rejects.toThrow("nothing was deleted");
    expect(existsSync(secrets)).toBe(true);
    expect(existsSync(folder.pki)).toBe(true);
  });

  test("is refused while the cluster runs", async () => {
    writeFileSync(folder.settings, `{"regions":{}}`);
    await claim(folder);
    await expect(reset(folder, true, () => {})).rejects.toThrow(
      `end it first with \`npm run stop -- --dir ${folder.root}\``,
    );
    expect(existsSync(folder.regions)).toBe(true);
  });
});

describe("ports", () => {
  test("that are in use are skipped, or named in an error if they are required", async () => {
    const server = createServer();
    const [port = 0] = await freePorts("127.0.0.1", 21_000, 1);
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    const [first = 0, second = 0] = await freePorts("127.0.0.1", port, 2);
    expect(first).toBeGreaterThan(port);
    expect(second).toBeGreaterThan(first);
    const wanted = checkFree([{ host: "127.0.0.1", port, what: "KMIP of node a1" }]);
    await expect(wanted).rejects.toThrow(OperatorError);
    await expect(wanted).rejects.toThrow(`127.0.0.1:${port} (KMIP of node a1) is in use`);
    server.close();
  });
});
