/** What to do about a request that the licence does not allow, and what the licence is. */

import type { ApiError } from '../client/errors.js';
import type { ApiLicence } from '../client/types.js';
import type { Context } from './context.js';
import { CliError, EXIT } from './errors.js';
import { licenceFields } from './other-output.js';

/** The kind of a licence that registering replaces by a larger one. */
const BASIC = 'basic';

/** The refusal in the CLI's words. */
export async function withLicenceAdvice({ client, nowMs }: Context, refusal: ApiError): Promise<CliError> {
  const licence = await client.get<ApiLicence>('/cluster/licence').catch(() => undefined);
  // Who may not see the licence still sees the refusal itself.
  if (licence === undefined) return new CliError(EXIT.licence, refusal.reason, { cause: refusal });
  const advice =
    licence.kind === BASIC
      ? 'Register the cluster for a larger licence, and install it with "storageos apply licence".'
      : 'Delete volumes that are not needed, or install a larger licence with "storageos apply licence".';
  const present = `The present licence:\n${licenceFields(licence, nowMs)}`;
  return new CliError(EXIT.licence, `${refusal.reason}\n\n${advice}\n\n${present}`, { cause: refusal });
}
