import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { ownRedisDirectory, ownToolsDirectory } from "../../../scripts/redis-path.mjs";
import { isRunning, kill } from "../child.ts";
import type { Service } from "./compose-file.ts";
import type { ComposeHost } from "./compose-host.ts";
import { type Image, imageOf } from "./images.ts";

/** How long a container stays down before Docker starts it again, in milliseconds. */
const restartMs = 200;
const logMax = 100_000;
/** The path of a node's files in the sandbox. */
const imageRoot = "/image";

/** The parts of this machine that containers need. */
export interface ContainerPlace {
  readonly host: ComposeHost;
  /** The folder for volumes and writable paths. */
  readonly folder: string;
  /** The files of the node's image. */
  readonly image: string;
}

/**
 * A service as a plain process: its command runs with its environment and files, in its network, as its user, and with
 * only the rights that the file gives it.
 */
export class ComposeContainer {
  readonly service: Service;
  /** Exit codes, one for each time that it ended by itself. */
  readonly exits: (number | null)[] = [];
  log = "";
  readonly #place: ContainerPlace;
  readonly #image: Image;
  #child: ChildProcess | undefined;
  /** Resolves to the process that started the command. */
  #parent: Promise<number> | undefined;
  #wanted = false;

  constructor(service: Service, place: ContainerPlace) {
    this.service = service;
    this.#place = place;
    this.#image = imageOf(service.image);
  }

