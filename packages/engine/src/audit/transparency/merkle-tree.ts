import { hash } from "node:crypto";

/*
 * The Merkle tree of RFC 6962, section 2.1. Leaves are numbered from 0; a range is [begin, end). A perfect subtree of
 * level L has 2^L leaves and begins at a multiple of 2^L.
 */

/** SHA-256(0x00 ‖ data). */
export function leafHash(data: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(1 + data.length);
  bytes[0] = 0;
  bytes.set(data, 1);
  return hash("sha256", bytes, "buffer");
}

/** SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(1 + left.length + right.length);
  bytes[0] = 1;
  bytes.set(left, 1);
  bytes.set(right, 1 + left.length);
  return hash("sha256", bytes, "buffer");
}

interface MerkleNode {
  readonly level: number;
  /** Its first leaf is `index` · 2^`level`. */
  readonly index: number;
  readonly hash: Uint8Array;
}

/** The few roots of the largest perfect subtrees of a range, from left to right: at most about 2 · log2 of its end. */
export class MerkleRange {
  readonly begin: number;
  #end: number;
  readonly #nodes: MerkleNode[];

  private constructor(begin: number, end: number, nodes: MerkleNode[]) {
    this.begin = begin;
    this.#end = end;
    this.#nodes = nodes;
  }

  static empty(begin = 0): MerkleRange {
    return new MerkleRange(begin, begin, []);
  }

  /** Undefined if the hashes do not fit the range. */
  static from(begin: number, end: number, hashes: readonly Uint8Array[]): MerkleRange | undefined {
    const places = subtrees(begin, end);
    if (places.length !== hashes.length) return undefined;
    const nodes = places.map((place, at) => ({ ...place, hash: hashes[at] as Uint8Array }));
    return nodes.every((node) => node.hash.length === 32)
      ? new MerkleRange(begin, end, nodes)
      : undefined;
  }

  get end(): number {
    return this.#end;
  }

  get nodes(): readonly MerkleNode[] {
    return this.#nodes;
  }

  get hashes(): readonly Uint8Array[] {
    return this.#nodes.map((node) => node.hash);
  }

  copy(): MerkleRange {
    return new MerkleRange(this.begin, this.#end, [...this.#nodes]);
  }

  append(leaf: Uint8Array): void {
    let node: MerkleNode = { level: 0, index: this.#end, hash: leaf };
    for (let left = this.#nodes.at(-1); left !== undefined; left = this.#nodes.at(-1)) {
      const isSibling = left.level === node.level && left.index % 2 === 0;
      if (!isSibling || left.index + 1 !== node.index) break;
      this.#nodes.pop();
      const { level, index } = left;
      node = { level: level + 1, index: index / 2, hash: nodeHash(left.hash, node.hash) };
    }
    this.#nodes.push(node);
    this.#end += 1;
  }

  /** The root of a tree whose leaves are this range, which must begin at 0. */
  root(): Uint8Array {
    const [last, ...others] = this.hashes.toReversed();
    if (last === undefined) return hash("sha256", "", "buffer");
    return others.reduce((right, left) => nodeHash(left, right), last);
  }
}

function subtrees(begin: number, end: number): { level: number; index: number }[] {
  const places = [];
  for (let at = begin; at < end; ) {
    let [level, size] = [0, 1];
    while (at % (2 * size) === 0 && at + 2 * size <= end) [level, size] = [level + 1, 2 * size];
    places.push({ level, index: at / size });
    at += size;
  }
  return places;
}

/** Hashes of a tree as far as they are known. */
export class MerkleNodes {
  readonly #known = new Map<string, Uint8Array>();

  add(range: MerkleRange | undefined): void {
    for (const { level, index, hash } of range?.nodes ?? []) this.#set(level, index, hash);
  }

  /** Adds leaves, the first of which has this number. */
  addLeaves(first: number, leaves: readonly Uint8Array[]): void {
    for (const [at, leaf] of leaves.entries()) this.#set(0, first + at, leaf);
  }

  /** The root of a tree of this size. Throws `RangeError` if too little is known. */
  root(size: number): Uint8Array {
    return this.#root(0, size);
  }

  /** Inclusion of a leaf in a tree of this size: the leaf's sibling first (RFC 6962, section 2.1.1). */
  inclusion(leaf: number, size: number): readonly Uint8Array[] {
    const path: Uint8Array[] = [];
    for (let [begin, end] = [0, size]; end - begin > 1; ) {
      const middle = begin + split(end - begin);
      if (leaf < middle) path.unshift(this.#root(middle, end));
      else path.unshift(this.#root(begin, middle));
      if (leaf < middle) end = middle;
      else begin = middle;
    }
    return path;
  }

  /** That a tree of size `old` is the beginning of one of this size (RFC 6962, section 2.1.2). */
  consistency(old: number, size: number): readonly Uint8Array[] {
    const proof: Uint8Array[] = [];
    if (old === 0) return proof;
    let [begin, end, whole] = [0, size, true];
    while (old < end) {
      const middle = begin + split(end - begin);
      if (old <= middle) {
        proof.unshift(this.#root(middle, end));
        end = middle;
      } else {
        proof.unshift(this.#root(begin, middle));
        begin = middle;
        whole = false;
      }
    }
    return whole ? proof : [this.#root(begin, end), ...proof];
  }

  #root(begin: number, end: number): Uint8Array {
    const size = end - begin;
    if (Number.isInteger(Math.log2(size)) && begin % size === 0) {
      const known = this.#known.get(`${Math.log2(size)}/${begin / size}`);
      if (known !== undefined) return known;
    }
    if (size <= 1) throw new RangeError(`leaf ${begin} of the audit log is not kept any more`);
    const middle = begin + split(size);
    return nodeHash(this.#root(begin, middle), this.#root(middle, end));
  }

  #set(level: number, index: number, hash: Uint8Array): void {
    this.#known.set(`${level}/${index}`, hash);
  }
}

/** The largest power of two below `size`. */
function split(size: number): number {
  let half = 1;
  while (2 * half < size) half *= 2;
  return half;
}

/** The root that an inclusion proof leads to; undefined if it has another length than the sizes demand. */
export function rootFromInclusion(
  leaf: number,
  size: number,
  hash: Uint8Array,
  path: readonly Uint8Array[],
): Uint8Array | undefined {
  if (leaf >= size) return undefined;
  let [at, last, root, used] = [leaf, size - 1, hash, 0];
  for (; last > 0; [at, last] = [Math.floor(at / 2), Math.floor(last / 2)]) {
    if (at % 2 === 0 && at === last) continue;
    const sibling = path[used];
    if (sibling === undefined) return undefined;
    root = at % 2 === 1 ? nodeHash(sibling, root) : nodeHash(root, sibling);
    used += 1;
  }
  return used === path.length ? root : undefined;
}
