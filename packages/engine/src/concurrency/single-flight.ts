/** Runs `body`, unless it already runs for this key; then its result is shared. */
export function singleFlight<Answer>(
  flights: Map<string, Promise<Answer>>,
  key: string,
  body: () => Promise<Answer>,
): Promise<Answer> {
  const running = flights.get(key);
  if (running !== undefined) return running;
  const flight = body().finally(() => flights.delete(key));
  flights.set(key, flight);
  return flight;
}
