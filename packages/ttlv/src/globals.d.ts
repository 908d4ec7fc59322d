/**
 * The globals of the WHATWG Encoding Standard, for code that is compiled without any platform's
 * types. They are complete, because a compilation with a platform's types sees these too.
 */
interface TextDecoder {
  readonly encoding: string;
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;
  decode(
    input?: ArrayBufferLike | ArrayBufferView | null,
    options?: { stream?: boolean | undefined },
  ): string;
}
declare var TextDecoder: {
  prototype: TextDecoder;
  new (
    label?: string,
    options?: { fatal?: boolean | undefined; ignoreBOM?: boolean | undefined },
  ): TextDecoder;
};

interface TextEncoder {
  readonly encoding: string;
  encode(input?: string): Uint8Array<ArrayBuffer>;
  encodeInto(source: string, destination: Uint8Array): { read: number; written: number };
}
declare var TextEncoder: { prototype: TextEncoder; new (): TextEncoder };
