import type { MemoryFile, MemoryOptions } from "@holdfast/redis";
import type { Life, Machine } from "./machine.ts";

/** What a machine's disk keeps of the memory of its region's store: it outlasts the process. */
export class SimMemory {
  readonly #machine: Machine;
  #content: Buffer | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** What a process passes to its store; once it has ended, it writes no more. */
  options(life: Life, root: MemoryOptions["root"]): MemoryOptions {
    const { name, random } = this.#machine;
    const write = async (content: Buffer): Promise<void> => {
      if (!life.over) this.#content = content;
    };
    const file: MemoryFile = {
      name: `${name}.memory`,
      read: async () => this.#content && Buffer.from(this.#content),
      replace: async (content) => {
        const parts: Buffer[] = [];
        for await (const bytes of content) parts.push(bytes);
        await write(Buffer.concat(parts));
      },
      append: (bytes) => write(Buffer.concat([this.#content ?? Buffer.alloc(0), bytes])),
      close: async () => undefined,
    };
    return { file, node: name, root, randomBytes: (count) => random.bytes(count) };
  }
}
