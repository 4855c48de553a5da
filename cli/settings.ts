/** Where the CLI's settings come from: flag, then environment, then configuration file, then default. */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseDurationMs } from '../core/duration.js';
import { DomainError } from '../core/errors.js';
import { CliError, EXIT } from './errors.js';

export type OutputFormat = 'text' | 'wide' | 'json' | 'yaml';

const OUTPUT_FORMATS: readonly string[] = ['text', 'wide', 'json', 'yaml'] satisfies OutputFormat[];

export interface Settings {
  /** URLs without a path, tried in this order. */
  readonly endpoints: readonly string[];
  readonly username: string;
  /** Asked for only when a login is needed: it may run a command. */
  readonly password: () => string;
  readonly namespace: string;
  readonly output: OutputFormat;
  readonly timeoutMs: number;
  /** The user said how long; otherwise commands that take longer by nature have more. */
  readonly timeoutGiven: boolean;
  readonly useIds: boolean;
  /** Undefined: no cache. */
  readonly cacheDir: string | undefined;
}

/** The flags that every command takes; undefined where the flag was not given. */
export interface GlobalFlags {
  readonly endpoints?: readonly string[];
  readonly username?: string;
  readonly password?: string;
  readonly namespace?: string;
  readonly output?: string;
  readonly timeout?: string;
  readonly useIds?: boolean;
  readonly authCache?: boolean;
  readonly cacheDir?: string;
  readonly config?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_PORT = 5705;
const PASSWORD_COMMAND_TIMEOUT_MS = 60_000;
const MAX_CONFIG_BYTES = 1 << 20;
const DEFAULT_TIMEOUT = '15s';

/** Every setting by its names. */
export const SETTINGS_TABLE: readonly {
  readonly variable: string;
  readonly flag?: string;
  /** In the configuration file. */
  readonly key?: string;
  readonly byDefault: string;
}[] = [
  {
    variable: 'STORAGEOS_ENDPOINTS',
    flag: '--endpoints',
    key: 'endpoints',
    byDefault: `http://localhost:${DEFAULT_PORT}`,
  },
  { variable: 'STORAGEOS_USERNAME', flag: '--username', key: 'username', byDefault: 'storageos' },
  { variable: 'STORAGEOS_PASSWORD', flag: '--password', byDefault: 'storageos' },
  { variable: 'STORAGEOS_PASSWORD_COMMAND', byDefault: 'none' },
  { variable: 'STORAGEOS_NAMESPACE', flag: '--namespace', key: 'namespace', byDefault: 'default' },
  { variable: 'STORAGEOS_OUTPUT_FORMAT', flag: '--output', key: 'output', byDefault: 'text' },
  { variable: 'STORAGEOS_API_TIMEOUT', flag: '--timeout', key: 'timeout', byDefault: DEFAULT_TIMEOUT },
  { variable: 'STORAGEOS_USE_IDS', flag: '--use-ids', key: 'useIds', byDefault: 'false' },
  { variable: 'STORAGEOS_NO_AUTH_CACHE', flag: '--no-auth-cache', key: 'noAuthCache', byDefault: 'false' },
  { variable: 'STORAGEOS_CACHE_DIR', flag: '--cache-dir', key: 'cacheDir', byDefault: '~/.cache/storageos' },
  { variable: 'STORAGEOS_CONFIG', flag: '--config', byDefault: '~/.config/storageos/config.yaml' },
];

const FILE_KEYS: ReadonlySet<string> = new Set(SETTINGS_TABLE.flatMap(({ key }) => key ?? []));

function invalid(message: string, cause?: unknown): CliError {
  return new CliError(EXIT.invalidInput, message, { cause });
}

/** Without a scheme it is http, without a port 5705. Errors: CliError. */
export function parseEndpoint(text: string): string {
  let url: URL;
  try {
    url = new URL(text.includes('://') ? text : `http://${text}`);
  } catch (cause) {
    throw invalid(`"${text}" is not an endpoint; write http://host:port`, cause);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw invalid(`"${text}": only http and https are spoken`);
  // An URL drops the port that is its scheme's default, so look for it in the text.
  const hasPort = /:\d+\/?$/.test(text);
  return `${url.protocol}//${url.hostname}:${hasPort ? url.port || (url.protocol === 'http:' ? '80' : '443') : DEFAULT_PORT}`;
}

function parseBool(name: string, text: string): boolean {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw invalid(`${name}: "${text}" is not a boolean`);
}

function configPath(flags: GlobalFlags, env: Environment): { path: string; required: boolean } {
  const given = flags.config ?? env.STORAGEOS_CONFIG;
  if (given !== undefined && given !== '') return { path: given, required: true };
  const directory = env.XDG_CONFIG_HOME ?? (env.HOME !== undefined ? join(env.HOME, '.config') : undefined);
  return {
    path: directory === undefined ? '.storageos.yaml' : join(directory, 'storageos', 'config.yaml'),
    required: false,
  };
}

/** Values as text; lists joined by commas. Errors: CliError for unknown, empty or forbidden keys. */
async function readConfigFile(path: string, required: boolean): Promise<Readonly<Record<string, string>>> {
  if (!required && !existsSync(path)) return {};
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw invalid(`configuration file ${path} cannot be read`, cause);
  }
  if (text.length > MAX_CONFIG_BYTES) throw invalid(`configuration file ${path} is too large`);
  const { parse } = await import('yaml');
  let content: unknown;
  try {
    content = parse(text);
  } catch (cause) {
    throw invalid(`configuration file ${path} is not YAML`, cause);
  }
  if (content === null) return {};
  if (typeof content !== 'object' || Array.isArray(content)) throw invalid(`configuration file ${path}: not a map`);
  const values: Record<string, string> = {};
  for (const [key, value] of Object.entries(content as Record<string, unknown>)) {
    if (key === 'password') throw invalid(`configuration file ${path}: the password must not be in it`);
    if (!FILE_KEYS.has(key)) throw invalid(`configuration file ${path}: unknown key "${key}"`);
    const scalar = Array.isArray(value) ? value.join(',') : value;
    if (scalar === null || scalar === '' || typeof scalar === 'object') {
      throw invalid(`configuration file ${path}: key "${key}" has no usable value`);
    }
    values[key] = String(scalar);
  }
  return values;
}

function passwordOf(flags: GlobalFlags, env: Environment): string {
  if (flags.password !== undefined) return flags.password;
  if (env.STORAGEOS_PASSWORD !== undefined && env.STORAGEOS_PASSWORD !== '') return env.STORAGEOS_PASSWORD;
  const command = env.STORAGEOS_PASSWORD_COMMAND;
  if (command === undefined || command === '') return 'storageos';
  try {
    const printed = execFileSync('/bin/sh', ['-c', command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: PASSWORD_COMMAND_TIMEOUT_MS,
    });
    return printed.replace(/\r?\n$/, '');
  } catch {
    // The error would quote the command's output.
    throw invalid('the command in STORAGEOS_PASSWORD_COMMAND failed');
  }
}

/** Errors: CliError('invalid input') that names the setting. */
export async function readSettings(flags: GlobalFlags, env: Environment): Promise<Settings> {
  const { path, required } = configPath(flags, env);
  const file = await readConfigFile(path, required);
  const value = (flag: string | undefined, variable: string, key: string, byDefault: string): string => {
    const fromEnv = env[variable];
    return flag ?? (fromEnv !== undefined && fromEnv !== '' ? fromEnv : (file[key] ?? byDefault));
  };
  const bool = (flag: boolean | undefined, variable: string, key: string): boolean =>
    flag ?? parseBool(key, value(undefined, variable, key, 'false'));

  const endpoints = flags.endpoints ?? [];
  const listed = value(undefined, 'STORAGEOS_ENDPOINTS', 'endpoints', `http://localhost:${DEFAULT_PORT}`);
  const output = value(flags.output, 'STORAGEOS_OUTPUT_FORMAT', 'output', 'text');
  if (!OUTPUT_FORMATS.includes(output)) throw invalid(`output format "${output}": not text, wide, json or yaml`);
  const givenTimeout = value(flags.timeout, 'STORAGEOS_API_TIMEOUT', 'timeout', '');
  const timeout = givenTimeout === '' ? DEFAULT_TIMEOUT : givenTimeout;
  let timeoutMs: number;
  try {
    timeoutMs = parseDurationMs(timeout);
  } catch (error) {
    throw invalid(`timeout: ${error instanceof DomainError ? error.message : timeout}`, error);
  }
  if (timeoutMs <= 0) throw invalid('timeout: must be more than nothing');
  const noCache = flags.authCache === undefined ? undefined : !flags.authCache;
  const byDefault = join(env.XDG_CACHE_HOME ?? join(env.HOME ?? homedir(), '.cache'), 'storageos');
  return {
    endpoints: (endpoints.length > 0 ? endpoints : listed.split(','))
      .flatMap((item) => item.split(','))
      .filter((item) => item.trim() !== '')
      .map((item) => parseEndpoint(item.trim())),
    username: value(flags.username, 'STORAGEOS_USERNAME', 'username', 'storageos'),
    password: () => passwordOf(flags, env),
    namespace: value(flags.namespace, 'STORAGEOS_NAMESPACE', 'namespace', 'default'),
    output: output as OutputFormat,
    timeoutMs,
    timeoutGiven: givenTimeout !== '',
    useIds: bool(flags.useIds, 'STORAGEOS_USE_IDS', 'useIds'),
    cacheDir: bool(noCache, 'STORAGEOS_NO_AUTH_CACHE', 'noAuthCache')
      ? undefined
      : value(flags.cacheDir, 'STORAGEOS_CACHE_DIR', 'cacheDir', byDefault),
  };
}