  get running(): boolean {
    return isRunning(this.#child);
  }

  /** Starts it, and restarts it whenever it ends by itself, if the service says so. */
  start(): void {
    this.#wanted = true;
    this.#prepare();
    const command = this.service.command ?? this.#image.command;
    const child = this.#spawn([...this.#image.entry, ...command], ["--info-fd", "3"], "pipe");
    this.#child = child;
    const info = child.stdio[3] as NodeJS.ReadableStream;
    this.#parent = text(info).then((json) => JSON.parse(json)["child-pid"] as number);
    this.#parent.catch(() => undefined);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (more: string) => {
        this.log = (this.log + more).slice(-logMax);
      });
    }
    child.once("exit", (code) => {
      if (!this.#wanted || this.#child !== child) return;
      this.exits.push(code);
      if (!this.service.restarts) return;
      setTimeout(() => {
        if (this.#wanted && this.#child === child) this.start();
      }, restartMs);
    });
  }

  /** Starts it and waits until it ends; returns the exit code. */
  async finish(): Promise<number | null> {
    this.start();
    const child = this.#child;
    if (child !== undefined && isRunning(child)) await once(child, "close");
    return child?.exitCode ?? null;
  }

  /** Whether its health check succeeds, or without a check, whether it runs. */
  async healthy(): Promise<boolean> {
    const { health } = this.service;
    const check = health === undefined ? this.#image.health : ["sh", "-c", health];
    if (!this.running || check === undefined) return this.running;
    return (await this.exec(check)).code === 0;
  }

  /** Like `docker compose exec`: runs a command with the container's files, network and rights. */
  async exec(
    command: readonly string[],
  ): Promise<{ readonly code: number | null; readonly out: string }> {
    const child = this.#spawn(command, [], "ignore");
    child.stderr?.resume();
    const [out] = await Promise.all([
      text(child.stdout as NodeJS.ReadableStream),
      isRunning(child) ? once(child, "exit") : undefined,
    ]);
    return { code: child.exitCode, out };
  }

  /** Sends SIGTERM to its command, and waits until it has ended. */
  async stop(): Promise<void> {
    this.#wanted = false;
    const child = this.#child;
    if (child === undefined || !isRunning(child)) return;
    const ended = once(child, "exit");
    const parent = await this.#parent;
    const command = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").trim();
    process.kill(Number(command), "SIGTERM");
    await ended;
  }

  /** Kills it with SIGKILL, and does not restart it. */
  async kill(): Promise<void> {
    this.#wanted = false;
    await kill(this.#child);
  }

  #spawn(
    command: readonly string[],
    options: readonly string[],
    third: "pipe" | "ignore",
  ): ChildProcess {
    const sandbox = ["bwrap", ...options, ...this.#sandbox(), ...this.#rights(), ...command];
    const { host } = this.#place;
    return host.spawn(this.service.networkOf, sandbox, ["ignore", "pipe", "pipe", third]);
  }

  get #user(): string {
    return this.service.user ?? this.#image.user;
  }

  /** Makes volumes and writable paths, which the user owns. */
  #prepare(): void {
    const [uid = 0, gid = 0] = this.#user.split(":").map(Number);
    for (const path of this.service.temporary) {
      rmSync(this.#temporary(path), { recursive: true, force: true });
    }
    const volumes = this.service.mounts.filter(({ kind }) => kind === "volume");
    const folders = [
      ...volumes.map(({ from }) => this.#volume(from)),
      ...this.service.temporary.map((path) => this.#temporary(path)),
    ];
    for (const folder of folders.filter((one) => !existsSync(one))) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      chownSync(folder, uid, gid);
    }
  }

  #volume(name: string): string {
    return join(this.#place.folder, "volumes", name);
  }

  #temporary(path: string): string {
    return join(this.#place.folder, "temporary", this.service.name, path);
  }

  /** Options of bwrap: the files that the command sees. */
  #sandbox(): readonly string[] {
    const prefix = this.#image.isNode ? imageRoot : "";
    const binds = [
      ...this.service.mounts.map(({ kind, from, to, readOnly }) => ({
        from: kind === "volume" ? this.#volume(from) : from,
        to: prefix + to,
        readOnly,
      })),
      ...this.service.temporary.map((path) => ({
        from: this.#temporary(path),
        to: prefix + path,
        readOnly: false,
      })),
    ];
    const environment = { ...this.#image.environment, ...this.service.environment };
    return [
      // bwrap is the namespace's first process: all others end with it, even under another user.
      ...["--die-with-parent", "--unshare-pid", "--clearenv"],
      ...machine(),
      ...(this.#image.isNode ? nodeImage(this.#place.image) : []),
      ...binds.flatMap(({ from, to, readOnly }) => [
        ...parents(to),
        ...[readOnly ? "--ro-bind" : "--bind", from, to],
      ]),
      ...Object.entries(environment).flatMap(([name, value]) => ["--setenv", name, value]),
      ...(this.service.readOnly ? ["--remount-ro", "/"] : []),
      ...(this.service.readOnly && prefix !== "" ? ["--remount-ro", prefix] : []),
    ];
  }

  /** The command that drops rights, changes to the user and enters the image. */
  #rights(): readonly string[] {
    const [uid, gid] = this.#user.split(":");
    const drop = (kept: string) =>
      this.service.capabilities ? [] : ["--inh-caps=-all", `--bounding-set=-all${kept}`];
    const setpriv = ["setpriv", "--clear-groups", "--no-new-privs"];
    if (this.#image.isNode) {
      const enter = ["/usr/sbin/chroot", `--userspec=${this.#user}`, imageRoot];
      return [...setpriv, ...drop(",+sys_chroot,+setuid,+setgid"), ...enter];
    }
    return [...setpriv, `--reuid=${uid}`, `--regid=${gid}`, ...drop("")];
  }
}

/** This machine's programs, for images that are not built here. */
function machine(): readonly string[] {
  const own = [dirname(ownRedisDirectory), dirname(ownToolsDirectory)].filter(existsSync);
  const links = ["bin", "sbin", "lib", "lib64"].flatMap((name) => [
    ...["--symlink", `usr/${name}`, `/${name}`],
  ]);
  return [
    ...["--ro-bind", "/usr", "/usr", "--tmpfs", "/usr/local", ...links],
    ...["--proc", "/proc", "--dev", "/dev"],
    ...own.flatMap((folder) => [...parents(folder), "--ro-bind", folder, folder]),
  ];
}

function nodeImage(folder: string): readonly string[] {
  const [proc, dev] = [join(imageRoot, "proc"), join(imageRoot, "dev")];
  return ["--bind", folder, imageRoot, "--proc", proc, "--dev", dev];
}

/** Makes the parent folders: bwrap itself would make them only for root. */
function parents(path: string): readonly string[] {
  const names = path.split("/").slice(1, -1);
  return names.flatMap((_, at) => ["--dir", `/${names.slice(0, at + 1).join("/")}`]);
}
