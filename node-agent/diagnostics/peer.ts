/** What another node tells of itself, asked of its API. */

import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { rootCertificates } from 'node:tls';
import type { NodeRecord } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import { parseEndpoint } from '../config.js';

/** Time for everything: connecting, collecting there, and the answer. */
const TIMEOUT_MS = 20_000;
/** Of one node's part, compressed. */
const MAX_PART_BYTES = 8 << 20;
const COMPLETE = 200;
const INCOMPLETE = 502;

export interface PeerOptions {
  /** PEM files that this node's API speaks TLS with; the others then do, too. */
  readonly apiTls: { readonly cert: string } | undefined;
}

export interface NodePart {
  readonly part: Buffer;
  /** False: the node could not collect all; its `problems.txt` says why. */
  readonly complete: boolean;
}

/**
 * The node's part of the bundle. `authorization` is that of the caller, whom the node asks what he may do, as this
 * one did. Errors: 'node-unavailable', with why; which node it was the caller knows.
 */
export async function fetchPart(options: PeerOptions, node: NodeRecord, authorization: string): Promise<NodePart> {
  const { host, port } = parseEndpoint(node.apiEndpoint);
  const path = `/v2/diagnostics/${node.id}/local`;
  const { apiTls } = options;
  const common = { host, port, path, headers: { authorization }, timeout: TIMEOUT_MS };
  const ca = apiTls === undefined ? [] : [...rootCertificates, await readFile(apiTls.cert, 'utf8')];
  return new Promise<NodePart>((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer);
      request.destroy();
      reject(new DomainError('node-unavailable', why));
    };
    const request = apiTls === undefined ? httpRequest(common) : httpsRequest({ ...common, ca });
    const timer = setTimeout(() => fail(`did not answer within ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS);
    request.on('error', (error) => fail(error.message));
    request.on('response', (response) => {
      const { statusCode } = response;
      if (statusCode !== COMPLETE && statusCode !== INCOMPLETE) {
        response.resume();
        fail(`answered with status ${statusCode}`);
        return;
      }
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('error', (error) => fail(error.message));
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length > MAX_PART_BYTES) fail(`sent more than ${MAX_PART_BYTES} bytes`);
      });
      response.on('end', () => {
        clearTimeout(timer);
        resolve({ part: Buffer.concat(chunks), complete: statusCode === COMPLETE });
      });
    });
    request.end();
  });
}
