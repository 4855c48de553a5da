/** The commands with which an operator makes a key and signs licences. */

import { readFile } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DomainError } from '../../core/errors.js';
import type { LicenceTerms } from '../../core/licence.js';
import { DEVELOPER_CAPACITY_GIB, DEVELOPER_KIND, issueLicence } from './issue.js';
import { createSigningKey, loadPrivateKey, loadPublicKeys, writePublicKey } from './keys.js';
import { MAX_CAPACITY_GIB, openLicence } from './text.js';

/** A hundred years. */
const MAX_DAYS = 36_500;

const wholeUpTo = (most: number) => (text: string) => {
  if (!/^[1-9]\d{0,8}$/.test(text) || Number(text) > most) {
    throw new InvalidArgumentError(`not a whole number from 1 to ${most}`);
  }
  return Number(text);
};

interface IssueOptions {
  readonly privateKey: string;
  readonly cluster: string;
  readonly kind: string;
  readonly capacityGib: number;
  readonly customer: string;
  readonly days: number;
  readonly feature: readonly string[];
}

/** Commands reject with DomainError. `write` gets what they print. */
export function licenceProgram(write: (text: string) => void): Command {
  const program = new Command('licence')
    .description('Makes the key with which licences are signed, and signs them.')
    .showHelpAfterError();

  program
    .command('keygen')
    .description('make a key; the agents get the public half as LICENCE_PUBLIC_KEY_FILE')
    .requiredOption('--private-key <file>', 'where the private key goes; it is never replaced')
    .requiredOption('--public-key <file>', 'where the public key goes')
    .action(async (options: { privateKey: string; publicKey: string }) => {
      if (!(await createSigningKey(options.privateKey))) {
        throw new DomainError('already-exists', `${options.privateKey} exists`);
      }
      await writePublicKey(await loadPrivateKey(options.privateKey), options.publicKey);
    });

  program
    .command('issue')
    .description('write a licence to standard output; "storageos apply licence --from-file" hands it to the cluster')
    .requiredOption('--private-key <file>', 'the key to sign with')
    .requiredOption('--cluster <id>', 'the cluster that it is for ("storageos get licence" shows its id)')
    .option('--kind <kind>', 'what the licence is called', DEVELOPER_KIND)
    .option(
      '--capacity-gib <number>',
      'sizes of all volumes together',
      wholeUpTo(MAX_CAPACITY_GIB),
      DEVELOPER_CAPACITY_GIB,
    )
    .option('--customer <name>', 'whom it is for', '')
    .option('--days <number>', 'how long it is valid from now on', wholeUpTo(MAX_DAYS), 365)
    .addOption(
      new Option('--feature <name>', 'a feature that it includes, such as nfs; may be given several times')
        .default([] as readonly string[])
        .argParser((name: string, before: readonly string[]) => [...before, name]),
    )
    .action(async (options: IssueOptions) => {
      const terms: Omit<LicenceTerms, 'expiresAt'> = {
        clusterID: options.cluster,
        customerName: options.customer,
        kind: options.kind,
        clusterCapacityGiB: options.capacityGib,
        features: options.feature,
      };
      const key = await loadPrivateKey(options.privateKey);
      write(issueLicence(terms, options.days, key, new Date()));
    });

  program
    .command('verify')
    .description('say what a licence allows, if one of the keys has signed it')
    .argument('<file>', 'the licence')
    .requiredOption('--public-key <file>', 'the keys that are accepted')
    .action(async (file: string, options: { publicKey: string }) => {
      const terms = openLicence(await readFile(file, 'utf8'), await loadPublicKeys(options.publicKey));
      write(`${JSON.stringify(terms, null, 2)}\n`);
    });

  return program;
}
