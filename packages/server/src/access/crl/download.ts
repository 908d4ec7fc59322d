import { type IncomingMessage, request } from "node:http";

/** Bounds of a download. */
export interface DownloadLimits {
  readonly bytesMax: number;
  /** From the connection to the last byte. */
  readonly timeoutMs: number;
}

/**
 * Reads what an http:// URL has. Redirects are not followed: only hosts that the configuration names are asked. Rejects
 * with an Error of one line.
 */
export async function download(
  url: string,
  { bytesMax, timeoutMs }: DownloadLimits,
): Promise<Buffer> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const answer = await ask(url, signal);
    try {
      checkStatus(answer);
      return await bodyOf(answer, bytesMax);
    } finally {
      answer.destroy();
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
    throw new Error(`no whole answer within ${timeoutMs} ms`, { cause });
  }
}

function ask(url: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { signal, agent: false, headers: { connection: "close" } });
    asked.on("response", resolve).on("error", reject).end();
  });
}

function checkStatus({ statusCode = 0, headers }: IncomingMessage): void {
  if (statusCode === 200) return;
  const leads = headers.location === undefined ? "" : ", and redirects are not followed";
  throw new Error(`the server answered with status ${statusCode}${leads}`);
}

async function bodyOf(answer: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new Error(`the answer is larger than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
