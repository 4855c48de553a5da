/**
 * `npm run -s licence -- …`: makes the key with which an operator signs licences, and signs them. The agents accept
 * what is signed with one of the keys in their LICENCE_PUBLIC_KEY_FILE.
 */

import process from 'node:process';
import { licenceProgram } from './program.js';

try {
  await licenceProgram((text) => process.stdout.write(text)).parseAsync();
} catch (error) {
  process.stderr.write(`Error: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
