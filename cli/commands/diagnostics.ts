import { randomUUID } from 'node:crypto';
import { createWriteStream, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { HttpAnswer } from '../../client/http.js';
import { type Context, confirm } from '../context.js';
import { CliError, EXIT } from '../errors.js';

/** Collecting from all nodes takes long; a shorter time limit is none. */
const LEAST_TIMEOUT_MS = 3_600_000;
const DEFAULT_NAME = 'diagnostics.tar.gz';

export interface DiagnosticsFlags {
  readonly outputFile?: string;
  readonly target?: string;
}

/** The last part of the name that the API gives, as it must not choose the directory. */
function fileName(response: HttpAnswer): string {
  const given = /filename="([^"]+)"/.exec(response.header('content-disposition') ?? '')?.[1];
  const name = given === undefined ? '' : basename(given);
  return name === '' || name === '.' || name === '..' ? DEFAULT_NAME : name;
}

export async function getDiagnostics(context: Context, _: string[], flags: DiagnosticsFlags): Promise<void> {
  const { client } = context;
  client.allowAtLeast(LEAST_TIMEOUT_MS);
  const path = flags.target === undefined ? '/diagnostics' : `/diagnostics/${(await client.findNode(flags.target)).id}`;
  const { response, partial } = await client.bundle(path);
  const target = flags.outputFile ?? fileName(response);
  await save(response, target);
  await confirm(context, `Diagnostics written to ${target}.`, { outputFile: target, complete: !partial });
  if (partial) throw new CliError(EXIT.other, 'the bundle is partial: not every node answered');
}

/** Under its name only when it is complete. Errors: CliError. */
async function save({ body }: HttpAnswer, target: string): Promise<void> {
  const temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}`);
  try {
    await pipeline(body, createWriteStream(temporary, { flags: 'wx', mode: 0o600 }));
    renameSync(temporary, target);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new CliError(EXIT.other, `${target} cannot be written: ${(cause as Error).message}`, { cause });
  }
}
