import { ManagementError, type ProblemCode, problems } from "@holdfast/admin";
import { StoreUnavailable } from "@holdfast/engine";
import { manageBytes, ofRegion, type Peer } from "@holdfast/regions";
import { z } from "zod";
import { reasonOf } from "../base/operator-error.ts";
import { rootPeerCommands } from "./peer-root-commands.ts";
import { refusalOf } from "./refusals.ts";
import { trailPeerCommands } from "./trail-commands.ts";

const identifier = z.string().min(1).max(256);
const states = z.record(z.string().max(64), z.number().int());

/** Most records that are asked about at once. */
export const hasMax = 400;

/**
 * What one region's management may ask of the other's, by name: what is sent and what is answered. The receiver of
 * each checks it. Every command may be carried out twice, and by several nodes.
 */
const peerCommands = {
  /** Which of these versions of system records the region has. */
  has: {
    input: z.object({ records: z.array(z.tuple([identifier, z.string().max(64)])).max(hasMax) }),
    output: z.object({ had: z.array(z.boolean()).max(hasMax) }),
  },
  /** An instance's objects by State, as the region's own store counts them; undefined while it cannot answer. */
  countStates: {
    input: z.object({ instance: identifier }),
    output: z.object({ states: states.optional() }),
  },
  ...rootPeerCommands,
  ...trailPeerCommands,
  /** Where clients connect in the region, as its configuration says. */
  readEndpoints: {
    input: z.object({}),
    output: z.object({ endpoints: z.array(z.string().max(300)).max(64) }),
  },
  /** Brings an instance's status in the region's store to what its record there says; answers it. */
  followInstance: {
    input: z.object({ instance: identifier }),
    output: z.object({ status: z.string().max(64).optional() }),
  },
} as const satisfies Record<string, { readonly input: z.ZodType; readonly output: z.ZodType }>;

type Commands = typeof peerCommands;
/** A command of the table. */
export type PeerCommandName = keyof Commands;
/** The input of a command. */
export type PeerCommandInput<Name extends PeerCommandName> = z.output<Commands[Name]["input"]>;
/** The output of a command. */
export type PeerCommandOutput<Name extends PeerCommandName> = z.output<Commands[Name]["output"]>;

/** How this region carries commands out; a refusal is a `ManagementError`. */
export type PeerCommandHandlers = {
  readonly [Name in PeerCommandName]: (
    input: PeerCommandInput<Name>,
  ) => Promise<PeerCommandOutput<Name>>;
};

const envelope = z.object({ command: z.string().max(64), input: z.unknown() });
const reply = z.union([
  z.object({ value: z.unknown() }).strict(),
  z.object({ problem: z.string().max(64), detail: z.string().max(2_000) }).strict(),
]);

export interface PeerCommandsOptions {
  readonly region: string;
  readonly peers: readonly Pick<Peer, "region" | "state" | "manage">[];
  /** Called with errors of this node that are not refusals. */
  readonly unexpected: (error: unknown) => void;
}

/** Both ends of the commands between the regions' management: asks, and answers. */
export class PeerCommands {
  readonly #options: PeerCommandsOptions;
  readonly #handlers = new Map<string, (input: unknown) => Promise<unknown>>();

  constructor(options: PeerCommandsOptions) {
    this.#options = options;
  }

  /** The other regions that are not retired. */
  get others(): readonly string[] {
    return this.#options.peers.flatMap((peer) => (peer.state() === "retired" ? [] : [peer.region]));
  }

  /** Carries out these commands for the other region from now on. */
  serve(handlers: Partial<PeerCommandHandlers>): void {
    for (const [name, handle] of Object.entries(handlers)) {
      const { input, output } = peerCommands[name as PeerCommandName];
      const run = handle as (given: unknown) => Promise<unknown>;
      this.#handlers.set(name, async (given) => {
        const read = input.safeParse(given);
        if (!read.success) throw new ManagementError("invalid", `invalid input for ${name}`);
        return output.parse(await run(read.data));
      });
    }
  }

  /** Asks another region; rejects with a `ManagementError`, whose detail names the region. */
  async ask<Name extends PeerCommandName>(
    region: string,
    name: Name,
    input: PeerCommandInput<Name>,
  ): Promise<PeerCommandOutput<Name>> {
    const peer = this.#options.peers.find((each) => each.region === region);
    if (peer === undefined) {
      throw new ManagementError("invalid", `region ${region} is not part of this system`);
    }
    const command = Buffer.from(JSON.stringify({ command: name, input }));
    if (command.length > manageBytes) throw new ManagementError("tooLarge", "too much at once");
    const { output } = peerCommands[name];
    try {
      const answer = reply.parse(parsed(await peer.manage(command)));
      if ("problem" in answer) throw problemOf(answer.problem, ofRegion(region, answer.detail));
      return output.parse(answer.value) as PeerCommandOutput<Name>;
    } catch (error) {
      if (error instanceof ManagementError) throw error;
      const reason = error instanceof StoreUnavailable ? error.message : "invalid response";
      throw new ManagementError("peerUnreachable", ofRegion(region, reason));
    }
  }

  /** Answers another region; never rejects: errors are in the answer. */
  async answer(command: Uint8Array): Promise<Uint8Array> {
    return Buffer.from(JSON.stringify(await this.#answered(command)));
  }

  async #answered(command: Uint8Array): Promise<z.output<typeof reply>> {
    try {
      const { command: name, input } = read(command);
      const handle = this.#handlers.get(name);
      if (handle === undefined) {
        const detail = `runs a release that does not know ${name}, or is still starting`;
        return { problem: "peerUnreachable", detail };
      }
      const value = await handle(input);
      if (Buffer.byteLength(JSON.stringify(value ?? null)) > manageBytes - 64) {
        return { problem: "tooLarge", detail: "the answer is too long" };
      }
      return { value };
    } catch (error) {
      const refusal = error instanceof StoreUnavailable ? refusalOf(error) : error;
      if (refusal instanceof ManagementError) {
        return { problem: refusal.code, detail: refusal.message.slice(0, 2_000) };
      }
      this.#options.unexpected(error);
      return { problem: "internal", detail: "internal error; see the log of that node" };
    }
  }
}

function read(command: Uint8Array) {
  const found = envelope.safeParse(parsed(command));
  if (!found.success) throw new ManagementError("invalid", "no command");
  return found.data;
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch (error) {
    throw new ManagementError("invalid", `no JSON: ${reasonOf(error)}`);
  }
}

function problemOf(code: string, detail: string): ManagementError {
  return new ManagementError(code in problems ? (code as ProblemCode) : "internal", detail);
}
