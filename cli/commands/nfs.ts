/** Sharing volumes by NFS. */

import { volumePath } from '../../client/api.js';
import type { ApiNfsAcl, ApiNfsExport } from '../../client/types.js';
import { ACCEPTED, asyncQuery, type Context, confirm } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import type { UpdateFlags } from './update.js';

function wrong(text: string, expected: string): CliError {
  return new CliError(EXIT.invalidInput, `"${text}": ${expected}`);
}

function parseNumber(text: string, of: string): number {
  if (!/^\d{1,10}$/.test(text)) throw wrong(of, `"${text}" is not a number`);
  return Number(text);
}

/** `type;matcher;uid;gid;squash;access`. Errors: CliError. */
function parseAcl(text: string): ApiNfsAcl {
  const [identityType = '', matcher = '', uid = '', gid = '', squash = '', accessLevel = '', ...rest] = text.split(';');
  if (accessLevel === '' || rest.length > 0) throw wrong(text, 'write type;matcher;uid;gid;squash;access');
  return {
    identity: { identityType, matcher },
    squashConfig: { uid: parseNumber(uid, text), gid: parseNumber(gid, text), squash },
    accessLevel,
  };
}

/** `ID,PATH,PSEUDO,ACL+ACL…`. Errors: CliError. */
export function parseExport(text: string): ApiNfsExport {
  const [id = '', path = '', pseudoPath = '', acls, ...rest] = text.split(',');
  if (acls === undefined || rest.length > 0) throw wrong(text, 'write ID,PATH,PSEUDO,ACL+ACL');
  return {
    exportID: parseNumber(id, text),
    path,
    pseudoPath,
    acls: acls
      .split('+')
      .filter((acl) => acl !== '')
      .map(parseAcl),
  };
}

interface NfsFlags extends UpdateFlags {
  readonly async?: boolean;
}

async function change(context: Context, name: string, flags: NfsFlags, what: Change): Promise<void> {
  const { client } = context;
  const { volume } = await client.findVolume(name);
  const { status } = await client.request(what.method, volumePath(volume, `/nfs/${what.path}`), {
    query: { 'ignore-version': 'false', ...asyncQuery(context, flags.async) },
    body: { ...what.body, version: flags.cas ?? volume.version },
  });
  const line = `Volume ${volume.name} (${volume.id}): ${what.done}.`;
  await confirm(context, status === 202 ? ACCEPTED : line, { volumeID: volume.id });
}

interface Change {
  readonly method: 'POST' | 'PUT';
  readonly path: string;
  readonly body: object;
  readonly done: string;
}

export function nfsAttach(context: Context, [name = '']: string[], flags: NfsFlags): Promise<void> {
  return change(context, name, flags, { method: 'POST', path: 'attach', body: {}, done: 'attached for NFS' });
}

export function nfsEndpoint(context: Context, [name = '', address = '']: string[], flags: NfsFlags): Promise<void> {
  return change(context, name, flags, {
    method: 'PUT',
    path: 'mount-endpoint',
    body: { mountEndpoint: address },
    done: `mount endpoint is ${address}`,
  });
}

export function nfsExports(context: Context, [name = '', ...args]: string[], flags: NfsFlags): Promise<void> {
  const exports = args.map(parseExport);
  return change(context, name, flags, {
    method: 'PUT',
    path: 'export-config',
    body: { exports },
    done: `${exports.length} exports`,
  });
}
