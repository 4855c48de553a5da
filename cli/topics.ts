/** What `storageos help TOPIC` says beside the pages of the commands. */

import { EXIT } from './errors.js';
import { formatTable } from './format.js';
import { SETTINGS_TABLE } from './settings.js';

const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: 'done',
  other: 'anything not named here, a node that does not answer among it',
  licence: 'the licence does not allow it',
  authentication: 'wrong user name or password',
  notAuthorised: 'the user may not do that',
  notFound: 'there is no such object',
  alreadyExists: 'there is an object of this name already',
  invalidInput: 'wrong arguments, flags, settings or values',
  invalidState: 'the state of the object does not allow it',
  transient: 'may succeed if tried again: the object was changed meanwhile, or a server is away',
  internal: 'a defect of the server',
  locked: 'another operation holds the object',
  timedOut: 'not done within --timeout; what was begun goes on',
};

function environment(): string {
  const rows = SETTINGS_TABLE.map(({ variable, flag, byDefault }) => [variable, flag ?? '-', byDefault]);
  return `A setting comes from its flag, else from the environment, else from the configuration file, else it has its default.\n\n${formatTable(
    ['VARIABLE', 'FLAG', 'DEFAULT'],
    rows,
  )}\n\nNO_COLOR turns colours off; they are only used on terminals. NODE_EXTRA_CA_CERTS names a file with further\ncertificates of authorities for https endpoints.`;
}

function configFile(): string {
  const rows = SETTINGS_TABLE.flatMap(({ key, byDefault }) => (key === undefined ? [] : [[key, byDefault]]));
  return `The configuration file is YAML: $XDG_CONFIG_HOME/storageos/config.yaml or ~/.config/storageos/config.yaml; without\na home directory .storageos.yaml in this one; or the file that --config or STORAGEOS_CONFIG names. It must not hold\nthe password. Unknown keys and keys without a value are errors.\n\n${formatTable(
    ['KEY', 'DEFAULT'],
    rows,
  )}\n\nExample:\n\n    endpoints: [https://node1:5705, https://node2:5705]\n    username: eva\n    namespace: apps\n    output: wide`;
}

function exitCodes(): string {
  const rows = Object.entries(EXIT).map(([name, code]) => [
    String(code),
    EXIT_MEANINGS[name as keyof typeof EXIT_MEANINGS],
  ]);
  // No column is cut: the meaning is the last one.
  return rows.map(([code = '', meaning = '']) => `${code.padStart(4)}  ${meaning}`).join('\n');
}

const TOPICS: Readonly<Record<string, () => string>> = {
  env: environment,
  'config-file': configFile,
  exitcodes: exitCodes,
};

export const TOPIC_NAMES: readonly string[] = Object.keys(TOPICS);

/** Undefined: no such topic. */
export function helpTopic(name: string): string | undefined {
  return TOPICS[name]?.();
}
