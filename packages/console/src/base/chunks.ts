/** The service sends a heartbeat every 15 s. */
const silentMs = 45_000;

export async function* chunksOf(
  stream: ReadableStream<Uint8Array>,
  end: () => void,
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  let silent: ReturnType<typeof setTimeout> | undefined;
  try {
    for (;;) {
      silent = setTimeout(() => void reader.cancel(), silentMs);
      const { done, value } = await reader.read();
      clearTimeout(silent);
      if (done) return;
      yield value;
    }
  } finally {
    clearTimeout(silent);
    reader.releaseLock();
    end();
  }
}
