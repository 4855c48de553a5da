/** The API of the embedded cluster's own agents, with the first user's credentials. */

import { ApiClient } from '../client/api.js';

const REQUEST_TIMEOUT_MS = 15_000;
/** A read that one node does not answer goes to the next. */
const READ_TIMEOUT_MS = 5_000;

/** `endpoints` gives host:port of nodes that may answer, best first; asked before every request. */
export function clusterApi(
  endpoints: () => readonly string[],
  credentials: { readonly username: string; readonly password: string },
): ApiClient {
  return new ApiClient({
    endpoints,
    credentials: () => credentials,
    timeoutMs: (method) => (method === 'GET' ? READ_TIMEOUT_MS : REQUEST_TIMEOUT_MS),
  });
}
